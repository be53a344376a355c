"""Training of the keypoint net on a CPU: targets, reading them back, held-out puppets, a run that a kill may end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from jogak.models.keypoints import NAME, KeypointNet, load_keypoints, read_joints
from pocket.data.compose import empty_layout
from pocket.data.maps import MIRROR
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites, load
from pocket.train import export, keypoints
from pocket.train.common import feed, load_shards
from tests.pocket.untrained import killed, write_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With 32 puppets: a white disc each, whose first twelve joints lie around its middle."""
    folder = write_build(tmp_path_factory.mktemp("build"))
    count, rng = 32, np.random.default_rng(2)
    y, x = np.mgrid[0:192, 0:192] / 192 - 0.5
    pixels = np.broadcast_to((x**2 + y**2 < 0.16) * np.uint8(255), (count, 4, 192, 192))
    joints = np.zeros((count, 18, 3), np.float16)
    joints[:, :12, :2], joints[:, :12, 2] = rng.uniform(0.3, 0.7, (count, 12, 2)), 1
    words = {name: np.array([f"a doll {name}"] * count) for name in ("en", "ko")}
    np.savez(folder / "puppets.npz", pixels=pixels, joints=joints, look=np.array(["flat"] * count), **words)
    return folder


def test_a_target_is_read_back_where_it_was_put(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    joints = torch.rand(3, 18, 3)
    joints[..., :2] = 0.1 + 0.8 * joints[..., :2]
    joints[..., 2] = (joints[..., 2] > 0.3).float()
    wanted = keypoints.targets(joints, 16, 16)
    torch.testing.assert_close(wanted.sum(2), torch.ones(3, 18))
    points, there = read_joints(lambda pixels: wanted.clamp(min=1e-12).log(), torch.zeros(3, 3, 64, 64))  # type: ignore[arg-type]
    assert torch.equal(there > 0.5, joints[..., 2] > 0)
    off = (points - 64 * joints[..., :2]).abs()[joints[..., 2] > 0]
    assert off.max() < 1.0, "a quarter of a map's pixel"


def test_every_part_learns_and_the_size_is_small() -> None:
    torch.manual_seed(1)
    net = KeypointNet(16)
    pixels, joints = torch.rand(2, 3, 64, 96), torch.rand(2, 18, 3).round()
    assert net(pixels).shape == (2, 18, 16 * 24 + 1)
    keypoints.loss_of(net, pixels, keypoints.targets(joints, 16, 24)).backward()
    assert [n for n, w in net.named_parameters() if w.grad is None or not w.grad.any()] == []
    assert keypoints.parameters(KeypointNet(32)) < 1.5e6, "3 MB in fp16"


def test_the_foremost_puppets_joints_inside_the_picture_count() -> None:
    layout = empty_layout(3)
    layout.sprite[0, 1], layout.box[0, 1] = 1, (0.5, 0.9, 0.4, 1, 0)
    layout.sprite[0, 2], layout.box[0, 2] = 1, (0.4, 0.9, 0.4, 1, 0)
    layout.sprite[1, 0], layout.box[1, 0] = 1, (0.0, 0.9, 0.4, 1, 0)  # half of it is beyond the left edge
    layout.sprite[2, 0], layout.box[2, 0] = 0, (0.5, 0.9, 0.4, 1, 0)  # no puppet
    joints = np.zeros((2, 18, 3), np.float32)
    joints[1, 0], joints[1, 1] = (0.5, 0.5, 1), (0.25, 0.5, 2)
    found = keypoints.figure(layout, joints, 1.0)
    assert found[0, 0] == pytest.approx([0.4, 0.7, 1], abs=1e-6)
    assert found[:, :2, 2].tolist() == [[1, 1], [1, 0], [0, 0]]
    assert not found[2].any()


def test_a_view_moves_joints_as_it_moves_pixels() -> None:
    torch.manual_seed(4)
    joints = torch.rand(40, 18, 3)
    joints[..., :2] = 0.2 + 0.6 * joints[..., :2]
    joints[..., 2] = 1.0
    joints[:8] = 0  # nobody there
    pixels = torch.zeros(40, 3, 96, 96)
    for row, (x, y, _) in enumerate((joints[:, 4] * 96).tolist()):
        pixels[row, :, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 1
    view = keypoints.random_views(joints, 2.5)
    seen, moved = keypoints.seen_through(view, pixels, 64), keypoints.joints_through(view, joints)
    assert seen.shape == (40, 3, 64, 64)
    mirrored = torch.linalg.det(view[..., :2]) < 0
    assert 5 < mirrored.sum() < 35
    assert not moved[:8].any()
    compared = 0
    for row in range(8, 40):
        number = int(MIRROR[4]) if mirrored[row] else 4
        x, y, there = moved[row, number].tolist()
        if there and 0.05 < x < 0.95 and 0.05 < y < 0.95:
            at = int(seen[row, 0].argmax())
            assert (at % 64 + 0.5, at // 64 + 0.5) == pytest.approx((64 * x, 64 * y), abs=3)
            compared += 1
    assert compared > 20
    span = torch.linalg.det(view[..., :2]).abs().sqrt()
    assert span.min() >= 0.4 - 1e-6, "no more than 2.5 times as large"
    assert span.max() <= 1 + 1e-6
    assert 0 < (moved[8:, :, 2] == 0).float().mean() < 0.3, "some joints are cut off"


def test_new_pictures_take_the_place_of_the_oldest(build: Path) -> None:
    sprites = load(build / "sprites.npz", build / "puppets.npz")
    pictures = keypoints.Pictures(sprites, None, 48, 0.0, "cpu", False)
    pool = keypoints.Pool(pictures, feed(SceneSampler(sprites, people=1.0), 4, 1.0, 1, 0), 6)
    pool.renew()
    assert (pool.full, pool.at) == (4, 4)
    first = pool.pixels.clone()
    pool.renew()
    assert (pool.full, pool.at) == (6, 2)
    kept = (pool.pixels == first).flatten(1).all(1).tolist()
    assert kept[2:4] == [True, True]
    assert not any(kept[:2])
    pixels, joints = pool.views(5, 32, 2.0)
    assert (pixels.shape, joints.shape) == ((5, 3, 32, 32), (5, 18, 3))
    assert 0 <= pixels.min() < pixels.max() <= 1


def test_held_out_puppets_are_nobody_elses(build: Path) -> None:
    sprites: Sprites = load(build / "sprites.npz", build / "puppets.npz")
    known, unknown = (keypoints.share_of_puppets(sprites, part) for part in (False, True))
    assert [name for name, _ in unknown.puppets] == ["puppet-0", "puppet-16"]
    assert len(known.puppets) == len(known.phrases) == 30
    assert set(known.puppets).isdisjoint(unknown.puppets)


def test_killed_training_goes_on_and_ends_with_its_score(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(Path("pocket/train/configs/keypoints.yaml").read_text())
    config |= {name: str(build / f"{name}.npz") for name in ("sprites", "puppets")}
    config |= {"vae": str(build / "vae"), "out": str(tmp_path / "out"), "size": 32, "widths": 8, "batch": 4}
    config |= {
        "drawn": 48,
        "count": 16,
        "chunk": 8,
        "refresh": 2,
        "workers": 0,
        "seconds": 1.5,
        "save-every": 0.1,
        "test": 8,
    }
    path, out = tmp_path / "small.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "pocket.train.keypoints", "--config", str(path)]
    reached = killed(command, out / "resume.pt")

    monkeypatch.setattr(sys, "argv", command[2:])
    keypoints.main()
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["resumed_at"] for line in lines if "resumed_at" in line] == [0, round(reached, 4)]
    judged = {line["held_out"]: line for line in lines if "held_out" in line}
    assert judged.keys() == {"drawn", "decoded"}
    for line in judged.values():
        assert line["pck"]["n"] == line["scenes"] == 8
        assert 0 <= line["pck"]["low"] <= line["pck"]["mean"] <= line["pck"]["high"] <= 1
    assert all(torch.isfinite(value).all() for value in load_shards(out, "keypoints").values())

    export.export_keypoints(out, tmp_path / NAME)
    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == ["config.json", "model.safetensors"]
    noise = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert len(load_keypoints(tmp_path / NAME)(noise)) == 18
