"""What a training has to show for itself: its loss curve, the sweep of its checkpoints, and why each setting is so.

The curve and the sweep lie in the folder that the training wrote, since a stopped training goes on from there; they
count only while that folder still holds the training that the run asked for. What is not there is named.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from jogak.report.training_words import REASONS, WORDS
from jogak.report.typeset import fonts
from jogak.report.words import Lang
from jogak.spec import SpecError
from jogak.spec.picture_scores import Bar, Missing, PictureScores, Why
from jogak.spec.scores import Score
from jogak.spec.training import UNIMPORTANT, CellScores, SweepReport, TrainRecord, TrainRequest
from jogak.store import Run
from jogak.store.values import UNREADABLE

RECORD, LOSSES, SWEEP, GRID = "train.json", "losses.jsonl", "sweep/sweep.json", "sweep/grid.png"
MAX_LOG = 200_000_000
"""Bytes of a loss log that are read."""
SAMPLES = 24
RISEN = 1.02
"""Held-out loss at the end over its lowest, above which later checkpoints may be overfit."""
LEARNED = 0.5
"""Likeness from which a character counts as learned, as in the sweep itself."""
OBEYS = 0.5
"""Share of the plain model's text match that has to be left."""
VARIETY = 0.5
"""Share of the training pictures' own diversity."""
SWEPT = ("identity", "adherence", "diversity", "copied")
"""What only a sweep can measure of a training."""


@dataclass(frozen=True)
class Curve:
    """Points (step, loss) of a training, in order."""

    each: tuple[tuple[int, float], ...] = ()
    """Of every step: with another noise each time, so it jumps."""
    seen: tuple[tuple[int, float], ...] = ()
    held_out: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Sample:
    """A preview that the training drew, or its sweep's page."""

    path: Path
    sha256: str
    label: str
    prompt: str = ""


@dataclass(frozen=True)
class TrainingFacts:
    curve: Curve
    sweep: SweepReport | None
    reasons: tuple[tuple[str, str, str], ...]
    """Setting, value, why"""
    settings: int
    """How many settings there are reasons to ask for."""
    recorded: bool
    """Base, pictures, captions and seed are on record."""
    samples: tuple[Sample, ...]
    grid: Sample | None
    scores: PictureScores


def read_training(run: Run, lang: Lang) -> TrainingFacts:
    """Everything that is left of a training's run; nothing raises, what is damaged or gone is missing."""
    request = _request(run)
    folder, record, other = _folder(run, request)
    curve = _curve(folder / LOSSES) if folder else Curve()
    sweep = _sweep(folder) if folder else None
    family = record.family if record else ""
    reasons = tuple(_reasons(request, family, lang)) if request else ()
    return TrainingFacts(
        curve=curve,
        sweep=sweep,
        reasons=reasons,
        settings=sum(_matters(request, name) for name in TrainRequest.model_fields) if request else 0,
        recorded=record is not None,
        samples=tuple(_samples(folder, request)) if folder and request else (),
        grid=_sample(folder / GRID, "sweep") if folder and sweep else None,
        scores=PictureScores(
            pictures=sweep.winner.n if sweep else 0,
            whole=tuple(_swept(sweep.winner)) if sweep else (),
            bars=tuple(_bars(curve, sweep, record)),
            missing=tuple(_missing(curve, sweep, folder)),
            notes=tuple(_notes(folder, sweep, other, request, lang)),
        ),
    )


def _request(run: Run) -> TrainRequest | None:
    try:
        asked = run.spec
    except UNREADABLE:
        return None
    return asked if isinstance(asked, TrainRequest) else None


def _folder(run: Run, request: TrainRequest | None) -> tuple[Path | None, TrainRecord | None, bool]:
    """The training's folder and record while they are this run's; and whether another training lies there."""
    if run.output is None or request is None:
        return None, None, False
    try:
        record = TrainRecord.read(run.output / RECORD)
    except SpecError:
        return None, None, False
    # a longer training of the same kind goes on in the same folder
    there, asked = (one.model_dump(exclude=set(UNIMPORTANT)) for one in (record.request, request))
    same = there == asked
    return (run.output, record, False) if same else (None, None, True)


def _curve(path: Path) -> Curve:
    lines = list(_lines(path))

    def points(name: str) -> tuple[tuple[int, float], ...]:
        return tuple(
            (line["step"], float(line[name])) for line in lines if isinstance(line.get(name), (int, float))
        )

    return Curve(points("loss"), points("seen"), points("held_out"))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a loss log; torn ones are left out."""
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= MAX_LOG else ""
    except (OSError, UnicodeDecodeError):
        return
    for written in text.splitlines():
        with suppress(ValueError, RecursionError):
            line = json.loads(written)
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                yield line


def _sweep(folder: Path) -> SweepReport | None:
    """The sweep of this folder's checkpoints; none when those that it compared are not all there any more."""
    try:
        found = SweepReport.read(folder / SWEEP)
    except SpecError:
        return None
    names = {Path(cell.checkpoint).name for cell in found.cells}
    return found if all((folder / name).is_file() for name in names) else None


# what it was worth


def _swept(cell: CellScores) -> Iterator[Score]:
    """The recommended cell's numbers; of these a sweep keeps an interval for its value alone."""
    yield Score(name="value", value=cell.value, low=cell.low, high=cell.high, n=cell.n)
    yield Score(name="identity", value=cell.identity, n=cell.n)
    yield Score(name="likeness", value=cell.likeness, n=cell.n)
    yield Score(name="adherence", value=cell.adherence, n=cell.n, unit="cos×100")
    yield Score(name="obedience", value=cell.obedience, n=cell.n)
    yield Score(name="diversity", value=cell.diversity, n=cell.n)
    yield Score(name="copied", value=cell.copied, n=cell.n, better="lower")


def _bars(curve: Curve, sweep: SweepReport | None, record: TrainRecord | None) -> Iterator[Bar]:
    if len(curve.seen) > 1:
        ratio = curve.seen[-1][1] / max(curve.seen[0][1], 1e-12)
        yield Bar(name="seen_ratio", value=ratio, at_most=1.0, part="quality")
    if len(curve.held_out) > 1:
        lowest = min(loss for _, loss in curve.held_out)
        held = len(record.held_out) if record else 1
        ratio = curve.held_out[-1][1] / max(lowest, 1e-12)
        yield Bar(name="held_out_ratio", value=ratio, at_most=RISEN, n=max(1, held), part="quality")
    if sweep:
        cell = sweep.winner
        for name, value, least in (
            ("likeness", cell.likeness, LEARNED),
            ("obedience", cell.obedience, OBEYS),
            ("diversity_share", cell.variety, VARIETY),
        ):
            yield Bar(name=name, value=value, at_least=least, n=cell.n, part="quality")
        yield Bar(name="copied", value=cell.copied, at_most=0, n=cell.n, part="quality")


def _missing(curve: Curve, sweep: SweepReport | None, folder: Path | None) -> Iterator[Missing]:
    def lost(why: Why) -> Why:
        return why if folder else "no_folder"

    if len(curve.seen) < 2:
        yield Missing(name="loss/seen", why=lost("no_validation"))
    if len(curve.held_out) < 2:
        yield Missing(name="loss/held_out", why=lost("no_validation"))
    if sweep is None:
        for name in SWEPT:
            yield Missing(name=name, why=lost("no_sweep"))
    # pictures of a training are drawn without a control map, so there is nothing that they could have kept
    yield Missing(name="control_fidelity", why="no_maps")


def _notes(
    folder: Path | None, sweep: SweepReport | None, other: bool, request: TrainRequest | None, lang: Lang
) -> Iterator[str]:
    words = WORDS[lang]
    if other:
        yield words["other"]
    if folder and sweep and request:
        yield words["verdict"].format(words[sweep.verdict])
        with suppress(OSError):
            last = folder / f"{request.name}.safetensors"
            if last.stat().st_mtime > (folder / SWEEP).stat().st_mtime:
                yield words["old_sweep"]


def curve_said(curve: Curve, lang: Lang) -> str:
    """The curve in a sentence or two; empty without one."""
    words, found = WORDS[lang], []
    for key, points in (("curve_said", curve.held_out), ("curve_seen", curve.seen)):
        if len(points) > 1:
            (at, first), (end, last) = points[0], points[-1]
            best, lowest = min(points, key=lambda point: point[1])
            values = {"at": at, "first": first, "end": end, "last": last, "best": best, "lowest": lowest}
            found.append(words[key].format(**values))
    return " ".join(found)


# why each setting is so


def _matters(request: TrainRequest, name: str) -> bool:
    """Whether a setting does anything here: what is switched off, or only follows another, needs no reason."""
    if name == "text_lr":
        return request.text_encoder
    if name in ("prior", "ema", "accumulate", "noise_offset", "masked_loss", "flip"):
        return getattr(request, name) != TrainRequest.model_fields[name].default
    return name in REASONS


def _reasons(request: TrainRequest, family: str, lang: Lang) -> Iterator[tuple[str, str, str]]:
    """Every setting that does something, whether it is the default, and why it matters."""
    # an optimizer brings its own learning rate, so only the optimizer itself is compared with the usual one
    usual = TrainRequest(optimizer=request.optimizer).for_family(family)
    usual = usual.model_copy(update={"optimizer": TrainRequest().optimizer})
    of = family or request.base
    for name, why in REASONS.items():
        if not _matters(request, name):
            continue
        value, default = _value(getattr(request, name)), _value(getattr(usual, name))
        whence = (
            WORDS[lang]["default"].format(of)
            if value == default or name in ("base", "precision")
            else WORDS[lang]["asked"].format(of, default)
        )
        # the base is always somebody's choice, and the precision the machine's
        said = why[lang] if name in ("base", "precision") else f"{why[lang]} ({whence})"
        yield name, value, said


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


# pictures


def _samples(folder: Path, request: TrainRequest) -> Iterator[Sample]:
    """The previews, evenly from the first to the last."""
    with suppress(OSError):
        paths = sorted((folder / "samples").glob("step*-*.png"))
        if len(paths) > SAMPLES:
            paths = [paths[round(at * (len(paths) - 1) / (SAMPLES - 1))] for at in range(SAMPLES)]
        for path in paths:
            step, _, number = path.stem.removeprefix("step").partition("-")
            if not step.isdecimal() or not number.isdecimal():
                continue
            prompts = request.sample_prompts
            prompt = prompts[int(number)] if int(number) < len(prompts) else ""
            if sample := _sample(path, f"step {int(step)}", prompt):
                yield sample


def _sample(path: Path, label: str, prompt: str = "") -> Sample | None:
    try:
        with path.open("rb") as file:
            return Sample(path, hashlib.file_digest(file, "sha256").hexdigest(), label, prompt)
    except OSError:
        return None


# the curve as a picture

_SIZE, _FRAME = (1400, 520), (110, 66, 1370, 450)
_INK, _SOFT, _LINE, _PAPER, _CLAY, _GREEN = (
    (34, 30, 25), (111, 103, 93), (221, 214, 202), (255, 255, 255), (180, 83, 42), (47, 125, 91),
)  # fmt: skip


def drawn_curve(curve: Curve, lang: Lang) -> tuple[bytes, int, int] | None:
    """The loss over the steps as a JPEG, with its width and height; None without two points of anything.

    Where losses with fixed noise are there, those of single steps are left out: they jump so far that nothing else
    would be seen.
    """
    fixed = len(curve.seen) > 1 or len(curve.held_out) > 1
    series = [
        (name, points, colour, width)
        for name, points, colour, width in (
            ("each", () if fixed else _means(curve.each), _SOFT, 3),
            ("seen", curve.seen, _CLAY, 4),
            ("held_out", curve.held_out, _GREEN, 4),
        )
        if len(points) > 1
    ]
    if not series:
        return None
    page = PIL.Image.new("RGB", _SIZE, _PAPER)
    pen = PIL.ImageDraw.Draw(page)
    place = _axes(pen, [point for _, points, _, _ in series for point in points], lang)
    x = float(_FRAME[0])
    for name, points, colour, width in series:
        pen.line([place(*point) for point in points], fill=colour, width=width, joint="curve")
        if name != "each":
            for px, py in (place(*point) for point in points):
                pen.ellipse((px - 5, py - 5, px + 5, py + 5), fill=colour)
        label = WORDS[lang][name]
        pen.line((x, 30, x + 36, 30), fill=colour, width=6)
        pen.text((x + 46, 30), label, font=_font(24), fill=_INK, anchor="lm")
        x += 46 + _font(24).getlength(label) + 44
    kept = io.BytesIO()
    page.save(kept, "JPEG", quality=90, optimize=True)
    return kept.getvalue(), *page.size


def _means(points: Sequence[tuple[int, float]], most: int = 200) -> tuple[tuple[int, float], ...]:
    """Means over equal stretches, so that many noisy steps are one line."""
    size = max(1, -(-len(points) // most))
    parts = [points[first : first + size] for first in range(0, len(points), size)]
    return tuple((part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts)


def _axes(pen: PIL.ImageDraw.ImageDraw, points: Sequence[tuple[int, float]], lang: Lang) -> Any:
    """Draw both axes; what comes back places (step, loss)."""
    left, top, right, bottom = _FRAME
    finite = [loss for _, loss in points if abs(loss) < 1e6] or [0.0]
    low, high = min(finite), max(finite)
    room = (high - low) * 0.06 or max(abs(high), 1e-6) * 0.1
    low, high = low - room, high + room
    last = max(1, max(step for step, _ in points))

    def place(step: int, loss: float) -> tuple[float, float]:
        share = min(1.0, max(0.0, (loss - low) / (high - low))) if loss == loss else 1.0
        return left + step / last * (right - left), bottom - share * (bottom - top)

    for at in range(5):
        loss = low + (high - low) * at / 4
        y = place(0, loss)[1]
        pen.line((left, y, right, y), fill=_LINE, width=1)
        pen.text((left - 14, y), f"{loss:.4g}", font=_font(20), fill=_SOFT, anchor="rm")
        step = round(last * at / 4)
        pen.text((place(step, low)[0], bottom + 12), str(step), font=_font(20), fill=_SOFT, anchor="ma")
    pen.text((right, bottom + 40), WORDS[lang]["step"], font=_font(20), fill=_SOFT, anchor="ra")
    return place


def _font(size: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(str(fonts() / "NanumGothic.ttf"), size)


def training_data(
    facts: TrainingFacts, names: Mapping[str, str], curve: str | None, lang: Lang
) -> dict[str, Any]:
    """What a training adds to the report's plain data; `names` says a setting in the report's language."""
    return {
        "curve": curve,
        "curve_title": WORDS[lang]["curve" if curve_said(facts.curve, lang) else "each"],
        "curve_said": curve_said(facts.curve, lang),
        "reasons": [
            [names.get(name, name.replace("_", " ")), value, why] for name, value, why in facts.reasons
        ],
    }
