"""A reader for the PDFs that typst writes: enough to know what text, fonts and pages are in them."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_SIGNS = r"(?:\\.|[^\\()])*"
for _ in range(4):  # a literal string may hold brackets as they are, if they pair
    _SIGNS = rf"(?:\\.|[^\\()]|\({_SIGNS}\))*"
_LITERAL = rf"\({_SIGNS}\)|<[0-9A-Fa-f]*>"
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class Pdf:
    pages: tuple[str, ...]
    """The text of each page, without the marks that let lines break."""
    fonts: dict[str, str]
    """What each font writes, by its name without the subset's tag."""
    embedded: frozenset[str]
    """The names of the fonts whose outlines are in the file."""

    @property
    def text(self) -> str:
        return "\n".join(self.pages)


def read_pdf(data: bytes) -> Pdf:
    objects = {int(found[1]): found[2] for found in re.finditer(rb"(\d+) 0 obj\s(.*?)endobj", data, re.S)}
    maps: dict[int, dict[str, str]] = {}
    names: dict[int, str] = {}
    for number, body in objects.items():
        if b"/Subtype/Type0" in body:
            maps[number] = _unicode_map(_stream(objects[_reference(body, "ToUnicode")]))
            names[number] = re.search(rb"/BaseFont/(?:[A-Z]{6}\+)?([\w-]+)", body)[1].decode()  # pyright: ignore
    written: dict[str, str] = dict.fromkeys(names.values(), "")
    pages = []
    for body in objects.values():
        if not re.search(rb"/Type\s*/Page\b", body):
            continue
        resources = objects[_reference(body, "Resources")] if b"/Resources " in body else body
        fonts = {found[1].decode(): int(found[2]) for found in re.finditer(rb"/(f\d+) (\d+) 0 R", resources)}
        content = _stream(objects[_reference(body, "Contents")]).decode("latin-1")
        text, font = [], 0
        for found in re.finditer(
            rf"/(f\d+) [\d.]+ Tf|({_LITERAL})Tj|\[((?:{_LITERAL}|[^\]()<>])*)\]TJ", content, re.S
        ):
            if found[1]:
                font = fonts[found[1]]
            else:
                for literal in re.findall(_LITERAL, found[2] or found[3], re.S):
                    said = _shown(literal, maps[font])
                    written[names[font]] += said
                    text.append(said)
        pages.append("".join(text).replace("\u200b", ""))
    embedded = {
        found[1].decode()
        for found in re.finditer(rb"/FontName/(?:[A-Z]{6}\+)?([\w-]+)[^>]*/FontFile[23]", data)
    }
    return Pdf(tuple(pages), written, frozenset(embedded))


def _reference(body: bytes, key: str) -> int:
    found = re.search(rb"/" + key.encode() + rb" (\d+) 0 R", body)
    assert found, key
    return int(found[1])


def _stream(body: bytes) -> bytes:
    found = re.search(rb"stream\r?\n(.*)\r?\nendstream", body, re.S)
    assert found
    return zlib.decompress(found[1]) if b"FlateDecode" in body[: found.start()] else found[1]


def _unicode_map(cmap: bytes) -> dict[str, str]:
    pairs = re.findall(r"<([0-9A-F]{4})> <([0-9A-F]+)>", cmap.decode("latin-1"))
    return {chr(int(code, 16)): bytes.fromhex(text).decode("utf-16-be") for code, text in pairs}


def _shown(string: str, letters: dict[str, str]) -> str:
    """A string of two-byte codes, literal or hexadecimal, as text."""
    if string[0] == "<":
        raw = bytes.fromhex(string[1:-1]).decode("latin-1")
    else:
        raw = re.sub(r"\\([0-7]{1,3}|.)", _unescaped, string[1:-1], flags=re.S)
    codes = [chr(ord(high) << 8 | ord(low)) for high, low in zip(raw[::2], raw[1::2], strict=True)]
    return "".join(letters.get(code, "") for code in codes)


def _unescaped(found: re.Match[str]) -> str:
    sign = found[1]
    return chr(int(sign, 8)) if sign[0] in "01234567" else _ESCAPES.get(sign, sign)
