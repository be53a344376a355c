"""Samplers against what is known exactly: a Gaussian target, whose paths from noise have a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from jogak.models.samplers import SAMPLERS, Sampler, sample_ddim, sample_dpmpp_2m, sample_euler, sample_lcm

MEAN, SPREAD = 0.7, 0.5


def ideal(x: Tensor, sigma: float) -> Tensor:
    """The best denoiser when the clean data are N(MEAN, SPREAD²)."""
    return (SPREAD**2 * x + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def end_of_path(x: Tensor, sigma: float) -> Tensor:
    """Where the probability-flow path through x at sigma ends at sigma 0."""
    return MEAN + (x - MEAN) * SPREAD / math.sqrt(SPREAD**2 + sigma**2)


def levels(steps: int, top: float = 20.0, bottom: float = 0.002) -> Tensor:
    ramp = torch.linspace(top ** (1 / 7), bottom ** (1 / 7), steps, dtype=torch.float64) ** 7
    return torch.cat([ramp, torch.zeros(1)])


def noise(count: int = 1000, top: float = 20.0) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    clean = MEAN + SPREAD * torch.randn(count, 1, 1, 1, generator=generator, dtype=torch.float64)
    return clean + top * torch.randn(count, 1, 1, 1, generator=generator, dtype=torch.float64)


def error(sampler: Sampler, steps: int) -> float:
    x = noise()
    return (sampler(ideal, x, levels(steps)) - end_of_path(x, 20.0)).abs().max().item()


@pytest.mark.parametrize(("sampler", "order"), [(sample_euler, 1), (sample_ddim, 1), (sample_dpmpp_2m, 2)])
def test_converges_to_the_exact_path_at_its_order(sampler: Sampler, order: int) -> None:
    coarse, fine = error(sampler, 80), error(sampler, 160)
    assert fine < 0.03
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


def test_the_second_order_sampler_is_more_exact_at_few_steps() -> None:
    assert error(sample_dpmpp_2m, 24) < error(sample_euler, 24) / 3


def test_ddim_is_euler_but_for_rounding() -> None:
    x = noise()
    torch.testing.assert_close(
        sample_ddim(ideal, x, levels(9)), sample_euler(ideal, x, levels(9)), rtol=1e-9, atol=1e-9
    )


def test_ddim_stays_exact_from_pure_noise_in_single_precision() -> None:
    sigmas = torch.cat([torch.tensor([4472.0]), levels(12, top=14.6)]).float()
    x = 4472 * torch.randn(64, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    exact = sample_euler(ideal, x.double(), sigmas.double())
    assert (sample_ddim(ideal, x, sigmas) - exact).abs().max() < 2e-5


def test_ancestral_noise_keeps_the_distribution() -> None:
    generator = torch.Generator().manual_seed(5)
    drawn = SAMPLERS["euler_a"](ideal, noise(20_000), levels(120), generator=generator)
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert drawn.std().item() == pytest.approx(SPREAD, rel=0.04)


def test_a_consistency_model_keeps_the_distribution_in_four_steps() -> None:
    generator = torch.Generator().manual_seed(5)
    drawn = sample_lcm(end_of_path, noise(20_000), levels(4), generator=generator)
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert drawn.std().item() == pytest.approx(SPREAD, rel=0.03)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_finds_a_single_point_and_keeps_the_contract(name: str) -> None:
    told: list[int] = []
    shapes: set[torch.Size] = set()

    def point(x: Tensor, sigma: float) -> Tensor:
        assert sigma > 0
        return torch.full_like(x, 0.25)

    def on_step(done: int, x: Tensor) -> None:
        told.append(done)
        shapes.add(x.shape)

    x = noise(8).float()
    before = x.clone()
    drawn = SAMPLERS[name](
        point, x, levels(6).float(), generator=torch.Generator().manual_seed(1), on_step=on_step
    )
    torch.testing.assert_close(drawn, torch.full_like(x, 0.25), rtol=0, atol=1e-5)
    assert told == [1, 2, 3, 4, 5, 6]
    assert shapes == {x.shape}
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_decides(name: str) -> None:
    def draw(seed: int) -> Tensor:
        return SAMPLERS[name](ideal, noise(4), levels(5), generator=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(9), draw(9))
    assert torch.equal(draw(9), draw(10)) == (name not in ("euler_a", "lcm"))
