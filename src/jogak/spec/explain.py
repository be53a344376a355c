"""What an explanation of a picture holds: its parts off and at half, its way out of the noise, its words."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jogak.spec.base import Spec
from jogak.spec.film import Lang
from jogak.spec.handles import Image, Sha256
from jogak.spec.image import ImageRequest

PartKind = Literal["prompt", "negative", "guidance", "init", "hires", "regions", "lora", "control", "ip"]


class Part(Spec):
    """Something that a picture was made with, and the requests that ask for it without, and for half of it."""

    kind: PartKind
    name: str = Field(description="for people: the LoRA's name, what the control shows, the words themselves")
    off: ImageRequest
    half: ImageRequest | None = Field(description="None where half of it cannot be asked for")


class Likeness(Spec):
    """A picture against the whole one: the same seed, one part changed."""

    clip_score: float = Field(description="100 × cosine to the prompt, by the judge")
    feature_distance: float = Field(description="1 − cosine of EfficientNet's features; 0: the same")
    ms_ssim: float = Field(description="structural similarity, 1: the same")
    pixel_change: float = Field(description="mean difference of the pixels, as a share of their range")


class Contribution(Spec):
    """What a part does to a picture: how the picture changes without it."""

    kind: PartKind
    name: str
    off: Likeness
    half: Likeness | None
    off_picture: Image
    half_picture: Image | None


class Instant(Spec):
    """One step on the way out of the noise. Norms are over all latents of the picture."""

    step: int = Field(ge=1)
    sigma: float = Field(gt=0)
    score_norm: float = Field(description="‖(x̂₀ − xₜ) / σ²‖")
    noise_norm: float = Field(description="√d / σ: what the score's norm is where x̂₀ is the truth")
    change: float = Field(description="root mean square of x̂₀ against that of the step before; the first: 0")
    noisy: Image | None = Field(default=None, description="x_t / √(1 + σ²), decoded; only of chosen steps")
    clean: Image | None = Field(default=None, description="x̂₀ decoded; only of chosen steps")


class Word(Spec):
    """A word of the prompt, and where the picture looked at it."""

    text: str
    share: float = Field(ge=0, le=1, description="of the attention that all these words got")
    focus: float = Field(
        ge=0, description="highest attention against the mean over the picture; 1: everywhere"
    )
    heat: Image = Field(description="grey, 0 to the map's own highest")


class Explanation(Spec):
    """All that `jogak explain` found, as it stands in explain.json."""

    picture: Sha256
    request: ImageRequest
    model: str
    numeric: str
    judge: str
    lang: Lang
    identical: bool = Field(description="drawn again now, it is the picture pixel for pixel")
    full: Likeness
    full_picture: Image
    contributions: tuple[Contribution, ...] = Field(description="what changes the picture most comes first")
    instants: tuple[Instant, ...] = ()
    words: tuple[Word, ...] = ()
