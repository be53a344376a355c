"""The features of a face, and where each kind has them; what people and animals share."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pocket.data.puppets.globe import Globe, Shape
from pocket.data.puppets.identity import Puppet
from pocket.data.puppets.poses import Pose
from pocket.data.puppets.raster import WHITE, Decal, Piece, darker, mix
from pocket.data.puppets.shapes import Points, tube
from pocket.data.puppets.words import FURS, SKINS, Rgb

INK: Rgb = (56, 38, 48)
MOUTH_INSIDE: Rgb = (138, 44, 58)
TONGUE: Rgb = (238, 124, 122)
BEHIND_ALL, HEAD = -2.5, 2.0


class Face(NamedTuple):
    """Where a kind's features are, in degrees, and its muzzle, in units of the head's half width."""

    eye_lon: float = 25.0
    eye_lat: float = -7.0
    mouth_lat: float = -33.0
    mouth_k: float = 1.0
    mouth_scale: float = 1.0
    nose_lat: float = -17.0
    nose_k: float = 1.0
    nose: tuple[float, float] = (0.0, 0.0)
    nose_colour: Rgb = INK
    muzzle: tuple[float, float, float, float, float] | None = None
    """Its root's place along the line of sight and half sizes, its tip's place and radius."""
    muzzle_lat: float = -25.0
    ear: str = ""
    ear_at: tuple[float, float] = (40.0, 48.0)
    ear_size: tuple[float, float] = (0.4, 0.2)
    """Length and half width."""
    shape: Shape = Shape()
    tufts: bool = False


BEAST_SHAPE = Shape(full=0.80, jaw=0.08, cheek=0.09)
FACES: dict[str, Face] = {
    "human": Face(),
    "fox": Face(
        28, 0, -37, 1.10, 0.85, -22, 1.30, (0.075, 0.058), INK, (0.82, 0.26, 0.135, 1.24, 0.10), -28,
        "pointed", (56, 44), (0.48, 0.215), Shape(0.84, 0.20, 0.13), True,
    ),
    "wolf": Face(
        27, 1, -38, 1.10, 0.9, -21, 1.28, (0.085, 0.064), INK, (0.82, 0.27, 0.145, 1.20, 0.12), -28,
        "pointed", (56, 46), (0.42, 0.19), Shape(0.82, 0.16, 0.12), True,
    ),
    "cat": Face(
        28, -4, -31, 1.0, 0.8, -19, 1.06, (0.048, 0.034), (238, 130, 140), (0.90, 0.21, 0.125, 1.0, 0.10), -26,
        "pointed", (58, 44), (0.38, 0.205), Shape(0.78, 0.10, 0.12),
    ),
    "dog": Face(
        25, -2, -37, 1.08, 1.0, -15, 1.16, (0.105, 0.078), INK, (0.84, 0.30, 0.22, 1.08, 0.17), -25,
        "floppy", (58, 40), (0.60, 0.17), BEAST_SHAPE,
    ),
    "rabbit": Face(
        27, -5, -30, 1.0, 0.75, -19, 1.05, (0.045, 0.032), (240, 140, 152), (0.92, 0.20, 0.125, 1.0, 0.1), -25,
        "long", (34, 56), (0.74, 0.13), Shape(0.80, 0.06, 0.08),
    ),
    "bear": Face(
        26, -2, -35, 1.06, 0.95, -16, 1.12, (0.09, 0.064), INK, (0.86, 0.28, 0.215, 1.06, 0.16), -25,
        "round", (48, 44), (0.30, 0.20), BEAST_SHAPE,
    ),
    "tiger": Face(
        27, -3, -35, 1.03, 0.95, -18, 1.10, (0.078, 0.052), (222, 120, 112), (0.88, 0.28, 0.17, 1.02, 0.14), -27,
        "round", (46, 46), (0.27, 0.18), Shape(0.78, 0.08, 0.11),
    ),
    "lion": Face(
        26, -3, -36, 1.03, 0.95, -17, 1.12, (0.085, 0.06), (150, 90, 70), (0.86, 0.29, 0.19, 1.05, 0.15), -26,
        "round", (50, 46), (0.26, 0.17), BEAST_SHAPE,
    ),
    "panda": Face(
        27, -5, -34, 1.02, 0.85, -19, 1.08, (0.07, 0.048), INK, (0.88, 0.24, 0.165, 1.02, 0.13), -26,
        "round", (47, 45), (0.28, 0.19), BEAST_SHAPE,
    ),
    "mouse": Face(
        27, -1, -40, 1.08, 0.7, -25, 1.28, (0.06, 0.05), (240, 140, 150), (0.84, 0.21, 0.125, 1.20, 0.08), -30,
        "round", (52, 40), (0.52, 0.34), Shape(0.84, 0.18, 0.08),
    ),
    "raccoon": Face(
        28, -1, -36, 1.10, 0.8, -21, 1.24, (0.072, 0.054), INK, (0.84, 0.23, 0.13, 1.17, 0.10), -28,
        "pointed", (60, 40), (0.30, 0.17), Shape(0.80, 0.14, 0.15), True,
    ),
    "koala": Face(
        28, -2, -38, 1.0, 0.8, -14, 1.03, (0.10, 0.145), (74, 66, 78), None, -25,
        "round", (62, 26), (0.44, 0.31), Shape(0.78, 0.04, 0.08),
    ),
    "pig": Face(
        28, -1, -39, 1.0, 0.9, -16, 1.10, (0.0, 0.0), INK, (0.96, 0.20, 0.145, 1.06, 0.14), -15,
        "flap", (44, 46), (0.32, 0.17), BEAST_SHAPE,
    ),
    "sheep": Face(
        26, -5, -35, 1.04, 0.8, -20, 1.10, (0.05, 0.034), (220, 140, 140), (0.86, 0.23, 0.18, 1.05, 0.14), -26,
        "side", (84, 16), (0.36, 0.12), Shape(0.84, 0.10, 0.02),
    ),
}  # fmt: skip


class Coat(NamedTuple):
    """An animal's colours."""

    fur: Rgb
    pale: Rgb
    """Muzzle and belly."""
    dark: Rgb
    """Markings and tips."""
    inner: Rgb
    """Of the ears."""


def coat_of(puppet: Puppet) -> Coat:
    fur = FURS[puppet.fur].rgb
    kind = puppet.kind
    pale = mix(fur, (255, 250, 240), 0.72)
    dark = darker(fur, 0.62)
    inner = mix(fur, (250, 160, 160), 0.6)
    if kind in ("fox", "wolf", "raccoon"):
        dark = (74, 54, 62) if puppet.fur != "black" else (48, 42, 54)
        inner = mix(fur, (70, 40, 50), 0.45)
    elif kind == "tiger":
        dark = (64, 48, 54)
    elif kind == "panda":
        dark = (66, 62, 76)
    elif kind == "sheep":
        pale = (250, 222, 204) if puppet.fur != "black" else (120, 110, 120)
    elif kind in ("bear", "lion"):
        pale = mix(fur, (255, 236, 204), 0.55)
    elif kind == "pig":
        pale, dark = mix(fur, (236, 120, 146), 0.45), (196, 96, 120)
    if puppet.fur == "white" and kind != "panda":
        inner = (250, 186, 190)
    return Coat(fur, pale, dark, inner)


class FaceDrawer:
    """Collects the layers of a head; what is painted on its skin comes as decals."""

    def __init__(self, puppet: Puppet, pose: Pose, globe: Globe, face: Face) -> None:
        self.puppet, self.pose, self.globe, self.face = puppet, pose, globe, face
        self.plain = puppet.look in ("flat", "cutout")
        self.out: list[Piece] = []
        self.skin = SKINS[puppet.skin].rgb if puppet.human else FURS[puppet.fur].rgb
        # in profile the features move towards the viewer, or the eye would lie on the rim
        profile = abs(globe.aside) ** 6
        self.eye_lon = face.eye_lon + ((48 if face.muzzle is None else 60) - face.eye_lon) * profile
        self.eye_lat = face.eye_lat + (0 if face.muzzle is None else 5) * profile
        snout = face.muzzle is not None and face.muzzle[3] > 1.15
        self.mouth_lat = face.mouth_lat + (10 if snout else 0 if face.muzzle is None else 4) * globe.aside**2
        self.middle = -math.copysign(1.0, globe.aside) * profile
        """Where the face's middle has moved, as a share."""

    def add(self, part: str, colour: Rgb, shapes: object, depth: float, **more: object) -> Piece:
        listed = shapes if isinstance(shapes, list) else [shapes]
        piece = Piece(part, colour, [s for s in listed if s is not None], HEAD + depth, **more)  # type: ignore[arg-type]
        if piece.shapes:
            self.out.append(piece)
        return piece

    # ------------------------------------------------------------------ face

    def eyes(self) -> list[Decal]:
        out: list[Decal] = []
        for side in (1, -1):
            if self.globe.faces(side * self.eye_lon, self.eye_lat) > 0.12:
                out += self._eye(side)
        return out

    def _eye(self, side: int) -> list[Decal]:
        globe, expression = self.globe, self.pose.expression
        lon, lat = side * self.eye_lon, self.eye_lat
        ink = INK if sum(self.skin) > 330 else (34, 24, 30)
        thick = 0.019
        u = np.linspace(-1, 1, 9)
        if expression == "happy" and self.puppet.look != "cutout":
            arc = globe.stroke(lon + 7.5 * u, lat - 2.5 + 7 * (1 - u * u), thick * 1.15)
            return [Decal(arc, ink, "eye", solid=True)] if arc is not None else []
        if expression == "sleepy":
            arc = globe.stroke(lon + 7.5 * u, lat - 1 - 4.5 * (1 - u * u), thick * 1.1)
            return [Decal(arc, ink, "eye", solid=True)] if arc is not None else []
        out = []
        w, h = (6.4, 8.8) if self.puppet.age == "child" or not self.puppet.human else (5.4, 7.2)
        on_dark = sum(self.skin) < 300 or self.puppet.kind == "panda" or (self.puppet.kind == "raccoon")
        if expression == "surprised":
            out.append(Decal(globe.spot(lon, lat, w * 1.55, h * 1.4), WHITE, "eye", line=True))
            w, h = w * 0.8, h * 0.75
        elif on_dark:
            out.append(Decal(globe.spot(lon, lat, w * 1.35, h * 1.22), WHITE, "eye", line=True))
        out.append(Decal(globe.spot(lon, lat, w, h), ink, "eye", solid=True))
        if self.puppet.look in ("soft_3d", "clip_art"):
            out.append(
                Decal(globe.spot(lon, lat - h * 0.34, w * 0.66, h * 0.46), (124, 78, 62), opacity=0.75)
            )
        if self.puppet.look != "cutout":
            out.append(Decal(globe.spot(lon - 1.9, lat + h * 0.38, w * 0.36, h * 0.31), WHITE))
            if self.puppet.look != "flat":
                out.append(Decal(globe.spot(lon + 2.2, lat - h * 0.36, w * 0.17, h * 0.15), WHITE))
        if self.puppet.sex == "female" and expression in ("neutral", "happy"):
            for k in (0.62, 0.98):
                lash = globe.stroke(
                    lon + side * np.array([w * 0.7, w * 1.45]),
                    lat + h * k * np.array([0.75, 1.12]),
                    np.array([0.013, 0.006]),
                )
                if lash is not None:
                    out.append(Decal(lash, ink, "eye", solid=True))
        if expression in ("sad", "angry"):  # a lid cuts the eye aslant
            inner, outer = (1.15, 0.35) if expression == "sad" else (0.3, 1.15)
            lid = globe.at(
                lon + side * w * np.array([-1.5, 1.5, 1.5, -1.5]), lat + h * np.array([inner, outer, 2, 2])
            )
            out.append(Decal(lid, self.lid_colour()))
        return out

    def lid_colour(self) -> Rgb:
        return self.skin

    def brows(self, colour: Rgb) -> list[Decal]:
        out = []
        lift, slant = {
            "neutral": (0, 0), "happy": (2, 0), "sad": (2, -6), "angry": (-4, 7), "surprised": (6, 0), "sleepy": (0, -2),
        }[self.pose.expression]  # fmt: skip
        u = np.linspace(-1, 1, 7)
        for side in (1, -1):
            lon, lat = side * self.eye_lon, self.eye_lat + 17 + lift
            if self.globe.faces(lon, lat) < 0.1:
                continue
            arc = self.globe.stroke(
                lon + side * 7.5 * u,
                lat + 2.2 * (1 - u * u) + slant * u * 0.8,
                np.interp(u, (-1, 0, 1), (0.02, 0.021, 0.011)),
            )
            if arc is not None:
                out.append(Decal(arc, colour, "brow", solid=True))
        return out

    def cheeks(self) -> list[Decal]:
        colour = mix(self.skin, (246, 92, 96), 0.5)
        opacity = 0.3 if self.puppet.look == "cutout" else 0.45
        rings = (1.0, 0.78, 0.55) if self.puppet.look == "soft_3d" else (1.0,)
        out = []
        for side in (1, -1):
            lon, lat = side * (self.eye_lon + 17 - 6 * abs(self.middle)), self.face.mouth_lat + 11
            if self.globe.faces(lon, lat) > 0.1:
                out += [
                    Decal(
                        self.globe.spot(lon, lat, 9.5 * r, 6.5 * r),
                        colour,
                        opacity=opacity / (1.4 if len(rings) > 1 else 1),
                    )
                    for r in rings
                ]
        return out

    def mouth(self) -> list[Decal]:
        globe, face = self.globe, self.face
        k, s, lat = face.mouth_k, face.mouth_scale, self.mouth_lat
        x = self.middle * (33 if self.puppet.human else 20)
        if globe.pin(x, lat, k)[1] < 0.02:
            return []
        shape = self.pose.mouth
        mood = self.pose.expression
        if shape == "rest":
            shape = {
                "happy": "smile",
                "surprised": "O",
                "sad": "frown",
                "angry": "frown",
                "sleepy": "sigh",
            }.get(mood, "line")  # type: ignore[assignment]
        s *= 1 + 0.5 * abs(self.middle)
        u = np.linspace(-1, 1, 11)
        bow = 1 - u * u

        def line(width: float, rise: float, drop: float = 0.0, thick: float = 0.017) -> list[Decal]:
            arc = globe.stroke(
                x + width * s * u, lat + s * (drop - rise * (1 - 0.5 * abs(self.middle)) * bow), thick, k
            )
            return [Decal(arc, self.lip(), "mouth", solid=True)] if arc is not None else []

        def hole(
            width: float, above: float, below: float, teeth: bool = False, tongue: bool = True
        ) -> list[Decal]:
            lon = x + np.concatenate([u, u[::-1]]) * width * s
            v = np.concatenate([above * bow**0.7, (-below * bow**0.6)[::-1]]) * s
            shape = globe.at(lon, lat + v, k)
            out = [Decal(shape, MOUTH_INSIDE, "mouth", solid=True)]
            if tongue and below * s > 4:
                inner = np.concatenate([-below * 0.48 + 0 * u, (-below * bow**0.6)[::-1]]) * s
                inner = np.minimum(inner, v)
                out.append(Decal(globe.at(lon, lat + inner + 0.6, k), TONGUE))
            if teeth:
                inner = (
                    np.concatenate([above * bow**0.7, above * bow[::-1] ** 0.7 - 2.6 * bow[::-1] ** 0.3]) * s
                )
                out.append(
                    Decal(globe.at(lon, lat + np.maximum(inner, np.concatenate([v[:11], v[11:]])), k), WHITE)
                )
            return out

        if shape == "smile":
            return hole(11.5, -0.4 + 1.2, 10.5, teeth=self.puppet.look in ("clip_art", "flat"))
        if shape == "A":
            return hole(9.5, 5, 15, teeth=True)
        if shape == "E":
            return hole(13.5, 2.5, 7, teeth=True, tongue=False)
        if shape == "O":
            return hole(6, 7.5, 9, tongue=False)
        if shape == "U":
            return hole(3.6, 4, 4.4, tongue=False)
        if shape == "FV":
            lip = globe.stroke(x + 8 * s * u, lat - 3.6 * s + 0 * u, 0.017, k)
            row = globe.at(
                x + 7.5 * s * np.array([-1, 1, 1, -1]), lat + s * np.array([1.5, 1.5, -2.4, -2.4]), k
            )
            out = [Decal(row, WHITE, "mouth", line=True), *line(8, -1.2, 0.8)]
            return out + (
                [Decal(lip, mix(self.skin, (206, 84, 84), 0.7), "mouth")] if lip is not None else []
            )
        if shape == "M":
            return line(8.5, -0.8, 0, 0.024)
        if shape == "frown":
            return line(7.5, -4.6, -3.5)
        if shape == "sigh":
            return line(4, 1.2)
        return line(7.5, 3.4, 1.2)

    def lip(self) -> Rgb:
        return mix(self.skin, (110, 30, 40), 0.8)

    # ------------------------------------------------------------------ glasses and hats

    def glasses(self) -> None:
        kind = self.puppet.glasses
        if not kind:
            return
        globe, lon, lat = self.globe, self.eye_lon, self.eye_lat
        sun = kind == "sun"
        w, h = (13.5, 14.0) if kind == "round" else (14.5, 11.0)
        angle = np.linspace(0, 2 * math.pi, 33)
        power = 1.0 if kind == "round" else 0.55
        cos, sin = (np.sign(f) * np.abs(f) ** power for f in (np.cos(angle), np.sin(angle)))
        colour: Rgb = {"round": (92, 62, 54), "square": (54, 60, 84), "sun": (46, 42, 54)}[kind]
        shapes: list[Points] = []
        lenses: list[Points] = []
        k = 1.07
        for side in (1, -1):
            if globe.pin(side * lon, lat, k)[1] < 0.05:
                continue
            rim = globe.at(side * lon + w * cos, lat + h * sin, k)
            shapes.append(tube(rim, 0.02, caps=0))
            lenses.append(rim)
            arm = globe.stroke(side * np.linspace(lon + w, 96, 8), np.linspace(lat + 3, lat + 4, 8), 0.016, k)
            if arm is not None:
                shapes.append(arm)
        if not shapes:
            return
        bridge = globe.stroke(
            np.linspace(-(lon - w), lon - w, 7), lat + 3 + np.array([0, 2, 3, 3.4, 3, 2, 0.0]), 0.018, k
        )
        if bridge is not None and globe.pin(0, lat, k)[1] > 0.1:
            shapes.append(bridge)
        if sun:
            lens = self.add("glasses", (70, 64, 82), lenses, 0.30, outline=0.6)
            for rim in lenses:
                middle = rim.mean(0)
                glare = (rim - middle) * (0.5, 0.3) + middle + globe.offset(-0.03, -0.035)
                lens.decals.append(Decal(glare, (150, 150, 176), opacity=0.6))
        self.add("glasses", colour, shapes, 0.31, shaded=False, outline=0.0, ink=True)
