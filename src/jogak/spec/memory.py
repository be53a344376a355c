"""How to spend less memory on a model, each way by its name, with what it was measured to save."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from jogak.spec.base import Spec, SpecError


class Memory(Spec):
    """Settings that trade time, or a little exactness, for memory. The defaults are the fastest."""

    attention: Literal["sdpa", "slices"] = Field(
        default="sdpa",
        description="sdpa: torch's fused attention, which never holds the whole matrix where the device has a "
        "kernel for it; slices: one head after another",
    )
    vae: Literal["whole", "slices", "tiles"] = Field(
        default="whole",
        description="slices: one picture of a batch after another; tiles: overlapping tiles, for large pictures",
    )
    offload: Literal["none", "model", "group"] = Field(
        default="none",
        description="model: a network is on the GPU only while it works; group: a few layers of it at a time",
    )
    weights: Literal["full", "fp8"] = Field(
        default="full", description="fp8: the denoiser's weights lie in 8 bits and are widened layer by layer"
    )
    text: Literal["full", "int8"] = Field(
        default="full", description="int8: the text encoders' weights in 8 bits, a scale for each row"
    )

    @classmethod
    def of_names(cls, names: str) -> Self:
        """From names with commas, as in `vae-tiles,fp8`; "" is the default. Raises `SpecError` for another."""
        fields: dict[str, str] = {}
        for name in filter(None, (part.strip() for part in names.split(","))):
            if name not in NAMES:
                raise SpecError(
                    f'the memory setting "{name[:40]}" is not known; there are {", ".join(NAMES)}.'
                )
            field, value = NAMES[name]
            if fields.get(field, value) != value:
                raise SpecError(f'"{name}" and another setting contradict each other in {field}; choose one.')
            fields[field] = value
        return cls.model_validate(fields)

    def names(self) -> tuple[str, ...]:
        """The settings that are not the default, by name."""
        return tuple(name for name, (field, value) in NAMES.items() if getattr(self, field) == value)


NAMES: dict[str, tuple[str, str]] = {
    "attention-slices": ("attention", "slices"),
    "vae-slices": ("vae", "slices"),
    "vae-tiles": ("vae", "tiles"),
    "offload-model": ("offload", "model"),
    "offload-group": ("offload", "group"),
    "fp8": ("weights", "fp8"),
    "text-int8": ("text", "int8"),
}
"""What a person writes for each setting."""

MEASURED: dict[str, str] = {
    "attention-slices": "CPU: saves nothing and takes three times as long; for GPUs without a fused attention",
    "vae-slices": "one picture at a time, so it saves nothing for a single one",
    "vae-tiles": "decoding 768×768 takes 1.0 GB in place of 2.4 GB, as long; nothing up to 512×512",
    "offload-model": "needs CUDA; not measured",
    "offload-group": "needs CUDA; not measured",
    "fp8": "SD 1.5: 2.1 GB resident in place of 4.6, 3.4 at the peak in place of 5.9; a pass takes twice as long",
    "text-int8": "SD 1.5: 0.25 GB less; with fp8 all of SDXL is resident in 4.4 GB in place of about 14",
}
"""What each setting did in `python -m benchmarks.memory`: models of full size, float32 on a CPU, 512×512 unless
said. Weights were zeros, so what 8 bits cost in quality is not told here."""
