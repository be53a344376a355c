"""Which pictures a folder holds: kohya's `10_name/` layout or a flat folder, captions beside the pictures.

Nothing is skipped in silence. What a trainer would pass over is found and named: pictures beside or below the
`10_name/` folders, folders without a number, links that lead out, pipes, formats that are not read.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jogak.spec import SpecError
from jogak.spec.dataset import MAX_PICTURES, Severity
from jogak.store.pictures import SUFFIXES, read_file

DATASET_FILE, CONTACT_FILE = "dataset.json", "contact.jpg"
MAX_ENTRIES = 50_000
"""Names in one folder."""
MAX_REPEATS = 1000
MASK = "-masklabel.png"
"""What a mask's name ends with, after its picture's stem: white is what a masked training learns."""
CAPTIONS = (".txt", ".caption")
"""Endings of a caption file, the one that counts first."""
CONVERTIBLE = frozenset({
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".tga", ".raw", ".cr2", ".cr3", ".nef", ".arw",
    ".dng", ".ico", ".ppm", ".kra", ".xcf", ".clip", ".jfif",
})  # fmt: skip
"""Pictures that are not read; a set would silently be smaller without them."""

_GROUP = re.compile(r"(\d{1,9})_(.*)", re.DOTALL)
_IGNORED = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_TEXTS = re.compile(r"(licen[cs]e|copying|readme|notice|credits|라이[선센]스|저작권|출처)", re.IGNORECASE)

_LICENCE = re.compile(
    r"licen[cs]e|cc[ -]?(?:by|0)|copyright|public domain|©|저작권|라이[선센]스|출처|공유", re.I
)


@dataclass(frozen=True)
class Found:
    """A finding before it is put into words: its name is a row of `dataset_words.WORDS`."""

    name: str
    severity: Severity
    files: tuple[str, ...] = ()
    facts: dict[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A picture of the folder that counts."""

    path: Path
    file: str
    """Its path inside the folder, with /."""
    caption: Path | None
    mask: Path | None
    repeats: int = 1
    group: str = ""
    """What its folder's name says after the number; kohya takes it as the caption where there is none."""


@dataclass(frozen=True)
class Layout:
    folder: Path
    sources: tuple[Source, ...]
    groups: tuple[str, ...]
    """What the names of kohya's folders say after the number; empty for a flat folder."""
    found: tuple[Found, ...]
    texts: tuple[Path, ...]
    """Files that may speak of the licence."""


@dataclass
class _Listing:
    """One folder, sorted."""

    pictures: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    captions: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)


def shown(text: str) -> str:
    """A file name that can be printed: undecodable bytes and control characters become visible marks."""
    clean = text.encode("utf-8", "replace").decode()
    return "".join(sign if sign.isprintable() else "�" for sign in clean)


def read_layout(folder: Path) -> Layout:
    """What lies in the folder. Raises `SpecError` when it is no folder or cannot be read."""
    if not folder.is_dir():
        raise SpecError(f"{shown(str(folder))} is no folder; give the one that holds the pictures.")
    found: list[Found] = []
    top = _list(folder, folder, found)
    named = [(path, match) for path in top.folders if (match := _GROUP.fullmatch(path.name))]
    others = [path for path in top.folders if not _GROUP.fullmatch(path.name)]
    skipped = [path for path in others if _holds_pictures(path)]
    texts = list(top.texts)
    sources: list[Source] = []
    groups: list[str] = []
    if not named:
        sources += _sources(folder, top, 1, "", found)
        if skipped:
            found.append(Found("folder_skipped", "error", tuple(shown(path.name) for path in skipped)))
    else:
        if top.pictures:
            found.append(Found("loose_pictures", "error", _names(folder, top.pictures)))
        if skipped:
            found.append(Found("folder_without_number", "error", tuple(shown(path.name) for path in skipped)))
        for path, match in named:
            inside = _list(path, folder, found)
            repeats, name = int(match[1]), match[2].strip()
            if not 1 <= repeats <= MAX_REPEATS or not name:
                found.append(Found("bad_folder_name", "error", (shown(path.name),), {"most": MAX_REPEATS}))
                continue
            if not inside.pictures:
                found.append(Found("empty_folder", "error", (shown(path.name),)))
            deeper = [f"{path.name}/{one.name}" for one in inside.folders if _holds_pictures(one)]
            if deeper:
                found.append(Found("folder_skipped", "error", tuple(map(shown, deeper))))
            sources += _sources(folder, inside, repeats, name, found)
            groups.append(name)
            texts += inside.texts
    if len(sources) > MAX_PICTURES:
        found.append(Found("too_many", "error", (), {"count": len(sources), "most": MAX_PICTURES}))
    elif not sources:
        found.append(Found("no_pictures", "error"))
    return Layout(folder, tuple(sources[:MAX_PICTURES]), tuple(groups), tuple(found), tuple(texts))


def licence_note(layout: Layout) -> str:
    """What a file of the folder says of the licence, at most 2,000 characters; empty when none says anything.

    A licence file counts if it is not empty, a README if it speaks of a licence.
    """
    for path in sorted(layout.texts, key=lambda path: path.name.lower().startswith("readme")):
        try:
            text = read_file(path, 1_000_000).decode("utf-8", "replace").strip()
        except SpecError:
            continue  # a licence that cannot be read is none
        if text and (not path.name.lower().startswith("readme") or _LICENCE.search(text)):
            return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")[:2000]
    return ""


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count >= MAX_ENTRIES:
                    raise SpecError(
                        f"{shown(str(folder))} holds more than {MAX_ENTRIES:,} files; "
                        "give a folder with the training pictures only."
                    )
                if not entry.name.startswith(".") and entry.name.lower() not in _IGNORED:
                    yield entry
    except OSError as error:
        raise SpecError(f"{shown(str(folder))} cannot be read: {error.strerror or error}.") from None


def _list(folder: Path, root: Path, found: list[Found]) -> _Listing:
    listing = _Listing()
    wrong: dict[str, list[str]] = {}
    ours = (folder / DATASET_FILE).is_file()
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        path = folder / entry.name
        suffix = path.suffix.lower()
        if ours and entry.name == CONTACT_FILE:
            continue
        concerns = entry.is_dir() or suffix in SUFFIXES or suffix in CAPTIONS or suffix in CONVERTIBLE
        problem = _problem(entry, path, root) if concerns or _TEXTS.match(entry.name) else None
        if problem:
            wrong.setdefault(problem, []).append(shown(_inside(root, path)))
        elif entry.is_dir(follow_symlinks=False):
            listing.folders.append(path)
        elif entry.name.endswith(MASK):
            listing.masks.append(path)
        elif suffix in SUFFIXES:
            listing.pictures.append(path)
        elif _TEXTS.match(entry.name):
            listing.texts.append(path)
        elif suffix in CAPTIONS:
            listing.captions.append(path)
        elif suffix in CONVERTIBLE:
            wrong.setdefault("unread_format", []).append(shown(_inside(root, path)))
    found += [Found(name, "error", tuple(files)) for name, files in wrong.items()]
    return listing


def _problem(entry: os.DirEntry[str], path: Path, root: Path) -> str | None:
    """The finding that keeps an entry from being opened at all."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "bad_name"
    if not entry.name.isprintable() or "\\" in entry.name:
        return "bad_name"
    if entry.is_symlink():
        target = os.path.realpath(path)
        if not Path(target).is_relative_to(os.path.realpath(root)) or not os.path.exists(target):
            return "link_outside"
        if os.path.isdir(target):
            return "link_folder"
    if not entry.is_dir() and not entry.is_file():
        return "not_a_file"
    return None


def _holds_pictures(folder: Path) -> bool:
    """Whether a trainer that passed the folder over would miss something; two levels down are looked at."""
    for entry in _entries(folder):
        suffix = Path(entry.name).suffix.lower()
        if suffix in SUFFIXES or suffix in CONVERTIBLE:
            return True
        if entry.is_dir(follow_symlinks=False) and any(
            Path(deep.name).suffix.lower() in SUFFIXES for deep in _entries(folder / entry.name)
        ):
            return True
    return False


def _sources(root: Path, listing: _Listing, repeats: int, group: str, found: list[Found]) -> list[Source]:
    """The pictures with their captions. Stems are compared in Unicode's composed form, since macOS writes
    Hangul in pieces and other systems whole."""
    captions: dict[str, list[Path]] = {}
    for path in listing.captions:
        captions.setdefault(_stem(path), []).append(path)
    pictures: dict[str, list[Path]] = {}
    for path in listing.pictures:
        pictures.setdefault(_stem(path), []).append(path)
    shared = [path for same in pictures.values() if len(same) > 1 for path in same]
    twice = [path for stem, same in captions.items() if len(same) > 1 and stem in pictures for path in same]
    alone = [path for stem, same in captions.items() if stem not in pictures for path in same]
    for name, paths in (("same_stem", shared), ("two_captions", twice), ("caption_alone", alone)):
        if paths:
            found.append(Found(name, "warning", _names(root, paths)))
    masks = {unicodedata.normalize("NFC", path.name.removesuffix(MASK)): path for path in listing.masks}
    return [
        Source(
            path,
            _inside(root, path),
            _first(captions.get(_stem(path), [])),
            masks.get(_stem(path)),
            repeats,
            group,
        )
        for path in listing.pictures
    ]


def _first(captions: list[Path]) -> Path | None:
    return min(captions, key=lambda path: CAPTIONS.index(path.suffix.lower()), default=None)


def _stem(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)


def _inside(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _names(root: Path, paths: list[Path]) -> tuple[str, ...]:
    return tuple(shown(_inside(root, path)) for path in paths)
