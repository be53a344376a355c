from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from jogak.judge.control_fidelity import COCO_SIGMAS, depth_rmse, edge_f1, ms_ssim, oks, pck
from jogak.spec import JogakError
from tests.judge.drawings import drawings

PICTURE = drawings()[0]
EDGES = np.asarray(cv2.Canny(cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY), 100, 200))
LINE = np.zeros((64, 64), np.uint8)
LINE[20] = 255


def shifted(map_: np.ndarray, by: int) -> np.ndarray:
    return np.roll(map_, by, 0)


def test_the_same_edges_score_one() -> None:
    assert edge_f1(EDGES, EDGES) == 1
    assert edge_f1(np.repeat(EDGES[..., None], 3, 2), EDGES) == 1


def test_edges_within_the_tolerance_count_and_beyond_it_do_not() -> None:
    assert [edge_f1(shifted(LINE, by), LINE) for by in (0, 1, 2)] == [1, 1, 1]
    assert [edge_f1(shifted(LINE, by), LINE) for by in (3, 4)] == [0, 0]
    diagonal = np.roll(np.roll(np.eye(64, dtype=np.uint8) * 255, 2, 0), 0, 1)
    assert edge_f1(diagonal, np.eye(64, dtype=np.uint8) * 255) > 0.9


def test_f1_falls_with_the_shift_of_sparse_edges() -> None:
    """Rings around one middle: the further they are moved, the fewer of their pixels find a neighbour."""
    rings = np.zeros((160, 160), np.uint8)
    cv2.circle(rings, (80, 80), 40, 255, 1)
    found = [edge_f1(np.roll(rings, by, 1), rings) for by in range(0, 16)]
    assert found[0] == found[1] == found[2] == 1
    assert all(before > after for before, after in itertools.pairwise(found[2:]))
    assert found[-1] < 0.35


def test_precision_and_recall_both_count() -> None:
    half = LINE.copy()
    half[20, 32:] = 0
    # every found pixel is wanted; of 64 wanted, 34 lie within two pixels of a found one
    assert edge_f1(half, LINE) == pytest.approx(2 * (34 / 64) / (1 + 34 / 64))
    assert edge_f1(LINE, half) == pytest.approx(edge_f1(half, LINE))
    blank = np.zeros_like(LINE)
    assert edge_f1(blank, blank) == 1
    assert edge_f1(LINE, blank) == edge_f1(blank, LINE) == 0


def test_depth_error_is_a_share_of_the_range() -> None:
    black, white = np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8)
    assert depth_rmse(black, black) == 0
    assert depth_rmse(black, white) == depth_rmse(white, black) == 1
    half = black.copy()
    half[:4] = 255
    assert depth_rmse(half, black) == pytest.approx(0.5**0.5)


def test_ms_ssim_knows_the_same_from_the_blurred_from_another() -> None:
    lines = np.asarray(cv2.GaussianBlur(EDGES, (0, 0), 1), np.uint8)
    blurred = [
        ms_ssim(np.asarray(cv2.GaussianBlur(lines, (0, 0), sigma), np.uint8), lines) for sigma in (1, 2, 4)
    ]
    other = np.asarray(cv2.Canny(cv2.cvtColor(drawings()[1], cv2.COLOR_RGB2GRAY), 100, 200))
    assert ms_ssim(lines, lines) == pytest.approx(1)
    assert 1 > blurred[0] > blurred[1] > blurred[2] > 0
    assert ms_ssim(other, lines) < blurred[0]
    assert ms_ssim(255 - lines, lines) == 0  # its structure is the reverse
    with pytest.raises(JogakError, match="11 pixels"):
        ms_ssim(lines[:8, :8], lines[:8, :8])


def test_ms_ssim_of_one_scale_is_plain_ssim() -> None:
    """A flat shift leaves structure alone: SSIM is its light term, (2ab + C1) / (a² + b² + C1)."""
    a, b = np.full((12, 12), 100, np.uint8), np.full((12, 12), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ms_ssim(a, b) == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))


def test_pck_by_construction() -> None:
    wanted = np.arange(34, dtype=float).reshape(17, 2) * 10
    found = wanted.copy()
    found[:4] += (6, 8)  # 10 pixels off
    assert pck(found, wanted, scale=100) == 1
    assert pck(found, wanted, scale=99) == pytest.approx(13 / 17)
    found[16] = np.nan  # not found at all
    assert pck(found, wanted, scale=100) == pytest.approx(16 / 17)
    visible = np.ones(17, bool)
    visible[16] = False
    assert pck(found, wanted, scale=100, visible=visible) == 1
    with pytest.raises(JogakError, match="visible"):
        pck(found, wanted, scale=100, visible=np.zeros(17, bool))
    with pytest.raises(JogakError, match="size"):
        pck(found, wanted, scale=0)


def test_oks_is_cocos() -> None:
    wanted = np.full((17, 2), 50.0)
    found = wanted.copy()
    assert oks(found, wanted, area=1000) == 1
    found[0] += (3, 4)
    alone = np.exp(-25 / (2 * 1000 * (2 * 0.026) ** 2))
    assert oks(found, wanted, area=1000) == pytest.approx((16 + alone) / 17)
    assert oks(np.full((17, 2), np.nan), wanted, area=1000) == 0
    assert COCO_SIGMAS.shape == (17,)
    with pytest.raises(JogakError, match="σ"):
        oks(found[:18], wanted[:18], area=1000, sigmas=[0.1] * 18)


@pytest.mark.parametrize("measure", [edge_f1, depth_rmse, ms_ssim])
def test_maps_that_do_not_fit_are_refused(measure) -> None:
    with pytest.raises(JogakError, match="differ in size"):
        measure(np.zeros((20, 20), np.uint8), np.zeros((20, 30), np.uint8))
    with pytest.raises(JogakError, match="uint8"):
        measure(np.zeros((20, 20)), np.zeros((20, 20)))


def test_a_pose_is_worth_what_its_joints_are() -> None:
    from jogak.adapters.poses import pose_points
    from jogak.judge.control_fidelity import POSE_SIGMAS, pose_fidelity

    wanted = np.array([point or (np.nan, np.nan) for point in pose_points("standing")]) * 256
    assert len(POSE_SIGMAS) == len(wanted)
    assert pose_fidelity(wanted, wanted) == {"pck": 1.0, "oks": 1.0}
    moved = pose_fidelity(wanted + 8, wanted)
    assert moved["pck"] == 1
    assert 0.2 < moved["oks"] < 1
    assert pose_fidelity(np.full_like(wanted, np.nan), wanted) == {"pck": 0.0, "oks": 0.0}
    half = wanted.copy()
    half[::2] = np.nan
    assert pose_fidelity(half, wanted)["pck"] == pytest.approx(0.5, abs=0.1)
    with pytest.raises(JogakError, match="4 wanted joints"):
        pose_fidelity(wanted, np.full_like(wanted, np.nan))
