"""Paints layered pieces in one of the four looks: rounded shading, flat, outlined, cut paper.

Coloured with dark outlines is the look `clip_art`, as in its drawings. The lexicon's `outlined`, ink on white paper, is
none of a puppet's: its caption names the colours of hair and clothes, which a line drawing has not.

Pieces are polygons in units; `Frame` puts them on a picture. They are painted at twice the size and averaged.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from pocket.data.puppets.words import Look, Rgb

PARTS = (
    "background", "tail", "hair", "ear", "head", "face", "eye", "brow", "nose", "mouth", "glasses", "beard", "hat",
    "neck", "scarf", "trunk", "top", "bottom", "left_arm", "right_arm", "left_hand", "right_hand", "left_leg",
    "right_leg", "left_foot", "right_foot",
)  # fmt: skip
"""What a pixel of a part mask may be, by its number."""
PART = {name: number for number, name in enumerate(PARTS)}
OVERSAMPLING = 2
_SHIFT = 4
_INK = (58, 38, 46)
WHITE: Rgb = (255, 253, 248)
"""Of eyes, their highlights and teeth."""
_PAD = 3


class Decal(NamedTuple):
    """Something painted on a piece and cut off at its edge."""

    shape: np.ndarray
    colour: Rgb
    part: str = ""
    """What it counts as in the part mask; "" for the piece itself."""
    opacity: float = 1.0
    line: bool = False
    """Whether line art draws its outline."""
    solid: bool = False
    """Whether line art fills it with ink."""


@dataclass(slots=True)
class Piece:
    """One layer: the union of its shapes, one colour, and what is painted on it."""

    part: str
    colour: Rgb
    shapes: list[np.ndarray]
    depth: float = 0.0
    """Higher is painted later."""
    decals: list[Decal] = field(default_factory=list)
    shaded: bool = True
    outline: float = 1.0
    """Width of its outline; 0 has none."""
    cast: float = 0.0
    """How dark a shadow it throws on what lies under it, 0..1."""
    ink: bool = False
    """Whether line art fills it."""


class Frame(NamedTuple):
    """From units to pixels of the finished picture: pixel = unit * scale + (x, y)."""

    scale: float
    x: float
    y: float
    size: int

    def pixels(self, points: np.ndarray) -> np.ndarray:
        return points * self.scale + (self.x, self.y)


class Painted(NamedTuple):
    """RGBA with straight alpha, part numbers and the rank of the topmost layer, all (size, size, …) uint8."""

    rgba: np.ndarray
    parts: np.ndarray
    layers: np.ndarray


def mix(colour: Rgb, other: Rgb, share: float) -> Rgb:
    """Between two colours."""
    return tuple(round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))  # type: ignore[return-value]


def darker(colour: Rgb, share: float = 0.2) -> Rgb:
    """A shade that goes towards plum rather than black."""
    return mix(colour, (74, 34, 70), share)


def lighter(colour: Rgb, share: float = 0.2) -> Rgb:
    return mix(colour, (255, 250, 236), share)


@functools.lru_cache(maxsize=4096)
def _ramp(colour: Rgb) -> np.ndarray:
    """(256, 1, 3): from light that comes back from the ground through shadow and colour to light."""
    glow = max(colour) / 255
    deep: Rgb = tuple(round(c * k) for c, k in zip(colour, (0.85, 0.63, 0.68), strict=True))  # type: ignore[assignment]
    shadow = mix(deep, (176, 58, 96), 0.13 * glow)
    light = mix(colour, (255, 248, 226), 0.50)
    rim = mix(shadow, (255, 214, 226), 0.30)
    at = np.linspace(0, 1, 256)
    stops = np.array(
        [rim, shadow, mix(colour, shadow, 0.40), colour, mix(colour, light, 0.45), light], dtype=float
    )
    ramp = np.stack([np.interp(at, (0, 0.10, 0.27, 0.5, 0.76, 1), stops[:, c]) for c in range(3)], axis=1)
    return ramp.round().astype(np.uint8)[:, None]


@functools.lru_cache(maxsize=4096)
def _outline(colour: Rgb) -> Rgb:
    """The ink around a colour: dark, with a breath of it."""
    return mix(_INK, (colour[0] // 2, colour[1] // 2, colour[2] // 2), 0.35)


def paint(pieces: Sequence[Piece], frame: Frame, look: Look) -> Painted:
    """All pieces in order of depth."""
    canvas = _Canvas(frame, look)
    order = sorted(pieces, key=lambda piece: piece.depth)
    for rank, piece in enumerate(order):
        canvas.add(piece, 1 + round(254 * (rank + 1) / len(order)))
    return canvas.finish()


_SHADOW = (np.arange(256)[:, None, None] * np.array([0.55, 0.40, 0.55])).astype(np.uint8)


class _Canvas:
    def __init__(self, frame: Frame, look: Look) -> None:
        k = OVERSAMPLING
        self.frame = Frame(frame.scale * k, frame.x * k, frame.y * k, frame.size * k)
        self.look = look
        size = self.frame.size
        self.rgb = np.zeros((size, size, 3), np.uint8)
        self.alpha = np.zeros((size, size), np.float32)
        self.parts = np.zeros((size, size), np.uint8)
        self.layers = np.zeros((size, size), np.uint8)
        self.pen = max(1.0, size / 92)

    def add(self, piece: Piece, rank: int) -> None:
        shapes = [self.frame.pixels(shape) for shape in piece.shapes]
        outline = self.pen * piece.outline if self.look == "clip_art" else 0.0
        soft = self.look in ("soft_3d", "cutout")
        cast = piece.cast if soft else 0.0
        box = self._box(shapes, _PAD + outline + (self.frame.size / 40 if cast else 0))
        if box is None:
            return
        x0, y0, x1, y1 = box
        here = (slice(y0, y1), slice(x0, x1))
        mask = self._mask(shapes, box)
        rgb, alpha = self.rgb[here], self.alpha[here]
        if cast:
            self._cast(mask, rgb, cast)
        if outline:
            ink = np.zeros_like(mask)
            fixed = [_fixed(shape, x0, y0) for shape in shapes]
            cv2.polylines(ink, fixed, True, 255, max(1, round(outline * 2)), cv2.LINE_AA, _SHIFT)
            _over(rgb, alpha, _outline(piece.colour), ink)
        source = self._colours(piece, mask, box)
        part, layer = self.parts[here], self.layers[here]
        inside = mask > 127
        part[inside] = PART[piece.part]
        layer[inside] = rank
        _over(rgb, alpha, source, mask)
        for decal in piece.decals:
            if decal.part:
                self._mark(decal, box, mask)

    def _box(self, shapes: list[np.ndarray], pad: float) -> tuple[int, int, int, int] | None:
        low = np.min([shape.min(0) for shape in shapes], axis=0) - pad
        high = np.max([shape.max(0) for shape in shapes], axis=0) + pad + 1
        size = self.frame.size
        x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
        x1, y1 = min(size, int(high[0]) + 1), min(size, int(high[1]) + 1)
        return (x0, y0, x1, y1) if x1 - x0 > 1 and y1 - y0 > 1 else None

    def _mask(self, shapes: list[np.ndarray], box: tuple[int, int, int, int]) -> np.ndarray:
        x0, y0, x1, y1 = box
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for shape in shapes:
            cv2.fillPoly(mask, [_fixed(shape, x0, y0)], 255, cv2.LINE_AA, _SHIFT)
        return mask

    def _cast(self, mask: np.ndarray, rgb: np.ndarray, strength: float) -> None:
        reach = max(1, round(self.frame.size / (70 if self.look == "soft_3d" else 90)))
        shadow = cv2.blur(mask, (2 * reach + 1, 2 * reach + 1))
        weight = np.zeros(mask.shape, np.float32)
        aside = reach // 2
        weight[reach:, : mask.shape[1] - aside] = shadow[:-reach, aside:]
        weight *= strength / 255
        rgb[:] = cv2.blendLinear(cv2.LUT(rgb, _SHADOW), np.ascontiguousarray(rgb), weight, 1 - weight)

    def _colours(self, piece: Piece, mask: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray | Rgb:
        """What the piece's pixels are: one colour when plain, else a picture."""
        soft = self.look == "soft_3d" and piece.shaded
        if not soft and not piece.decals:
            return piece.colour
        light = self._light(mask) if soft else None
        if light is not None:
            source = cv2.LUT(cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), _ramp(piece.colour))
        else:
            source = np.empty((*mask.shape, 3), np.uint8)
            source[:] = piece.colour
        for decal in piece.decals:
            self._decal(decal, source, box, light)
        return source

    def _decal(
        self, decal: Decal, source: np.ndarray, box: tuple[int, int, int, int], light: np.ndarray | None
    ) -> None:
        x0, y0, x1, y1 = box
        shape = self.frame.pixels(decal.shape)
        small = self._box([shape], 2)
        if small is None:
            return
        sx0, sy0, sx1, sy1 = max(small[0], x0), max(small[1], y0), min(small[2], x1), min(small[3], y1)
        if sx1 <= sx0 or sy1 <= sy0:
            return
        mask = self._mask([shape], (sx0, sy0, sx1, sy1))
        part = (slice(sy0 - y0, sy1 - y0), slice(sx0 - x0, sx1 - x0))
        under = source[part]
        if light is not None and decal.opacity == 1.0 and not decal.part:
            over = cv2.LUT(cv2.cvtColor(light[part], cv2.COLOR_GRAY2RGB), _ramp(decal.colour))
        else:
            over = np.empty_like(under)
            over[:] = decal.colour
        weight = mask.astype(np.float32) * (decal.opacity / 255)
        source[part] = cv2.blendLinear(over, np.ascontiguousarray(under), weight, 1 - weight)

    def _mark(self, decal: Decal, box: tuple[int, int, int, int], outer: np.ndarray) -> None:
        x0, y0, x1, y1 = box
        mask = self._mask([self.frame.pixels(decal.shape)], box)
        self.parts[y0:y1, x0:x1][(mask > 127) & (outer > 127)] = PART[decal.part]

    def _light(self, mask: np.ndarray) -> np.ndarray:
        """How the light from the upper left falls on a shape that bulges: 128 is neither light nor shadow."""
        height, width = mask.shape
        reach = max(2, round(min(height, width) * 0.17))
        bulge = cv2.blur(cv2.blur(mask, (2 * reach + 1,) * 2), (reach | 1,) * 2)
        dx, dy = max(1, round(reach * 0.5)), max(1, round(reach * 0.8))
        padded = cv2.copyMakeBorder(bulge, dy, dy, dx, dx, cv2.BORDER_REPLICATE)
        above = padded[:height, :width]
        below = padded[2 * dy :, 2 * dx :]
        return cv2.addWeighted(below, 0.56, above, -0.56, 134)

    def finish(self) -> Painted:
        k, size = OVERSAMPLING, self.frame.size // OVERSAMPLING
        weighted = cv2.multiply(self.rgb, cv2.merge([self.alpha] * 3), dtype=cv2.CV_32F)
        small = cv2.resize(weighted, (size, size), interpolation=cv2.INTER_AREA)
        covered = cv2.resize(self.alpha, (size, size), interpolation=cv2.INTER_AREA)
        rgb = cv2.divide(small, cv2.merge([np.maximum(covered, 1e-4)] * 3), dtype=cv2.CV_8U)
        rgba = np.concatenate([rgb, (covered * 255 + 0.5).astype(np.uint8)[..., None]], axis=2)
        middle = slice(k // 2, None, k)
        return Painted(rgba, self.parts[middle, middle].copy(), self.layers[middle, middle].copy())


def _fixed(shape: np.ndarray, x0: int, y0: int) -> np.ndarray:
    """Pixel coordinates (centres at .5) as the fixed-point numbers that drawing takes."""
    return np.rint((shape - (x0 + 0.5, y0 + 0.5)) * (1 << _SHIFT)).astype(np.int32)


def _over(rgb: np.ndarray, alpha: np.ndarray, source: np.ndarray | Rgb, mask: np.ndarray) -> None:
    """Paint `source` through a mask onto straight colours, in place."""
    weight = mask.astype(np.float32) * (1 / 255)
    rest = alpha * (1 - weight)
    if not isinstance(source, np.ndarray):
        colour = source
        source = np.empty(rgb.shape, np.uint8)
        source[:] = colour
    rgb[:] = cv2.blendLinear(source, np.ascontiguousarray(rgb), weight, rest)
    alpha[:] = weight + rest


def line_art(pieces: Sequence[Piece], frame: Frame) -> np.ndarray:
    """(size, size) uint8: black outlines of all that is seen, on white."""
    k = OVERSAMPLING
    size = frame.size * k
    big = Frame(frame.scale * k, frame.x * k, frame.y * k, size)
    page = np.full((size, size), 255, np.uint8)
    pen = max(2, round(size / 130))
    for piece in sorted(pieces, key=lambda piece: piece.depth):
        shapes = [_fixed(big.pixels(shape), 0, 0) for shape in piece.shapes]
        if not piece.ink:
            cv2.polylines(page, shapes, True, 0, pen, cv2.LINE_AA, _SHIFT)
        for shape in shapes:
            cv2.fillPoly(page, [shape], 0 if piece.ink else 255, cv2.LINE_AA, _SHIFT)
        if not piece.decals:
            continue
        inside = np.zeros_like(page)
        for shape in shapes:
            cv2.fillPoly(inside, [shape], 255, cv2.LINE_8, _SHIFT)
        drawn = page.copy()
        for decal in piece.decals:
            shape = _fixed(big.pixels(decal.shape), 0, 0)
            if decal.solid:
                cv2.fillPoly(drawn, [shape], 0, cv2.LINE_AA, _SHIFT)
            elif decal.line:
                cv2.polylines(drawn, [shape], True, 0, max(1, pen // 2), cv2.LINE_AA, _SHIFT)
            elif decal.colour == WHITE:  # a highlight in an eye
                cv2.fillPoly(drawn, [shape], 255, cv2.LINE_AA, _SHIFT)
        cv2.copyTo(drawn, inside, page)
    return cv2.resize(page, (frame.size, frame.size), interpolation=cv2.INTER_AREA)
