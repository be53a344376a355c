"""What a puppet wears on its head."""

from __future__ import annotations

import math

import numpy as np

from pocket.data.puppets.faces import FaceDrawer
from pocket.data.puppets.raster import Decal, darker, lighter
from pocket.data.puppets.shapes import Points, ellipse, smooth, smooth_line, tube
from pocket.data.puppets.words import COLOURS, Rgb

CAPS = ("beanie", "cap", "straw_hat", "beret")
"""Hats that cover the whole crown."""
_ROUND = np.arange(-180.0, 180.0, 6.0)


def turn_by(degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def _fluff(centre: Points, radius: float, bumps: int, turn: float) -> Points:
    """A woolly ball."""
    angle = np.linspace(0, 2 * math.pi, bumps * 6, endpoint=False)
    r = radius * (0.92 + 0.12 * np.abs(np.sin(angle * bumps / 2 + turn)))
    return np.stack([np.cos(angle) * r, np.sin(angle) * r], 1) + centre


class HatDrawer(FaceDrawer):
    """A head that may have a hat: one method a hat."""

    def hat(self) -> None:
        if self.puppet.hat is None:
            return
        kind = self.puppet.hat.kind
        getattr(self, f"_{kind}")(COLOURS[self.puppet.hat.colour].rgb)

    def _ring(self, lat: float, k: float, lift: float = 0.0) -> Points | None:
        return self.globe.region(_ROUND, np.full(len(_ROUND), lat), k, lift)

    def _beanie(self, colour: Rgb) -> None:
        globe = self.globe
        top, _ = globe.pin(0, 88, 1.22)
        self.add("hat", lighter(colour, 0.75), _fluff(top, 0.15, 9, globe.roll), 0.39, cast=0.2)
        dome = self.add("hat", colour, self._ring(26, 1.13, 0.10), 0.40, cast=0.3)
        for lon in range(-150, 180, 30):
            rib = globe.stroke(np.full(6, float(lon)), np.linspace(30, 78, 6), 0.011, 1.14)
            if rib is not None and globe.pin(lon, 30)[1] > 0.12:
                dome.decals.append(Decal(rib, darker(colour, 0.16), line=True))
        fold = self.add("hat", lighter(colour, 0.16), globe.band(19, 38, 1.12, 1.17), 0.41, cast=0.25)
        for lon in range(-174, 180, 12):
            if globe.pin(lon, 26)[1] > 0.15:
                rib = globe.stroke(np.full(2, float(lon)), np.array([21.0, 36.0]), 0.010, 1.15)
                if rib is not None:
                    fold.decals.append(Decal(rib, darker(colour, 0.10)))

    def _cap(self, colour: Rgb) -> None:
        globe = self.globe
        dome = self.add("hat", colour, self._ring(27, 1.11, 0.06), 0.40, cast=0.25)
        for lon in (-60, 0, 60, 120, 180, 240):
            seam = globe.stroke(np.full(7, float(lon)), np.linspace(28, 86, 7), 0.008, 1.115)
            if seam is not None:
                dome.decals.append(Decal(seam, darker(colour, 0.2), line=True))
        button, _ = globe.pin(0, 90, 1.17)
        self.add("hat", darker(colour, 0.15), ellipse(button, 0.055, 0.04, globe.roll), 0.42, outline=0.7)
        lon = np.linspace(-64, 64, 15)
        out = np.cos(np.radians(lon) * 1.4).clip(0) ** 0.6
        inner, outer = globe.at(lon, 27, 1.11), []
        for a, o in zip(lon, out, strict=True):
            outer.append(globe.pin(a, 25 - 11 * o, 1.12 + 0.42 * o)[0])
        visor = np.concatenate([inner, np.array(outer)[::-1]])
        facing = globe.facing > -0.15
        self.add("hat", darker(colour, 0.14), visor, 0.43 if facing else -0.06, cast=0.35 if facing else 0.0)

    def _straw_hat(self, colour: Rgb) -> None:
        globe = self.globe
        straw: Rgb = (240, 206, 130)
        centre, _ = globe.pin(0, 90, 0.5)
        centre = globe.centre + globe.offset(0, -globe.ry * 0.50)
        brim = self.add(
            "hat", straw, ellipse(centre, globe.rx * 1.66, globe.ry * 0.40, globe.roll, 40), 0.40, cast=0.5
        )
        for r in (0.92, 0.80):
            ring = ellipse(centre, globe.rx * 1.66 * r, globe.ry * 0.40 * r, globe.roll, 40)
            brim.decals.append(
                Decal(tube(np.concatenate([ring, ring[:1]]), 0.008, 0), darker(straw, 0.14), line=True)
            )
        self.add("hat", straw, self._ring(36, 1.06, 0.16), 0.41, cast=0.2)
        band = self.add("hat", colour, globe.band(30, 46, 1.09, 1.085), 0.42)
        band.outline = 0.7

    def _beret(self, colour: Rgb) -> None:
        globe = self.globe
        side = math.cos(math.radians(globe.yaw))
        centre = globe.centre + globe.offset(0.10 * side - 0.05 * globe.aside, -globe.ry * 0.86)
        roll = globe.roll + math.radians(11 * side)
        stalk = centre + globe.offset(0.03, -globe.ry * 0.34)
        self.add(
            "hat",
            darker(colour, 0.1),
            tube(np.stack([stalk, stalk + globe.offset(0.03, -0.10)]), 0.026),
            0.39,
            outline=0.7,
        )
        pts = np.array(
            [
                [-1.05, 0.15],
                [-0.8, -0.55],
                [0, -0.8],
                [0.85, -0.55],
                [1.16, 0.1],
                [0.8, 0.45],
                [0, 0.5],
                [-0.85, 0.42],
            ]
        )
        blob = smooth(pts * (globe.rx * 1.02, globe.ry * 0.52))
        cos, sin = math.cos(roll), math.sin(roll)
        self.add("hat", colour, blob @ np.array([[cos, sin], [-sin, cos]]) + centre, 0.40, cast=0.35)
        self.add("hat", darker(colour, 0.2), globe.band(33, 42, 1.09), 0.398, cast=0.2)

    def _cone(self, half: float, lat: float) -> tuple[Points, Points]:
        """Left and right foot of something that stands on the crown."""
        foot = self.globe.centre + self.globe.offset(0, -self.globe.ry * math.sin(math.radians(lat)) * 1.06)
        return foot - self.globe.offset(half, 0), foot + self.globe.offset(half, 0)

    def _party_hat(self, colour: Rgb) -> None:
        globe = self.globe
        left, right = self._cone(globe.rx * 0.56, 62)
        tip = (left + right) / 2 + globe.offset(0.04, -0.78)
        base = [left, (left + right) / 2 + globe.offset(0, 0.10), right]
        edge = smooth_line(np.array(base))
        cone = self.add("hat", colour, np.concatenate([edge, tip[None]]), 0.40, cast=0.3)
        other = lighter(colour, 0.62)
        for a, b in ((0.14, 0.30), (0.46, 0.62)):
            low_l, low_r = left + (tip - left) * a, right + (tip - right) * a
            top_l, top_r = left + (tip - left) * b, right + (tip - right) * b
            sag = globe.offset(0, 0.10 * (1 - a))
            low = smooth_line(np.stack([low_l, (low_l + low_r) / 2 + sag, low_r]))
            top = smooth_line(np.stack([top_r, (top_l + top_r) / 2 + sag * 0.8, top_l]))
            cone.decals.append(Decal(np.concatenate([low, top]), other, line=True))
        self.add("hat", lighter(colour, 0.8), _fluff(tip, 0.11, 8, 0.0), 0.42, cast=0.15)

    def _top_hat(self, colour: Rgb) -> None:
        globe = self.globe
        left, right = self._cone(globe.rx * 0.60, 60)
        middle = (left + right) / 2
        brim = ellipse(middle + globe.offset(0, 0.02), globe.rx * 1.02, 0.13, globe.roll, 32)
        self.add("hat", darker(colour, 0.12), brim, 0.40, cast=0.4)
        up = globe.offset(0, -0.52)
        low = smooth_line(np.stack([left, middle + globe.offset(0, 0.085), right]))
        crown = np.concatenate(
            [
                low,
                smooth_line(
                    np.stack(
                        [
                            right * 1.04 - middle * 0.04 + up,
                            middle + up * 1.08,
                            left * 1.04 - middle * 0.04 + up,
                        ]
                    )
                ),
            ]
        )
        body = self.add("hat", colour, crown, 0.41)
        up = up * 0.30
        high = smooth_line(np.stack([right + up, middle + globe.offset(0, 0.085) + up, left + up]))
        body.decals.append(Decal(np.concatenate([low, high]), lighter(colour, 0.7), line=True))

    def _crown(self, colour: Rgb) -> None:
        globe = self.globe
        gold: Rgb = (250, 198, 66)
        left, right = self._cone(globe.rx * 0.62, 62)
        middle, half = (left + right) / 2, globe.rx * 0.62
        angle = np.linspace(-90, 90, 41)
        spikes = 0.15 + 0.17 * np.abs(((angle + globe.yaw) / 36) % 1 - 0.5) * 2
        x, drop = np.sin(np.radians(angle)), np.cos(np.radians(angle))
        foot = np.stack([x * half, 0.09 * drop], 1)
        head = np.stack([x * half * 1.12, 0.09 * drop - spikes], 1)
        back = np.stack([x * half * 1.12, -0.09 * drop - 0.06 - spikes], 1)
        self.add("hat", darker(gold, 0.28), np.concatenate([foot, back[::-1]]) @ globe.tilt + middle, 0.395)
        ring = self.add("hat", gold, np.concatenate([foot, head[::-1]]) @ globe.tilt + middle, 0.40, cast=0.3)
        for lon, jewel in (
            (-72, "blue"),
            (-36, "green"),
            (0, "red"),
            (36, "blue"),
            (72, "green"),
            (144, "red"),
            (216, "red"),
        ):
            around = math.radians(lon + globe.yaw)
            if math.cos(around) > 0.2:
                spot = (
                    np.array([math.sin(around) * half * 1.03, 0.09 * math.cos(around) - 0.075]) @ globe.tilt
                    + middle
                )
                ring.decals.append(
                    Decal(ellipse(spot, 0.042 * math.cos(around), 0.042), COLOURS[jewel].rgb, line=True)
                )

    def _bow(self, colour: Rgb) -> None:
        globe = self.globe
        spot, z = globe.pin(38, 58, 1.12)
        width = 0.6 + 0.4 * abs(globe.facing)
        loops = []
        for side in (1, -1):
            points = np.array(
                [[0, 0], [0.12, -0.14], [0.27, -0.15], [0.30, 0.02], [0.25, 0.14], [0.11, 0.10]]
            )
            loops.append(
                smooth(points * (side * width, 1)) @ globe.tilt @ turn_by(16 * self.globe.facing) + spot
            )
        depth = 0.42 if z > -0.4 else -0.02
        piece = self.add("hat", colour, loops, depth, cast=0.25)
        for side in (1, -1):
            crease = np.array([[0.05, 0.0], [0.17, -0.015]]) * (side * width, 1) @ globe.tilt + spot
            piece.decals.append(
                Decal(tube(crease, np.array([0.018, 0.005])), darker(colour, 0.25), line=True)
            )
        self.add(
            "hat",
            darker(colour, 0.12),
            ellipse(spot, 0.07 * width, 0.075, globe.roll),
            depth + 0.01,
            outline=0.8,
        )
