"""The heads of animals: muzzles, ears, markings."""

from __future__ import annotations

import math

import numpy as np

from pocket.data.puppets.faces import INK, coat_of
from pocket.data.puppets.hats import CAPS, HatDrawer, turn_by
from pocket.data.puppets.people import CURLS
from pocket.data.puppets.raster import Decal, Piece, darker, lighter, mix
from pocket.data.puppets.shapes import Points, ellipse, hull, smooth, tube
from pocket.data.puppets.words import Rgb


class AnimalHead(HatDrawer):
    def pieces(self) -> list[Piece]:
        self.coat = coat_of(self.puppet)
        if self.puppet.kind == "lion":
            self._mane()
        self._head()
        if self.puppet.kind == "sheep":
            self._wool()
        self._ears()
        self._muzzle()
        self.glasses()
        self.hat()
        return self.out

    def lid_colour(self) -> Rgb:
        kind = self.puppet.kind
        if kind in ("panda", "raccoon"):
            return self.coat.dark
        return self.coat.pale if kind == "sheep" else self.coat.fur

    def lip(self) -> Rgb:
        return INK if self.puppet.kind != "pig" else (150, 60, 80)

    def _head(self) -> None:
        globe, coat, kind = self.globe, self.coat, self.puppet.kind
        shapes = [globe.outline()]
        if self.face.tufts:
            shapes += self._tufts()
        colour = coat.pale if kind == "sheep" else coat.fur
        decals = self._markings() + self.cheeks()
        if self.face.muzzle is None:
            decals += self._nose() + self.mouth()
        decals += self.eyes()
        if self.pose.expression in ("sad", "angry", "surprised"):
            decals += self.brows(darker(coat.dark, 0.2) if kind not in ("panda",) else coat.dark)
        self.add("head", colour, shapes, 0.10, decals=decals, cast=0.28)

    def _tufts(self) -> list[Points]:
        """Pointed cheeks."""
        out = []
        for side in (1, -1):
            tip, z = self.globe.pin(side * 88, -26, 1.26)
            if z < -0.6:
                continue
            up, down = self.globe.pin(side * 86, 4, 0.97)[0], self.globe.pin(side * 80, -58, 0.95)[0]
            inner = self.globe.centre + self.globe.offset(0, 0.1)
            low_tip, _ = self.globe.pin(side * 86, -42, 1.17)
            notch, _ = self.globe.pin(side * 86, -33, 1.07)
            out.append(np.stack([inner, up, tip, notch, low_tip, down]))
        return out

    def _patch(self, lon: list[float], lat: list[float], colour: Rgb, k: float = 1.0) -> list[Decal]:
        """The same marking on both sides, where it can be seen; beyond 75 degrees it stands off by `k`."""
        out = []
        off = np.where((np.abs(lon) > 75) | (np.array(lat) < -50), max(k, 1.12), 1.0)
        for side in (1, -1):
            if max(self.globe.faces(side * a, b) for a, b in zip(lon, lat, strict=True)) > 0.2:
                out.append(
                    Decal(
                        smooth(self.globe.at(side * np.array(lon), np.array(lat), off), 4), colour, line=True
                    )
                )
        return out

    def _markings(self) -> list[Decal]:
        coat, kind, globe = self.coat, self.puppet.kind, self.globe
        if kind in ("fox", "wolf"):
            pale = coat.pale
            return self._patch(
                [-14, 8, 26, 46, 66, 84, 80, 54, -20],
                [-16, -18, -27, -26, -18, -17, -52, -88, -88],
                pale,
                1.3,
            )
        if kind == "raccoon":
            out = self._patch(
                [-14, 26, 56, 78, 86, 80, 40, -20], [-14, 16, 13, -2, -50, -80, -88, -80], coat.pale, 1.3
            )
            return out + self._patch(
                [6, 20, 42, 70, 76, 54, 30, 12], [-6, 10, 12, -4, -20, -24, -20, -18], coat.dark
            )
        if kind == "panda":
            return self._patch([14, 30, 42, 44, 34, 20], [-8, 8, 2, -14, -24, -20], coat.dark)
        if kind == "tiger":
            out = self._patch([10, 26, 52, 66, 60, 30, 0], [-22, -20, -20, -30, -62, -86, -88], coat.pale)
            out += self._patch([16, 28, 40, 36, 24], [8, 13, 8, 2, 1], coat.pale)
            for lat, w in ((34, 9), (46, 13), (58, 16)):
                lon = np.array([-w, 0, w, w * 0.6, 0, -w * 0.6])
                if globe.faces(0, lat) > 0.1:
                    out.append(
                        Decal(
                            smooth(globe.at(lon, lat + np.array([3.5, 2, 3.5, -2, -4, -2.0])), 4),
                            coat.dark,
                            line=True,
                        )
                    )
            for lat in (-4, -20, -36):
                out += self._patch([96, 72, 54, 72], [lat + 6, lat + 3, lat - 2, lat - 3], coat.dark)
            for lat in (62, 40, 18, -6, -30):
                out += self._patch([180, 150, 118, 150], [lat + 4, lat + 5, lat + 2, lat - 3], coat.dark)
            return out
        if kind == "cat" and self.puppet.fur in ("orange", "grey"):
            out = []
            for lon, low in ((-13, 34), (0, 28), (13, 34)):
                line = globe.stroke(
                    np.full(5, float(lon)),
                    np.linspace(66, low, 5),
                    np.array([0.008, 0.022, 0.026, 0.022, 0.006]),
                )
                if line is not None and globe.faces(lon, 45) > 0.1:
                    out.append(Decal(line, darker(coat.fur, 0.30), line=True))
            for lat in (-14, -27):
                out += self._patch([92, 76, 62, 76], [lat + 4, lat + 3, lat, lat - 2], darker(coat.fur, 0.30))
            return out
        if kind == "dog" and self.puppet.fur in ("white", "cream"):
            spot = smooth(
                globe.at(np.array([12, 24, 42, 46, 34, 16.0]), np.array([-4, 14, 8, -12, -22, -18.0])), 4
            )
            return (
                [Decal(spot, mix(coat.fur, (150, 96, 62), 0.75), line=True)]
                if globe.faces(28, -4) > 0.05
                else []
            )
        if kind == "dog" and self.puppet.fur in ("brown", "black", "yellow"):
            return self._patch([0, 7, 9, 6, 0], [66, 40, 10, -8, -12], coat.pale)
        return []

    def _nose(self) -> list[Decal]:
        w, h = self.face.nose
        spot, z = self.globe.pin(0, self.face.nose_lat, self.face.nose_k)
        if not w or z < -0.3:
            return []
        wide = w * (0.55 + 0.45 * max(0.0, self.globe.facing))
        points = np.array(
            [[-1, -0.35], [-0.55, -0.95], [0.55, -0.95], [1, -0.35], [0.45, 0.65], [0, 1.0], [-0.45, 0.65]]
        )
        if self.puppet.kind == "koala":
            points = np.array(
                [[-0.8, -0.3], [-0.45, -0.95], [0.45, -0.95], [0.8, -0.3], [0.9, 0.5], [0, 1.0], [-0.9, 0.5]]
            )
        shape = smooth(points * (wide, h)) @ self.globe.tilt + spot
        glint = ellipse(spot + self.globe.offset(-wide * 0.3, -h * 0.5), wide * 0.3, h * 0.2)
        out = [Decal(shape, self.face.nose_colour, "nose", solid=True)]
        if self.puppet.look != "cutout":
            out.append(Decal(glint, lighter(self.face.nose_colour, 0.7)))
        return out

    def _muzzle(self) -> None:
        face, globe, coat = self.face, self.globe, self.coat
        if face.muzzle is None:
            return
        root, rx, ry, tip, radius = face.muzzle
        spot, _ = globe.pin(0, face.muzzle_lat, root)
        end, z = globe.pin(0, face.muzzle_lat + (3 if tip > 1.1 else 0), tip)
        scale = globe.rx / 0.6
        narrow = 0.62 + 0.38 * abs(globe.facing)
        base = ellipse(spot, rx * scale * narrow, ry * scale, globe.roll)
        front = ellipse(
            end, radius * scale * (0.8 + 0.2 * abs(globe.facing)), radius * scale * 0.92, globe.roll
        )
        facing = z > -0.25
        colour = coat.pale if self.puppet.kind != "mouse" else lighter(coat.fur, 0.25)
        piece = self.add(
            "face",
            colour,
            hull(base, front),
            0.15 if facing else -0.02,
            outline=0.0 if facing and globe.facing > 0.3 else 0.8,
        )
        if not facing:
            return
        fur_top = self.puppet.kind in ("fox", "wolf", "raccoon", "mouse") and abs(globe.aside) > 0.1
        if fur_top:
            ridge = hull(
                ellipse(
                    spot + globe.offset(0, -ry * scale * 0.75),
                    rx * scale * narrow * 0.9,
                    ry * scale * 0.5,
                    globe.roll,
                ),
                ellipse(end + globe.offset(0, -radius * 0.75), radius * 0.7, radius * 0.4, globe.roll),
            )
            piece.decals.append(Decal(ridge, coat.fur))
        if self.puppet.kind == "pig":
            for side in (1, -1):
                hole = end + globe.offset(side * 0.075 * narrow, 0.0)
                piece.decals.append(
                    Decal(ellipse(hole, 0.03 * narrow, 0.05, globe.roll), coat.dark, "nose", solid=True)
                )
            piece.outline = 1.0
            self._pig_mouth()
            return
        if self.puppet.kind in ("cat", "rabbit", "mouse", "tiger") and globe.facing > 0.25:
            self._whiskers(spot)
        # the mouth and nose may reach over the muzzle's edge
        mouth = self.mouth()
        if self.pose.mouth == "closed" or (
            self.pose.mouth == "rest" and self.pose.expression in ("neutral", "sleepy")
        ):
            mouth = self._w_mouth()
        piece.decals += mouth
        next(piece for piece in self.out if piece.part == "head").decals += mouth
        nose = self._nose()
        if nose:
            self.add("nose", nose[0].colour, nose[0].shape, 0.17, decals=nose[1:], outline=0.0, ink=True)

    def _pig_mouth(self) -> None:
        next(piece for piece in self.out if piece.part == "head").decals += self.mouth()

    def _w_mouth(self) -> list[Decal]:
        """The two bows under an animal's nose."""
        face, globe = self.face, self.globe
        top, x = face.nose_lat - 7, self.middle * 20
        u = np.linspace(-1, 1, 17)
        s = face.mouth_scale
        lat = self.mouth_lat + 2.5 - 4.2 * s * np.abs(np.sin(u * math.pi))
        out = []
        for line in (
            globe.stroke(x + 9 * s * u, lat, 0.014, face.mouth_k),
            globe.stroke(np.full(3, x * 0.5), np.linspace(top, self.mouth_lat + 2.5, 3), 0.013, face.mouth_k),
        ):
            if line is not None:
                out.append(Decal(line, INK, "mouth", solid=True))
        return out

    def _whiskers(self, spot: Points) -> None:
        shapes = []
        for side in (1, -1):
            for rise in (-0.05, 0.02, 0.09):
                start = spot + self.globe.offset(side * 0.20, rise * 0.4)
                shapes.append(
                    tube(
                        np.stack([start, start + self.globe.offset(side * 0.25, rise)]),
                        np.array([0.009, 0.004]),
                        2,
                    )
                )
        colour = (120, 100, 100) if sum(self.coat.fur) > 330 else (210, 204, 204)
        self.add("face", colour, shapes, 0.16, shaded=False, outline=0.0, ink=True)

    def _mane(self) -> None:
        globe = self.globe
        at = np.linspace(0, 2 * math.pi, 120, endpoint=False)
        r = 1.34 + 0.10 * np.abs(np.sin(at * 7))
        shape = (
            np.stack([np.cos(at) * r * globe.rx, np.sin(at) * r * globe.ry], 1) @ globe.tilt + globe.centre
        )
        shape = shape - globe.offset(0.14 * globe.aside, -0.02)
        mane: Rgb = mix(self.coat.fur, (140, 66, 26), 0.62)
        behind = globe.facing > -0.3
        piece = self.add("hair", mane, shape, 0.05 if behind else 0.24, cast=0.3)
        for angle in np.linspace(0, 2 * math.pi, 14, endpoint=False):
            ray = np.array([math.cos(angle), math.sin(angle)])
            line = np.stack([ray * (1.08 * globe.rx), ray * (1.24 * globe.rx)]) @ globe.tilt + shape.mean(0)
            piece.decals.append(Decal(tube(line, np.array([0.014, 0.004])), darker(mane, 0.25), line=True))

    def _wool(self) -> None:
        globe = self.globe
        lon = np.arange(-180.0, 180.0, 3.0)
        lat = np.interp(np.abs(lon), (0, 40, 66, 92, 130, 180), (30, 24, 4, -22, -46, -52)) + 5 * np.abs(
            np.sin(np.radians(lon * 5))
        )
        bump = 0.08 * np.abs(np.sin(np.radians(np.linspace(-60, 240, 151) * 5)))
        piece = self.add("hair", self.coat.fur, globe.region(lon, lat, 1.10, 0.06, bump), 0.20, cast=0.25)
        for i, (a, b) in enumerate(CURLS):
            if globe.faces(a, b) > 0.3 and (b > 34 or abs(a) > 80):
                turn = np.linspace(0, 3.6, 8) + i
                line = globe.stroke(a + 8 * np.cos(turn), b + 7 * np.sin(turn), 0.010, 1.1)
                if line is not None:
                    piece.decals.append(Decal(line, darker(self.coat.fur, 0.16), line=True))

    # ------------------------------------------------------------------ ears

    def _ears(self) -> None:
        hat = self.puppet.hat.kind if self.puppet.hat else ""
        over_hat = hat in CAPS and self.face.ear in ("pointed", "round", "long", "flap")
        for side in (1, -1):
            root, z = self.globe.pin(side * self.face.ear_at[0], self.face.ear_at[1], 0.90)
            depth = (
                0.12
                if z > 0.12 and self.face.ear in ("floppy", "flap", "side")
                else 0.22
                if z > 0.45
                else -0.02
            )
            if self.globe.facing < -0.2:
                depth = 0.23
            if self.face.ear in ("floppy", "side") and self.globe.facing >= -0.2:
                depth = 0.23 if z > -0.3 else -0.02
            if over_hat:
                depth = 0.45
            self._ear(side, root, depth)

    def _ear(self, side: int, root: Points, depth: float) -> None:
        """An ear's outline, with x outward, y up from its root, then turned outward and set on the head."""
        globe, coat, face = self.globe, self.coat, self.face
        length, half = face.ear_size
        out = globe.pin(side * 90, 0, 1.0)[0] - globe.centre
        outward = float(np.clip(out[0] / globe.rx, -1, 1))
        w = half * (0.74 + 0.26 * abs(globe.facing))
        shows_inside = globe.facing > -0.25
        kind = face.ear
        if kind != "side" and side * globe.aside > 0.3:  # the far ear shows a little before the near one
            root = root + globe.offset(0.10 * globe.aside, -0.01)
        if kind == "pointed":
            body = np.array(
                [[-1.05, -0.16], [-0.74, 0.40], [-0.10, 0.97], [0.10, 0.97], [0.80, 0.40], [1.05, -0.16]]
            )
            inner = np.array([[-0.55, 0.05], [-0.35, 0.42], [0.0, 0.76], [0.40, 0.42], [0.58, 0.05]])
            lean, n = 22, 3
        elif kind == "round":
            angle = np.linspace(0, 2 * math.pi, 18, endpoint=False)
            body = np.stack([np.cos(angle), 0.5 + 0.62 * np.sin(angle)], 1)
            inner = np.stack([np.cos(angle) * 0.60, 0.5 + 0.38 * np.sin(angle)], 1)
            lean, n = 40, 2
        elif kind == "long":
            body = np.array(
                [
                    [-0.75, -0.08],
                    [-1.0, 0.40],
                    [-0.7, 0.85],
                    [0, 1.0],
                    [0.7, 0.85],
                    [1.0, 0.40],
                    [0.75, -0.08],
                ]
            )
            inner = np.array(
                [[-0.35, 0.08], [-0.5, 0.42], [-0.3, 0.78], [0, 0.88], [0.3, 0.78], [0.5, 0.42], [0.35, 0.08]]
            )
            lean, n = 13, 4
        elif kind == "floppy":
            body = np.array(
                [
                    [-0.9, 0.06],
                    [0.2, 0.14],
                    [1.3, -0.16],
                    [1.75, -0.55],
                    [1.3, -0.95],
                    [0.5, -0.86],
                    [0.1, -0.5],
                    [-0.55, -0.24],
                ]
            )
            inner, lean, n = None, 0, 4
        elif kind == "flap":
            body = np.array(
                [[-1.0, -0.1], [-0.5, 0.62], [0.5, 0.86], [1.5, 0.62], [1.55, 0.28], [1.0, -0.05]]
            )
            inner = np.array([[-0.3, 0.12], [0.1, 0.5], [0.9, 0.62], [1.1, 0.35], [0.6, 0.1]])
            lean, n = 10, 4
        else:  # at the side, hanging a little
            body = np.array(
                [[0, 0.8], [0.35, 1.0], [0.8, 0.75], [1.05, -0.2], [0.8, -1.1], [0.3, -0.9], [0, -0.6]]
            )
            body = body * (length / half, 1)
            inner, lean, n = body * 0.55 + (0.3 * length / half, -0.1), 14, 4
        where = (
            outward
            if abs(outward) > 0.25
            else (0.25 if outward >= 0 else -0.25) * (1 if abs(outward) > 1e-6 else side)
        )
        spread = outward * lean
        sign = 1.0 if where > 0 else -1.0

        shift = np.array([0.30 * globe.aside * sign, 0.0])

        def set_on(points: Points) -> Points:
            points = points + shift if points is inner else points
            local = (
                smooth(points * (w * sign, -(length if kind != "side" else half)), n)
                if kind != "pointed"
                else _rounded(points * (w * sign, -length))
            )
            return local @ turn_by(spread) @ globe.tilt + root

        colour = coat.dark if self.puppet.kind == "panda" else coat.fur
        if self.puppet.kind == "dog" and self.puppet.fur in ("white", "cream"):
            colour = mix(coat.fur, (150, 96, 62), 0.75)
        elif self.puppet.kind == "dog":
            colour = darker(coat.fur, 0.28)
        elif self.puppet.kind == "sheep":
            colour = coat.pale
        decals = []
        shape = set_on(body)
        if self.puppet.kind in ("fox", "wolf", "raccoon") or (
            self.puppet.kind == "tiger" and not shows_inside
        ):
            low = set_on(np.array([[-1.4, 0.60], [1.4, 0.60], [1.4, 1.3], [-1.4, 1.3]]))
            decals.append(Decal(low, coat.dark, line=True))
        if inner is not None and shows_inside:
            decals.append(
                Decal(
                    set_on(inner),
                    coat.inner if self.puppet.kind != "panda" else lighter(coat.dark, 0.12),
                    line=True,
                )
            )
        self.add("ear", colour, shape, depth, decals=decals, cast=0.2 if depth > 0 else 0.0)


def _rounded(points: Points) -> Points:
    """Straight sides with softened corners."""
    before, after = np.roll(points, 1, 0), np.roll(points, -1, 0)
    a, b = points + (before - points) * 0.28, points + (after - points) * 0.28
    t = np.linspace(0, 1, 5)[None, :, None]
    curve = (1 - t) ** 2 * a[:, None] + 2 * t * (1 - t) * points[:, None] + t**2 * b[:, None]
    return curve.reshape(-1, 2)
