"""Closed curves as polygons: ellipses, splines, bent tubes. Points are (n, 2) float arrays, x right and y down."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

Points = np.ndarray


@functools.cache
def _circle(n: int) -> Points:
    angles = np.arange(n) * (2 * math.pi / n)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@functools.cache
def _spline(n: int) -> np.ndarray:
    """Catmull-Rom weights (n, 4) of the points before, at, after and beyond a span."""
    t = np.arange(n) / n
    return np.stack(
        [
            -0.5 * t**3 + t**2 - 0.5 * t,
            1.5 * t**3 - 2.5 * t**2 + 1,
            -1.5 * t**3 + 2 * t**2 + 0.5 * t,
            0.5 * t**3 - 0.5 * t**2,
        ],
        axis=1,
    )


def ellipse(centre: Sequence[float] | Points, rx: float, ry: float, turn: float = 0.0, n: int = 26) -> Points:
    """An ellipse turned clockwise by `turn` radians."""
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = np.array([[rx * cos, rx * sin], [-ry * sin, ry * cos]])
    return _circle(n) @ matrix + np.asarray(centre)


def smooth(points: Sequence[Sequence[float]] | Points, n: int = 5) -> Points:
    """A closed smooth curve through the points, `n` samples a span."""
    p = np.asarray(points, dtype=float)
    spans = np.stack([np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)], axis=1)
    return np.einsum("nk,mkd->mnd", _spline(n), spans).reshape(-1, 2)


def smooth_line(points: Sequence[Sequence[float]] | Points, n: int = 5) -> Points:
    """An open smooth curve through the points, both ends included."""
    p = np.asarray(points, dtype=float)
    ends = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    spans = np.stack([ends[:-3], ends[1:-2], ends[2:-1], ends[3:]], axis=1)
    return np.concatenate([np.einsum("nk,mkd->mnd", _spline(n), spans).reshape(-1, 2), p[-1:]])


def tube(line: Points, radii: float | Sequence[float] | Points, caps: int = 6) -> Points:
    """The outline of a stroke of varying radius along a line, with round ends."""
    line = np.asarray(line, dtype=float)
    radius = np.broadcast_to(np.asarray(radii, dtype=float), (len(line),))
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    along /= length[:, None]
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    side = normal * radius[:, None]
    turn = np.arange(1, caps) * (math.pi / max(1, caps))
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    end = line[-1] + radius[-1] * (normal[-1] * cos + along[-1] * sin)
    start = line[0] + radius[0] * (-normal[0] * cos - along[0] * sin)
    return np.concatenate([line + side, end, (line - side)[::-1], start])


@functools.cache
def _bend(n: int, soft: float) -> np.ndarray:
    """Weights (2n, 3) of a line a-b-c whose corner is rounded over the share `soft` of each half."""
    t = np.linspace(0, 1, n)
    straight = np.linspace(0, 1 - soft, max(2, n // 2), endpoint=False)
    first = np.stack([1 - straight, straight, 0 * straight], axis=1)
    p, q = np.array([soft, 1 - soft, 0.0]), np.array([0.0, 1 - soft, soft])
    b = np.array([0.0, 1.0, 0.0])
    arc = ((1 - t) ** 2)[:, None] * p[None] + (2 * t * (1 - t))[:, None] * b[None] + (t**2)[:, None] * q[None]
    return np.concatenate([first, arc, first[::-1, ::-1]])


def bent(a: Points, b: Points, c: Points, soft: float = 0.4, n: int = 6) -> Points:
    """The line a-b-c with a rounded corner: an arm or a leg."""
    return _bend(n, soft) @ np.stack([a, b, c])


def part_of_line(line: Points, start: float, end: float, n: int = 9) -> Points:
    """The stretch of a line between two shares of its length."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    want = np.linspace(start, end, n) * at[-1]
    return np.stack([np.interp(want, at, line[:, 0]), np.interp(want, at, line[:, 1])], axis=1)


def hull(*shapes: Points) -> Points:
    """The convex outline around shapes."""
    points = np.concatenate(shapes).astype(np.float32)
    return cv2.convexHull(points)[:, 0].astype(float)


def turned(points: Points, centre: Points, degrees: float) -> Points:
    """Points turned clockwise about a centre."""
    if not degrees:
        return points
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    return (points - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
