"""What a person asks of the picture journey."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from jogak.spec.base import Spec

SamplerName = Literal["ddim", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "lcm"]

MAX_PROMPT = 4000
"""Characters in one prompt."""


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
    sampler: SamplerName = Field(default="dpmpp_2m_karras", description="how the noise is walked down")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="same seed, same picture")
    init: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="sha256 of the picture to start from (img2img)"
    )
    strength: float = Field(default=0.6, ge=0, le=1, description="img2img: 0 keeps the picture, 1 ignores it")

    @model_validator(mode="after")
    def _prompt_says_something(self) -> ImageRequest:
        if not self.prompt.strip():
            raise ValueError(
                "the prompt is empty; say what to draw, for example: a fox in a meadow at sunset"
            )
        return self
