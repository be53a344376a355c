"""Aspect buckets and what part of a picture goes into one.

Buckets are kohya's (`make_bucket_resolutions`): every width from half to twice the size, in steps, with the
tallest height whose area stays within size². A smart crop keeps what stands out: what differs from the
picture's border in colour, and the spectral residual (Hou & Zhang, CVPR 2007).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jogak.models.background import border_lab, lab, plain_background
from jogak.spec import SpecError
from jogak.spec.dataset import CropMode

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""
TINY = 64
"""Pixels of a side below which a picture is of no use."""
SALIENCY_SIDE = 96
"""Pixels of the longer side of a saliency map."""
WHOLE_ASPECT = 4.0
"""A picture that is kept whole may be this much longer than wide."""


@dataclass(frozen=True, slots=True)
class Crop:
    """What is cut and how large it becomes."""

    box: Box
    width: int
    height: int


def buckets(size: int, step: int) -> list[tuple[int, int]]:
    """(width, height) of every bucket, sorted; sides are multiples of `step`, areas within size²."""
    low, high = max(step, size // 2 // step * step), size * 2
    square = size // step * step
    found = {(square, square)}
    for width in range(low, high + 1, step):
        height = min(high, size * size // width) // step * step
        if height >= low:
            found |= {(width, height), (height, width)}
    return sorted(found)


def nearest_bucket(width: int, height: int, choice: list[tuple[int, int]]) -> tuple[int, int]:
    """The bucket that cuts the least from a picture; of equals, the larger."""
    aspect = math.log(width / height)
    return min(choice, key=lambda one: (round(abs(math.log(one[0] / one[1]) - aspect), 9), -one[0] * one[1]))


def crop(
    picture: NDArray[np.uint8], alpha: NDArray[np.uint8] | None, mode: CropMode, size: int, step: int
) -> Crop:
    """Where to cut a picture (H, W, 3) uint8 RGB for training at `size`.

    Raises `SpecError` when it is to be kept whole and is more than four times as long as wide.
    """
    height, width = picture.shape[:2]
    if mode == "none":
        return _whole(width, height, size)
    wide, high = nearest_bucket(width, height, buckets(size, step))
    scale = min(width / wide, height / high)
    box_width, box_height = min(width, max(1, round(wide * scale))), min(height, max(1, round(high * scale)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    if mode == "smart" and (box_width < width or box_height < height):
        weight = saliency(picture, alpha)
        left = _slide(weight.sum(0), width, box_width)
        top = _slide(weight.sum(1), height, box_height)
    return Crop((left, top, left + box_width, top + box_height), wide, high)


def _whole(width: int, height: int, size: int) -> Crop:
    """The whole picture at an area of about size², sides rounded to 8; the rest of less than 8 is cut."""
    if max(width / height, height / width) > WHOLE_ASPECT:
        raise SpecError(
            f"a picture of {width}×{height} is too long to be trained whole; cut it, or use --crop smart"
        )
    scale = size / math.sqrt(width * height)
    wide, high = (max(8, round(side * scale / 8) * 8) for side in (width, height))
    back = min(width / wide, height / high)
    box_width, box_height = max(1, min(width, round(wide * back))), max(1, min(height, round(high * back)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return Crop((left, top, left + box_width, top + box_height), wide, high)


def _slide(weight: NDArray[np.float32], side: int, window: int) -> int:
    """Where a window of `window` pixels along a side begins, so that it holds the most weight; of places that
    hold practically the same, the one whose middle is nearest to the weight's."""
    if window >= side:
        return 0
    total = np.concatenate([[0.0], np.cumsum(weight, dtype=np.float64)])
    ticks = np.linspace(0, side, len(total))
    starts = np.arange(side - window + 1)
    held = np.interp(starts + window, ticks, total) - np.interp(starts, ticks, total)
    middles = (ticks[1:] + ticks[:-1]) / 2
    centre = float((weight * middles).sum() / weight.sum()) if total[-1] > 0 else side / 2
    good = starts[held >= 0.995 * held.max()]
    return int(good[np.abs(good + window / 2 - centre).argmin()])


def saliency(picture: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> NDArray[np.float32]:
    """How much each place stands out, 0..1, longer side 96: the transparency where there is one; before a
    plain background the difference from its colour; else that difference and the spectral residual."""
    height, width = picture.shape[:2]
    scale = SALIENCY_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if alpha is not None:
        return np.float32(1 / 255) * cv2.resize(alpha, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    colours = lab(np.float32(1 / 255) * small)
    border = border_lab(small)[::29]
    # a colour is of the background when one in ten places of the border looks like it
    distance = np.linalg.norm(colours.reshape(-1, 1, 3) - border[None], axis=2)
    tenth = np.partition(distance, len(border) // 10, axis=1)[:, len(border) // 10].reshape(colours.shape[:2])
    differs = (tenth - 4).clip(0) / 40
    if plain_background(small) is not None:
        return differs.clip(0, 1).astype(np.float32)
    residual = _spectral_residual(np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8))
    return (0.5 * differs.clip(0, 1) + 0.5 * residual).astype(np.float32)


def _spectral_residual(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) uint8 → (H, W) 0..1, computed at 64×64 as its authors did."""
    size = grey.shape[1], grey.shape[0]
    spectrum = np.fft.fft2(cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float64))
    amplitude = np.log(np.abs(spectrum) + 1e-3)
    residual = amplitude - cv2.blur(amplitude, (3, 3), borderType=cv2.BORDER_REFLECT)
    back = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(back, (0, 0), 2.5)
    smooth -= smooth.min()
    high = float(np.percentile(smooth, 99))
    return cv2.resize((smooth / high if high > 0 else smooth).clip(0, 1), size).astype(np.float32)
