"""`jogak film`: a brief in, a folder with the film and everything beside it out. Importing this imports no torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from jogak.cli.image import require_writable
from jogak.cli.progress import follow, line
from jogak.spec import FilmBrief, FilmPlan, SpecError
from jogak.spec.film import Planner

if TYPE_CHECKING:
    from jogak.spec.preflight import Finding


def _field(name: str) -> Parameter:
    return Parameter(name=f"--{name}", help=FilmBrief.model_fields[name].description)


_DEFAULT = FilmBrief(text="-")


def film(
    brief: Annotated[str | None, Parameter(help=FilmBrief.model_fields["text"].description)] = None,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="the folder to write the film into")],
    seconds: Annotated[float, _field("seconds")] = _DEFAULT.seconds,
    seed: Annotated[int, _field("seed")] = _DEFAULT.seed,
    plan: Annotated[Path | None, Parameter(help="film this plan.yaml instead of a brief")] = None,
    planner: Annotated[Planner, _field("planner")] = _DEFAULT.planner,
    lang: Annotated[Literal["ko", "en", "auto"], _field("lang")] = _DEFAULT.lang,
    model: Annotated[
        str | None,
        Parameter(
            help=f"{FilmBrief.model_fields['model'].description}; default: {_DEFAULT.model}, or the plan's"
        ),
    ] = None,
    dry_run: Annotated[
        bool, Parameter(negative=(), help="show the plan and its price; draw nothing")
    ] = False,
) -> None:
    """Make a short film from one or two sentences, Korean or English.

    The folder gets film.mp4, subtitles (srt, vtt), a timeline (otio), the plan (plan.yaml: edit it and give it back with
    --plan), the sound's stems, a contact sheet, scores, a PDF report and a diagram of the run. Run it again and only
    what changed is made again; stop it at any time and the next run goes on.
    """
    if (brief is None) == (plan is None):
        raise SpecError('give either a brief ("a fox by the sea at sunset") or --plan plan.yaml.')
    asked: FilmBrief | FilmPlan
    chosen = {} if model is None else {"model": model}
    if plan is not None:
        asked = FilmPlan.read(plan)
        asked = FilmPlan.parse(asked.model_dump() | chosen) if chosen else asked
    else:
        given = {"text": brief, "seconds": seconds, "seed": seed, "lang": lang, "planner": planner}
        asked = FilmBrief.parse(given | chosen)
    if output.exists() and not output.is_dir():
        raise SpecError(f"{output} is a file; name a folder with -o.")
    require_writable(output)
    from jogak.store import Store
    from jogak.studio.film import deliver, estimate, make_film
    from jogak.studio.whole import Whole

    store = Store()
    if dry_run:
        cost = estimate(store, asked)
        _heed(cost.findings)
        print(cost.plan.to_yaml(), end="")
        print(f"# {cost.plan.seconds:.1f} s of film, {len(cost.plan.shots)} shots")
        print(
            f"# about {cost.seconds / 60:.1f} minutes and {cost.gigabytes:.1f} GB of memory on this machine"
        )
        return
    begun = time.perf_counter()
    with line("planning") as shown:
        cost = estimate(store, asked, remember=True)
        _heed(cost.findings)
        made = make_film(store, asked, on_progress=follow(shown, Whole(cost.parts)))
        deliver(store, made, output)
    spent = time.perf_counter() - begun
    print(
        f"{output / 'film.mp4'}  {made.plan.seconds:.1f} s, {len(made.plan.shots)} shots, made in {spent:.0f} s"
    )
    for check in made.scores.checks:
        if not check.passed:
            print(f"missed: {check.name} is {check.value:.2f} {check.unit}")
    print(f"report: {output / 'report.pdf'}   to change a shot: edit {output / 'plan.yaml'}, then --plan")


def _heed(findings: Sequence[Finding]) -> None:
    """Say what could go better with this model."""
    for finding in findings:
        if finding.level == "warn":
            print(f"warn: {finding.en}", file=sys.stderr)
