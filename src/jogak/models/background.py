"""The background of a picture, measured without a network: whether it is plain, and of which colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from jogak.models.lexicon import lexicon

BORDER = 0.06
"""Width of the border that is looked at, as a share of the side."""
PLAIN_SHARE, PLAIN_DISTANCE = 0.75, 8.0
"""A background is plain when so much of the border lies so near (CIE Lab) to its median."""


def plain_background(picture: NDArray[np.uint8]) -> str | None:
    """The colour's id of the background when one colour runs all round the picture, else None.

    picture (H, W, 3) uint8 RGB. A subject may touch the border with up to a quarter of it.
    """
    border = border_lab(picture)
    middle = np.median(border, 0)
    if (np.linalg.norm(border - middle, axis=1) <= PLAIN_DISTANCE).mean() < PLAIN_SHARE:
        return None
    colours = [colour for colour in lexicon().colours if colour.rgb is not None]
    named = lab(np.array([[colour.rgb for colour in colours]], np.float32))[0]
    return colours[int(np.linalg.norm(named - middle, axis=1).argmin())].id


def border_lab(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The border's pixels (N, 3) in CIE Lab, of the picture shrunk to 96×96."""
    small = np.float32(1 / 255) * cv2.resize(picture, (96, 96), interpolation=cv2.INTER_AREA)
    wide = round(96 * BORDER)
    inside = np.zeros((96, 96), bool)
    inside[wide:-wide, wide:-wide] = True
    return lab(small)[~inside]


def lab(rgb: NDArray[np.floating]) -> NDArray[np.float32]:
    """(H, W, 3) float32 sRGB 0..1 → CIE Lab."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), np.float32)
