"""Training pictures: what is asked of them, what was found in them, and the set that a training reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jogak.spec.base import Spec
from jogak.spec.handles import Sha256

CropMode = Literal["smart", "center", "none"]
CaptionMode = Literal["pocket", "blip", "wd14", "none"]
CaptionLang = Literal["en", "ko"]
Severity = Literal["error", "warning", "note"]

MAX_PICTURES = 5000
"""Pictures in one data set."""
MAX_CAPTION = 2000
"""Characters in one caption."""

Trigger = Annotated[str, Field(pattern=r"^[^\s,()<>\[\]:|\\/\"'*?]{1,40}$")]
"""One word that a prompt can carry as it is: no space, and none of the signs that prompts give a meaning."""
ClassName = Annotated[str, Field(pattern=r"^[^,()<>\[\]:|\\/\"'*?\x00-\x1f]{0,60}$")]


class DatasetRequest(Spec):
    """What `jogak dataset make` is to do."""

    trigger: Trigger = Field(description="the made-up word that will call the character or style: sk_style")
    class_name: ClassName = Field(default="", description="what it is, in a word or two: puppet, fox, 인형")
    size: int = Field(default=512, ge=64, le=2048, description="a bucket has about size × size pixels")
    step: int = Field(
        default=64, ge=8, le=256, multiple_of=8, description="sides of a bucket are multiples of this"
    )
    crop: CropMode = Field(
        default="smart", description="smart keeps the subject, center the middle, none the whole picture"
    )
    caption: CaptionMode = Field(
        default="pocket", description="who writes captions that are not there: pocket, blip, wd14 or none"
    )
    lang: CaptionLang = Field(default="en", description="language of pocket's captions")
    repeats: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="times each picture counts in an epoch; default: as its folder says, else 10",
    )
    licence: str = Field(
        default="", max_length=2000, description="who made the pictures and what may be done with them"
    )

    @model_validator(mode="after")
    def _buckets_exist(self) -> DatasetRequest:
        if self.step > self.size:
            raise ValueError(
                f"the step {self.step} is larger than the size {self.size}; choose a smaller one"
            )
        return self


class DatasetImage(Spec):
    """One training picture: a file, what part of it counts, the size it is trained at, and its words."""

    file: str = Field(min_length=1, max_length=1000, description="path inside the data set's folder, with /")
    sha256: Sha256
    caption: str = Field(max_length=MAX_CAPTION, description="the words it is trained with")
    caption_by: str = Field(
        default="file", max_length=100, description="file, pocket, blip, wd14, or none (trigger and class)"
    )
    width: int = Field(ge=8, le=4096, multiple_of=8, description="pixels of its bucket")
    height: int = Field(ge=8, le=4096, multiple_of=8, description="pixels of its bucket")
    crop: tuple[int, int, int, int] = Field(
        description="left, top, right, bottom in pixels of the upright file: what is scaled to width × height"
    )
    repeats: int = Field(default=1, ge=1, le=1000, description="times it counts in an epoch")
    source: str = Field(default="", max_length=1000, description="name of the original it was cut from")
    source_sha256: Sha256 | None = None
    source_crop: tuple[int, int, int, int] | None = Field(
        default=None, description="what was cut, in pixels of the upright original"
    )

    @model_validator(mode="after")
    def _stays_inside(self) -> DatasetImage:
        parts = self.file.split("/")
        if "\\" in self.file or any(part in ("", ".", "..") for part in parts):
            raise ValueError("it leaves the data set's folder; name a file inside it")
        left, top, right, bottom = self.crop
        if not (0 <= left < right and 0 <= top < bottom):
            raise ValueError("the crop is empty; give left, top, right, bottom")
        return self


class Dataset(Spec):
    """A set of training pictures, as `dataset.json` in its folder says, or as read from a folder without one."""

    format: Literal[1] = 1
    trigger: str = Field(default="", max_length=100, description="empty when none is known")
    class_name: str = Field(default="", max_length=100)
    licence: str = Field(default="", max_length=2000)
    images: tuple[DatasetImage, ...] = Field(min_length=1, max_length=MAX_PICTURES)
    made_with: DatasetRequest | None = Field(default=None, description="None when it was not made by Jogak")
    notes: tuple[str, ...] = Field(default=(), max_length=200, description="what was decided along the way")

    @model_validator(mode="after")
    def _files_differ(self) -> Dataset:
        if len({image.file for image in self.images}) != len(self.images):
            raise ValueError("a file occurs twice; name each once")
        return self

    @property
    def buckets(self) -> dict[tuple[int, int], int]:
        """(width, height) → pictures in it, the fullest first."""
        counts: dict[tuple[int, int], int] = {}
        for image in self.images:
            size = image.width, image.height
            counts[size] = counts.get(size, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class Finding(Spec):
    """One thing the doctor found: what, where, and what to do."""

    name: str = Field(pattern=r"^[a-z][a-z_]{1,40}$", description="which finding; the same in every language")
    severity: Severity
    what: str
    todo: str
    files: tuple[str, ...] = ()
    facts: dict[str, str | int | float] = Field(default_factory=dict, description="the numbers behind it")


class PictureFacts(Spec):
    """What was measured of one picture."""

    file: str
    width: int
    height: int
    blur: float | None = Field(description="radius of its blur in pixels of the training size; None if blank")
    plain: bool = Field(description="one colour all round its border")
    caption: str | None


class DatasetReport(Spec):
    """What the doctor says of a folder."""

    folder: str
    lang: CaptionLang
    trigger: str = Field(description="empty when none was given or found")
    pictures: tuple[PictureFacts, ...]
    findings: tuple[Finding, ...] = Field(description="errors first")

    @property
    def errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)
