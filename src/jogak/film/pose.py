"""Where everything in a shot is at a moment: the ground under the camera, and what stands on it.

A pose is one 3x3 matrix for the ground and one for each cut-out: from a pixel of the keyframe to a pixel of
the frame, in pixels, x before y, pixel centres at .5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jogak.spec.film import Camera

TRAVEL_PER_SECOND, MAX_TRAVEL = 0.05, 0.22
"""How much of the keyframe's side the camera passes over in a second, and at most in a shot."""
STILL_SHARE = 0.96
"""What a camera that stands still sees of the keyframe's sides: a little less, so that no border shows."""
SEEN = 0.6
"""The subject's middle stays within this much of the frame's side."""
NEARER = 1.2
"""How much further what stands on the ground moves past the camera than the ground behind it."""


class Window(NamedTuple):
    """What the camera sees of the keyframe: where its middle is and how much, in shares of the sides."""

    x: float
    y: float
    share: float


class Stand(NamedTuple):
    """How a cut-out stands in the keyframe: foot and height in pixels, and whether the border cuts it."""

    x: float
    y: float
    height: float
    cut: bool


def camera_window(camera: Camera, seconds: float, progress: float, aim: tuple[float, float]) -> Window:
    """Where the camera looks at `progress` (0..1) of a shot of `seconds`. It starts and stops softly.

    `aim`, in shares of the sides, is where the subject is: a zoom goes towards it or comes from it, and a pan
    or tilt is cut short, to half its travel at most, rather than lose it.
    """
    travel = min(MAX_TRAVEL, TRAVEL_PER_SECOND * seconds)
    along = (progress + progress * progress * (3 - 2 * progress)) / 2
    if camera == "still":
        return Window(0.5, 0.5, STILL_SHARE)
    if camera in ("zoom_in", "zoom_out"):
        share = 1 - travel * (along if camera == "zoom_in" else 1 - along)
        room = (1 - share) / 2
        x, y = (0.5 + min(max(to - 0.5, -room), room) for to in aim)
        return Window(x, y, share)
    share = 1 - travel
    sideways = camera.startswith("pan")
    start, end = (
        (-travel / 2, travel / 2) if camera in ("pan_right", "tilt_down") else (travel / 2, -travel / 2)
    )
    middle, seen = aim[0 if sideways else 1] - 0.5, SEEN * share / 2
    end = min(max(end, middle - seen), middle + seen) if abs(middle) < 0.5 else end
    if abs(end - start) < travel / 2:
        end = start + math.copysign(travel / 2, end - start)
    offset = start + (end - start) * along
    return Window(0.5 + offset * sideways, 0.5 + offset * (not sideways), share)


def look(window: Window, width: int, height: int, nearer: float = 1.0) -> np.ndarray:
    """The camera alone, from keyframe to frame of one size; `nearer` > 1 for what stands on the ground."""
    middle = (0.5 + (window.x - 0.5) * nearer, 0.5 + (window.y - 0.5) * nearer)
    zoom = 1 / window.share
    return move(width / 2, height / 2) @ scale(zoom, zoom) @ move(-middle[0] * width, -middle[1] * height)


def life(stand: Stand, motion: float, seconds: float, progress: float, phase: float) -> np.ndarray:
    """What a living thing does in place: breathe, sway, hop and come nearer, by `motion` (0..1).

    `phase` in radians, another for each thing, so that two do not move as one.
    """
    breath = 0.015 * motion * math.sin(2 * math.pi * seconds / 2.4 + phase)
    sway = math.radians(3.0) * motion * math.sin(2 * math.pi * seconds / 2.9 + 1.7 * phase)
    eager = max(0.0, motion - 0.35) / 0.65
    hop = 0.0 if stand.cut else 0.10 * eager * stand.height * abs(math.sin(math.pi * seconds / 0.6 + phase))
    nearer = 1 + 0.08 * motion * progress
    wander = 0.06 * motion * stand.height * math.sin(2 * math.pi * seconds / 5.3 + 2.3 * phase)
    return (
        move(stand.x + wander, stand.y - hop)
        @ turn(sway)
        @ scale(nearer * (1 - breath / 2), nearer * (1 + breath))
        @ move(-stand.x, -stand.y)
    )


def pose_at(
    camera: Camera,
    stands: Sequence[Stand],
    motion: float,
    seconds: float,
    at: float,
    phase: float,
    size: tuple[int, int],
) -> list[np.ndarray]:
    """The pose at second `at` of a shot of `seconds`; `size` is the width and height of key and frame."""
    progress = min(1.0, at / seconds)
    window = camera_window(camera, seconds, progress, _aim(stands, size))
    ground = look(window, *size)
    near = look(window, *size, nearer=NEARER)
    return [ground] + [
        near @ life(stand, motion, at, progress, phase + 2.1 * number) for number, stand in enumerate(stands)
    ]


def _aim(stands: Sequence[Stand], size: tuple[int, int]) -> tuple[float, float]:
    """The middle of what stands in the picture, large things counting more, in shares of the sides."""
    if not stands:
        return 0.5, 0.5
    weights = [stand.height**2 for stand in stands]
    x = np.average([stand.x for stand in stands], weights=weights) / size[0]
    y = np.average([stand.y - stand.height / 2 for stand in stands], weights=weights) / size[1]
    return float(x), float(y)


def move(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def scale(x: float, y: float) -> np.ndarray:
    return np.diag([x, y, 1.0])


def turn(angle: float) -> np.ndarray:
    """By `angle` radians, clockwise on the screen, about the origin."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def carry(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (2, ...) moved by a matrix, float32."""
    x, y = points
    (a, b, c), (d, e, f) = matrix[:2]
    return np.stack([a * x + b * y + c, d * x + e * y + f]).astype(np.float32)
