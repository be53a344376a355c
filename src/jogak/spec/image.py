"""What a person asks of the picture journey."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, model_validator

from jogak.spec.base import Spec

SamplerName = Literal["ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "lcm"]

MAX_PROMPT = 4000
"""Characters in one prompt."""


ControlKind = Literal["canny", "scribble", "lineart", "hed", "depth", "pose", "none"]
"""How a picture becomes a control map; `none` takes it as a map that is ready."""
IpMode = Literal["all", "style", "layout"]
MAX_ADAPTERS = 8
MAX_REGIONS = 6

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LoraUse(Spec):
    """A LoRA in a picture: `<lora:name:0.8>` or `--lora name:0.8`."""

    name: str = Field(min_length=1, max_length=500, description="file, file stem, or ss_output_name")
    weight: float = Field(default=1.0, ge=-4, le=4, description="strength in the UNet; 0 changes nothing")
    text_weight: float | None = Field(
        default=None, ge=-4, le=4, description="strength in the text encoder; default: as in the UNet"
    )
    blocks: dict[str, float] = Field(
        default_factory=dict, description="factor by block: down.0, mid, up.1 …; blocks not named keep 1"
    )


class ControlUse(Spec):
    """A ControlNet in a picture: `--control canny=photo.png:0.8@0.0-0.7`."""

    kind: ControlKind
    image: Digest = Field(description="sha256 of the picture or map")
    shows: ControlKind | None = Field(default=None, description="for a map that is ready: what it shows")
    model: str | None = Field(
        default=None, max_length=500, description="a catalogue name, folder or file; default: by the kind"
    )
    weight: float = Field(default=1.0, ge=0, le=2, description="0 changes nothing")
    start: float = Field(default=0.0, ge=0, le=1, description="share of the steps before it begins")
    end: float = Field(default=1.0, ge=0, le=1, description="share of the steps after which it ends")

    @model_validator(mode="after")
    def _ends_after_start(self) -> ControlUse:
        if self.end <= self.start:
            raise ValueError("the control ends before it begins; give a range such as 0.0-0.7")
        return self


class IpUse(Spec):
    """An IP-Adapter reference in a picture: `--ip ref.png:0.6`."""

    image: Digest = Field(description="sha256 of the reference picture")
    weight: float = Field(default=0.6, ge=0, le=2, description="0 changes nothing")
    mode: IpMode = Field(
        default="all", description="the whole reference, its style alone, or its layout alone"
    )
    model: str | None = Field(
        default=None, max_length=500, description="file or folder; default: the model's own"
    )


Box = tuple[float, float, float, float]
PLACES: Mapping[str, Box] = MappingProxyType(
    {
        "left": (0.0, 0.0, 0.5, 1.0),
        "right": (0.5, 0.0, 1.0, 1.0),
        "middle": (0.25, 0.0, 0.75, 1.0),
        "top": (0.0, 0.0, 1.0, 0.5),
        "bottom": (0.0, 0.5, 1.0, 1.0),
    }
)
"""Parts of a picture by name: left, top, right, bottom in shares of it."""


class Region(Spec):
    """A part of a picture with words of its own: `--region left="a fox"`."""

    prompt: str = Field(
        min_length=1, max_length=MAX_PROMPT, description="all that is said of the part, place and light too"
    )
    box: Box = Field(
        description="left, top, right, bottom in shares of the picture: 0,0,0.5,1 is its left half"
    )

    @model_validator(mode="after")
    def _lies_in_the_picture(self) -> Region:
        left, top, right, bottom = self.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(
                "the box of a region is left, top, right, bottom, each from 0 to 1, such as 0,0,0.5,1"
            )
        return self


class ImageRequest(Spec):
    """One picture, wholly described: the same request on the same machine gives the same pixels."""

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT, description="what to draw, Korean or English")
    negative: str = Field(default="", max_length=MAX_PROMPT, description="what to keep out")
    model: str = Field(
        default="pocket", max_length=500, description="a catalogue name or a folder of weights"
    )
    width: int = Field(default=256, ge=64, le=2048, multiple_of=8, description="pixels, a multiple of 8")
    height: int = Field(default=256, ge=64, le=2048, multiple_of=8, description="pixels, a multiple of 8")
    steps: int = Field(default=20, ge=1, le=150, description="denoising steps")
    guidance: float = Field(default=4.0, ge=0, le=30, description="classifier-free guidance; 1 turns it off")
    sampler: SamplerName = Field(default="dpmpp_2m", description="how the noise is walked down")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="same seed, same picture")
    init: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="sha256 of the picture to start from (img2img)"
    )
    strength: float = Field(default=0.6, ge=0, le=1, description="img2img: 0 keeps the picture, 1 ignores it")

    mask: Digest | None = Field(
        default=None, description="sha256 of the mask: white is drawn anew, black is kept (inpainting)"
    )
    hires: float = Field(
        default=1.0, ge=1, le=4, description="draw small, enlarge by this factor, draw the details again"
    )
    vae: str | None = Field(
        default=None, max_length=500, description="an autoencoder in place of the model's own: file or folder"
    )
    embeddings: tuple[Annotated[str, Field(max_length=500)], ...] = Field(
        default=(),
        max_length=MAX_ADAPTERS,
        description="textual inversions; a prompt calls them by file stem",
    )
    memory: tuple[Annotated[str, Field(max_length=40)], ...] = Field(
        default=(), max_length=MAX_ADAPTERS, description="ways to spend less memory, as in fp8,vae-tiles"
    )
    regions: tuple[Region, ...] = Field(
        default=(), max_length=MAX_REGIONS, description="parts of the picture with words of their own"
    )
    loras: tuple[LoraUse, ...] = Field(default=(), max_length=MAX_ADAPTERS)
    controls: tuple[ControlUse, ...] = Field(default=(), max_length=MAX_ADAPTERS)
    ips: tuple[IpUse, ...] = Field(default=(), max_length=MAX_ADAPTERS)

    @model_validator(mode="after")
    def _prompt_says_something(self) -> ImageRequest:
        if not self.prompt.strip():
            raise ValueError(
                "the prompt is empty; say what to draw, for example: a fox in a meadow at sunset"
            )
        return self
