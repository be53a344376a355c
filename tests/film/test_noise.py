"""Noise stays unit Gaussian, and moves with the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from jogak.film.noise import carry_noise, noise_cells, still_map, turn_noise

FACTOR, CHANNELS, HEIGHT, WIDTH = 8, 8, 192, 320
LATENT = (CHANNELS, HEIGHT // FACTOR, WIDTH // FACTOR)
CELLS = noise_cells((7,), CHANNELS, HEIGHT, WIDTH)
FRESH = np.random.default_rng(99).standard_normal(LATENT, dtype=np.float32)


def affine(scale: float = 1, dx: float = 0, dy: float = 0, degrees: float = 0) -> np.ndarray:
    x, y = still_map(HEIGHT, WIDTH) - np.array([WIDTH / 2, HEIGHT / 2], dtype=np.float32)[:, None, None]
    turn = np.radians(degrees)
    moved = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)]) * scale
    return (moved + np.array([WIDTH / 2 + dx, HEIGHT / 2 + dy])[:, None, None]).astype(np.float32)


def wavy() -> np.ndarray:
    x, y = still_map(HEIGHT, WIDTH)
    return np.stack([x + 9 * np.sin(y / 25), y + 7 * np.cos(x / 31)]).astype(np.float32)


MAPS = {
    "still": still_map(HEIGHT, WIDTH),
    "half a latent": affine(dx=4, dy=-4),
    "a third of a pixel": affine(dx=0.37),
    "zoom in": affine(scale=1.31, dx=5),
    "zoom out": affine(scale=0.7),
    "turn": affine(degrees=17),
    "wavy": wavy(),
}


@pytest.mark.parametrize("name", MAPS)
def test_any_map_keeps_unit_gaussian_noise(name: str) -> None:
    forward = MAPS[name]
    many = [carry_noise(noise_cells((seed,), *CELLS.shape), forward, FRESH * 0 + turn, FACTOR)
            for seed, turn in ((n, np.random.default_rng(n + 1000).standard_normal(LATENT, dtype=np.float32))
                               for n in range(12))]  # fmt: skip
    noise = np.stack(many)
    assert noise.dtype == np.float32
    assert noise.shape == (12, *LATENT)
    assert abs(noise.mean()) < 0.015  # 92,160 samples: three deviations are 0.01
    assert abs(noise.var() - 1) < 0.02
    assert abs((noise**4).mean() / noise.var() ** 2 - 3) < 0.12, "not Gaussian"
    # every single latent, over many draws, has variance 1: none is averaged away, none doubled
    assert 0.6 < noise.reshape(-1, *LATENT).var(axis=(0, 1)).mean() < 1.4
    for axis in (2, 3):
        a, b = (
            np.take(noise, range(noise.shape[axis] - 1), axis),
            np.take(noise, range(1, noise.shape[axis]), axis),
        )
        assert abs((a * b).mean()) < 0.05, "neighbours are correlated"


def test_interpolated_noise_would_fail_where_carried_noise_passes() -> None:
    coarse = carry_noise(CELLS, MAPS["still"], FRESH, FACTOR)
    shifted = np.stack(
        [cv2.warpAffine(c, np.float32([[1, 0, 0.5], [0, 1, 0.5]]), LATENT[:0:-1]) for c in coarse]
    )
    assert shifted.var() < 0.5  # what a picture's warp does to noise, and why it is not used
    assert abs(carry_noise(CELLS, MAPS["half a latent"], FRESH, FACTOR).var() - 1) < 0.05


def test_still_map_gives_the_keyframes_own_noise_bit_for_bit() -> None:
    own = carry_noise(CELLS, MAPS["still"], FRESH, FACTOR)
    assert np.array_equal(own, carry_noise(CELLS, MAPS["still"].copy(), FRESH + 1, FACTOR))
    sums = (
        CELLS.reshape(CHANNELS, LATENT[1], FACTOR, LATENT[2], FACTOR).sum(axis=(2, 4), dtype=np.float64)
        / FACTOR
    )
    assert np.abs(own - sums).max() < 1e-5


def test_whole_latent_shift_moves_the_noise_exactly() -> None:
    own = carry_noise(CELLS, MAPS["still"], FRESH, FACTOR)
    moved = carry_noise(CELLS, affine(dx=16, dy=8), FRESH, FACTOR)
    assert np.array_equal(moved[:, 1:, 2:], own[:, :-1, :-2])
    assert np.array_equal(moved[:, 0], FRESH[:, 0])  # uncovered: new noise
    assert np.array_equal(moved[:, :, :2], FRESH[:, :, :2])


def test_small_moves_keep_most_of_the_noise() -> None:
    own = carry_noise(CELLS, MAPS["still"], FRESH, FACTOR)
    kept = [float((own * carry_noise(CELLS, affine(dx=dx), FRESH, FACTOR)).mean()) for dx in (1, 2, 4)]
    # a latent that moved by d of its width shares 1 - d of its cells
    assert kept == pytest.approx([1 - 1 / 8, 1 - 2 / 8, 1 - 4 / 8], abs=0.05)


def test_seeds_are_independent_and_repeatable() -> None:
    again, other = noise_cells((7,), *CELLS.shape), noise_cells((7, 1), *CELLS.shape)
    assert np.array_equal(again, CELLS)
    assert abs(float((other * CELLS).mean())) < 0.01


def test_turning_keeps_the_variance_and_comes_back() -> None:
    first = carry_noise(CELLS, MAPS["still"], FRESH, FACTOR)
    second = carry_noise(noise_cells((8,), *CELLS.shape), MAPS["still"], FRESH, FACTOR)
    for angle in np.linspace(0, np.pi, 7):
        assert abs(turn_noise(first, second, float(angle)).var() - first.var()) < 0.06
    assert np.array_equal(turn_noise(first, second, 0.0), first)
    assert np.abs(turn_noise(first, second, 2 * np.pi) - first).max() < 1e-5
