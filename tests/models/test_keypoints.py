"""The keypoint net: its folder is read with care, and joints come back at their places in pictures of any shape."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jogak.adapters.poses import COLOURS
from jogak.models.keypoints import (
    FOLDER,
    JOINTS,
    STEP,
    STRIDE,
    JointReader,
    KeypointNet,
    fitted,
    has_keypoints,
    is_keypoint_net,
    load_keypoints,
    read_joints,
    read_keypoint_net,
    surroundings,
)
from jogak.spec import SpecError
from tests.tiny_keypoints import a_keypoint_net, write_keypoints

NOISE = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)


class Spots(nn.Module):
    """Stands for a trained net: joint i is where colour i is, and is not there where the colour is not."""

    def forward(self, pixels: Tensor) -> Tensor:
        small = F.avg_pool2d(pixels, STRIDE)
        colours = torch.tensor(COLOURS) / 255
        away = (small[:, None] - colours[None, :, :, None, None]).abs().amax(2).flatten(2)
        return torch.cat([-120 * away, torch.full((len(pixels), JOINTS, 1), -15.0)], 2)


def spotted(height: int, width: int, left_out: int) -> tuple[np.ndarray, list[tuple[float, float] | None]]:
    """A dark picture with a disc in each joint's colour, and the shares of width and height where they are."""
    picture = np.full((height, width, 3), 40, np.uint8)
    places = [((at % 6 + 0.5) / 6, (at // 6 + 0.5) / 3) for at in range(JOINTS)]
    for number, (place, colour) in enumerate(zip(places, COLOURS, strict=True)):
        if number != left_out:
            middle = int(place[0] * width), int(place[1] * height)
            cv2.circle(picture, middle, max(height, width) // 24, colour, -1)
    return picture, [None if number == left_out else place for number, place in enumerate(places)]


@pytest.mark.parametrize("size", [(256, 256), (180, 320), (320, 180), (400, 150), (96, 128), (1000, 720)])
def test_joints_come_back_in_shares_of_pictures_that_are_not_square(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = JointReader(write_keypoints(tmp_path, side=256))
    monkeypatch.setattr(reader, "_net", Spots())
    picture, places = spotted(*size, left_out=7)
    found = reader(picture)
    assert [point is None for point in found] == [place is None for place in places]
    pixels = np.array([point for point in found if point]) * size[::-1]
    wanted = np.array([place for place in places if place]) * size[::-1]
    assert np.abs(pixels - wanted).max() < max(size) / 100


def test_a_figure_far_away_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, sizes = JointReader(write_keypoints(tmp_path, side=256)), []

    class Watched(Spots):
        def forward(self, pixels: Tensor) -> Tensor:
            sizes.append(tuple(pixels.shape[2:]))
            return super().forward(pixels)

    monkeypatch.setattr(reader, "_net", Watched())
    figure, places = spotted(420, 420, left_out=3)
    picture = np.full((800, 1000, 3), 40, np.uint8)
    picture[350:770, 60:480] = figure
    found = np.array([point or (np.nan, np.nan) for point in reader(picture)]) * (1000, 800)
    wanted = np.array([place or (np.nan, np.nan) for place in places]) * 420 + (60, 350)
    assert sizes == [(224, 256), (256, 256)], "the whole, then a square"
    assert np.isnan(found[3]).all()
    assert np.nanmax(np.abs(found - wanted)) < 4, (
        "a pixel of the map is 16 pixels at the first look, 8 at the second"
    )


def test_the_surroundings_hold_all_joints_and_stay_inside() -> None:
    points = np.full((JOINTS, 2), np.nan)
    points[:3] = (10, 200), (60, 280), (30, 299)
    assert surroundings(points, 300, 400) is None, "three joints are nobody"
    points[7] = (12, 230)
    window = surroundings(points, 300, 400)
    assert window == (0, 151, 149, 300)
    points[8] = (390, 20)
    assert surroundings(points, 300, 400) is None, "nearly the whole"
    points[:] = 50.0
    assert surroundings(points, 300, 400) is None, "all in one place"


@pytest.mark.parametrize("size", [(256, 256), (180, 320), (40, 1000), (1, 1)])
def test_what_the_net_sees_is_the_whole_picture_on_sides_of_32(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 200, np.uint8)
    pixels, scale = fitted(picture, 128)
    assert pixels.dtype == np.float32
    assert max(pixels.shape[2:]) == 128
    assert all(side % STEP == 0 for side in pixels.shape[2:])
    assert (np.array(size[::-1]) * scale <= pixels.shape[:1:-1]).all()
    assert np.allclose(pixels, 200 / 255), "filled up with its own edge"


def test_maps_are_read_where_they_are_highest() -> None:
    """Between pixels of the map, and without what lies far from the highest place."""
    logits = torch.full((1, JOINTS, 16 * 24 + 1), -30.0)
    maps = logits[..., :-1].unflatten(2, (16, 24))
    maps[0, 0, 5, 7] = maps[0, 0, 5, 8] = 3.0
    maps[0, 0, 14, 20] = 2.9
    logits[0, 1:, -1] = 3.0
    logits[0, 2, -1] = maps[0, 2, 0, 0] = 1.0
    net = nn.Module()
    net.forward = lambda pixels: logits
    points, there = read_joints(net, torch.zeros(1, 3, 64, 96))
    assert points[0, 0].tolist() == pytest.approx([STRIDE * 8.0, STRIDE * 5.5], abs=1e-3)
    assert points[0, 2].tolist() == pytest.approx([2, 2], abs=1e-3)
    assert there[0, :3].tolist() == pytest.approx([1, 0, 0.5], abs=1e-3)


@pytest.mark.parametrize(("absent", "there"), [(0.45, True), (0.55, False)])
def test_a_joint_is_there_when_that_is_likelier(
    absent: float, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sure(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            places = pixels.shape[2] * pixels.shape[3] // STRIDE**2
            logits = torch.full((1, JOINTS, places + 1), -40.0)
            logits[..., 0], logits[..., -1] = np.log(1 - absent), np.log(absent)
            return logits

    reader = JointReader(write_keypoints(tmp_path))
    monkeypatch.setattr(reader, "_net", Sure())
    assert [point is not None for point in reader(NOISE)] == [there] * JOINTS


def test_the_same_picture_gives_the_same_joints_to_the_bit(tmp_path: Path) -> None:
    folder = write_keypoints(tmp_path)
    first = JointReader(folder)(NOISE)
    assert all(point is not None for point in first)
    assert JointReader(folder)(NOISE) == first
    assert JointReader(folder)(np.asfortranarray(NOISE)) == first
    assert JointReader(folder)(NOISE[:, ::-1]) != first


def test_a_folder_is_read_once_and_in_float32(tmp_path: Path) -> None:
    folder = write_keypoints(tmp_path / "net", width=16, side=96)
    assert load_keypoints(folder) is load_keypoints(folder)
    net, side = read_keypoint_net(folder)
    assert side == 96
    for name, value in net.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, a_keypoint_net(16).state_dict()[name], rtol=1e-3, atol=1e-6)
    assert is_keypoint_net(folder)


def test_a_folder_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    assert not has_keypoints(tmp_path)
    with pytest.raises(SpecError, match=r"no keypoint net.*model\.safetensors.*pocket\.train\.keypoints"):
        load_keypoints(tmp_path / "nothing")
    folder = write_keypoints(tmp_path / "half")
    (folder / "model.safetensors").unlink()
    with pytest.raises(SpecError, match="no keypoint net"):
        load_keypoints(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"model": "pocket-upscale"}, {"width": 16}, {"width": 12}, {"width": -8}, {"width": 10**9}, {"width": "x"},
        {"side": 100}, {"side": 0}, {"side": 10**9}, {"side": None}, {"joints": 17}, {"stride": 8},
    ],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_refused(tmp_path: Path, config: dict[str, object]) -> None:
    file = write_keypoints(tmp_path) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    with pytest.raises(SpecError, match="no keypoint net of Jogak's"):
        read_keypoint_net(tmp_path)


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    folder = write_keypoints(tmp_path)
    file, config = folder / "model.safetensors", folder / "config.json"
    whole, told = file.read_bytes(), config.read_text()
    length = int.from_bytes(whole[:8], "little")
    for broken in (
        b"",
        whole[:40],
        whole[:-40],
        (2**62).to_bytes(8, "little") + whole[8:],
        whole[:8] + b"[" * length + whole[8 + length :],
        b"\x80\x04" + whole,
    ):
        file.write_bytes(broken)
        with pytest.raises(SpecError):
            read_keypoint_net(folder)
    file.write_bytes(whole)
    for wrong in ("", "[]", "{", "[" * 100_000, "null"):
        config.write_text(wrong)
        with pytest.raises(SpecError):
            read_keypoint_net(folder)
    config.write_text(told)
    read_keypoint_net(folder)


def test_weights_that_are_no_numbers_see_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = JointReader(write_keypoints(tmp_path))
    broken = KeypointNet(8)
    nn.init.constant_(broken.maps.weight, float("nan"))
    monkeypatch.setattr(reader, "_net", broken)
    assert reader(NOISE) == [None] * JOINTS


def test_the_shipped_net_finds_the_joints_of_a_drawn_puppet() -> None:
    from jogak.judge.control_fidelity import pose_fidelity
    from pocket.data.puppets import named_pose, random_puppet, render

    kept = []
    for seed, pose in enumerate(("standing", "waving", "walking", "cheering", "sitting", "open_arms")):
        drawn = render(random_puppet(random.Random(500 + seed)), named_pose(pose), 192)
        # on a ground of one colour, wider than it is high
        picture = np.full((240, 320, 3), (205, 225, 240), np.uint8)
        rgba = drawn.premultiplied.transpose(1, 2, 0).astype(np.float32)
        part = picture[24:216, 64:256]
        part[:] = (rgba[..., :3] + part * (1 - rgba[..., 3:] / 255)).round()
        joints = np.where(drawn.keypoints[:, 2:] > 0, drawn.keypoints[:, :2] + (64, 24), np.nan)
        found = load_keypoints(FOLDER)(picture)
        at = np.array([point or (np.nan, np.nan) for point in found]) * (320, 240)
        kept.append(pose_fidelity(at, joints)["pck"])
    assert np.mean(kept) > 0.8
    assert min(kept) > 0.5
