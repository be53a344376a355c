"""What a film was worth: numbers with their interval, their judge and their unit; facts of its sound; gates.

`scores.json` is one `FilmScores`:

    {"film": [Score…],                  the means over the shots, and the share of shots that move
     "shots": [{"shot": "s1", "scores": [Score…]}…],
     "checks": [Check…],                what the film had to meet: loudness, true peak, dialogue, events
     "sound": SoundFacts,               what was measured on the mix and for each event
     "model": "…"}                      what drew the film: name, family, numeric mode, weights
    Score = {"name", "value", "low", "high", "n", "seed", "backbone", "unit", "better"}
    Check = {"name", "value", "at_least", "at_most", "n", "unit"}
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jogak.spec.base import Spec
from jogak.spec.film import EffectKind, Id


class Score(Spec):
    """One number that a judge gave. `name` says what was measured and, after a slash, by whose eye."""

    name: str = Field(pattern=r"^[a-z0-9_]+(/[a-z0-9_.-]+)?$", description="as in clip_score/pocket-judge")
    value: float
    low: float | None = Field(default=None, description="lower end of the 95 % interval; none when n < 2")
    high: float | None = Field(default=None, description="upper end of the 95 % interval; none when n < 2")
    n: int = Field(ge=1, description="how many observations (frames, pairs of frames, shots, pictures)")
    seed: int | None = Field(
        default=None, description="seed of the resampling behind the interval; none: no chance"
    )
    backbone: str = Field(default="", description="the network or algorithm whose eye was used")
    unit: str = Field(default="", description="%, px, LUFS …; empty: a plain ratio")
    better: Literal["higher", "lower"] = "higher"


class ShotScores(Spec):
    shot: Id
    scores: tuple[Score, ...]

    def get(self, name: str) -> Score | None:
        """The score of that name, or None when this shot was not scored so."""
        return next((score for score in self.scores if score.name == name), None)


class EventError(Spec):
    """How far the peak of one sound fell from where the plan wanted it."""

    shot: Id
    kind: EffectKind
    at: float = Field(ge=0, description="planned peak, seconds of the film")
    error_ms: float = Field(description="measured minus planned; positive: late")


class SoundFacts(Spec):
    """What was measured on the finished mix (BS.1770-4) and on the effects' stem."""

    integrated_lufs: float
    true_peak_dbtp: float
    dialogue_over_bed_db: float | None = Field(default=None, description="none when nobody speaks")
    events: tuple[EventError, ...] = ()


class Check(Spec):
    """One thing that the film had to meet."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    n: int = Field(default=1, ge=1)
    unit: str = ""

    @property
    def passed(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )


class FilmScores(Spec):
    film: tuple[Score, ...]
    shots: tuple[ShotScores, ...]
    checks: tuple[Check, ...] = ()
    sound: SoundFacts | None = None
    model: str = Field(default="", description="what drew the film: name, family, numeric mode, weights")
