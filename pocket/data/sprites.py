"""Sprites: every concept in every look, drawn once from its SVG into one array.

python -m pocket.data.sprites build/sources build/sprites.npz
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocket.data.workers import in_parallel

SIZE = 192
OUTLINED = "outlined"
"""The look of ink on paper; its sources are black shapes alone."""
INK, PAPER = 24, 255
"""Grey of its lines, near black, and of what lies within them."""
OVERSAMPLING = 4
"""An outlined drawing is filled at so many times its sprite's side: shrunk, what was cut hard has smooth edges."""
INKED = 250
"""Coverage, of 255, from which a pixel is ink. An edge's paler pixels are not: the outside keeps them as they are."""
GAP = 0.06
"""The widest opening in an outline, in shares of the rendered side, that still holds the outside out. The drawings
leave gaps of 1 to 2 of their 32 units where one part lies over another."""
SPECK = 0.6 / 32
"""What an opening lets in is paper only where it is wider than this."""
LINE = 1.2 / 32
"""Width of the line that is left around a black area."""
AREA = 3.4 / 32
"""Black that a disc of this diameter fits into is an area and is made paper; lines, 2 of 32 units wide, stay."""


@dataclass(frozen=True)
class Sprites:
    """`pixels` (N, 4, SIZE, SIZE) uint8, premultiplied RGBA; `index[(concept, look)]` is a row of it.

    Puppets stand behind the drawings: `puppets` are their keys in `index`, with what each is called in English and
    Korean. `joints` (N, 18, 3): x and y in shares of the side, and whether it is there; all 0 for drawings.
    """

    pixels: np.ndarray
    index: dict[tuple[str, str], int]
    puppets: list[tuple[str, str]] = field(default_factory=list)
    phrases: list[tuple[str, str]] = field(default_factory=list)
    joints: np.ndarray | None = None


def draw(svg: str, side: int = SIZE) -> np.ndarray:
    """One SVG as (4, side, side) uint8 premultiplied RGBA, cropped to what is drawn and fitted, bottom-aligned."""
    return _fitted(_rendered(svg, side * 4 // 3), side)


def draw_outlined(svg: str, side: int = SIZE) -> np.ndarray:
    """As `draw`, of an SVG of black shapes: near-black lines, and opaque white paper wherever they enclose something.

    Half of these drawings are for more than 60 % black (a star, a horse are it all over), which is no line drawing
    and could show no colour: black areas become paper within a line.
    """
    alpha = np.asarray(_rendered(svg, side * OVERSAMPLING).getchannel("A"))
    inside = enclosed(alpha)
    ink = np.where(hollow(alpha), 0, alpha / 255)
    grey = np.where(inside, PAPER + (INK - PAPER) * ink, INK).round().astype(np.uint8)
    covered = np.where(inside, np.uint8(255), alpha)
    return _fitted(Image.fromarray(np.stack([grey, grey, grey, covered], -1), "RGBA"), side)


def enclosed(alpha: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What a flood from the border does not reach, of ink's coverage (side, side): lines, and all that they enclose.

    The flood does not pass gaps up to `GAP`. What it misses for that alone counts where it is as wide as the gap
    between two parts: in the sharp corners outside of a line it would be specks of paper.
    """
    side = len(alpha)
    margin = round(GAP * side / 2) + 2
    ink = np.pad(alpha >= INKED, margin)
    alone, closed = (~_outside(ink, gap * side / 2) for gap in (0.0, GAP))
    inside = alone | _discs(closed & ~alone, SPECK * side / 2)
    return inside[margin:-margin, margin:-margin]


def hollow(alpha: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where black areas are cut out so that a line is left around them, of ink's coverage (side, side)."""
    side = len(alpha)
    return _discs(np.pad(alpha >= INKED, 1), AREA * side / 2, LINE * side)[1:-1, 1:-1]


def _outside(ink: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """What a flood from the upper left corner reaches, (H, W), that keeps `reach` pixels away from ink; it is widened by
    as much afterwards, up to the ink."""
    passable = (_distance(ink) > reach).astype(np.uint8)
    cv2.floodFill(passable, None, (0, 0), (2,))
    return (_distance(passable == 2) <= reach) & ~ink


def _discs(mask: NDArray[np.bool_], radius: float, less: float = 0.0) -> NDArray[np.bool_]:
    """What the discs of a radius that fit into a mask (H, W) cover, when each is made `less` smaller."""
    return _distance(_distance(~mask) > radius) <= radius - less


def _distance(there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pixels from each pixel to the nearest one that is true, (H, W); a very large number where there is none."""
    far = cv2.distanceTransform((~there).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(far, np.float32)


def _rendered(svg: str, whole: int) -> Image.Image:
    """An SVG as a picture (whole, whole) in RGBA with straight alpha."""
    import resvg_py

    big = Image.open(io.BytesIO(resvg_py.svg_to_bytes(svg_string=svg, width=whole, height=whole)))
    return big.convert("RGBA")


def _fitted(big: Image.Image, side: int) -> np.ndarray:
    """A picture in RGBA cropped to what is drawn, shrunk to `side` and put at its bottom: (4, side, side) uint8,
    premultiplied."""
    box = big.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    if box is None:
        raise ValueError("an empty drawing")
    part = big.crop(box)
    scale = (side - 2) / max(part.size)
    part = part.resize(
        (max(1, round(part.width * scale)), max(1, round(part.height * scale))), Image.Resampling.LANCZOS
    )
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(part, ((side - part.width) // 2, side - 1 - part.height))
    rgba = np.asarray(canvas, dtype=np.float32)
    rgba = np.concatenate([rgba[..., :3] * (rgba[..., 3:] / 255), rgba[..., 3:]], axis=-1)
    return (rgba + 0.5).astype(np.uint8).transpose(2, 0, 1)


def load_sources(path: Path) -> list[tuple[str, str, str]]:
    """(concept, look, svg) rows of `drawings.jsonl.gz` as written by `fetch.py`."""
    with gzip.open(path / "drawings.jsonl.gz", "rt", encoding="utf-8") as file:
        return [tuple(json.loads(line)) for line in file]  # type: ignore[misc]


def draw_row(row: tuple[str, str, str], side: int = SIZE) -> np.ndarray:
    """A (concept, look, svg) row as (4, side, side) uint8, in the manner of its look."""
    return draw_outlined(row[2], side) if row[1] == OUTLINED else draw(row[2], side)


def draw_rows(rows: list[tuple[str, str, str]], workers: int | None, side: int = SIZE) -> np.ndarray:
    """Every row's drawing, (N, 4, side, side) uint8; 0 `workers` draw here."""
    make = partial(draw_row, side=side)
    return np.stack(in_parallel(make, rows, workers, chunksize=16) if workers != 0 else [*map(make, rows)])


def make_sprites(sources: Path, workers: int | None = None) -> Sprites:
    rows = load_sources(sources)
    pixels = draw_rows(rows, workers)
    return Sprites(pixels, {(concept, look): i for i, (concept, look, _) in enumerate(rows)})


def save(sprites: Sprites, path: Path) -> None:
    keys = np.array([f"{concept}\t{look}" for concept, look in sprites.index])
    np.savez(path, pixels=sprites.pixels, keys=keys)


def load(path: Path, puppets: Path | None = None) -> Sprites:
    """The drawings, and the puppets that `python -m pocket.data.puppets --many` wrote."""
    data = np.load(path)
    index = {tuple(key.split("\t")): i for i, key in enumerate(data["keys"].tolist())}
    if puppets is None:
        return Sprites(data["pixels"], index)  # type: ignore[arg-type]
    drawn = np.load(puppets)
    keys = [(f"puppet-{row}", look) for row, look in enumerate(drawn["look"].tolist())]
    joints = np.zeros((len(index), 18, 3), np.float16)
    return Sprites(
        np.concatenate([data["pixels"], drawn["pixels"]]),
        index | {key: len(index) + row for row, key in enumerate(keys)},  # type: ignore[arg-type]
        keys,
        list(zip(drawn["en"].tolist(), drawn["ko"].tolist(), strict=True)),
        np.concatenate([joints, drawn["joints"]]),
    )


if __name__ == "__main__":
    save(make_sprites(Path(sys.argv[1])), Path(sys.argv[2]))
