"""The memorisation alarm: is a picture a copy of a reference picture, rather than a new one in its manner?

Two things are measured against the nearest references: the cosine of features (both ways round, since a mirrored copy
is a copy), and the likeness of pixels once the two are aligned (mirrored or not, cropped, scaled and shifted a
little). Both have to exceed a threshold that the references set themselves: each reference is left out in turn and
looked for among the others. As for features, a copy is at least as near as references usually are to each other; as
for pixels, it lies beyond half the way from the references' own closest likenesses (their 95th percentile) to the same
picture. A set of near-equal references raises the bar, but never beyond what a copy keeps after JPEG and a crop:
measured on 24 drawings at JPEG 30–75, cropped by up to a tenth, mirrored or not, copies keep 0.995 and more, while
the closest of the held-out drawings reach 0.78.

After the data-copying tests of Meehan et al. 2020, arXiv:2004.05675, and the replication search of Somepalli et al.
2023, arXiv:2212.03860, whose copy detector's weights are not used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from jogak.judge.identity import Vectors, unit
from jogak.judge.stats import share_score
from jogak.spec import JogakError
from jogak.spec.picture_scores import Alarm, Copy
from jogak.spec.scores import Score

SIDE = 96
"""Pixels of a side of the thumbnails that are aligned."""
COARSE = 48
_SCALES = (0.80, 0.84, 0.88, 0.92, 0.96, 1.0)
"""How much of the reference a copy may show at least: a crop of a tenth on every side is found."""
CANDIDATES = 3
"""Nearest references of each picture whose pixels are looked at, each way round."""
REFINE_ABOVE = 0.5
"""Coarse likeness above which the alignment is refined."""
LIKENESS_RANGE = (0.90, 0.98)
"""Between these the threshold is set by the references: below, drawings of one layout would be copies; above, JPEG and
the sampling of a crop would hide one."""
COSINE_AT_MOST = 0.7
"""The features' threshold is never higher: a mirrored crop keeps some 0.8."""
FEW = 5
"""With fewer references the threshold is not calibrated."""
BACKBONE = "aligned-pixels"


@dataclass(frozen=True)
class Looks:
    """What the alarm knows of a set: unit features (N, D), the same of its mirror images, thumbnails (N, S, S) uint8."""

    features: Vectors
    mirrored: Vectors | None
    """None for pictures that are only looked for, not looked among."""
    thumbs: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.thumbs) or self.thumbs.shape[1:] != (SIDE, SIDE):
            raise JogakError(
                f"The alarm needs a thumbnail ({SIDE}, {SIDE}) for each row of features, not "
                f"{self.thumbs.shape} for {self.features.shape}."
            )


@dataclass(frozen=True)
class Nearest:
    """A picture's most alike reference."""

    reference: int
    cosine: float
    likeness: float
    mirrored: bool


def thumb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB → (SIDE, SIDE) uint8 grey: stretched, and slightly blurred against JPEG's noise."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (3, 3), 0.8), np.uint8)


def likeness(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Correlation of two thumbnails (SIDE, SIDE), −1..1, where they overlap best: one may be a part of the other.

    Two blank ones are alike (1), a blank one is like nothing else (0).
    """
    flat = [float(part.std()) < 1.0 for part in (a, b)]
    if any(flat):
        return float(all(flat))
    best, warp, swapped = max(
        (_placed(*pair) for pair in ((a, b, False), (b, a, True))), key=lambda found: found[0]
    )
    if best < REFINE_ABOVE:
        return best
    part, whole = (b, a) if swapped else (a, b)
    return max(best, _refined(part, whole, warp))


def _placed(
    part: NDArray[np.uint8], whole: NDArray[np.uint8], swapped: bool
) -> tuple[float, NDArray[np.float32], bool]:
    """The best place of `part`, at some scale, inside `whole`: correlation, and the warp from part to whole."""
    small = cv2.resize(whole, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    best, warp = -1.0, np.eye(2, 3, dtype=np.float32)
    for scale in _SCALES:
        side = round(scale * COARSE)
        piece = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
        if float(piece.std()) < 1.0:
            continue
        found = cv2.matchTemplate(small, piece, cv2.TM_CCOEFF_NORMED)
        _, value, _, (x, y) = cv2.minMaxLoc(found)
        if np.isfinite(value) and value > best:
            ratio = SIDE / COARSE
            best = float(value)
            warp = np.array([[side / COARSE, 0, x * ratio], [0, side / COARSE, y * ratio]], np.float32)
    return best, warp, swapped


def _refined(part: NDArray[np.uint8], whole: NDArray[np.uint8], warp: NDArray[np.float32]) -> float:
    """Correlation after an affine fit at full size (Evangelidis & Psarakis 2008, doi:10.1109/TPAMI.2008.113)."""
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        value, fitted = cv2.findTransformECC(part, whole, warp.copy(), cv2.MOTION_AFFINE, stop)
    except cv2.error:  # it does not converge: the two are not alike
        return -1.0
    # a fit that shrinks the picture to a blot, or turns it over, finds likeness in anything
    area = float(np.linalg.det(np.asarray(fitted)[:, :2]))
    return float(value) if 0.5 <= area <= 1.2 else -1.0


def nearest(pictures: Looks, references: Looks, *, left_out: bool = False) -> list[Nearest]:
    """Each picture's most alike reference; with `left_out`, the two sets are one, and nobody meets itself.

    Raises `JogakError` when there is no reference, or no mirrored features of them.
    """
    count = len(references.thumbs)
    if references.mirrored is None or count < 1 + left_out:
        raise JogakError("The alarm needs reference pictures, and the features of their mirror images.")
    rows = unit(pictures.features)
    both = unit(references.features), unit(references.mirrored)
    found = []
    for i, row in enumerate(rows):
        cosines = np.stack([side @ row for side in both])
        if left_out:
            cosines[:, i] = -2
        found.append(_most_alike(pictures.thumbs[i], references.thumbs, cosines, count - left_out))
    return found


def _most_alike(
    picture: NDArray[np.uint8], thumbs: NDArray[np.uint8], cosines: NDArray[np.float64], count: int
) -> Nearest:
    """Of the nearest by features, each way round, the one whose pixels are most alike. cosines (2, M)."""
    best: Nearest | None = None
    for mirrored, around in enumerate(cosines):
        for at in np.argsort(-around, kind="stable")[: min(CANDIDATES, count)]:
            other = thumbs[at][:, ::-1] if mirrored else thumbs[at]
            alike = likeness(picture, np.ascontiguousarray(other))
            if best is None or alike > best.likeness:
                best = Nearest(int(at), float(around[at]), alike, bool(mirrored))
    assert best is not None
    return best


def alarm(pictures: Looks, references: Looks, names: Sequence[str], reference_names: Sequence[str]) -> Alarm:
    """Which pictures are copies of references. `names` are the pictures', one for each."""
    cosine_above, likeness_above = 0.5, 0.95
    calibrated = len(references.thumbs) >= FEW
    if calibrated:
        own = nearest(references, references, left_out=True)
        cosine_above = min(float(np.median([one.cosine for one in own])), COSINE_AT_MOST)
        closest = float(np.quantile([one.likeness for one in own], 0.95))
        likeness_above = float(np.clip((1 + closest) / 2, *LIKENESS_RANGE))
    copies = tuple(
        Copy(
            picture=name, reference=reference_names[one.reference], cosine=one.cosine, likeness=one.likeness,
            mirrored=one.mirrored,
        )
        for name, one in zip(names, nearest(pictures, references), strict=True)
        if one.cosine > cosine_above and one.likeness > likeness_above
    )  # fmt: skip
    return Alarm(
        cosine_above=cosine_above, likeness_above=likeness_above, references=len(references.thumbs),
        calibrated=calibrated, copies=copies,
    )  # fmt: skip


def memorisation_score(found: Alarm, pictures: int) -> Score:
    """The share of `pictures` that are copies, with Wilson's interval."""
    hits = np.arange(pictures) < len(found.copies)
    return share_score(f"memorised/{BACKBONE}", hits, backbone=BACKBONE, better="lower")
