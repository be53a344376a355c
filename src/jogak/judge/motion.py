"""How frames move: optical flow (DIS, as OpenCV ships it), and what VBench asks of it.

Source: Huang et al. 2024, VBench, arXiv:2311.17982. VBench takes RAFT and AMT, whose weights are not here:
flow is DIS (Kroeger et al. 2016, arXiv:1603.03590) and re-interpolation is by that flow, so every name says
`dis-flow` and no number is comparable with VBench's own table. Frames are (N, H, W, 3) uint8 RGB of one shot;
flow is (H, W, 2) float32 pixels, x before y.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Flow = NDArray[np.float32]

BACKBONE = "dis-flow"
DEGREE_FPS = 8
"""Frames a second at which VBench looks for motion."""
SPEED_UNIT = "px/⅛ s at 256"


def flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
    """Where each pixel of `first` (H, W, 3) went in `second`, by DIS at its medium preset."""
    a, b = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second))
    seeker = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return seeker.calc(a, b, np.zeros((*a.shape, 2), np.float32)).astype(np.float32)


def warped(frame: NDArray[np.uint8], by: Flow) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`frame` read at each pixel plus `by`, and which pixels were read from inside of it."""
    height, width = by.shape[:2]
    x = by[..., 0] + np.arange(width, dtype=np.float32)
    y = by[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    read = cv2.remap(frame.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return read.astype(np.float32), inside


def likeness(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """(255 − mean absolute difference) / 255: 1 when equal, 0 when black meets white."""
    return 1 - float(np.abs(a.astype(np.float32) - b.astype(np.float32)).mean()) / 255


def steadiness(frames: Frames) -> NDArray[np.float64]:
    """VBench's temporal flicker: the likeness of neighbours as they are, (N − 1,)."""
    return np.array([likeness(a, b) for a, b in pairwise(frames)])


def compensated(frames: Frames) -> NDArray[np.float64]:
    """The same after motion is undone, where the second frame still shows the place, (N − 1,)."""
    found = []
    for a, b in pairwise(frames):
        back, inside = warped(b, flow(a, b))
        found.append(likeness(a[inside], back[inside]) if inside.any() else 0.0)
    return np.array(found)


def smoothness(frames: Frames) -> NDArray[np.float64]:
    """Every second frame dropped and made again from its neighbours; likeness, ((N − 1) // 2,), N ≥ 3."""
    return np.array(
        [likeness(frames[i], between(frames[i - 1], frames[i + 1])) for i in range(1, len(frames) - 1, 2)]
    )


def between(first: NDArray[np.uint8], last: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The frame half-way, by flows to the middle from both sides (Jiang et al. 2018, arXiv:1712.00080)."""
    turn = (flow(last, first) - flow(first, last)) / np.float32(4)
    (a, seen_a), (b, seen_b) = warped(first, turn), warped(last, -turn)
    # a place that only one side shows is taken from that side
    weight = np.where(seen_a == seen_b, 0.5, seen_a.astype(np.float32))[..., None]
    return weight * a + (1 - weight) * b


def speeds(frames: Frames, fps: float, tops: tuple[float, ...] = (0.05, 0.02)) -> NDArray[np.float64]:
    """Mean flow of the fastest `tops` of the pixels for each pair at ~8 frames a second, (pairs, tops).

    Unit: pixels between two frames an eighth of a second apart, of a picture whose shorter side has 256.
    """
    stride = max(1, round(fps / DEGREE_FPS))
    seen = frames[::stride]
    # a stride is whole, so the rate is not quite 8: 24 fps gives 8, but 10 gives 10 and 12 gives 6
    unit = 256 / min(frames.shape[1:3]) * (fps / stride) / DEGREE_FPS
    rows = []
    for a, b in pairwise(seen):
        lengths = np.sort(np.linalg.norm(flow(a, b), axis=-1).ravel())
        rows.append([unit * float(lengths[-max(1, int(len(lengths) * top)) :].mean()) for top in tops])
    return np.array(rows).reshape(-1, len(tops))


def moves(speed: NDArray[np.float64]) -> bool:
    """VBench's dynamic degree of one clip: in a quarter of its pairs the fastest 5 % go further than 6 px."""
    return int((speed > 6).sum()) >= max(1, round((len(speed) + 1) / 4))


def rests(speed: NDArray[np.float64]) -> bool:
    """VBench's static filter: in an eighth of the pairs at most the fastest 2 % go further than 3 px."""
    return int((speed > 3).sum()) <= round((len(speed) + 1) / 8)
