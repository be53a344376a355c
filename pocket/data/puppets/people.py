"""The heads of people: skin, hair, beards."""

from __future__ import annotations

import functools
import math

import numpy as np

from pocket.data.puppets.faces import BEHIND_ALL, HEAD
from pocket.data.puppets.globe import Globe
from pocket.data.puppets.hats import CAPS, HatDrawer
from pocket.data.puppets.raster import Decal, Piece, darker, lighter, mix
from pocket.data.puppets.shapes import ellipse, smooth, smooth_line, tube
from pocket.data.puppets.words import HAIR_COLOURS, Rgb

HAIRLINES: dict[str, list[tuple[float, float]]] = {
    # from the forehead (0) round the ear (90) to the nape (180)
    "short": [(0, 27), (30, 24), (48, 19), (60, 6), (70, -8), (80, -12), (86, 2), (102, 3), (114, -22), (150, -36), (180, -38)],
    "tousled": [(0, 25), (30, 23), (50, 17), (62, 2), (72, -12), (82, -14), (88, 0), (102, 0), (114, -24), (150, -38), (180, -40)],
    "side_part": [(0, 36), (30, 33), (48, 27), (60, 12), (70, -6), (80, -10), (86, 2), (102, 3), (114, -20), (150, -32), (180, -34)],
    "curly": [(0, 26), (30, 22), (48, 15), (60, -4), (72, -20), (90, -26), (114, -32), (150, -40), (180, -42)],
    "bob": [(0, 21), (32, 19), (46, 14), (58, 0), (66, -22), (74, -48), (84, -55), (120, -58), (180, -58)],
    "long": [(0, 31), (26, 26), (44, 16), (56, -4), (66, -26), (74, -48), (86, -58), (120, -60), (180, -60)],
    "tied": [(0, 33), (26, 28), (44, 18), (58, 2), (70, -10), (80, -13), (88, 0), (102, 2), (114, -18), (150, -36), (180, -40)],
    "bald": [(0, 86), (40, 84), (70, 40), (82, 8), (88, 6), (102, 4), (112, -16), (150, -30), (180, -32)],
}  # fmt: skip


@functools.cache
def _hairline(style: str) -> tuple[np.ndarray, np.ndarray]:
    """Longitudes and latitudes of where the hair ends, round the whole head, with its fringe."""
    anchors = np.array(HAIRLINES.get(style, HAIRLINES["tied"]))
    lon = np.arange(-180.0, 180.0, 4.0)
    lat = np.interp(np.abs(lon), anchors[:, 0], anchors[:, 1])
    for _ in range(2):
        lat = (np.roll(lat, 1) + 2 * lat + np.roll(lat, -1)) / 4
    fringe = np.clip(1 - np.abs(lon) / 58, 0, 1) ** 0.4
    if style == "short":
        lat += fringe * (7 * _saw(lon / 19 + 0.2) - 2)
    elif style == "tousled":
        lat += fringe * (11 * _saw(lon / 15) - 3)
    elif style == "bob":
        lat += fringe * 2.6 * np.abs(np.sin(np.radians(lon * 7.5)))
    elif style == "curly":
        lat += 4.5 * np.abs(np.sin(np.radians(lon * 6))) - 2
    elif style in ("long", "side_part", "bun"):  # swept from a parting on its right
        lat += (
            np.exp(-(((lon + 24) / 15) ** 2)) * (20 if style != "bun" else 16)
            - np.exp(-(((lon - 22) / 20) ** 2)) * 4
        )
    elif style in ("pigtails", "braids"):
        lat += np.exp(-((lon / 16) ** 2)) * 20
    elif style == "ponytail":
        lat += fringe * (8 * _saw(lon / 34 + 0.35) - 6)
    return lon, lat


def _saw(x: np.ndarray) -> np.ndarray:
    """0..1 and back, rounded at the top."""
    return np.abs((x % 1) - 0.5) * 2


@functools.cache
def _ripples(style: str, hat: bool) -> np.ndarray:
    """How the hair's outer rim leaves the round, from the right side over the crown to the left."""
    at = np.linspace(-60, 240, 151)
    top = np.clip(np.sin(np.radians(at)), 0, 1)
    if hat:
        return np.zeros(151) - 0.02 * top
    if style == "curly":
        return 0.075 * np.abs(np.sin(np.radians(at * 5.3))) + 0.02
    if style == "tousled":
        return 0.085 * (1 - _saw(at / 27 + 0.1)) * (0.3 + 0.7 * top) + 0.02 * top
    if style == "short":
        return 0.035 * (1 - _saw(at / 40 + 0.6)) * top + 0.015 * top
    if style in ("long", "side_part"):
        return 0.03 * np.exp(-(((at - 60) / 40) ** 2)) * top
    return 0.0 * at


class PersonHead(HatDrawer):
    def pieces(self) -> list[Piece]:
        puppet = self.puppet
        self.hair = HAIR_COLOURS[puppet.hair_colour].rgb if puppet.hair_colour else (120, 96, 84)
        self._head()
        self._ears()
        if puppet.hair:
            self._hair()
        self.glasses()
        self.hat()
        return self.out

    def _head(self) -> None:
        globe, skin = self.globe, self.skin
        shapes = [globe.outline()]
        if abs(globe.aside) > 0.25 and globe.facing > -0.35:
            tip, _ = globe.pin(0, self.face.nose_lat, 1.0)
            shapes.append(ellipse(tip, 0.058 + 0.012 * abs(globe.aside), 0.052, globe.roll))
        decals = self.cheeks()
        beard = self.puppet.beard
        if beard in ("short", "long"):
            decals += self._stubble()
        decals += self._nose() + self.mouth() + self.eyes() + self.brows(darker(self.hair, 0.25))
        if self.puppet.age == "elder" and globe.facing > 0.2:
            for side in (1, -1):
                fold = globe.stroke(side * np.array([20.0, 24, 25]), np.array([-17.0, -24, -31]), 0.008)
                if fold is not None:
                    decals.append(Decal(fold, darker(skin, 0.22), line=True))
        self.add("head", skin, shapes, 0.10, decals=decals, cast=0.28)
        if beard in ("long", "moustache"):
            self._beard(beard)

    def _nose(self) -> list[Decal]:
        if self.globe.faces(0, self.face.nose_lat) < 0.2:
            return []
        size = 3.2 if self.puppet.age == "child" else 4.2
        return [
            Decal(
                self.globe.spot(0, self.face.nose_lat, size, size * 0.72), mix(self.skin, (226, 96, 84), 0.42), "nose",
                line=True,
            )
        ]  # fmt: skip

    def _stubble(self) -> list[Decal]:
        lon = np.array([-84, -70, -52, -34, -16, 0, 16, 34, 52, 70, 84.0])
        top = np.array([8, -12, -20, -22, -24, -25, -24, -22, -20, -12, 8.0])
        edge = self.globe.at(lon, top)
        low = self.globe.at(lon[::-1], np.full(11, -88.0) + np.abs(lon[::-1]) * 0.3, 1.02)
        if self.globe.facing < -0.3:
            return []
        return [Decal(np.concatenate([edge, low]), self.hair, "beard", line=True)]

    def _beard(self, kind: str) -> None:
        globe = self.globe
        if globe.facing < -0.3:
            return
        if kind == "moustache":
            lon = np.array([0, 9, 19, 25, 17, 8, 0, -8, -17, -25, -19, -9.0])
            lat = np.array([-23, -21, -25, -24, -31, -31, -28, -31, -31, -24, -25, -21.0])
            self.add("beard", self.hair, smooth(globe.at(lon, lat, 1.03)), 0.16, outline=0.7)
            return
        lon = np.array([-74, -56, -34, -14, 0, 14, 34, 56, 74.0])
        edge = globe.at(lon, np.array([2, -17, -24, -22, -25, -22, -24, -17, 2.0]), 1.02)
        chin = globe.centre + globe.offset(0.10 * globe.aside, globe.ry)
        hang = np.array(
            [
                [0.50, -0.28],
                [0.40, 0.10],
                [0.22, 0.32],
                [0.0, 0.44],
                [-0.22, 0.32],
                [-0.40, 0.10],
                [-0.50, -0.28],
            ]
        )
        wide = 0.62 + 0.38 * globe.facing
        outline = np.concatenate([edge, chin + hang * (wide, 1) @ globe.tilt])
        piece = self.add("beard", self.hair, smooth(outline, 4), 0.15, cast=0.3)
        for x in (-0.2, 0.0, 0.2):
            line = (
                chin
                + np.array([[x * wide * 1.1, -0.02], [x * wide, 0.14], [x * wide * 0.7, 0.28]]) @ globe.tilt
            )
            piece.decals.append(Decal(tube(smooth_line(line), 0.009), darker(self.hair, 0.2), line=True))
        piece.decals += self.mouth()

    def _ears(self) -> None:
        if self.puppet.hair in ("bob", "long", "curly"):
            return
        for side in (1, -1):
            spot, z = self.globe.pin(side * 94, -9, 0.99)
            wide = 0.085 + 0.03 * abs(self.globe.aside)
            near = z > 0.2
            if z < -0.75:
                continue
            inner = ellipse(spot + self.globe.offset(0, 0.01), wide * 0.5, 0.065, self.globe.roll)
            self.add(
                "ear", self.skin, ellipse(spot, wide, 0.115, self.globe.roll), 0.26 if near else -0.01,
                decals=[Decal(inner, mix(self.skin, (200, 80, 70), 0.3), line=True)] if self.globe.facing > -0.3 else [],
            )  # fmt: skip

    # ------------------------------------------------------------------ hair

    def _hair(self) -> None:
        globe, style, colour = self.globe, self.puppet.hair, self.hair
        hatted = self.puppet.hat is not None and self.puppet.hat.kind in CAPS
        self._hair_behind(style, colour)
        lon, lat = _hairline(style)
        if style == "bald":
            if not self.puppet.hair_colour:
                return
            self._fringe_of_the_bald(lon, lat)
            return
        k = {"curly": 1.10, "bob": 1.10, "long": 1.09}.get(style, 1.07)
        cap = globe.region(lon, lat, k, 0.05, _ripples(style, hatted))
        piece = self.add("hair", colour, cap, 0.20, cast=0.35)
        piece.decals += self._strands(style, colour, k)

    def _fringe_of_the_bald(self, lon: np.ndarray, lat: np.ndarray) -> None:
        globe = self.globe
        for side in (1, -1):
            span = np.linspace(74, 178, 16) * side
            upper = np.interp(np.abs(span), (74, 84, 100, 178), (-6, 12, 20, 8))
            under = np.interp(np.abs(span), np.abs(lon[lon >= 0]), lat[lon >= 0]) - 6
            if globe.faces(side * 122.0, 10) < -0.2:
                continue
            edge = [
                globe.at(span, np.minimum(under, upper - 5), 1.06),
                globe.at(span[::-1], upper[::-1], 1.09),
            ]
            shape = smooth(np.concatenate(edge)[::2], 3)
            self.add("hair", self.hair, shape, 0.20)

    def _strands(self, style: str, colour: Rgb, k: float) -> list[Decal]:
        """Light on the crown, and a few lines along the hair."""
        globe, out = self.globe, []
        if style != "curly" and self.puppet.look != "cutout":
            for start, end, lat, wide in ((-58.0, -12.0, 47.0, 5.5), (-3.0, 6.0, 52.0, 4.0)):
                span = np.linspace(start, end, 11)
                thick = wide * np.sin(np.linspace(0.12, math.pi - 0.12, 11)) ** 0.6
                rise = lat + 0.10 * (span + 30)
                shine = np.concatenate(
                    [
                        globe.at(span - globe.yaw, rise + thick, k),
                        globe.at(span[::-1] - globe.yaw, (rise - thick)[::-1], k),
                    ]
                )
                strong = 0.34 if self.puppet.look == "soft_3d" else 0.55
                out.append(Decal(shine, lighter(colour, 0.40), opacity=strong))
        part = -24.0 if style in ("long", "side_part", "bun") else 0.0
        lines = {"curly": (), "bob": (-30, 8, 34, 130, 180, 230), "pigtails": (-40, 40, 130, 180, 230)}.get(
            style, (-40, 18, 44, 130, 165, 200, 235)
        )
        for lon in lines:
            back = 90 < lon % 360 < 270
            low = -30.0 if back else 34.0
            at = np.linspace(part if not back else 180 + (lon - 180) * 0.3, lon, 7)
            line = globe.stroke(at, np.linspace(76 if back else 66, low, 7), np.linspace(0.003, 0.011, 7), k)
            if line is not None and globe.faces(lon, low) > 0.15:
                out.append(Decal(line, darker(colour, 0.22), line=True, opacity=0.8))
        if style == "curly":
            for i, (lon, lat) in enumerate(CURLS):
                if globe.faces(lon, lat) > 0.25:
                    turn = np.linspace(0, 4.4, 9) + i
                    line = globe.stroke(lon + 8 * np.cos(turn), lat + 7 * np.sin(turn), 0.010, k)
                    if line is not None:
                        out.append(Decal(line, darker(colour, 0.22), line=True))
        return out

    def _hair_behind(self, style: str, colour: Rgb) -> None:
        if style in ("bob", "long"):
            self._curtain(0.52 if style == "bob" else 1.12, style)
        elif style == "curly":
            at = np.linspace(0, 2 * math.pi, 96, endpoint=False)
            r = 1.16 + 0.07 * np.abs(np.sin(at * 8))
            x, y = np.cos(at) * r * self.globe.rx, np.sin(at) * r * self.globe.ry
            shape = (
                np.stack([x, np.minimum(y, 0.72 * self.globe.ry)], 1) @ self.globe.tilt + self.globe.centre
            )
            back = self.globe.offset(-0.10 * self.globe.aside, 0)
            self.add("hair", darker(colour, 0.10), shape + back, -0.05)
        elif style == "ponytail":
            self._ponytail(colour)
        elif style in ("pigtails", "braids"):
            self._pigtails(style, colour)
        elif style == "bun":
            spot, z = self.globe.pin(180, 58, 1.20)
            bun = self.add(
                "hair",
                colour,
                ellipse(spot, 0.23, 0.21, self.globe.roll),
                0.26 if z > 0.05 else -0.03,
                cast=0.2,
            )
            turn = np.linspace(0.4, 4.2, 10)
            bun.decals.append(
                Decal(
                    tube(np.stack([np.cos(turn) * 0.12, np.sin(turn) * 0.11], 1) + spot, 0.011),
                    darker(colour, 0.22),
                    line=True,
                )
            )

    def _back_depth(self, z: float) -> float:
        """Where hair that hangs at the back belongs among the layers."""
        return BEHIND_ALL - HEAD if z < -0.35 else -1.04 if z < 0.35 else -0.02

    def _curtain(self, length: float, style: str) -> None:
        globe = self.globe
        around = np.radians(np.arange(82, 279, 6) + globe.yaw)
        x = np.sin(around)
        low, high = float(x.min()), float(x.max())
        w = globe.rx * 1.08
        flare = 1.10 if style == "long" else 1.06
        drop = globe.ry * 0.35 + length
        points = [(low * w, -0.18), (low * w * 1.03, 0.18), (low * w * flare, drop * 0.72)]
        n = 7
        for i in range(n):
            t = i / (n - 1)
            points.append(
                (
                    (low + (high - low) * t) * w * flare * 0.94,
                    drop + (0.05 if i % 2 else -0.02) * (2.0 if style == "long" else 1.0),
                )
            )
        points += [
            (high * w * flare, drop * 0.72),
            (high * w * 1.03, 0.18),
            (high * w, -0.18),
            ((low + high) / 2 * w, -0.40),
        ]
        shape = smooth(np.array(points), 4) @ _half(globe) + globe.centre
        depth = self._back_depth(-globe.facing * 0.9)
        colour = darker(self.hair, 0.14) if globe.facing > 0.35 else self.hair
        piece = self.add("hair", colour, shape, depth, cast=0.25)
        for t in np.linspace(0.18, 0.82, 4):
            x0 = (low + (high - low) * t) * w
            line = (
                smooth_line(np.array([(x0, 0.1), (x0 * 1.03, drop * 0.5), (x0 * flare, drop * 0.86)]))
                @ _half(globe)
                + globe.centre
            )
            piece.decals.append(Decal(tube(line, 0.011), darker(self.hair, 0.26), line=True, opacity=0.8))

    def _ponytail(self, colour: Rgb) -> None:
        globe = self.globe
        root, z = globe.pin(168, 8 if self.puppet.hat and self.puppet.hat.kind in CAPS else 40, 1.06)
        away = globe.pin(150, 0, 1.0)[0] - globe.centre
        out = away / globe.rx
        steps = np.array([[0.0, 0.0], [0.20, -0.10], [0.42, 0.08], [0.46, 0.42], [0.36, 0.80]])
        line = smooth_line(
            root + np.stack([steps[:, 0] * (0.55 * out[0] + 0.35 * globe.facing), steps[:, 1]], 1), 4
        )
        radii = np.interp(np.linspace(0, 1, len(line)), (0, 0.25, 0.6, 1), (0.07, 0.15, 0.16, 0.02))
        depth = 0.27 if z > -0.1 else -0.04
        piece = self.add("hair", colour, tube(line, radii), depth, cast=0.25)
        piece.decals.append(
            Decal(tube(line[3:-2] + np.array((0.02, 0)), 0.010), darker(colour, 0.22), line=True)
        )
        self.add(
            "hair",
            (232, 92, 104),
            ellipse(root + (line[2] - root) * 0.3, 0.075, 0.085, globe.roll),
            depth + 0.01,
            outline=0.7,
        )

    def _pigtails(self, style: str, colour: Rgb) -> None:
        globe = self.globe
        for side in (1, -1):
            root, z = globe.pin(side * 104, -2 if style == "pigtails" else -22, 1.06)
            out = globe.pin(side * 96, 0, 1.0)[0][0] - globe.centre[0]
            out = out / globe.rx
            if style == "pigtails":
                steps = np.array([[0, 0], [0.15, 0.0], [0.27, 0.18], [0.28, 0.42], [0.18, 0.62]])
                radii_at = (0.055, 0.13, 0.155, 0.02)
            else:
                steps = np.array([[0, 0], [0.03, 0.14], [0.05, 0.34], [0.05, 0.54], [0.03, 0.72]])
                radii_at = (0.09, 0.10, 0.085, 0.06)
            if z < -0.72:
                continue
            line = smooth_line(
                root + np.stack([steps[:, 0] * out - 0.03 * globe.aside * steps[:, 1], steps[:, 1]], 1), 4
            )
            radii = np.interp(np.linspace(0, 1, len(line)), (0, 0.3, 0.65, 1), radii_at)
            depth = 0.27 if z > 0.1 else -0.04 if z > -0.5 else -1.04
            if style == "pigtails":
                piece = self.add("hair", colour, tube(line, radii), depth, cast=0.22)
                piece.decals.append(Decal(tube(line[4:-2], 0.009), darker(colour, 0.22), line=True))
                tie = root + (line[3] - root) * 0.35
            else:
                for i, at in enumerate(np.linspace(0.02, 0.84, 5)):
                    spot = line[round(at * (len(line) - 1))]
                    bead = ellipse(spot, 0.105 - 0.008 * i, 0.085, math.radians(24 if i % 2 else -24))
                    self.add(
                        "hair", colour if i % 2 else lighter(colour, 0.03), bead, depth + 0.001 * i, cast=0.12
                    )
                end = line[-3:]
                self.add(
                    "hair",
                    colour,
                    tube(np.concatenate([end, end[-1:] + np.array((0, 0.1))]), (0.05, 0.06, 0.05, 0.01)),
                    depth - 0.001,
                )
                tie = line[-3]
            self.add("hair", (238, 98, 112), ellipse(tie, 0.07, 0.06), depth + 0.02, outline=0.7)


CURLS = [
    (lon + (18 if lat % 40 else 0), lat)
    for lat in (20, 40, 60, 0, -20)
    for lon in range(-180, 180, 36)
    if lat > 30 or abs(lon) > 60
]


def _half(globe: Globe) -> np.ndarray:
    """Hair that hangs follows half of the head's tilt."""
    angle = globe.roll * 0.5
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
