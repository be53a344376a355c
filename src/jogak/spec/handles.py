"""Handles: what travels between steps in place of the media themselves (path + sha256 + small facts)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from jogak.spec.base import Spec

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Handle(Spec):
    """A file in the store, known by its content. Two handles with the same digest and facts are the same thing."""

    sha256: Sha256
    suffix: str = Field(pattern=r"^\.[a-z0-9.]{1,12}$", description="file ending, with the dot")
    path: Path = Field(description="where the file lies in the store; no part of its identity")


class Image(Handle):
    width: int = Field(ge=1, description="pixels")
    height: int = Field(ge=1, description="pixels")


class Clip(Handle):
    """Frames without sound."""

    width: int = Field(ge=1, description="pixels")
    height: int = Field(ge=1, description="pixels")
    frames: int = Field(ge=1)
    fps: float = Field(gt=0, description="frames a second")
    method: str = Field(default="", description="how the frames came to be, for the report")

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


class Audio(Handle):
    """A WAV file, float or 16-bit."""

    rate: int = Field(ge=8000, description="samples a second")
    channels: int = Field(ge=1, le=2)
    samples: int = Field(ge=0, description="samples in each channel")

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


class Video(Handle):
    """A finished MP4: picture, sound and subtitles."""

    width: int
    height: int
    frames: int
    fps: float


class Document(Handle):
    """A text, JSON, SVG or PDF file."""


class ModelRef(Spec):
    """A set of weights as a step sees it: enough for a cache key, without opening a weight."""

    name: str = Field(description="catalogue name or folder, as the person gave it")
    family: str = Field(description="pocket, sd15, sdxl …")
    folder: Path = Field(description="where the weights lie; no part of their identity")
    digest: Sha256 = Field(description="sha256 over the weights and configuration files")
    numeric: str = Field(description="backend and precision that will run, as in openvino-bf16 or torch-fp32")


class Adapter(Handle):
    """A LoRA, ControlNet or IP-Adapter file as a step sees it: known by its weights."""

    name: str = Field(description="file stem, for people and for infotext; the digest is what counts")
    kind: str = Field(description="lora, control or ip")
