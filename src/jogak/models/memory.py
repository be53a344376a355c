"""The settings of `jogak.spec.memory.Memory`, applied to networks of torch."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from jogak.models.estimate import TILE
from jogak.spec.memory import Memory


def place_denoiser(module: Any, device: torch.device, dtype: torch.dtype, memory: Memory) -> Any:
    """A UNet or transformer of diffusers that was built in `loading_type(dtype, …)`: made ready to work in
    `dtype`, on `device` or where `memory` wants it."""
    if memory.attention == "slices":
        module.set_attention_slice("max")
    if memory.weights == "fp8":
        # norms, embeddings and the ends keep their precision, as diffusers' own list has it
        module.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
        _widen(module, dtype, but=torch.float8_e4m3fn)
    return _placed(module, device, memory)


def loading_type(dtype: torch.dtype, in_eight_bits: bool) -> torch.dtype:
    """The type to build a network in that is to work in `dtype`: no wider than need be when its weights will lie in
    eight bits."""
    return torch.float16 if in_eight_bits else dtype


def _widen(module: nn.Module, dtype: torch.dtype, but: torch.dtype) -> None:
    """What was built narrow but is not kept in eight bits, in the type to work in."""
    for part in (*module.parameters(), *module.buffers()):
        if part.is_floating_point() and part.dtype != but:
            part.data = part.data.to(dtype)
    give_back()


def give_back() -> None:
    """Give memory that was freed back to the system: glibc keeps blocks of up to 32 MB for itself, which after a
    model was made smaller is gigabytes."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def place_vae(module: Any, device: torch.device, memory: Memory) -> Any:
    """An autoencoder, float32: SDXL's own overflows in float16 (its "fp16-fix" twin does not, and needs no less
    care here)."""
    if memory.vae == "slices":
        module.enable_slicing()
    elif memory.vae == "tiles":
        module.enable_tiling()
        # diffusers' tiles are as large as the pictures the family was trained on, which saves SDXL nothing
        if (usual := module.tile_sample_min_size) > TILE:
            module.tile_latent_min_size = module.tile_latent_min_size * TILE // usual
            module.tile_sample_min_size = TILE
    return _placed(module, device, memory, groups=False)


def place_text_encoder(module: Any, device: torch.device, dtype: torch.dtype, memory: Memory) -> Any:
    """A text encoder of transformers that was built in `loading_type(dtype, …)`."""
    if memory.text == "int8":
        quantise(module, dtype)
        _widen(module, dtype, but=torch.int8)
    return _placed(module, device, memory, groups=False)


def _placed(module: Any, device: torch.device, memory: Memory, groups: bool = True) -> Any:
    if memory.offload == "none" or device.type == "cpu":
        return module.to(device)
    if memory.offload == "group" and groups:
        module.enable_group_offload(
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
            use_stream=True,
        )
    return module


@contextmanager
def at_work(module: nn.Module, device: torch.device, memory: Memory) -> Iterator[None]:
    """The network is on `device` inside; outside it is not, if `memory` says so."""
    moves = device.type != "cpu" and memory.offload != "none" and not _in_groups(module)
    if moves:
        module.to(device)
    try:
        yield
    finally:
        if moves:
            module.to("cpu")


def _in_groups(module: Any) -> bool:
    from diffusers.hooks.group_offloading import _is_group_offload_enabled

    return _is_group_offload_enabled(module)


class Int8Linear(nn.Module):
    """A linear layer whose weights lie in 8 bits with one scale for each output."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        exact = linear.weight.detach().float()
        scale = (exact.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-12)
        self.register_buffer("weight", (exact / scale).round().to(torch.int8))
        self.register_buffer("scale", scale.to(dtype))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale, self.bias)


def quantise(module: nn.Module, dtype: torch.dtype = torch.float32) -> None:
    """Put an `Int8Linear` that works in `dtype` in place of every linear layer inside."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child, dtype))
        else:
            quantise(child, dtype)
