"""What a training will cost, before any weight is read: the network is built without memory (torch's meta device),
one step is walked through it, and what it multiplies and keeps is counted. How fast this machine multiplies is
measured for half a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from jogak.spec import ModelRef
from jogak.spec.training import TrainRequest
from jogak.training.lora import inject

_LIBRARIES_GB = 0.7
"""torch, diffusers and peft themselves."""
_AROUND = 1.6
"""A step against its products alone: norms, activations, copies and casts between them. Measured on pocket and on
SD 1.5's layout, two cores, float32 and bfloat16: 1.3 to 1.9."""


@dataclass(frozen=True)
class Cost:
    """What to expect; memory is that of the device which trains."""

    parameters: int
    """that learn"""
    step_flops: float
    """multiplications and additions of one optimizer step, backward included"""
    seconds_per_step: float
    gigabytes: float


def predict(request: TrainRequest, ref: ModelRef, width: int, height: int, longest: int = 77) -> Cost:
    """The cost of a step with a full batch of pictures of this size."""
    unet = _on_meta(ref)
    trained = inject(unet, request)
    if request.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    flops, kept = _one_step(unet, request.batch, width, height, longest)
    flops *= request.accumulate
    numbers = sum(weight.numel() for weight in trained.values())
    frozen = sum(one.numel() for one in unet.parameters()) - numbers
    on_gpu = torch.cuda.is_available()
    # weight, gradient, two moments and the mean, four bytes each
    learning = numbers * 4 * (5 if request.ema else 4)
    half = request.precision in ("bf16", "fp16")
    base = frozen * (2 if half and on_gpu else 4) * (1.5 if half and not on_gpu else 1)
    gigabytes = (learning + base + kept) / 1e9 + (0 if on_gpu else _LIBRARIES_GB)
    return Cost(numbers, flops, _AROUND * flops / _speed(half), gigabytes)


def _on_meta(ref: ModelRef) -> Any:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from jogak.models.place import open_place

    with torch.device("meta"):
        return UNet2DConditionModel.from_config(open_place(ref.folder).config("unet"))


def _one_step(unet: Any, batch: int, width: int, height: int, longest: int) -> tuple[float, float]:
    """(products and sums of forward and backward, bytes kept between them)."""
    from torch.utils.flop_counter import FlopCounterMode

    seen: dict[int, float] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            seen[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    config = unet.config
    x = torch.zeros(batch, config.in_channels, height // 8, width // 8, device="meta")
    arguments: dict[str, Any] = {
        "encoder_hidden_states": torch.zeros(batch, longest, config.cross_attention_dim, device="meta")
    }
    if config.addition_embed_type == "text_time":
        ids = 6 * config.addition_time_embed_dim
        pooled = config.projection_class_embeddings_input_dim - ids
        arguments["added_cond_kwargs"] = {
            "text_embeds": torch.zeros(batch, pooled, device="meta"),
            "time_ids": torch.zeros(batch, 6, device="meta"),
        }
    times = torch.zeros(batch, device="meta")
    unet.train()
    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        said = unet(x, times, return_dict=False, **arguments)[0]
        said.square().mean().backward()
    return float(counter.get_total_flops()), sum(seen.values())


def _speed(half: bool) -> float:
    """Multiplications and additions a second in matrices of a size that UNets have."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.bfloat16 if half else torch.float32
    a, b = (torch.randn(1024, 1024, device=device, dtype=kind) for _ in range(2))
    torch.mm(a, b)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < 0.5:
        for _ in range(4):
            torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        count += 4
    return count * 2 * 1024**3 / (time.perf_counter() - begun)
