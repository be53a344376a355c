"""The picture report: the 40/40/20 rubric with its evidence, what was tried and why one won, every setting.

One set of plain data (`report_data`) is shown twice: by typst as a PDF, and as one self-contained HTML page.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jogak
from jogak.report.picture_facts import Picture, RunFacts
from jogak.report.picture_html import page
from jogak.report.picture_words import BARS, CHECKS, CONTROL_SCORES, LIMITS, SCORES, SETTINGS, WHY, WORDS
from jogak.report.training_facts import drawn_curve, training_data
from jogak.report.typeset import jpeg, plain, typeset
from jogak.report.words import Lang, duration, memory
from jogak.spec import JogakError
from jogak.spec.picture_scores import Alternative, Bar, PictureScores
from jogak.spec.scores import Score
from jogak.store.files import write_whole

WEIGHTS = {"quality": 40, "control": 40, "reasoning": 20}
"""The parts of the rubric and their points."""
HERO, GALLERY, MAPS, COPIES, WAYS = 8, 24, 8, 6, 16
"""Pictures and rows that are shown at most."""
HEADLINE = (
    "edge_f1", "depth_rmse", "pck", "lines_ms_ssim", "memorised", "identity", "clip_score", "diversity",
)  # fmt: skip
"""Scores for the cover, the more telling first."""
MAX_COLUMNS = 5
"""Scores in the table of alternatives."""

Pictures = Mapping[str, tuple[bytes, int, int]]
"""By file name: JPEG, width and height in pixels."""


def picture_pdf(facts: RunFacts) -> bytes:
    """The report as a PDF, in the run's language. Equal facts give equal bytes."""
    data, pictures = report_data(facts)
    return typeset("picture.typ", data, {name: content for name, (content, *_) in pictures.items()})


def picture_html(facts: RunFacts) -> str:
    """The report as one HTML page that needs nothing beside it: no script, no other host, pictures inside."""
    data, pictures = report_data(facts)
    return page(data, {name: content for name, (content, *_) in pictures.items()})


def write_report(path: Path, content: bytes) -> None:
    """Write a report so that it is there whole or not at all. Raises `JogakError` when the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"), content)
    except OSError as error:
        raise JogakError(
            f"Cannot write {path}: {error.strerror or error}. Choose another place with -o."
        ) from None


def report_data(facts: RunFacts) -> tuple[dict[str, Any], Pictures]:
    """What both forms show: strings as they are to be read, places on axes as shares of their length."""
    lang, words, album = facts.lang, WORDS[facts.lang], _Album()
    # a run that compared ways and scored nothing else is worth what its choice was worth
    whole = facts.scores.whole or next((one.scores for one in facts.scores.alternatives if one.chosen), ())
    control = [score for score in whole if _kind(score) in CONTROL_SCORES]
    quality = [score for score in whole if score not in control]
    own = [picture for picture in facts.pictures if picture.role == "picture"]
    pages = [picture for picture in facts.pictures if picture.role == "page"]
    heroes = _hero(own, pages, facts)
    hero = [album.add(picture, 1600 if len(heroes) == 1 else 640) for picture in heroes]
    checks = reasoning_checks(facts)
    data = {
        "lang": lang,
        "words": words,
        "title": plain(facts.title, 80),
        "title_size": 27 if len(facts.title) <= 30 else 20,
        "brief": plain(facts.words if facts.words != facts.title else "", 600),
        "stamp": f"{words['report']} · {time.strftime('%Y-%m-%d %H:%M', time.localtime(facts.started))} · "
        f"jogak {jogak.__version__} · {facts.run_id}",
        "hero": [one for one in hero if one],
        "facts": _cover(facts),
        "rubric": _rubric(
            facts, checks, [part for part, found in (("quality", quality), ("control", control)) if found]
        ),
        "headline": _headline(facts),
        "quality": {"rows": [_row(score, facts) for score in quality], "bars": _bars(facts.scores.bars, "quality", lang)},
        "control": {"rows": [_row(score, facts) for score in control], "bars": _bars(facts.scores.bars, "control", lang)},
        "alarm": _alarm(facts, album),
        "missing": {part: _missing(facts.scores, part, lang) for part in ("quality", "control")},
        "training": _training(facts, album),
        "maps": [
            {
                "shown": album.file(pair.shown.path, pair.shown.sha256, 360),
                "wanted": album.file(pair.wanted.path, pair.wanted.sha256, 360),
                "found": album.file(pair.found.path, pair.found.sha256, 360),
                "caption": plain(f"{pair.picture} · {pair.kind}", 60),
                "value": f"{_name(pair.measure, lang)} {pair.value:.2f}",
            }
            for pair in facts.pairs[:MAPS]
        ],
        "alternatives": _alternatives(facts, album),
        "reason": plain(facts.reason, 1500),
        "checks": [_bar(check, CHECKS[check.name][lang]) for check in checks],
        "pages": [one for picture in pages[:4] if picture not in heroes and (one := album.sized(picture, 1600, 174, 200))],
        "gallery": [one for picture in own[:GALLERY] if (one := _shown(picture, album, lang))],
        "settings": _pairs(facts.settings),
        "drawing": _pairs(facts.drawing),
        "models": [[plain(name, 60), plain(more, 200)] for name, more in facts.models],
        "stages": _stages(facts, lang),
        "notes": [plain(note, 600) for note in facts.scores.notes],
        "limits": [plain(limit, 600) for limit in LIMITS[lang]],
    }  # fmt: skip
    return data, album.kept


class _Album:
    """The pictures of a report, each made small once."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, int, int]] = {}

    def file(self, path: Any, digest: str, side: int) -> str | None:
        """The name under which a picture is kept, or None when its file is gone or unreadable."""
        name = f"{digest[:16]}-{side}.jpg"
        if name not in self.kept:
            try:
                self.kept[name] = jpeg(path, side, quality=84)
            except JogakError:
                return None
        return name

    def drawn(self, name: str, content: tuple[bytes, int, int]) -> str:
        """Keep a JPEG that was drawn for this report."""
        self.kept[name] = content
        return name

    def add(self, picture: Picture, side: int) -> str | None:
        return self.file(picture.path, picture.sha256, side)

    def sized(self, picture: Picture, side: int, width_mm: float, height_mm: float) -> dict[str, Any] | None:
        name = self.add(picture, side)
        if name is None:
            return None
        _, width, height = self.kept[name]
        scale = min(width_mm / width, height_mm / height)
        return {
            "picture": name,
            "width": width * scale,
            "height": height * scale,
            "caption": plain(picture.label, 80),
        }


def _hero(own: Sequence[Picture], pages: Sequence[Picture], facts: RunFacts) -> Sequence[Picture]:
    """What the cover shows: a page if there is one, else the pictures, evenly from all."""
    if pages and facts.journey in ("sheet", "sweep"):
        return pages[-1:]
    if len(own) <= HERO:
        count = len(own) if len(own) <= 4 else len(own) // 4 * 4
        return own[:count]
    return [own[round(at * (len(own) - 1) / (HERO - 1))] for at in range(HERO)]


def _cover(facts: RunFacts) -> list[list[str]]:
    korean = facts.lang == "ko"
    settings = dict((*facts.settings, *facts.drawing))

    def said(english: str, korean_name: str) -> str:
        return settings.get(korean_name if korean else english, "")

    size = " × ".join(filter(None, (said("width", "너비"), said("height", "높이"))))
    seconds = sum(stage.seconds for stage in facts.stages)
    found = {
        ("Pictures", "그림"): str(
            facts.scores.pictures or len([p for p in facts.pictures if p.role == "picture"])
        ),
        ("References", "참고 그림"): str(facts.scores.references or ""),
        ("Model", "모델"): said("model", "모델") or said("base", "기반 모델"),
        ("Size", "크기"): size,
        ("Steps", "단계"): said("steps", "단계"),
        ("Seed", "시드"): said("seed", "시드"),
        ("Work", "작업 시간"): duration(seconds, facts.lang) if facts.stages else "",
    }
    return [[names[korean], plain(value, 40)] for names, value in found.items() if value]


# the rubric


def reasoning_checks(facts: RunFacts) -> list[Bar]:
    """What of the reasoning can be checked in the record itself; nothing where a run neither drew nor compared."""
    ways, found = facts.scores.alternatives, []
    training = facts.training
    if not facts.drawn and not ways and not training:
        return []

    def check(name: str, value: float, at_least: float, n: int = 1) -> None:
        found.append(Bar(name=name, value=value, at_least=at_least, n=max(1, n), part="reasoning"))

    if facts.drawn:
        check("replayable", facts.recorded / facts.drawn, 1, facts.drawn)
    if training:
        check("training_recorded", float(training.recorded), 1)
    if training and training.settings:
        check("setting_reasons", len(training.reasons) / training.settings, 1, training.settings)
    chosen = next((one for one in ways if one.chosen), None)
    check("alternatives", max(1, len(ways)), 2)
    if ways or not training:
        check("reason", float(bool(chosen and (chosen.reason or facts.reason))), 1)
    if chosen and (lead := _lead(chosen, ways)) is not None:
        check("lead", float(lead), 1)
    scores = [score for score in facts.scores.whole if score.n > 1]
    if scores:
        sure = [score.low is not None and score.high is not None for score in scores]
        check("intervals", sum(sure) / len(sure), 1, len(sure))
    return found


def _lead(chosen: Alternative, ways: Sequence[Alternative]) -> bool | None:
    """Does the chosen way's first score lie above the others', by its interval? None when that is not known."""
    if not chosen.scores:
        return None
    first = chosen.scores[0]
    if first.low is None or first.high is None:
        return None
    others = [s.value for one in ways if one is not chosen for s in one.scores if s.name == first.name]
    if not others:
        return None
    return first.high < min(others) if first.better == "lower" else first.low > max(others)


def _rubric(facts: RunFacts, checks: Sequence[Bar], scored: Sequence[str]) -> list[dict[str, Any]]:
    words = WORDS[facts.lang]
    found = []
    for part, weight in WEIGHTS.items():
        bars = checks if part == "reasoning" else [bar for bar in facts.scores.bars if bar.part == part]
        met = sum(bar.passed for bar in bars)
        share = met / len(bars) if bars else None
        points = "–" if share is None else f"{weight * share:.0f}"
        if not bars:
            said = words["no_bar" if part in scored else "not_measured"]
        elif facts.lang == "ko":
            said = f"기준 {len(bars)}개 중 {met}개 충족"
        else:
            said = f"{met} of {len(bars)} bars met"
        found.append(
            {
                "key": part,
                "name": words[part],
                "weight": weight,
                "points": points,
                "share": share,
                "said": said,
            }
        )
    return found


# scores


def _kind(score: Score) -> str:
    return score.name.split("/")[0]


def _name(kind: str, lang: Lang) -> str:
    return SCORES[kind][lang][0] if kind in SCORES else plain(kind.replace("_", " "), 40)


def _number(value: float, digits: int | None = None) -> str:
    if digits is None:
        digits = 1 if abs(value) >= 10 else 3
    return f"{value:.{digits}f}".replace("-", "−")


def _plain_scale(score: Score) -> Score:
    """KID in thousandths as a plain number: the font has no small minus for its unit."""
    if score.unit != "×10⁻³":
        return score
    ends = {
        name: None if end is None else end / 1000 for name, end in (("low", score.low), ("high", score.high))
    }
    return score.model_copy(update={"value": score.value / 1000, "unit": "", **ends})


def _digits(ends: Sequence[float]) -> int:
    """So many that the largest of some numbers shows three figures or so, and all the same."""
    most = max(map(abs, ends)) or 1.0
    return 0 if most >= 1000 else 1 if most >= 10 else 2 if most >= 1 else 3 if most >= 0.1 else 4


def _row(given: Score, facts: RunFacts) -> dict[str, Any]:
    lang, score = facts.lang, _plain_scale(given)
    kind = _kind(score)
    ends = [end for end in (score.value, score.low, score.high) if end is not None]
    digits = _digits(ends)
    between = (
        "" if score.low is None or score.high is None
        else f"{_number(score.low, digits)} … {_number(score.high, digits)}"
    )  # fmt: skip
    notes = [score.backbone or score.name.partition("/")[2]]
    if kind in SCORES:
        notes.append(SCORES[kind][lang][1])
    if score.better == "lower":
        notes.append(WORDS[lang]["lower"])
    low, high, place = _axis(score)
    return {
        "name": _name(kind, lang),
        "what": plain(" · ".join(filter(None, notes)), 200),
        "lead": given.name == facts.scores.lead,
        "value": _number(score.value, digits)
        + (f" {score.unit}" if score.unit not in ("", "cos×100") else ""),
        "range": between,
        "n": str(score.n),
        "axis": [_tick(low, digits), _tick(high, digits)],
        "at": place(score.value),
        "low": None if score.low is None else place(score.low),
        "high": None if score.high is None else place(score.high),
    }


def _tick(value: float, digits: int) -> str:
    text = _number(value, digits)
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text


def _axis(score: Score) -> tuple[float, float, Any]:
    """From where to where a score's axis runs: 0 to 1 for a share, else zero and all of the interval."""
    ends = [end for end in (score.value, score.low, score.high) if end is not None]
    if not score.unit and min(ends) >= 0 and 0.1 < max(ends) <= 1:
        low, high = 0.0, 1.0
    else:
        low, high = 1.1 * min(0.0, *ends), 1.1 * max(0.0, *ends)
        high = high if high > low else low + 1

    def place(value: float) -> float:
        return (value - low) / (high - low)

    return low, high, place


def _headline(facts: RunFacts) -> list[dict[str, Any]]:
    """The few numbers for the cover: the leading distance, then one of each thing that was measured."""
    by_kind = {_kind(score): score for score in facts.scores.whole}
    lead = next((score for score in facts.scores.whole if score.name == facts.scores.lead), None)
    wanted = [lead, *(by_kind.get(kind) for kind in HEADLINE)]
    shown = list({score.name: score for score in wanted if score}.values())[:4]
    return [
        {"name": row["name"], "value": row["value"], "range": row["range"]}
        for row in (_row(one, facts) for one in shown)
    ]


def _bars(bars: Sequence[Bar], part: str, lang: Lang) -> list[dict[str, Any]]:
    return [
        _bar(bar, BARS[bar.name][lang] if bar.name in BARS else plain(bar.name.replace("_", " "), 60))
        for bar in bars
        if bar.part == part
    ]


def _bar(bar: Bar, name: str) -> dict[str, Any]:
    ends = [f"{sign} {end:g}" for sign, end in (("≥", bar.at_least), ("≤", bar.at_most)) if end is not None]
    value = f"{bar.value:g}" if float(bar.value).is_integer() else f"{bar.value:.2f}"
    return {
        "name": name,
        "value": value.replace("-", "−"),
        "asked": " ".join(ends),
        "passed": bar.passed,
        "n": str(bar.n),
    }


def _alarm(facts: RunFacts, album: _Album) -> dict[str, Any] | None:
    found, lang = facts.scores.alarm, facts.lang
    if found is None:
        return None
    count, total = len(found.copies), facts.scores.pictures
    if lang == "ko":
        said = (
            f"그림 {total}장 중 {count}장이 참고 그림의 사본입니다."
            if count
            else f"그림 {total}장에 사본이 없습니다."
        )
        how = (
            f"참고 그림 {found.references}장을 하나씩 빼고 서로 비교해 정한 기준: 특징 {found.cosine_above:.2f}, "
            f"픽셀 {found.likeness_above:.2f} 초과."
            if found.calibrated
            else f"참고 그림이 {found.references}장뿐이라 고정 기준: 특징 {found.cosine_above:.2f}, "
            f"픽셀 {found.likeness_above:.2f} 초과."
        )
    else:
        said = (
            f"{count} of {total} pictures copy a reference."
            if count
            else f"None of {total} pictures is a copy."
        )
        how = (
            f"Set by {found.references} references, each left out in turn and looked for among the others: features above "
            f"{found.cosine_above:.2f} and pixels above {found.likeness_above:.2f}."
            if found.calibrated
            else f"Fixed, since {found.references} references are too few to set it: features above "
            f"{found.cosine_above:.2f} and pixels above {found.likeness_above:.2f}."
        )
    shown = {(picture.role, picture.label): picture for picture in facts.pictures}
    pairs = []
    for copy in found.copies[:COPIES]:
        ours = shown.get(("copy", copy.picture)) or shown.get(("picture", copy.picture))
        theirs = shown.get(("original", copy.reference)) or shown.get(("reference", copy.reference))
        mirrored = (", 좌우 반전" if lang == "ko" else ", mirrored") if copy.mirrored else ""
        pairs.append(
            {
                "left": ours and album.add(ours, 360),
                "right": theirs and album.add(theirs, 360),
                "caption": plain(f"{copy.picture} ← {copy.reference}", 90),
                "more": (
                    f"특징 {copy.cosine:.2f} · 픽셀 {copy.likeness:.3f}{mirrored}"
                    if lang == "ko"
                    else f"features {copy.cosine:.2f} · pixels {copy.likeness:.3f}{mirrored}"
                ),
            }
        )
    return {"said": said, "how": how, "quiet": count == 0, "pairs": pairs}


def _missing(scores: PictureScores, part: str, lang: Lang) -> list[list[str]]:
    """Name and reason of what was not measured, beside the part of the rubric that it would have belonged to."""
    return [
        [plain(one.name, 60), plain(WHY[one.why][lang] + (f" ({one.detail})" if one.detail else ""), 200)]
        for one in scores.missing
        if (one.name.split("/")[0] in CONTROL_SCORES) == (part == "control")
    ]


def _training(facts: RunFacts, album: _Album) -> dict[str, Any] | None:
    """The curve, and why each setting; None for a run that was no training."""
    if facts.training is None:
        return None
    drawn = drawn_curve(facts.training.curve, facts.lang)
    name = album.drawn("training-curve.jpg", drawn) if drawn else None
    said = training_data(facts.training, SETTINGS if facts.lang == "ko" else {}, name, facts.lang)
    return said | {"reasons": [[plain(one, 300) for one in row] for row in said["reasons"]]}


# alternatives


def _alternatives(facts: RunFacts, album: _Album) -> dict[str, Any]:
    ways = facts.scores.alternatives
    names = list(dict.fromkeys(score.name for one in ways for score in one.scores))[:MAX_COLUMNS]
    kept = {picture.sha256: picture for picture in facts.pictures}
    rows = []
    for one in ways[:WAYS]:
        scores = {score.name: score for score in one.scores}
        picture = kept.get(one.picture or "")
        rows.append(
            {
                "name": plain(one.name, 80),
                "settings": plain(" · ".join(f"{key} {value}" for key, value in one.settings.items()), 160),
                "cells": [_cell(scores.get(name), ways) for name in names],
                "chosen": one.chosen,
                "reason": "" if one.chosen and facts.reason else plain(one.reason, 300),
                "picture": picture and album.add(picture, 360),
            }
        )
    return {
        "columns": [_name(name.split("/")[0], facts.lang) for name in names],
        "rows": rows,
        "more": len(ways) - len(rows),
    }


def _cell(score: Score | None, ways: Sequence[Alternative]) -> dict[str, Any] | None:
    if score is None:
        return None
    ends = [
        end
        for one in ways
        for other in one.scores
        if other.name == score.name
        for end in (other.value, other.low, other.high)
        if end is not None
    ]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.06 or 1.0

    def place(value: float | None) -> float | None:
        return None if value is None else (value - low + room) / (high - low + 2 * room)

    half = "" if score.low is None or score.high is None else f"±{(score.high - score.low) / 2:.2f}"
    return {
        "text": _number(score.value) if abs(score.value) >= 10 else f"{score.value:.2f}".replace("-", "−"),
        "range": half,
        "at": place(score.value),
        "low": place(score.low),
        "high": place(score.high),
    }


# pictures, settings, stages


def _shown(picture: Picture, album: _Album, lang: Lang) -> dict[str, Any] | None:
    name = album.add(picture, 360)
    if name is None:
        return None
    said = [
        f"{key.replace('_', ' ')} {value}"
        for key, value in picture.asked.items()
        if key != "prompt" and isinstance(value, (str, int, float))
    ]
    said = [one for one in said if one != picture.label]
    scores = [f"{_name(_kind(score), lang)} {_number(score.value)}" for score in picture.scores[:3]]
    return {
        "picture": name,
        "label": plain(picture.label, 60),
        "prompt": plain(str(picture.asked.get("prompt", "")), 160),
        "more": plain(" · ".join((*said, *scores)), 200),
    }


def _pairs(settings: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[plain(name, 60), plain(value, 400)] for name, value in settings]


def _stages(facts: RunFacts, lang: Lang) -> list[dict[str, Any]]:
    most = max((stage.seconds for stage in facts.stages), default=0.0) or 1.0
    return [
        {
            "name": plain(stage.name.replace("_", " "), 40),
            "calls": str(stage.calls),
            "stored": str(stage.stored) if stage.stored else "",
            "time": duration(stage.seconds, lang),
            "share": stage.seconds / most,
            "memory": memory(stage.peak_bytes),
        }
        for stage in facts.stages
    ]
