"""The sweep as one picture: a row for each checkpoint, a column for each weight, the recommended cell framed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from jogak.spec import Image, JogakError
from jogak.spec.training import CellScores
from jogak.store import current

TILE, GAP, MARGIN, LABEL = 128, 4, 24, 44
PAPER, INK, SOFT, CLAY = (246, 243, 237), (34, 30, 25), (111, 103, 93), (180, 83, 42)
MOST_TILES = 4
"""Pictures shown of a cell: the first seed of its first prompts."""


def draw_grid(
    cells: Sequence[CellScores],
    best: int,
    plain: CellScores,
    drawn: Sequence[Sequence[Image]],
    plain_pictures: Sequence[Image],
    seeds: int,
    prompts: Sequence[str],
) -> Image:
    """A PNG in the store. The plain model stands on top, then checkpoints downwards and weights to the right."""
    tiles = min(MOST_TILES, len(prompts))
    columns = min(2, tiles)
    rows = -(-tiles // columns)
    weights = sorted({cell.weight for cell in cells})
    steps = sorted({cell.step for cell in cells})
    width = columns * (TILE + GAP) - GAP
    height = rows * (TILE + GAP) - GAP + LABEL
    sheet = PIL.Image.new(
        "RGB",
        (
            2 * MARGIN + len(weights) * (width + MARGIN) - MARGIN,
            MARGIN + (len(steps) + 1) * (height + MARGIN),
        ),
        PAPER,
    )
    pen = PIL.ImageDraw.Draw(sheet)

    def put(
        cell: CellScores, pictures: Sequence[Image], left: int, top: int, title: str, framed: bool
    ) -> None:
        if framed:
            pen.rounded_rectangle(
                (left - 8, top - 8, left + width + 8, top + height + 8), 6, outline=CLAY, width=4
            )
        pen.text((left, top), title, font=_font("Bold", 15), fill=CLAY if framed else INK)
        pen.text((left, top + 19), _facts(cell), font=_font("", 12), fill=SOFT)
        for i in range(tiles):
            with PIL.Image.open(pictures[i * seeds].path) as picture:
                tile = picture.convert("RGB").resize((TILE, TILE), PIL.Image.Resampling.LANCZOS)
            place = left + i % columns * (TILE + GAP), top + LABEL + i // columns * (TILE + GAP)
            sheet.paste(tile, place)

    put(plain, plain_pictures, MARGIN, MARGIN, "without LoRA · 기본 모델", framed=False)
    for i, (cell, pictures) in enumerate(zip(cells, drawn, strict=True)):
        left = MARGIN + weights.index(cell.weight) * (width + MARGIN)
        top = MARGIN + (steps.index(cell.step) + 1) * (height + MARGIN)
        put(cell, pictures, left, top, f"{cell.step} × {cell.weight:g}   {cell.value:.2f}", framed=i == best)
    with current().store.new_file(".png") as path:
        sheet.save(path)
        return current().store.put(path, Image, width=sheet.width, height=sheet.height)


def _facts(cell: CellScores) -> str:
    shares = f"닮음 {cell.likeness:.0%} · 말 {cell.obedience:.0%} · 다양 {cell.variety:.0%}"
    return shares + (f" · 복제 {cell.copied:.0%}" if cell.copied else "")


@functools.cache
def _font(weight: str, size: int) -> PIL.ImageFont.FreeTypeFont:
    spec = find_spec("koreanize_matplotlib")  # found, not imported: importing it would import matplotlib
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "fonts" / f"NanumGothic{weight}.ttf"
        if path.is_file():
            return PIL.ImageFont.truetype(path, size)
    raise JogakError("The Hangul font is missing; install it with: pip install koreanize-matplotlib")
