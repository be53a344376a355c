"""What a training reads again and again, computed once: latents of pictures and states of captions.

Both are steps, so the store keeps them by content: the file's digest, the part of it that counts, the size, and
the weights of the autoencoder or text encoder alone. Another rank, another caption, another UNet: still warm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jogak.models.catalogue import family_of
from jogak.models.place import open_place
from jogak.models.safe import read_header
from jogak.spec import Image, ModelRef, SpecError
from jogak.spec.training import Tensors
from jogak.store import current, step
from jogak.store.pictures import Picture, read_picture
from jogak.training.base import borrow_base

Box = tuple[int, int, int, int]
_VAE_PARTS = ("vae",)
_TEXT_PARTS = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")


@dataclass(frozen=True)
class Example:
    """One training picture as the loop takes it."""

    name: str
    caption: str
    latents: Tensor
    """(C, h, w), scaled"""
    mirrored: Tensor | None
    """(C, h, w) latents of the mirrored picture; None where mirroring was not asked for"""
    mask: Tensor | None
    """(1, h, w) 0..1; None where everything counts"""
    width: int
    height: int
    """pixels"""


@dataclass(frozen=True)
class Parts:
    """A base as the steps below know it: with no identity but that of the part they use."""

    vae: ModelRef
    text: ModelRef


def parts_of(ref: ModelRef) -> Parts:
    return Parts(_part(ref, _VAE_PARTS), _part(ref, _TEXT_PARTS))


def _part(ref: ModelRef, parts: Sequence[str]) -> ModelRef:
    place = open_place(ref.folder)
    there = [part for part in family_of(place).parts if part in parts]
    # threads split sums otherwise, which a latent is not worth computing anew for
    numeric = re.sub(r"-t\d+$", "", ref.numeric)
    return ref.model_copy(update={"digest": place.digest(there), "numeric": numeric})


@step(version="1")
def encode_latents(
    picture: Image,
    box: Box,
    width: int,
    height: int,
    flip: bool,
    mask: Image | None,
    masked: bool,
    vae: ModelRef,
) -> Tensors:
    """Latents of the part `box` (left, top, right, bottom) of a picture, scaled to width × height pixels.

    The file holds `latents` (C, h, w) float32, with `flip` also `mirrored`, and with `masked` a `mask` (1, h, w)
    from the picture's transparency, or from the grey of `mask` where one is given.
    """
    model = borrow_base(vae).model
    opened = _unchanged(picture)
    rgb = opened.rgb.resize((width, height), PIL.Image.Resampling.LANCZOS, box=box)
    pixels = torch.from_numpy(np.asarray(rgb).astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    tensors = {"latents": model.encode(pixels)[0].contiguous()}
    if flip:
        tensors["mirrored"] = model.encode(pixels.flip(-1))[0].contiguous()
    if masked:
        grey = _grey(mask, opened.alpha)
        if grey is not None:
            if grey.size != opened.rgb.size:
                grey = grey.resize(opened.rgb.size, PIL.Image.Resampling.BILINEAR)
            small = (width // model.factor, height // model.factor)
            part = np.asarray(grey.resize(small, PIL.Image.Resampling.BOX, box=box), np.float32) / 255
            tensors["mask"] = torch.from_numpy(part)[None].contiguous()
    return _kept(tensors)


def _grey(mask: Image | None, alpha: np.ndarray | None) -> PIL.Image.Image | None:
    if mask is not None:
        return _unchanged(mask).rgb.convert("L")
    return None if alpha is None else PIL.Image.fromarray(alpha)


def _unchanged(picture: Image) -> Picture:
    """Read a picture that may lie outside the store. Raises `SpecError` when it is not what it was."""
    opened = read_picture(picture.path)
    if opened.sha256 != picture.sha256:
        raise SpecError(f"{picture.path} changed while it was being read; run the command again.")
    return opened


@step(version="1")
def encode_caption(caption: str, text: ModelRef) -> Tensors:
    """The states of a caption as the UNet takes them: `text` (N, D) float32."""
    return _kept({"text": borrow_base(text).text([caption])[0].float().contiguous()})


def _kept(tensors: dict[str, Tensor]) -> Tensors:
    store = current().store
    with store.new_file(".safetensors") as file:
        save_file(tensors, file)
        return store.put(file, Tensors)


def read_tensors(handle: Tensors) -> dict[str, Tensor]:
    """Raises `SpecError` when the file is damaged."""
    read_header(handle.path)
    try:
        return load_file(handle.path)
    except (OSError, ValueError, RuntimeError) as error:
        raise SpecError(f"{handle.path} could not be read: {error}. Run the command again.") from None
