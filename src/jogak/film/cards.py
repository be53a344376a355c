"""The title card and the end card: the film's own first and last picture out of focus, with words over it.

The title card pulls focus into the first shot, the end card out of the last one, so neither needs a dissolve.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from fontTools.ttLib import TTFont

from jogak.spec import FILM_FPS, FILM_HEIGHT, FILM_WIDTH, FilmPlan, JogakError

Weight = Literal["", "Bold", "ExtraBold"]
TEXT_WIDTH = 1040
"""Pixels that a line of a card may take."""
PAPER = (250, 247, 240)
"""Warm white, RGB."""
RISE = 16
"""Pixels that words rise while they appear."""


def title_card(plan: FilmPlan, first: np.ndarray, frames: int) -> Iterator[np.ndarray]:
    """`frames` pictures (720, 1280, 3) uint8 that fade in from black and end in focus on `first`, of that
    shape.
    """
    focus, words = _focus_levels(first), _title_words(plan, _accent(first))
    length = frames / FILM_FPS
    pull, fade = min(0.5, 0.3 * length), min(0.4, 0.2 * length)
    for index in range(frames):
        at = index / FILM_FPS
        picture = _at_focus(focus, _ease(at, length - pull, length), zoom=1.06 - 0.06 * _ease(at, 0, length))
        shown = _ease(at, 0.4 * fade, 1.4 * fade)
        gone = _ease(at, length - pull - 0.15 * fade, length - 0.4 * pull)
        lay(picture, words, shown * (1 - gone), RISE * (1 - shown))
        yield _finished(picture, _ease(at, -1 / FILM_FPS, fade))


def end_card(plan: FilmPlan, last: np.ndarray, frames: int) -> Iterator[np.ndarray]:
    """`frames` pictures (720, 1280, 3) uint8 that start in focus on `last` and end in black."""
    focus, words = _focus_levels(last), _end_words(plan, _accent(last))
    length = frames / FILM_FPS
    pull, fade = min(0.6, 0.35 * length), min(0.4, 0.25 * length)
    for index in range(frames):
        at = (index + 1) / FILM_FPS
        picture = _at_focus(focus, 1 - _ease(at, 0, pull), zoom=1 + 0.05 * _ease(at, 0, length))
        shown = _ease(at, 0.35 * pull, 0.35 * pull + fade)
        lay(picture, words, shown, RISE * (1 - shown))
        yield _finished(picture, 1 - _ease(at, length - fade, length))


def printable(text: str, weight: Weight = "ExtraBold") -> tuple[str, str]:
    """The text as the card font can draw it, and the characters that had to go (emoji, scripts it lacks)."""
    glyphs = _glyphs(weight)
    kept, lost = "", ""
    for character in unicodedata.normalize("NFC", text):
        plain = unicodedata.normalize("NFKC", character)
        if character.isspace():
            kept += " "
        elif unicodedata.category(character) in ("Cc", "Cf"):
            continue  # some fonts have boxes for these too
        elif ord(character) in glyphs:
            kept += character
        elif all(ord(part) in glyphs for part in plain):  # 𝓐 becomes A
            kept += plain
        elif unicodedata.category(character) != "Mn":
            lost += character
    return " ".join(kept.split()), lost


def card_notes(plan: FilmPlan) -> tuple[str, ...]:
    """What the cards show differently from what the plan says, in the film's language."""
    _, lost = printable(plan.title)
    if not lost:
        return ()
    if plan.lang == "ko":
        return (f"제목 카드 글꼴에 없는 글자를 뺐습니다: {lost}",)
    return (f"The title card's font lacks these characters, so they are left out: {lost}",)


@functools.cache
def font_path(weight: Weight = "") -> Path:
    """NanumGothic (OFL) out of the package `koreanize-matplotlib`. Raises `JogakError` when absent."""
    spec = find_spec("koreanize_matplotlib")  # found, not imported: importing it would import matplotlib
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "fonts" / f"NanumGothic{weight}.ttf"
        if path.is_file():
            return path
    raise JogakError("The Hangul font is missing; install it with: pip install koreanize-matplotlib")


@functools.cache
def load_font(weight: Weight, size: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(font_path(weight), size, layout_engine=PIL.ImageFont.Layout.BASIC)


@functools.cache
def _glyphs(weight: Weight) -> frozenset[int]:
    with TTFont(font_path(weight), lazy=True) as font:
        return frozenset(font.getBestCmap() or ())


# --- pictures ---


def _ease(at: float, start: float, stop: float) -> float:
    """0 before `start`, 1 after `stop`, smooth between."""
    t = min(max((at - start) / max(stop - start, 1e-9), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def _focus_levels(picture: np.ndarray) -> tuple[np.ndarray, ...]:
    """From out of focus and dark to sharp, float32 (720, 1280, 3)."""
    if picture.shape != (FILM_HEIGHT, FILM_WIDTH, 3):
        raise JogakError(f"A card needs a {FILM_WIDTH}x{FILM_HEIGHT} picture and got {picture.shape}.")
    sharp = picture.astype(np.float32)
    small = cv2.resize(sharp, (FILM_WIDTH // 4, FILM_HEIGHT // 4), interpolation=cv2.INTER_AREA)
    size = (FILM_WIDTH, FILM_HEIGHT)
    soft, softer, softest = (
        cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma), size, interpolation=cv2.INTER_CUBIC)
        for sigma in (1.5, 4.0, 9.0)
    )
    y, x = np.mgrid[-1 : 1 : FILM_HEIGHT * 1j, -1 : 1 : FILM_WIDTH * 1j].astype(np.float32)
    vignette = (1 - 0.35 * np.clip((x * x + y * y) / 2, 0, 1))[..., None]
    grey = softest.mean(axis=2, keepdims=True)
    dark = (0.25 * grey + 0.75 * softest) * 0.5 * vignette
    return dark, 0.7 * softer, 0.9 * soft, sharp


def _at_focus(levels: Sequence[np.ndarray], focus: float, zoom: float) -> np.ndarray:
    """The picture at focus 0 (soft and dark) to 1 (sharp), zoomed about its centre while it is soft."""
    place = focus * (len(levels) - 1)
    index = min(int(place), len(levels) - 2)
    share = place - index
    picture = cv2.addWeighted(levels[index], 1 - share, levels[index + 1], share, 0)
    zoom = 1 + (zoom - 1) * (1 - focus)
    if zoom == 1:
        return picture
    centre = ((FILM_WIDTH - 1) / 2, (FILM_HEIGHT - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, 0, zoom)
    return cv2.warpAffine(picture, matrix, (FILM_WIDTH, FILM_HEIGHT), borderMode=cv2.BORDER_REPLICATE)


def _finished(picture: np.ndarray, light: float) -> np.ndarray:
    return np.clip(picture * light + _grain(), 0, 255).astype(np.uint8)


@functools.cache
def _grain() -> np.ndarray:
    """Rounding that differs from pixel to pixel, or dark soft colours would show bands."""
    return np.random.default_rng(0).random((FILM_HEIGHT, FILM_WIDTH, 1), dtype=np.float32)


def _accent(picture: np.ndarray) -> tuple[int, int, int]:
    """The picture's most vivid colour, made light enough to stand on the dark backdrop."""
    small = cv2.resize(picture, (64, 36), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2HSV).reshape(-1, 3)
    vivid = hsv[:, 1] * hsv[:, 2]
    if float(vivid.max()) < 0.15:
        return PAPER
    hue, saturation, _ = hsv[np.argsort(vivid, kind="stable")[-max(1, len(vivid) // 50)]]
    colour = np.array([[[hue, min(saturation, 0.6), 0.97]]], np.float32)
    red, green, blue = (cv2.cvtColor(colour, cv2.COLOR_HSV2RGB)[0, 0] * 255).round().astype(int).tolist()
    return red, green, blue


# --- words ---


class _Text(NamedTuple):
    lines: tuple[str, ...]
    font: PIL.ImageFont.FreeTypeFont
    colour: tuple[int, int, int]
    middle: float
    """Pixels from the top to the middle of the block."""
    outline: int = 0
    """Pixels of black around each letter."""


class Words(NamedTuple):
    """Words with their shadow, premultiplied, float32, for the rows from `top` down."""

    colour: np.ndarray  # (h, 1280, 3), 0..255
    cover: np.ndarray  # (h, 1280, 1), 0..1
    top: int


def _title_words(plan: FilmPlan, accent: tuple[int, int, int]) -> Words:
    title = printable(plan.title)[0] or ("제목 없음" if plan.lang == "ko" else "Untitled")
    lines, font = fit(title, "ExtraBold", largest=92, smallest=30)
    texts = (
        _Text(lines, font, PAPER, 340),
        _Text((_credit(plan),), load_font("", 25), PAPER, 640),
    )
    return _words(texts, rule=(340 + len(lines) * font.size * 0.66 + 38, accent))


def _end_words(plan: FilmPlan, accent: tuple[int, int, int]) -> Words:
    title = printable(plan.title, "")[0]
    lines, font = fit(title, "", largest=30, smallest=20)
    said = "끝" if plan.lang == "ko" else "The End"
    texts = (
        _Text((said,), load_font("ExtraBold", 72), PAPER, 310),
        _Text(lines, font, PAPER, 422),
        _Text((_credit(plan),), load_font("", 25), PAPER, 640),
    )
    return _words(texts, rule=(372, accent))


def subtitle_words(text: str) -> Words | None:
    """A subtitle, with its line breaks, for the foot of the picture; None if nothing can be drawn."""
    lines = [line for line in (printable(part, "Bold")[0] for part in text.split("\n")) if line]
    if not lines:
        return None
    font = load_font("Bold", 42)
    middle = FILM_HEIGHT - 44 - len(lines) * font.size * 1.32 / 2
    return _words([_Text(tuple(lines), font, (255, 255, 255), middle, outline=3)])


def _credit(plan: FilmPlan) -> str:
    """Who drew it; a model given as a folder goes by the folder's name."""
    name = printable(Path(plan.model).name, "")[0]
    return f"Drawn by {name[:40] or 'a diffusion model'} · Jogak 조각"


def fit(
    text: str, weight: Weight, largest: int, smallest: int
) -> tuple[tuple[str, ...], PIL.ImageFont.FreeTypeFont]:
    """The largest setting of `text` within `TEXT_WIDTH`, in one line, or in two once one would be under 3/4
    size.
    """
    for size in range(largest, smallest, -2):
        font = load_font(weight, size)
        for lines in [(text,), *([_halves(text, font)] if size <= 0.75 * largest else [])]:
            if max(font.getlength(line) for line in lines) <= TEXT_WIDTH:
                return lines, font
    font = load_font(weight, smallest)
    while max(map(font.getlength, _halves(text, font))) > TEXT_WIDTH:
        text = text[:-2] + "…"
    return _halves(text, font), font


def _halves(text: str, font: PIL.ImageFont.FreeTypeFont) -> tuple[str, ...]:
    """Two lines of like width, broken at a space if there is one."""
    cuts = [index for index, character in enumerate(text) if character == " "] or range(1, len(text))
    options = [(text[:cut].strip(), text[cut:].strip()) for cut in cuts]
    return min(options, key=lambda pair: max(map(font.getlength, pair)), default=(text,))


def _words(texts: Sequence[_Text], rule: tuple[float, tuple[int, int, int]] | None = None) -> Words:
    """Set the texts, and a short rule at (pixels from the top, colour) if one is given."""
    layer = PIL.Image.new("RGBA", (FILM_WIDTH, FILM_HEIGHT))
    draw = PIL.ImageDraw.Draw(layer)
    middle = FILM_WIDTH / 2
    for text in texts:
        leading = text.font.size * 1.32
        for index, line in enumerate(text.lines):
            y = text.middle + (index - (len(text.lines) - 1) / 2) * leading
            draw.text(
                (middle, y),
                line,
                font=text.font,
                fill=(*text.colour, 255),
                anchor="mm",
                stroke_width=text.outline,
                stroke_fill=(0, 0, 0, 255),
            )
    if rule:
        y, colour = rule
        draw.rounded_rectangle((middle - 36, y - 2, middle + 36, y + 2), 2, fill=(*colour, 255))
    rgba = np.asarray(layer).astype(np.float32)
    alpha = rgba[..., 3:] / 255
    shadow = 0.55 * cv2.GaussianBlur(alpha, (0, 0), 9)[..., None]
    rows = np.flatnonzero(shadow.max(axis=(1, 2)) > 0.002)
    top, stop = max(int(rows[0]) - RISE, 0), min(int(rows[-1]) + RISE + 1, FILM_HEIGHT)
    cover = alpha + shadow * (1 - alpha)
    return Words((rgba[..., :3] * alpha)[top:stop], cover[top:stop], top)


def lay(picture: np.ndarray, words: Words, strength: float = 1, lower: float = 0) -> None:
    """Put words onto a float32 picture in place, `lower` pixels below their place."""
    if strength <= 0:
        return
    colour, cover = words.colour, words.cover
    height, width = colour.shape[:2]
    if lower:
        shift = np.array([[1, 0, 0], [0, 1, lower]], np.float32)
        colour = cv2.warpAffine(colour, shift, (width, height))
        cover = cv2.warpAffine(cover, shift, (width, height))[..., None]
    part = picture[words.top : words.top + height]
    part *= 1 - strength * cover
    part += strength * colour
