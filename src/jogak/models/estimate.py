"""How much memory a drawing takes, told from headers before a weight is read.

Weights are counted exactly. What the networks need to work is a line through measurements
(`python -m benchmarks.memory`, SD 1.5 at its full size on a CPU in float32); on a GPU in float16 it is taken as
half of that, and was not measured.
"""

from __future__ import annotations

import math
from pathlib import Path

from jogak.models.catalogue import Family, family_of, has_cuda, memory_of
from jogak.models.place import Place
from jogak.spec.memory import Memory
from jogak.spec.preflight import Machine, MemoryNeed

PROGRAM_MB = 600
"""Python with torch, diffusers and transformers loaded."""
CUDA_MB = 600
"""A CUDA context with its libraries' workspaces."""
PASS_BYTES_PER_LATENT = 56_000
"""Working memory of a UNet's pass for each latent of a batch whose first level has 320 channels, float32."""
DECODE_BYTES_PER_PIXEL = 4_100
"""Working memory of decoding for each pixel, with 128 channels at full size, float32."""
GROUP_SHARE = 0.1
"""How much of the denoiser is on the GPU at a time with offload-group, those layers included that come next."""
TILE = 512
"""Pixels of a side that are decoded at a time with vae-tiles, at the families' usual sizes."""


def estimate(
    place: Place,
    numeric: str,
    width: int,
    height: int,
    guided: bool,
    memory: Memory | None = None,
    more: int = 0,
) -> MemoryNeed:
    """The peak of drawing one picture of this size, with `memory` in place of the settings in `numeric`. `more`
    counts the numbers in the weights of ControlNets, IP-Adapters and their vision towers."""
    settings = memory if memory is not None else memory_of(numeric)
    cuda = numeric.startswith("torch-cuda")
    family = family_of(place)
    sizes = {part: _part_bytes(place, family, part, cuda, settings) for part in _weights(family)}
    denoising = _pass_bytes(place, family, width, height, guided, cuda)
    adapters = more * (2 if cuda else 4)
    decoding = _decode_bytes(place, width, height, settings)
    if not cuda:
        # OpenVINO keeps the converted weights and, compiled, those it computes with
        weights = adapters + sum(sizes.values()) * (1.5 if numeric.startswith("openvino") else 1)
        return MemoryNeed(ram_mb=PROGRAM_MB + _mb(weights + max(denoising, decoding)), vram_mb=0)
    whole = sum(sizes.values())
    if settings.offload == "none":
        gpu = adapters + whole + max(denoising, decoding)
        return MemoryNeed(ram_mb=PROGRAM_MB, vram_mb=CUDA_MB + _mb(gpu))
    # the networks wait in main memory and come one at a time; in groups, a few layers of the denoiser do
    denoiser = sizes[family.denoiser] * (GROUP_SHARE if settings.offload == "group" else 1)
    gpu = adapters + max(
        denoiser + denoising,
        sizes["vae"] + decoding,
        *(size for part, size in sizes.items() if part.startswith("text")),
    )
    return MemoryNeed(ram_mb=PROGRAM_MB + _mb(whole), vram_mb=CUDA_MB + _mb(gpu))


def this_machine() -> Machine:
    """The memory that is free now: what the system can give, or the container's limit where that is lower."""
    vram = None
    if has_cuda():
        import torch

        vram = torch.cuda.mem_get_info()[0] // 10**6
    return Machine(ram_mb=_free_ram(), vram_mb=vram)


def _free_ram() -> int | None:
    found: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii")
        found.append(max(int(limit) - int(used), 0))
    except (OSError, ValueError):
        pass
    return min(found) // 10**6 if found else None


def _weights(family: Family) -> list[str]:
    return [part for part in family.parts if part != "scheduler" and not part.startswith("tokenizer")]


def _part_bytes(place: Place, family: Family, part: str, cuda: bool, settings: Memory) -> float:
    numbers = sum(math.prod(facts.shape) for facts in place.headers(part).values())
    if part == family.denoiser and settings.weights == "fp8":
        return numbers * 1.05
    if part.startswith("text") and settings.text == "int8":
        # the vocabulary's vectors stay as they are: about a quarter of a text encoder
        return numbers * (0.75 + 0.25 * (2 if cuda else 4))
    return numbers * (2 if cuda and part != "vae" else 4)


def _pass_bytes(place: Place, family: Family, width: int, height: int, guided: bool, cuda: bool) -> float:
    config = place.config(family.denoiser)
    channels = (config.get("block_out_channels") or [320])[0]
    latents = width * height / 64 * (2 if guided else 1)
    return latents * PASS_BYTES_PER_LATENT * channels / 320 / (2 if cuda else 1)


def _decode_bytes(place: Place, width: int, height: int, settings: Memory) -> float:
    channels = place.config("vae")["block_out_channels"][0]
    pixels = width * height
    if settings.vae == "tiles":
        pixels = min(pixels, TILE * TILE)
    return pixels * DECODE_BYTES_PER_PIXEL * channels / 128


def _mb(size: float) -> int:
    return round(size / 1e6)
