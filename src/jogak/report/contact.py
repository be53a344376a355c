"""The contact sheet: a few frames of every shot of the finished film, with time codes, on one picture."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Set
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import av
import av.error
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from av.video.reformatter import Interpolation
from fontTools.ttLib import TTFont

from jogak.spec import FILM_FPS, FilmPlan, Image, JogakError, Shot, Video
from jogak.store import current, step

COLUMNS = 4
THUMB = (338, 190)
MARGIN, GAP, CAPTION = 40, 16, 40
ROW = CAPTION + THUMB[1] + 24
WIDTH = 2 * MARGIN + COLUMNS * THUMB[0] + (COLUMNS - 1) * GAP
PAPER, INK, SOFT, CLAY = (246, 243, 237), (34, 30, 25), (111, 103, 93), (180, 83, 42)
MAX_PIXELS, MAX_FRAMES = 2048 * 2048, 40 * 60
"""A larger picture or a longer film is refused before it is decoded."""
TRUE_COLOUR = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
"""Without the last two the shrunk pictures come out two levels too dark."""

Weight = Literal["", "Bold", "ExtraBold"]


@step(version="1")
def contact_sheet(film: Video, plan: FilmPlan) -> Image:
    """A JPEG: the title and both cards on top, then four frames of each shot with their time codes.

    Raises `JogakError` when the film cannot be read, or is not as long as the plan says.
    """
    sheet = draw_sheet(film.path, plan)
    with current().store.new_file(".jpg") as path:
        sheet.save(path, quality=90, subsampling=0, optimize=True)
        return current().store.put(path, Image, width=sheet.width, height=sheet.height)


def draw_sheet(film: Path, plan: FilmPlan) -> PIL.Image.Image:
    """The sheet as a picture, 1480 pixels wide."""
    cards = (
        round(plan.title_seconds * 0.6 * FILM_FPS),
        round((plan.seconds - 0.4 * plan.end_seconds) * FILM_FPS),
    )
    shown = [_spread(start, shot.seconds) for start, shot in zip(plan.starts, plan.shots, strict=True)]
    thumbs = read_thumbs(film, {*cards, *(frame for row in shown for frame in row)})
    height = 2 * MARGIN + THUMB[1] + 24 + len(shown) * ROW - 24
    sheet = PIL.Image.new("RGB", (WIDTH, height), PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    _header(draw, plan)
    for column, frame in enumerate(cards, COLUMNS - len(cards)):
        _thumb(sheet, column, MARGIN, thumbs[frame], frame)
    for index, (shot, frames) in enumerate(zip(plan.shots, shown, strict=True)):
        top = MARGIN + THUMB[1] + 24 + index * ROW
        _caption(draw, top, shot, plan.starts[index])
        for column, frame in enumerate(frames):
            _thumb(sheet, column, top + CAPTION, thumbs[frame], frame)
    return sheet


def read_thumbs(film: Path, wanted: Set[int]) -> dict[int, PIL.Image.Image]:
    """The wanted frames of an MP4, by number, shrunk to `THUMB`. Raises `JogakError` if one is not there."""
    thumbs: dict[int, PIL.Image.Image] = {}
    try:
        with av.open(film) as container:
            if not container.streams.video:
                raise JogakError(f"{film.name} holds no pictures; make the film again.")
            stream = container.streams.video[0]
            size = stream.codec_context.width * stream.codec_context.height
            if not 0 < size <= MAX_PIXELS or stream.frames > MAX_FRAMES:
                raise JogakError(
                    f"{film.name} is larger than {MAX_FRAMES} frames of {MAX_PIXELS:,} pixels; make it again."
                )
            for index, frame in enumerate(container.decode(stream)):
                if index in wanted:
                    thumbs[index] = frame.to_image(
                        width=THUMB[0],
                        height=THUMB[1],
                        interpolation=TRUE_COLOUR,
                    )
                if len(thumbs) == len(wanted) or index >= MAX_FRAMES:
                    break
    except av.error.FFmpegError as error:
        reason = error.strerror or error
        raise JogakError(f"{film.name} cannot be read as a film ({reason}); make the film again.") from None
    if missing := sorted(wanted - thumbs.keys()):
        raise JogakError(
            f"{film.name} has no frame {missing[0]}, so it is not this plan's film; make the film again."
        )
    return thumbs


def _spread(start: float, seconds: float) -> tuple[int, ...]:
    """Frames at the middles of `COLUMNS` equal parts of a shot."""
    return tuple(round((start + seconds * (part + 0.5) / COLUMNS) * FILM_FPS) for part in range(COLUMNS))


# --- drawing ---


def _header(draw: PIL.ImageDraw.ImageDraw, plan: FilmPlan) -> None:
    """The title and what the film is, in the two columns beside the cards."""
    width = 2 * THUMB[0]
    lines, font = _set_title(_drawable(plan.title, "ExtraBold"), width)
    top = MARGIN - 6
    for line in lines:
        draw.text((MARGIN, top), line, font=font, fill=INK)
        top += round(font.size * 1.25)
    draw.rounded_rectangle((MARGIN, top + 16, MARGIN + 56, top + 20), 2, fill=CLAY)
    music = f"{plan.music.mood} · {plan.music.key} · {plan.music.tempo} bpm"
    count = f"샷 {len(plan.shots)}개" if plan.lang == "ko" else f"{len(plan.shots)} shots"
    seconds = f"{plan.seconds:.1f}초" if plan.lang == "ko" else f"{plan.seconds:.1f} s"
    model = _drawable(Path(plan.model).name, "")
    facts = (f"{seconds} · {count} · {music}", f"{model} · seed {plan.seed} · Jogak 조각")
    for index, fact in enumerate(facts):
        text = _shortened(fact, _font("", 19), width)
        draw.text((MARGIN, top + 38 + 28 * index), text, font=_font("", 19), fill=SOFT)


def _caption(draw: PIL.ImageDraw.ImageDraw, top: int, shot: Shot, start: float) -> None:
    """One line over a shot's frames: its id, size, camera and time, then as much of its prompt as fits."""
    base = top + CAPTION - 13
    left = float(MARGIN)
    camera = shot.camera.replace("_", " ")
    span = f"{start:.1f}–{start + shot.seconds:.1f} s"
    for text, font, colour in (
        (shot.id, _font("ExtraBold", 22), CLAY),
        (f"{shot.size} · {camera}", _font("Bold", 18), INK),
        (span, _font("", 18), SOFT),
    ):
        draw.text((left, base), text, font=font, fill=colour, anchor="ls")
        left += font.getlength(text) + 16
    font = _font("", 18)
    prompt = _shortened(_drawable(shot.prompt, ""), font, WIDTH - MARGIN - left)
    draw.text((WIDTH - MARGIN, base), prompt, font=font, fill=SOFT, anchor="rs")


def _thumb(sheet: PIL.Image.Image, column: int, top: int, picture: PIL.Image.Image, frame: int) -> None:
    """A frame with its time code in the corner."""
    left = MARGIN + column * (THUMB[0] + GAP)
    sheet.paste(picture, (left, top), _rounded(THUMB, 6))
    font = _font("Bold", 15)
    code = f"{frame // FILM_FPS // 60:02}:{frame // FILM_FPS % 60:02}:{frame % FILM_FPS:02}"
    width, height = round(font.getlength(code)) + 16, 24
    box = (left + 8, top + THUMB[1] - height - 8)
    sheet.paste(
        (20, 18, 15), box, _rounded((width, height), 5).point([cover * 17 // 25 for cover in range(256)])
    )
    PIL.ImageDraw.Draw(sheet).text(
        (box[0] + width / 2, box[1] + height / 2), code, font=font, fill=(255, 255, 255), anchor="mm"
    )


@functools.cache
def _rounded(size: tuple[int, int], radius: int) -> PIL.Image.Image:
    """A mask with round corners, drawn four times as large so that they are smooth."""
    large = PIL.Image.new("L", (4 * size[0], 4 * size[1]))
    box = (0, 0, large.width - 1, large.height - 1)
    PIL.ImageDraw.Draw(large).rounded_rectangle(box, 4 * radius, fill=255)
    return large.resize(size, PIL.Image.Resampling.BOX)


def _set_title(text: str, width: float) -> tuple[tuple[str, ...], PIL.ImageFont.FreeTypeFont]:
    """The title as large as two columns allow, in one line or two."""
    words = text.split()
    halves = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    for size in range(46, 22, -2):
        font = _font("ExtraBold", size)
        fitting = [lines for lines in ((text,), *halves) if max(map(font.getlength, lines)) <= width]
        if fitting and (size <= 34 or len(fitting[0]) == 1):
            return min(fitting, key=lambda lines: (len(lines), max(map(font.getlength, lines)))), font
    font = _font("ExtraBold", 24)
    return (_shortened(text, font, width),), font


def _shortened(text: str, font: PIL.ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…" if text else ""


def _drawable(text: str, weight: Weight) -> str:
    """The text without what the font has no glyph for."""
    text = unicodedata.normalize("NFC", text)
    return " ".join(
        "".join(c if c.isprintable() and ord(c) in _glyphs(weight) else " " for c in text).split()
    )


@functools.cache
def _font(weight: Weight, size: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(_font_path(weight), size, layout_engine=PIL.ImageFont.Layout.BASIC)


@functools.cache
def _glyphs(weight: Weight) -> frozenset[int]:
    with TTFont(_font_path(weight), lazy=True) as font:
        return frozenset(font.getBestCmap() or ())


def _font_path(weight: Weight) -> Path:
    spec = find_spec("koreanize_matplotlib")  # found, not imported: importing it would import matplotlib
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "fonts" / f"NanumGothic{weight}.ttf"
        if path.is_file():
            return path
    raise JogakError("The Hangul font is missing; install it with: pip install koreanize-matplotlib")
