"""Samplers: functions of one contract that walk noise down to a picture.

`sampler(denoise, x, sigmas, generator=None, on_step=None) -> x`, where

- `denoise(x, sigma)` predicts the clean latents from `x = clean + sigma * noise`, in the shape of `x`;
- `x` is a (B, C, H, W) tensor that already carries noise of level `sigmas[0]`;
- `sigmas` is a descending (steps + 1,) tensor whose last value is 0;
- `generator` is a CPU generator for the samplers that add noise, so that a seed means the same on every
  device;
- `on_step(done, x)` is called after each step with the number of steps done.

Notation of Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (arXiv
2206.00364).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, Protocol

import torch
from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]
OnStep = Callable[[int, Tensor], None]


class Sampler(Protocol):
    """The one contract; see the module's text."""

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: Tensor,
        generator: torch.Generator | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor: ...


def sample_ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDIM without added noise (Song et al., arXiv 2010.02502): predict clean latents and noise, mix them
    anew.

    In exact arithmetic it is Euler's method on the sigma scale. Rounding differs: this form does not take the
    small difference of two large numbers when the first sigma is in the thousands (zero terminal SNR).
    """
    for i, (now, after) in enumerate(_pairs(sigmas)):
        clean = denoise(x, now)
        noise = (x - clean) / now
        x = clean + after * noise
        _tell(on_step, i + 1, x)
    return x


def sample_euler(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Euler's method on dx/dsigma = (x - clean) / sigma (Karras et al., algorithm 2 without churn)."""
    for i, (now, after) in enumerate(_pairs(sigmas)):
        slope = (x - denoise(x, now)) / now
        x = x + slope * (after - now)
        _tell(on_step, i + 1, x)
    return x


def sample_euler_a(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Euler with fresh noise after each step ("ancestral", eta = 1, as in k-diffusion)."""
    for i, (now, after) in enumerate(_pairs(sigmas)):
        up = min(after, (after**2 * (now**2 - after**2) / now**2) ** 0.5)
        down = (after**2 - up**2) ** 0.5
        slope = (x - denoise(x, now)) / now
        x = x + slope * (down - now)
        if after > 0:
            x = x + up * _noise_like(x, generator)
        _tell(on_step, i + 1, x)
    return x


def sample_dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al., arXiv 2211.01095): second order from the step before, one model call a
    step.

    The first and the last step are of first order, as in k-diffusion.
    """
    before: Tensor | None = None
    steps = _pairs(sigmas)
    for i, (now, after) in enumerate(steps):
        clean = denoise(x, now)
        target = clean
        if before is not None and after > 0:
            # ratio of the log-sigma steps: how far the last slope of the prediction may be trusted
            weight = math.log(now / after) / math.log(steps[i - 1][0] / now) / 2
            target = (1 + weight) * clean - weight * before
        ratio = after / now
        x = ratio * x + (1 - ratio) * target
        before = clean
        _tell(on_step, i + 1, x)
    return x


def sample_lcm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Latent consistency sampling (Luo et al., arXiv 2310.04378): jump to the prediction, add noise again."""
    for i, (now, after) in enumerate(_pairs(sigmas)):
        x = denoise(x, now)
        if after > 0:
            x = x + after * _noise_like(x, generator)
        _tell(on_step, i + 1, x)
    return x


SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "ddim": sample_ddim,
        "euler": sample_euler,
        "euler_a": sample_euler_a,
        "dpmpp_2m": sample_dpmpp_2m,
        "dpmpp_2m_karras": sample_dpmpp_2m,
        "lcm": sample_lcm,
    }
)
"""Sampler by the name that `jogak.spec.ImageRequest.sampler` gives it."""


def schedule_of(sampler: str) -> Literal["trailing", "karras", "lcm"]:
    """The schedule of sigmas that goes with a sampler's name, for `DiffusionModel.sigmas`."""
    if sampler == "lcm":
        return "lcm"
    return "karras" if sampler.endswith("_karras") else "trailing"


def _pairs(sigmas: Tensor) -> list[tuple[float, float]]:
    """Each step's sigma before and after it, as plain numbers."""
    return list(pairwise(sigmas.tolist()))


def _noise_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x)


def _tell(on_step: OnStep | None, done: int, x: Tensor) -> None:
    if on_step is not None:
        on_step(done, x)
