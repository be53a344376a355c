"""Which models there are, and what a folder of weights is: known before any weight is opened."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from jogak.models.safe import folder_digest, read_json
from jogak.spec import ModelRef, SpecError

Backend = Literal["auto", "openvino", "torch"]

PARTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
"""The folders of a latent-diffusion model that Jogak reads, in the layout of diffusers."""


@dataclass(frozen=True)
class Entry:
    """A model that can be asked for by name."""

    name: str
    family: str
    licence: str
    about: str
    folder: Path


CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "pocket": Entry(
            name="pocket",
            family="pocket",
            licence="Apache-2.0",
            about="illustrated worlds at 256×256, 320×192 and 192×320, told in Korean or English",
            folder=Path(__file__).parent / "weights" / "pocket",
        )
    }
)


@dataclass(frozen=True)
class ModelFacts:
    """What configuration files alone say of a model."""

    family: str
    text_width: int
    latent_channels: int
    size: int
    """pixels of a side that the model was made for"""
    megabytes: int
    """weight files on disk"""


def resolve(name_or_folder: str | Path, backend: Backend | None = None) -> ModelRef:
    """The reference of a model, by catalogue name or by folder in the layout of diffusers.

    Weights are only hashed (and that once, see `safe.folder_digest`). `backend` chooses what will run it:
    `torch`, `openvino`, or `auto` (CUDA where there is one, else OpenVINO); None takes `$JOGAK_BACKEND`, else
    `auto`. Raises `SpecError` for an unknown name, with near names, and for a folder that is no model Jogak
    can run.
    """
    name = str(name_or_folder)
    entry = CATALOGUE.get(name)
    folder = entry.folder if entry else Path(name).expanduser()
    if entry is None and not folder.is_dir():
        near = difflib.get_close_matches(name.lower(), CATALOGUE, n=1, cutoff=0.5)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise SpecError(
            f'"{shown}" is neither in the catalogue ({", ".join(CATALOGUE)}) nor a folder of weights.{hint}'
        )
    family = describe(folder).family
    digest = folder_digest(folder, PARTS)
    return ModelRef(name=name, family=family, folder=folder, digest=digest, numeric=_numeric(backend))


def describe(folder: Path) -> ModelFacts:
    """What a folder of weights is, from its configuration files. Raises `SpecError` when Jogak cannot run
    it."""
    if not (folder / "model_index.json").is_file():
        raise SpecError(
            f"{folder} has no model_index.json; give a folder in the layout of diffusers (unet/, vae/, …)."
        )
    kind = _object(folder / "model_index.json").get("_class_name")
    if kind != "StableDiffusionPipeline":
        raise SpecError(
            f"{folder} holds a {str(kind)[:60]}; this version runs StableDiffusionPipeline (SD 1.5, pocket)."
        )
    absent = [part for part in PARTS if not (folder / part).is_dir()]
    if absent:
        raise SpecError(
            f"{folder} lacks the folder {absent[0]}/; copy the whole model, or train it (for pocket: pocket/README.md)."
        )
    unet = _object(folder / "unet" / "config.json")
    vae = _object(folder / "vae" / "config.json")
    if unet.get("in_channels") != unet.get("out_channels"):
        raise SpecError(
            f"{folder} takes {unet.get('in_channels')} channels (inpainting?); give a text-to-image model."
        )
    try:
        width, channels, side = (
            int(unet[key]) for key in ("cross_attention_dim", "in_channels", "sample_size")
        )
        levels = len(vae["block_out_channels"])
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(
            f"{folder}: a config.json of unet/ or vae/ is incomplete ({str(error)[:100]})."
        ) from None
    if vae.get("latent_channels") != channels:
        raise SpecError(f"{folder}: its unet/ and vae/ do not belong together; copy both from one model.")
    family = {(384, 8): "pocket", (768, 4): "sd15", (1024, 4): "sd2"}.get((width, channels), "latent")
    weights = sum(path.stat().st_size for part in PARTS for path in (folder / part).glob("*.safetensors"))
    return ModelFacts(family, width, channels, side * 2 ** (levels - 1), round(weights / 1e6))


def threads() -> int:
    """Threads a model runs on: `$JOGAK_THREADS`, `$OMP_NUM_THREADS`, or every processor this process may use.

    It is part of a model's numeric mode, since sums split otherwise round otherwise.
    """
    for name in ("JOGAK_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdecimal() and 1 <= int(text) <= 1024:
            return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _numeric(backend: Backend | None) -> str:
    wish = backend or os.environ.get("JOGAK_BACKEND") or "auto"
    if wish not in ("auto", "openvino", "torch"):
        raise SpecError(f'the backend "{wish[:40]}" is not known; give auto, openvino or torch.')
    if wish != "openvino" and _has_cuda():
        return "torch-cuda-fp16"
    if wish == "torch":
        return f"torch-fp32-t{threads()}"
    return f"openvino-{_precision()}-t{threads()}"


def _precision() -> str:
    """`bf16` where the CPU computes in bfloat16 (AVX-512 BF16, AMX), else `f32`."""
    import openvino

    return "bf16" if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def _has_cuda() -> bool:
    """Asks for the driver first: importing torch costs a second, which a machine without a GPU need not
    pay."""
    import ctypes

    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def _object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise SpecError(f"{path} is no JSON object; fetch the file again.")
    return content
