"""Pocket's keypoint net: where the 18 joints of the one figure in a picture are.

It was trained on cut-out puppets and on nothing else, so it reads poses of puppets and judges what a pose ControlNet
drew of them. It is not for photographs: there a ViTPose is needed (`jogak.adapters.annotators`).

Each joint has one map at a quarter of the picture's size (`jogak.models.hourglass`) and one
more number for "not there"; together they are a distribution (softmax). Joints are OpenPose's 18 in its order, left
and right are the body's own (`jogak.adapters.poses.JOINTS`).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jogak.models.hourglass import GROUPS, LARGEST_WIDTH, STEP, STRIDE, Hourglass
from jogak.models.safe import read_json, read_weights
from jogak.spec import SpecError

NAME = "pocket-keypoints"
FOLDER = Path(str(files("jogak.models"))) / "weights" / NAME
STEM = "model"
"""Name of the weights' file, without its ending."""
JOINTS = 18
LARGEST_SIDE = 1024
"""Pixels; a configuration that asks for more is refused."""
NEAR = 2
"""Pixels of a map around its highest place, whose mean is the joint."""
SURE = 0.5
"""Probability that a joint is there, above which it is."""
FEWEST = 4
"""Joints that tell where the figure is."""
AROUND = 1.5
"""Side of the window of the second look, as a multiple of the longer side of the joints' box."""
WORTH = 0.8
"""A window that takes more of the picture's longer side than this is not looked at again."""

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Points = NDArray[np.float64]
"""(18, 2) x and y in pixels, NaN for a joint that is not there."""
Joints = list[tuple[float, float] | None]
"""18 joints: x and y in shares of a picture's width and height, None where there is none."""


class KeypointNet(Hourglass):
    """(B, 3, H, W) in 0..1, sides multiples of 32 → logits (B, 18, H/4 · W/4 + 1), the last one "not there"."""

    def __init__(self, width: int = 32) -> None:
        super().__init__(width)
        self.maps = nn.Conv2d(width, JOINTS, 1)
        self.absent = nn.Linear(self.deepest, JOINTS)

    def forward(self, pixels: Tensor) -> Tensor:
        h, deepest = self.features(pixels)
        nothing = self.absent(deepest.mean((2, 3)))
        return torch.cat([self.maps(h).flatten(2), nothing[:, :, None]], 2)


@torch.no_grad()
def read_joints(net: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) in 0..1 → (points (B, 18, 2) in pixels, probability (B, 18) that a joint is there).

    A point is the mean of its distribution over the highest place of the map and its neighbours, `NEAR` away at most.
    """
    height, width = (side // STRIDE for side in pixels.shape[2:])
    shares = net(pixels).float().softmax(2)
    maps = shares[..., :-1]
    best = maps.argmax(2)
    device = pixels.device
    y, x = best // width, best % width
    rows = torch.arange(height, device=device)[None, None, :, None]
    columns = torch.arange(width, device=device)[None, None, None, :]
    near = ((rows - y[..., None, None]).abs() <= NEAR) & ((columns - x[..., None, None]).abs() <= NEAR)
    weight = maps.unflatten(2, (height, width)) * near
    weight = weight / weight.sum((2, 3), keepdim=True).clamp(min=1e-12)
    found = torch.stack([(weight * columns).sum((2, 3)), (weight * rows).sum((2, 3))], -1)
    return (found + 0.5) * STRIDE, 1 - shares[..., -1]


def read_keypoint_net(folder: Path) -> tuple[KeypointNet, int]:
    """The net of a folder with `config.json` and `model.safetensors`, in float32, and the pixels of a picture's longer
    side that it was trained at. Raises `SpecError` if there is none or it does not fit."""
    if not has_keypoints(folder):
        raise SpecError(
            f"{folder} holds no keypoint net: config.json and {STEM}.safetensors are needed. Train one with "
            "python -m pocket.train.keypoints, and write it there with python -m pocket.train.export."
        )
    config = read_json(folder / "config.json")
    try:
        if config["model"] != NAME:
            raise ValueError(f"model {config['model']}")
        width, side = int(config["width"]), int(config["side"])
        if (config["joints"], config["stride"]) != (JOINTS, STRIDE):
            raise ValueError(f"{config['joints']} joints, a map's pixel for {config['stride']}")
        if not (0 < width <= LARGEST_WIDTH and width % GROUPS == 0):
            raise ValueError(f"width {width}")
        if not (0 < side <= LARGEST_SIDE and side % STEP == 0):
            raise ValueError(f"side {side}")
        net = KeypointNet(width)
        net.load_state_dict({name: value.float() for name, value in read_weights(folder, STEM).items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SpecError(f"{folder} holds no keypoint net of Jogak's: {str(error)[:200]}.") from None
    return net.eval().requires_grad_(False), side


class JointReader:
    """A loaded net for pictures of any size. The same picture gives the same joints."""

    def __init__(self, folder: Path) -> None:
        self._net, self._side = read_keypoint_net(folder)

    def __call__(self, picture: Picture) -> Joints:
        """The joints of the one figure in a picture (H, W, 3).

        The net looks twice: at the whole, and again at the surroundings of what it found there, so that a figure far
        away is read at the size of the others.
        """
        points = self._look(picture)
        window = surroundings(points, picture.shape[0], picture.shape[1])
        if window is not None:
            left, top, right, bottom = window
            nearer = self._look(picture[top:bottom, left:right]) + np.array([left, top])
            points = nearer if _seen(nearer).sum() >= FEWEST else points
        shares = points / (picture.shape[1], picture.shape[0])
        return [
            (float(x), float(y)) if there else None
            for (x, y), there in zip(shares, _seen(points), strict=True)
        ]

    def _look(self, picture: Picture) -> Points:
        pixels, scale = fitted(picture, self._side)
        points, there = read_joints(self._net, torch.from_numpy(pixels))
        sure = there[0].numpy()[:, None] > SURE
        return np.where(sure, points[0].numpy().astype(np.float64) / scale, np.nan)


def _seen(points: Points) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(1), bool)


def surroundings(points: Points, height: int, width: int) -> tuple[int, int, int, int] | None:
    """The window around the joints of a picture of (height, width): left, top, right, bottom in pixels. None where too
    few are seen, or where the window would be nearly the whole."""
    seen = points[_seen(points)]
    if len(seen) < FEWEST:
        return None
    low, high = seen.min(0), seen.max(0)
    side = AROUND * float((high - low).max())
    if side < 1 or side > WORTH * max(height, width):
        return None
    size = np.minimum(np.ceil(side), (width, height))
    start = np.clip(np.round((low + high - size) / 2), 0, (width, height) - size)
    left, top, right, bottom = (int(at) for at in (*start, *(start + size)))
    return left, top, right, bottom


def fitted(picture: Picture, side: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A picture (H, W, 3) as the net takes it: (1, 3, H', W') in 0..1, the longer side `side` pixels, the shorter one
    filled up at its end, by the edge, to a multiple of 32. And how much larger it is there, along x and along y."""
    height, width = picture.shape[:2]
    share = side / max(height, width)
    wide, high = max(1, round(width * share)), max(1, round(height * share))
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, (wide, high), interpolation=way)
    fill = cv2.copyMakeBorder(small, 0, -high % STEP, 0, -wide % STEP, cv2.BORDER_REPLICATE)
    pixels = np.ascontiguousarray(fill.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
    return pixels, np.array([wide / width, high / height])


def has_keypoints(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / f"{STEM}.safetensors").is_file()


def is_keypoint_net(folder: Path) -> bool:
    """Whether a folder's configuration calls it a net of this kind. Raises `SpecError` if it cannot be read."""
    config = read_json(folder / "config.json")
    return isinstance(config, dict) and config.get("model") == NAME


@cache
def load_keypoints(folder: Path = FOLDER) -> JointReader:
    """The net of a folder, once per process. Raises `SpecError` where there is none."""
    return JointReader(folder)
