"""How far a journey is as a whole, and how long it still takes: each part's price, corrected by how long it took.

A journey prices its parts before it begins; its steps then say how far they are. Nothing here knows which journey.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jogak.store import Progress

TRUST_SECONDS = 10.0
"""How much of a price is believed: against so many seconds of work it counts as much as the clock. A part that makes
ready for some seconds before its first piece then does not frighten anybody."""
FOUND, MADE = "already made", "made"
"""What the store says when a step ends."""


@dataclass(frozen=True)
class Part:
    """A piece of a journey that ends when `step` ends in `scope`."""

    name: str
    """for a person"""
    step: str
    scope: str
    seconds: float
    """what it is thought to take"""


@dataclass(frozen=True)
class Where:
    """How far the whole is."""

    part: str
    """the name of what is being done"""
    done: float
    """the share of the whole that is done, 0 to 1"""
    left: float
    """seconds still to go"""


class Whole:
    """The parts of one run, in the order in which they are done."""

    def __init__(self, parts: Sequence[Part], clock: Callable[[], float] = time.perf_counter) -> None:
        self._parts, self._clock = tuple(parts), clock
        self._ended: set[Part] = set()
        self._took: dict[Part, float] = {}
        """of the parts that were made; those found in the store say nothing of the others"""
        self._begun = clock()
        self._inner = 0.0
        """the share of the current part that is done"""

    def hear(self, told: Progress) -> Where:
        """Take in what a step says, and tell where the whole is."""
        same = (one for one in self._parts if (one.step, one.scope) == (told.step, told.scope))
        part = next((one for one in same if one not in self._ended), None)
        if part is not None and told.text in (FOUND, MADE):
            self._end(part, made=told.text == MADE)
        elif part is not None and part == self._current():
            self._inner = min(told.done / max(told.total, 1), 1.0)
        return self.where()

    def where(self) -> Where:
        """Where the whole is now."""
        current = self._current()
        if current is None:
            return Where(self._parts[-1].name if self._parts else "", 1.0, 0.0)
        done = sum(one.seconds for one in self._ended) + self._inner * current.seconds
        whole = sum(one.seconds for one in self._parts)
        return Where(current.name, done / whole if whole else 0.0, self._left(current))

    def _current(self) -> Part | None:
        return next((one for one in self._parts if one not in self._ended), None)

    def _end(self, part: Part, made: bool) -> None:
        now = self._clock()
        if made:
            self._took[part] = now - self._begun
        self._ended.add(part)
        self._begun, self._inner = now, 0.0

    def _left(self, current: Part) -> float:
        open_parts = (one for one in self._parts if one not in self._ended)
        return sum(
            one.seconds * self._slower(one.step, current) * (1 - (self._inner if one == current else 0))
            for one in open_parts
        )

    def _slower(self, step: str, current: Part) -> float:
        """How many times its price a part of this kind takes, by those that ended and what is done of the current one."""
        took = sum(seconds for one, seconds in self._took.items() if one.step == step)
        priced = sum(one.seconds for one in self._took if one.step == step)
        if current.step == step and self._inner:
            took += self._clock() - self._begun
            priced += self._inner * current.seconds
        return (TRUST_SECONDS + took) / (TRUST_SECONDS + priced)
