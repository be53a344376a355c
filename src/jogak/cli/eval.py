"""`jogak eval`: what a folder of pictures is worth, in numbers with their intervals. Importing this imports no torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from cyclopts import Parameter

from jogak.cli.progress import Line, OnProgress, line
from jogak.spec import SpecError
from jogak.spec.image import ControlKind
from jogak.spec.picture_scores import EvalRequest, PictureScores

if TYPE_CHECKING:
    from jogak.store import Progress
    from jogak.studio.eval import Prepared

WHY = {
    "few_pictures": "too few pictures",
    "no_reference": "no --reference folder",
    "no_prompts": "no prompts: give --prompts, a .txt beside each picture, or pictures that carry theirs",
    "no_maps": "no control maps: give --maps canny=FOLDER, or pictures whose recipe names them",
    "no_detector": "no detector for this kind is shipped",
    "no_weights": "its weights are not here",
    "same_prompts": "all prompts are the same",
    "not_asked": "not asked for",
    "no_sweep": "no sweep of this training: jogak sweep FOLDER",
    "no_validation": "no pictures were held out, or validation was off",
    "no_folder": "the training's folder is gone, or holds another training",
}


def _field(name: str) -> Parameter:
    return Parameter(name=f"--{name}", help=EvalRequest.model_fields[name].description)


_DEFAULT = EvalRequest(folder="-")


def evaluate(
    folder: Annotated[Path, Parameter(help=EvalRequest.model_fields["folder"].description)],
    /,
    *,
    reference: Annotated[Path | None, _field("reference")] = None,
    prompts: Annotated[Path | None, _field("prompts")] = None,
    clip: Annotated[Path | None, _field("clip")] = None,
    inception: Annotated[Path | None, _field("inception")] = None,
    maps: Annotated[
        list[str] | None,
        Parameter(
            help="KIND=FOLDER: the control maps the pictures were to follow, named like the pictures",
            negative=(),
        ),
    ] = None,
    output: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="where to write scores.json; default: nowhere")
    ] = None,
    seed: Annotated[int, _field("seed")] = _DEFAULT.seed,
    limit: Annotated[int, _field("limit")] = _DEFAULT.limit,
    json: Annotated[bool, Parameter(negative=(), help="print scores.json instead of a table")] = False,
    dry_run: Annotated[
        bool, Parameter(negative=(), help="say what would be measured; measure nothing")
    ] = False,
) -> None:
    """Score a folder of pictures: distance to references, text match, identity, diversity, control, memorisation.

    jogak eval out/ --reference dataset/ -o out/scores.json

    Every number names the network that gave it, how many pictures it stands on, and its 95 % interval. What cannot be
    measured is named too. Prompts are read from the pictures themselves where they carry them. A PDF or page of the
    result: jogak report last -o report.pdf

    폴더의 그림들에 점수를 매깁니다: 참고 그림과의 거리, 글과의 일치, 정체성, 다양성, 제어 충실도, 복제 경보.
    """
    request = EvalRequest.parse(
        {"folder": str(folder), "seed": seed, "limit": limit, "maps": _maps(maps or [])}
        | {
            name: str(path)
            for name, path in (
                ("reference", reference), ("prompts", prompts), ("clip", clip), ("inception", inception),
            )
            if path
        }
    )  # fmt: skip
    if output is not None:
        output = output / "scores.json" if output.is_dir() else output
        if output.suffix.lower() != ".json":
            raise SpecError(f"{output} does not end in .json; name the file of the scores so.")
        from jogak.cli.image import require_writable

        require_writable(output.parent)
    from jogak.store import Store
    from jogak.studio.eval import evaluate as measure
    from jogak.studio.eval import prepare

    store = Store()
    prepared = prepare(request, store)
    if dry_run:
        _say_plan(prepared)
        return
    begun = time.perf_counter()
    with line("looking", prepared.looks) as shown:
        made = measure(store, prepared, on_progress=_tell(shown, prepared.looks))
    if output is not None:
        store.export(made.document, output)
    if json:
        print(made.scores.to_json())
        return
    show(made.scores)
    print(f"{prepared.looks} pictures looked at in {time.perf_counter() - begun:.1f} s · run {made.run_id}")
    print(
        f"{output}  written"
        if output
        else "to keep the numbers: -o scores.json; for a page: jogak report last -o report.html"
    )


def _maps(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        kind, sign, place = one.partition("=")
        if not sign or kind not in get_args(ControlKind):
            raise SpecError(
                f'maps: "{one[:60]}" is not KIND=FOLDER; write for example canny=maps/ (kinds: '
                f"{', '.join(kind for kind in get_args(ControlKind) if kind != 'none')})."
            )
        found[kind] = place
    return found


def _say_plan(prepared: Prepared) -> None:
    references = len(prepared.references.images) if prepared.references else 0
    print(f"pictures: {len(prepared.pictures.images)} in {prepared.request.folder}")
    print(f"references: {references}" + (f" in {prepared.request.reference}" if references else ""))
    print(f"prompts: {len(prepared.prompts)}")
    kinds = [one.kind for one in prepared.wanted]
    print(
        "control maps: " + (", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)) or "0")
    )
    for kind, why, detail in prepared.lacking:
        print(f"not measured: control_fidelity/{kind} ({WHY[why]}{': ' + detail if detail else ''})")
    print("judges: " + ", ".join(eye.name for eye in prepared.eyes))
    for note in prepared.notes:
        print(f"note: {note}")
    print(f"about {prepared.seconds / 60:.1f} minutes on one core; nothing was measured.")


def show(scores: PictureScores) -> None:
    """The scores as a table on the terminal, then the bars, the alarm, and what is missing."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("score", no_wrap=True)
    for name in ("value", "95 % interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for score in scores.whole:
        between = (
            "" if score.low is None or score.high is None else f"{_number(score.low)} … {_number(score.high)}"
        )
        marks = (
            "↓" if score.better == "lower" else "↑",
            score.unit,
            "leads" if score.name == scores.lead else "",
        )
        table.add_row(score.name, _number(score.value), between, str(score.n), " ".join(filter(None, marks)))
    console.print(table)
    for bar in scores.bars:
        limit = f"≥ {bar.at_least:g}" if bar.at_least is not None else f"≤ {bar.at_most:g}"
        console.print(f"{'met   ' if bar.passed else 'MISSED'}  {bar.name} {bar.value:.3f} (asked: {limit})")
    for copy in scores.alarm.copies[:20] if scores.alarm else ():
        turned = ", mirrored" if copy.mirrored else ""
        console.print(
            f"COPY    {copy.picture} ← {copy.reference} (features {copy.cosine:.2f}, pixels {copy.likeness:.2f}{turned})"
        )
    for one in scores.missing:
        console.print(f"not measured: {one.name} ({WHY[one.why]}{': ' + one.detail if one.detail else ''})")
    for note in scores.notes:
        console.print(f"note: {note}")


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _tell(shown: Line, pictures: int) -> OnProgress:
    """Pictures looked at; a group of them is one step call."""
    from jogak.studio.eval import GROUP

    before = 0

    def on_progress(told: Progress) -> None:
        nonlocal before
        if told.step != "looked":
            shown.tell(text=f"{told.step.replace('_', ' ')} {told.scope}".strip())
        elif told.text == "looking":
            shown.tell(text="looking", done=before + told.done)
        else:
            before = min(pictures, before + GROUP)
            shown.tell(done=before)

    return on_progress
