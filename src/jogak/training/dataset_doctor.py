"""The doctor: everything that would spoil a training, found before it, each with what to do."""

from __future__ import annotations

import locale
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from jogak.spec import SpecError
from jogak.spec.dataset import CaptionLang, Dataset, DatasetReport, PictureFacts, Severity, Trigger
from jogak.store import Progress
from jogak.store.pictures import UnusableFile, read_picture
from jogak.training.dataset import class_of, read_dataset_file
from jogak.training.dataset_captions import frequent, guess_trigger, known_word, read_caption, says
from jogak.training.dataset_crops import TINY, buckets, nearest_bucket
from jogak.training.dataset_layout import (
    DATASET_FILE,
    Found,
    Layout,
    Source,
    licence_note,
    read_layout,
    shown,
)
from jogak.training.dataset_measure import Look, measure
from jogak.training.dataset_words import say

FEW = 10
SMALL_FACTOR = 1.25
"""A picture that is enlarged by more is called small."""
BLURRED = 1.3
"""Pixels of blur at the training size. On 60 drawings at 256×256: sharp ones measure 0.2–0.6, those blurred by
1.5 pixels 1.0–1.7, those enlarged four times 1.1–1.7."""
CUT_AWAY = 0.35
"""Share of a picture beyond which a crop is worth a warning."""
HASH_BITS, DIFFERENCE = 14, 0.35
"""Near duplicates: so many of 64 bits may differ, and so much of what stands before the background. On drawings
96 % of copies that had lost 4 % at the edges, all JPEG and shrunk copies, and one in 80,000 pairs of different
pictures lie within."""
ALIKE_SHARE, ALIKE_LEVELS = 0.8, 16.0
"""Backgrounds are alike when so many borders lie within so many grey levels of the middle one."""
SAME_OUTLINE, SAME_OUTLINE_BUSY = 0.7, 0.5
"""Mean overlap (intersection over union) of the silhouettes, before plain and before other backgrounds, where they
are seen less exactly. A fox in many places and sizes measures 0.3; always in one pose and distance 0.7 and more
before white, 0.4 to 0.6 in scenes."""
SAME_PLACE, SAME_SIZE = 0.055, 0.08
"""Standard deviation of a silhouette's middle and size, as shares of the side."""
LEAKS = 0.9
"""Share of the captions in which a word does the trigger word's work."""
LEAST_FOR_SHARES = 5
"""Pictures or captions below which shares say nothing."""
MAX_WORDS = 75
_ORDER = {"error": 0, "warning": 1, "note": 2}

OnProgress = Callable[[Progress], None]
Lang = Literal["ko", "en", "auto"]


@dataclass(frozen=True)
class Patient:
    """A picture with its measures and words."""

    source: Source
    look: Look
    caption: str | None
    """None where there is no file; empty where the file says nothing."""
    lines: int
    spoilt: bool
    """It has a caption that cannot be read, which is a finding of its own."""

    @property
    def name(self) -> str:
        return shown(self.source.file)


def check_dataset(
    folder: Path,
    *,
    trigger: str = "",
    class_name: str = "",
    size: int = 512,
    step: int = 64,
    lang: Lang = "auto",
    on_progress: OnProgress | None = None,
) -> DatasetReport:
    """Look a folder over. `trigger` and `class_name` are taken from the set where they are not given.

    Whatever is wrong with the pictures becomes a finding; raises `SpecError` only when the folder itself cannot
    be read.
    """
    layout = read_layout(folder)
    found = list(layout.found)
    made = _made(folder, found)
    patients = list(_patients(layout, size, found, on_progress))
    told = [patient for patient in patients if patient.caption]
    captions = [patient.caption or "" for patient in told]
    word = trigger or (made.trigger if made else "") or guess_trigger(captions, layout.groups)
    what = class_name or (made.class_name if made else "") or class_of(layout.groups, word)
    found += _about_made(made, layout, patients)
    found += _about_pictures(patients, size, step)
    found += _about_likeness([patient for patient in patients if patient.look.blur is not None])
    found += _about_captions(patients, told)
    if patients:
        asked = bool(trigger or (made and made.trigger))
        found += _about_trigger(told, word, "error" if asked else "warning", asked)
        found += _about_leaks(told, word, what)
        found += _about_licence(layout, made)
    chosen = _language(lang, captions)
    findings = sorted((say(one, chosen) for one in found), key=lambda one: _ORDER[one.severity])
    return DatasetReport(
        folder=shown(str(folder)), lang=chosen, trigger=word, findings=tuple(findings),
        pictures=tuple(_facts(patient) for patient in patients),
    )  # fmt: skip


def _facts(patient: Patient) -> PictureFacts:
    look = patient.look
    blur = None if look.blur is None else round(look.blur, 3)
    return PictureFacts(
        file=patient.name, width=look.width, height=look.height, blur=blur, plain=look.plain is not None,
        caption=patient.caption,
    )  # fmt: skip


def _patients(
    layout: Layout, size: int, found: list[Found], on_progress: OnProgress | None
) -> Iterator[Patient]:
    total = len(layout.sources)
    for count, source in enumerate(layout.sources, 1):
        name = shown(source.file)
        try:
            look = measure(read_picture(source.path), size)
        except UnusableFile as error:
            reasons: dict[str, str | int | float] = {"reason": str(error), "reason_ko": error.korean}
            found.append(Found("unreadable", "error", (name,), reasons))
            look = None
        caption, lines, spoilt = None, 0, False
        if source.caption is not None:
            try:
                text = read_caption(source.caption)
                caption, lines = text[0] if text else "", len(text)
            except UnusableFile as error:
                reasons = {"reason": str(error), "reason_ko": error.korean}
                found.append(Found("bad_caption", "error", (name,), reasons))
                spoilt = True
        if on_progress:
            on_progress(Progress("dataset", "", count, total, name))
        if look is not None:
            yield Patient(source, look, caption, lines, spoilt)


def _made(folder: Path, found: list[Found]) -> Dataset | None:
    path = folder / DATASET_FILE
    if not path.is_file():
        return None
    try:
        return read_dataset_file(path)
    except SpecError as error:
        found.append(Found("bad_dataset_file", "error", (DATASET_FILE,), {"reason": str(error)}))
        return None


def _about_made(made: Dataset | None, layout: Layout, patients: Sequence[Patient]) -> Iterator[Found]:
    if made is None:
        return
    now = {patient.source.file: patient.look.sha256 for patient in patients}
    changed = tuple(shown(one.file) for one in made.images if now.get(one.file) != one.sha256)
    listed = {one.file for one in made.images}
    added = tuple(shown(source.file) for source in layout.sources if source.file not in listed)
    if changed:
        yield Found("changed", "error", changed)
    if added:
        yield Found("not_in_set", "error", added)


# ------------------------------------------------------------------------------------------ the pictures


def _about_pictures(patients: Sequence[Patient], size: int, step: int) -> Iterator[Found]:
    count = len(patients)
    if count == 1:
        yield Found("one", "warning", (patients[0].name,))
    elif 0 < count < FEW:
        yield Found("few", "warning", (), {"count": count, "least": FEW})
    tiny = [one for one in patients if min(one.look.width, one.look.height) < TINY]
    if tiny:
        yield Found("tiny", "error", _names(tiny), {"least": TINY})
    choice = buckets(size, step)
    factors = [(_factor(one.look, choice), one) for one in patients if one not in tiny]
    small = [(factor, one) for factor, one in factors if factor > SMALL_FACTOR]
    if small:
        worst = f"{max(factor for factor, _ in small):.1f}"
        facts: dict[str, str | int | float] = {"count": len(small), "size": size, "factor": worst}
        yield Found("small", "warning", _names([one for _, one in small]), facts)
    long = [one for one in patients if _cut_away(one.look, choice) > CUT_AWAY]
    if long:
        facts = {"count": len(long), "share": round(100 * CUT_AWAY)}
        yield Found("long_picture", "warning", _names(long), facts)
    blurred = [one for one in patients if one.look.blur is not None and one.look.blur > BLURRED]
    if blurred:
        yield Found("blurred", "warning", _names(blurred), {"count": len(blurred), "blur": BLURRED})
    blank = [one for one in patients if one.look.blur is None and one not in tiny]
    if blank:
        yield Found("blank", "error", _names(blank))


def _factor(look: Look, choice: list[tuple[int, int]]) -> float:
    width, height = nearest_bucket(look.width, look.height, choice)
    return max(width / look.width, height / look.height)


def _cut_away(look: Look, choice: list[tuple[int, int]]) -> float:
    width, height = nearest_bucket(look.width, look.height, choice)
    ratio = (width / height) / (look.width / look.height)
    return 1 - min(ratio, 1 / ratio)


def _about_likeness(patients: Sequence[Patient]) -> Iterator[Found]:
    same: dict[str, list[Patient]] = {}
    for one in patients:
        same.setdefault(one.look.sha256, []).append(one)
    for group in same.values():
        if len(group) > 1:
            yield Found("identical", "warning", _names(group))
    different = [group[0] for group in same.values()]
    for group in _near(different, mirrored=False):
        yield Found("near_duplicate", "warning", _names(group))
    for group in _near(different, mirrored=True):
        yield Found("mirrored", "note", _names(group))
    if len(different) >= LEAST_FOR_SHARES:
        yield from _about_backgrounds(different)
        yield from _about_poses(different)


def _near(patients: Sequence[Patient], mirrored: bool) -> list[list[Patient]]:
    """Groups of pictures of which each is nearly the same as another of its group."""
    hashes = np.array([one.look.hashes[0] for one in patients], np.uint64)
    others = np.array([one.look.hashes[1 if mirrored else 0] for one in patients], np.uint64)
    leader = list(range(len(patients)))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for i in range(len(patients) - 1):
        close = np.bitwise_count(others[i] ^ hashes[i + 1 :]) <= HASH_BITS
        for j in (np.flatnonzero(close) + i + 1).tolist():
            mine = patients[i].look.tiny[:, ::-1] if mirrored else patients[i].look.tiny
            if _differs(mine, patients[j].look.tiny) <= DIFFERENCE:
                leader[find(j)] = find(i)
    groups: dict[int, list[Patient]] = {}
    for i, one in enumerate(patients):
        groups.setdefault(find(i), []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def _differs(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """0 for the same, about 1 for two different subjects before the same background."""
    both = float((left**2).sum() + (right**2).sum())
    return float(np.sqrt(((left - right) ** 2).sum() / both)) if both > 0 else 0.0


def _about_backgrounds(patients: Sequence[Patient]) -> Iterator[Found]:
    rings = np.stack([one.look.ring for one in patients])
    away = np.abs(rings - np.median(rings, 0)).mean((1, 2))
    alike = [one for one, distance in zip(patients, away, strict=True) if distance <= ALIKE_LEVELS]
    if len(alike) < ALIKE_SHARE * len(patients):
        return
    named = [one for one in alike if one.caption and re.search(r"background|배경", one.caption, re.I)]
    if len(named) < ALIKE_SHARE * len(alike):
        plain = next((one.look.plain for one in alike if one.look.plain), None)
        example = f"{plain} background" if plain else "in a room / 방에서"
        facts: dict[str, str | int | float] = {"count": len(alike), "of": len(patients), "example": example}
        yield Found("backgrounds_alike", "warning", _names(alike), facts)


def _about_poses(patients: Sequence[Patient]) -> Iterator[Found]:
    masks = np.stack([one.look.mask for one in patients]).reshape(len(patients), -1).astype(np.float32)
    areas = masks.sum(1)
    if (areas == 0).any():
        return
    shared = masks @ masks.T
    overlap = shared / (areas[:, None] + areas[None] - shared)
    mean = float(overlap[np.triu_indices(len(patients), 1)].mean())
    plain = sum(one.look.plain is not None for one in patients) > len(patients) / 2
    if mean >= (SAME_OUTLINE if plain else SAME_OUTLINE_BUSY):
        yield Found("poses_alike", "warning", (), {"overlap": round(100 * mean)})
        return
    side = patients[0].look.mask.shape[0]
    grid = (np.indices((side, side)).reshape(2, -1) + 0.5) / side
    middles = masks @ grid.T / areas[:, None]
    if middles.std(0).max() < SAME_PLACE and np.sqrt(areas / side**2).std() < SAME_SIZE:
        yield Found("framing_alike", "warning")


# ------------------------------------------------------------------------------------------ the words


def _about_captions(patients: Sequence[Patient], told: Sequence[Patient]) -> Iterator[Found]:
    without = [one for one in patients if one.caption is None and not one.spoilt]
    empty = [one for one in patients if one.caption == ""]
    if without and len(without) == len(patients):
        yield Found("no_captions", "warning")
    elif without:
        yield Found("without_caption", "warning", _names(without), {"count": len(without)})
    if empty:
        yield Found("empty_caption", "warning", _names(empty), {"count": len(empty)})
    several = [one for one in told if one.lines > 1]
    if several:
        yield Found("several_lines", "warning", _names(several), {"count": len(several)})
    long = [one for one in told if len(re.findall(r"\w+|[^\w\s]", one.caption or "")) > MAX_WORDS]
    if long:
        yield Found("long_caption", "warning", _names(long), {"count": len(long), "most": MAX_WORDS})
    for text, count in Counter(one.caption or "" for one in told).items():
        if count > 1 and count >= 0.2 * len(told):
            same = [one for one in told if one.caption == text]
            yield Found("same_captions", "warning", _names(same), {"count": count, "caption": text[:80]})


def _about_trigger(told: Sequence[Patient], trigger: str, severity: Severity, asked: bool) -> Iterator[Found]:
    if not trigger:
        yield Found("no_trigger", "warning")
        return
    try:
        TypeAdapter(Trigger).validate_python(trigger)
    except ValidationError:
        yield Found("trigger_not_usable", severity, (), {"trigger": trigger[:60]})
        return
    means = known_word(trigger)
    if means:
        better = f"{trigger[:2]}_{trigger}"
        yield Found("trigger_is_word", "warning", (), {"trigger": trigger, "means": means, "better": better})
    lacking = [one for one in told if not says(one.caption or "", trigger)]
    if lacking:
        facts: dict[str, str | int | float] = {
            "trigger": trigger, "count": len(lacking), "of": len(told),
        }  # fmt: skip
        yield Found("trigger_missing", severity, _names(lacking), facts)
    behind = [
        one
        for one in told
        if one not in lacking and not (one.caption or "").lower().startswith(trigger.lower())
    ]
    if behind:
        yield Found("trigger_not_first", "note", _names(behind), {"trigger": trigger, "count": len(behind)})


def _about_leaks(told: Sequence[Patient], trigger: str, class_name: str) -> Iterator[Found]:
    if len(told) < LEAST_FOR_SHARES:
        return
    without = [text for text in (trigger, class_name) if text]
    captions = [re.sub(re.escape(trigger), " ", one.caption or "", flags=re.I) if trigger else one.caption or "" for one in told]  # fmt: skip
    for word, count in frequent(captions, LEAKS, without).items():
        yield Found("leakage", "warning", (), {"word": word, "count": count, "of": len(told)})


# ------------------------------------------------------------------------------------------ the rest


def _about_licence(layout: Layout, made: Dataset | None) -> Iterator[Found]:
    if not (licence_note(layout) or (made and made.licence.strip())):
        yield Found("no_licence", "warning")


def _language(lang: Lang, captions: Sequence[str]) -> CaptionLang:
    """`auto` is the terminal's language if that is Korean, else that of the captions."""
    if lang != "auto":
        return lang
    names = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    if (next((name for name in names if name), "") or locale.getlocale()[0] or "").startswith("ko"):
        return "ko"
    text = "".join(captions)
    hangul = sum("가" <= sign <= "힣" for sign in text)
    return "ko" if hangul > sum(sign.isascii() and sign.isalpha() for sign in text) else "en"


def _names(patients: Sequence[Patient]) -> tuple[str, ...]:
    return tuple(one.name for one in patients)
