"""One line of a scorecard: a score with its interval, what it has to meet, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jogak.judge.stats import wilson
from jogak.spec.scores import Score


@dataclass(frozen=True)
class Row:
    """A measured score; it meets its bar from the side that `score.better` names."""

    score: Score
    bar: float | None = None
    sure: bool = False
    """The whole interval has to meet the bar, not the value alone."""

    @property
    def met(self) -> bool | None:
        """None without a bar."""
        if self.bar is None:
            return None
        score, up = self.score, self.score.better == "higher"
        found = (score.low if up else score.high) if self.sure else score.value
        if found is None or found != found:
            return False
        if self.sure:
            return found > self.bar if up else found < self.bar
        return found >= self.bar if up else found <= self.bar

    def __str__(self) -> str:
        score = self.score
        between = f"[{score.low:.3f}, {score.high:.3f}]" if score.low is not None else ""
        line = f"{score.name:<42} {score.value:8.3f} {between:<18} n={score.n}"
        if self.bar is None:
            return line
        side = "" if score.better == "higher" else "at most "
        whole = "interval beyond " if self.sure else side
        return f"{line}   bar {whole}{self.bar:g}: {'met' if self.met else 'MISSED'}"


@dataclass(frozen=True)
class Unmeasured:
    """A row without a number, and why it has none."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name:<42} {self.why}"


def say(row: str | Row | Unmeasured) -> None:
    print(row, flush=True)


def behind_score(name: str, ahead: ArrayLike, behind: ArrayLike) -> Score:
    """How much smaller the share of true is in `behind` (m,) than in `ahead` (n,), n, m ≥ 1, in -1..1.

    The interval is that of two independent samples, made of Wilson's for each (Newcombe 1998, method 10,
    doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I).
    """
    first, second = np.asarray(ahead, bool), np.asarray(behind, bool)
    (p, low_p, high_p), (q, low_q, high_q) = (
        (float(hits.mean()), *wilson(int(hits.sum()), len(hits))) for hits in (first, second)
    )
    down, up = np.hypot(p - low_p, high_q - q), np.hypot(high_p - p, q - low_q)
    return Score(
        name=name, value=p - q, low=float(p - q - down), high=float(p - q + up), n=min(len(first), len(second)),
        better="lower",
    )  # fmt: skip
