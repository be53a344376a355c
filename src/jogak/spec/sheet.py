"""What a person asks of a character sheet: who, in which panels, and how long to try.

`jogak sheet character.yaml` reads one `SheetRequest`:

    lang: ko
    character: {name: 하나, trigger: sks_girl, loras: [{name: hana.safetensors}], references: [pictures/]}
    panels:
      - {pose: waving, scene: in a garden by day, expression: with a happy smile, caption: {ko: 안녕!, en: Hello!}}
      - …

Paths are those of the person, relative to the file they stand in.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from jogak.spec.base import Spec
from jogak.spec.film import Lang
from jogak.spec.image import IpMode, LoraUse, SamplerName

Place = Annotated[str, Field(min_length=1, max_length=1000)]
"""A file or folder."""
Words = Annotated[str, Field(max_length=500)]

FEWEST_PANELS, MOST_PANELS = 3, 12


class Caption(Spec):
    """What stands below a panel, in both languages; plain text in YAML counts for both."""

    ko: str = Field(default="", max_length=200)
    en: str = Field(default="", max_length=200)

    def text(self, lang: Lang) -> str:
        return (self.ko or self.en) if lang == "ko" else (self.en or self.ko)


class Character(Spec):
    """Who is drawn, by which memory and with which gaze, and the settings that all panels share."""

    name: str = Field(min_length=1, max_length=60, description="as it stands on the page")
    trigger: str = Field(default="", max_length=100, description="the word that calls the LoRA")
    subject: Words = Field(
        default="",
        description="who that is, in words: a girl with red braids; the judge, who cannot know the trigger, reads it too",
    )
    loras: tuple[LoraUse, ...] = Field(
        default=(), max_length=4, description="identity: files, or names as in a prompt, with their weights"
    )
    references: tuple[Place, ...] = Field(
        default=(),
        max_length=24,
        description="pictures of the character, or folders of them; default: what the LoRA was trained on",
    )
    identity_weight: float = Field(
        default=0.6, ge=0, le=2, description="without a LoRA: of the IP-Adapter that looks at the references"
    )
    tone: Place | None = Field(
        default=None, description="one picture whose colours and manner all panels take"
    )
    tone_weight: float = Field(default=0.5, ge=0, le=2, description="of the IP-Adapter that looks at it")
    tone_mode: IpMode = Field(default="style", description="what of the tone picture is taken")
    look: Words = Field(default="", description="the manner in words, at the end of every prompt")
    pose_weight: float = Field(default=0.9, ge=0, le=2, description="of the ControlNet that reads poses")
    pose_end: float = Field(default=0.8, gt=0, le=1, description="share of the steps after which it lets go")
    control: Place | None = Field(
        default=None, description="the ControlNet for poses, a folder or file; default: the model's own"
    )
    ip: Place | None = Field(
        default=None, description="the IP-Adapter, a folder or file; default: the model's own"
    )
    model: str = Field(
        default="pocket", max_length=500, description="a catalogue name or a folder of weights"
    )
    width: int = Field(default=256, ge=64, le=2048, multiple_of=8, description="pixels of a panel")
    height: int = Field(default=256, ge=64, le=2048, multiple_of=8, description="pixels of a panel")
    steps: int = Field(default=20, ge=1, le=150, description="denoising steps")
    guidance: float = Field(default=4.0, ge=0, le=30, description="classifier-free guidance; 1 turns it off")
    sampler: SamplerName = Field(default="dpmpp_2m", description="how the noise is walked down")
    negative: str = Field(default="", max_length=2000, description="what to keep out of every panel")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="same seed, same sheet")

    @model_validator(mode="after")
    def _somebody_is_known(self) -> Character:
        if not self.loras and not self.references:
            raise ValueError("nothing says who it is; give loras, references (pictures or folders), or both")
        return self


class Panel(Spec):
    """One picture of the sheet."""

    pose: str = Field(
        default="",
        max_length=1000,
        description="a pose by its name, Korean or English, or the file of a pose map (OpenPose's colours)",
    )
    action: Words = Field(
        default="", description="the pose in the prompt's words; default: by the pose's name"
    )
    scene: Words = Field(default="", description="where and when: in a garden by day")
    expression: Words = Field(default="", description="the face: with a happy smile")
    extra: Words = Field(default="", description="whatever else belongs into this panel's prompt")
    caption: Caption = Field(default=Caption(), description="what stands below it")
    seed: int | None = Field(
        default=None, ge=0, le=2**32 - 1, description="default: the character's, plus the place"
    )

    @field_validator("caption", mode="before")
    @classmethod
    def _one_text_for_both(cls, given: Any) -> Any:
        return {"ko": given, "en": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _shows_something(self) -> Panel:
        if not any(words.strip() for words in (self.pose, self.action, self.scene, self.extra)):
            raise ValueError("the panel says nothing; give it a pose, a scene, or both")
        return self


class SheetRequest(Spec):
    """A whole sheet; `character.yaml` is this."""

    title: str = Field(
        default="", max_length=80, description="on top of the page; default: the character's name"
    )
    text: str = Field(default="", max_length=300, description="a line below the title")
    lang: Lang | Literal["auto"] = Field(
        default="auto",
        description="language of the page; auto: Korean as soon as name, title or captions are",
    )
    character: Character
    panels: tuple[Panel, ...] = Field(min_length=FEWEST_PANELS, max_length=MOST_PANELS)
    bar: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="consistency that every panel is to reach; default: what nine in ten references reach",
    )
    tries: int = Field(default=8, ge=0, le=500, description="panels drawn again at most, all in all")
    budget: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="seconds of drawing, in place of a number of tries; every panel is drawn once in any case",
    )

    @property
    def language(self) -> Lang:
        if self.lang != "auto":
            return self.lang
        captions = (panel.caption.ko or panel.caption.en for panel in self.panels)
        said = " ".join((self.title, self.text, self.character.name, *captions))
        return "ko" if re.search("[가-힣]", said) else "en"
