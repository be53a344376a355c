"""What a set of pictures was worth: scores with their interval, what each picture was worth, alarms, alternatives.

`scores.json` of `jogak eval`, and of any journey that draws pictures, is one `PictureScores`:

    {"pictures": 64, "references": 24, "lead": "kid/efficientnet-lite0",
     "whole": [Score…],                                   over all pictures
     "items": [{"picture", "sha256", "prompt", "scores": [Score…]}…],
     "bars": [Bar…],                                      what was to be reached, by part of the rubric
     "alarm": Alarm | null,                               copies of reference pictures
     "alternatives": [Alternative…],                      what else was tried, and why it lost
     "missing": [Missing…],                               what was not measured, and why
     "notes": ["…"]}
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jogak.spec.base import Spec
from jogak.spec.handles import Image, Sha256
from jogak.spec.image import ControlKind
from jogak.spec.scores import Check, Score

Part = Literal["quality", "control", "reasoning"]
"""A part of the rubric; the report weighs them 40, 40 and 20."""
Name = Annotated[str, Field(max_length=1000)]
Why = Literal[
    "few_pictures", "no_reference", "no_prompts", "no_maps", "no_detector", "no_weights", "same_prompts", "not_asked",
    "no_sweep", "no_validation", "no_folder",
]  # fmt: skip


class EvalRequest(Spec):
    """What `jogak eval` is asked. The pictures themselves travel beside it, by their digests."""

    folder: str = Field(max_length=1000, description="the pictures to score")
    reference: str | None = Field(
        default=None, max_length=1000, description="real or training pictures to compare with"
    )
    clip: str | None = Field(
        default=None, max_length=1000, description="a folder with a CLIPModel; default: pocket's judge"
    )
    inception: str | None = Field(
        default=None, max_length=1000, description="FID's Inception network in safetensors, for true FID"
    )
    prompts: str | None = Field(
        default=None,
        max_length=1000,
        description="a text file with FILE, a tab and PROMPT on each line; default: FILE.txt beside each, or the picture itself",
    )
    maps: dict[ControlKind, str] = Field(
        default_factory=dict, description="by kind of control, the folder with the maps that were asked for"
    )
    seed: int = Field(
        default=0, ge=0, le=2**32 - 1, description="seed of the resampling behind the intervals"
    )
    limit: int = Field(
        default=20_000, ge=2, le=100_000, description="pictures of a folder that are read at most"
    )


class Bar(Check):
    """Something that was to be reached, in one part of the rubric."""

    part: Part


class ItemScores(Spec):
    """One picture's own numbers."""

    picture: Name = Field(description="its name in the folder")
    sha256: Sha256 | None = None
    prompt: str = Field(default="", max_length=4000)
    scores: tuple[Score, ...] = ()

    def get(self, name: str) -> Score | None:
        """The score of that name, or the first whose name begins with it and a slash."""
        return next((score for score in self.scores if name in (score.name, score.name.split("/")[0])), None)


class MapPair(Spec):
    """A control map that a picture was to follow, beside the one taken from the picture again."""

    picture: Name
    kind: str = Field(max_length=40)
    measure: str = Field(max_length=60, description="edge_f1, depth_rmse, lines_ms_ssim …")
    value: float
    also: dict[str, float] = Field(default_factory=dict, description="other measures of the same two maps")
    wanted: Image
    found: Image
    shown: Image = Field(description="the picture itself, small")


class Shown(Spec):
    """A small picture for the report."""

    name: Name
    role: Literal["picture", "copy", "original", "reference"] = "picture"
    image: Image


class Copy(Spec):
    """A picture that is nearer to a reference picture than reference pictures are to each other."""

    picture: Name
    reference: Name
    cosine: float = Field(ge=-1.001, le=1.001, description="of their features")
    likeness: float = Field(
        ge=-1.001, le=1.001, description="correlation of their pixels once they are aligned"
    )
    mirrored: bool = Field(default=False, description="it is the reference's mirror image")


class Alarm(Spec):
    """The memorisation alarm: its thresholds, what they were set by, and what it found."""

    cosine_above: float = Field(description="both have to be exceeded")
    likeness_above: float = Field(description="both have to be exceeded")
    references: int = Field(ge=1)
    calibrated: bool = Field(
        description="thresholds from the references' own nearest neighbours, each left out in turn; else fixed"
    )
    copies: tuple[Copy, ...] = ()


class Alternative(Spec):
    """One of the ways that were tried."""

    name: Name
    settings: dict[str, str] = Field(
        default_factory=dict, max_length=40, description="only what sets it apart"
    )
    scores: tuple[Score, ...] = ()
    picture: Sha256 | None = Field(default=None, description="a picture of it in the store")
    chosen: bool = False
    reason: str = Field(default="", max_length=2000, description="why it was chosen, or why not")


class Missing(Spec):
    """A score that is not here, and why, so that nobody takes silence for a pass."""

    name: str = Field(max_length=100)
    why: Why
    detail: str = Field(default="", max_length=300)


class PictureScores(Spec):
    pictures: int = Field(default=0, ge=0)
    references: int = Field(default=0, ge=0)
    lead: str = Field(
        default="", max_length=100, description="the distance that may be trusted at this number"
    )
    whole: tuple[Score, ...] = ()
    items: tuple[ItemScores, ...] = ()
    bars: tuple[Bar, ...] = ()
    alarm: Alarm | None = None
    alternatives: tuple[Alternative, ...] = ()
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_choice(self) -> PictureScores:
        if sum(one.chosen for one in self.alternatives) > 1:
            raise ValueError("two alternatives are chosen; choose one")
        return self

    def get(self, name: str) -> Score | None:
        """The score of that name, or the first whose name begins with it and a slash."""
        return next((score for score in self.whole if name in (score.name, score.name.split("/")[0])), None)
