"""Which take of each panel: the ones whose subjects are most alike, among those that are no copies and show their words.

A panel's consistency is the mean of two cosines of its subject's features: the mean to all references and the mean to
the other panels' subjects (subject fidelity as DreamBooth measures it, arXiv:2208.12242, taken both ways). What a panel
gains by another take is what the sum of all cosines gains, counted once, so choosing panel after panel comes to an end,
and the picks are such that no panel alone could do better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jogak.judge.identity import Vectors, identity, unit
from jogak.training.dataset_crops import saliency

ENOUGH = 4
"""References from which their own spread sets the bar."""
FIXED_BAR, FIXED_CLIP_BAR = 0.6, 0.3
"""For fewer references, by EfficientNet-lite0 and by pocket's judging CLIP; 24 pictures of a puppet had 0.63 and 0.31."""
LOWER_TENTH = 0.1
PATIENCE = 3
"""Fruitless tries in a row after which the next worst panel has its turn."""
WEIGHTS = (1.0, 1.1, 0.9)
"""Factors of the identity's weight, take after take."""
_INSIDE, _ROOM = 0.8, 0.1
"""Share of the saliency that the subject's box holds each way, and the room around it."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Look:
    """One take as the judges see it."""

    features: NDArray[np.floating]
    """(D,) unit, of the subject"""
    lead: float
    """cosine × 100 of its own words over the other panels'"""
    copy: bool = False
    """of a reference picture"""


@dataclass(frozen=True)
class Worth:
    consistency: float
    likeness: float
    """to the other panels"""
    identity: float | None
    """to the references; None without any"""


def subject_box(picture: NDArray[np.uint8]) -> Box:
    """Left, top, right, bottom of what stands out in a picture (H, W, 3) uint8: the middle 80 % of its saliency each way,
    and a tenth of room around it."""
    weight = saliency(picture).astype(np.float64)
    ends: list[tuple[int, int]] = []
    for axis, side in ((0, picture.shape[1]), (1, picture.shape[0])):
        mass = np.concatenate([[0.0], np.cumsum(weight.sum(axis))])
        if mass[-1] <= 0:
            ends.append((0, side))
            continue
        tail = (1 - _INSIDE) / 2
        low, high = np.interp([tail, 1 - tail], mass / mass[-1], np.linspace(0, side, len(mass)))
        room = _ROOM * (high - low)
        first = int(np.clip(low - room, 0, side - 1))
        ends.append((first, int(np.clip(round(high + room), first + 1, side))))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def lead(clip: NDArray[np.floating], read: NDArray[np.floating], said: Sequence[str], panel: int) -> float:
    """How much nearer a picture (D,) is to its own panel's words, `read` (N, D), than to the others', cosine × 100; 1 when
    all panels say the same."""
    cosines = 100 * np.asarray(read, np.float64) @ clip
    others = [cosine for words, cosine in zip(said, cosines, strict=True) if words != said[panel]]
    return float(cosines[panel] - np.mean(others)) if others else 1.0


def own_bar(references: Vectors | None) -> float | None:
    """What nine in ten references reach: the lower tenth of each one's mean cosine to the others; None for too few."""
    if references is None or len(references) < ENOUGH:
        return None
    rows = unit(references)
    others = (rows @ rows.sum(0) - (rows * rows).sum(1)) / (len(rows) - 1)
    return round(float(np.quantile(others, LOWER_TENTH)), 3)


def worth(look: Look, others: Sequence[Look], references: Vectors | None) -> Worth:
    """A take among the picks of the other panels."""
    own = unit(look.features[None])
    likeness = float(identity(own, np.stack([other.features for other in others]))[0])
    known = None if references is None else float(identity(own, references)[0])
    return Worth(likeness if known is None else (likeness + known) / 2, likeness, known)


def choose(takes: Sequence[Sequence[Look]], references: Vectors | None) -> tuple[int, ...]:
    """The number of the take that is kept of each panel; of equals, the earlier."""
    picks = [0] * len(takes)
    for _ in range(1000):  # it ends long before: every change raises a sum that has few values
        before = list(picks)
        for panel, candidates in enumerate(takes):
            others = _others(takes, picks, panel)
            ranks = [
                (not one.copy, one.lead > 0, worth(one, others, references).consistency) for one in candidates
            ]
            picks[panel] = max(range(len(candidates)), key=lambda at: (ranks[at], -at))
        if picks == before:
            break
    return tuple(picks)


def worths(
    takes: Sequence[Sequence[Look]], picks: Sequence[int], references: Vectors | None
) -> list[list[Worth]]:
    """What each take of each panel is worth among the other panels' picks."""
    return [
        [worth(one, _others(takes, picks, panel), references) for one in candidates]
        for panel, candidates in enumerate(takes)
    ]


def _others(takes: Sequence[Sequence[Look]], picks: Sequence[int], panel: int) -> list[Look]:
    return [takes[other][picks[other]] for other in range(len(takes)) if other != panel]


def fault(look: Look, value: Worth, bar: float) -> Literal["", "copy", "off_text", "below"]:
    """What keeps a take from passing; nothing: it passes."""
    if look.copy:
        return "copy"
    if look.lead <= 0:
        return "off_text"
    return "below" if value.consistency < bar else ""


def next_panel(takes: Sequence[Sequence[Look]], references: Vectors | None, bar: float) -> int | None:
    """The panel to draw again: the worst of those that do not pass, unless it had its tries; None when all pass."""
    picks = choose(takes, references)
    values = worths(takes, picks, references)
    failing = [
        panel for panel, pick in enumerate(picks) if fault(takes[panel][pick], values[panel][pick], bar)
    ]
    if not failing:
        return None

    def rank(panel: int) -> tuple[int, bool, bool, float]:
        pick = picks[panel]
        kept = takes[panel][pick]
        fruitless = len(takes[panel]) - 1 - pick
        return fruitless // PATIENCE, not kept.copy, kept.lead > 0, values[panel][pick].consistency

    return min(failing, key=rank)
