"""What a look before the start finds: each finding says what, where, and what to do next."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jogak.spec.base import Spec

Level = Literal["stop", "warn", "note"]


class Finding(Spec):
    """One thing that was noticed before a weight was read."""

    level: Level = Field(
        description="stop: cannot work; warn: will disappoint; note: good to know, nothing is wrong"
    )
    code: str = Field(pattern=r"^[a-z]+(\.[a-z_]+)+$", description="for programs, as in lora.base")
    about: str = Field(description="the file, flag or setting it is about")
    en: str = Field(description="a sentence or two: what, and what to do next")
    ko: str = Field(description="the same in Korean")

    def text(self, language: Literal["en", "ko"]) -> str:
        return self.ko if language == "ko" else self.en


class Machine(Spec):
    """The memory that is free. None where it cannot be told or there is none of the kind."""

    ram_mb: int | None = Field(default=None, ge=0)
    vram_mb: int | None = Field(default=None, ge=0)


class MemoryNeed(Spec):
    """What a drawing is estimated to take, in megabytes (10⁶ bytes)."""

    ram_mb: int = Field(ge=0, description="main memory at its peak")
    vram_mb: int = Field(ge=0, description="GPU memory at its peak; 0 without a GPU")
