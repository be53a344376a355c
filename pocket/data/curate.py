"""Check the lexicon against the drawings and write back which drawing shows each concept in each look.

    python -m pocket.data.curate --sources DIR            # fill in `icons` by hexcode, check, write
    python -m pocket.data.curate --sources DIR --check    # check only; fails when the file would change
    python -m pocket.data.curate --sources DIR --sheet FILE.png [--rows 80] [--seed 0]   # pictures to look at

DIR holds the unpacked npm packages `@iconify-json/noto`, `fluent-emoji`, `fluent-emoji-flat`, `twemoji` and
`fluent-emoji-high-contrast` (any folder names that contain those), each with `icons.json` and `chars.json`, and
`emojibase-data` for the list of emoji. The words, kinds and habitats in the file are written by hand: this
script never changes them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jogak.models.lexicon import LEXICON_FILE, Article, Habitat, Kind

ICON_SETS = {
    "noto": "noto",
    "fluent": "fluent-emoji",
    "flat": "fluent-emoji-flat",
    "twemoji": "twemoji",
    "high_contrast": "fluent-emoji-high-contrast",
}
CONCEPTS = range(640, 721)
MIN_LOOKS = 4
"""One of the five may be missing: any two things then share a look that the shipped base was taught, and the
film planner, which takes the first that all share, never comes to the last."""
MAX_MORE = 4
HANGUL = re.compile(r"[가-힣]+( [가-힣]+)*")
LATIN = re.compile(r"[A-Za-zñé][A-Za-z0-9ñé' .-]*")
# Twemoji draws a ball where the others draw a racket, so the concept is not the same there.
WRONG_DRAWINGS = {("tennis_racket", "twemoji")}
# One word, one meaning: these groups are looked up together in a sentence.
NOUN_GROUPS = ("looks", "places", "times", "weathers", "colours", "sizes", "positions", "concepts")
VERB_GROUPS = ("actions",), ("moods",), ("counts",)


@dataclass(frozen=True)
class IconSet:
    """One collection of drawings: `icons.json` (bodies, aliases, box) and hexcode → icon name."""

    icons: dict[str, Any]
    names: dict[str, str]

    def name(self, hexcode: str) -> str | None:
        """The icon of this emoji, or None. The set may write the code without variation selectors."""
        key = hexcode.lower()
        name = self.names.get(key) or self.names.get(key.replace("-fe0f", ""))
        known = name in self.icons["icons"] or name in self.icons.get("aliases", {})
        return name if known else None

    def svg(self, name: str) -> str:
        """The drawing as an SVG document."""
        while name in self.icons.get("aliases", {}):
            name = self.icons["aliases"][name]["parent"]
        icon = self.icons["icons"][name]
        width = icon.get("width", self.icons.get("width", 16))
        height = icon.get("height", self.icons.get("height", 16))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{box}">{icon["body"]}</svg>'
        )


def read_icon_sets(sources: Path) -> dict[str, IconSet]:
    """The sets by lexicon key. Raises `SystemExit` with a sentence when one is not in the folder."""
    found: dict[str, IconSet] = {}
    for key, package in ICON_SETS.items():
        pattern = re.compile(rf"(^|[-_/]){package}(-\d[\d.]*)?(/|$)")
        files = [
            file
            for file in sources.rglob("icons.json")
            if pattern.search(file.parent.relative_to(sources).as_posix())
        ]
        if not files:
            raise SystemExit(
                f"{sources}: no icons.json of @iconify-json/{package}. Unpack that package there."
            )
        icons = json.loads(files[0].read_text(encoding="utf-8"))
        names = json.loads(files[0].with_name("chars.json").read_text(encoding="utf-8"))
        found[key] = IconSet(icons, names)
    # The soft 3D set ships an empty chars.json; it uses the flat set's names.
    found["fluent"] = IconSet(found["fluent"].icons, found["flat"].names)
    return found


def read_hexcodes(sources: Path) -> set[str]:
    """Every emoji of emojibase's English list."""
    files = list(sources.glob("**/emojibase-data*/**/en/data.json"))
    if not files:
        raise SystemExit(f"{sources}: no en/data.json of emojibase-data. Unpack that package there.")
    return {row["hexcode"] for row in json.loads(files[0].read_text(encoding="utf-8"))}


def fill_icons(data: dict[str, Any], sets: dict[str, IconSet]) -> None:
    """Write each concept's drawing in each set into its row."""
    for row in data["concepts"]:
        names = {key: icons.name(row["hexcode"]) for key, icons in sets.items()}
        row["icons"] = {
            key: name for key, name in names.items() if name and (row["id"], key) not in WRONG_DRAWINGS
        }


def problems(data: dict[str, Any]) -> list[str]:
    """What is wrong with the file's own content, one sentence each."""
    rows = data["concepts"]
    found = []
    if len(rows) not in CONCEPTS:
        found.append(f"{len(rows)} concepts; {CONCEPTS.start} to {CONCEPTS.stop - 1} are wanted")
    for key in ("id", "hexcode"):
        found += [f"{key} {value} twice" for value, n in Counter(row[key] for row in rows).items() if n > 1]
    for row in rows:
        found += [f"{row['id']}: {problem}" for problem in _row_problems(row)]
    for groups in (NOUN_GROUPS, *VERB_GROUPS):
        found += _collisions(data, groups)
    return found


def _row_problems(row: dict[str, Any]) -> list[str]:
    found = []
    if not re.fullmatch(r"[a-z][a-z0-9_]*", row["id"]):
        found.append("id is not snake_case")
    for key, allowed in (("kind", Kind), ("habitat", Habitat), ("article", Article)):
        if row[key] not in allowed.__args__:
            found.append(f"{key} {row[key]!r} is not one of {allowed.__args__}")
    for language, script in (("en", LATIN), ("ko", HANGUL)):
        words = [row[language], *row[f"{language}_more"]]
        found += [
            f"{word!r} is not in the script of {language}" for word in words if not script.fullmatch(word)
        ]
        if len(words) > MAX_MORE + 1:
            found.append(f"more than {MAX_MORE} synonyms in {language}")
    if not set(row["en_bare"]) <= set(row["en_more"]):
        found.append("en_bare has words that en_more lacks")
    if not HANGUL.fullmatch(row["counter"]):
        found.append("no Korean counter")
    if len(row["icons"]) < MIN_LOOKS:
        found.append(f"drawn in {len(row['icons'])} looks; {MIN_LOOKS} are wanted")
    return found


def _collisions(data: dict[str, Any], groups: tuple[str, ...]) -> list[str]:
    """Words that mean two things."""
    found = []
    for language in ("en", "ko"):
        owner: dict[str, str] = {}
        for group in groups:
            for row in data[group]:
                for word in (row[language], *row[f"{language}_more"]):
                    here = f"{group}/{row['id']}"
                    if word.lower() in owner:
                        found.append(f"{word!r} belongs to {owner[word.lower()]} and to {here}")
                    owner[word.lower()] = here
    return found


def dumps(data: dict[str, Any]) -> str:
    """The file's text: one row a line, so that a change reads as the line it changes."""
    parts = []
    for key, value in data.items():
        if isinstance(value, list):
            lines = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f"  {json.dumps(key)}: [\n{lines}\n  ]")
        else:
            parts.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def write(path: Path, text: str) -> None:
    """Replace a file whole."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def draw_sheet(rows: list[dict[str, Any]], sets: dict[str, IconSet], path: Path, cell: int = 56) -> None:
    """A PNG of each row's drawings side by side, in the order of `ICON_SETS`, under its id."""
    import resvg_py
    from PIL import Image, ImageDraw

    columns = 5
    block_width, block_height = cell * len(sets) + 12, cell + 16
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (block_width * columns, block_height * lines), "white")
    pen = ImageDraw.Draw(sheet)
    for index, row in enumerate(rows):
        left, top = index % columns * block_width, index // columns * block_height
        pen.text((left, top), row["id"], fill="black")
        for place, (key, icons) in enumerate(sets.items()):
            if key not in row["icons"]:
                continue
            png = resvg_py.svg_to_bytes(svg_string=icons.svg(row["icons"][key]), width=cell, height=cell)
            picture = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
            sheet.paste(picture, (left + place * cell, top + 14), picture)
    sheet.save(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check pocket's lexicon against the drawings.")
    parser.add_argument("--sources", type=Path, required=True, help="folder of the unpacked npm packages")
    parser.add_argument("--file", type=Path, default=LEXICON_FILE, help="the lexicon")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file would change")
    parser.add_argument("--sheet", type=Path, help="also draw rows into this PNG")
    parser.add_argument("--rows", type=int, default=80, help="how many rows the sheet shows")
    parser.add_argument("--seed", type=int, default=0, help="which rows the sheet shows")
    options = parser.parse_args(arguments)

    before = options.file.read_text(encoding="utf-8")
    data = json.loads(before)
    sets = read_icon_sets(options.sources)
    fill_icons(data, sets)
    known = read_hexcodes(options.sources)
    found = problems(data)
    found += [
        f"{row['id']}: {row['hexcode']} is no emoji"
        for row in data["concepts"]
        if row["hexcode"] not in known
    ]
    after = dumps(data)
    if options.check and after != before:
        found.append(f"{options.file.name} would change: run without --check")
    for problem in found:
        print(problem, file=sys.stderr)
    if options.sheet:
        rows = random.Random(options.seed).sample(data["concepts"], min(options.rows, len(data["concepts"])))
        draw_sheet(rows, sets, options.sheet)
    if found:
        return 1
    if not options.check:
        write(options.file, after)
    kinds = Counter(row["kind"] for row in data["concepts"])
    print(f"{len(data['concepts'])} concepts:", ", ".join(f"{kind} {n}" for kind, n in kinds.most_common()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
