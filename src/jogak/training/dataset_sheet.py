"""The contact sheet of a data set: every picture as it will be trained, its size and its caption."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from fontTools.ttLib import TTFont

from jogak.spec import JogakError
from jogak.spec.dataset import Dataset

COLUMNS, CELL, GAP, MARGIN = 6, 200, 14, 32
TEXT = 62
"""Pixels below a picture for its words."""
SHOWN = 120
"""Pictures on the sheet at the most."""
PAPER, INK, SOFT, CLAY = (246, 243, 237), (34, 30, 25), (111, 103, 93), (180, 83, 42)


def thumb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """A copy that fits into a cell."""
    small = picture.copy()
    small.thumbnail((CELL, CELL), PIL.Image.Resampling.LANCZOS)
    return small


def draw_contact(data: Dataset, thumbs: Sequence[PIL.Image.Image]) -> PIL.Image.Image:
    """The sheet; `thumbs` are those of the first pictures of the set, in its order."""
    rows = -(-len(thumbs) // COLUMNS)
    width = 2 * MARGIN + COLUMNS * CELL + (COLUMNS - 1) * GAP
    top = MARGIN + 76
    sheet = PIL.Image.new("RGB", (width, top + rows * (CELL + TEXT + GAP) + MARGIN - GAP), PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 8), _fitted(_title(data), 26, width - 2 * MARGIN), font=_font(26), fill=INK)
    draw.text((MARGIN, MARGIN + 30), _fitted(_facts(data), 15, width - 2 * MARGIN), font=_font(15), fill=SOFT)
    for i, (small, image) in enumerate(zip(thumbs, data.images, strict=False)):
        left = MARGIN + i % COLUMNS * (CELL + GAP)
        upper = top + i // COLUMNS * (CELL + TEXT + GAP)
        sheet.paste(small, (left + (CELL - small.width) // 2, upper + (CELL - small.height) // 2))
        size = f"{image.width}×{image.height}  {image.source or image.file}"
        draw.text((left, upper + CELL + 4), _fitted(size, 12, CELL), font=_font(12), fill=CLAY)
        for line, text in enumerate(_two_lines(image.caption, 13, CELL)):
            draw.text((left, upper + CELL + 22 + 18 * line), text, font=_font(13), fill=INK)
    return sheet


def _title(data: Dataset) -> str:
    return f"{data.trigger} {data.class_name}".strip()


def _facts(data: Dataset) -> str:
    sizes = ", ".join(f"{width}×{height}: {count}" for (width, height), count in data.buckets.items())
    more = f" (the first {SHOWN} are shown)" if len(data.images) > SHOWN else ""
    return f"{len(data.images)} pictures{more} · {sizes}"


def _two_lines(text: str, size: int, width: int) -> list[str]:
    """The beginning of a text in at most two lines, parted at a blank."""
    words = text.split()
    first = ""
    while words and _font(size).getlength(f"{first} {words[0]}".strip()) <= width:
        first = f"{first} {words.pop(0)}".strip()
    if not first:
        return [_fitted(text, size, width)]
    return [_fitted(line, size, width) for line in (first, " ".join(words)) if line]


def _fitted(text: str, size: int, width: int) -> str:
    """The text without what the font cannot draw, shortened to a width in pixels."""
    text = "".join(sign for sign in unicodedata.normalize("NFC", text) if ord(sign) in _glyphs())
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(_font_path(), size, layout_engine=PIL.ImageFont.Layout.BASIC)


@cache
def _glyphs() -> frozenset[int]:
    with TTFont(_font_path(), lazy=True) as font:
        return frozenset(font.getBestCmap() or ())


def _font_path() -> Path:
    spec = find_spec("koreanize_matplotlib")  # found, not imported: importing it would import matplotlib
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "fonts" / "NanumGothic.ttf"
        if path.is_file():
            return path
    raise JogakError("The Hangul font is missing; install it with: pip install koreanize-matplotlib")
