"""A model put together from parts: what a small file beside the weights says."""

from __future__ import annotations

from pydantic import Field

from jogak.spec.base import Spec

MAX_EMBEDDINGS = 64


class ModelSet(Spec):
    """A model with parts of other files. As a `.json` or `.yaml` file it stands wherever a model is asked for:
    `jogak image … --model my-model.yaml`. Paths count from the file's folder."""

    model: str = Field(
        min_length=1, max_length=500, description="a catalogue name, folder or checkpoint file"
    )
    vae: str | None = Field(
        default=None, max_length=500, description="an autoencoder in place of the model's own: file or folder"
    )
    lora: str | None = Field(
        default=None,
        max_length=500,
        description="a LoRA file in PEFT's layout that is added into the denoiser for good: OpenVINO runs it too",
    )
    embeddings: tuple[str, ...] = Field(
        default=(),
        max_length=MAX_EMBEDDINGS,
        description="textual inversions; a file's stem is the word for it",
    )
