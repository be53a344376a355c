"""`jogak explain`: what made a picture what it is. Importing this imports no torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from jogak.cli.image import require_writable
from jogak.cli.progress import pieces
from jogak.spec import SpecError
from jogak.spec.film import Lang

if TYPE_CHECKING:
    from jogak.spec.explain import Contribution, Likeness
    from jogak.studio.explain import ExplainPlan


def explain(
    picture: Annotated[Path, Parameter(help="a PNG that Jogak drew")],
    /,
    *,
    output: Annotated[
        Path, Parameter(name=("--output", "-o"), help="the folder for the pages; made when absent")
    ],
    process: Annotated[
        bool, Parameter(negative=(), help="show the way out of the noise, and the score's norm at each step")
    ] = False,
    words: Annotated[
        bool, Parameter(negative=(), help="show where each word of the prompt was looked at")
    ] = False,
    lang: Annotated[
        Lang | None, Parameter(help="language of the labels; default: that of the prompt")
    ] = None,
    model: Annotated[str | None, Parameter(help="where the weights are now, if elsewhere than then")] = None,
    init: Annotated[
        Path | None, Parameter(help="the picture it began with, if no longer in the store")
    ] = None,
    dry_run: Annotated[
        bool, Parameter(negative=(), help="say what would be drawn and how long it takes; draw nothing")
    ] = False,
) -> None:
    """Explain a picture: drawn again without each of its parts, its words, guidance and adapters, and at half of them.

    jogak explain fox.png -o why --process --words

    Writes explain.png (each part off and at half, scores beside), explain.json, pictures/, and as asked process.png
    (from noise to picture) and words.png. What was drawn once is not drawn again.

    그림을 이룬 것을 하나씩 빼 보고, 노이즈에서 나온 길과 낱말마다 본 곳을 보여 줍니다.
    """
    if not picture.is_file():
        raise SpecError(f"{picture} is not a file; give the path of a PNG that Jogak drew.")
    if output.is_file():
        raise SpecError(f"{output} is a file; name a folder with -o.")
    require_writable(output)
    from jogak.store import Store
    from jogak.studio.explain import deliver, plan_explanation
    from jogak.studio.explain import explain as go

    store = Store()
    plan = plan_explanation(store, picture, model=model, init=init, lang=lang, process=process, words=words)
    if dry_run:
        _show(plan)
        return
    begun = time.perf_counter()
    with pieces("loading", plan.steps) as on_progress:
        explained = go(store, plan, on_progress=on_progress)
        written = deliver(store, explained, output)
    said = explained.explanation
    print("part                            clip  distance  ms-ssim  pixels   (off; the whole: clip "
          f"{said.full.clip_score:.1f})")  # fmt: skip
    for part in said.contributions:
        print(_row(part, part.off))
    if not said.identical:
        print(
            "note: drawn again here and now, it is not the same picture pixel for pixel; jogak replay says why."
        )
    for path in written:
        print(path)
    print(f"{time.perf_counter() - begun:.0f} s")


def _row(part: Contribution, found: Likeness) -> str:
    name = f"{part.kind} {' '.join(part.name.split())}"
    name = name if len(name) <= 30 else name[:29] + "…"
    return (
        f"{name:30s}  {found.clip_score:5.1f}  {found.feature_distance:8.2f}  {found.ms_ssim:7.2f}"
        f"  {found.pixel_change:6.0%}"
    )


def _show(plan: ExplainPlan) -> None:
    from jogak.image.explain import parts_of
    from jogak.studio.cost import drawing_seconds, said

    request = plan.drawing.request
    print(request.to_yaml(), end="")
    names = [part.kind for part in parts_of(request)] + ["control"] * len(plan.drawing.controls)
    print(f"# parts: {', '.join(names)}")
    print(
        f"# {len(plan.requests)} drawings, {said(drawing_seconds(plan.requests))} if none of them is drawn yet"
    )
