"""What is minimised: the weighted error of the network's own prediction at a drawn noise level."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator_for(*what: object) -> torch.Generator:
    """A generator that depends on nothing but `what`, as in (seed, "noise", step): no state to keep, so that
    a training that was stopped draws on as if it had not been."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)


VARIANTS = 8
"""Shortened captions of one caption: the text encoder reads them all beforehand."""


def shortened(caption: str, trigger: str, rate: float, seed: int) -> tuple[str, ...]:
    """What a picture's caption is given as: itself, or `VARIANTS` times with each part between commas left out with
    probability `rate` (kohya's `caption_tag_dropout_rate`), so that the trigger word alone learns to stand for the
    picture. The part with the trigger word stays; without one, at least the first part does."""
    if rate == 0:
        return (caption,)
    parts = [part.strip() for part in caption.split(",")]
    generator = generator_for(seed, "tags", caption)
    found = []
    for _ in range(VARIANTS):
        left = (torch.rand(len(parts), generator=generator) >= rate).tolist()
        kept = [
            part for part, stays in zip(parts, left, strict=True) if stays or (trigger and trigger in part)
        ]
        found.append(", ".join(kept or parts[:1]))
    return tuple(found)


def draw_noise(shape: torch.Size, offset: float, generator: torch.Generator) -> Tensor:
    """(B, C, h, w) unit noise, each channel shifted by `offset` × a normal number of its own."""
    noise = torch.randn(shape, generator=generator)
    if offset:
        noise = noise + offset * torch.randn(*shape[:2], 1, 1, generator=generator)
    return noise


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """(B, C, h, w) latents as the network sees them at sigma (B,): √ᾱ · clean + √(1 − ᾱ) · noise."""
    level = sigma.view(-1, 1, 1, 1)
    return (clean + level * noise) / (level**2 + 1).sqrt()


def target(clean: Tensor, noise: Tensor, sigma: Tensor, prediction: str) -> Tensor:
    """What the network should say: the noise, the velocity √ᾱ · noise − √(1 − ᾱ) · clean, or the picture."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return clean
    level = sigma.view(-1, 1, 1, 1)
    return (noise - level * clean) / (level**2 + 1).sqrt()


def snr_weight(sigma: Tensor, prediction: str, gamma: float) -> Tensor:
    """(B,) min-SNR-γ weights (Hang et al., arXiv 2303.09556); 1 where γ is 0.

    min(SNR, γ) on the scale of the clean picture, so min(SNR, γ)/SNR for epsilon and min(SNR, γ)/(SNR + 1)
    for v. Nothing is divided by an SNR of zero: epsilon is written as min(1, γ σ²).
    """
    if not gamma:
        return torch.ones_like(sigma)
    snr = sigma.double() ** -2
    if prediction == "epsilon":
        weight = (gamma * sigma.double() ** 2).clamp(max=1)
    elif prediction == "sample":
        weight = snr.clamp(max=gamma)
    else:
        weight = snr.clamp(max=gamma) / (snr + 1)
    return weight.to(sigma.dtype)


def losses(said: Tensor, wanted: Tensor, weight: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B,) weighted mean squared errors, in float32; `mask` (B, 1, h, w) says how much each place counts.

    A mask is scaled to a mean of 1, so that a small subject is learned as fast as a large one.
    """
    error = (said.float() - wanted.float()) ** 2
    if mask is not None:
        error = error * mask / mask.mean((1, 2, 3), keepdim=True).clamp(min=1e-3)
    return error.mean((1, 2, 3)) * weight
