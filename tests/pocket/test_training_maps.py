"""Control maps made in batches: lines as `jogak.adapters.maps` finds them, depth in the order of painting, poses as
`jogak.adapters.poses` draws them and where the painter puts the sprite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jogak.adapters.maps import make_map
from jogak.adapters.poses import draw_pose, pose_names, pose_points
from pocket.data import maps
from pocket.data.compose import PLACES, Layout, Painter, empty_layout


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """(4, 96, 96, 3) uint8: soft grounds, discs and boxes, as in the painter's scenes."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:96, 0:96] / 96
    out = []
    for _ in range(4):
        picture = (rng.random(3) * 0.5 + 0.4) * (0.7 + 0.3 * y[..., None])
        for _ in range(4):
            cx, cy, radius = rng.random(3) * (1, 1, 0.2) + (0, 0, 0.08)
            inside = (
                (x - cx) ** 2 + (y - cy) ** 2 < radius**2
                if rng.random() < 0.5
                else (abs(x - cx) < radius) & (abs(y - cy) < radius)
            )
            picture = np.where(inside[..., None], rng.random(3), picture)
        out.append(picture)
    return (np.stack(out) * 255).round().astype(np.uint8)


def as_tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def test_canny_is_that_of_opencv(pictures: np.ndarray) -> None:
    low, high = torch.full((4, 1, 1, 1), 80.0), torch.full((4, 1, 1, 1), 160.0)
    found = maps.canny(as_tensor(pictures), low, high)[:, 0].numpy() > 0.5
    expected = np.stack([make_map("canny", picture, low=80, high=160)[..., 0] > 0 for picture in pictures])
    agree = (found & expected).sum() / max((found | expected).sum(), 1)
    assert expected.sum() > 500
    assert agree > 0.97


def test_scribble_and_lineart_are_those_of_one_picture(pictures: np.ndarray) -> None:
    pixels = as_tensor(pictures)
    found = (
        maps.scribble(pixels, torch.full((4, 1, 1, 1), 32.0), max(1, round(3 * 96 / 512)))[:, 0].numpy() > 0.5
    )
    expected = np.stack([make_map("scribble", picture)[..., 0] > 0 for picture in pictures])
    assert (found & expected).sum() / (found | expected).sum() > 0.95
    found = 255 * maps.lineart(pixels, 6 * 96 / 512)[:, 0].numpy()
    expected = np.stack([make_map("lineart", picture)[..., 0] for picture in pictures])
    assert np.abs(found - expected).mean() < 2
    assert expected.mean() > 3


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_random_lines_are_of_every_kind_and_differ(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    pixels = torch.rand(1, 3, *size).repeat(12, 1, 1, 1)
    pixels[..., : size[1] // 2] *= 0.2
    found = maps.random_lines(pixels)
    assert found.shape == (12, 1, *size)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert len({picture.sum().item() for picture in found}) > 8, "strengths are random"
    torch.manual_seed(1)
    torch.testing.assert_close(maps.random_lines(pixels[:0]), pixels[:0, :1])


@pytest.fixture(scope="module")
def painter() -> Painter:
    """One sprite: a square that fills its array, with a bright dot at a quarter of its width and height."""
    pixels = np.zeros((1, 4, 192, 192), np.uint8)
    pixels[:, 3] = 255
    pixels[:, :3, 44:53, 44:53] = 255
    return Painter(pixels)


def layout_of(boxes: list[tuple[float, ...]], place: str = "meadow", shadow: float = 0.3) -> Layout:
    layout = empty_layout(1)
    layout.place[:] = PLACES.index(place)
    for slot, box in enumerate(boxes):
        layout.sprite[0, slot], layout.box[0, slot], layout.shadow[0, slot] = 0, box, shadow
    return layout


def test_depth_puts_what_stands_lower_nearer(painter: Painter) -> None:
    layout = layout_of([(0.25, 0.70, 0.2, 1, 0), (0.70, 0.95, 0.3, 1, 0)])
    found = maps.depth(painter, layout, 64, 64)[0, 0]
    far, near = found[int(0.6 * 64), 16], found[int(0.8 * 64), 45]
    assert 0 < far < near
    assert found[0].max() == 0, "the sky is farthest"
    assert (found[60:, 2] > found[48, 2]).all(), "the ground comes nearer downward"
    assert found.max() == 1
    nearness = maps.sprite_nearness(layout)[0]
    assert nearness[0] < nearness[1]
    plain = empty_layout(1)
    assert not maps.depth(painter, plain, 32, 32).any()


def test_depth_of_what_flies_follows_its_size(painter: Painter) -> None:
    layout = layout_of([(0.25, 0.4, 0.2, 1, 0), (0.7, 0.4, 0.35, 1, 0)], "sky", shadow=0.0)
    found = maps.depth(painter, layout, 64, 64)[0, 0]
    assert 0 < found[20, 16] < found[20, 45]


@pytest.mark.parametrize(("flip", "angle"), [(1, 0.0), (-1, 0.0), (1, 0.4), (-1, -0.3)])
def test_joints_stand_where_the_painter_puts_the_sprite(painter: Painter, flip: int, angle: float) -> None:
    layout = layout_of([(0.6, 0.8, 0.5, flip, angle)], "meadow", shadow=0.0)
    layout.place[:] = -1
    layout.plain[:] = 0
    canvas = painter.draw(layout, 128, 160)[0].mean(0)
    y, x = np.unravel_index(int(canvas.argmax()), canvas.shape)
    bright = torch.nonzero(canvas > 0.6).float().mean(0)
    joints = np.zeros((1, 18, 3), np.float32)
    joints[0, 2] = 48.5 / 192, 48.5 / 192, 1  # the right shoulder is at the dot
    placed = maps.placed_joints(layout, joints)[0, 0]
    name = 2 if flip > 0 else 5
    assert placed[:, 2].nonzero()[0].tolist() == [name], "a mirrored body's right is its left"
    assert placed[name, :2] * 128 == pytest.approx([float(bright[1]) + 0.5, float(bright[0]) + 0.5], abs=1.0)
    assert canvas[y, x] > 0.6


@pytest.mark.parametrize("size", [128, 256])
def test_poses_are_drawn_as_one_is(size: int) -> None:
    for name in list(pose_names())[:6]:
        points = pose_points(name)
        joints = torch.tensor([[*(p or (0, 0)), p is not None] for p in points], dtype=torch.float32)[
            None, None
        ]
        found = (maps.poses(joints, size, size)[0].permute(1, 2, 0) * 255).numpy()
        expected = draw_pose(points, size, size)
        for one, other in (
            (found, expected),
            (expected, found),
        ):  # each lies on the other, a pixel more or less
            wide = F.max_pool2d(torch.from_numpy(other).float().permute(2, 0, 1).amax(0)[None], 3, 1, 1)[
                0
            ].numpy()
            assert (wide[one.max(2) > 0] > 0).mean() > 0.97, name
        same = (found.max(2) > 0) & (expected.max(2) > 0)
        assert np.abs(found[same] - expected[same]).mean() < 12, "colours are those of the limbs"
    assert not maps.poses(torch.zeros(2, 3, 18, 3), 32, 32).any()
