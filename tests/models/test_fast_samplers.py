"""Few steps, and starts from pure noise, against diffusers' schedulers step for step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jogak.models import load, resolve
from jogak.models.samplers import SAMPLERS, schedule_of

# diffusers' schedulers meet numpy 2 so
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


def scheduler(name: str, folder: Path) -> Any:
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
    from diffusers.schedulers.scheduling_lcm import LCMScheduler

    kinds = {
        "lcm": LCMScheduler, "euler": EulerDiscreteScheduler, "euler_a": EulerAncestralDiscreteScheduler,
        "dpmpp_2m": DPMSolverMultistepScheduler,
    }  # fmt: skip
    return kinds[name].from_pretrained(folder / "scheduler", timestep_spacing="trailing")


def both(name: str, folder: Path, steps: int) -> tuple[Tensor, Tensor]:
    """The same noise drawn by our sampler and by diffusers' scheduler around the same network."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    model = load(resolve(folder, "torch"))
    noise = torch.randn(1, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(7))
    cond = model.encode_text(["a fox"])
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True).eval()
    theirs_by = scheduler(name, folder)
    theirs_by.set_timesteps(steps)
    fresh = torch.Generator().manual_seed(8)
    theirs = noise * theirs_by.init_noise_sigma
    with torch.inference_mode():
        for time in theirs_by.timesteps:
            out = unet(theirs_by.scale_model_input(theirs, time), time, cond, return_dict=False)[0]
            more = {"generator": fresh} if name in ("lcm", "euler_a") else {}
            theirs = theirs_by.step(out, time, theirs, return_dict=False, **more)[0]
    sigmas = model.sigmas(steps, schedule_of(name))
    start = (sigmas[0] ** 2 + 1).sqrt() if theirs_by.init_noise_sigma == 1 else sigmas[0]
    ours = SAMPLERS[name](
        lambda x, sigma: model.denoise(x, sigma, cond), noise * start, sigmas,
        generator=torch.Generator().manual_seed(8),
    )  # fmt: skip
    return ours, theirs


def error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()


def rounding(folder: Path) -> float:
    """How far the network's answer moves when its input moves by one rounding: its random weights make much of
    little, and how a processor rounds is its own affair."""
    model = load(resolve(folder, "torch"))
    noise = torch.randn(1, model.latent_channels, 8, 8, generator=torch.Generator().manual_seed(7))
    cond, time = model.encode_text(["a fox"]), torch.tensor([999.0])
    answers = [model.networks.unet(noise * scale, time, cond) for scale in (1.0, 1 + 2**-23, 1 - 2**-23)]
    return max(error(answer, answers[0]) for answer in answers)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 8, 50])
def test_lcm_walks_the_timesteps_that_it_was_distilled_at(sd15_like: Path, steps: int) -> None:
    model, theirs = load(resolve(sd15_like, "torch")), scheduler("lcm", sd15_like)
    theirs.set_timesteps(steps)
    times = model.time_of(model.sigmas(steps, "lcm")[:-1])
    torch.testing.assert_close(times, theirs.timesteps.float(), rtol=0, atol=0.01)
    assert model.sigmas(70, "lcm").shape == (71,)
    assert (model.sigmas(70, "lcm").diff() < 0).all()


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_lcm_is_diffusers_lcm(sd15_like: Path, steps: int) -> None:
    """Latents within 1e-5 (rms) or what one rounding does, the noise between the steps included. diffusers blends
    in a hundred-thousandth of its input (the boundary condition); we do not."""
    assert error(*both("lcm", sd15_like, steps)) < max(1e-5, rounding(sd15_like))


@pytest.mark.parametrize("steps", [2, 4, 8])
@pytest.mark.parametrize("name", ["euler", "euler_a"])
def test_lightning_and_turbo_steps_are_diffusers(sd15_like: Path, name: str, steps: int) -> None:
    """SDXL-Lightning and Hyper are sampled by Euler at trailing timesteps, SDXL-Turbo by its ancestral form."""
    assert error(*both(name, sd15_like, steps)) < 1e-5


@pytest.mark.parametrize("steps", [4, 12])
@pytest.mark.parametrize("name", ["euler_a", "dpmpp_2m", "lcm"])
def test_starts_from_pure_noise_are_diffusers(pocket_like: Path, name: str, steps: int) -> None:
    """Zero terminal SNR: diffusers takes a signal of 2⁻²⁴ at the last timestep, we 5e-8; both leave only noise.
    At most 8e-5 was measured."""
    ours, theirs = both(name, pocket_like, steps)
    assert torch.isfinite(ours).all()
    assert error(ours, theirs) < 5e-4
