"""Training of the keypoint net on a CPU: targets, reading them back, held-out puppets, a run that a kill may end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pocket.data.compose import empty_layout
from pocket.data.sprites import Sprites, load
from pocket.train import keypoints
from pocket.train.common import load_shards
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
    points, there = keypoints.read_joints(
        lambda pixels: wanted.clamp(min=1e-12).log(), torch.zeros(3, 3, 64, 64)
    )  # type: ignore[arg-type]
    assert torch.equal(there > 0.5, joints[..., 2] > 0)
    off = (points - 64 * joints[..., :2]).abs()[joints[..., 2] > 0]
    assert off.max() < 1.0, "a quarter of a map's pixel"


def test_every_part_learns_and_the_size_is_small() -> None:
    torch.manual_seed(1)
    net = keypoints.KeypointNet(16)
    pixels, joints = torch.rand(2, 3, 64, 96), torch.rand(2, 18, 3).round()
    assert net(pixels).shape == (2, 18, 16 * 24 + 1)
    keypoints.loss_of(net, pixels, keypoints.targets(joints, 16, 24)).backward()
    assert [n for n, w in net.named_parameters() if w.grad is None or not w.grad.any()] == []
    assert keypoints.parameters(keypoints.KeypointNet()) < 2.5e6


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
    config |= {"chunk": 8, "workers": 0, "seconds": 1.5, "save-every": 0.1, "test": 8}
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
