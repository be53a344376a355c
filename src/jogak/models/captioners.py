"""Captions by models that the person has as a local folder: BLIP writes a sentence, a WD14 tagger lists tags.

BLIP (Li et al. 2022, arXiv:2201.12086) is read as transformers saves it: config.json, a tokenizer,
preprocessor_config.json and safetensors. A WD14 tagger (SmilingWolf's v2 and v3) is read as published:
`model.onnx`, which OpenVINO runs, and `selected_tags.csv`.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from jogak.models.safe import read_header, read_json
from jogak.spec import JogakError, SpecError
from jogak.store.pictures import read_file

MAX_ONNX = 2_000_000_000
MAX_TAGS_FILE = 8_000_000
WD14_BAR = 0.35
"""Share from which a general tag is said, as its author and the usual trainers set it."""
_GENERAL = "0"
"""Category of the tags that describe; 4 names characters and 9 rates, and neither belongs into a caption."""
_FACES = frozenset({
    "0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3", "6_9", ">_o", "@_@",
    "^_^", "o_o", "u_u", "x_x", "|_|", "||_||",
})  # fmt: skip
"""Tags whose underscore is a mouth and not a space."""


class Blip:
    """A loaded BLIP. Raises `SpecError` when the folder holds none."""

    def __init__(self, folder: Path) -> None:
        from transformers import BertTokenizer, BlipForConditionalGeneration

        _require_folder(folder)
        weights = sorted(folder.glob("*.safetensors"))
        if not weights:
            raise SpecError(
                f"{folder} has no safetensors; fetch BLIP's model.safetensors with its config.json."
            )
        for path in weights:
            read_header(path)
        prepared = read_json(folder / "preprocessor_config.json")
        try:
            size = prepared["size"]
            self._size = (
                (int(size["width"]), int(size["height"]))
                if isinstance(size, dict)
                else (int(size), int(size))
            )
            self._mean, self._std = (
                np.array(prepared[key], np.float32) for key in ("image_mean", "image_std")
            )
            if self._mean.shape != (3,) or self._std.shape != (3,) or not (self._std > 0).all():
                raise ValueError("image_mean and image_std are not three numbers each")
            if not all(16 <= side <= 1024 for side in self._size):
                raise ValueError(f"pictures of {self._size} pixels")
            self._model = BlipForConditionalGeneration.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
            self._tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises whatever a wrong configuration leads it to
            raise SpecError(f"{folder} holds no BLIP for captions ({_short(error)}).") from None
        self._model.eval().requires_grad_(False)

    def pixels(self, picture: NDArray[np.uint8]) -> torch.Tensor:
        """picture (H, W, 3) uint8 RGB → (1, 3, h, w): stretched, bicubic, normalised as the folder says."""
        import PIL.Image

        resized = PIL.Image.fromarray(picture).resize(self._size, PIL.Image.Resampling.BICUBIC)
        scaled = (np.asarray(resized, np.float32) / 255 - self._mean) / self._std
        return torch.tensor(scaled).permute(2, 0, 1)[None]

    @torch.inference_mode()
    def caption(self, picture: NDArray[np.uint8]) -> str:
        """One English sentence by beam search, the same each time. picture (H, W, 3) uint8 RGB."""
        ids = self._model.generate(
            pixel_values=self.pixels(picture), num_beams=3, max_new_tokens=40, do_sample=False
        )
        text = str(self._tokenizer.decode(ids[0], skip_special_tokens=True))
        # "arafed" is a word that BLIP picked up from its web captions; it means nothing
        return " ".join(re.sub(r"\baraf\w*", "", text).split())


@dataclass(frozen=True, slots=True)
class TagShare:
    tag: str
    """With spaces instead of underscores."""
    share: float
    """The tagger's own sigmoid, 0..1."""


class Wd14:
    """A loaded WD14 tagger. Raises `SpecError` when the folder holds none."""

    def __init__(self, folder: Path) -> None:
        import openvino

        _require_folder(folder)
        onnx = folder / "model.onnx"
        if not onnx.is_file():
            other = " (its safetensors need the timm library)" if list(folder.glob("*.safetensors")) else ""
            raise SpecError(
                f"{folder} has no model.onnx{other}; fetch model.onnx and selected_tags.csv of one WD14 tagger."
            )
        self._tags = _read_tags(folder / "selected_tags.csv")
        if onnx.stat().st_size > MAX_ONNX:
            raise SpecError(
                f"{onnx} is above {MAX_ONNX / 1e9:.0f} GB, which no WD14 tagger is; fetch it again."
            )
        try:
            model = openvino.Core().read_model(onnx)
            shape = model.input(0).get_partial_shape()
            self._side = int(shape[1].get_length())
            channels, tags = (
                int(shape[3].get_length()),
                int(model.output(0).get_partial_shape()[1].get_length()),
            )
            model.reshape([1, self._side, self._side, 3])
            self._run = openvino.compile_model(model, "CPU")
        except Exception as error:  # OpenVINO raises RuntimeError and its kin for whatever it cannot read
            raise SpecError(f"{onnx} cannot be run ({_short(error)}); fetch it again.") from None
        if channels != 3 or not 16 <= self._side <= 1024 or tags != len(self._tags):
            raise SpecError(
                f"{folder}: model.onnx gives {tags} tags and selected_tags.csv lists {len(self._tags)}; "
                "fetch both from one tagger."
            )

    def pixels(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """picture (H, W, 3) uint8 RGB → (1, S, S, 3) float32 BGR in 0..255, padded square with white."""
        import PIL.Image

        height, width = picture.shape[:2]
        longest = max(height, width)
        square = np.full((longest, longest, 3), 255, np.uint8)
        top, left = (longest - height) // 2, (longest - width) // 2
        square[top : top + height, left : left + width] = picture
        size = (self._side, self._side)
        resized = np.asarray(PIL.Image.fromarray(square).resize(size, PIL.Image.Resampling.BICUBIC))
        return np.ascontiguousarray(resized[None, :, :, ::-1], np.float32)

    def tags(self, picture: NDArray[np.uint8], bar: float = WD14_BAR) -> list[TagShare]:
        """The general tags whose share is above `bar`, the surest first."""
        shares = np.asarray(self._run(self.pixels(picture))[0])[0]
        found = [
            TagShare(name, float(share))
            for (name, category), share in zip(self._tags, shares, strict=True)
            if category == _GENERAL and share > bar
        ]
        return sorted(found, key=lambda tag: -tag.share)


def _read_tags(path: Path) -> list[tuple[str, str]]:
    """(tag, category) in the order of the model's outputs."""
    try:
        text = read_file(path, MAX_TAGS_FILE).decode("utf-8")
        rows = [(row["name"], row["category"]) for row in csv.DictReader(io.StringIO(text))]
    except (UnicodeDecodeError, KeyError, csv.Error) as error:
        raise SpecError(
            f"{path} is not the table of a WD14 tagger ({_short(error)}); fetch it again."
        ) from None
    if not rows or not all(name and category for name, category in rows):
        raise SpecError(f"{path} lists no tags, or some without a name or category; fetch it again.")
    return [(name if name in _FACES else name.replace("_", " "), category) for name, category in rows]


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise JogakError(f"{folder} is no folder; give the one with the caption model's files.")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
