"""A puppet's body below the head: trunk, limbs, tail and clothes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pocket.data.puppets.faces import Coat, coat_of
from pocket.data.puppets.identity import Garment, Puppet
from pocket.data.puppets.poses import Hand, Pose, Skeleton
from pocket.data.puppets.raster import Decal, Piece, darker, lighter, mix
from pocket.data.puppets.shapes import Points, bent, ellipse, hull, part_of_line, smooth, smooth_line, tube
from pocket.data.puppets.words import COLOURS, SKINS, Rgb

SIDES = (("left", 1), ("right", -1))
LONG = {"dress": 0.52, "coat": 0.50, "raincoat": 0.42}
"""How far down the thigh and shin a top that is one piece with its skirt reaches, as a share of the leg."""
SLEEVE = {
    "t_shirt": 0.40, "shirt": 0.93, "sweater": 0.95, "dress": 0.36, "coat": 0.95, "raincoat": 0.95, "hanbok": 0.90,
}  # fmt: skip
ROOMY = {
    "t_shirt": 0.026,
    "shirt": 0.018,
    "sweater": 0.03,
    "dress": 0.026,
    "coat": 0.038,
    "raincoat": 0.048,
    "hanbok": 0.045,
}
"""How far a sleeve stands off the arm."""


def body_pieces(puppet: Puppet, pose: Pose, skeleton: Skeleton) -> list[Piece]:
    """All layers below the head."""
    return _Body(puppet, pose, skeleton).pieces()


def limb(line: Points, radii: np.ndarray, caps: int = 6) -> list[Points]:
    """A limb as two overlapping halves: where it folds sharply one outline would cross itself and leave a gap."""
    middle = len(line) // 2
    halves = [tube(line[: middle + 1], radii[: middle + 1]), tube(line[middle:], radii[middle:])]
    return halves if caps else [*halves[:1], tube(line[middle:], radii[middle:], 0)]


class _Body:
    def __init__(self, puppet: Puppet, pose: Pose, skeleton: Skeleton) -> None:
        self.puppet, self.pose, self.skeleton, self.build = puppet, pose, skeleton, skeleton.build
        self.seen, self.own = skeleton.seen, skeleton.own
        yaw = math.radians(pose.yaw)
        self.facing, self.aside, self.yaw = math.cos(yaw), math.sin(yaw), pose.yaw
        self.coat: Coat | None = None if puppet.human else coat_of(puppet)
        self.skin: Rgb = SKINS[puppet.skin].rgb if puppet.human else self.coat.fur  # type: ignore[union-attr]
        self.top, self.bottom, self.shoes = puppet.top, puppet.bottom, puppet.shoes
        self.top_colour = COLOURS[self.top.colour].rgb if self.top else self.skin
        self.bottom_colour = COLOURS[self.bottom.colour].rgb if self.bottom else self.skin
        self.out: list[Piece] = []
        self._spine()

    def add(self, part: str, colour: Rgb, shapes: object, depth: float, **more: object) -> Piece:
        listed = shapes if isinstance(shapes, list) else [shapes]
        piece = Piece(part, colour, listed, depth, **more)  # type: ignore[arg-type]
        self.out.append(piece)
        return piece

    def pieces(self) -> list[Piece]:
        if not self.puppet.human:
            self._tail()
        for name, side in SIDES:
            self._leg(name, side)
        self._trunk()
        for name, side in SIDES:
            self._arm(name, side)
        if self.puppet.scarf:
            self._scarf(COLOURS[self.puppet.scarf].rgb)
        return self.out

    # ------------------------------------------------------------------ trunk

    def _spine(self) -> None:
        hip, neck = self.seen["hip"][:2], self.seen["neck"][:2]
        axis = neck - hip
        length = float(np.hypot(*axis))
        self.axis = axis / length if length > 0.15 else np.array([0.0, -1.0])
        self.length = max(length, 0.15)
        self.across = np.array([-self.axis[1], self.axis[0]])
        b = self.build
        stops = np.array([-0.20, -0.06, 0.10, 0.42, 0.78, 0.93, 1.0])
        wide = np.array(
            [
                b.seat[0] * 0.62,
                b.seat[0] * 0.98,
                b.seat[0],
                b.belly[0],
                b.chest[0],
                b.chest[0] * 0.86,
                b.chest[0] * 0.46,
            ]
        )
        deep = np.array(
            [
                b.seat[1] * 0.62,
                b.seat[1],
                b.seat[1] * 1.02,
                b.belly[1],
                b.chest[1],
                b.chest[1] * 0.82,
                b.chest[1] * 0.5,
            ]
        )
        self.stops, self.half = stops, np.hypot(wide * self.facing, deep * self.aside)
        fullness = 0.30 if self.puppet.human and self.puppet.age != "child" else 0.22
        self.bulge = np.array([0.0, -0.02, 0.0, fullness * b.belly[1] * 0.5, 0.03, 0.0, 0.0]) * self.aside

    def ring(self, t: float | np.ndarray, fat: float = 0.0) -> tuple[Points, np.ndarray]:
        """Middle of the trunk at a height (0 hips, 1 neck), and half its width there as seen."""
        t = np.asarray(t, dtype=float)
        middle = self.seen["hip"][:2] + self.axis * (self.length * t)[..., None]
        middle = middle + self.across * np.interp(t, self.stops, self.bulge)[..., None]
        return middle, np.interp(t, self.stops, self.half) + fat

    @staticmethod
    def flare(t: np.ndarray, fat: float) -> np.ndarray:
        """Clothes fall wider towards their hem."""
        return fat * 1.5 * (0.75 - np.asarray(t, dtype=float)).clip(0)

    def on_trunk(self, t: object, lon: object, fat: float = 0.0) -> Points:
        """Points on the trunk's surface; longitude 0 is its front, 90 its left. The near side hangs lower."""
        t, lon = np.broadcast_arrays(np.asarray(t, dtype=float), np.asarray(lon, dtype=float))
        middle, half = self.ring(t, fat)
        half = half + self.flare(t, fat)
        around = np.radians(lon + self.yaw)
        return middle + self.across * (half * np.sin(around))[..., None] - self.axis * (
            0.20 * half * np.cos(around).clip(0)
        )[..., None]  # fmt: skip

    def faces(self, lon: float) -> float:
        return math.cos(math.radians(lon + self.yaw))

    def barrel(self, low: float, high: float, fat: float = 0.0) -> Points:
        """The trunk's outline between two heights, its lower edge curved."""
        t = np.linspace(low, high, 8)
        middle, half = self.ring(t, fat)
        side = self.across * (half + self.flare(t, fat))[:, None]
        foot = self.belt(low, fat)
        return np.concatenate([foot, (middle + side)[1:], (middle - side)[::-1][:-1]])

    def belt(self, t: float, fat: float = 0.0, n: int = 9) -> Points:
        """The near half of a ring, from left to right on the picture."""
        return self.on_trunk(np.full(n, t), np.linspace(-90, 90, n) - self.yaw, fat)

    def band(self, low: float, high: float, fat: float = 0.0) -> Points:
        return np.concatenate([self.belt(low, fat), self.belt(high, fat)[::-1]])

    def line(self, lon: float, low: float, high: float, radius: float, fat: float = 0.0) -> Points:
        return tube(self.on_trunk(np.linspace(low, high, 6), np.full(6, lon), fat), radius, 3)

    def _trunk(self) -> None:
        depth = 0.5
        if self.puppet.human and self.build.neck > 0.04:
            neck = np.stack([self.ring(0.9)[0], self.seen["head"][:2] * 0.5 + self.seen["neck"][:2] * 0.5])
            self.add("neck", darker(self.skin, 0.10), tube(neck, self.build.head[0] * 0.26, 0), 0.45)
        top = self.top
        if self.bottom is not None and self.bottom.kind == "hanbok_skirt":
            self._skirt(self.bottom_colour, "bottom", 0.55, 0.90, 0.50, waist=0.66)
        elif self.bottom is not None and self.bottom.kind == "skirt":
            self._skirt(self.bottom_colour, "bottom", 0.53, 0.42, 0.34, waist=0.20)
        elif self.bottom is not None:
            self.add("bottom", self.bottom_colour, self.barrel(-0.20, 0.22, 0.02), 0.42)
        if top is None:
            self._bare(depth)
            return
        if top.kind in LONG:
            self._long(top, depth)
        else:
            low = {"hanbok": 0.46, "sweater": -0.07}.get(top.kind, -0.04)
            fat = {"hanbok": 0.03, "sweater": 0.03}.get(top.kind, 0.022)
            if self.bottom is not None and self.bottom.kind in ("skirt", "dungarees"):
                low = 0.12
            if self.bottom is None:
                self._bare(0.44, plain=True)
            elif top.kind == "hanbok" and self.bottom.kind != "hanbok_skirt":
                low = 0.05
            piece = self.add("top", self.top_colour, self.barrel(low, 0.985, fat), 0.60, cast=0.3)
            self._pattern(piece, top, low, 0.99, fat)
            self._details(piece, top, low, fat)
        if self.bottom is not None and self.bottom.kind == "dungarees":
            self._bib()

    def _bare(self, depth: float, plain: bool = False) -> None:
        """Skin or fur."""
        piece = self.add("trunk", self.skin, self.barrel(-0.20, 1.0), depth, cast=0.2)
        if self.coat is None or plain:
            return
        kind, coat = self.puppet.kind, self.coat
        if self.facing > -0.35 and kind not in ("sheep",):
            t = np.array([-0.14, 0.10, 0.45, 0.78, 0.92, 0.78, 0.45, 0.10])
            lon = np.array([0.0, 36, 42, 34, 0, -34, -42, -36])
            colour = coat.pale if kind not in ("koala", "mouse", "pig") else lighter(coat.fur, 0.3)
            piece.decals.append(Decal(smooth(self.on_trunk(t, lon)), colour, line=True))
        if kind == "panda":
            piece.decals.append(Decal(self.band(0.68, 1.02, 0.02), coat.dark, line=True))
        if kind == "tiger":
            for t in (0.08, 0.34, 0.60):
                for lon in (70, -70, 150, -150):
                    if self.faces(lon) > 0:
                        span = np.array([lon - 26, lon, lon + 26, lon])
                        shape = self.on_trunk(t + np.array([0, 0.05, 0, -0.05]), span)
                        piece.decals.append(Decal(smooth(shape, 4), coat.dark, line=True))

    def _hem(self, reach: float, flare: float) -> tuple[Points, Points]:
        """Ring (n, 2) of a skirt's hem on the picture and its middle: it follows the thighs."""
        own = self.own
        ends = []
        for name, _ in SIDES:
            thigh, knee, ankle = own[f"{name}_thigh"], own[f"{name}_knee"], own[f"{name}_ankle"]
            share = reach * 2
            ends.append(thigh + (knee - thigh) * min(1.0, share) + (ankle - knee) * max(0.0, share - 1))
        middle = (ends[0] + ends[1]) / 2
        down = middle / max(1e-6, float(np.linalg.norm(middle)))
        aside = np.array([1.0, 0, 0]) - down * down[0]
        aside /= np.linalg.norm(aside)
        fore = np.cross(aside, down)
        apart = ends[0] - ends[1]
        leg = self.build.leg_radius[0]
        rx = max(flare, abs(float(apart @ aside)) / 2 + leg * 1.05)
        rz = max(flare * 0.82, abs(float(apart @ fore)) / 2 + leg * 0.85)
        angle = np.linspace(0, 2 * math.pi, 28, endpoint=False)
        ring = middle + np.cos(angle)[:, None] * rx * aside + np.sin(angle)[:, None] * rz * fore
        return self.skeleton.place(ring)[:, :2], self.skeleton.place(middle[None])[0]

    def _skirt(self, colour: Rgb, part: str, depth: float, reach: float, flare: float, waist: float) -> Piece:
        hem, middle = self._hem(reach, flare)
        lap = 0.45 if middle[2] > 0.25 else 0.0  # sitting: over the thighs
        top = self.band(waist - 0.04, waist, 0.02)
        shape = hull(hem, top, self.band(-0.05, 0.08, 0.025))
        piece = self.add(part, colour, shape, depth + lap, cast=0.3)
        self._folds(piece, hem, waist, colour)
        return piece

    def _folds(self, piece: Piece, hem: Points, waist: float, colour: Rgb) -> None:
        """Lines from the waist to the hem."""
        n = len(hem)
        for lon in (-60, -30, 0, 30, 60):
            start = self.on_trunk(waist - 0.06, lon - self.yaw, 0.02)
            low = hem[round((90 - lon + self.yaw) / 360 * n) % n]
            inner = start + np.array(low - start) * 0.38
            fold = tube(np.stack([inner, low]), np.array([0.003, 0.013]), 2)
            piece.decals.append(Decal(fold, darker(colour, 0.18), line=True, opacity=0.8))

    def _long(self, top: Garment, depth: float) -> None:
        """A dress or coat: trunk and skirt are one."""
        reach = LONG[top.kind]
        flare = {"dress": 0.42, "coat": 0.35, "raincoat": 0.40}[top.kind]
        if self.puppet.human and self.puppet.age != "child":
            flare *= 1.12
        hem, middle = self._hem(reach, flare)
        colour, fat = self.top_colour, 0.03 if top.kind != "dress" else 0.018
        waist = 0.36 if top.kind == "dress" else 0.30
        skirt = hull(hem, self.band(waist - 0.08, waist, fat), self.band(-0.02, 0.06, fat))
        body = self.barrel(waist - 0.06, 0.985, fat)
        piece = self.add("top", colour, [skirt, body], depth + (0.45 if middle[2] > 0.25 else 0.1), cast=0.3)
        self._folds(piece, hem, waist, colour)
        self._pattern(piece, top, waist - 0.1, 0.99, fat, hem)
        near = hem[np.argsort(hem[:, 0])]
        near = near[near[:, 1] >= hem[:, 1].mean()]
        if len(near) > 3 and abs(self.pose.roll) < 1:
            trim = lighter(colour, 0.55) if top.kind == "dress" else darker(colour, 0.16)
            up = near + np.array((0, -0.045))
            piece.decals.append(
                Decal(np.concatenate([near + np.array((0, 0.02)), up[::-1]]), trim, line=True)
            )
        if top.kind == "dress":
            piece.decals.append(
                Decal(self.band(waist - 0.03, waist + 0.06, fat), darker(colour, 0.22), line=True)
            )
            if self.facing > -0.2:
                for side in (1, -1):
                    lon = side * np.array([4, 22, 46, 52, 26.0])
                    if self.faces(side * 25) > 0:
                        t = np.array([0.90, 0.80, 0.86, 0.99, 1.0])
                        piece.decals.append(
                            Decal(smooth(self.on_trunk(t, lon, fat), 4), (252, 248, 240), line=True)
                        )
        else:
            self._front(piece, top, hem, middle[:2], fat)
        if top.kind == "raincoat":
            self._hood(colour)

    def _front(self, piece: Piece, top: Garment, hem: Points, middle: Points, fat: float) -> None:
        """A coat's opening, buttons, collar and pockets."""
        colour = self.top_colour
        dark = darker(colour, 0.26)
        if self.faces(0) < 0.12:
            return
        spread = (hem[:, 0].max() - hem[:, 0].min()) / 2
        foot = middle + np.array([self.aside * spread * 0.9, (hem[:, 1].max() - middle[1]) * self.facing])
        chest = self.on_trunk(np.linspace(0.9, 0.1, 6), np.full(6, 0.0), fat)
        opening = np.concatenate([chest, foot[None]])
        piece.decals.append(Decal(tube(opening, 0.010, 2), dark, line=True))
        button: Rgb = (250, 238, 214) if sum(colour) < 560 else (150, 106, 74)
        for t in (0.70, 0.46, 0.22):
            spot = self.on_trunk(t, 14.0, fat)
            if self.faces(14) > 0.15:
                piece.decals.append(
                    Decal(ellipse(spot, 0.034 * max(0.35, self.faces(14)), 0.034, n=14), button, line=True)
                )
        for side in (1, -1):
            if self.faces(side * 42) > 0.2 and abs(self.pose.lean) < 30:
                spot = self.on_trunk(-0.02, side * 42.0, fat)
                flap = (
                    np.array([[-0.075, -0.03], [0.075, -0.03], [0.07, 0.03], [-0.07, 0.03]])
                    * (self.faces(side * 42), 1)
                    + spot
                )
                piece.decals.append(Decal(flap, darker(colour, 0.14), line=True))
            lon = side * np.array([2, 16, 44, 50, 24.0])
            if top.kind == "coat" and self.faces(side * 26) > 0.05:
                t = np.array([0.76, 0.72, 0.86, 1.0, 1.0])
                piece.decals.append(Decal(self.on_trunk(t, lon, fat), lighter(colour, 0.16), line=True))

    def _hood(self, colour: Rgb) -> None:
        """A raincoat's hood, down."""
        middle, half = self.ring(1.0)
        back = -self.aside * 0.10
        shape = ellipse(
            middle + self.across * back + (0, -0.01), float(half) + 0.16, 0.14, math.radians(self.aside * 8)
        )
        hood = self.add("top", darker(colour, 0.10), shape, 1.2 if self.facing > 0 else 1.25, cast=0.3)
        if self.facing < -0.2:
            drop = (
                smooth(np.array([[-0.24, -0.05], [0.24, -0.05], [0.20, 0.16], [0, 0.26], [-0.20, 0.16]]))
                + middle
            )
            hood.shapes.append(drop)

    def _details(self, piece: Piece, top: Garment, low: float, fat: float) -> None:
        colour = self.top_colour
        white: Rgb = (252, 249, 242)
        if top.kind == "sweater":
            piece.decals.append(
                Decal(self.band(low - 0.03, low + 0.09, fat), darker(colour, 0.14), line=True)
            )
            roll = self.band(0.90, 1.04, 0.03)
            self.add("top", darker(colour, 0.08), smooth(roll[::2], 3), 0.62, outline=0.8)
        elif top.kind == "t_shirt":
            piece.decals.append(Decal(self.band(0.93, 1.02, fat), darker(colour, 0.16), line=True))
        elif top.kind == "shirt":
            if self.faces(0) > 0.15:
                piece.decals.append(
                    Decal(self.line(0.0, low, 0.95, 0.008, fat), darker(colour, 0.26), line=True)
                )
                for t in (0.70, 0.46, 0.22):
                    if t > low + 0.05:
                        spot = ellipse(self.on_trunk(t, 0.0, fat), 0.02, 0.02, n=10)
                        piece.decals.append(
                            Decal(spot, white if sum(colour) < 640 else (170, 150, 140), line=True)
                        )
            for side in (1, -1):
                if self.faces(side * 24) > 0:
                    t, lon = np.array([0.84, 0.80, 0.97, 1.02]), side * np.array([2, 30, 52, 10.0])
                    collar = white if sum(colour) < 690 else (226, 226, 232)
                    piece.decals.append(Decal(self.on_trunk(t, lon, fat), collar, line=True))
        elif top.kind == "hanbok":
            self._jeogori(piece, low, fat)

    def _jeogori(self, piece: Piece, low: float, fat: float) -> None:
        """Crossed collar with its white edge, and the ribbons."""
        colour = self.top_colour
        trim = self.bottom_colour if self.bottom else darker(colour, 0.3)
        if self.faces(0) > 0.05:
            for lon, width, tint in (
                ((40, 26, 6, -16), 0.042, trim), ((-40, -26, -6, 8), 0.042, trim),
                ((34, 22, 4, -10), 0.018, (255, 252, 244)), ((-34, -22, -4, 6), 0.018, (255, 252, 244)),
            ):  # fmt: skip
                t = np.array([1.02, 0.92, 0.78, 0.64])
                piece.decals.append(
                    Decal(tube(self.on_trunk(t, np.array(lon, dtype=float), fat), width, 0), tint, line=True)
                )
            knot = self.on_trunk(max(low + 0.14, 0.62), -6.0, fat)
            for dx, drop in ((-0.05, 0.34), (0.06, 0.27)):
                path = np.stack([knot, knot + np.array((dx * 0.6, drop * 0.5)), knot + np.array((dx, drop))])
                self.add("top", trim, tube(path, np.array([0.022, 0.032, 0.036]), 0), 1.08, outline=0.7)
            loop = ellipse(knot + np.array([0.055, -0.005]), 0.07, 0.035, 0.35)
            self.add("top", trim, [loop, ellipse(knot, 0.034, 0.034)], 1.09, outline=0.7)

    def _bib(self) -> None:
        colour = self.bottom_colour
        fat = 0.03
        if self.facing > -0.15 and self.faces(0) > 0.1:
            lon = np.linspace(-42, 42, 9)
            low, high = (
                self.on_trunk(np.full(9, 0.08), lon, fat),
                self.on_trunk(np.full(9, 0.60), lon * 0.86, fat),
            )
            piece = self.add("bottom", colour, np.concatenate([low, high[::-1]]), 0.64, cast=0.2)
            pocket = self.on_trunk(
                np.array([0.48, 0.48, 0.30, 0.26, 0.30]), np.array([-20.0, 20, 18, 0, -18]), fat
            )
            piece.decals.append(Decal(pocket, darker(colour, 0.14), line=True))
        self.add("bottom", colour, self.band(0.02, 0.17, fat), 0.645)
        for side in (1, -1):
            for start, front in ((0.0, True), (180.0, False)):
                lon = start + side * (30 if front else -24)
                if self.faces(lon) > 0.05:
                    strap = self.line(lon, 0.56 if front else 0.12, 0.98, 0.032, fat)
                    self.add("bottom", darker(colour, 0.06), strap, 0.65, outline=0.7)
                    if front:
                        spot = self.on_trunk(0.57, lon, fat)
                        self.add(
                            "bottom", (250, 206, 92), ellipse(spot, 0.028, 0.028, n=12), 0.66, outline=0.5
                        )

    def _pattern(
        self, piece: Piece, top: Garment, low: float, high: float, fat: float, hem: Points | None = None
    ) -> None:
        if not top.pattern:
            return
        other: Rgb = (252, 248, 240) if sum(self.top_colour) < 640 else (108, 132, 186)
        if top.pattern == "stripes":
            step = 0.155 / max(0.66, self.build.trunk)
            for t in np.arange(low + step * 0.6, high - 0.04, step):
                piece.decals.append(Decal(self.band(t, t + step * 0.46, fat), other, line=True))
            if hem is not None:
                self._skirt_rows(piece, hem, low, other, True)
        else:
            for i, t in enumerate(np.arange(low + 0.12, high - 0.06, 0.19)):
                for lon in range(-180 + (22 if i % 2 else 0), 180, 44):
                    if self.faces(lon) > 0.15:
                        spot = self.on_trunk(t, float(lon), fat)
                        piece.decals.append(
                            Decal(
                                ellipse(spot, 0.032 * self.faces(lon) ** 0.5, 0.032, n=12), other, line=True
                            )
                        )
            if hem is not None:
                self._skirt_rows(piece, hem, low, other, False)

    def _skirt_rows(self, piece: Piece, hem: Points, waist: float, colour: Rgb, stripes: bool) -> None:
        start = self.belt(waist, 0.02, 11)
        order = np.linspace(math.pi, 0, 11)
        middle = hem.mean(0)
        rx, ry = (hem[:, 0].max() - hem[:, 0].min()) / 2, hem[:, 1].max() - middle[1]
        end = middle + np.stack([np.cos(order) * rx, np.sin(order) * ry], 1)
        for i, s in enumerate((0.22, 0.50, 0.78)):
            row = start + np.array(end - start) * s
            if stripes:
                nxt = start + np.array(end - start) * (s + 0.12)
                piece.decals.append(Decal(np.concatenate([row, nxt[::-1]]), colour, line=True))
            else:
                for j in range(1 + i % 2, 10, 2):
                    piece.decals.append(Decal(ellipse(row[j], 0.032, 0.032, n=12), colour, line=True))

    # ------------------------------------------------------------------ limbs

    def _depth(self, name: str, joints: Sequence[str], reference: str) -> float:
        z = sum(float(self.seen[f"{name}_{joint}"][2]) for joint in joints) / len(joints)
        return z - float(self.seen[reference][2])

    def _leg(self, name: str, side: int) -> None:
        b, seen, puppet = self.build, self.seen, self.puppet
        thigh, knee, ankle = (seen[f"{name}_{joint}"][:2] for joint in ("thigh", "knee", "ankle"))
        line = bent(thigh, knee, ankle)
        at = np.linspace(0, 1, len(line))
        radii = np.interp(
            at, (0, 0.5, 1), (b.leg_radius[0], (b.leg_radius[0] + b.leg_radius[1]) / 2, b.leg_radius[1])
        )
        forward = self._depth(name, ("knee", "ankle"), "hip")
        skirted = (self.top is not None and self.top.kind in LONG) or (
            self.bottom is not None and self.bottom.kind in ("skirt", "hanbok_skirt")
        )
        depth = 0.1 * forward + (0.62 if forward > 0.28 and not skirted else 0.0)
        part = f"{name}_leg"
        skin = self._limb_fur(dark=puppet.kind == "panda")
        self._foot(name, depth)
        leg = self.add(part, skin, limb(line, radii), depth + 0.01, cast=0.15)
        if puppet.kind == "tiger" and self.bottom is None:
            self._limb_stripes(leg, line, radii, (0.45, 0.62, 0.79))
        bottom = self.bottom.kind if self.bottom else ""
        colour = self.bottom_colour
        if bottom in ("trousers", "dungarees"):
            stretch = part_of_line(line, 0.0, 0.90, 12)
            wide = np.interp(np.linspace(0, 0.90, 12), at, radii) + np.linspace(0.015, 0.028, 12)
            legs = self.add(part, colour, limb(stretch, wide), depth + 0.03, cast=0.2)
            if bottom == "dungarees":
                cuff = part_of_line(line, 0.80, 0.91, 4)
                legs.decals.append(
                    Decal(tube(cuff, b.leg_radius[1] * 1.5, 0), lighter(colour, 0.3), line=True)
                )
        elif bottom == "shorts":
            stretch = part_of_line(line, 0.0, 0.48, 8)
            wide = np.interp(np.linspace(0, 0.48, 8), at, radii) + np.linspace(0.015, 0.05, 8)
            self.add(part, colour, tube(stretch, wide, 0), depth + 0.03, cast=0.25)
        if self.shoes is not None and self.shoes.kind == "boots":
            stretch = part_of_line(line, 0.62, 1.0, 7)
            wide = np.interp(np.linspace(0.62, 1, 7), at, radii) + np.linspace(0.036, 0.016, 7)
            boot = COLOURS[self.shoes.colour].rgb
            piece = self.add(f"{name}_foot", boot, tube(stretch, wide, 0), depth + 0.04, cast=0.2)
            rim = part_of_line(line, 0.60, 0.68, 3)
            piece.decals.append(Decal(tube(rim, b.leg_radius[0] * 1.6, 0), lighter(boot, 0.35), line=True))
            self._sole(name, boot, depth + 0.045)

    def _limb_fur(self, dark: bool) -> Rgb:
        if self.coat is None:
            return self.skin
        return self.coat.dark if dark else self.coat.fur

    def _limb_stripes(self, piece: Piece, line: Points, radii: np.ndarray, at: Sequence[float]) -> None:
        for share in at:
            stretch = part_of_line(line, share, share + 0.07, 3)
            piece.decals.append(Decal(tube(stretch, float(radii.max()) * 1.3, 0), self.coat.dark, line=True))  # type: ignore[union-attr]

    def _foot_shape(self, name: str) -> Points:
        b, seen = self.build, self.seen
        ankle, toe, knee = seen[f"{name}_ankle"], seen[f"{name}_toe"], seen[f"{name}_knee"]
        down = ankle[:2] - knee[:2]
        down = down / max(0.05, float(np.hypot(*down)))
        r = b.foot_radius
        heel = ellipse(ankle[:2] + down * r * 0.25, r * 0.95, r * 0.95, n=20)
        tip = ellipse(toe[:2] + down * r * 0.35, r * 1.02, r * 0.86, n=20)
        shape = hull(heel, tip)
        # a flat sole, square to the shin
        along = shape @ down
        floor = float((toe[:2] + down * r * 0.35) @ down) + r * 0.62
        floor = max(floor, float((ankle[:2] + down * r * 0.25) @ down) + r * 0.62)
        if abs(float((toe - ankle)[:2] @ down)) < 0.6 * self.build.foot + 1e-6:
            shape = shape - down * (along - floor).clip(0)[:, None] * 0.85
        return shape

    def _foot(self, name: str, depth: float) -> None:
        shape = self._foot_shape(name)
        if self.shoes is None:
            colour = self._limb_fur(dark=self.puppet.kind in ("panda", "fox"))
            piece = self.add(f"{name}_foot", colour, shape, depth + 0.02, cast=0.15)
            toe, ankle = self.seen[f"{name}_toe"], self.seen[f"{name}_ankle"]
            if self.coat is not None and toe[2] - ankle[2] > 0.09:
                for dx in (-0.035, 0.035):
                    start = toe[:2] + np.array((dx, 0.02))
                    piece.decals.append(
                        Decal(
                            tube(np.stack([start, start + np.array((0, 0.05))]), 0.008, 2),
                            darker(colour, 0.32),
                            line=True,
                        )
                    )
            return
        colour = COLOURS[self.shoes.colour].rgb
        self.add(f"{name}_foot", colour, shape, depth + 0.035, cast=0.15)
        if self.shoes.kind == "shoes":
            self._sole(name, colour, depth + 0.045)

    def _sole(self, name: str, colour: Rgb, depth: float) -> None:
        """The foot again over the boot's leg, with its sole."""
        seen, r = self.seen, self.build.foot_radius
        shape = self._foot_shape(name)
        ankle, toe, knee = seen[f"{name}_ankle"][:2], seen[f"{name}_toe"][:2], seen[f"{name}_knee"][:2]
        down = ankle - knee
        down = down / max(0.05, float(np.hypot(*down)))
        floor = float((shape @ down).max())
        line = shape @ down
        low = shape + down * (floor - 0.32 * r - line).clip(0)[:, None]
        sole = (
            lighter(colour, 0.72)
            if self.shoes and self.shoes.kind == "shoes" and sum(colour) < 660
            else darker(colour, 0.32)
        )
        piece = self.add(f"{name}_foot", colour, shape, depth)
        piece.decals.append(Decal(low, sole, line=True))
        if self.shoes and self.shoes.kind == "shoes":
            middle = ankle * 0.45 + toe * 0.55 - down * r * 0.35
            across = np.array([-down[1], down[0]])
            for k in (-0.3, 0.3):
                spot = middle + np.array(toe - ankle) * k
                piece.decals.append(
                    Decal(
                        tube(np.stack([spot - across * 0.045, spot + across * 0.045]), 0.011, 2),
                        lighter(colour, 0.8),
                    )
                )

    def _arm(self, name: str, side: int) -> None:
        b, seen = self.build, self.seen
        shoulder, elbow, wrist = (seen[f"{name}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
        line = bent(shoulder[:2], elbow[:2], wrist[:2])
        at = np.linspace(0, 1, len(line))
        radii = np.interp(at, (0, 1), b.arm_radius)
        z = self._depth(name, ("elbow", "wrist"), "neck") + 0.12 * self.build.arm[0]
        head, wide = seen["head"], b.head
        nearness = wrist[2] - head[2]
        inside = ((wrist[0] - head[0]) / wide[0]) ** 2 + ((wrist[1] - head[1]) / wide[1]) ** 2 < 1.5
        depth = 1.0 + 0.1 * z if z > -0.16 else -1.0 + 0.1 * z
        if abs(self.aside) > 0.75:  # in profile the far arm is behind the trunk
            depth = 1.0 + 0.1 * z if shoulder[2] > seen["neck"][2] - 0.02 else -1.0 + 0.1 * z
        if inside and nearness > wide[0] * 0.30 and depth > 0:
            depth = 3.2
        part = f"{name}_arm"
        skin = self._limb_fur(dark=self.puppet.kind == "panda")
        self._hand(name, side, elbow[:2], wrist[:2], depth)
        arm = self.add(part, skin, limb(line, radii), depth + 0.01, cast=0.2)
        top = self.top
        if top is None:
            if self.puppet.kind == "tiger":
                self._limb_stripes(arm, line, radii, (0.35, 0.55, 0.75))
            return
        reach = SLEEVE[top.kind]
        stretch = part_of_line(line, 0.0, reach, 12)
        grow = np.linspace(
            ROOMY[top.kind] * 0.6, ROOMY[top.kind] * (1.9 if top.kind in ("hanbok", "raincoat") else 1.15), 12
        )
        if top.kind in ("dress",):
            grow = ROOMY[top.kind] + 0.045 * np.sin(np.linspace(0.3, 2.9, 12))
        wide_line = np.interp(np.linspace(0, reach, 12), at, radii) + grow
        sleeve = self.add(
            part,
            self.top_colour,
            limb(stretch, wide_line, 0 if top.kind == "hanbok" else 6),
            depth + 0.03,
            cast=0.25,
        )
        if top.kind == "hanbok":
            sleeve.shapes.append(ellipse(shoulder[:2], wide_line[0], wide_line[0]))
        if top.pattern == "stripes":
            other: Rgb = (252, 248, 240) if sum(self.top_colour) < 640 else (108, 132, 186)
            length = self.build.arm[0] + self.build.arm[1]
            for share in np.arange(0.10, reach - (0.05 if reach < 0.5 else 0.17), 0.155 / length):
                chunk = part_of_line(line, share, share + 0.07 / length, 3)
                sleeve.decals.append(Decal(tube(chunk, b.arm_radius[0] * 1.7, 0), other, line=True))
        cuff = {"sweater": darker(self.top_colour, 0.14), "shirt": lighter(self.top_colour, 0.35), "coat": darker(self.top_colour, 0.14),
                "raincoat": darker(self.top_colour, 0.12), "hanbok": (252, 249, 242)}.get(top.kind)  # fmt: skip
        if cuff is not None:
            chunk = part_of_line(line, reach - 0.10, reach + 0.06, 3)
            sleeve.decals.append(Decal(tube(chunk, b.arm_radius[0] * 2, 0), cuff, line=True))

    def _hand(self, name: str, side: int, elbow: Points, wrist: Points, depth: float) -> None:
        b = self.build
        pose_hand: Hand = getattr(self.pose, f"{name}_hand")
        along = wrist - elbow
        length = float(np.hypot(*along))
        along = along / length if length > 0.05 else np.array([0.0, 1.0])
        # the thumb is on the side of the body's front, or inward when seen from the front
        inward = -side * self.facing + 0.3 * self.aside
        normal = np.array([-along[1], along[0]])
        if normal[0] * inward < 0:
            normal = -normal
        r = b.hand
        palm = wrist + along * r * 0.62
        turn = math.atan2(along[1], along[0])
        colour = self._limb_fur(dark=self.puppet.kind in ("panda", "fox"))
        shapes = [ellipse(palm, r * 1.02, r * 0.88, turn)]
        decals: list[Decal] = []
        if self.coat is not None:
            shapes = [ellipse(palm, r * 1.12, r * 1.02, turn)]
            if pose_hand == "point":
                shapes.append(tube(np.stack([palm, palm + along * r * 1.7]), r * 0.42))
            elif pose_hand == "open" and self.facing > 0.2:
                pad = mix(colour, (240, 130, 140), 0.65)
                decals.append(Decal(ellipse(palm - along * r * 0.1, r * 0.42, r * 0.5, turn), pad))
                for k in (-0.6, 0.0, 0.6):
                    spot = palm + along * r * (0.72 - 0.18 * abs(k)) + normal * r * k
                    decals.append(Decal(ellipse(spot, r * 0.19, r * 0.19, n=12), pad))
        elif pose_hand == "open":
            for k, reach in ((-0.60, 1.42), (-0.05, 1.62), (0.50, 1.42)):
                tip = palm + (along * math.cos(k) + normal * -math.sin(k)) * r * reach
                shapes.append(tube(np.stack([palm, tip]), np.array([r * 0.40, r * 0.31])))
            thumb = palm + (along * 0.35 + normal * 1.1) * r
            shapes.append(tube(np.stack([palm, thumb]), r * 0.33))
        elif pose_hand == "point":
            shapes.append(tube(np.stack([palm, palm + along * r * 1.9]), r * 0.34))
            thumb = palm + (along * 0.5 + normal * 0.85) * r
            shapes.append(tube(np.stack([palm, thumb]), r * 0.30))
        else:
            thumb = palm + (along * 0.42 + normal * 0.72) * r
            shapes.append(tube(np.stack([palm, thumb]), r * 0.34))
        self.add(f"{name}_hand", colour, shapes, depth + 0.005, decals=decals)

    # ------------------------------------------------------------------ tail and scarf

    def _tail(self) -> None:
        kind, coat = self.puppet.kind, self.coat
        if kind not in TAILS or coat is None:
            return
        points, radii_at, tip_from = TAILS[kind]
        own = np.array(points) + np.array((0.0, -0.02, -self.build.seat[1] * 0.8))
        if abs(self.pose.roll) > 1:
            own = own * (1, 1, 0.4)
        seen = self.skeleton.place(own)
        line = smooth_line(seen[:, :2], 5)
        radii = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(radii_at)), radii_at)
        depth = -2.0 if self.facing > -0.25 else 1.4
        piece = self.add("tail", coat.fur, tube(line, radii), depth, cast=0.2)
        if tip_from < 1:
            tip = part_of_line(line, tip_from, 1.0, 6)
            edge = {"fox": coat.pale, "wolf": coat.pale, "lion": mix(coat.fur, (140, 66, 26), 0.62)}.get(
                kind, coat.dark
            )
            piece.decals.append(
                Decal(tube(tip, 0.3, 4) if tip_from < 0.5 else hull(tube(tip, 0.24, 4)), edge, line=True)
            )
            if kind == "lion":
                self.add("tail", edge, ellipse(line[-1], 0.11, 0.13), depth + 0.01)
                piece.decals.clear()
        if kind in ("raccoon", "tiger"):
            for share in (0.25, 0.45, 0.65, 0.85):
                ring = part_of_line(line, share, share + 0.09, 3)
                piece.decals.append(Decal(tube(ring, 0.3, 0), coat.dark, line=True))

    def _scarf(self, colour: Rgb) -> None:
        middle, half = self.ring(0.97)
        wide = float(half) + 0.10
        tail = None
        if self.facing > -0.3:
            start = self.on_trunk(0.93, 26.0, 0.05)
            swing = np.array([0.05 - 0.10 * self.aside, 0.0])
            path = smooth_line(
                np.stack(
                    [
                        start,
                        start + np.array((0.02, 0.17)) + swing * 0.4,
                        start + np.array((0.01, 0.38)) + swing,
                    ]
                ),
                4,
            )
            tail = self.add(
                "scarf",
                darker(colour, 0.06),
                tube(path, np.linspace(0.075, 0.095, len(path)), 0),
                1.42,
                cast=0.3,
            )
            for share in (0.62, 0.80):
                chunk = part_of_line(path, share, share + 0.07, 3)
                tail.decals.append(Decal(tube(chunk, 0.2, 0), lighter(colour, 0.55), line=True))
        ring = ellipse(middle + self.axis * -0.01, wide, 0.125, math.atan2(self.across[1], self.across[0]))
        piece = self.add("scarf", colour, ring, 1.45, cast=0.35)
        fold = smooth_line(
            np.stack(
                [
                    middle - self.across * wide * 0.8 + np.array((0, 0.0)),
                    middle + np.array((0, 0.075)),
                    middle + self.across * wide * 0.8,
                ]
            ),
            4,
        )
        piece.decals.append(
            Decal(
                tube(fold, np.array([0.004, *([0.012] * (len(fold) - 2)), 0.004])),
                darker(colour, 0.22),
                line=True,
            )
        )


TAILS: dict[str, tuple[list[tuple[float, float, float]], tuple[float, ...], float]] = {
    "fox": ([(0, 0, 0), (0.20, 0.10, -0.20), (0.42, 0.02, -0.34), (0.56, -0.30, -0.36), (0.50, -0.58, -0.34)], (0.06, 0.13, 0.19, 0.16, 0.02), 0.66),
    "wolf": ([(0, 0, 0), (0.18, 0.12, -0.20), (0.38, 0.12, -0.34), (0.52, -0.10, -0.38), (0.52, -0.36, -0.38)], (0.06, 0.11, 0.15, 0.13, 0.02), 0.74),
    "raccoon": ([(0, 0, 0), (0.20, 0.10, -0.20), (0.42, 0.06, -0.32), (0.54, -0.18, -0.36), (0.52, -0.44, -0.34)], (0.06, 0.11, 0.14, 0.13, 0.06), 1.0),
    "cat": ([(0, 0, 0), (0.20, 0.14, -0.22), (0.44, 0.08, -0.30), (0.50, -0.20, -0.32), (0.40, -0.40, -0.30), (0.50, -0.54, -0.3)], (0.055, 0.06, 0.06, 0.06, 0.058, 0.05), 1.0),
    "tiger": ([(0, 0, 0), (0.20, 0.16, -0.22), (0.44, 0.12, -0.30), (0.54, -0.14, -0.32), (0.46, -0.36, -0.30), (0.54, -0.5, -0.3)], (0.055, 0.06, 0.06, 0.06, 0.06, 0.055), 0.93),
    "lion": ([(0, 0, 0), (0.22, 0.16, -0.22), (0.46, 0.10, -0.30), (0.54, -0.12, -0.32), (0.48, -0.34, -0.30)], (0.05, 0.05, 0.045, 0.04, 0.04), 0.9),
    "dog": ([(0, 0, 0), (0.14, 0.0, -0.18), (0.28, -0.14, -0.26), (0.34, -0.32, -0.26)], (0.06, 0.075, 0.07, 0.035), 1.0),
    "mouse": ([(0, 0, 0), (0.22, 0.22, -0.20), (0.46, 0.18, -0.28), (0.56, -0.06, -0.30), (0.68, -0.20, -0.3)], (0.03, 0.028, 0.025, 0.02, 0.012), 1.0),
    "pig": ([(0, 0, 0), (0.14, -0.04, -0.12), (0.22, -0.14, -0.16), (0.14, -0.20, -0.16), (0.20, -0.28, -0.16)], (0.03, 0.03, 0.028, 0.026, 0.02), 1.0),
    "rabbit": ([(0.02, -0.02, -0.06), (0.05, -0.05, -0.14)], (0.13, 0.13), 1.0),
    "sheep": ([(0.02, 0.0, -0.06), (0.05, 0.0, -0.14)], (0.12, 0.11), 1.0),
    "bear": ([(0, -0.02, -0.04), (0.03, -0.04, -0.12)], (0.10, 0.09), 1.0),
    "panda": ([(0, -0.02, -0.04), (0.03, -0.04, -0.12)], (0.10, 0.09), 1.0),
    "koala": ([(0, -0.02, -0.02), (0.02, -0.03, -0.06)], (0.08, 0.07), 1.0),
}  # fmt: skip
