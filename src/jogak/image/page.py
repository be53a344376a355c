"""Pages of pictures with words beside them: the house's paper, its Hangul font, and text that fits its place."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from PIL.PngImagePlugin import PngInfo

from jogak.spec import Image, JogakError
from jogak.store import current

PAPER, INK, SOFT, CLAY = (246, 243, 237), (34, 30, 25), (111, 103, 93), (180, 83, 42)
LINE, SHADE = (221, 214, 203), (236, 231, 222)
MARGIN, GAP = 32, 10

Weight = Literal["", "Bold", "ExtraBold"]
Pen = PIL.ImageDraw.ImageDraw
Font = PIL.ImageFont.FreeTypeFont


@functools.cache
def font(size: int, weight: Weight = "") -> Font:
    """NanumGothic (OFL) out of the package `koreanize-matplotlib`. Raises `JogakError` when absent."""
    spec = find_spec("koreanize_matplotlib")  # found, not imported: importing it would import matplotlib
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "fonts" / f"NanumGothic{weight}.ttf"
        if path.is_file():
            return PIL.ImageFont.truetype(path, size, layout_engine=PIL.ImageFont.Layout.BASIC)
    raise JogakError("The Hangul font is missing; install it with: pip install koreanize-matplotlib")


def one_line(text: str) -> str:
    """Without line breaks and control characters, composed as the font's Hangul is."""
    text = unicodedata.normalize("NFC", text)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def shortened(text: str, face: Font, width: float) -> str:
    """As much of a text as fits `width` pixels, with … where it was cut."""
    text = one_line(text)[:2000]
    if face.getlength(text) <= width:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if face.getlength(text[:middle] + "…") <= width:
            fits = middle
        else:
            too_long = middle
    return text[:fits].rstrip() + "…" if fits else ""


def wrapped(text: str, face: Font, width: float, most: int) -> list[str]:
    """A text in at most `most` lines of `width` pixels, broken at spaces where there are any; the last is shortened."""
    rest, lines = one_line(text)[:4000], []
    while rest and len(lines) < most - 1 and face.getlength(rest) > width:
        cut = len(shortened(rest, face, width)) - 1
        at = rest.rfind(" ", 1, cut + 1)
        cut = at if at > 0 else max(cut, 1)
        lines.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*lines, shortened(rest, face, width)] if rest else lines


def shown(picture: Image, width: int, height: int) -> PIL.Image.Image:
    """A picture of the store as large as fits the box, never enlarged beyond it."""
    with PIL.Image.open(picture.path) as file:
        rgb = file.convert("RGB")
    scale = min(width / rgb.width, height / rgb.height)
    size = max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))
    return rgb if size == rgb.size else rgb.resize(size, PIL.Image.Resampling.LANCZOS)


def keep(page: PIL.Image.Image, texts: Mapping[str, str] | None = None) -> Image:
    """The page as a PNG in the store, with `texts` in its PNG info. Inside a step."""
    info = PngInfo()
    for key, value in (texts or {}).items():
        info.add_text(key, value)
    store = current().store
    with store.new_file(".png") as file:
        page.save(file, pnginfo=info)
        return store.put(file, Image, width=page.width, height=page.height)
