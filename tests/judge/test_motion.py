from __future__ import annotations

import cv2
import numpy as np
import pytest

from jogak.judge import motion

RNG = np.random.default_rng(0)
WORLD = cv2.normalize(
    cv2.GaussianBlur(RNG.integers(0, 256, (128, 400, 3)).astype(np.uint8), (0, 0), 4),
    None,
    0,
    255,
    cv2.NORM_MINMAX,
)
STILL = np.repeat(WORLD[None, :, :192], 9, 0)
NOISE = RNG.integers(0, 256, (9, 128, 192, 3)).astype(np.uint8)


def pan(pixels: int, frames: int = 9) -> np.ndarray:
    return np.stack([WORLD[:, pixels * i : pixels * i + 192] for i in range(frames)])


def test_identical_frames_are_perfect_and_do_not_move() -> None:
    assert motion.steadiness(STILL).tolist() == [1.0] * 8
    assert motion.compensated(STILL).min() == 1.0
    assert motion.smoothness(STILL).min() == 1.0
    speed = motion.speeds(STILL, 8)
    assert speed.max() == 0
    assert motion.rests(speed[:, 1])
    assert not motion.moves(speed[:, 0])


def test_noise_is_neither_steady_nor_smooth() -> None:
    # two uniform random bytes differ by (256² − 1) / (3 · 256) = 85.3 on average
    assert motion.steadiness(NOISE).mean() == pytest.approx(1 - 85.33 / 255, abs=0.005)
    assert motion.compensated(NOISE).max() < 0.8
    assert motion.smoothness(NOISE).max() < 0.8


def test_black_to_white_is_zero() -> None:
    flash = np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
    assert motion.steadiness(flash).tolist() == [0.0]


def test_flow_finds_a_pan_and_undoes_it() -> None:
    frames = pan(3)
    found = motion.flow(frames[0], frames[1])
    assert np.median(found[..., 0]) == pytest.approx(-3, abs=0.1)
    assert np.median(found[..., 1]) == pytest.approx(0, abs=0.1)
    assert motion.compensated(frames).mean() > 0.995 > motion.steadiness(frames).mean()
    assert motion.smoothness(frames).mean() > 0.995


def test_a_repeated_frame_in_a_pan_is_not_smooth() -> None:
    """What a film looks like that holds each drawing twice."""
    frames = pan(8)
    frames[1::2] = frames[:-1:2]
    assert motion.smoothness(frames).mean() < motion.smoothness(pan(8)).mean() - 0.02


def test_speed_is_in_pixels_of_a_256_picture_each_eighth_of_a_second() -> None:
    assert np.median(motion.speeds(pan(3), 8)[:, 0]) == pytest.approx(3 * 256 / 128, rel=0.05)
    # the same pan at 24 fps: three frames make an eighth of a second
    assert np.median(motion.speeds(pan(1, 25), 24)[:, 0]) == pytest.approx(3 * 256 / 128, rel=0.05)
    # 12 fps: a stride of two frames leaves 6 looks a second
    assert np.median(motion.speeds(pan(2, 13), 12)[:, 0]) == pytest.approx(3 * 256 / 128, rel=0.05)


def test_dynamic_degree_and_rest() -> None:
    fast, slow = (motion.speeds(pan(n), 8) for n in (5, 1))
    assert motion.moves(fast[:, 0])
    assert not motion.moves(slow[:, 0])
    assert not motion.rests(fast[:, 1])
    assert motion.rests(slow[:, 1])
