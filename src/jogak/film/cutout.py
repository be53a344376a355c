"""A keyframe taken apart: what stands in it, and the ground behind, drawn where nothing was to be seen."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from jogak.film.pose import Stand

MIN_SHARE, MAX_SHARE = 0.006, 0.5
"""A cut-out covers at least and at most this much of the picture."""
MOST = 3
"""Cut-outs in one picture."""


class Cutout(NamedTuple):
    """One thing that stands in a keyframe."""

    alpha: np.ndarray  # (H, W) float32, 0..1, a soft edge one pixel wide
    stand: Stand


def cut_out(key: np.ndarray, likely: np.ndarray) -> tuple[Cutout, ...]:
    """What stands in a picture where it is likely to stand; far things first.

    `key` is (H, W, 3) uint8 RGB, `likely` (H, W) in 0..1. Edges are found by colour (GrabCut, Rother et al.,
    SIGGRAPH 2004), which drawings with clean outlines suit. Empty when nothing is found, or when it
    is too small or too large to be a thing on a ground.
    """
    guess = np.full(likely.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    guess[likely < 0.12] = cv2.GC_BGD
    guess[likely > 0.45] = cv2.GC_PR_FGD
    if not (guess == cv2.GC_PR_FGD).any() or not (guess == cv2.GC_BGD).any():
        return ()
    colours = cv2.cvtColor(key, cv2.COLOR_RGB2LAB)
    cv2.setRNGSeed(0)  # GrabCut's k-means draws from it
    nowhere = (0, 0, 1, 1)  # the mask counts, not the rectangle
    cv2.grabCut(colours, guess, nowhere, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    inside = ((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)).astype(np.uint8)
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((3, 3), dtype=np.uint8))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    areas = {number: int(facts[number, cv2.CC_STAT_AREA]) for number in range(1, count)}
    chosen = [
        number
        for number in sorted(areas, key=lambda number: -areas[number])[:MOST]
        if MIN_SHARE <= areas[number] / inside.size <= MAX_SHARE and likely[labels == number].mean() > 0.3
    ]
    things = [_cutout(labels == number) for number in chosen]
    return tuple(sorted(things, key=lambda thing: thing.stand.y))


def _cutout(inside: np.ndarray) -> Cutout:
    filled = inside.astype(np.uint8)
    outlines, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, outlines, -1, 1, thickness=cv2.FILLED)
    rows, columns = np.nonzero(filled)
    height = filled.shape[0]
    cut = bool(rows.max() >= height - 2)
    alpha = cv2.GaussianBlur(filled.astype(np.float32), (0, 0), 0.7)
    stand = Stand(
        x=float(columns.mean()),
        y=float(height if cut else rows.max() + 1),
        height=float(np.ptp(rows) + 1),
        cut=cut,
    )
    return Cutout(alpha, stand)


def hidden(things: tuple[Cutout, ...], shape: tuple[int, int]) -> np.ndarray:
    """Where (H, W) bool the ground is behind a thing, its edge and the shadow at its foot included."""
    covered = np.zeros(shape, dtype=np.uint8)
    for thing in things:
        covered |= (thing.alpha > 0.05).astype(np.uint8)
    return cv2.dilate(covered, np.ones((9, 9), dtype=np.uint8)) > 0


def smear(key: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The picture with `where` filled from around (Telea's inpainting), for the model to draw over."""
    return cv2.inpaint(key, where.astype(np.uint8), 5, cv2.INPAINT_TELEA) if where.any() else key
