"""How long drawing will take, told before a weight is read."""

from __future__ import annotations

from collections.abc import Iterable

from jogak.models.place import open_place
from jogak.models.regions import SHARE
from jogak.spec import ImageRequest, ModelRef
from jogak.spec.training import TrainRequest
from jogak.training.predict import predict

START = 5.0
"""Seconds to import what is needed and to load pocket or compile it."""
FASTER = {"openvino-bf16": 2.9, "openvino": 1.3}
"""How much sooner than torch a backend is done with a pass: pocket at 256×256 on one core with bfloat16 instructions
took 0.10 s against 0.30 s; without them it is a guess."""
DECODE = 1.1
"""The autoencoder beside twenty steps."""


def drawing_seconds(requests: Iterable[tuple[ImageRequest, ModelRef]]) -> float | None:
    """The time that drawing these takes, none of them being in the store yet; None for a model without a UNet.

    One pass is counted and held against what this machine multiplies in half a second; right to a factor of two where nothing
    else keeps the machine busy.
    """
    total, known, last = 0.0, {}, None
    for request, model in requests:
        if open_place(model.folder).pipeline == "ZImagePipeline":
            return None
        size = request.width, request.height
        if (model.digest, size) not in known:
            asked = TrainRequest(base=model.name, batch=1, precision="fp32")
            # a training step is forward and twice that backward, around one picture
            known[model.digest, size] = predict(asked, model, *size).seconds_per_step / 3
        passes = request.steps * (1 if request.guidance == 1 else 2)
        passes *= 1 + SHARE * len(request.regions)
        if request.init:
            passes *= request.strength
        if request.hires > 1:
            passes *= 1 + 0.45 * request.hires**2
        kind = next((name for name in FASTER if model.numeric.startswith(name)), "")
        total += known[model.digest, size] * passes * DECODE / FASTER.get(kind, 1.0)
        total += START if model.digest != last else 0
        last = model.digest
    return total


def said(seconds: float | None) -> str:
    """A span of time as a person says it."""
    if seconds is None:
        return "a time not known for this family"
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:.0f} minutes"
