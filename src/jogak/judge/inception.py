"""FID's own network: InceptionV3 of 2015 as TensorFlow's FID used it, read from a safetensors file that the user has.

The file has the names and shapes of pytorch-fid's `pt_inception-2015-12-05` (94 convolutions, each with its batch
norm, and `fc`), converted to safetensors. The network differs from torchvision's in three ways, as pytorch-fid's does
(https://github.com/mseitzer/pytorch-fid): averages leave the padding out, the last block pools by maximum, and the
features are the 2,048 means before `fc`. Pictures are stretched to 299×299 (bilinear, no antialiasing) and scaled to
−1..1, as there, so that numbers may be compared. Source of the network: Szegedy et al. 2015, arXiv:1512.00567; of the
metric: Heusel et al. 2017, arXiv:1706.08500.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jogak.judge.features import check_images
from jogak.models.safe import read_header, read_weights
from jogak.spec import JogakError

WIDTH = 2048
"""Numbers in one feature vector."""
SIDE = 299
_OPTIONAL = "num_batches_tracked"

Size = tuple[int, int]


class Layer(NamedTuple):
    name: str
    outputs: int
    kernel: Size
    stride: int = 1


Way = tuple[tuple[Layer, ...], ...]
"""Stages one after the other; the layers of a stage work side by side."""


class _Conv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Size, stride: int = 1, padding: Size = (0, 0)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Several ways side by side, and one that pools, their channels put together in this order."""

    def __init__(self, inputs: int, ways: tuple[Way, ...], pool: str, pooled: int = 0) -> None:
        super().__init__()
        self.ways, self.pool = ways, pool
        for way in ways:
            channels = inputs
            for stage in way:
                for name, outputs, (tall, wide), stride in stage:
                    padding = (tall // 2, wide // 2) if stride == 1 else (0, 0)
                    self.add_module(name, _Conv(channels, outputs, (tall, wide), stride, padding))
                channels = sum(layer.outputs for layer in stage)
        if pooled:
            self.branch_pool = _Conv(inputs, pooled, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for way in self.ways:
            y = x
            for stage in way:
                y = torch.cat([self.get_submodule(layer.name)(y) for layer in stage], 1)
            parts.append(y)
        return torch.cat([*parts, self._pooled(x)], 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "max/2":
            return F.max_pool2d(x, 3, 2)
        if self.pool == "max":
            return self.branch_pool(F.max_pool2d(x, 3, 1, 1))
        return self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))


def _one(name: str, outputs: int, kernel: int | Size, stride: int = 1) -> tuple[Layer, ...]:
    """A stage of one layer."""
    return (Layer(name, outputs, kernel if isinstance(kernel, tuple) else (kernel, kernel), stride),)


def _a(inputs: int, pooled: int) -> _Mixed:
    ways: tuple[Way, ...] = (
        (_one("branch1x1", 64, 1),),
        (_one("branch5x5_1", 48, 1), _one("branch5x5_2", 64, 5)),
        (_one("branch3x3dbl_1", 64, 1), _one("branch3x3dbl_2", 96, 3), _one("branch3x3dbl_3", 96, 3)),
    )
    return _Mixed(inputs, ways, "average", pooled)


def _b(inputs: int) -> _Mixed:
    ways: tuple[Way, ...] = (
        (_one("branch3x3", 384, 3, 2),),
        (_one("branch3x3dbl_1", 64, 1), _one("branch3x3dbl_2", 96, 3), _one("branch3x3dbl_3", 96, 3, 2)),
    )
    return _Mixed(inputs, ways, "max/2")


def _c(inputs: int, inner: int) -> _Mixed:
    wide, tall = (1, 7), (7, 1)
    ways: tuple[Way, ...] = (
        (_one("branch1x1", 192, 1),),
        (_one("branch7x7_1", inner, 1), _one("branch7x7_2", inner, wide), _one("branch7x7_3", 192, tall)),
        (
            _one("branch7x7dbl_1", inner, 1), _one("branch7x7dbl_2", inner, tall), _one("branch7x7dbl_3", inner, wide),
            _one("branch7x7dbl_4", inner, tall), _one("branch7x7dbl_5", 192, wide),
        ),
    )  # fmt: skip
    return _Mixed(inputs, ways, "average", 192)


def _d(inputs: int) -> _Mixed:
    ways: tuple[Way, ...] = (
        (_one("branch3x3_1", 192, 1), _one("branch3x3_2", 320, 3, 2)),
        (
            _one("branch7x7x3_1", 192, 1), _one("branch7x7x3_2", 192, (1, 7)), _one("branch7x7x3_3", 192, (7, 1)),
            _one("branch7x7x3_4", 192, 3, 2),
        ),
    )  # fmt: skip
    return _Mixed(inputs, ways, "max/2")


def _e(inputs: int, pool: str) -> _Mixed:
    wide, tall = (1, 3), (3, 1)
    ways: tuple[Way, ...] = (
        (_one("branch1x1", 320, 1),),
        (_one("branch3x3_1", 384, 1), (Layer("branch3x3_2a", 384, wide), Layer("branch3x3_2b", 384, tall))),
        (
            _one("branch3x3dbl_1", 448, 1), _one("branch3x3dbl_2", 384, 3),
            (Layer("branch3x3dbl_3a", 384, wide), Layer("branch3x3dbl_3b", 384, tall)),
        ),
    )  # fmt: skip
    return _Mixed(inputs, ways, pool, 192)


class InceptionV3(nn.Module):
    """pixels (N, 3, 299, 299) in −1..1 → features (N, 2048). Attribute names are those of the weights file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, (3, 3), 2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = _Conv(32, 64, (3, 3), 1, (1, 1))
        self.Conv2d_3b_1x1 = _Conv(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = _Conv(80, 192, (3, 3))
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _a(192, 32), _a(256, 64), _a(288, 64)
        self.Mixed_6a = _b(288)
        self.Mixed_6b, self.Mixed_6c = _c(768, 128), _c(768, 160)
        self.Mixed_6d, self.Mixed_6e = _c(768, 160), _c(768, 192)
        self.Mixed_7a = _d(768)
        self.Mixed_7b, self.Mixed_7c = _e(1280, "average"), _e(2048, "max")
        self.fc = nn.Linear(WIDTH, 1008)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pixels)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = self.get_submodule(f"Mixed_{name}")(x)
        return x.mean((2, 3))


@cache
def load_inception(path: Path) -> InceptionV3:
    """FID's network from a safetensors file, once per process; names and shapes are compared before a weight is read.

    Raises `JogakError` for a pickle (with the way to convert it), a damaged file, and one of another layout.
    """
    header = read_header(path)
    with torch.device("meta"):
        network = InceptionV3()
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    _compare(path, {name: facts.shape for name, facts in header.tensors.items()}, wanted)
    state = {name: tensor.float() for name, tensor in read_weights(path.parent, path.stem).items()}
    network = network.to_empty(device="cpu")
    for name, buffer in network.named_buffers():
        if name.endswith(_OPTIONAL):
            buffer.zero_()  # counts batches in training; absent from older files and of no use here
    network.load_state_dict(
        {name: state[name] for name in state if not name.endswith(_OPTIONAL)}, strict=False
    )
    return network.eval().requires_grad_(False)


def _compare(path: Path, found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> None:
    for name in [*wanted, *found]:
        if name.endswith(_OPTIONAL):
            continue
        if found.get(name) != wanted.get(name):
            raise JogakError(
                f"{path} is not FID's Inception network: {name} is {found.get(name, 'absent')}, not "
                f"{wanted.get(name, 'expected')}. Convert pytorch-fid's pt_inception-2015-12-05 to safetensors."
            )


def inception_features(
    network: InceptionV3, images: NDArray[np.uint8], batch: int = 8
) -> NDArray[np.float32]:
    """images (N, H, W, 3) uint8 RGB, N ≥ 0, any size → (N, 2048) float32."""
    check_images(images)
    rows = [np.empty((0, WIDTH), np.float32)]
    with torch.inference_mode():
        for first in range(0, len(images), batch):
            pixels = torch.tensor(images[first : first + batch]).permute(0, 3, 1, 2).float() / 255
            pixels = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False)
            rows.append(network(2 * pixels - 1).numpy())
    return np.concatenate(rows)
