"""In-betweens: the film frames that lie between two drawn frames, moved along the optical flow.

For a moment t between frames A and B, the flow A→B and the flow B→A are carried to t (splatted, a
well-matched vector winning over a poorly matched one, as in softmax splatting, Niklaus and Liu 2020), each
drawn frame is sampled back along the vector found there, and the two are blended by how well each frame knows
the place: what only A shows comes from A, what only B shows from B. The less the flow explains, the more of
the plain cross-blend.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

MATCH = 12.0
"""Grey levels of mismatch after moving at which a flow vector loses most of its say."""
AGREE = 1.0
"""Pixels by which the flow there and back may disagree before a place counts as hidden."""
SAY = 8.0
"""How strongly a well-matched vector wins where several land on one place."""
EXPLAINED, UNEXPLAINED = 0.35, 0.6
"""Share of the plain difference left after moving: believe the flow up to the first, not from the second."""


class Flow(NamedTuple):
    """The motion between drawn frames A and B, both ways, float32 at the drawn size."""

    there: np.ndarray  # (H, W, 2): a pixel of A at x lies at x + there(x) in B
    back: np.ndarray  # (H, W, 2): the same from B to A
    trust_there: np.ndarray  # (H, W), 0..1: does this pixel of A show in B where the flow says?
    trust_back: np.ndarray  # (H, W), 0..1
    reliable: float  # 0..1: does the flow explain how the two frames differ?


def resample(frames: Iterable[np.ndarray], fps: float, count: int, film_fps: int) -> Iterator[np.ndarray]:
    """`count` film frames from drawn frames (H, W, 3) uint8 at `fps`; film frame j shows moment j / film_fps.

    The last drawn frame stays once it is reached. Holds two drawn frames and their flow.
    """
    source = iter(frames)
    before = next(source)
    after = next(source, None)
    index, flow = 0, None
    for j in range(count):
        position = j * fps / film_fps
        while after is not None and position > index + 1 - 1e-6:
            before, after = after, next(source, None)
            index, flow = index + 1, None
        if after is None or position < index + 1e-6:
            yield before
            continue
        if flow is None:
            flow = measure_flow(before, after)
        yield between(before, after, flow, position - index)


def measure_flow(a: np.ndarray, b: np.ndarray) -> Flow:
    """The flow between two frames (H, W, 3) uint8 and how far to trust it: 10 ms at 320x180 on one core."""
    # DIS splits the picture by the number of threads: with one, the flow is a function of the frames alone
    cv2.setNumThreads(1)
    grey_a, grey_b = cv2.cvtColor(a, cv2.COLOR_RGB2GRAY), cv2.cvtColor(b, cv2.COLOR_RGB2GRAY)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there = dis.calc(grey_a, grey_b, np.empty(0))
    back = dis.calc(grey_b, grey_a, np.empty(0))
    trust_there, left_there = _trust(grey_a, grey_b, there, back)
    trust_back, left_back = _trust(grey_b, grey_a, back, there)
    plain = max(float(np.mean(cv2.absdiff(grey_a, grey_b))), 1e-3)
    left = (left_there + left_back) / 2 / plain
    reliable = float(np.clip((UNEXPLAINED - left) / (UNEXPLAINED - EXPLAINED), 0, 1))
    return Flow(there, back, trust_there, trust_back, reliable)


def between(a: np.ndarray, b: np.ndarray, flow: Flow, t: float) -> np.ndarray:
    """The frame (H, W, 3) uint8 at moment t (0 is A, 1 is B); some 8 ms at 320x180 on one core."""
    blend = cv2.addWeighted(a, 1 - t, b, t, 0)
    if flow.reliable == 0:
        return blend
    motion = _motion_at(flow, t)
    from_a = _moved(a, -t * motion, cv2.INTER_CUBIC)
    from_b = _moved(b, (1 - t) * motion, cv2.INTER_CUBIC)
    # the small floor decides where neither frame is trusted: then the nearer one counts more, as in a blend
    say_a = (1 - t) * (_moved(flow.trust_there, -t * motion, cv2.INTER_LINEAR) + 1e-3)
    say_b = t * (_moved(flow.trust_back, (1 - t) * motion, cv2.INTER_LINEAR) + 1e-3)
    share = cv2.blur(say_a / (say_a + say_b), (3, 3))[..., None]
    moved = share * from_a + (1 - share) * from_b
    mixed = flow.reliable * moved + (1 - flow.reliable) * blend
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _trust(
    grey_a: np.ndarray, grey_b: np.ndarray, there: np.ndarray, back: np.ndarray
) -> tuple[np.ndarray, float]:
    """How well each pixel of A is found again in B (H, W) in 0..1, and the mean mismatch in grey levels."""
    mismatch = cv2.absdiff(grey_a, _moved(grey_b, there, cv2.INTER_LINEAR)).astype(np.float32)
    mismatch = cv2.blur(mismatch, (3, 3))
    round_trip = np.linalg.norm(there + _moved(back, there, cv2.INTER_LINEAR), axis=-1)
    allowed = AGREE + 0.05 * np.linalg.norm(there, axis=-1)
    trust = np.exp(-mismatch / MATCH) * np.exp(-0.5 * (round_trip / allowed) ** 2)
    return trust.astype(np.float32), float(mismatch.mean())


def _motion_at(flow: Flow, t: float) -> np.ndarray:
    """The motion A to B in pixels (H, W, 2) at the places of moment t; holes take what lies around."""
    from_a = _splat(flow.there, np.exp(SAY * (flow.trust_there - 1)), t) * (1 - t)
    from_b = _splat(flow.back, np.exp(SAY * (flow.trust_back - 1)), 1 - t) * t
    sums = from_a[..., :2] - from_b[..., :2]
    weight = from_a[..., 2:] + from_b[..., 2:]
    around = cv2.blur(sums, (21, 21)) / (cv2.blur(weight, (21, 21))[..., None] + 1e-9)
    return (sums + 1e-4 * around) / (weight + 1e-4)


def _splat(flow: np.ndarray, weight: np.ndarray, t: float) -> np.ndarray:
    """Carry each vector t of its way: (H, W, 3) float32 sums of weight * dx, weight * dy and weight."""
    height, width = weight.shape
    rows, columns = np.mgrid[:height, :width]
    x, y = columns + t * flow[..., 0], rows + t * flow[..., 1]
    left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    share_x, share_y = x - left, y - top
    sums = np.zeros((3, height * width))
    for right in (0, 1):
        for down in (0, 1):
            column, row = left + right, top + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = (share_x if right else 1 - share_x) * (share_y if down else 1 - share_y) * weight
            place, share = (row * width + column)[inside], share[inside]
            sums[0] += np.bincount(place, share * flow[..., 0][inside], height * width)
            sums[1] += np.bincount(place, share * flow[..., 1][inside], height * width)
            sums[2] += np.bincount(place, share, height * width)
    return sums.T.reshape(height, width, 3).astype(np.float32)


def _moved(picture: np.ndarray, motion: np.ndarray, how: int) -> np.ndarray:
    """`picture` sampled at x + motion(x)."""
    height, width = motion.shape[:2]
    map_x = motion[..., 0] + np.arange(width, dtype=np.float32)
    map_y = motion[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(picture, map_x, map_y, how, borderMode=cv2.BORDER_REPLICATE)
