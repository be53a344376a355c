"""From a template and plain data to a PDF, by typst, with a Hangul font and no other file in reach."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typst
from PIL import Image as Pictures

from jogak.spec import JogakError

MAX_PICTURE = 40_000_000
"""Pixels; a larger picture is refused before it is decoded."""
LONG_WORD = 18
"""Signs without a space after which a line may break."""


def typeset(template: str, data: Mapping[str, Any], pictures: Mapping[str, bytes]) -> bytes:
    """The PDF of `templates/<template>`. Equal arguments give equal bytes: the PDF carries no date.

    `data` reaches the template as data.json and `pictures` as files of those names, in a folder that holds
    nothing else and that typst cannot leave; neither is read as markup. Raises `JogakError` when typst fails.
    """
    with TemporaryDirectory(prefix="jogak-report-") as name:
        folder = Path(name)
        main = folder / "main.typ"
        main.write_bytes((files("jogak.report") / "templates" / template).read_bytes())
        (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
        for name, content in pictures.items():
            (folder / name).write_bytes(content)
        try:
            pdf = typst.compile(
                main, root=folder, format="pdf", font_paths=[fonts()], ignore_system_fonts=True, timestamp=0
            )
        except typst.TypstError as error:
            reason = " ".join(str(error).split())[:200]
            raise JogakError(f"The report could not be typeset: {reason}") from error
    assert isinstance(pdf, bytes)
    return pdf


@cache
def fonts() -> Path:
    """The folder with NanumGothic (OFL), found without an import of its package, which imports matplotlib."""
    found = find_spec("koreanize_matplotlib")
    if found is None or found.origin is None:
        raise JogakError("The report needs a Hangul font; install koreanize-matplotlib with pip.")
    return Path(found.origin).parent / "fonts"


def plain(text: str, limit: int = 2000) -> str:
    """Text as the report can show it: one line of at most `limit` signs, and marks that let it break.

    Control characters go; an emoji, for which no font is shipped, becomes its name in brackets; words without
    an end may be broken.
    """
    shown = " ".join("".join(_sign(letter) for letter in text[:limit]).split())
    if len(shown) > limit or len(text) > limit:
        shown = shown[: limit - 1] + "…"
    # U+200B, a space of no width, is where a line may break
    return re.sub(rf"(\S{{{LONG_WORD}}})(?=\S)", "\\1\u200b", shown)


def _sign(letter: str) -> str:
    kind = unicodedata.category(letter)
    if letter.isspace():
        return " "
    if kind in ("Cc", "Cs", "Co", "Cn") or (kind in ("Cf", "Mn") and ord(letter) >= 0x200B):
        return ""
    if ord(letter) >= 0x1F000:
        return f"[{unicodedata.name(letter, 'sign').lower()}]"
    return letter


def jpeg(path: Path, side: int, quality: int = 88) -> tuple[bytes, int, int]:
    """A picture file (PNG, JPEG, WebP) as JPEG of at most `side` pixels on its longer side, with width and
    height.

    Raises `JogakError` when the file is absent, no picture, or too large.
    """
    try:
        with Pictures.open(path, formats=("PNG", "JPEG", "WEBP")) as opened:
            if opened.width * opened.height > MAX_PICTURE:
                raise JogakError(
                    f"{path.name} has more than {MAX_PICTURE:,} pixels; give the report a smaller one."
                )
            picture = opened.convert("RGB")
    except OSError as error:
        raise JogakError(f"{path} cannot be read as a picture for the report: {error}") from None
    picture.thumbnail((side, side), Pictures.Resampling.LANCZOS)
    kept = io.BytesIO()
    picture.save(kept, "JPEG", quality=quality, optimize=True)
    return kept.getvalue(), picture.width, picture.height
