"""What a run of the picture journey has to say of itself: read from its records, whatever the journey was.

Nothing here knows a journey's own code. Pictures are wherever a result holds an `Image`, requests wherever an argument
is an `ImageRequest`, scores wherever a `PictureScores`, a lone `Score` or a JSON file of that shape lies; a sweep's
cells become alternatives. What cannot be understood is left out, and the report says less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jogak.report.film_report import Stage, stages
from jogak.report.picture_words import JOURNEYS, SCORES, SETTINGS
from jogak.report.training_facts import Sample, TrainingFacts, read_training
from jogak.report.typeset import plain
from jogak.report.words import Lang
from jogak.spec import JogakError, SpecError
from jogak.spec.picture_scores import Alternative, ItemScores, MapPair, PictureScores, Shown
from jogak.spec.scores import Score
from jogak.store import Record, Run
from jogak.store.values import UNREADABLE, decode, parts

MAX_JSON = 40_000_000
"""Bytes of a scores file that are read."""
MAX_SETTINGS = 60
MAX_PICTURES = 400
PAGES = ("sheet", "grid", "page", "contact", "panel_page")
"""Steps whose picture is a whole page, by words in their names."""
CELL_SCORES = ("value", "likeness", "obedience", "diversity", "copied", "memorised")
"""Of a sweep's cell, what the table of alternatives shows, the first being what the choice was made by."""
LOWER = ("copied", "memorised")


@dataclass(frozen=True)
class Picture:
    """One picture, what was asked for it, and what it was worth."""

    path: Path
    sha256: str
    label: str
    role: str = "picture"
    """picture, page, copy, original, reference"""
    asked: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """Everything that the report says."""

    run_id: str
    journey: str
    lang: Lang
    title: str
    words: str
    """What was asked for, in the person's words."""
    started: float
    settings: tuple[tuple[str, str], ...]
    drawing: tuple[tuple[str, str], ...]
    """What all drawn pictures have in common, where it is not the run's own settings."""
    models: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    pairs: tuple[MapPair, ...]
    scores: PictureScores
    reason: str
    stages: tuple[Stage, ...]
    drawn: int
    """Pictures that a model drew in this run."""
    recorded: int
    """Those of them whose request and weights are on record."""
    training: TrainingFacts | None = None
    """What the run of a training has beside, in the folder that it wrote."""


def gather(run: Run, *, lang: Lang | None = None, scores: PictureScores | None = None) -> RunFacts:
    """Read a run. `scores` (as of `jogak eval -o`) are added to what the run itself found.

    Raises `JogakError` for a film's run, which has a report of its own.
    """
    if run.journey.startswith("film"):
        raise JogakError(
            f"{run.id} made a film; its report is report.pdf in the film's folder. Give a run of pictures, as listed by "
            "`jogak runs list`."
        )
    records = run.records
    asked = _fields(run.spec_data)
    drawings = list(_drawings(records))
    lang = lang or _language(asked, drawings)
    training = read_training(run, lang) if run.journey == "train" else None
    learned = [training.scores] if training else []
    found = _merged([*_scores(records, run), *learned, *([scores] if scores else [])])
    best, reason = _sweep(records, training, lang)
    if best and not found.alternatives:
        found = found.model_copy(update={"alternatives": best})
    common = _common([request for _, request in drawings])
    own = _flat(asked)
    title, words = _title(run.journey, asked, common, lang)
    return RunFacts(
        run_id=run.id,
        journey=run.journey,
        lang=lang,
        title=title,
        words=words,
        started=run.started,
        settings=_named(own, lang),
        drawing=_named({name: said for name, said in _flat(common).items() if own.get(name) != said}, lang),
        models=tuple(_models(records)),
        pictures=(*_pictures(records, run, drawings, common, found.items), *_previews(training)),
        pairs=tuple(_of_class(records, run, "MapPair", MapPair)),
        scores=found,
        reason=reason or next((one.reason for one in found.alternatives if one.chosen), ""),
        stages=stages(records),
        training=training,
        **_drawn(records),
    )


def read_scores(path: Path) -> PictureScores:
    """A `scores.json`. Raises `SpecError` when it is none."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise SpecError(
                f"{path} has more than {MAX_JSON / 1e6:.0f} MB; give a scores.json of `jogak eval`."
            )
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror or error}. Give a scores.json of `jogak eval`.") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not readable as JSON: {str(error)[:100]}.") from None
    return PictureScores.parse(data, where=path.name)


# walking tagged JSON


def _class(node: Any) -> str:
    tag = node.get("$") if isinstance(node, dict) else None
    return tag.rpartition(":")[2] if isinstance(tag, str) and ":" in tag else ""


def _fields(node: Any) -> dict[str, Any]:
    """The fields of a tagged Spec, as they are written."""
    inner = node.get("is") if isinstance(node, dict) else None
    return inner if isinstance(inner, dict) else {}


def _untagged(node: Any) -> Any:
    """Tagged JSON as plain data, a handle being its digest."""
    if isinstance(node, list):
        return [_untagged(part) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("$") == "tuple":
        return [_untagged(part) for part in node["of"]]
    if node.get("$") == "dict":
        return {str(key): _untagged(part) for key, part in node["of"]}
    if node.get("$") == "float":
        return float(node["of"])
    if "$" in node:
        if "file" in node:
            return str(node["file"])[:64]
        return _untagged(_fields(node)) | node.get("also", {})
    return {key: _untagged(part) for key, part in node.items()}


def _results(records: Sequence[Record]) -> Iterator[tuple[Record, Any]]:
    """Every node of every result."""
    for record in records:
        for node in parts(record.data.get("result")):
            yield record, node


def _has(record: Record, kind: str) -> bool:
    return any(_class(node) == kind for part in record.data.get("args", {}).values() for node in parts(part))


def _of_class(records: Sequence[Record], run: Run, name: str, kind: type[Any]) -> Iterator[Any]:
    seen: set[str] = set()
    for record, node in _results(records):
        if _class(node) != name or (key := json.dumps(node, sort_keys=True)) in seen:
            continue
        seen.add(key)
        try:
            found = decode(node, record.place.path)
        except UNREADABLE:
            continue
        if isinstance(found, kind):
            yield found


# what was asked for


def _drawings(records: Sequence[Record]) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Calls that took a picture's request and gave one picture, with the request as plain data."""
    seen: set[str] = set()
    for record in records:
        if record.key in seen or _class(record.data.get("result")) != "Image":
            continue
        requests = [part for part in record.data["args"].values() if _class(part) == "ImageRequest"]
        if len(requests) == 1:
            seen.add(record.key)
            yield record, _untagged(requests[0])


def _drawn(records: Sequence[Record]) -> dict[str, int]:
    """How many pictures models drew, and for how many of them the weights are on record with everything else."""
    drawn = recorded = 0
    for record in {record.key: record for record in records}.values():
        result = record.data.get("result")
        count = sum(_class(node) == "Image" for node in (result if isinstance(result, list) else [result]))
        weights = _has(record, "ModelRef")
        if count and (weights or _has(record, "ImageRequest")):
            drawn, recorded = drawn + count, recorded + count * weights
    return {"drawn": drawn, "recorded": recorded}


def _common(requests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not requests:
        return {}
    first = requests[0]
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in requests)}


def _language(asked: Mapping[str, Any], drawings: Sequence[tuple[Record, dict[str, Any]]]) -> Lang:
    if asked.get("lang") in ("ko", "en"):
        return asked["lang"]
    said = json.dumps([asked, [request.get("prompt") for _, request in drawings[:20]]], ensure_ascii=False)
    return "ko" if re.search("[가-힣]", said) else "en"


def _title(journey: str, asked: Mapping[str, Any], common: Mapping[str, Any], lang: Lang) -> tuple[str, str]:
    """The title, and the words below it."""
    words = next(
        (str(source[name]) for source in (asked, common) for name in ("prompt", "text") if source.get(name)),
        "",
    )
    name = next((str(asked[key]) for key in ("title", "name", "trigger") if asked.get(key)), "")
    pattern = JOURNEYS.get(journey, {"en": journey.capitalize(), "ko": journey})[lang]
    if "{}" in pattern:
        pattern = pattern.replace("{}", Path(str(asked.get("folder", ""))).name or "…")
    if journey == "image" and words and len(words) <= 80:
        return words, ""
    return (name or pattern), words


def _flat(data: Any, before: str = "") -> dict[str, str]:
    """Settings as `loras 1 weight` → "0.8"; what was left empty is left out."""
    data = _untagged(data)
    if isinstance(data, dict):
        found: dict[str, str] = {}
        for name, part in data.items():
            found |= _flat(part, f"{before} {name}".strip())
        return found
    if isinstance(data, list):
        if all(isinstance(part, (str, int, float)) for part in data):
            return {before: ", ".join(_value(part) for part in data)} if data else {}
        found = {}
        for at, part in enumerate(data, 1):
            found |= _flat(part, f"{before} {at}")
        return found
    return {} if data is None or data == "" else {before: _value(data)}


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return f"sha256 {text[:12]}…" if re.fullmatch("[0-9a-f]{64}", text) else text


def _named(settings: Mapping[str, str], lang: Lang) -> tuple[tuple[str, str], ...]:
    def name(words: str) -> str:
        parts_ = [SETTINGS.get(word, word) if lang == "ko" else word for word in words.split()]
        return " ".join(parts_).replace("_", " ")

    return tuple((name(key), value) for key, value in list(settings.items())[:MAX_SETTINGS])


def _models(records: Sequence[Record]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for record in records:
        for part in record.data.get("args", {}).values():
            for node in parts(part):
                kind = _class(node)
                facts = _fields(node)
                digest = str(facts.get("digest") or str(node.get("file", ""))[:64]) if kind else ""
                if kind not in ("ModelRef", "Adapter") or digest in seen:
                    continue
                seen.add(digest)
                name = Path(str(node.get("also", {}).get("name") or facts.get("name", ""))).name
                more = (
                    facts.get("family") or facts.get("kind"),
                    facts.get("numeric"),
                    f"sha256 {digest[:16]}",
                )
                yield name, ", ".join(str(part) for part in more if part)


# pictures


def _pictures(
    records: Sequence[Record],
    run: Run,
    drawings: Sequence[tuple[Record, dict[str, Any]]],
    common: Mapping[str, Any],
    items: Sequence[ItemScores],
) -> Iterator[Picture]:
    by_digest = {item.sha256: item for item in items if item.sha256}
    by_name = {item.picture: item for item in items}
    seen: set[str] = set()
    for shown in _of_class(records, run, "Shown", Shown):
        item = by_name.get(shown.name)
        seen.add(shown.image.sha256)
        if shown.image.path.is_file():
            scores = item.scores if item and shown.role in ("picture", "copy") else ()
            asked = {"prompt": item.prompt} if item and item.prompt else {}
            yield Picture(shown.image.path, shown.image.sha256, shown.name, shown.role, asked, scores)
    requests = {record.key: request for record, request in drawings}
    pairs = {digest for pair in _of_class(records, run, "MapPair", MapPair) for digest in _maps_of(pair)}
    for record, node in _results(records):
        if "file" not in (node if isinstance(node, dict) else {}) or not _class(node).endswith("Image"):
            continue
        name = str(node["file"])
        place = record.place.path(name)
        if name[:64] in seen | pairs or not place.is_file() or len(seen) > MAX_PICTURES:
            continue
        seen.add(name[:64])
        asked = {
            key: value for key, value in requests.get(record.key, {}).items() if common.get(key) != value
        }
        page = record.key not in requests and any(word in record.name for word in PAGES)
        item = by_digest.get(name[:64])
        label = record.scope or record.name.replace("_", " ")
        role = "page" if page else "picture"
        yield Picture(place, name[:64], label, role, asked, item.scores if item else ())


def _previews(training: TrainingFacts | None) -> Iterator[Picture]:
    """What a training drew on its way, and its sweep's page."""

    def picture(sample: Sample, role: str) -> Picture:
        asked = {"prompt": sample.prompt} if sample.prompt else {}
        return Picture(sample.path, sample.sha256, sample.label, role, asked)

    if training:
        yield from (picture(one, "picture") for one in training.samples)
        yield from [picture(training.grid, "page")] if training.grid else []


def _maps_of(pair: MapPair) -> tuple[str, str, str]:
    return pair.wanted.sha256, pair.found.sha256, pair.shown.sha256


# scores and alternatives


def _scores(records: Sequence[Record], run: Run) -> Iterator[PictureScores]:
    whole = list(_of_class(records, run, "PictureScores", PictureScores))
    yield from whole
    inside = {
        score
        for one in whole
        for score in (
            *one.whole,
            *(s for item in one.items for s in item.scores),
            *(s for other in one.alternatives for s in other.scores),
        )
    }
    lone = [
        score
        for score in _of_class(records, run, "Score", Score)
        if score not in inside and (score.low is not None or score.n > 1)
    ]
    if lone:
        yield PictureScores(whole=tuple(lone))
    if whole:
        return
    for record, node in _results(records):
        if _class(node) == "Document" and str(node.get("file", "")).endswith(".json"):
            try:
                yield read_scores(record.place.path(str(node["file"])))
            except SpecError:
                continue  # a JSON file of another kind


def _merged(found: Sequence[PictureScores]) -> PictureScores:
    """Several into one: later numbers of a name replace earlier ones."""
    if not found:
        return PictureScores()
    whole = {score.name: score for one in found for score in one.whole}
    bars = {(bar.part, bar.name): bar for one in found for bar in one.bars}
    items = {item.sha256 or item.picture: item for one in found for item in one.items}
    missing = {one.name: one for part in found for one in part.missing if one.name not in whole}
    last = found[-1]
    alternatives = next((one.alternatives for one in reversed(found) if one.alternatives), ())
    return PictureScores(
        pictures=max(one.pictures for one in found),
        references=max(one.references for one in found),
        lead=next((one.lead for one in reversed(found) if one.lead), ""),
        whole=tuple(whole.values()),
        items=tuple(items.values()),
        bars=tuple(bars.values()),
        alarm=next((one.alarm for one in reversed(found) if one.alarm), None),
        alternatives=alternatives,
        missing=tuple(missing.values()),
        notes=tuple(dict.fromkeys(note for one in found for note in one.notes)) or last.notes,
    )


def _sweep(
    records: Sequence[Record], training: TrainingFacts | None, lang: Lang
) -> tuple[tuple[Alternative, ...], str]:
    """A sweep's cells as alternatives, best first, and its reason; nothing when the run was no sweep and has none."""
    reports = [training.sweep.model_dump(mode="json")] if training and training.sweep else []
    for report in (*_sweep_reports(records), *reports):
        try:
            cells, best = report["cells"], int(report["best"])
            reason = str(
                report.get(f"reason_{lang}") or report.get("reason_en") or _highest(cells, best, lang)
            )
            ranked = sorted(range(len(cells)), key=lambda at: (at != best, -float(cells[at].get("value", 0))))
            return tuple(_cell(cells[at], cells[best], at == best, reason, lang) for at in ranked), reason
        except (TypeError, ValueError, LookupError, AttributeError, SpecError):
            continue
    return (), ""


def _sweep_reports(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """Results with `cells` and `best`, then calls that took scored cells and the best one's number."""
    for _, node in _results(records):
        if {"cells", "best"} <= _fields(node).keys():
            yield _untagged(_fields(node))
    for record in records:
        args = record.data.get("args", {})
        cells = next(
            (part for part in map(_untagged, args.values()) if isinstance(part, list) and _are_cells(part)),
            None,
        )
        if cells and isinstance(args.get("best"), int):
            yield {"cells": cells, "best": args["best"]}


def _are_cells(part: list[Any]) -> bool:
    return bool(part) and all(isinstance(one, dict) and {"weight", "value"} <= one.keys() for one in part)


def _highest(cells: Sequence[dict[str, Any]], best: int, lang: Lang) -> str:
    """The reason that the numbers themselves give, where the sweep recorded none."""
    one = cells[best]
    between = f" ({one['low']:.2f}–{one['high']:.2f})" if one.get("low") is not None else ""
    if lang == "ko":
        return f"{len(cells)}가지 가운데 종합 값이 가장 높습니다: {float(one['value']):.2f}{between}."
    return f"Its value is the highest of {len(cells)}: {float(one['value']):.2f}{between}."


def _cell(cell: dict[str, Any], winner: dict[str, Any], chosen: bool, reason: str, lang: Lang) -> Alternative:
    scores = tuple(
        Score(
            name=name,
            value=float(cell[name]),
            low=cell.get("low") if name == "value" else None,
            high=cell.get("high") if name == "value" else None,
            n=int(cell.get("n", 1)),
            better="lower" if name in LOWER else "higher",
        )
        for name in CELL_SCORES
        if isinstance(cell.get(name), (int, float))
    )
    settings = {name: _value(cell[name]) for name in ("step",) if name in cell}
    label = f"{Path(str(cell.get('checkpoint', ''))).stem} × {_value(cell.get('weight', ''))}".strip(" ×")
    return Alternative(
        name=plain(label, 80), settings=settings, scores=scores, chosen=chosen,
        reason=reason if chosen else _shortfall(cell, winner, lang),
    )  # fmt: skip


def _shortfall(cell: dict[str, Any], winner: dict[str, Any], lang: Lang) -> str:
    """In which score a way that lost fell behind most."""
    gaps = {
        name: (float(winner[name]) - float(cell[name])) * (-1 if name in LOWER else 1)
        for name in CELL_SCORES[1:]
        if isinstance(cell.get(name), (int, float)) and isinstance(winner.get(name), (int, float))
    }
    worst = max(gaps, key=lambda name: gaps[name], default="")
    if not worst or gaps[worst] < 0.005:
        return {"en": "even with it", "ko": "선택과 비슷함"}[lang]
    name = SCORES[worst][lang][0]
    against = f"{float(cell[worst]):.2f}", f"{float(winner[worst]):.2f}"
    return (
        f"{name} {against[0]}, 선택은 {against[1]}"
        if lang == "ko"
        else f"{name} {against[0]} against {against[1]}"
    )
