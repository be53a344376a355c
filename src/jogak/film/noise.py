"""Noise that moves with the picture: Gaussian before a warp, and exactly Gaussian after it.

A picture that moves while its noise stands still makes texture stick to the screen, and noise that is
interpolated like a picture loses its variance and the model draws blur. So noise is kept as an integral,
after "How I Warped Your Noise" (Chang et al., ICLR 2024, arXiv:2504.03072): one latent of noise is the sum
over the fine cells that lie in it, here one cell a pixel of the picture. To warp it, every cell is carried
forward to where its pixel goes, and each latent sums what arrived in it, divided by the root of how many (the
particle form of Deng et al., "Infinite-Resolution Integral Noise Warping", arXiv:2411.01212). No cell lands
in two latents, so the latents stay independent, of mean 0 and variance 1, under any map.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def noise_cells(seed: tuple[int, ...], channels: int, height: int, width: int) -> Array:
    """White Gaussian noise at the picture's own grain.

    Args:
        seed: any non-negative integers; other tuples give independent noise.
        channels: of the latent.
        height, width: of the picture, in pixels.

    Returns:
        (channels, height, width), mean 0, variance 1; the same for the same arguments.
    """
    return np.random.default_rng(seed).standard_normal((channels, height, width), dtype=np.float32)


def still_map(height: int, width: int) -> Array:
    """The map that moves nothing: (2, height, width), x and y of every pixel's centre, in pixels."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y]).astype(np.float32)


def carry_noise(cells: Array, forward: Array, fresh: Array, factor: int) -> Array:
    """Latent noise of a frame: the cells, carried to where their pixels go.

    Args:
        cells: (C, H, W), from `noise_cells`, over the keyframe's pixels.
        forward: (2, H, W), x and y in the frame, in pixels, of every pixel of the keyframe.
        fresh: (C, h, w) unit noise for latents in which no cell arrives (what the keyframe never showed).
        factor: pixels a latent, along one side.

    Returns:
        (C, h, w), unit Gaussian and independent between latents. With `still_map` and a frame of the
        keyframe's size, the noise that belongs to the keyframe itself, bit for bit.
    """
    channels, height, width = fresh.shape
    column, row = (np.floor(axis / factor).astype(np.int64) for axis in forward)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    latent = (row * width + column)[inside]
    count = np.bincount(latent, minlength=height * width)
    noise = fresh.reshape(channels, -1).copy()
    seen = count > 0
    root = np.sqrt(count[seen])
    for channel in range(channels):
        total = np.bincount(latent, weights=cells[channel][inside], minlength=height * width)
        noise[channel, seen] = total[seen] / root
    return noise.reshape(fresh.shape)


def turn_noise(first: Array, second: Array, angle: float) -> Array:
    """Noise on its way from `first` (angle 0) to `second` (angle π/2), of unit variance all along.

    Both must be independent unit noise of one shape. `angle` in radians; 2π comes back to `first`.
    """
    return (np.cos(angle) * first + np.sin(angle) * second).astype(np.float32)
