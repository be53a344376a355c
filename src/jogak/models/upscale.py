"""Pocket's upscaler: drawn frames four times as large, all of whose work is done at their own size.

A plain enlargement (Lanczos, 8 taps) and, added to it, what a small network thinks is missing: 3×3 convolutions at the
drawn size, whose last one gives 4×4 values for each pixel and colour (sub-pixel convolution: Shi et al. 2016,
arXiv:1609.05158). Only the difference is computed in bfloat16, so that skies stay smooth.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from jogak.models.safe import folder_digest, read_json, read_weights
from jogak.spec import ModelRef, SpecError

FACTOR = 4
FOLDER = Path(str(files("jogak.models"))) / "weights" / "pocket-upscale"
STEM = "model"
"""Name of the weights' file, without its ending."""
_TAPS = 4
"""Pixels on each side of a pixel that Lanczos looks at."""


class Upscaler(nn.Module):
    """(N, 3, H, W) in 0..1 → (N, 3, 4H, 4W); it starts as plain Lanczos."""

    base: Tensor

    def __init__(self, width: int = 48, blocks: int = 2) -> None:
        super().__init__()
        self.reach = 2 + 2 * blocks
        """pixels beyond a pixel that its enlargement depends on"""
        self.first = nn.Conv2d(3, width, 3)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.last = nn.Conv2d(width, 3 * FACTOR**2, 3)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(cast(Tensor, self.last.bias))
        self.register_buffer("base", lanczos_kernel(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(F.pad(x, (self.reach,) * 4, mode="replicate"))

    def inner(self, x: Tensor) -> Tensor:
        """The enlargement of all but the outer `reach` pixels of x: (N, 3, H, W) → (N, 3, 4(H − 2 reach), …)."""
        return self.enlarged(x) + self.detail(x)

    def enlarged(self, x: Tensor) -> Tensor:
        """Plain Lanczos, of all but the outer `reach` pixels."""
        cut = self.reach - _TAPS
        inside = x[..., cut : x.shape[-2] - cut, cut : x.shape[-1] - cut]
        return F.pixel_shuffle(F.conv2d(inside, self.base.to(x.dtype), groups=3), FACTOR)

    def detail(self, x: Tensor) -> Tensor:
        """What Lanczos lacks, of all but the outer `reach` pixels."""
        h = F.relu(self.first(x - 0.5))
        for block in self.blocks:
            h = block(h)
        return F.pixel_shuffle(self.last(h), FACTOR)


class _Block(nn.Module):
    """Two convolutions beside a way past them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(width, width, 3), nn.Conv2d(width, width, 3)

    def forward(self, h: Tensor) -> Tensor:
        return h[..., 2:-2, 2:-2] + self.two(F.relu(self.one(h)))


def lanczos_kernel() -> Tensor:
    """(48, 1, 9, 9): for each colour and each of the 16 places inside a pixel, Lanczos with four lobes. It equals
    OpenCV's `INTER_LANCZOS4` for this factor."""
    place = (torch.arange(FACTOR, dtype=torch.float64) + 0.5) / FACTOR - 0.5
    away = torch.arange(-_TAPS, _TAPS + 1, dtype=torch.float64)[None] - place[:, None]
    line = torch.where(away.abs() < _TAPS, torch.sinc(away) * torch.sinc(away / _TAPS), 0.0)
    line = line / line.sum(1, keepdim=True)
    kernel = torch.einsum("ay,bx->abyx", line, line).reshape(FACTOR**2, 1, 2 * _TAPS + 1, 2 * _TAPS + 1)
    return kernel.repeat(3, 1, 1, 1).float()


def read_upscaler(folder: Path) -> Upscaler:
    """The network of a folder with `config.json` and `model.safetensors`. Raises `SpecError` if it does not fit."""
    config = read_json(folder / "config.json")
    try:
        if config["factor"] != FACTOR:
            raise ValueError(f"factor {config['factor']}")
        net = Upscaler(int(config["width"]), int(config["blocks"]))
        net.load_state_dict({name: value.float() for name, value in read_weights(folder, STEM).items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SpecError(f"{folder} holds no upscaler of Jogak's: {str(error)[:200]}.") from None
    return net.eval().requires_grad_(False)


class FrameUpscaler:
    """A loaded upscaler for frames: (H, W, 3) uint8 RGB → (4H, 4W, 3). The same frame gives the same bytes."""

    def __init__(self, folder: Path) -> None:
        self._reach, self._detail = _runner(folder)

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = frame.shape[:2]
        size = width * FACTOR, height * FACTOR
        wide = np.pad(frame, ((self._reach,) * 2, (self._reach,) * 2, (0, 0)), mode="edge")
        pixels = torch.from_numpy(wide.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        detail = self._detail(pixels)[0].permute(1, 2, 0).numpy() * np.float32(255)
        plain = cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_LANCZOS4)
        return np.clip(plain + detail + 0.5, 0, 255).astype(np.uint8)


@cache
def load_upscaler(folder: Path = FOLDER) -> FrameUpscaler | None:
    """The upscaler of a folder, once per process; None where no weights are."""
    return FrameUpscaler(folder) if (folder / f"{STEM}.safetensors").is_file() else None


def _runner(folder: Path) -> tuple[int, Callable[[Tensor], Tensor]]:
    """How far the network reaches, and `Upscaler.detail` on what is fastest here."""
    from jogak.models.catalogue import has_cuda

    net = read_upscaler(folder)
    wish = os.environ.get("JOGAK_BACKEND") or "auto"
    if wish != "openvino" and has_cuda():
        net.to("cuda")
        return net.reach, torch.inference_mode()(lambda x: net.detail(x.cuda()).cpu())
    if wish == "torch":
        return net.reach, torch.inference_mode()(net.detail)
    return net.reach, _openvino(folder)


def _openvino(folder: Path) -> Callable[[Tensor], Tensor]:
    from jogak.models.catalogue import _precision, threads
    from jogak.models.openvino_backend import _Network, _trace

    def convert(folder: Path):
        net = read_upscaler(folder)
        side = 2 * net.reach + 5
        return _trace(net, net.detail, torch.zeros(1, 3, side, side + 2))

    ref = ModelRef(
        name=folder.name,
        family="pocket",
        folder=folder,
        digest=folder_digest(folder.parent, [folder.name]),
        numeric=f"openvino-{_precision()}-t{threads()}",
    )
    return _Network("upscale", convert, _precision(), ref, threads())
