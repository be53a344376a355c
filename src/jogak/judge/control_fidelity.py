"""Does a picture keep the structure it was given? Its map is taken from it again and held against the wanted one.

| control | measure | range |
|---|---|---|
| canny, scribble | F1 of edge pixels, each matched within 2 pixels | 0..1 |
| depth | root mean square of the difference, as a share of the 8-bit range | 0..1, lower is better |
| lineart, hed | MS-SSIM (Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216) | 0..1 |
| pose | OKS (COCO) and PCK@0.1 (Yang & Ramanan 2013, doi:10.1109/TPAMI.2012.261), given keypoints | 0..1 |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jogak.spec import JogakError

Map = NDArray[np.uint8]
"""(H, W) or (H, W, 3) uint8."""

TOLERANCE = 2.0
"""Pixels within which an edge counts as found."""
EDGE_LEVEL = 127
"""A pixel of an edge map above this is an edge."""
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _DEVIATION = 11, 1.5
COCO_SIGMAS = np.array(
    [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float64
) / 1000  # fmt: skip
"""Nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles: left before right."""


def grey(map_: Map) -> NDArray[np.uint8]:
    """A map as (H, W); of a coloured one the brightest channel. Raises `JogakError` for anything else."""
    pixels = np.asarray(map_)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise JogakError(f"A control map is (H, W) or (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}.")
    return pixels if pixels.ndim == 2 else pixels.max(-1)


def edge_f1(found: Map, wanted: Map, tolerance: float = TOLERANCE) -> float:
    """F1 of two edge maps (H, W), pixels above `EDGE_LEVEL` being edges, within `tolerance` pixels; 0..1.

    Precision is the share of found edge pixels with a wanted one at most so far away, recall the reverse. Two maps
    without an edge agree (1); one without and one with do not (0).
    """
    a, b = (part > EDGE_LEVEL for part in _pair(found, wanted))
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    precision, recall = _near(a, b, tolerance), _near(b, a, tolerance)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _near(of: NDArray[np.bool_], to: NDArray[np.bool_], tolerance: float) -> float:
    distance = cv2.distanceTransform((~to).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((np.asarray(distance)[of] <= tolerance + 1e-4).mean())


def depth_rmse(found: Map, wanted: Map) -> float:
    """Root mean square of the difference of two 8-bit depth maps (H, W), as a share of their range; 0..1."""
    a, b = (part.astype(np.float64) for part in _pair(found, wanted))
    return float(np.sqrt(((a - b) ** 2).mean()) / 255)


def ms_ssim(found: Map, wanted: Map) -> float:
    """Multi-scale structural similarity of two maps (H, W); 1: the same. Negative structure counts as 0.

    Five scales need 176 pixels of a side; a smaller map has fewer, with the weights shared out among them. Raises
    `JogakError` when a side is below 11 pixels.
    """
    a, b = (part.astype(np.float64) for part in _pair(found, wanted))
    side = min(a.shape)
    if side < _WINDOW:
        raise JogakError(f"MS-SSIM needs {_WINDOW} pixels of a side, not {side}.")
    levels = min(len(_MS_WEIGHTS), 1 + int(np.log2(side / _WINDOW)))
    weights = np.array(_MS_WEIGHTS[:levels])
    weights /= weights.sum()
    value = 1.0
    for level, weight in enumerate(weights):
        bright, structure = _ssim(a, b)
        value *= max(0.0, structure if level < levels - 1 else bright) ** float(weight)
        a, b = (_halved(part) for part in (a, b))
    return min(1.0, value)


def _halved(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = (side // 2 * 2 for side in pixels.shape)
    return pixels[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))


def _ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Mean SSIM, and its mean contrast and structure term alone, over places where the window fits."""
    edge = _WINDOW // 2

    def blur(part: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred = np.asarray(cv2.GaussianBlur(part, (_WINDOW, _WINDOW), _DEVIATION), np.float64)
        return blurred[edge : part.shape[0] - edge, edge : part.shape[1] - edge]

    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    structure = (2 * both + two) / (var_a + var_b + two)
    light = (2 * mean_a * mean_b + one) / (mean_a**2 + mean_b**2 + one)
    return float((light * structure).mean()), float(structure.mean())


def _pair(found: Map, wanted: Map) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    a, b = grey(found), grey(wanted)
    if a.shape != b.shape:
        raise JogakError(f"The two maps differ in size: {a.shape} found, {b.shape} wanted.")
    return a, b


def _joints(
    found: ArrayLike, wanted: ArrayLike, visible: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Distances (K,) of found to wanted joints, a joint not found being infinitely far, and which ones count."""
    a, b = (np.asarray(part, np.float64) for part in (found, wanted))
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2:
        raise JogakError(f"Keypoints are two arrays (K, 2), not {a.shape} and {b.shape}.")
    counts = np.asarray(np.isfinite(b).all(1), bool)
    if visible is not None:
        counts = np.logical_and(counts, np.asarray(visible, bool))
    if not counts.any():
        raise JogakError("No wanted keypoint is visible, so a pose cannot be compared.")
    distances = np.linalg.norm(a - b, axis=1)
    return np.where(np.isfinite(distances), distances, np.inf), counts


def pck(
    found: ArrayLike, wanted: ArrayLike, scale: float, *, visible: ArrayLike | None = None, share: float = 0.1
) -> float:
    """Share of the wanted joints found within `share` × `scale` pixels: (K, 2), (K, 2) in pixels → 0..1.

    `scale` is the longer side of the person's box (Yang & Ramanan); NaN stands for a joint that was not found, or
    that was not asked for.
    """
    if not scale > 0:
        raise JogakError(f"PCK needs the size of the person in pixels, not {scale}.")
    distances, counts = _joints(found, wanted, visible)
    return float((distances[counts] <= share * scale).mean())


def oks(
    found: ArrayLike,
    wanted: ArrayLike,
    area: float,
    *,
    visible: ArrayLike | None = None,
    sigmas: ArrayLike = COCO_SIGMAS,
) -> float:
    """COCO's object keypoint similarity, mean over wanted joints of exp(−d² / (2 · area · (2σ)²)); 0..1.

    `area` is the person's in square pixels, `sigmas` (K,) how loosely each joint is placed by people; other joint
    sets than COCO's 17 bring their own.
    """
    if not area > 0:
        raise JogakError(f"OKS needs the area of the person in square pixels, not {area}.")
    distances, counts = _joints(found, wanted, visible)
    loose = np.asarray(sigmas, np.float64)
    if loose.shape != distances.shape:
        raise JogakError(f"OKS needs a σ for each of {len(distances)} joints, not {loose.shape}.")
    return float(np.exp(-(distances**2) / (2 * area * (2 * loose) ** 2))[counts].mean())


POSE_SIGMAS = np.array(
    [26, 79, 79, 72, 62, 79, 72, 62, 107, 87, 89, 107, 87, 89, 25, 25, 35, 35], np.float64
) / 1000  # fmt: skip
"""COCO's for the 18 joints of pose maps, in their order; the neck, which COCO has not, is as loose as a shoulder."""
FEWEST_JOINTS = 4
"""Wanted joints below which a pose says nothing."""


def pose_fidelity(found: ArrayLike, wanted: ArrayLike) -> dict[str, float]:
    """PCK@0.1 and OKS of the 18 joints of pose maps: (18, 2), (18, 2) in pixels, NaN for a joint that is not seen.

    The person's size is that of the box around the wanted joints, since nothing else is known of it. Raises
    `JogakError` for fewer than `FEWEST_JOINTS` wanted joints.
    """
    asked = np.asarray(wanted, np.float64)
    seen = asked[np.isfinite(asked).all(1)]
    if len(seen) < FEWEST_JOINTS:
        raise JogakError(f"A pose needs {FEWEST_JOINTS} wanted joints, not {len(seen)}.")
    sides = np.maximum(1.0, np.ptp(seen, axis=0))
    return {
        "pck": pck(found, asked, float(sides.max())),
        "oks": oks(found, asked, float(sides.prod()), sigmas=POSE_SIGMAS),
    }


FIDELITY: Mapping[str, tuple[str, Callable[[Map, Map], float]]] = MappingProxyType(
    {
        "canny": ("edge_f1", edge_f1),
        "scribble": ("edge_f1", edge_f1),
        "lineart": ("lines_ms_ssim", ms_ssim),
        "hed": ("lines_ms_ssim", ms_ssim),
        "depth": ("depth_rmse", depth_rmse),
    }
)
"""By the kind of control: what the measure is called, and the measure. Pose is not here: see `pose_fidelity`."""
LOWER_IS_BETTER = frozenset({"depth_rmse"})
