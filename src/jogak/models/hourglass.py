"""The body of pocket's small nets that look at a picture: keypoints (`keypoints`) and depth (`depth`).

A picture goes down to a 32nd of its size and back up to a quarter: an encoder and decoder with ways across, after
Xiao et al. 2018 (arXiv:1804.06208) and Newell et al. 2016 (arXiv:1603.06937).
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 4
"""Pixels of a picture to one of the features."""
STEP = 32
"""Sides of what the body looks at are multiples of this."""
LARGEST_WIDTH = 128
"""A configuration that asks for more is refused."""
GROUPS = 8


class Hourglass(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 3 * width, 3 * width]  # at a quarter, 8th, 16th and 32nd of the size
        self.deepest = widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, width, 4, 2, 1), _Block(width)
        )
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), _Block(b), _Block(b))
            for a, b in itertools.pairwise(widths)
        )
        self.across = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(_Block(a) for a in widths[:-1])

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in 0..1, sides multiples of 32 → (B, width, H/4, W/4), and (B, `deepest`, H/32, W/32)."""
        h = self.stem(pixels * 2 - 1)
        kept = [h]
        for part in self.down:
            kept.append(part(kept[-1]))
        h = kept[-1]
        for level in reversed(range(len(self.up))):
            larger = F.interpolate(self.across[level](h), scale_factor=2.0, mode="nearest")
            h = self.up[level](kept[level] + larger)
        return h, kept[-1]


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)
