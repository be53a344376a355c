"""`jogak sheet`: a character on one page, panel by panel. Importing this imports no torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from jogak.cli.image import require_writable
from jogak.cli.progress import Line, OnProgress, line
from jogak.spec import SpecError
from jogak.spec.sheet import SheetRequest

if TYPE_CHECKING:
    from jogak.store import Progress
    from jogak.studio.sheet import Sheet
    from jogak.studio.sheet_plan import Prepared


def _field(name: str) -> Parameter:
    return Parameter(name=f"--{name}", help=SheetRequest.model_fields[name].description)


def sheet(
    character: Annotated[Path, Parameter(help="the YAML file with the character and its panels")],
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="the folder to write the sheet into")],
    budget: Annotated[float | None, _field("budget")] = None,
    tries: Annotated[int | None, _field("tries")] = None,
    bar: Annotated[float | None, _field("bar")] = None,
    dry_run: Annotated[
        bool, Parameter(negative=(), help="say what would be drawn, and what can steer it; draw nothing")
    ] = False,
) -> None:
    """Draw a character sheet: three or more panels of one character on one page, with scores.

    jogak sheet character.yaml -o out/hana

    character: who it is (name, trigger, loras or references, tone, model, steps, size, seed). panels: for each its pose
    (a name such as waving, or the file of a pose map), scene, expression and caption. A LoRA holds the identity, a
    ControlNet the pose, an IP-Adapter the tone; what has no weights is left to the prompt's words, and the page says so.
    Panels that are less alike than the references are to each other are drawn again, the worst first, until they pass
    or the tries (or the --budget in seconds) are used up.

    The folder gets sheet.png, sheet.pdf, panel-1.png …, poses/ and scores.json. Everything that was tried, and why the
    kept one won: jogak report last -o report.pdf. Run it again and only what changed is drawn.

    캐릭터 한 명을 여러 장면으로 그려 한 쪽의 시트로 만듭니다. 가장 덜 닮은 패널부터 다시 그립니다.
    """
    if budget is not None and tries is not None:
        raise SpecError("--budget and --tries both say when to stop; give one of them.")
    asked = SheetRequest.read(character)
    changes = {"budget": budget, "tries": tries, "bar": bar}
    changes = {name: value for name, value in changes.items() if value is not None}
    if tries is not None:
        changes["budget"] = None
    request = SheetRequest.parse(asked.model_dump() | changes)
    if output.exists() and not output.is_dir():
        raise SpecError(f"{output} is a file; name a folder with -o.")
    from jogak.studio.sheet_plan import prepare

    prepared = prepare(request, character.parent)
    if dry_run:
        _show(prepared)
        return
    require_writable(output)
    from jogak.store import Store
    from jogak.studio.sheet import deliver, make_sheet

    for note in prepared.notes:
        print(f"note: {note}")
    store = Store()
    begun = time.perf_counter()
    with line("looking at the references", len(request.panels) + request.tries) as shown:
        made = make_sheet(store, prepared, on_progress=_follow(shown))
        deliver(store, made, output)
    _tell(made, prepared, output, time.perf_counter() - begun)


def _show(prepared: Prepared) -> None:
    """Every setting, prompt and adapter, and the price."""
    from jogak.studio.sheet_plan import drawings, seconds_each

    request = prepared.request
    print(request.to_yaml(), end="")
    for at, prompt in enumerate(prepared.prompts, 1):
        print(f"# panel {at}: {prompt}")
    for one in prepared.steered:
        print(f"# {one.name}: {one.how}")
    found = prepared.references
    print(f"# references: {len(found.images) if found else 0} pictures")
    print(f"# weights: {prepared.ref.digest[:12]} ({prepared.ref.family}), runs as {prepared.ref.numeric}")
    for note in prepared.notes:
        print(f"# note: {note}")
    one = seconds_each(prepared)
    if one is not None:
        count = drawings(request, one)
        print(
            f"# {len(request.panels)} to {count} pictures of about {one:.1f} s: "
            f"{len(request.panels) * one / 60:.1f} to {count * one / 60:.1f} minutes; nothing was drawn."
        )


def _tell(made: Sheet, prepared: Prepared, output: Path, seconds: float) -> None:
    for at, panel in enumerate(made.panels, 1):
        verdict = panel.fault or "passes"
        print(
            f"panel {at}  consistency {panel.consistency:.3f}  {verdict} (take {panel.take} of {panel.takes})  "
            f"{panel.caption}"
        )
    for one in prepared.steered:
        print(f"{one.name}: {one.how}")
    drawn = sum(panel.takes for panel in made.panels)
    passed = sum(not panel.fault for panel in made.panels)
    print(
        f"{output / 'sheet.png'}, sheet.pdf  {passed} of {len(made.panels)} panels pass (bar {made.bar:.3f}), "
        f"{drawn} takes, {seconds:.0f} s"
    )
    print(f"all takes and why one won: jogak report {made.run_id} -o {output / 'report.pdf'}")


def _follow(shown: Line) -> OnProgress:
    """The journey itself says how many takes are behind it and how many may come; a take says how far it is."""
    done = 0

    def on_progress(told: Progress) -> None:
        nonlocal done
        if not told.step:
            done = told.done
            shown.tell(text=told.text, done=done, total=told.total)
        elif told.step == "draw_image" and told.text == "drawing":
            shown.tell(done=done + told.done / max(told.total, 1))

    return on_progress
