"""Drawn frames become film frames: right part, right place, tight edges."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from jogak.film.enlarge import crop_to_film, enlarge
from jogak.models.upscale import load_upscaler
from jogak.spec import JogakError


def drawing() -> np.ndarray:
    """Flat shapes at 1280x720."""
    picture = np.full((720, 1280, 3), (120, 180, 230), np.uint8)
    hills = np.array([[0, 520], [400, 430], [900, 560], [1280, 470], [1280, 720], [0, 720]])
    cv2.fillPoly(picture, [hills], (70, 130, 60), cv2.LINE_AA)
    cv2.circle(picture, (420, 300), 150, (240, 120, 40), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (900, 250), (200, 60), 25, 0, 360, (250, 245, 235), -1, cv2.LINE_AA)
    cv2.circle(picture, (460, 270), 26, (30, 25, 25), -1, cv2.LINE_AA)
    return picture


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_edges_come_out_tighter_than_lanczos_leaves_them() -> None:
    truth = drawing()
    small = cv2.resize(truth, (320, 180), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 0.6)
    plain = cv2.resize(small, (1280, 720), interpolation=cv2.INTER_LANCZOS4)
    assert likeness(enlarge(small), truth) > likeness(plain, truth) + 1.5


def test_nothing_moves_and_flat_stays_flat() -> None:
    flat = np.full((180, 320, 3), (10, 128, 250), np.uint8)
    assert np.array_equal(enlarge(flat), np.full((720, 1280, 3), (10, 128, 250), np.uint8))
    dot = np.zeros((180, 320, 3), np.uint8)
    dot[80:100, 200:220] = 255
    weight = enlarge(dot)[..., 0].astype(float)
    y, x = np.mgrid[:720, :1280]
    # the middle of drawn pixels 200..219 is film pixel 4 * 209.5 + 1.5
    assert (x * weight).sum() / weight.sum() == pytest.approx(839.5, abs=0.1)
    assert (y * weight).sum() / weight.sum() == pytest.approx(359.5, abs=0.1)


def test_the_middle_of_a_drawn_frame_is_kept() -> None:
    frame = np.arange(192 * 320 * 3, dtype=np.uint32).astype(np.uint8).reshape(192, 320, 3)
    assert np.array_equal(crop_to_film(frame), frame[6:186])
    assert crop_to_film(np.zeros((720, 1280, 3), np.uint8)).shape == (720, 1280, 3)
    assert crop_to_film(np.zeros((180, 400, 3), np.uint8)).shape == (180, 320, 3)


@pytest.mark.parametrize("shape", [(256, 256, 3), (320, 192, 3), (50, 90, 3)])
def test_a_frame_that_is_not_wide_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(JogakError, match="320x192"):
        crop_to_film(np.zeros(shape, np.uint8))


def test_the_upscaler_draws_edges_tighter_than_lanczos_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path))
    monkeypatch.setenv("JOGAK_THREADS", "1")
    truth = drawing()
    small = cv2.resize(truth, (320, 180), interpolation=cv2.INTER_AREA)
    plain = cv2.resize(small, (1280, 720), interpolation=cv2.INTER_LANCZOS4)
    upscaler = load_upscaler()
    assert upscaler is not None, "its weights ship"
    found = upscaler(small)
    assert found.shape == (720, 1280, 3)
    assert likeness(found, truth) > likeness(plain, truth) + 2
    flat = np.full((180, 320, 3), (10, 128, 250), np.uint8)
    assert np.abs(upscaler(flat).astype(int) - (10, 128, 250)).max() <= 3, "its card says up to 4"
