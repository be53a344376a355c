"""Maps and poses: lines are where the picture has them, networks run from local files or say what is missing, poses
come by name in both languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from jogak.adapters.maps import (
    annotators_folder,
    make_map,
    map_settings,
    missing_network,
    network_digest,
    pose_folder,
    reader_note,
)
from jogak.adapters.poses import (
    COLOURS,
    JOINTS,
    LIMBS,
    draw_pose,
    pose_map,
    pose_names,
    pose_points,
    read_pose,
)
from jogak.spec import SpecError
from tests.tiny_depth import ship_depth, write_depth
from tests.tiny_keypoints import ship_keypoints, write_keypoints

PHOTO = np.full((96, 128, 3), 230, np.uint8)
cv2.rectangle(PHOTO, (30, 20), (90, 70), (200, 60, 40), -1)
cv2.rectangle(PHOTO, (30, 20), (90, 70), (20, 20, 20), 2)


@pytest.fixture(autouse=True)
def annotators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JOGAK_ANNOTATORS", str(tmp_path / "annotators"))
    (tmp_path / "annotators").mkdir()
    ship_keypoints(monkeypatch, tmp_path / "none")
    ship_depth(monkeypatch, tmp_path / "none")
    return tmp_path / "annotators"


# lines


@pytest.mark.parametrize("kind", ["canny", "scribble", "lineart"])
def test_lines_are_where_the_picture_has_them(kind: Any) -> None:
    found = make_map(kind, PHOTO)
    assert found.shape == PHOTO.shape
    assert found.dtype == np.uint8
    near = np.zeros(PHOTO.shape[:2], np.uint8)
    cv2.rectangle(near, (30, 20), (90, 70), 255, 9)
    assert found[near == 0].max() < 40, "nothing away from the outline"
    for y, x in ((20, 60), (70, 60), (45, 30), (45, 90)):
        assert found[y - 4 : y + 5, x - 4 : x + 5].max() > 100, f"a line near {x}, {y}"
    np.testing.assert_array_equal(found, make_map(kind, PHOTO))
    assert not make_map(kind, np.full_like(PHOTO, 128)).any(), "a plain picture has no lines"


def test_scribbles_are_thicker_than_edges_and_settings_matter() -> None:
    canny, scribble = make_map("canny", PHOTO), make_map("scribble", PHOTO, thickness=12)
    assert (scribble > 0).sum() > 2 * (canny > 0).sum()
    assert (make_map("canny", PHOTO, low=999, high=1000) > 0).sum() < (canny > 0).sum()
    assert (make_map("scribble", PHOTO, threshold=250) > 0).sum() < (make_map("scribble", PHOTO) > 0).sum()


def test_a_map_does_not_depend_on_the_size() -> None:
    """Blurs and strokes are given for 512 pixels: at twice the size the same lines are twice as thick."""
    large = cv2.resize(PHOTO, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    twice = cv2.resize(PHOTO, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)
    for kind in ("scribble", "lineart"):
        first, second = make_map(kind, large).astype(float), make_map(kind, twice).astype(float)
        small = cv2.resize(second, (first.shape[1], first.shape[0]), interpolation=cv2.INTER_AREA)
        assert np.abs(small - first).mean() < 0.15 * first.mean() + 1, kind


def test_canny_takes_grey_and_the_smallest_picture() -> None:
    assert make_map("canny", np.zeros((1, 1, 3), np.uint8)).shape == (1, 1, 3)
    for kind in ("scribble", "lineart"):
        assert make_map(kind, np.full((1, 3, 3), 9, np.uint8)).shape == (1, 3, 3)


def test_settings_are_told_and_checked() -> None:
    assert map_settings("canny", low=50) == {"low": 50, "high": 200}
    assert map_settings("none") == {}
    with pytest.raises(SpecError, match=r'no setting "lo".*low, high'):
        map_settings("canny", lo=3)
    with pytest.raises(SpecError, match="no kind of map"):
        map_settings("blur")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="above high"):
        make_map("canny", PHOTO, low=300, high=200)
    for bad in (float("nan"), -1, "10", True, None):
        with pytest.raises(SpecError, match="give a number"):
            make_map("canny", PHOTO, low=bad)


def test_a_ready_map_is_taken_as_it_is_and_bad_pictures_are_refused() -> None:
    np.testing.assert_array_equal(make_map("none", PHOTO), PHOTO)
    for bad in (PHOTO[..., 0], PHOTO.astype(np.float32), PHOTO[:0]):
        with pytest.raises(SpecError, match="bytes"):
            make_map("canny", bad)
    with pytest.raises(SpecError, match="megapixels"):
        make_map("canny", np.broadcast_to(PHOTO[:1, :1], (9000, 9000, 3)))


# networks


@pytest.mark.parametrize(
    ("kind", "instead"), [("hed", "scribble"), ("depth", "none=map"), ("pose", "standing")]
)
def test_an_absent_network_is_said_with_what_to_do(kind: Any, instead: str, annotators: Path) -> None:
    with pytest.raises(SpecError, match=f"{annotators}.*{instead}"):
        make_map(kind, PHOTO)


def hed_state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    state = {"norm": torch.full((1, 3, 1, 1), 100.0)}
    taken = 3
    for block, (width, layers) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for layer in range(layers):
            state[f"block{block}.convs.{layer}.weight"] = torch.randn(
                width, taken, 3, 3, generator=generator
            ) * (1.4 / (9 * taken) ** 0.5)
            state[f"block{block}.convs.{layer}.bias"] = torch.zeros(width)
            taken = width
        state[f"block{block}.projection.weight"] = torch.randn(1, width, 1, 1, generator=generator) / (
            30 * width**0.5
        )
        state[f"block{block}.projection.bias"] = torch.zeros(1)
    return state


def test_hed_runs_as_its_published_network_in_both_layouts(annotators: Path) -> None:
    state = hed_state()
    save_file(state, annotators / "hed.safetensors")
    found = make_map("hed", PHOTO)
    # the network of ControlNetHED, written out
    x = torch.from_numpy(PHOTO).float().permute(2, 0, 1)[None] - state["norm"]
    sides = []
    for block, layers in enumerate((2, 2, 3, 3, 3), 1):
        x = F.max_pool2d(x, 2) if block > 1 else x
        for layer in range(layers):
            name = f"block{block}.convs.{layer}"
            x = F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))
        side = F.conv2d(x, state[f"block{block}.projection.weight"], state[f"block{block}.projection.bias"])
        sides.append(cv2.resize(side[0, 0].numpy(), (128, 96), interpolation=cv2.INTER_LINEAR))
    expected = 255 / (1 + np.exp(-np.mean(sides, axis=0)))
    assert np.abs(found[..., 0] - expected).max() <= 2
    assert found.std() > 1, "a map of one grey would prove nothing"

    mean = torch.tensor([122.67891434, 116.66876762, 104.00698793]).view(1, 3, 1, 1)
    save_file(state | {"norm": mean}, annotators / "hed.safetensors")
    expected = make_map("hed", PHOTO)
    stages = ("One", "Two", "Thr", "Fou", "Fiv")
    other = {"netCombine.0.weight": torch.full((1, 5, 1, 1), 0.2), "netCombine.0.bias": torch.zeros(1)}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "norm":
            continue
        stage = int(parts[0][5:]) - 1
        if parts[1] == "projection":
            other[f"netScore{stages[stage]}.{parts[2]}"] = tensor
        else:
            at = 2 * int(parts[2]) + (stage > 0)
            first = name == "block1.convs.0.weight"  # its channels are blue, green, red
            other[f"netVgg{stages[stage]}.{at}.{parts[3]}"] = (
                tensor.flip(1) if first else tensor
            ).contiguous()
    save_file(other, annotators / "bsds.safetensors")
    found = make_map("hed", PHOTO, weights=annotators / "bsds.safetensors")
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_other_hed_files_are_refused(annotators: Path) -> None:
    save_file({"something": torch.zeros(1)}, annotators / "hed.safetensors")
    with pytest.raises(SpecError, match="no HED network"):
        make_map("hed", PHOTO)
    (annotators / "hed.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(SpecError, match="pickle"):
        make_map("hed", PHOTO, weights=annotators / "hed.pth")


def test_depth_runs_from_a_local_folder(annotators: Path) -> None:
    from transformers import DPTConfig, DPTForDepthEstimation

    torch.manual_seed(2)
    config = DPTConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=32, patch_size=8,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8, is_hybrid=False,
        reassemble_factors=[4, 2, 1, 0.5],
    )  # fmt: skip
    DPTForDepthEstimation(config).save_pretrained(annotators / "depth")
    (annotators / "depth" / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    found = make_map("depth", PHOTO)
    assert found.shape == PHOTO.shape
    assert (found.min(), found.max()) == (0, 255) or found.max() > 200
    np.testing.assert_array_equal(found, make_map("depth", PHOTO))
    (annotators / "depth" / "model.safetensors").unlink()
    with pytest.raises(SpecError, match=r"no model\.safetensors"):
        make_map("depth", PHOTO)
    (annotators / "empty").mkdir()
    with pytest.raises(SpecError, match=r"config\.json"):
        make_map("depth", PHOTO, weights=annotators / "empty")


def test_depth_keeps_proportions_when_the_folder_says_so(annotators: Path) -> None:
    from jogak.adapters.annotators import _for_depth

    (annotators / "depth").mkdir()
    said = {"size": {"height": 28, "width": 28}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}
    (annotators / "depth" / "preprocessor_config.json").write_text(json.dumps(said))
    assert _for_depth(annotators / "depth", np.zeros((60, 120, 3), np.uint8)).shape == (28, 56, 3)


def save_vitpose(folder: Path) -> None:
    from transformers import VitPoseConfig, VitPoseForPoseEstimation
    from transformers.models.vitpose_backbone.configuration_vitpose_backbone import VitPoseBackboneConfig

    torch.manual_seed(2)
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        mlp_ratio=1, out_indices=[1], part_features=8, num_experts=1,
    )  # fmt: skip
    config = VitPoseConfig(backbone_config=backbone, num_labels=17, use_simple_decoder=True)
    VitPoseForPoseEstimation(config).save_pretrained(folder)


def test_a_pose_network_finds_the_joints(annotators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_vitpose(annotators / "pose")
    monkeypatch.setattr("jogak.adapters.annotators.SURE", 100.0)  # an untrained network says anything
    with pytest.raises(SpecError, match="nobody is seen"):
        make_map("pose", PHOTO)
    monkeypatch.setattr("jogak.adapters.annotators.SURE", -100.0)
    from jogak.adapters.annotators import body_points

    points = body_points(annotators / "pose", PHOTO)
    assert len(points) == 18
    assert all(point is not None for point in points)
    assert make_map("pose", PHOTO).any()


def test_heat_becomes_joints_at_their_place(annotators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heat planted at a known place of a wide picture comes back there, with the right name."""
    from types import SimpleNamespace

    import jogak.adapters.annotators as module

    heat = torch.zeros(1, 17, 64, 48)
    # a picture of 200 by 100 fills the width of 192 by 256 and lies in its middle: rows 80 to 176
    planted = {0: (96, 128), 5: (144, 104), 6: (48, 104), 15: (144, 152)}
    for joint, (x, y) in planted.items():
        heat[0, joint, y // 4, x // 4] = 1.0

    class Net:
        config = SimpleNamespace(backbone_config=SimpleNamespace(image_size=[256, 192], num_experts=1))

        def __call__(self, pixel_values: torch.Tensor) -> Any:
            assert pixel_values.shape == (1, 3, 256, 192)
            return SimpleNamespace(heatmaps=heat)

    monkeypatch.setattr(module, "_load_pose", lambda path, stamp: Net())
    monkeypatch.setattr(module, "_folder", lambda path, what: None)
    (annotators / "config.json").write_text("{}")
    points = dict(zip(JOINTS, module.body_points(annotators, np.zeros((100, 200, 3), np.uint8)), strict=True))
    for name, (x, y) in (("nose", (96, 128)), ("left_shoulder", (144, 104)), ("right_shoulder", (48, 104))):
        assert points[name] == pytest.approx(((x + 2) / 192, (y + 2 - 80) / 96), abs=0.01)
    assert points["neck"] == pytest.approx((98 / 192, 26 / 96), abs=0.01)
    assert points["left_ankle"] is not None
    assert points["left_knee"] is None


def test_pockets_own_net_reads_poses_where_nothing_else_is(
    annotators: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match=r"need a pose network: the folder of ViTPose.*name a pose"):
        make_map("pose", PHOTO)
    assert (missing_network("pose") != "", network_digest("pose"), reader_note("pose")) == (True, "", None)

    own = ship_keypoints(monkeypatch, write_keypoints(tmp_path / "pocket-keypoints"))
    assert (pose_folder(), missing_network("pose")) == (own, "")
    found = make_map("pose", PHOTO)
    assert found.shape == PHOTO.shape
    assert sum(point is not None for point in read_pose(found)) >= 4, (
        "an untrained net sees all joints somewhere"
    )
    np.testing.assert_array_equal(found, make_map("pose", PHOTO))
    first = network_digest("pose")
    assert first
    note = reader_note("pose", "puppet.png")
    assert note is not None
    assert (note.level, note.code, note.about) == ("note", "pose.reader", "puppet.png")
    assert "pocket-keypoints, trained on cut-out puppets; not for photographs" in note.en
    assert "pocket-keypoints" in note.ko
    assert "사진에는 맞지 않습니다" in note.ko

    save_vitpose(annotators / "pose")
    assert pose_folder() == annotators / "pose"
    assert network_digest("pose") != first
    assert reader_note("pose") is None
    monkeypatch.setattr("jogak.adapters.annotators.SURE", 100.0)  # by which ViTPose alone sees nobody
    with pytest.raises(SpecError, match="nobody is seen"):
        make_map("pose", PHOTO)
    np.testing.assert_array_equal(make_map("pose", PHOTO, weights=own), found)


def test_pockets_own_net_reads_depth_where_nothing_else_is(
    annotators: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (missing_network("depth") != "", reader_note("depth")) == (True, None)
    own = ship_depth(monkeypatch, write_depth(tmp_path / "pocket-depth"))
    assert missing_network("depth") == ""
    found = make_map("depth", PHOTO)
    assert (found.shape, found.dtype, found.max()) == (PHOTO.shape, np.uint8, 255)
    np.testing.assert_array_equal(found, make_map("depth", PHOTO, weights=own))
    note = reader_note("depth", "house.png")
    assert note is not None
    assert (note.level, note.code, note.about) == ("note", "depth.reader", "house.png")
    assert "not for photographs" in note.en
    assert "사진에는 맞지 않습니다" in note.ko
    (annotators / "depth").mkdir()
    assert missing_network("depth"), "a damaged network is not replaced unsaid"


def test_a_damaged_pose_network_is_not_replaced_unsaid(
    annotators: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship_keypoints(monkeypatch, write_keypoints(tmp_path / "pocket-keypoints"))
    (annotators / "pose").mkdir()
    assert "ViTPose" in missing_network("pose")
    with pytest.raises(SpecError, match=r"config\.json"):
        make_map("pose", PHOTO)
    (annotators / "pose" / "config.json").write_text("{}")
    with pytest.raises(SpecError, match=r"model\.safetensors"):
        make_map("pose", PHOTO)


def test_too_few_joints_are_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jogak.adapters.annotators as module

    own = ship_keypoints(monkeypatch, write_keypoints(tmp_path / "pocket-keypoints"))
    for seen in (3, 4):
        points = [(0.5, 0.1 * at) if at < seen else None for at in range(18)]
        monkeypatch.setattr(module, "load_keypoints", lambda folder, points=points: lambda picture: points)
        if seen < 4:
            with pytest.raises(module.NobodySeen):
                module.body_points(own, PHOTO)
        else:
            assert module.body_points(own, PHOTO) == points


# poses


def test_every_pose_is_drawn_inside_and_named_in_both_languages() -> None:
    names = pose_names()
    assert {"standing", "sitting", "walking", "running", "waving", "jumping"} <= names.keys()
    for key, words in names.items():
        assert any("가" <= letter <= "힣" for word in words for letter in word), f"{key} has no Korean name"
        assert len(pose_points(key)) == 18
        found = pose_map(key, 256, 256)
        assert found.any()
        for word in words:
            np.testing.assert_array_equal(pose_map(word, 256, 256), found)


def test_names_forgive_spaces_and_unknown_ones_are_told_near() -> None:
    np.testing.assert_array_equal(pose_map("  Standing ", 64, 64), pose_map("standing", 64, 64))
    korean = next(word for word in pose_names()["waving"] if "가" <= word[0] <= "힣")
    np.testing.assert_array_equal(pose_map(" ".join(korean), 64, 64), pose_map("waving", 64, 64))
    with pytest.raises(SpecError, match=r"Did you mean .*standing"):
        pose_map("standig", 64, 64)
    with pytest.raises(SpecError, match="There are"):
        pose_map("쀍", 64, 64)


def test_a_pose_keeps_its_proportions_in_a_wide_picture() -> None:
    square, wide = pose_map("standing", 192, 192), pose_map("standing", 320, 192)
    np.testing.assert_array_equal(wide[:, 64:256], square)
    assert not wide[:, :64].any()


def test_joints_and_limbs_have_openpose_colours() -> None:
    points: list[Any] = [None] * 18
    points[2], points[3] = (0.25, 0.5), (0.75, 0.5)  # right shoulder and elbow
    found = draw_pose(points, 512, 512)
    limb = LIMBS.index((2, 3))
    assert tuple(found[256, 128]) == COLOURS[2]
    assert tuple(found[256, 384]) == COLOURS[3]
    assert tuple(found[256, 256]) == tuple(int(0.6 * part) for part in COLOURS[limb])
    column = found[:, 256].any(axis=1)
    assert column.sum() == 9, "a limb is four pixels to each side at 512"
    assert draw_pose(points, 256, 256)[:, 128].any(axis=1).sum() == 5
    assert not draw_pose([None] * 18, 64, 64).any()


def test_wild_points_do_no_harm() -> None:
    points: list[Any] = [(1e30, -1e30), (float("nan"), 0.5), *[(3.9, -3.9)] * 16]
    assert draw_pose(points, 64, 64).shape == (64, 64, 3)
    for width, height in ((0, 64), (64, 100_000)):
        with pytest.raises(SpecError, match="sides"):
            draw_pose([None] * 18, width, height)
    with pytest.raises(SpecError, match="18 joints"):
        draw_pose([None] * 17, 64, 64)


def test_the_folder_of_networks_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOGAK_ANNOTATORS")
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path))
    assert annotators_folder() == tmp_path / "annotators"
    monkeypatch.delenv("JOGAK_HOME")
    assert annotators_folder().name == "annotators"


@pytest.mark.parametrize("size", [(512, 512), (256, 384), (128, 96)])
def test_a_drawn_pose_is_read_again(size: tuple[int, int]) -> None:
    width, height = size
    side = min(size)
    for name in ("standing", "waving"):
        asked = pose_points(name)
        read = read_pose(pose_map(name, width, height))
        assert sum(point is not None for point in read) >= 14
        for point, found in zip(asked, read, strict=True):
            if found is None:
                continue  # covered by another joint
            assert point is not None
            x, y = ((width - side) / 2 + point[0] * side, (height - side) / 2 + point[1] * side)
            assert abs(found[0] * width - x) <= max(2.5, side / 100)
            assert abs(found[1] * height - y) <= max(2.5, side / 100)
    assert read_pose(np.zeros((64, 64, 3), np.uint8)) == [None] * 18


def test_what_a_kind_lacks_is_told_without_opening_it(annotators: Path) -> None:
    assert missing_network("canny") == network_digest("canny") == ""
    for kind in ("hed", "depth", "pose"):
        assert "JOGAK_ANNOTATORS" in missing_network(kind)
        assert network_digest(kind) == ""
    save_file({"a": torch.zeros(1)}, annotators / "hed.safetensors")
    assert missing_network("hed") == ""
    first = network_digest("hed")
    save_file({"a": torch.ones(1)}, annotators / "hed.safetensors")
    assert first != network_digest("hed") != ""
