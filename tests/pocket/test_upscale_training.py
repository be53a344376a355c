"""Training of the upscaler on a CPU: crops that belong together, larger drawings, a short run that a kill may end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from jogak.models.upscale import FACTOR, Upscaler, load_upscaler
from pocket.data import large
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import draw, load
from pocket.train import upscale
from pocket.train.common import feed
from tests.pocket.untrained import killed, write_build

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 20"><rect x="2" y="5" width="6" height="10" fill="#f00"/></svg>'


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_build(tmp_path_factory.mktemp("build"))


@pytest.fixture
def pool(build: Path) -> upscale.Pool:
    sprites = load(build / "sprites.npz")
    frames = upscale.Frames(large.LargePainter(sprites.pixels), None, 40, 24, half=False)
    pool = upscale.Pool(frames, feed(SceneSampler(sprites), 3, 40 / 24, 1, 0), 5, 0.0)
    pool.renew(3)
    return pool


def test_a_crop_is_the_middle_of_what_the_network_sees(pool: upscale.Pool) -> None:
    torch.manual_seed(1)
    net = Upscaler(16, 1)
    for _ in range(4):  # mirrored and turned at random
        small, truth = pool.crops(6, 12, net.reach)
        assert (small.shape, truth.shape) == ((6, 3, 20, 20), (6, 3, 48, 48))
        inside = small[..., net.reach : -net.reach, net.reach : -net.reach]
        shrunk = torch.nn.functional.avg_pool2d(truth, FACTOR)
        assert (inside - shrunk).abs().max() <= 1 / 255 + 1e-6, "area-shrunk, and rounded twice"
        assert net.inner(small).shape == truth.shape


def test_a_comb_costs_more_than_an_even_error() -> None:
    """Values that do not join from place to place inside a pixel are as wrong, pixel by pixel, and look worse."""
    net, small = Upscaler(16, 1), torch.rand(2, 3, 16, 16)
    truth = net.enlarged(small)
    losses = []
    for comb in (torch.ones(48), torch.tensor([1.0, -1.0]).repeat(24)):
        with torch.no_grad():
            net.last.bias.copy_(0.02 * comb)
        loss, squared = upscale.loss_of(net, small, truth, half=False)
        assert squared.item() == pytest.approx(0.02**2, rel=1e-3)
        losses.append(loss.item())
    assert losses[1] > 2 * losses[0]


def test_old_scenes_give_way_to_new_ones(pool: upscale.Pool) -> None:
    assert (pool.full, pool.at) == (3, 3)
    first = pool.small.clone()
    pool.renew(3)
    assert (pool.full, pool.at) == (5, 1)
    assert torch.equal(pool.small[1:3], first[1:3])
    assert not torch.equal(pool.small[0], first[0])


def test_what_went_through_the_autoencoder_keeps_its_large_frame(build: Path) -> None:
    sprites = load(build / "sprites.npz")
    vae = upscale.load_vae(build / "vae", "cpu")
    frames = upscale.Frames(large.LargePainter(sprites.pixels), vae, 32, 16, half=True)
    pool = upscale.Pool(frames, feed(SceneSampler(sprites), 2, 2.0, 1, 0), 2, 1.0)
    pool.renew(2)
    shrunk = upscale.as_bytes(
        torch.nn.functional.avg_pool2d(pool.large.permute(0, 3, 1, 2).float() / 255, FACTOR)
    )
    assert (pool.small.float() - shrunk.float()).abs().mean() > 5, "the autoencoder is untrained"
    assert torch.isfinite(upscale.loss_of(Upscaler(16, 1), *pool.crops(2, 12, 4), half=True)[0])


def test_drawings_are_held_out_for_good_and_drawn_at_any_size() -> None:
    rows = [(f"c{i}", "flat", SVG) for i in range(200)] + [("tree", look, SVG) for look in "abcdefgh"]
    known, unknown = (large.choose(rows, 300, 1, held_out=part) for part in (False, True))
    assert len(known) + len(unknown) == len(rows)
    assert {row[:2] for row in known}.isdisjoint(row[:2] for row in unknown)
    assert 10 < len(unknown) < 45
    assert large.choose(rows, 3, 1)[0][0] == "tree"
    pytest.importorskip("resvg_py")
    drawn = draw(SVG, 120)
    assert (drawn.shape, drawn.dtype) == ((4, 120, 120), np.uint8)
    y, x = np.nonzero(drawn[3] > 128)
    assert y.min() in (0, 1, 2), "10 units high, it fills the height"
    assert y.max() == 118
    assert x.max() - x.min() + 1 == pytest.approx(0.6 * 118, abs=2)


def test_killed_training_goes_on_and_what_it_writes_enlarges(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(Path("pocket/train/configs/upscale.yaml").read_text())
    config |= {"sprites": str(build / "sprites.npz"), "vae": str(build / "vae"), "out": str(tmp_path / "out")}
    config |= {
        "sources": None,
        "frame": "40x24",
        "size": 12,
        "batch": 4,
        "count": 4,
        "chunk": 2,
        "refresh": 9,
    }
    config |= {"widths": 16, "layers": 1, "seconds": 1.5, "save-every": 0.1, "test": 2}
    path, out = tmp_path / "small.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "pocket.train.upscale", "--config", str(path)]
    reached = killed(command, out / "resume.pt")

    monkeypatch.setattr(sys, "argv", command[2:])
    upscale.main()
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["resumed_at"] for line in lines if "resumed_at" in line] == [0, round(reached, 4)]
    assert set(lines[-1]["decoded"]) == {"psnr", "lanczos"}
    monkeypatch.setattr(sys, "argv", ["train", "--out", str(out), "--export", str(tmp_path / "net")])
    upscale.main()
    monkeypatch.setenv("JOGAK_BACKEND", "torch")
    enlarge = load_upscaler(tmp_path / "net")
    assert enlarge is not None
    assert enlarge(np.zeros((18, 32, 3), np.uint8)).shape == (72, 128, 3)
