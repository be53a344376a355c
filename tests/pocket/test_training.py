"""Pocket's training code on a CPU: the fused norm's twin, the folded latents, shards, the clock's schedule."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers.schedulers import DDIMScheduler

from pocket.train import unet
from pocket.train.common import Average, Masters, load_shards, save_shards, schedule
from pocket.train.fused import fuse, group_norm
from pocket.train.nets import SCHEDULER, build_text, build_unet, build_vae, load_text, parameters
from pocket.train.unet import drawn_timesteps, loss_of
from pocket.train.vae import normalise
from tests.pocket.untrained import TOKENIZER, write_build


def test_the_norm_without_a_gpu_is_its_twin() -> None:
    x, weight, bias = torch.randn(2, 32, 5, 7), torch.randn(32), torch.randn(32)
    expected = F.silu(F.group_norm(x, 8, weight, bias, 1e-5))
    torch.testing.assert_close(group_norm(x, weight, bias, 8, 1e-5, silu=True), expected)


def test_fusing_changes_neither_names_nor_results() -> None:
    torch.manual_seed(0)
    unet = build_unet((32, 64, 64), 1).eval()
    x, context = torch.randn(1, 8, 8, 8), torch.randn(1, 5, 384)
    names = list(unet.state_dict())
    before = unet(x, 10, context).sample
    after = fuse(unet)(x, 10, context).sample
    assert list(unet.state_dict()) == names
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_film_wide_pictures_whose_latents_have_an_odd_side_train() -> None:
    """384x216 has latents of 48x27: the UNet halves 27 to 14 and 7 and comes back to 27, fused or not."""
    torch.manual_seed(1)
    width, height = 384, 216
    with torch.no_grad():
        vae = build_vae()
        latents = vae.encode(torch.rand(2, 3, height, width) * 2 - 1).latent_dist.sample()
        assert latents.shape == (2, 8, 27, 48)
        assert vae.decode(latents).sample.shape == (2, 3, height, width)
    unet, context = build_unet((32, 64, 64), 1), torch.randn(2, 5, 384)
    with torch.no_grad():
        before = unet(latents, 10, context).sample
    fused = fuse(unet)
    assert before.shape == latents.shape
    wide = latents.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fused(wide, 10, context).sample.detach(), before, atol=1e-4, rtol=1e-4)
    alphas = DDIMScheduler.from_config(SCHEDULER).alphas_cumprod
    loss_of(fused, wide, context, alphas).backward()
    assert all(torch.isfinite(w.grad).all() for w in unet.parameters() if w.grad is not None)
    assert unet.up_blocks[0].upsamplers[0].conv.weight.grad.abs().max() > 0  # pyright: ignore


def test_folding_makes_latents_standard_and_keeps_pictures() -> None:
    torch.manual_seed(0)
    vae = build_vae().eval()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        normalise(vae, [pixels])
        latents = vae.encode(pixels).latent_dist.mode()
        after = vae.decode(latents).sample
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(8), rtol=0, atol=1e-3)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(8), rtol=0, atol=1e-3)
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-3)


def test_a_perfect_guess_of_v_costs_nothing() -> None:
    alphas = torch.tensor([0.9, 0.5, 0.0])

    class Oracle(torch.nn.Module):
        """Knows the latents, so it can solve for the noise and say v exactly."""

        def forward(self, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor, return_dict: bool):
            alpha, sigma = alphas[t].sqrt()[:, None, None, None], (1 - alphas[t]).sqrt()[:, None, None, None]
            return (alpha * (x - alpha * latents) / sigma - sigma * latents,)

    latents = torch.randn(64, 8, 4, 4)
    assert float(loss_of(Oracle(), latents, torch.zeros(64, 1, 384), alphas)) < 1e-9


def test_shards_come_back_whole(tmp_path: Path) -> None:
    state = {f"w{i}": torch.randn(100, 10).half() for i in range(10)}
    save_shards(state, tmp_path, "part", limit=5000)
    assert len(list(tmp_path.glob("part-*.safetensors"))) > 1
    loaded = load_shards(tmp_path, "part")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    with pytest.raises(FileNotFoundError):
        load_shards(tmp_path, "absent")


def test_the_schedule_warms_holds_and_ends_at_zero() -> None:
    rates = [schedule(step, 1000, 100, hold=0.5) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert set(rates[100:500]) == {1.0}
    assert rates[1000] == pytest.approx(0.0)
    assert all(a >= b for a, b in itertools.pairwise(rates[500:]))


def test_the_average_follows_the_weights() -> None:
    model = torch.nn.Linear(2, 2)
    average = Average(model.state_dict(), 0.9, every=1)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for _ in range(300):
        average.update(model.state_dict())
    torch.testing.assert_close(average.shadow["weight"], torch.ones(2, 2), rtol=0, atol=1e-3)


def test_pocket_keeps_to_its_size() -> None:
    assert parameters(build_unet()) < 43e6
    assert parameters(build_vae()) < 7e6


def test_a_gradient_is_shortened_and_one_that_is_not_finite_is_none() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    masters = Masters(layer)
    (100 * layer(torch.randn(5, 4)).square().sum()).backward()
    length = torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]).norm()
    norm = masters.collect(limit=1.0)
    torch.testing.assert_close(norm, length)
    kept = torch.cat([w.grad.flatten() for w in masters.weights if w.grad is not None])
    assert kept.norm().item() == pytest.approx(1.0, abs=1e-4)
    (layer(torch.randn(5, 4)).sum() * torch.nan).backward()
    assert not torch.isfinite(masters.collect(limit=1.0))
    assert all(not w.grad.any() for w in masters.weights if w.grad is not None)


def test_timesteps_reach_everywhere_and_dwell_in_the_middle() -> None:
    torch.manual_seed(0)
    drawn = drawn_timesteps(20_001, 1000, torch.device("cpu"))
    assert (len(drawn), int(drawn.min()), int(drawn.max())) == (20_001, 0, 999)
    shares = [((drawn >= low) & (drawn < low + 200)).float().mean() for low in range(0, 1000, 200)]
    assert max(shares[2:4]) > max(shares[0], shares[4])


@pytest.mark.parametrize("text_lr", ["0", "1e-3"])
def test_the_text_tower_learns_beside_the_unet_if_asked(
    text_lr: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, out = write_build(tmp_path / "build"), tmp_path / "out"
    words = ["--sprites", build / "sprites.npz", "--tokenizer", TOKENIZER, "--vae", build / "vae"]
    words += [
        "--clip",
        build / "clip",
        "--out",
        out,
        "--widths",
        "32,64,64",
        "--layers",
        "1",
        "--seconds",
        "2",
    ]
    words += ["--stages", "32x32:1", "--count", "8", "--batch", "4", "--workers", "0", "--refresh", "3"]
    monkeypatch.setattr(sys, "argv", ["train", *map(str, words), "--text-lr", text_lr])
    unet.main()
    assert load_shards(out, "unet").keys() == build_unet((32, 64, 64), 1).state_dict().keys()
    if text_lr == "0":
        assert not list(out.glob("text-*"))
        return
    before, after = load_shards(build / "clip", "text"), load_shards(out, "text")
    load_text(build_text(), after)
    moved = [name for name, part in after.items() if not torch.equal(part, before[name].half())]
    assert any("embeddings" in name for name in moved), "the gradient reaches the words"
    assert any("encoder.layers.0" in name for name in moved)
