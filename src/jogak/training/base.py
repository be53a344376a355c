"""The base model under training: the family's own modules, as `jogak.models` builds them.

What a family tells its UNet travels as one tensor a caption (`DiffusionModel.encode_tokens`), which the family's
`unpack` takes apart again: so a family that draws can be trained, and nothing here knows it by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from jogak.models.catalogue import family_of
from jogak.models.diffusion import DiffusionModel
from jogak.models.place import open_place
from jogak.spec import ModelRef
from jogak.spec.memory import Memory

_NAMES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "pocket": ("jogak_pocket", "jogak-pocket-v1/lora"),
        "sd15": ("sd_v1", "stable-diffusion-v1/lora"),
        "sd2": ("sd_v2_v", "stable-diffusion-v2-768-v/lora"),
        "sdxl": ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
    }
)
"""`ss_base_model_version` and `modelspec.architecture` by family."""


class Base:
    """A base model of its own, not the warm one that others draw with: training changes it."""

    def __init__(self, ref: ModelRef) -> None:
        family = family_of(open_place(ref.folder))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model: DiffusionModel = import_module(family.module).make(ref, device, Memory())
        """Previews draw with it and see what was learned so far."""
        self.version, self.architecture = _NAMES.get(
            ref.family, (f"jogak_{ref.family}", "latent-diffusion/lora")
        )
        self._networks: Any = self.model.networks

    def cast(self, dtype: torch.dtype) -> None:
        """UNet and text encoder from the type they were opened in to that of the training."""
        if self._networks.dtype != dtype:
            for name in ("unet_module", "text_encoder", "text_encoder_2"):
                if hasattr(self._networks, name):
                    getattr(self._networks, name).to(dtype)
            self._networks.dtype = dtype

    @property
    def unet(self) -> Any:
        return self._networks.unet_module

    @property
    def text_encoder(self) -> Any:
        """The one that can be trained, in a family that has one."""
        return self._networks.text_encoder

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """(B, T) ids; what does not fit one chunk is cut."""
        most = self.model.text_length - 2
        return torch.tensor([self.model.chunk(self.model.tokens(text)[:most]) for text in captions])

    def text(self, captions: Sequence[str]) -> Tensor:
        """(B, N, D) float32 on the CPU, without gradients: what `unet_arguments` takes."""
        return self.model.encode_tokens(self.tokens(captions).tolist())

    def trained_text(self, captions: Sequence[str], encoder: Any) -> Tensor:
        """(B, N, D) with gradients to `encoder`, the text encoder or what wraps it."""
        ids = self.tokens(captions).to(self._networks.device)
        return encoder(input_ids=ids, return_dict=False)[0]

    def unet_arguments(self, x: Tensor, text: Tensor) -> dict[str, Any]:
        """Keyword arguments of the UNet's call for latents x (B, C, h, w) and (B, N, D) text."""
        states, more = self._networks.unpack(x, text)
        return {"encoder_hidden_states": states} | more


@lru_cache(maxsize=1)
def _opened(folder: Path, family: str) -> Base:
    # digest and numeric mode are no part of the question: steps ask with those of the part they use
    return Base(ModelRef(name=folder.name, family=family, folder=folder, digest="0" * 64, numeric="torch"))


def borrow_base(ref: ModelRef) -> Base:
    """The base to encode with, warm; leave it as it is."""
    return _opened(ref.folder, ref.family)


def take_base(ref: ModelRef, dtype: torch.dtype) -> Base:
    """The base to train, the borrowed one where there is one: nobody else gets it from now on."""
    base = _opened(ref.folder, ref.family)
    _opened.cache_clear()
    base.cast(dtype)
    return base


def noise_levels(model: DiffusionModel) -> Tensor:
    """sigma at each training timestep, ascending, (N,) float32; thousands at the end of a zero terminal SNR."""
    count = round(model.time_of(torch.tensor([model.sigma_max])).item()) + 1
    return model.sigmas(count, "trailing")[:-1].flip(0)
