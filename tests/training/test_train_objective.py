"""Noise, targets and weights against their formulas and against diffusers' own schedulers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from jogak.training.objective import (
    VARIANTS,
    draw_noise,
    generator_for,
    losses,
    noised,
    shortened,
    snr_weight,
    target,
)

SIGMAS = torch.tensor([0.03, 0.5, 1.0, 4.0, 14.6, 4472.0])


def pieces() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    clean, noise, guess = (torch.randn(len(SIGMAS), 4, 6, 6, generator=generator) for _ in range(3))
    return clean, noise, guess


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weighs_every_prediction_like_the_clean_picture(gamma: float) -> None:
    """Hang et al.: whatever the network predicts, its error counts min(SNR, γ) on the scale of the clean picture."""
    clean, noise, guess = (one.double() for one in pieces())
    sigma = SIGMAS.double()
    level = sigma.view(-1, 1, 1, 1)
    x = noised(clean, noise, sigma)
    size = (level**2 + 1).sqrt()
    # what a network says when it takes `guess` for the clean picture, in each of the three languages
    said = {
        "sample": guess,
        "epsilon": (x * size - guess) / level,
        "v_prediction": (x * size - guess) / level / size - guess * level / size,
    }
    wanted = ((guess - clean) ** 2).mean((1, 2, 3)) * (sigma**-2).clamp(max=gamma)
    for kind, words in said.items():
        error = ((words - target(clean, noise, sigma, kind)) ** 2).mean((1, 2, 3))
        torch.testing.assert_close(
            error * snr_weight(sigma, kind, gamma), wanted, rtol=1e-5, atol=1e-9, msg=kind
        )


def test_weights_of_v_are_the_papers_and_finite_at_a_zero_terminal_snr() -> None:
    snr = SIGMAS.double() ** -2
    paper = torch.minimum(snr, torch.tensor(5.0)) / (snr + 1)
    torch.testing.assert_close(snr_weight(SIGMAS, "v_prediction", 5.0).double(), paper, rtol=1e-5, atol=1e-9)
    epsilon = snr_weight(SIGMAS, "epsilon", 5.0)
    assert epsilon.isfinite().all()
    assert epsilon[-1] == 1
    assert epsilon[0] < 0.01
    assert snr_weight(torch.tensor([float("inf")]), "epsilon", 5.0).item() == 1
    assert (snr_weight(SIGMAS, "v_prediction", 0) == 1).all()


@pytest.mark.parametrize("zero_snr", [False, True])
def test_noise_and_velocity_are_those_of_diffusers(zero_snr: bool) -> None:
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=zero_snr
    )
    clean, noise, _ = pieces()
    times = torch.tensor([0, 100, 400, 700, 900, 990])
    bars = scheduler.alphas_cumprod[times].double()
    sigma = ((1 - bars) / bars).sqrt().float()
    torch.testing.assert_close(
        noised(clean, noise, sigma), scheduler.add_noise(clean, noise, times), rtol=1e-4, atol=1e-4
    )
    velocity = scheduler.get_velocity(clean, noise, times)
    torch.testing.assert_close(target(clean, noise, sigma, "v_prediction"), velocity, rtol=1e-4, atol=1e-4)


def test_levels_of_the_model_are_those_of_its_scheduler(pocket_like: Path) -> None:
    from jogak.models import load, resolve
    from jogak.training.base import noise_levels

    levels = noise_levels(load(resolve(pocket_like, "torch")))
    scheduler = DDIMScheduler.from_pretrained(pocket_like / "scheduler")
    bars = scheduler.alphas_cumprod.double()
    assert len(levels) == 1000
    torch.testing.assert_close(levels[:-1].double(), ((1 - bars) / bars).sqrt()[:-1], rtol=1e-3, atol=1e-4)
    assert levels[-1] > 1000, "zero terminal SNR, but finite"


def test_a_mask_takes_the_rest_out_without_making_the_loss_smaller() -> None:
    said, wanted = torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4)
    wanted[..., :2] = 9.0
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 2:] = 1
    one = torch.ones(1)
    assert losses(said, wanted, one, mask).item() == pytest.approx(1.0)
    assert losses(said, wanted, one).item() == pytest.approx(41.0)
    assert losses(said, wanted, one, torch.zeros(1, 1, 4, 4)).isfinite().all()


def test_noise_offset_shifts_whole_channels() -> None:
    shape = torch.Size((64, 8, 8, 8))
    plain = draw_noise(shape, 0.0, generator_for(1)).mean((2, 3))
    shifted = draw_noise(shape, 0.5, generator_for(1)).mean((2, 3))
    assert plain.std().item() == pytest.approx(1 / 8, rel=0.2)
    assert shifted.std().item() == pytest.approx((1 / 64 + 0.25) ** 0.5, rel=0.2)


def test_a_generator_knows_nothing_but_what_it_was_made_of() -> None:
    first = torch.rand(3, generator=generator_for(1, "step", 2))
    torch.manual_seed(99)
    assert torch.equal(first, torch.rand(3, generator=generator_for(1, "step", 2)))
    for other in ((2, "step", 2), (1, "order", 2), (1, "step", 3)):
        assert not torch.equal(first, torch.rand(3, generator=generator_for(*other)))


def test_parts_of_captions_are_left_out_and_the_trigger_never() -> None:
    caption = "sks_girl, waving with a happy smile, 공원에서, close-up"
    assert shortened(caption, "sks_girl", 0.0, 1) == (caption,)
    found = shortened(caption, "sks_girl", 0.5, 1)
    assert len(found) == VARIANTS
    assert found == shortened(caption, "sks_girl", 0.5, 1)
    assert found != shortened(caption, "sks_girl", 0.5, 2)
    parts = caption.split(", ")
    for short in found:
        kept = short.split(", ")
        assert kept[0] == "sks_girl"
        assert kept == [part for part in parts if part in kept], "in their order"
    kept = [len(one.split(", ")) for seed in range(200) for one in shortened(caption, "sks_girl", 0.5, seed)]
    assert sum(kept) / len(kept) == pytest.approx(1 + 3 * 0.5, abs=0.1)
    assert all(shortened("a fox", "", 0.9, seed) == ("a fox",) * VARIANTS for seed in range(20))
