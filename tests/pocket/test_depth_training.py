"""Training of the depth net on a CPU: exact targets, a run from nothing to a folder that Jogak reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from jogak.models.depth import DepthNet, read_depth_net
from pocket.data.compose import Painter
from pocket.data.maps import depth as exact
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import load
from pocket.train import depth
from pocket.train.common import feed
from tests.pocket.untrained import write_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_build(tmp_path_factory.mktemp("build"))


def pool_of(build: Path, count: int, chunk: int) -> depth.Pool:
    sprites = load(build / "sprites.npz", None)
    layouts = feed(SceneSampler(sprites), chunk, 2.0, 3, 0)
    return depth.Pool(Painter(sprites.pixels, "cpu"), None, layouts, 64, 32, count, 0.5)


def test_pictures_are_kept_with_their_exact_depth(build: Path) -> None:
    pool = pool_of(build, 4, 4)
    pool.renew()
    layout, _ = next(feed(SceneSampler(load(build / "sprites.npz", None)), 4, 2.0, 3, 0))
    wanted = exact(pool.painter, layout, 32, 64)
    assert (pool.depth.float() / 255 - wanted).abs().max() <= 0.5 / 255 + 1e-6
    torch.manual_seed(0)
    pixels, near = pool.batch(16)
    assert (pixels.shape, near.shape) == ((16, 3, 32, 64), (16, 1, 32, 64))
    kept = [*pool.depth, *pool.depth.flip(3)]
    for picture, one in zip(pixels, near, strict=True):
        at = next(i for i, other in enumerate(kept) if torch.equal((one * 255).round().byte(), other))
        whole = [*pool.pixels, *pool.pixels.flip(3)][at]
        assert torch.equal((picture * 255).round().byte(), whole), "mirrored together"


def test_the_oldest_pictures_make_room(build: Path) -> None:
    pool = pool_of(build, 6, 4)
    pool.renew()
    first = pool.pixels[:2].clone()
    pool.renew()
    assert (pool.full, pool.at) == (6, 2)
    assert not torch.equal(pool.pixels[:2], first)


def test_the_error_of_a_net_that_says_half_everywhere(build: Path) -> None:
    net, pool = DepthNet(8), pool_of(build, 4, 4)
    with torch.no_grad():
        net.fine.weight.zero_()
        net.fine.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess]
    found = depth.rmse(net, pool, 4)
    wanted = (pool.depth.float() / 255 - 0.5).square().mean((1, 2, 3)).sqrt().mean()
    assert found == pytest.approx(float(wanted), abs=1e-4)


def test_a_run_writes_a_folder_that_is_read(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "--sprites",
        build / "sprites.npz",
        "--vae",
        build / "vae",
        "--out",
        tmp_path / "out",
        "--seconds",
        "1",
    ]
    words += ["--shapes", "32x32,64x32", "--widths", "8", "--batch", "2", "--count", "4", "--chunk", "2"]
    words += ["--workers", "0", "--test", "2"]
    monkeypatch.setattr(sys, "argv", ["train", *map(str, words)])
    depth.main()
    told = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [one["held_out"] for one in told[-2:]] == ["drawn", "decoded"]
    assert all(0 < one["rmse"] < 1 for one in told[-2:])
    monkeypatch.setattr(sys, "argv", ["train", *map(str, words), "--export", str(tmp_path / "net")])
    depth.main()
    assert read_depth_net(tmp_path / "net")[1] == 32
