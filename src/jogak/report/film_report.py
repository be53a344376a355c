"""The film report: plan, contact sheet, scores, sound, settings, time and limits, on a few A4 pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import Field

from jogak.report.diagram import nodes
from jogak.report.typeset import jpeg, plain, typeset
from jogak.report.words import (
    CAMERAS,
    CHECKS,
    LEGEND,
    LIMITS,
    MOODS,
    OTHER_LIMIT,
    POCKET_LIMIT,
    SCORES,
    SIZES,
    SOUNDS,
    WORDS,
    Lang,
    duration,
    memory,
)
from jogak.spec import BEDS, Clip, Document, FilmPlan, Image, ModelRef, Shot, Spec, Video
from jogak.spec.scores import Check, FilmScores, Score
from jogak.store import SPEC, Record, current, step

T = TypeVar("T")

COLUMNS = (
    "clip_score",
    "subject_consistency",
    "background_consistency",
    "temporal_flicker_compensated",
    "motion_smoothness",
    "motion_amount",
)
"""The scores in the table, by the part of their names before the slash; the others stand below it."""
EVENT_RANGE_MS = 80.0
"""The half-width of the strip on which event errors are drawn."""
MAX_NOTES = 14


class Stage(Spec):
    """One step of the run, all its calls together."""

    name: str
    calls: int = Field(ge=1)
    stored: int = Field(ge=0, description="calls answered from the store")
    seconds: float = Field(ge=0, description="what its results took to make, steps inside not counted")
    peak_bytes: int = Field(ge=0, description="the process's memory at most, by the end of the step")


class FilmFacts(Spec):
    """Everything that the report says. Pictures, clips and scores follow the plan's shots."""

    plan: FilmPlan
    scores: FilmScores
    pictures: tuple[Image, ...] = Field(default=(), description="one for each shot")
    poster: Image | None = None
    contact: Image | Document | None = None
    clips: tuple[Clip, ...] = Field(default=(), description="as drawn; `method` says how")
    film: Video | None = None
    models: tuple[ModelRef, ...] = ()
    settings: dict[str, str] = Field(default={}, description="further settings, as they are to be read")
    stages: tuple[Stage, ...] = ()
    diagram: Document | None = Field(default=None, description="pipeline.svg")
    adjusted: tuple[str, ...] = Field(default=(), description="what was adjusted after the plan, and why")
    limits: tuple[str, ...] = Field(default=(), description="further limits, in the plan's language")
    date: str = Field(default="", description="shown as it is; none keeps the report a function of the film")
    version: str = ""


def stages(records: Sequence[Record]) -> tuple[Stage, ...]:
    """The stages of a run, in the order in which they first ended."""
    return tuple(
        Stage(
            name=node.name,
            calls=node.calls,
            stored=node.hits,
            seconds=node.seconds,
            peak_bytes=node.peak_bytes,
        )
        for node in nodes(records)
        if node.name != SPEC
    )


@step(version="1")
def make_report(facts: FilmFacts) -> Document:
    """`report.pdf`, in the language of the plan. Equal facts give equal bytes.

    Raises `JogakError` when a picture cannot be read.
    """
    pictures = _pictures(facts)
    pdf = typeset(
        "film.typ", report_data(facts, pictures), {name: file for name, (file, *_) in pictures.items()}
    )
    store = current().store
    with store.new_file(".pdf") as path:
        path.write_bytes(pdf)
        return store.put(path, Document)


Pictures = Mapping[str, tuple[bytes, int, int]]
"""By file name: content, width and height in pixels."""


def _pictures(facts: FilmFacts) -> Pictures:
    found = {f"shot{i}.jpg": jpeg(picture.path, 480) for i, picture in enumerate(facts.pictures)}
    poster = facts.poster or (facts.pictures[0] if facts.pictures else None)
    if poster:
        found["poster.jpg"] = jpeg(poster.path, 1600)
    if facts.contact:
        found["contact.jpg"] = jpeg(facts.contact.path, 2000)
    if facts.diagram:
        svg = facts.diagram.path.read_bytes()
        width, height = (int(svg.split(name, 1)[1].split(b'"', 1)[0]) for name in (b'width="', b'height="'))
        found["pipeline.svg"] = svg, width, height
    return found


def report_data(facts: FilmFacts, pictures: Pictures) -> dict[str, Any]:
    """What the template shows: strings as they are to be read, places on axes as shares of their length."""
    plan, lang = facts.plan, facts.plan.lang
    words = WORDS[lang]
    columns = _columns(facts.scores, lang)
    return {
        "lang": lang,
        "words": words,
        "title": plain(plan.title, 60),
        "title_size": 27 if len(plan.title) <= 30 else 20,
        "brief": plain(plan.brief),
        "brief_size": 12 if len(plan.brief) <= 200 else 9 if len(plan.brief) <= 600 else 6.6,
        "strip": _strip(plan, pictures),
        "stamp": plain(" · ".join(filter(None, (words["report"], facts.date, facts.version)))),
        "poster": "poster.jpg" if "poster.jpg" in pictures else None,
        "facts": _cover(facts),
        "checks": [_check(check, lang) for check in facts.scores.checks],
        "plan_more": _plan_more(plan),
        "shots": [_shot(shot, i, facts, pictures) for i, shot in enumerate(plan.shots)],
        "music": plain(_music(plan)),
        "notes": _notes((*plan.notes, *facts.adjusted), lang),
        **_sized("contact", "contact.jpg", pictures, 174, 152),
        **_sized("diagram", "pipeline.svg", pictures, 174, 205),
        "columns": [column for column, _ in columns],
        "rows": _rows(facts, [cells for _, cells in columns]),
        "score_notes": _score_notes(facts.scores, lang),
        "events": _events(facts.scores, lang),
        "methods": _methods(facts),
        "stages_more": _stages_more(facts.stages, lang),
        "stages": _stages(facts.stages, lang),
        "settings": [[plain(name, 40), plain(value, 300)] for name, value in _settings(facts).items()],
        "limits": [plain(limit, 600) for limit in (*facts.limits, _drawn_limit(facts), *LIMITS[lang])],
    }


def _drawn_limit(facts: FilmFacts) -> str:
    """What to know of the pictures: pocket's own limit is none of another model's."""
    drew = facts.models[0].family if facts.models else facts.plan.model
    return (POCKET_LIMIT if drew == "pocket" else OTHER_LIMIT)[facts.plan.lang]


def _short(name: str, most: int) -> str:
    """A model's name; of a long path its end, which tells more than its beginning."""
    return name if len(name) <= most else "…" + name[1 - most :]


def _sized(key: str, name: str, pictures: Pictures, width_mm: float, height_mm: float) -> dict[str, Any]:
    """A picture's file name and the size at which it fits the page, in millimetres."""
    if name not in pictures:
        return {key: None, f"{key}_width": 0, f"{key}_height": 0}
    _, width, height = pictures[name]
    scale = min(width_mm / width, height_mm / height)
    return {key: name, f"{key}_width": width * scale, f"{key}_height": height * scale}


def _pick(lang: Lang, english: T, korean: T) -> T:
    return korean if lang == "ko" else english


def _cover(facts: FilmFacts) -> list[list[str]]:
    plan, lang = facts.plan, facts.plan.lang
    film, clip = facts.film, facts.clips[0] if facts.clips else None
    found = {
        _pick(lang, "Length", "길이"): f"{plan.seconds:.1f}{_pick(lang, ' s', '초')}",
        _pick(lang, "Shots", "샷"): str(len(plan.shots)),
        _pick(lang, "Frame", "화면"): f"{film.width}×{film.height}, {film.fps:g} fps" if film else "",
        _pick(lang, "Drawn", "그린 프레임"): f"{clip.width}×{clip.height}, {clip.fps:g} fps" if clip else "",
        _pick(lang, "Model", "모델"): _short(plan.model, 60),
        _pick(lang, "Planner", "기획"): plan.planner,
        _pick(lang, "Seed", "시드"): str(plan.seed),
        _pick(lang, "Work", "작업 시간"): (
            duration(sum(stage.seconds for stage in facts.stages), lang) if facts.stages else ""
        ),
    }
    return [[name, plain(value, 60)] for name, value in found.items() if value]


def _strip(plan: FilmPlan, pictures: Pictures) -> list[dict[str, Any]]:
    """The parts of the film in time: title card, shots, end card."""
    title, end = _pick(plan.lang, ("title", "end"), ("제목", "끝"))
    parts = [(title, plan.title_seconds, 0.0, "")]
    for i, (shot, start) in enumerate(zip(plan.shots, plan.starts, strict=True)):
        parts.append((shot.id, shot.seconds, start, f"shot{i}.jpg"))
    parts.append((end, plan.end_seconds, plan.seconds - plan.end_seconds, ""))
    return [
        {
            "name": name,
            "seconds": seconds,
            "start": _clock(start),
            "picture": picture if picture in pictures else None,
        }
        for name, seconds, start, picture in parts
    ]


def _plan_more(plan: FilmPlan) -> str:
    lang = plan.lang
    title, end = f"{plan.title_seconds:g}", f"{plan.end_seconds:g}"
    return _pick(
        lang,
        f"{len(plan.shots)} shots, {plan.seconds:.1f} s with {title} s of title and {end} s of end card",
        f"샷 {len(plan.shots)}개, 제목 {title}초와 끝 카드 {end}초를 포함해 {plan.seconds:.1f}초",
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def _shot(shot: Shot, at: int, facts: FilmFacts, pictures: Pictures) -> dict[str, Any]:
    lang = facts.plan.lang
    start = facts.plan.starts[at]
    second = _pick(lang, " s", "초")
    kind = (SIZES[shot.size][lang], CAMERAS[shot.camera][lang], f"{shot.seconds:g}{second}")
    more = (
        _pick(lang, f"from {_clock(start)}", f"{_clock(start)}부터"),
        _pick(lang, f"light: {shot.light}", f"빛: {shot.light}") if shot.light else "",
        _pick(lang, f"motion {shot.motion:g}", f"움직임 {shot.motion:g}"),
        _pick(lang, f"seed {shot.seed}", f"시드 {shot.seed}"),
    )
    name = f"shot{at}.jpg"
    return {
        "id": shot.id,
        "kind": " · ".join(kind),
        "prompt": plain(shot.prompt, 400),
        "negative": plain(shot.negative, 200),
        "more": plain(" · ".join(filter(None, more))),
        "picture": name if name in pictures else None,
        "lines": [[f"{line.at:.1f}{second}", plain(line.text, 200)] for line in shot.lines],
        "events": [
            [
                _pick(lang, "through", "내내") if event.kind in BEDS else f"{event.at:.1f}{second}",
                SOUNDS[event.kind][lang] + (_minus(f" {event.gain_db:+g} dB") if event.gain_db else ""),
            ]
            for event in shot.events
        ],
    }


def _music(plan: FilmPlan) -> str:
    music, lang = plan.music, plan.lang
    drums = _pick(lang, "with drums", "드럼 있음") if music.drums else _pick(lang, "no drums", "드럼 없음")
    tempo = _pick(lang, f"{music.tempo} beats a minute", f"분당 {music.tempo}박")
    return " · ".join((MOODS[music.mood][lang], music.key, tempo, ", ".join(music.instruments), drums))


def _notes(notes: Sequence[str], lang: Lang) -> list[str]:
    shown = [plain(note, 400) for note in notes[:MAX_NOTES]]
    if (rest := len(notes) - len(shown)) > 0:
        shown.append(_pick(lang, f"… and {rest} more in plan.yaml", f"… 그 밖에 {rest}개는 plan.yaml에"))
    return shown


def _columns(scores: FilmScores, lang: Lang) -> list[tuple[dict[str, str], list[dict[str, Any] | None]]]:
    """Each column's head and its cells, one for each scored shot and the last for the film."""
    found = []
    for kind in COLUMNS:
        of_shots = [_named(shot.scores, kind) for shot in scores.shots]
        every = [score for score in (*of_shots, _named(scores.film, kind)) if score]
        if not every:
            continue
        low, high = _axis(every)
        digits = 3 if every[0].unit == "" else 1
        head = {
            "name": SCORES[kind][lang],
            "eye": every[0].backbone,
            "low": f"{low:.{digits - 1}f}",
            "high": f"{high:.{digits - 1}f}",
        }
        cells = [_cell(score, low, high, digits) for score in (*of_shots, _named(scores.film, kind))]
        found.append((head, cells))
    return found


def _named(scores: Sequence[Score], kind: str) -> Score | None:
    return next((score for score in scores if score.name.split("/")[0] == kind), None)


def _axis(scores: Sequence[Score]) -> tuple[float, float]:
    """From where to where a column's axis runs: all intervals and some room, ends as they are printed."""
    ends = [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
    step = 0.01 if scores[0].unit == "" else 1.0
    low, high = (int(min(ends) // step) * step, -int(-max(ends) // step) * step)
    return (low, high) if high > low else (low - step, high + step)


def _cell(score: Score | None, low: float, high: float, digits: int) -> dict[str, Any] | None:
    if score is None:
        return None
    place = [
        None if end is None else (end - low) / (high - low) for end in (score.value, score.low, score.high)
    ]
    half = "" if score.low is None or score.high is None else f"±{(score.high - score.low) / 2:.{digits}f}"
    return {
        "text": f"{score.value:.{digits}f}",
        "range": half,
        "at": place[0],
        "low": place[1],
        "high": place[2],
    }


def _rows(facts: FilmFacts, columns: Sequence[Sequence[dict[str, Any] | None]]) -> list[dict[str, Any]]:
    names = [*(shot.shot for shot in facts.scores.shots), WORDS[facts.plan.lang]["film"]]
    return [
        {"name": name, "whole": i == len(names) - 1, "cells": [cells[i] for cells in columns]}
        for i, name in enumerate(names)
    ]


def _score_notes(scores: FilmScores, lang: Lang) -> list[str]:
    """The film's other scores, and what the rows mean."""
    found = [
        _pick(
            lang,
            "The last row is the mean over the shots with its interval over shots. Each shot was judged by "
            "itself, on the frames as they were drawn, never across a cut.",
            "마지막 줄은 샷들의 평균과 샷에 대한 구간입니다. "
            "샷은 컷을 넘지 않고 하나씩, 그려진 프레임 그대로 평가했습니다.",
        )
    ]
    found.append(LEGEND[lang])
    others = [score for score in scores.film if score.name.split("/")[0] not in COLUMNS]
    if others:
        found.append(" · ".join(_said(score, lang) for score in others))
    return found


def _said(score: Score, lang: Lang) -> str:
    kind = score.name.split("/")[0]
    name = SCORES[kind][lang] if kind in SCORES else score.name
    between = "" if score.low is None or score.high is None else f" ({score.low:.2f}–{score.high:.2f})"
    return plain(f"{name}: {score.value:.2f}{between}, n = {score.n}")


def _minus(number: str) -> str:
    """With the minus sign in place of the hyphen."""
    return number.replace("-", "−")


def _check(check: Check, lang: Lang) -> dict[str, Any]:
    ends = [end for end in (check.at_least, check.at_most) if end is not None]
    room = max(abs(check.value - end) for end in ends) * 1.25 + max(abs(end) for end in ends) * 0.1
    low, high = min(ends) - room, max(ends) + room
    start, end = (
        low if check.at_least is None else check.at_least,
        high if check.at_most is None else check.at_most,
    )
    if check.at_least is not None and check.at_most is not None:
        bar = _pick(lang, "{:g} to {:g} {}", "{:g} ~ {:g} {}").format(
            check.at_least, check.at_most, check.unit
        )
    else:
        bar = f"{'≥' if check.at_most is None else '≤'} {ends[0]:g} {check.unit}"
    several = _pick(lang, f" · {check.n} sounds", f" · 소리 {check.n}개") if check.n > 1 else ""
    return {
        "name": CHECKS[check.name][lang] if check.name in CHECKS else plain(check.name, 40),
        "value": _minus(f"{check.value:.1f} {check.unit}"),
        "bar": _minus(bar) + several,
        "passed": check.passed,
        "at": (check.value - low) / (high - low),
        "from": (start - low) / (high - low),
        "to": (end - low) / (high - low),
    }


def _events(scores: FilmScores, lang: Lang) -> list[dict[str, Any]]:
    bar = next((check.at_most for check in scores.checks if check.name == "event_error"), None)
    if scores.sound is None or bar is None:
        return []
    found = []
    for event in scores.sound.events:
        inside = max(-EVENT_RANGE_MS, min(EVENT_RANGE_MS, event.error_ms))
        place = [0.5 + value / (2 * EVENT_RANGE_MS) for value in (inside, -bar, bar)]
        found.append(
            {
                "name": f"{event.shot} {SOUNDS[event.kind][lang]} {_clock(event.at)}",
                "text": _minus(f"{event.error_ms:+.0f} ms"),
                "passed": abs(event.error_ms) <= bar,
                "at": place[0],
                "from": max(0.0, place[1]),
                "to": min(1.0, place[2]),
            }
        )
    return found


def _methods(facts: FilmFacts) -> list[list[str]]:
    """Whose shots were made how; equal ways are told once."""
    shots: dict[str, list[str]] = {}
    for shot, clip in zip(facts.plan.shots, facts.clips, strict=False):
        shots.setdefault(clip.method or f"{clip.frames} × {clip.fps:g} fps", []).append(shot.id)
    return [[plain(", ".join(names)), plain(method, 600)] for method, names in shots.items()]


def _stages_more(found: Sequence[Stage], lang: Lang) -> str:
    if not found:
        return ""
    seconds = duration(sum(stage.seconds for stage in found), lang)
    stored, calls = sum(stage.stored for stage in found), sum(stage.calls for stage in found)
    return _pick(
        lang,
        f"{seconds} of work in all · {stored} of {calls} calls answered from the store",
        f"모두 {seconds} · 호출 {calls}번 중 {stored}번은 저장소에서",
    )


def _stages(found: Sequence[Stage], lang: Lang) -> list[dict[str, Any]]:
    whole = max((stage.seconds for stage in found), default=0.0) or 1.0
    return [
        {
            "name": plain(stage.name.replace("_", " "), 40),
            "calls": str(stage.calls),
            "stored": str(stage.stored) if stage.stored else "",
            "time": duration(stage.seconds, lang),
            "share": stage.seconds / whole,
            "memory": memory(stage.peak_bytes),
        }
        for stage in found
    ]


def _settings(facts: FilmFacts) -> dict[str, str]:
    plan, lang = facts.plan, facts.plan.lang
    found = {
        _pick(lang, "seed of the film", "영화의 시드"): str(plan.seed),
        _pick(lang, "seeds of the shots", "샷의 시드"): ", ".join(
            f"{shot.id} {shot.seed}" for shot in plan.shots
        ),
        _pick(lang, "planner", "기획"): plan.planner,
        _pick(lang, "language", "언어"): plan.lang,
    }
    for model in facts.models:
        found[plain(_short(model.name, 40), 40)] = (
            f"{model.family}, {model.numeric}, sha256 {model.digest[:16]}"
        )
    return found | facts.settings
