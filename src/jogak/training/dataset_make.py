"""Making a data set: cut, caption, write. The originals are only read; the new folder is there whole or not at
all."""

from __future__ import annotations

import hashlib
import os
import shutil
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from jogak.models.safe import cache_folder
from jogak.spec import JogakError, SpecError
from jogak.spec.dataset import Dataset, DatasetImage, DatasetRequest
from jogak.store import Progress
from jogak.store.pictures import read_picture
from jogak.training.dataset import OnProgress, class_of, cut_of, read_large_enough, refuse, scaled
from jogak.training.dataset_captions import concept_named, read_caption, with_trigger
from jogak.training.dataset_crops import Crop
from jogak.training.dataset_layout import (
    CONTACT_FILE,
    DATASET_FILE,
    MASK,
    Layout,
    Source,
    licence_note,
    read_layout,
)
from jogak.training.dataset_sheet import SHOWN, draw_contact, thumb

REPEATS = 10
"""Of a flat folder."""
COMMON = 0.9
"""A tag that so many pictures share is left to the trigger word."""
LEAST_FOR_COMMON = 5
MAX_STEM = 200
"""Bytes of a file's name."""
LICENCE_FILE = "LICENSE.txt"

Describe = Callable[[NDArray[np.uint8]], list[str]]
"""A picture (H, W, 3) uint8 RGB → parts of its caption: tags, or one sentence; none when nothing is sure."""


@dataclass(frozen=True)
class Entry:
    """One picture as it will be made."""

    source: Source
    sha256: str
    """Of the original."""
    crop: Crop
    parts: tuple[str, ...]
    """Its caption without the trigger word."""
    by: str
    repeats: int


@dataclass(frozen=True)
class Plan:
    """What will be made; nothing has been written yet."""

    request: DatasetRequest
    layout: Layout
    class_name: str
    entries: tuple[Entry, ...]
    licence: str
    notes: tuple[str, ...]

    def caption(self, entry: Entry) -> str:
        """The trigger word, what it is, and the rest."""
        text = ", ".join(entry.parts)
        # pocket's sentence has the class as its subject, perhaps in the other language
        said = entry.by == "pocket" and bool(text) and concept_named(self.class_name) is not None
        return with_trigger(text, self.request.trigger, "" if said else self.class_name)


def plan_dataset(
    folder: Path, request: DatasetRequest, *, model: Path | None = None, on_progress: OnProgress | None = None
) -> Plan:
    """Read every picture and caption of a folder, and decide what becomes of each.

    A caption that lies beside a picture is kept; only where there is none does `request.caption` write one.
    `model` is the folder of BLIP or a WD14 tagger, or another CLIP for pocket's tagger. Raises `SpecError` for
    whatever cannot be trained on, naming the file.
    """
    layout = read_layout(folder)
    refuse(folder, layout.found)
    class_name = request.class_name or class_of(layout.groups, request.trigger)
    describe: Describe | None = None
    entries: list[Entry] = []
    for count, source in enumerate(layout.sources, 1):
        picture = read_large_enough(source.path)
        if source.mask:
            _mask(source.mask, picture.rgb.size)
        cut = cut_of(source.file, picture, request.crop, request.size, request.step)
        lines = read_caption(source.caption) if source.caption else []
        if lines or request.caption == "none":
            parts, by = lines[:1], "file" if lines else "none"
        else:
            describe = describe or _describer(request, class_name, model)
            parts = describe(np.asarray(scaled(picture.rgb, cut.box, cut.width, cut.height)))
            by = request.caption
        repeats = request.repeats or (source.repeats if layout.groups else REPEATS)
        entries.append(Entry(source, picture.sha256, cut, tuple(parts), by, repeats))
        if on_progress:
            on_progress(Progress("dataset", "", count, len(layout.sources), f"looking at {source.path.name}"))
    entries, notes = _without_common(entries)
    licence = request.licence or licence_note(layout)
    if not licence:
        notes.append("Nothing says who made the pictures and what may be done with them; give --licence.")
    plan = Plan(request, layout, class_name, tuple(entries), licence, tuple(notes))
    for entry in entries:
        _image(
            plan, entry, "x.png", "0" * 64
        )  # a caption that is too long is found before anything is written
    return plan


def make_dataset(plan: Plan, output: Path, *, on_progress: OnProgress | None = None) -> Dataset:
    """Write a planned data set into the folder `output`, which must be absent or empty.

    The folder gets `<repeats>_<trigger> <class>/` with a PNG and a `.txt` for each picture (and a mask, where
    the original has one or is transparent), `contact.jpg`, `dataset.json` and `LICENSE.txt`. It appears whole:
    until the last file is written everything lies in a hidden folder beside it, which a later run removes if
    this one is killed. Raises `SpecError` when `output` cannot be used or an original has changed meanwhile.
    """
    images: list[DatasetImage] = []
    thumbs: list[PIL.Image.Image] = []
    names = _names(plan)
    with _whole_folder(output, plan.layout.folder) as folder:
        for count, (entry, name) in enumerate(zip(plan.entries, names, strict=True), 1):
            cut, digest = _write_picture(entry, folder / name)
            images.append(_image(plan, entry, name, digest))
            (folder / name).with_suffix(".txt").write_bytes(images[-1].caption.encode() + b"\n")
            if len(thumbs) < SHOWN:
                thumbs.append(thumb(cut))
            if on_progress:
                on_progress(Progress("dataset", "", count, len(names), f"writing {name}"))
        data = Dataset(
            trigger=plan.request.trigger, class_name=plan.class_name, licence=plan.licence,
            images=tuple(images), made_with=plan.request, notes=plan.notes,
        )  # fmt: skip
        draw_contact(data, thumbs).save(folder / CONTACT_FILE, quality=90)
        if plan.licence:
            (folder / LICENCE_FILE).write_bytes(plan.licence.encode() + b"\n")
        (folder / DATASET_FILE).write_bytes(data.to_json().encode() + b"\n")
    return data


# ------------------------------------------------------------------------------------------ the words


def _describer(request: DatasetRequest, class_name: str, model: Path | None) -> Describe:
    """Loads what writes captions. Imported here: loading torch takes seconds that no other path needs."""
    if request.caption == "pocket":
        from jogak.models.tagger import FOLDER, load_tagger, sentence

        tagger, concept = load_tagger(model or FOLDER), concept_named(class_name)

        def describe(picture: NDArray[np.uint8]) -> list[str]:
            said = sentence(tagger.tag(picture, subject=concept is None), request.lang, concept)
            return [said] if said else []

        return describe
    if model is None:
        raise SpecError(
            f"--caption {request.caption} needs its weights: give their folder with --caption-model, or use "
            "--caption pocket, which comes with Jogak."
        )
    from jogak.models.captioners import Blip, Wd14

    if request.caption == "blip":
        blip = Blip(model)
        return lambda picture: [said] if (said := blip.caption(picture)) else []
    tags = Wd14(model)
    return lambda picture: [tag.tag for tag in tags.tags(picture)]


def _without_common(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Tags that nearly all pictures share say what the trigger word is to say, so they are left out, but for
    those of the background. Sentences are left as they are."""
    tagged = [entry for entry in entries if entry.by == "wd14"]
    if len(tagged) < LEAST_FOR_COMMON:
        return list(entries), []
    counts = Counter(tag for entry in tagged for tag in set(entry.parts))
    common = {tag for tag, n in counts.items() if n >= COMMON * len(tagged) and "background" not in tag}
    if not common:
        return list(entries), []
    kept = [
        replace(entry, parts=tuple(tag for tag in entry.parts if tag not in common))
        if entry.by == "wd14"
        else entry
        for entry in entries
    ]
    return kept, [
        f"Left to the trigger word, since nearly all pictures have it: {', '.join(sorted(common))}."
    ]


def _image(plan: Plan, entry: Entry, file: str, digest: str) -> DatasetImage:
    return DatasetImage.parse(
        {
            "file": file, "sha256": digest, "caption": plan.caption(entry), "caption_by": entry.by,
            "width": entry.crop.width, "height": entry.crop.height,
            "crop": (0, 0, entry.crop.width, entry.crop.height), "repeats": entry.repeats,
            "source": entry.source.file, "source_sha256": entry.sha256, "source_crop": entry.crop.box,
        },
        where=entry.source.file,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ the files


def _names(plan: Plan) -> list[str]:
    """`<repeats>_<trigger> <class>/<stem>.png` for each picture; stems that meet are numbered, also those that
    differ in case only, which some file systems take for one."""
    taken: set[str] = set()
    names = []
    for entry in plan.entries:
        group = f"{entry.repeats}_{plan.request.trigger} {plan.class_name}".strip()
        stem = unicodedata.normalize("NFC", entry.source.path.stem)
        stem = stem.encode()[:MAX_STEM].decode("utf-8", "ignore").strip(" .") or "picture"
        stem += "_" if f"{stem}.png".endswith(MASK) else ""
        name, number = f"{group}/{stem}.png", 2
        while name.casefold() in taken:
            name, number = f"{group}/{stem}-{number}.png", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _write_picture(entry: Entry, target: Path) -> tuple[PIL.Image.Image, str]:
    """The picture as written, and the digest of its file."""
    picture = read_picture(entry.source.path)
    if picture.sha256 != entry.sha256:
        raise SpecError(f"{entry.source.path} changed while the data set was made; run the command again.")
    target.parent.mkdir(exist_ok=True)
    cut = entry.crop
    made = scaled(picture.rgb, cut.box, cut.width, cut.height)
    made.save(target)
    mask = None if picture.alpha is None else PIL.Image.fromarray(picture.alpha)
    if entry.source.mask:
        mask = _mask(entry.source.mask, picture.rgb.size)
    if mask:
        scaled(mask, cut.box, cut.width, cut.height).save(target.with_name(target.stem + MASK))
    return made, hashlib.sha256(target.read_bytes()).hexdigest()


def _mask(path: Path, size: tuple[int, int]) -> PIL.Image.Image:
    mask = read_picture(path).rgb.convert("L")
    if mask.size != size:
        raise SpecError(
            f"{path} has {mask.width}×{mask.height} pixels and its picture {size[0]}×{size[1]}; "
            "make the mask as large as the picture, or remove it."
        )
    return mask


@contextmanager
def _whole_folder(output: Path, originals: Path) -> Iterator[Path]:
    """A hidden folder beside `output` that takes its place when the block ends well and goes when it does not."""
    output = output.absolute()
    require_usable(output, originals)
    locks = cache_folder() / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(
            locks / f"{hashlib.sha256(os.fsencode(output)).hexdigest()[:24]}.lock", blocking=False
        )
        output.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            # we hold the lock, so whatever is left here was left by a run that was killed
            for stale in output.parent.glob(f".{_escaped(output.name)}.*.jogak-tmp"):
                shutil.rmtree(stale, ignore_errors=True)
            folder = output.parent / f".{output.name}.{uuid.uuid4().hex[:12]}.jogak-tmp"
            folder.mkdir()
            try:
                yield folder
                _flush(folder)
                if output.is_dir():
                    output.rmdir()
                os.replace(folder, output)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise SpecError(f"another jogak dataset make is writing {output}; wait until it is done.") from None
    except OSError as error:
        raise JogakError(
            f"{output} could not be written ({error.strerror or error}); nothing was left behind. Make room, or "
            "choose another place with -o."
        ) from error


def require_usable(output: Path, originals: Path) -> None:
    """Raises `SpecError` when a data set cannot be made in `output`: a file, a folder with something in it, or
    a place among the originals."""
    if output.exists() and not output.is_dir():
        raise SpecError(f"{output} is a file; name a new folder with -o.")
    if output.is_dir() and any(output.iterdir()):
        raise SpecError(
            f"{output} already holds something; remove it if it is no longer needed, or name a new folder with -o."
        )
    if output.resolve().is_relative_to(originals.resolve()):
        raise SpecError(
            f"{output} lies among the originals, which stay as they are; name a folder elsewhere with -o."
        )


def _escaped(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _flush(folder: Path) -> None:
    """Bring files and names to the disk, so that a power cut after the renaming cannot empty them."""
    for parent, _, files in os.walk(folder):
        for name in (*files, *(["."] if os.name == "posix" else [])):
            handle = os.open(Path(parent) / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
