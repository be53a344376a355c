"""What a person asks of the film journey, and the plan that answers it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jogak.spec.base import Spec
from jogak.spec.image import MAX_REGIONS, Region

Lang = Literal["ko", "en"]
Planner = Literal["rules", "openai"]
ShotSize = Literal["wide", "medium", "close", "action", "closing"]
Camera = Literal["still", "pan_left", "pan_right", "tilt_up", "tilt_down", "zoom_in", "zoom_out"]
Mood = Literal["calm", "happy", "sad", "tense", "epic", "mysterious", "playful"]
EffectKind = Literal[
    "rain", "wind", "waves", "fire", "birds", "insects", "stream", "crowd",  # beds: as long as the shot
    "thunder", "steps", "whoosh", "impact", "bell", "splash", "chime", "engine", "door", "bark", "meow",
    "magic",  # moments: one peak
]  # fmt: skip
BEDS: frozenset[str] = frozenset({"rain", "wind", "waves", "fire", "birds", "insects", "stream", "crowd"})
"""Effects that fill a shot; every other one is a moment whose peak falls on `Event.at`."""
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,23}$")]
"""A name that is safe as a part of a file name."""


class FilmBrief(Spec):
    """One or two sentences and the few settings around them."""

    text: str = Field(min_length=1, max_length=2000, description="the brief, Korean or English")
    seconds: float = Field(
        default=20, ge=15, le=30, description="length of the film, title and end cards included"
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="same seed, same film")
    lang: Literal["ko", "en", "auto"] = Field(
        default="auto", description="language of titles, voice, subtitles"
    )
    planner: Planner = Field(
        default="rules", description="rules (offline) or openai (any OpenAI-compatible server)"
    )
    model: str = Field(
        default="pocket", max_length=500, description="what draws: a catalogue name or a folder of weights"
    )


class Line(Spec):
    """One spoken and subtitled sentence."""

    text: str = Field(min_length=1, max_length=200)
    at: float = Field(default=0.4, ge=0, le=30, description="seconds from the shot's start")


class Event(Spec):
    """One sound that belongs to the picture."""

    kind: EffectKind
    at: float = Field(
        default=0, ge=0, le=30, description="seconds from the shot's start; a moment peaks here"
    )
    gain_db: float = Field(default=0, ge=-40, le=12)


class Shot(Spec):
    id: Id
    size: ShotSize = "wide"
    prompt: str = Field(min_length=1, max_length=1000, description="what the picture model is told")
    negative: str = Field(default="", max_length=1000)
    camera: Camera = "still"
    light: str = Field(
        default="", max_length=100, description="the light, in words; already part of the prompt"
    )
    seconds: float = Field(default=4, ge=1, le=15)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    motion: float = Field(
        default=0.5, ge=0, le=1, description="how much the picture may change within the shot"
    )
    regions: tuple[Region, ...] = Field(
        default=(), max_length=MAX_REGIONS, description="words for parts of the keyframe: who stands where"
    )
    lines: tuple[Line, ...] = Field(default=(), max_length=4)
    events: tuple[Event, ...] = Field(default=(), max_length=12)

    @model_validator(mode="after")
    def _inside_the_shot(self) -> Shot:
        for part in (*self.lines, *self.events):
            if part.at > self.seconds:
                raise ValueError(
                    f"shot {self.id}: something starts at {part.at} s, but the shot ends at {self.seconds} s"
                )
        return self


class Music(Spec):
    key: str = Field(default="C major", pattern=r"^[A-G][#b]? (major|minor)$")
    tempo: int = Field(default=90, ge=40, le=200, description="beats a minute")
    mood: Mood = "calm"
    instruments: tuple[str, ...] = Field(
        default=("piano", "strings"),
        min_length=1,
        max_length=6,
        description="General MIDI names, melody first",
    )
    drums: bool = False


class FilmPlan(Spec):
    """The whole film before anything is drawn; `plan.yaml` is this, and may be edited and fed back."""

    title: str = Field(min_length=1, max_length=60)
    brief: str = Field(min_length=1, max_length=2000)
    lang: Lang
    planner: Planner = "rules"
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    title_seconds: float = Field(default=2.0, ge=1, le=5)
    end_seconds: float = Field(default=1.5, ge=1, le=5)
    shots: tuple[Shot, ...] = Field(min_length=1, max_length=12)
    music: Music = Music()
    model: str = Field(default="pocket", max_length=500)
    notes: tuple[str, ...] = Field(default=(), description="what the planner assumed or adjusted, and why")

    @model_validator(mode="after")
    def _coherent(self) -> FilmPlan:
        ids = [shot.id for shot in self.shots]
        if len(set(ids)) != len(ids):
            raise ValueError("two shots have the same id; give each its own")
        if self.seconds > 40:
            raise ValueError(
                f"the film would last {self.seconds:.1f} s; shorten the shots to 40 s or less in all"
            )
        return self

    @property
    def seconds(self) -> float:
        return self.title_seconds + sum(shot.seconds for shot in self.shots) + self.end_seconds

    @property
    def starts(self) -> tuple[float, ...]:
        """Where each shot starts, in seconds of the film."""
        at = self.title_seconds
        starts: list[float] = []
        for shot in self.shots:
            starts.append(at)
            at += shot.seconds
        return tuple(starts)


FILM_WIDTH, FILM_HEIGHT, FILM_FPS = 1280, 720, 24
AUDIO_RATE = 48_000
