"""Do the pictures show what the words say? CLIP score by any CLIP folder, and its lead over other words.

`clip_score/<folder>` is 100 × cosine of picture and prompt (Hessel et al. 2021, arXiv:2104.08718, without the factor
2.5 and without clipping). A small judge's absolute numbers say little, so `clip_margin/<folder>` stands beside it: how
much nearer each picture is to its own prompt than, on average, to the other prompts of the set. A set whose pictures
have nothing to do with their prompts has a margin of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from jogak.judge import clip
from jogak.judge.stats import mean_score
from jogak.models.safe import read_json
from jogak.spec import JogakError, SpecError
from jogak.spec.scores import Score

PREPROCESSOR = "preprocessor_config.json"


class ClipFolder(clip.Judge):
    """Any CLIP in transformers' layout, seen as its `preprocessor_config.json` says: shorter side scaled (bicubic),
    middle cut out, then normalised. Embeddings are unit vectors (N, D) float32.

    Raises `JogakError` when the folder holds no CLIP in safetensors.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "CLIP that can be read")
        try:
            self._sight = _sight(read_json(folder / PREPROCESSOR), self.side)
        except (ValueError, TypeError, KeyError, SpecError) as error:
            raise JogakError(
                f"{folder} holds no CLIP that can be read, by its {PREPROCESSOR}: {' '.join(str(error).split())[:200]}"
            ) from None

    def _prepared(self, images: NDArray[np.uint8]) -> Tensor:
        short, crop, mean, std = self._sight
        pixels = torch.tensor(images).permute(0, 3, 1, 2).float()
        height, width = pixels.shape[-2:]
        scale = short / min(height, width)
        size = max(short, int(height * scale)), max(short, int(width * scale))
        pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False)
        top, left = (size[0] - crop) // 2, (size[1] - crop) // 2
        pixels = pixels[..., top : top + crop, left : left + crop].clamp(0, 255) / 255
        return (pixels - mean) / std


def _sight(given: Any, side: int) -> tuple[int, int, Tensor, Tensor]:
    """Shorter side, crop, mean and deviation, from a preprocessor's settings. Raises `ValueError`, `TypeError`."""
    if not isinstance(given, dict):
        raise ValueError(f"{PREPROCESSOR} is no JSON object")
    short, crop = _side(given.get("size", side)), _side(given.get("crop_size", side))
    if crop != side or not crop <= short <= 4 * crop:
        raise ValueError(f"{PREPROCESSOR} cuts {crop} pixels out of {short}, but the network sees {side}")
    mean, std = (
        torch.tensor([float(part) for part in given[key]]).reshape(1, 3, 1, 1)
        for key in ("image_mean", "image_std")
    )
    if not bool((std > 0).all()):
        raise ValueError(f"{PREPROCESSOR} has an image_std of 0")
    return short, crop, mean, std


def _side(value: Any) -> int:
    """224, {"shortest_edge": 224} or {"height": 224, "width": 224}."""
    return int(next(iter(value.values()), 0) if isinstance(value, dict) else value)


@cache
def load_clip(folder: Path = clip.FOLDER) -> clip.Judge:
    """The CLIP of a folder, once per process: as its `preprocessor_config.json` says, or, without one, as pocket's
    judge sees. Raises `JogakError` when the folder holds none."""
    return ClipFolder(folder) if (folder / PREPROCESSOR).is_file() else clip.load_judge(folder)


def margins(
    seen: NDArray[np.floating], read: NDArray[np.floating], prompts: Sequence[str]
) -> NDArray[np.float64]:
    """100 × (cosine to the own prompt − mean cosine to the set's other prompts): unit rows (N, D), (N, D) → (N,).

    Prompts that read the same count once. Raises `JogakError` when all are the same.
    """
    first = {prompt: i for i, prompt in reversed(list(enumerate(prompts)))}
    places = {prompt: at for at, prompt in enumerate(first)}
    if len(places) < 2:
        raise JogakError("A margin needs two different prompts or more.")
    table = 100 * np.asarray(seen, np.float64) @ np.asarray(read, np.float64)[list(first.values())].T
    own = table[np.arange(len(seen)), [places[prompt] for prompt in prompts]]
    return own - (table.sum(1) - own) / (len(places) - 1)


def adherence_scores(
    seen: NDArray[np.floating],
    read: NDArray[np.floating],
    prompts: Sequence[str],
    backbone: str,
    *,
    seed: int = 0,
) -> list[Score]:
    """`clip_score` and, when the prompts differ, `clip_margin`: embeddings of pictures and of their prompts, (N, D).

    Raises `JogakError` when there is not one prompt for each picture.
    """
    if not len(seen) == len(read) == len(prompts) or not len(seen):
        raise JogakError(f"There has to be a prompt for each picture, not {len(prompts)} for {len(seen)}.")
    cosines = 100 * (np.asarray(seen, np.float64) * np.asarray(read, np.float64)).sum(1)
    facts: dict[str, Any] = {"backbone": backbone, "unit": "cos×100", "seed": seed}
    scores = [mean_score(f"clip_score/{backbone}", cosines, **facts)]
    if len(set(prompts)) > 1:
        scores.append(mean_score(f"clip_margin/{backbone}", margins(seen, read, prompts), **facts))
    return scores
