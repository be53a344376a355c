"""Pose maps: a body's joints as OpenPose draws them, and poses by name, Korean or English.

Joints are OpenPose's 18 (Cao et al., arXiv:1812.08008), in its order; left and right are the body's own. Colours, limbs
and their order are those that ControlNets for pose were trained on (controlnet_aux's `draw_bodypose`), at 512 pixels
with the same widths, at other sizes in proportion.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jogak.spec import SpecError

JOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of joints, in drawing order; limb i has colour i."""
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
_HALF_WIDTH = 4
"""Of a limb, and a joint's radius, in pixels at 512."""
_LIMB_SHADE = 0.6
_NEAR = 40
"""Of a channel: colours of joints are 85 apart, and a limb's brightest channel is 102 below a joint's."""
_MAX_SIDE = 8192

Points = Sequence[Sequence[float] | None]
"""18 joints, each (x, y) or None where it is not seen."""


def draw_pose(points: Points, width: int, height: int) -> NDArray[np.uint8]:
    """The map (height, width, 3) of one body; x and y are shares of the width and of the height. What lies outside
    the picture is cut off. Raises `SpecError` for other than 18 joints."""
    import cv2

    if len(points) != len(JOINTS):
        raise SpecError(f"a pose has {len(JOINTS)} joints, not {len(points)}.")
    if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
        raise SpecError(
            f"a pose map of {width}×{height} pixels is not drawn; give sides of 1 to {_MAX_SIDE}."
        )
    canvas = np.zeros((height, width, 3), np.uint8)
    half = max(1, round(_HALF_WIDTH * min(width, height) / 512))
    places = [_pixels(point, width, height) for point in points]
    for (a, b), colour in zip(LIMBS, COLOURS, strict=False):
        start, end = places[a], places[b]
        if start is None or end is None:
            continue
        (x0, y0), (x1, y1) = start, end
        middle = int((x0 + x1) / 2), int((y0 + y1) / 2)
        length, angle = math.hypot(x0 - x1, y0 - y1), math.degrees(math.atan2(y0 - y1, x0 - x1))
        shape = cv2.ellipse2Poly(middle, (int(length / 2), half), int(angle), 0, 360, 1)
        cv2.fillConvexPoly(canvas, np.asarray(shape), [int(part * _LIMB_SHADE) for part in colour])
    for place, colour in zip(places, COLOURS, strict=True):
        if place is not None:
            cv2.circle(canvas, (int(place[0]), int(place[1])), half, colour, thickness=-1)
    return canvas


def read_pose(map_: NDArray[np.uint8]) -> list[tuple[float, float] | None]:
    """The joints of a map (H, W, 3) of one body: what `draw_pose` was given, to half a pixel or so.

    A joint's disc has its own colour at full strength, which no limb has; the largest spot of it counts. None stands
    for a joint that was not drawn, or that another covers.
    """
    height, width = map_.shape[:2]
    fewest = max(1, round(_HALF_WIDTH * min(width, height) / 512))
    found: list[tuple[float, float] | None] = []
    for colour in COLOURS:
        near = np.abs(map_.astype(np.int16) - np.array(colour, np.int16)).max(-1) <= _NEAR
        place = _largest_spot(near, fewest)
        found.append(None if place is None else ((place[0] + 0.5) / width, (place[1] + 0.5) / height))
    return found


def _largest_spot(near: NDArray[np.bool_], fewest: int) -> tuple[float, float] | None:
    """The middle (x, y) of the largest connected spot, None when it has fewer pixels than `fewest`."""
    import cv2

    _, _, facts, middles = cv2.connectedComponentsWithStats(near.astype(np.uint8), connectivity=8)
    areas = facts[1:, cv2.CC_STAT_AREA]  # the first is all that is not near
    if not len(areas) or areas.max() < fewest:
        return None
    x, y = middles[1 + int(areas.argmax())]
    return float(x), float(y)


def pose_map(name: str, width: int, height: int) -> NDArray[np.uint8]:
    """The map of a pose by its name in Korean or English, as large as the picture allows, in the middle.

    Raises `SpecError` for an unknown name, with near names.
    """
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    points = [
        None if point is None else ((left + point[0] * side) / width, (top + point[1] * side) / height)
        for point in pose_points(name)
    ]
    return draw_pose(points, width, height)


def pose_points(name: str) -> Points:
    """The joints of a named pose; x and y are shares of a square. Raises `SpecError` for an unknown name."""
    poses, names = _known()
    key = names.get(_plain(name))
    if key is None:
        near = difflib.get_close_matches(_plain(name), names, n=3, cutoff=0.5)
        told = f" Did you mean {', '.join(near)}?" if near else ""
        raise SpecError(f'"{name[:60]}" is no pose that is known.{told} There are: {", ".join(poses)}.')
    return poses[key]


def pose_names() -> dict[str, tuple[str, ...]]:
    """Each pose with all the words that name it."""
    _, names = _known()
    found: dict[str, tuple[str, ...]] = {}
    for word, key in names.items():
        found[key] = (*found.get(key, ()), word)
    return found


@lru_cache(maxsize=1)
def _known() -> tuple[dict[str, Points], dict[str, str]]:
    """Poses by their key, and keys by every word for them."""
    content = json.loads((Path(__file__).parent / "poses.json").read_text(encoding="utf-8"))
    names: dict[str, str] = {}
    for key, pose in content.items():
        for word in (key, *pose["names"]["en"], *pose["names"]["ko"]):
            names.setdefault(_plain(word), key)
    return {key: pose["points"] for key, pose in content.items()}, names


def _plain(word: str) -> str:
    """Spaces, hyphens and underscores mean the same in a name, and in Korean nothing at all."""
    parts = word.strip().casefold().replace("_", " ").replace("-", " ").split()
    korean = any("가" <= letter <= "힣" for letter in word)
    return ("" if korean else " ").join(parts)


def _pixels(point: Sequence[float] | None, width: int, height: int) -> tuple[float, float] | None:
    """The joint in pixels; None when it is not seen, or so far outside that no limb would reach in."""
    if point is None:
        return None
    x, y = float(point[0]) * width, float(point[1]) * height
    return (x, y) if abs(x) <= 4 * width and abs(y) <= 4 * height else None
