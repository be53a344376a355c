"""The character sheet on one page, as PNG and as PDF: the panels with captions and scores, who it is, what steered.

Both come from one template, so what is printed is what is shown. The page is as high as its content.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import PIL.Image
import typst
from pydantic import Field

from jogak.report.typeset import MAX_PICTURE, fonts, jpeg, plain
from jogak.spec import Document, Image, JogakError, Spec
from jogak.spec.film import Lang
from jogak.store import current, step

PPI = 160
"""Of the PNG: 240 mm are 1512 pixels."""
SHARP = 900
"""Pixels of a panel's longer side on the page: small pictures are enlarged (Lanczos), since viewers do it worse."""
THUMB = 200
REFERENCES = 8
"""Reference pictures that are shown at most."""
WIDE = 1.25
"""Panels this much wider than high stand fewer in a row."""

WORDS: dict[Lang, dict[str, str]] = {
    "en": {
        "sheet": "Character sheet", "consistency": "consistency", "take": "take", "asked": "pose asked", "references": "References", "tone": "Tone",
        "steered": "What steered", "mean": "mean of the panels", "reached": "panels reach the bar",
        "settings": "Settings", "notes": "Read it so",
    },
    "ko": {
        "sheet": "캐릭터 시트", "consistency": "일관성", "take": "그림", "asked": "요청 자세", "references": "참고 그림", "tone": "톤",
        "steered": "무엇이 이끌었나", "mean": "패널 평균", "reached": "패널이 기준에 이름",
        "settings": "설정", "notes": "이렇게 읽으세요",
    },
}  # fmt: skip


class ShownPanel(Spec):
    picture: Image
    pose: Image | None = Field(default=None, description="the map of the pose that was asked for")
    caption: str
    consistency: float
    fault: str = Field(default="", max_length=100, description="why it does not pass; empty: it does")
    take: int = Field(ge=1, description="which take was kept")
    takes: int = Field(ge=1, description="of how many")


class Steered(Spec):
    """What held identity, pose or tone, or that nothing but words did."""

    name: str
    on: bool
    how: str


class SheetFacts(Spec):
    """Everything that stands on the page."""

    title: str
    text: str = ""
    lang: Lang
    panels: tuple[ShownPanel, ...] = Field(min_length=1)
    references: tuple[Image, ...] = ()
    tone: Image | None = None
    steered: tuple[Steered, ...] = ()
    bar: float
    mean: float
    low: float | None = Field(default=None, description="lower end of the mean's 95 % interval")
    high: float | None = Field(default=None, description="upper end of the mean's 95 % interval")
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    version: str = ""


@step(version="1")
def sheet_pdf(facts: SheetFacts) -> Document:
    """`sheet.pdf`. Equal facts give equal bytes. Raises `JogakError` when a picture cannot be read."""
    store = current().store
    with store.new_file(".pdf") as path:
        path.write_bytes(_set(facts, "pdf"))
        return store.put(path, Document)


@step(version="1")
def sheet_page(facts: SheetFacts) -> Image:
    """`sheet.png`, 1512 pixels wide."""
    store = current().store
    with store.new_file(".png") as path:
        path.write_bytes(_set(facts, "png"))
        with PIL.Image.open(path) as page:
            width, height = page.size
        return store.put(path, Image, width=width, height=height)


def rows_of(count: int, wide: bool = False) -> list[int]:
    """How many panels stand in each row: rows as equal as can be, the fuller ones below, so that none has a hole."""
    per_row = {3: 3, 4: 2, 5: 3, 6: 3, 9: 3}.get(count, 4)
    if wide:
        per_row = min(3, -(-count // 3))
    rows = -(-count // per_row)
    least, more = divmod(count, rows)
    return [least] * (rows - more) + [least + 1] * more


def page_data(facts: SheetFacts) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the template shows: strings as they are to be read, and pictures by file name."""
    pictures: dict[str, bytes] = {}

    def kept(name: str, content: bytes) -> str:
        pictures[name] = content
        return name

    first = facts.panels[0].picture
    low, high = _axis([*(panel.consistency for panel in facts.panels), facts.bar])
    panels = [
        {
            "picture": kept(f"panel{at}.jpg", _enlarged(panel.picture.path)),
            "pose": kept(f"pose{at}.png", _figure(panel.pose.path)) if panel.pose else None,
            "caption": plain(panel.caption, 200),
            "value": f"{panel.consistency:.3f}",
            "at": (panel.consistency - low) / (high - low),
            "fault": plain(panel.fault, 100),
            "take": f"{panel.take}/{panel.takes}",
        }
        for at, panel in enumerate(facts.panels, 1)
    ]
    reached = sum(not panel.fault for panel in facts.panels)
    return {
        "lang": facts.lang,
        "words": WORDS[facts.lang],
        "title": plain(facts.title, 80),
        "text": plain(facts.text, 300),
        "panels": panels,
        "rows": rows_of(len(panels), first.width / first.height >= WIDE),
        "aspect": first.height / first.width,
        "bar": f"{facts.bar:.3f}",
        "bar_at": (facts.bar - low) / (high - low),
        "mean": f"{facts.mean:.3f}",
        "range": "" if facts.low is None or facts.high is None else f"{facts.low:.3f}–{facts.high:.3f}",
        "reached": f"{reached} / {len(panels)}",
        "references": [
            kept(f"reference{at}.jpg", jpeg(picture.path, THUMB)[0])
            for at, picture in enumerate(_spread(facts.references, REFERENCES))
        ],
        "tone": kept("tone.jpg", jpeg(facts.tone.path, THUMB)[0]) if facts.tone else None,
        "steered": [{"name": one.name, "on": one.on, "how": plain(one.how, 300)} for one in facts.steered],
        "settings": [[name, plain(value, 120)] for name, value in facts.settings],
        "notes": [plain(note, 700) for note in facts.notes],
        "version": facts.version,
    }, pictures  # fmt: skip


def _axis(values: Sequence[float]) -> tuple[float, float]:
    """Both ends of the axis that all panels share."""
    low, high = min(values), max(values)
    room = max(0.05, 0.25 * (high - low))
    return low - room, high + room


def _spread(pictures: Sequence[Image], count: int) -> list[Image]:
    """At most so many, evenly over all."""
    if len(pictures) <= count:
        return list(pictures)
    return [pictures[round(at * (len(pictures) - 1) / (count - 1))] for at in range(count)]


def _enlarged(path: Path) -> bytes:
    try:
        with PIL.Image.open(path, formats=("PNG", "JPEG", "WEBP")) as opened:
            if opened.width * opened.height > MAX_PICTURE:
                raise JogakError(f"{path.name} has more than {MAX_PICTURE:,} pixels; draw smaller panels.")
            picture = opened.convert("RGB")
    except OSError as error:
        raise JogakError(f"{path} cannot be read as a panel: {error}") from None
    scale = SHARP / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    content = io.BytesIO()
    picture.resize(size, PIL.Image.Resampling.LANCZOS).save(content, "JPEG", quality=90, subsampling=0)
    return content.getvalue()


def _figure(path: Path) -> bytes:
    """A pose map cut to its figure, square, so that it can be read when it is small."""
    try:
        with PIL.Image.open(path, formats=("PNG", "JPEG", "WEBP")) as opened:
            if opened.width * opened.height > MAX_PICTURE:
                raise JogakError(
                    f"{path.name} has more than {MAX_PICTURE:,} pixels; give a smaller pose map."
                )
            picture = opened.convert("RGB")
    except OSError as error:
        raise JogakError(f"{path} cannot be read as a pose map: {error}") from None
    left, top, right, bottom = picture.getbbox() or (0, 0, *picture.size)
    side = round(1.2 * max(right - left, bottom - top))
    corner = ((left + right - side) // 2, (top + bottom - side) // 2)
    figure = picture.crop((*corner, corner[0] + side, corner[1] + side))
    content = io.BytesIO()
    figure.resize((THUMB, THUMB), PIL.Image.Resampling.LANCZOS).save(content, "PNG")
    return content.getvalue()


def _set(facts: SheetFacts, form: Literal["pdf", "png"]) -> bytes:
    """The page by typst, in a folder that holds nothing else and that typst cannot leave."""
    data, pictures = page_data(facts)
    with TemporaryDirectory(prefix="jogak-sheet-") as name:
        return _compiled(Path(name), data, pictures, form)


def _compiled(
    folder: Path, data: Mapping[str, Any], pictures: Mapping[str, bytes], form: Literal["pdf", "png"]
) -> bytes:
    main = folder / "main.typ"
    main.write_bytes((files("jogak.report") / "templates" / "sheet.typ").read_bytes())
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    try:
        made = typst.compile(
            main, root=folder, format=form, font_paths=[fonts()], ignore_system_fonts=True,
            ppi=PPI if form == "png" else None, timestamp=0,
        )  # fmt: skip
    except typst.TypstError as error:
        reason = " ".join(str(error).split())[:200]
        raise JogakError(f"The sheet could not be typeset: {reason}") from error
    if not isinstance(made, bytes):
        raise JogakError("The sheet came out on several pages; give it fewer panels or shorter captions.")
    return made
