"""Distillation to four steps on a CPU, at tiny widths: the ladder's turns, the loss's fixed point, a whole run, and
the LoRA that comes out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from diffusers.schedulers import DDIMScheduler
from torch import Tensor
from torch.func import functional_call

from jogak.adapters.lora import lora
from jogak.adapters.lora_files import read_lora
from jogak.models import load, resolve
from pocket.train import fast
from pocket.train.fast import PARTS, STEPS, Ladder, LoraFactors
from pocket.train.nets import SCHEDULER, build_text, build_unet, build_vae, save_pipeline
from tests.pocket.untrained import LAYERS, TOKENIZER, WIDTHS, write_build

LAST = STEPS * PARTS


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return Ladder(DDIMScheduler.from_config(SCHEDULER).alphas_cumprod)


def test_the_ladder_stands_where_four_steps_are_taken(ladder: Ladder) -> None:
    assert ladder.times[::PARTS].tolist() == [999, 749, 499, 249]
    assert ladder.angles[0] == pytest.approx(torch.pi / 2, abs=1e-3)
    assert ladder.angles[LAST] == 0
    assert (ladder.angles.diff() < 0).all()


def test_a_turn_goes_where_the_true_v_leads(ladder: Ladder) -> None:
    latents, noise = torch.randn(2, 5, 8, 4, 4).unbind()
    start, end = torch.tensor([0, 3, 10, 39, 20]), torch.tensor([40, 10, 11, 40, 30])
    angle = ladder.angles[start][:, None, None, None]
    x, v = ladder.mixed(latents, noise, start), angle.cos() * noise - angle.sin() * latents
    reached = ladder.step(x, v, start, end)
    torch.testing.assert_close(reached, ladder.mixed(latents, noise, end), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ladder.asked(x, reached, start, end), v, rtol=1e-3, atol=1e-3)


def test_who_knows_the_picture_has_nothing_to_learn(ladder: Ladder) -> None:
    torch.manual_seed(0)
    latents = torch.randn(16, 8, 4, 4)

    def oracle(x: Tensor, times: Tensor, context: Tensor) -> Tensor:
        rung = (ladder.times[None] == times[:, None]).float().argmax(1)
        angle = ladder.angles[rung][:, None, None, None]
        noise = (x - angle.cos() * latents) / angle.sin()
        return angle.cos() * noise - angle.sin() * latents

    def stubborn(x: Tensor, times: Tensor, context: Tensor) -> Tensor:
        return oracle(x, times, context) + 1

    text = torch.zeros(16, 1, 4)
    assert fast.loss_of(oracle, oracle, ladder, latents, text, text) < 1e-6
    assert fast.loss_of(stubborn, oracle, ladder, latents, text, text) > 0.1


def test_new_factors_change_nothing_and_every_one_learns() -> None:
    torch.manual_seed(0)
    unet = build_unet(WIDTHS, LAYERS).requires_grad_(False)
    factors = LoraFactors(unet, 8)
    x, context = torch.randn(1, 8, 8, 8), torch.randn(1, 5, 384)

    def said() -> Tensor:
        return functional_call(unet, factors.merged(), (x, torch.tensor([10]), context)).sample

    assert torch.equal(said(), unet(x, 10, context).sample)
    assert len(factors.targets) > 40
    assert any(weight.ndim == 4 for weight in factors.targets.values())
    said().square().sum().backward()
    assert all(up.grad is not None and up.grad.any() for up in factors.up.values())


def test_a_run_writes_a_lora_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JOGAK_THREADS", "1")
    build = write_build(tmp_path / "build")
    places = {"sprites": build / "sprites.npz", "tokenizer": TOKENIZER, "out": tmp_path / "out"}
    places |= {name: build / name for name in ("vae", "clip", "unet")}
    small = {"widths": "32,64,64", "layers": 1, "rank": 4, "stages": "32x32:1", "count": 8, "batch": 4}
    small |= {
        "seconds": 1,
        "workers": 0,
        "refresh": 3,
        "lr": 1e-4,
    }  # so small that fp16 holds both ways alike
    words = [word for key, value in (places | small).items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", ["fast", *words])
    fast.main()
    told = [json.loads(line) for line in (tmp_path / "out" / "log-0.jsonl").read_text().splitlines()]
    assert told[-1]["student_4"] > 0 < told[-1]["teacher_4"]
    monkeypatch.setattr(sys, "argv", ["fast", *words, "--export", str(tmp_path / "lora")])
    fast.main()

    unet = build_unet(WIDTHS, LAYERS)
    unet.load_state_dict(fast.load_shards(build / "unet", "unet"))
    save_pipeline(tmp_path / "base", unet, build_vae(), build_text(), TOKENIZER)
    model = load(resolve(tmp_path / "base", backend="torch"))
    weights = read_lora(tmp_path / "lora" / "pytorch_lora_weights.safetensors")
    factors = LoraFactors(unet, 4)
    factors.load_state_dict(fast.load_shards(tmp_path / "out", "fast"))
    x, cond = torch.randn(1, 8, 4, 4), model.encode_text(["a fox"])
    before = model.denoise(x, 2.0, cond)
    with lora(model, weights, 1.0):
        after = model.denoise(x, 2.0, cond)
    assert not torch.equal(before, after)
    with torch.no_grad():
        for name, weight in factors.merged().items():
            unet.get_parameter(name).copy_(weight)
    save_pipeline(tmp_path / "merged", unet, build_vae(), build_text(), TOKENIZER)
    merged = load(resolve(tmp_path / "merged", backend="torch"))
    torch.testing.assert_close(after, merged.denoise(x, 2.0, cond), rtol=2e-2, atol=2e-2)
