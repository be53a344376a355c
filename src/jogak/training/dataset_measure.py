"""What the doctor measures of one picture: size, blur, a perceptual hash, its border, its silhouette."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jogak.models.background import plain_background
from jogak.store.pictures import Picture
from jogak.training.dataset_crops import saliency

MASK_SIDE = 24
_EDGE_BAR = 0.1
"""Edges count whose squared slope is above this share of the strongest."""
_EDGE = 0.413
"""∫ u² e^(−u²) du over ∫ e^(−u²) du where e^(−u²) is above `_EDGE_BAR`: of a Gaussian edge's bend and slope."""
_BLANK = 4.0
"""Squared slope, in grey levels a pixel, below which there is nothing to be seen."""


@dataclass(frozen=True)
class Look:
    """Measures of one picture."""

    width: int
    height: int
    sha256: str
    blur: float | None
    """Radius (the sigma of a Gaussian) of the blur over its edges, in pixels at the training size; None when
    it shows nothing at all."""
    hashes: tuple[int, int]
    """64-bit DCT hash of the picture and of its mirror image."""
    tiny: NDArray[np.float32]
    """(16, 16, 3) sRGB 0..255, less its median colour."""
    ring: NDArray[np.float32]
    """(60, 3) sRGB 0..255: the outermost of 16×16 cells, which are background more often than not."""
    plain: str | None
    """The colour's id of a plain background."""
    mask: NDArray[np.bool_]
    """(24, 24) where the subject is, in the picture stretched square."""


def measure(picture: Picture, size: int) -> Look:
    """Measure a picture that will be trained at about size × size pixels."""
    width, height = picture.rgb.size
    scale = size / math.sqrt(width * height)
    pixels = np.asarray(picture.rgb)
    if scale < 1:
        # everything below looks at less than this; to shrink once is what makes a large picture quick
        to = max(3, round(width * scale)), max(3, round(height * scale))
        pixels = np.asarray(cv2.resize(pixels, to, interpolation=cv2.INTER_AREA), np.uint8)
    cells = cv2.resize(pixels, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
    blur = _blur(pixels)
    return Look(
        width=width, height=height, sha256=picture.sha256,
        blur=None if blur is None else blur * max(scale, 1.0),
        hashes=(dct_hash(pixels), dct_hash(pixels[:, ::-1])),
        tiny=cells - np.median(cells, (0, 1)),
        ring=np.concatenate([cells[0], cells[-1], cells[1:-1, 0], cells[1:-1, -1]]),
        plain=plain_background(pixels),
        mask=_silhouette(saliency(pixels, picture.alpha)),
    )  # fmt: skip


def _blur(pixels: NDArray[np.uint8]) -> float | None:
    """The radius of the blur, in pixels; None when there is no edge.

    The variance of the Laplacian against that of the gradient, over the strongest edges: across an edge
    blurred by a Gaussian of radius s the ratio is `_EDGE` / s², whatever the contrast. Weaker edges are left
    out, so that a blurred background does not make a picture blurred, nor 8-bit steps a blurred one sharp."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if min(grey.shape) < 3:
        return None
    # central differences and the five-point Laplacian; the picture's rim belongs to no edge
    across = (grey[1:-1, 2:] - grey[1:-1, :-2]) / 2
    down = (grey[2:, 1:-1] - grey[:-2, 1:-1]) / 2
    slopes = across**2 + down**2
    bends = (grey[1:-1, 2:] + grey[1:-1, :-2] + grey[2:, 1:-1] + grey[:-2, 1:-1] - 4 * grey[1:-1, 1:-1]) ** 2
    strongest = float(np.percentile(slopes, 99.5))
    edges = slopes > _EDGE_BAR * strongest
    if strongest < _BLANK or not bends[edges].any():
        return None
    return math.sqrt(_EDGE * float(slopes[edges].mean()) / float(bends[edges].mean()))


def dct_hash(pixels: NDArray[np.uint8]) -> int:
    """64 bits: which of the 8×8 lowest cosine coefficients of the 32×32 grey picture lie above their median
    (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions")."""
    grey = cv2.cvtColor(cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    low = np.asarray(cv2.dct(grey.astype(np.float32)))[:8, :8].flatten()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _silhouette(weight: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the saliency lies above the threshold that parts it best (Otsu)."""
    small = cv2.resize(weight, (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA)
    levels = (small.clip(0, 1) * 255).astype(np.uint8)
    bar, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return levels > bar
