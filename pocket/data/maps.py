"""Control maps of rendered pictures, made on the device in batches: lines from the pixels, depth and poses from the layout.

The arithmetic of lines is that of `jogak.adapters.maps`, which works on one picture with OpenCV; here strengths are
random, so that a ControlNet learns to follow thick and thin, sparse and dense. Depth is exact for what stands in the
scene (each sprite is a cut-out at the distance of its feet) and a plane for the ground, since the painted grounds have
no geometry of their own.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jogak.adapters.poses import COLOURS, LIMBS
from pocket.data.compose import HORIZON, PLACES, Layout, Painter, _grid, _groups, _Placed

LINES = ("canny", "scribble", "lineart")
GROWTH = 24
"""Steps by which a strong edge grows along a weak one; OpenCV goes on to its end."""
FLAT = (-1, PLACES.index("sky"), PLACES.index("space"))
"""Places without a ground to stand on."""
FAR, NEAR = 0.08, 0.92
"""Of the ground at the horizon and at the lower edge."""


def random_lines(pixels: Tensor) -> Tensor:
    """A third of each kind, strengths at random: pixels (B, 3, H, W) in 0..1 -> (B, 1, H, W) in 0..1."""
    out = torch.empty_like(pixels[:, :1])
    kinds = torch.randperm(len(pixels), device=pixels.device) % len(LINES)
    for number, make in enumerate((random_canny, random_scribble, random_lineart)):
        rows = (kinds == number).nonzero()[:, 0]
        if len(rows):
            out[rows] = make(pixels[rows])
    return out


def random_canny(pixels: Tensor) -> Tensor:
    low = _uniform(pixels, 40, 140)
    return canny(pixels, low, low * _uniform(pixels, 1.4, 2.5))


def random_scribble(pixels: Tensor) -> Tensor:
    scale = _scale(pixels)
    widths = [max(1, round(width * scale)) for width in (2, 4, 6)]
    parts = [
        scribble(part, _uniform(part, 20, 70), width)
        for part, width in zip(pixels.tensor_split(len(widths)), widths, strict=True)
        if len(part)
    ]
    return torch.cat(parts)


def random_lineart(pixels: Tensor) -> Tensor:
    return (lineart(pixels, 6 * _scale(pixels)) * _uniform(pixels, 0.6, 1.4)).clamp(0, 1)


def canny(pixels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Canny's edges as OpenCV finds them; `low` and `high` are (B, 1, 1, 1), on its scale of 8-bit pixels."""
    levels = (pixels * 255).round()
    kernel = pixels.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    sobel = torch.stack([kernel, kernel.T])[:, None]
    padded = F.pad(levels, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    gx, gy = F.conv2d(padded, sobel).unflatten(0, (-1, 3)).unbind(2)
    strength, channel = (gx.abs() + gy.abs()).max(1, keepdim=True)
    gx, gy = gx.gather(1, channel), gy.gather(1, channel)
    around = F.pad(strength, (1, 1, 1, 1))
    height, width = strength.shape[2:]

    def beside(dy: int, dx: int) -> Tensor:
        return around[:, :, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    flat, steep = math.tan(math.pi / 8), math.tan(3 * math.pi / 8)
    horizontal, vertical = gy.abs() < flat * gx.abs(), gy.abs() > steep * gx.abs()
    same = (gx < 0) == (gy < 0)
    before = torch.where(
        horizontal,
        beside(0, -1),
        torch.where(vertical, beside(-1, 0), torch.where(same, beside(-1, -1), beside(-1, 1))),
    )
    after = torch.where(
        horizontal,
        beside(0, 1),
        torch.where(vertical, beside(1, 0), torch.where(same, beside(1, 1), beside(1, -1))),
    )
    straight = horizontal | vertical
    ridge = (strength > before) & torch.where(straight, strength >= after, strength > after)
    weak = (ridge & (strength > low)).float()
    edges = (ridge & (strength > high)).float()
    for _ in range(GROWTH):
        edges = F.max_pool2d(edges, 3, 1, 1) * weak
    return edges


def scribble(pixels: Tensor, threshold: Tensor, width: int) -> Tensor:
    """Thick strokes of `width` pixels where a fine blur is brighter than a coarse one by `threshold` / 2 of 255."""
    scale = _scale(pixels)
    difference = blurred(pixels, 0.5 * scale) - blurred(pixels, 5.0 * scale)
    strokes = (2 * 255 * difference.amax(1, keepdim=True) > threshold).float()
    return F.max_pool2d(F.pad(strokes, (width // 2, (width - 1) // 2) * 2), width, 1)


def lineart(pixels: Tensor, blur: float, floor: float = 8) -> Tensor:
    """What is darker than its surroundings, stretched by the median of what exceeds `floor` of 255."""
    lines = 255 * (blurred(pixels, blur) - pixels).amax(1, keepdim=True).clamp(min=0)
    strong = torch.where(lines > floor, lines, torch.nan).flatten(1).nanmedian(1).values
    median = strong.nan_to_num(16.0).clamp(min=16.0)[:, None, None, None]
    return (lines * 127 / median / 255).clamp(0, 1)


def blurred(pixels: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, the kernel cut where OpenCV cuts it, borders mirrored."""
    radius = (round(8 * max(sigma, 0.1) + 1) | 1) // 2
    at = torch.arange(-radius, radius + 1, device=pixels.device, dtype=pixels.dtype)
    kernel = torch.exp(-(at**2) / (2 * max(sigma, 0.1) ** 2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = pixels.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="reflect"), kernel)
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="reflect"), kernel.transpose(2, 3))
    return flat.view_as(pixels)


def _scale(pixels: Tensor) -> float:
    return min(pixels.shape[2:]) / 512


def _uniform(like: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(len(like), 1, 1, 1, device=like.device)


# depth


@torch.no_grad()
def depth(painter: Painter, layout: Layout, height: int, width: int) -> Tensor:
    """(B, 1, height, width) in 0..1, near is bright, the nearest thing of each picture 1, the sky 0."""
    placed = _Placed(layout, painter.device)
    y = ((torch.arange(height, device=painter.device) + 0.5) / height)[None, None, :, None]
    canvas = _ground_nearness(placed.place, y).expand(-1, -1, -1, width).contiguous()
    nearness = sprite_nearness(layout)
    jobs = painter._jobs(layout, height)
    for (slot, level, present), rows in zip(
        jobs, _groups([job[2] for job in jobs], painter.device), strict=True
    ):
        alpha = painter.levels[level][placed.sprite[rows, slot], 3:].float() / 255
        box = placed.box[rows, slot]
        grid = _grid(box, height, width)
        inside = F.grid_sample(alpha, grid, mode="bilinear", padding_mode="zeros", align_corners=False) > 0.5
        here = torch.from_numpy(nearness[present, slot]).to(painter.device)[:, None, None, None]
        canvas[rows] = torch.where(inside, here, canvas[rows])
    return canvas / canvas.amax((2, 3), keepdim=True).clamp(min=1e-3)


def _ground_nearness(place: Tensor, y: Tensor) -> Tensor:
    """(B,) places, (1, 1, H, 1) heights -> (B, 1, H, 1)."""
    horizon = torch.tensor(HORIZON, device=place.device)[place.clamp(min=0)][:, None, None, None]
    down = ((y - horizon) / (1 - horizon).clamp(min=1e-3)).clamp(0, 1)
    ground = (y >= horizon) * (FAR + (NEAR - FAR) * down)
    flat = torch.isin(place, torch.tensor(FLAT, device=place.device))[:, None, None, None]
    return torch.where(flat, 0.0, ground).float()


def sprite_nearness(layout: Layout) -> np.ndarray:
    """(B, LAYERS) float32: that of the ground at a sprite's feet; of what flies or floats, by its size."""
    place = layout.place.clip(0)[:, None]
    horizon = np.array(HORIZON, np.float32)[place]
    bottom, size = layout.box[..., 1], layout.box[..., 2]
    down = ((bottom - horizon) / np.maximum(1 - horizon, 1e-3)).clip(0, 1)
    stands = (layout.shadow > 0) & ~np.isin(layout.place, FLAT)[:, None]
    nearness = np.where(stands, FAR + (NEAR - FAR) * down, 0.2 + 0.7 * size)
    return nearness.clip(0.15, 1).astype(np.float32)


# poses


def placed_joints(layout: Layout, joints: np.ndarray) -> np.ndarray:
    """Joints of the sprites where they stand: (B, LAYERS, 18, 3), x and y in shares of the picture's height, and
    whether there is such a joint.

    `joints` (N, 18, 3) belong to the sprite array's rows: x and y in shares of a sprite's side, 0 or not there.
    A sprite shown as in a mirror has its left and right changed.
    """
    found = joints[layout.sprite.clip(0)].astype(np.float32)
    x, y, there = found[..., 0] - 0.5, found[..., 1] - 0.5, found[..., 2] > 0
    centre, bottom, size, flip, angle = (part[..., None] for part in np.moveaxis(layout.box, -1, 0))
    # the inverse of compose._grid: sprite -> mirrored -> turned -> enlarged -> moved
    x, y = x * flip, y
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.stack([centre + size * (cos * x - sin * y), bottom - size / 2 + size * (sin * x + cos * y)], -1)
    there &= layout.sprite[..., None] >= 0
    out = np.concatenate([out, there[..., None]], -1).astype(np.float32)
    return np.where((flip < 0)[..., None], out[..., MIRROR, :], out)


MIRROR = np.array([0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16])
"""Each of OpenPose's joints on the other side of the body."""


def poses(joints: Tensor, height: int, width: int) -> Tensor:
    """Pose maps as `jogak.adapters.poses.draw_pose` draws them: joints (B, P, 18, 3) of P bodies, x and y in shares of
    the height, and whether it is there -> (B, 3, height, width) in 0..1."""
    device = joints.device
    half = max(1, round(4 * min(height, width) / 512))
    y = torch.arange(height, device=device)[:, None].float()
    x = torch.arange(width, device=device)[None].float()
    canvas = torch.zeros(len(joints), 3, height, width, device=device)
    colours = torch.tensor(COLOURS, device=device) / 255
    for body in (joints[:, number] for number in range(joints.shape[1])):
        if not bool(body[..., 2].any()):
            continue
        at = body[..., :2] * height
        for (a, b), colour in zip(LIMBS, colours, strict=False):
            delta, middle = at[:, b] - at[:, a], (at[:, a] + at[:, b]) / 2
            length = delta.norm(dim=1).clamp(min=1e-3)
            along, across = _turned(x, y, middle, delta / length[:, None])
            inside = (along / (length / 2).clamp(min=1)[:, None, None]) ** 2 + (
                across / (half + 0.5)
            ) ** 2 <= 1
            there = (body[:, a, 2] * body[:, b, 2] > 0)[:, None, None]
            canvas = torch.where((inside & there)[:, None], 0.6 * colour[None, :, None, None], canvas)
        for number, colour in enumerate(colours):
            dx, dy = x[None] - at[:, number, 0, None, None], y[None] - at[:, number, 1, None, None]
            inside = (dx**2 + dy**2 <= (half + 0.5) ** 2) & (body[:, number, 2] > 0)[:, None, None]
            canvas = torch.where(inside[:, None], colour[None, :, None, None], canvas)
    return canvas


def _turned(x: Tensor, y: Tensor, middle: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels in the axes of a limb: along it and across it, (B, H, W) each."""
    dx, dy = x[None] - middle[:, 0, None, None], y[None] - middle[:, 1, None, None]
    ux, uy = direction[:, 0, None, None], direction[:, 1, None, None]
    return dx * ux + dy * uy, dy * ux - dx * uy
