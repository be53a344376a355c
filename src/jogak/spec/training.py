"""What a person asks of a training, what a sweep of its checkpoints asks and answers, and the handle of what
training keeps in the store."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from jogak.spec.base import Spec
from jogak.spec.handles import Handle, Image, Sha256

LoraKind = Literal["lora", "dora", "loha", "lokr"]
Optimizer = Literal["adamw", "adamw8bit", "prodigy"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Verdict = Literal["right", "overfit", "underfit", "diverged"]
Prompt = Annotated[str, Field(min_length=1, max_length=1000)]

FAMILY_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "pocket": MappingProxyType(
            {
                "resolution": 256,
                "rank": 16,
                "alpha": 16.0,
                "lr": 1e-3,
                "steps": 250,
                "batch": 4,
                "tag_dropout": 0.5,
            }
        ),
        "sdxl": MappingProxyType({"resolution": 1024, "batch": 1, "gradient_checkpointing": True}),
        "sd2": MappingProxyType({"resolution": 768}),
    }
)
"""What differs from the defaults below for a family of base models; see `TrainRequest.for_family`."""


class Tensors(Handle):
    """A safetensors file that training keeps in the store: latents of a picture, or the states of a caption."""


class TrainRequest(Spec):
    """One training, wholly described: the same request, pictures and machine give the same loss curve."""

    base: str = Field(
        default="pocket", max_length=500, description="the model to train for: a catalogue name or a folder"
    )
    name: str = Field(
        default="lora",
        pattern=r"^[\w][\w.-]{0,63}$",
        description="the LoRA's name, by which prompts call it (its file without the ending)",
    )
    trigger: str = Field(
        default="",
        max_length=100,
        description="the word that calls what is learned; the caption of a picture that has none",
    )

    kind: LoraKind = Field(
        default="lora",
        description="lora; dora learns size and direction apart; loha and lokr say more with fewer numbers",
    )
    rank: int = Field(
        default=32, ge=1, le=1024, description="how many directions each layer may learn (pocket: 16)"
    )
    alpha: float = Field(
        default=16, gt=0, le=4096, description="the update is scaled by alpha / rank (pocket: 16)"
    )
    targets: Literal["attention", "transformer"] = Field(
        default="transformer",
        description="attention: its four projections; transformer: every linear layer of the blocks, as kohya",
    )
    text_encoder: bool = Field(default=False, description="train the text encoder as well")
    text_lr: float | None = Field(
        default=None, gt=0, le=10, description="learning rate of the text encoder; default: half of lr"
    )

    steps: int = Field(default=1500, ge=1, le=1_000_000, description="optimizer steps (pocket: 250)")
    batch: int = Field(
        default=2, ge=1, le=256, description="pictures in a step, on each device (pocket: 4, sdxl: 1)"
    )
    accumulate: int = Field(default=1, ge=1, le=256, description="batches whose gradients make one step")
    resolution: int = Field(
        default=512,
        ge=64,
        le=2048,
        multiple_of=8,
        description="buckets hold at most resolution² pixels (pocket: 256, sdxl: 1024)",
    )
    bucket_step: int = Field(
        default=64, ge=8, le=256, multiple_of=8, description="sides of buckets are multiples of this"
    )
    flip: bool = Field(default=False, description="learn mirrored pictures too; not for faces with a parting")

    lr: float = Field(default=1e-4, gt=0, le=10, description="learning rate (pocket: 1e-3, prodigy: 1)")
    optimizer: Optimizer = Field(
        default="adamw",
        description="adamw8bit (CUDA only) and prodigy (finds its own rate) need jogak[optimizers]",
    )
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="pull of the weights to zero")
    scheduler: Literal["cosine", "constant"] = Field(
        default="cosine", description="the learning rate over time"
    )
    warmup: float = Field(
        default=0.05, ge=0, le=0.5, description="share of the steps in which the rate rises"
    )
    clip_norm: float = Field(default=1.0, gt=0, le=1000, description="gradients are cut to this length")
    precision: Precision = Field(
        default="auto", description="auto: bf16 where the device computes in it, else fp32; fp16 needs a GPU"
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="compute activations again instead of keeping them: slower, less memory (sdxl: on)",
    )
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="decay of a running mean of the weights, as 0.99; 0: off"
    )

    min_snr_gamma: float = Field(
        default=5.0, ge=0, le=100, description="weight of the noise levels (arXiv 2303.09556); 0: off"
    )
    noise_offset: float = Field(
        default=0.0, ge=0, le=1, description="shift of each channel's noise; not for zero terminal SNR"
    )
    caption_dropout: float = Field(
        default=0.05, ge=0, le=1, description="share of pictures shown without words, for guidance"
    )
    tag_dropout: float = Field(
        default=0.0,
        ge=0,
        le=0.9,
        description="share of a caption's parts left out; the trigger word stays (pocket: 0.5)",
    )
    prior: str | None = Field(
        default=None,
        max_length=1000,
        description="folder of other pictures of the class, so that the class is not forgotten",
    )
    prior_weight: float = Field(default=1.0, ge=0, le=10, description="weight of their loss")
    masked_loss: bool = Field(
        default=False, description="learn only what a picture's transparency leaves opaque"
    )
    masks: str | None = Field(
        default=None,
        max_length=1000,
        description="folder of masks named like their pictures, as large as they are: white is learned",
    )
    unmasked_weight: float = Field(default=0.1, ge=0, le=1, description="what the rest then counts")

    validation: float = Field(
        default=0.1, ge=0, le=0.5, description="share of the pictures held out (none below five pictures)"
    )
    validate_every: int = Field(
        default=50, ge=0, le=100_000, description="steps between validations; 0: never"
    )
    sample_prompts: tuple[Prompt, ...] = Field(
        default=(), max_length=16, description="what the previews show; default: a caption of the set"
    )
    sample_every: int = Field(default=100, ge=0, le=100_000, description="steps between previews; 0: none")
    sample_steps: int = Field(default=12, ge=1, le=150, description="denoising steps of a preview")
    save_every: int = Field(
        default=100, ge=0, le=100_000, description="steps between checkpoints; 0: only the last"
    )
    state_every: int = Field(
        default=50,
        ge=1,
        le=100_000,
        description="steps between states, from which a stopped training goes on",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="same seed, same loss curve")

    @model_validator(mode="after")
    def _prodigy_has_one_rate(self) -> TrainRequest:
        if (
            self.optimizer == "prodigy"
            and self.text_lr not in (None, self.lr)
            and "lr" in self.model_fields_set
        ):
            raise ValueError("prodigy finds one learning rate for everything; leave text_lr out")
        return self

    def for_family(self, family: str) -> TrainRequest:
        """With the family's defaults where nothing was asked for, every choice spelled out."""
        wished = {name: getattr(self, name) for name in self.model_fields_set}
        given = (
            dict(FAMILY_DEFAULTS.get(family, {}))
            | ({"lr": 1.0} if self.optimizer == "prodigy" else {})
            | wished
        )
        full = type(self).model_validate(given)
        half = full.lr if self.optimizer == "prodigy" else full.lr / 2
        text_lr = half if full.text_lr is None else full.text_lr
        every = {name: getattr(full, name) for name in type(self).model_fields}
        return type(self).model_validate(every | {"text_lr": text_lr})


UNIMPORTANT = frozenset(
    {"steps", "validate_every", "sample_prompts", "sample_every", "sample_steps", "save_every", "state_every"}
)
"""Fields that may change when a stopped training goes on."""


class TrainRecord(Spec):
    """`train.json` in the folder of a training: what was asked, of what, for what. A sweep reads it."""

    request: TrainRequest
    pictures: str = Field(description="folder of the training pictures")
    trigger: str
    family: str
    base_digest: Sha256
    data_digest: Sha256 = Field(description="of pictures, crops, captions and repeats")
    held_out: tuple[str, ...] = Field(description="files that only the validation has seen")


class SweepRequest(Spec):
    """Which checkpoints of a training are compared, at which weights, on what."""

    prompts: tuple[Prompt, ...] = Field(
        default=(),
        max_length=32,
        description="what to draw, the trigger word included; default: made from the trigger",
    )
    count: int = Field(default=4, ge=1, le=32, description="how many prompts are made when none are given")
    seeds: int = Field(default=2, ge=1, le=32, description="pictures for each prompt")
    steps: int = Field(default=8, ge=1, le=150, description="denoising steps of each picture")
    guidance: float = Field(default=4.0, ge=0, le=30, description="classifier-free guidance; 1 turns it off")
    weights: tuple[Annotated[float, Field(gt=0, le=2)], ...] = Field(
        default=(0.5, 0.75, 1.0), min_length=1, max_length=8, description="strengths to try"
    )
    checkpoints: int = Field(
        default=4, ge=1, le=32, description="at most this many, evenly spaced, the last included"
    )


class CellScores(Spec):
    """What one checkpoint at one weight was worth; every number is a mean over its pictures."""

    checkpoint: str = Field(description="file name; empty for the plain model")
    step: int = Field(ge=0)
    weight: float = Field(ge=0)
    identity: float = Field(description="mean feature cosine to the training pictures")
    likeness: float = Field(
        ge=0,
        le=1,
        description="identity, from the plain model's (0) to that of the training pictures themselves (1)",
    )
    adherence: float = Field(
        description="clip lead (cosine × 100) of the own prompt over others, the trigger word taken out"
    )
    obedience: float = Field(
        ge=0, le=1, description="adherence as a share of the plain model's; 1 where that has none"
    )
    diversity: float = Field(description="mean feature distance of two pictures, 1 − cosine")
    variety: float = Field(ge=0, le=1, description="diversity as a share of that of the training pictures")
    copied: float = Field(ge=0, le=1, description="share of pictures that are copies of training pictures")
    value: float = Field(
        ge=0,
        le=1,
        description="geometric mean of likeness, obedience and variety; 0 for a copy; what is maximised",
    )
    low: float | None = Field(default=None, description="lower end of its 95 % interval")
    high: float | None = Field(default=None, description="upper end of its 95 % interval")
    n: int = Field(ge=1, description="pictures")


class SweepReport(Spec):
    """The sweet spot and how it was found."""

    request: SweepRequest
    prompts: tuple[str, ...]
    plain: CellScores = Field(description="the base model without the LoRA")
    cells: tuple[CellScores, ...] = Field(min_length=1)
    best: int = Field(ge=0, description="which cell is recommended")
    verdict: Verdict = Field(description="of the training as a whole")
    reason_en: str
    reason_ko: str
    grid: Image

    @model_validator(mode="after")
    def _best_is_a_cell(self) -> SweepReport:
        if self.best >= len(self.cells):
            raise ValueError(f"cell {self.best} of {len(self.cells)} is recommended")
        return self

    @property
    def winner(self) -> CellScores:
        return self.cells[self.best]
