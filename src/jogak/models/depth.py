"""Pocket's depth net: how near each place of one of pocket's pictures is.

It was trained on the generator's scenes and on nothing else (`pocket.data.maps.depth`): it makes depth maps of pocket's
own pictures, and judges what a depth ControlNet drew. It is not for photographs: there a DPT or Depth Anything is
needed (`jogak.adapters.annotators`).
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

from jogak.models.hourglass import GROUPS, LARGEST_WIDTH, STRIDE, Hourglass
from jogak.models.keypoints import LARGEST_SIDE, fitted
from jogak.models.safe import read_json, read_weights
from jogak.spec import SpecError

NAME = "pocket-depth"
FOLDER = Path(str(files("jogak.models"))) / "weights" / NAME
STEM = "model"
"""Name of the weights' file, without its ending."""


class DepthNet(Hourglass):
    """(B, 3, H, W) in 0..1, sides multiples of 32 → (B, 1, H, W), logits of nearness: 1 the nearest, 0 the sky."""

    def __init__(self, width: int = 32) -> None:
        super().__init__(width)
        self.fine = nn.Conv2d(width, STRIDE * STRIDE, 3, padding=1)
        self.sharp = nn.PixelShuffle(STRIDE)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.sharp(self.fine(self.features(pixels)[0]))


def read_depth_net(folder: Path) -> tuple[DepthNet, int]:
    """The net of a folder with `config.json` and `model.safetensors`, in float32, and the pixels of a picture's longer
    side that it was trained at. Raises `SpecError` if there is none or it does not fit."""
    if not has_depth_net(folder):
        raise SpecError(
            f"{folder} holds no depth net: config.json and {STEM}.safetensors are needed. Train one with "
            "python -m pocket.train.depth, and write it there with its --export."
        )
    config = read_json(folder / "config.json")
    try:
        if config["model"] != NAME:
            raise ValueError(f"model {config['model']}")
        width, side = int(config["width"]), int(config["side"])
        if not (0 < width <= LARGEST_WIDTH and width % GROUPS == 0):
            raise ValueError(f"width {width}")
        if not 0 < side <= LARGEST_SIDE:
            raise ValueError(f"side {side}")
        net = DepthNet(width)
        net.load_state_dict({name: value.float() for name, value in read_weights(folder, STEM).items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SpecError(f"{folder} holds no depth net of Jogak's: {str(error)[:200]}.") from None
    return net.eval().requires_grad_(False), side


class DepthReader:
    """A loaded net for pictures of any size."""

    def __init__(self, folder: Path) -> None:
        self._net, self._side = read_depth_net(folder)

    @torch.inference_mode()
    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) → (H, W): near is bright, the nearest 255."""
        height, width = picture.shape[:2]
        pixels, scale = fitted(picture, self._side)
        near = self._net(torch.from_numpy(pixels)).sigmoid()[0, 0].numpy()
        # what was filled up at the end is cut off again
        high, wide = max(1, round(height * scale[1])), max(1, round(width * scale[0]))
        near = cv2.resize(near[:high, :wide], (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.rint(near / max(float(near.max()), 1e-3) * 255), np.uint8)


def has_depth_net(folder: Path = FOLDER) -> bool:
    return (folder / "config.json").is_file() and (folder / f"{STEM}.safetensors").is_file()


def is_depth_net(folder: Path) -> bool:
    """Whether a folder's configuration calls it a net of this kind. Raises `SpecError` if it cannot be read."""
    config = read_json(folder / "config.json")
    return isinstance(config, dict) and config.get("model") == NAME


@cache
def load_depth_net(folder: Path = FOLDER) -> DepthReader:
    """The net of a folder, once per process. Raises `SpecError` where there is none."""
    return DepthReader(folder)
