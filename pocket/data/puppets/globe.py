"""A head as a globe: what is drawn on it is placed by longitude and latitude, and turns with it.

Longitude 0 is where the nose points, 90 the puppet's left ear; latitude 90 is the crown, -90 the chin. Units are
heads.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from pocket.data.puppets.shapes import Points, tube


class Shape(NamedTuple):
    """A head's outline: how full its sides are, how far the jaw narrows, how wide the cheeks are."""

    full: float = 0.82
    jaw: float = 0.10
    cheek: float = 0.05


@functools.lru_cache(maxsize=64)
def _profile(shape: Shape) -> np.ndarray:
    """Half width, of 1, at each whole degree of latitude from -90 to 90."""
    lat = np.radians(np.arange(-90, 91))
    crown = 0.5 + 0.5 * np.tanh(np.degrees(lat) / 25)  # rounder above than below
    width = np.cos(lat).clip(0) ** (shape.full + (0.98 - shape.full) * crown)
    width *= 1 - shape.jaw * (-np.sin(lat)).clip(0) ** 1.5
    return width * (1 + shape.cheek * np.exp(-(((np.degrees(lat) + 26) / 24) ** 2)))


@functools.lru_cache(maxsize=64)
def _outline(shape: Shape) -> np.ndarray:
    """The whole outline of a unit globe, (n, 2), y down."""
    lat = np.concatenate([np.arange(-90, 90, 5), np.arange(90, -90, -5)])
    side = np.concatenate([np.ones(36), -np.ones(36)])
    width = _profile(shape)[lat + 90]
    return np.stack([side * width, -np.sin(np.radians(lat))], axis=1)


class Globe:
    """One head: centre (2,), half width and height, turned by `yaw` and `pitch`, then tilted by `roll` degrees."""

    def __init__(
        self, centre: Points, rx: float, ry: float, yaw: float, pitch: float, roll: float, shape: Shape
    ) -> None:
        self.centre, self.rx, self.ry, self.yaw, self.shape = centre, rx, ry, yaw, shape
        self.sin_pitch, self.cos_pitch = math.sin(math.radians(pitch)), math.cos(math.radians(pitch))
        angle = math.radians(roll)
        self.tilt = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        self.roll = angle
        self.profile = _profile(shape)
        self.facing = math.cos(math.radians(yaw))
        self.aside = math.sin(math.radians(yaw))

    def width(self, lat: np.ndarray) -> np.ndarray:
        return self.profile[np.clip(np.rint(lat).astype(int) + 90, 0, 180)] * self.rx

    def _raw(self, lon: np.ndarray, lat: np.ndarray, k: float | np.ndarray) -> tuple[Points, np.ndarray]:
        around = np.radians(lon + self.yaw)
        radius = self.width(lat) * k
        x, z = radius * np.sin(around), radius * np.cos(around)
        y = -self.ry * k * np.sin(np.radians(lat))
        return (
            np.stack([x, y * self.cos_pitch + z * self.sin_pitch], axis=-1),
            z * self.cos_pitch - y * self.sin_pitch,
        )

    def _set(self, points: Points) -> Points:
        return points @ self.tilt + self.centre

    def at(self, lon: object, lat: object, k: float | np.ndarray = 1.0) -> Points:
        """Points on the picture; hidden ones are pushed to the rim, so that a shape keeps to the near side."""
        lon, lat = np.broadcast_arrays(np.asarray(lon, dtype=float), np.asarray(lat, dtype=float))
        points, z = self._raw(lon, lat, k)
        hidden = z < 0
        if hidden.any():
            rim_lat = np.degrees(np.arcsin(np.clip(-points[..., 1] / (self.ry * k), -1, 1)))
            near = points[..., 0][~hidden]
            rim = (
                math.copysign(1.0, near.mean() if near.size else points[..., 0].mean())
                * self.width(rim_lat)
                * k
            )
            points[..., 0] = np.where(hidden, rim, points[..., 0])
        return self._set(points)

    def pin(self, lon: float, lat: float, k: float = 1.0) -> tuple[Points, float]:
        """One point, hidden or not, and how far it faces the viewer, -1..1."""
        points, z = self._raw(np.array([lon], dtype=float), np.array([lat], dtype=float), k)
        return self._set(points)[0], float(z[0]) / (self.rx * k)

    def offset(self, x: float, y: float) -> Points:
        """A step on the picture in the head's own tilt."""
        return np.array([x, y]) @ self.tilt

    def faces(self, lon: float, lat: float) -> float:
        return self.pin(lon, lat)[1]

    def outline(self, k: float = 1.0) -> Points:
        return self._set(_outline(self.shape) * (self.rx * k, self.ry * k))

    def spot(self, lon: float, lat: float, w: float, h: float, k: float = 1.0, n: int = 20) -> Points:
        """An ellipse on the globe, half sizes in degrees."""
        cos, sin = _unit(n)
        return self.at(lon + w * cos, lat + h * sin, k)

    def stroke(self, lon: object, lat: object, radius: float | np.ndarray, k: float = 1.0) -> Points | None:
        """A brush stroke along a line on the globe, or None when it is out of sight."""
        lon, lat = np.broadcast_arrays(np.asarray(lon, dtype=float), np.asarray(lat, dtype=float))
        points, z = self._raw(lon, lat, k)
        seen = z > 0
        if seen.sum() < 2:
            return None
        radius = np.broadcast_to(np.asarray(radius, dtype=float), lon.shape)[seen]
        return tube(self._set(points[seen]), radius, caps=4)

    def region(
        self,
        lon: np.ndarray,
        lat: np.ndarray,
        k: float = 1.0,
        lift: float = 0.0,
        bump: np.ndarray | None = None,
    ) -> Points | None:
        """What lies above a line around the globe (`lon` ascending over the full circle), with its outer rim.

        `lift` raises the crown; `bump`, any length, ripples the rim (0 is even) from right over the crown to left.
        """
        points, z = self._raw(lon, lat, k)
        seen = z > 0
        if not seen.any():
            return None
        if seen.all():
            first = int(np.argmin(points[:, 0]))
            points = np.roll(points, -first, 0)
            last = int(np.argmax(points[:, 0]))
            edge = points[: last + 1]
        else:
            first = int(np.flatnonzero(seen & ~np.roll(seen, 1))[0])
            order = np.roll(np.arange(len(lon)), -first)
            edge = points[order[: int(np.cumprod(seen[order]).sum())]]
        right = math.degrees(math.asin(float(np.clip(-edge[-1, 1] / (self.ry * k), -1, 1))))
        left = math.degrees(math.asin(float(np.clip(-edge[0, 1] / (self.ry * k), -1, 1))))
        along = np.linspace(right, 180 - left, 40)
        rim_lat = np.where(along <= 90, along, 180 - along)
        rim = np.stack(
            [
                np.where(along <= 90, 1, -1) * self.width_smooth(rim_lat) * k,
                -self.ry * k * np.sin(np.radians(rim_lat)),
            ],
            1,
        )
        rim[:, 1] *= 1 + lift * np.sin(np.radians(rim_lat)).clip(0)
        if bump is not None:
            rim *= 1 + np.interp(along, np.linspace(-60, 240, len(bump)), bump)[:, None]
        return self._set(np.concatenate([edge, rim]))

    def width_smooth(self, lat: np.ndarray) -> np.ndarray:
        return np.interp(lat, _DEGREES, self.profile) * self.rx

    def band(self, low: float, high: float, k: float, k_high: float | None = None) -> Points | None:
        """The near side of a ring between two latitudes."""
        lon = np.linspace(-90, 90, 21) - self.yaw
        below, _ = self._raw(lon, np.full(21, low), k)
        above, _ = self._raw(lon, np.full(21, high), k if k_high is None else k_high)
        return self._set(np.concatenate([below, above[::-1]]))


_DEGREES = np.arange(-90, 91, dtype=float)


@functools.cache
def _unit(n: int) -> tuple[np.ndarray, np.ndarray]:
    angle = np.arange(n) * (2 * math.pi / n)
    return np.cos(angle), np.sin(angle)
