"""Forty different drawings, cut from the sheet that the documentation shows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

SHEET = Path(__file__).parents[2] / "docs" / "pictures" / "pocket-scenes.jpg"
COLUMNS, ROWS, SIDE, PITCH_X, PITCH_Y = 8, 5, 173, 175, 192


def drawings() -> NDArray[np.uint8]:
    """(40, 173, 173, 3), in an order that mixes the sheet's rows."""
    sheet = np.asarray(PIL.Image.open(SHEET).convert("RGB"))
    tiles = [
        sheet[row * PITCH_Y + 1 :][:SIDE, column * PITCH_X + 1 :][:, :SIDE]
        for row in range(ROWS)
        for column in range(COLUMNS)
    ]
    return np.stack([tiles[i] for i in np.random.default_rng(0).permutation(len(tiles))])


def copied(pixels: NDArray[np.uint8], crop: float, quality: int, mirrored: bool) -> NDArray[np.uint8]:
    """A picture cropped by a share on every side (not evenly), scaled back up, and put through JPEG."""
    picture = PIL.Image.fromarray(pixels)
    cut = round(crop * picture.width)
    box = (cut, cut // 2, picture.width - cut // 2, picture.height - cut)
    picture = picture.crop(box).resize((200, 200), PIL.Image.Resampling.LANCZOS)
    if mirrored:
        picture = picture.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=quality)
    return np.asarray(PIL.Image.open(kept).convert("RGB"))
