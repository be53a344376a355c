"""In-betweens follow the motion; where there is none to follow they are a cross-blend."""

from __future__ import annotations

import cv2
import numpy as np

from jogak.film.inbetween import between, measure_flow, resample


def scene(x: float, pan: float = 0.0) -> np.ndarray:
    """A soft ground that pans under a disc at x, 320x180."""
    texture = np.random.default_rng(3).integers(90, 170, (7, 14, 3), dtype=np.uint8)
    ground = cv2.resize(texture, (420, 180), interpolation=cv2.INTER_CUBIC)
    shift = np.array([[1, 0, -20 - pan], [0, 1, 0]], np.float32)
    picture = cv2.warpAffine(ground, shift, (320, 180), flags=cv2.INTER_CUBIC)
    centre = (round(x * 16), 100 * 16)
    cv2.circle(picture, centre, 26 * 16, (230, 90, 30), -1, cv2.LINE_AA, 4)
    cv2.circle(picture, centre, 9 * 16, (20, 30, 60), -1, cv2.LINE_AA, 4)
    return picture


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-9)))


def test_in_betweens_follow_the_motion() -> None:
    truth = [scene(60 + 4 * j, pan=1.5 * j) for j in range(24)]
    film = list(resample(truth[::3], fps=8, count=22, film_fps=24))
    moved = [likeness(film[j], truth[j]) for j in range(21) if j % 3]
    blended = [
        likeness(
            cv2.addWeighted(truth[j - j % 3], 1 - j % 3 / 3, truth[j - j % 3 + 3], j % 3 / 3, 0), truth[j]
        )
        for j in range(21)
        if j % 3
    ]
    assert np.mean(moved) > np.mean(blended) + 6
    assert min(moved) > 28


def test_drawn_frames_pass_unchanged_and_the_last_one_stays() -> None:
    drawn = [scene(60 + 10 * index) for index in range(4)]
    film = list(resample(iter(drawn), fps=12, count=10, film_fps=24))
    assert all(np.array_equal(film[2 * index], drawn[index]) for index in range(4))
    assert all(np.array_equal(picture, drawn[3]) for picture in film[6:])
    assert not np.array_equal(film[1], drawn[0])


def test_film_moments_fall_right_at_any_drawn_rate() -> None:
    ramp = [np.full((180, 320, 3), 10 * index, np.uint8) for index in range(21)]
    for fps in (8, 10, 12, 15, 23.976, 24, 30):
        film = list(resample(iter(ramp), fps=fps, count=14, film_fps=24))
        assert len(film) == 14
        for j, picture in enumerate(film):
            assert abs(float(picture.mean()) - 10 * min(j * fps / 24, 20)) <= 1, (fps, j)


def test_unlike_frames_are_cross_blended() -> None:
    a = scene(100)
    b = np.random.default_rng(0).integers(0, 256, a.shape, dtype=np.uint8)
    flow = measure_flow(a, b)
    assert flow.reliable == 0
    assert np.array_equal(between(a, b, flow, 0.25), cv2.addWeighted(a, 0.75, b, 0.25, 0))


def test_the_result_does_not_depend_on_opencv_threads() -> None:
    results = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        a, b = scene(80), scene(95, pan=4)
        results.append(between(a, b, measure_flow(a, b), 0.5))
    assert np.array_equal(results[0], results[1])
