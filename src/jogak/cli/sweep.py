"""`jogak sweep`: which checkpoint of a training, at which weight. Importing this imports no torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from jogak.cli.image import require_writable
from jogak.cli.progress import pieces
from jogak.spec.training import SweepRequest

if TYPE_CHECKING:
    from jogak.spec.training import CellScores
    from jogak.studio.sweep import SweepPlan


def sweep(
    run: Annotated[Path, Parameter(help="the folder of a training (its -o)")],
    /,
    *,
    dry_run: Annotated[
        bool, Parameter(negative=(), help="say what would be drawn and how long it takes; draw nothing")
    ] = False,
    request: Annotated[SweepRequest | None, Parameter(name="*")] = None,
) -> None:
    """Find the checkpoint and the weight at which a LoRA is best.

    jogak sweep out/fox --count 4 --seeds 2 --steps 8

    Every checkpoint draws the same prompts with the same noise at each weight. Likeness to the training pictures,
    obedience to the prompt, variety, and copies of training pictures are measured; one cell is recommended, with the
    reason and its interval. The folder gets sweep/grid.png and sweep/sweep.json; what was drawn is not drawn again.
    """
    asked = request or SweepRequest()
    from jogak.studio.sweep import deliver, plan_sweep

    planned = plan_sweep(asked, run)
    if dry_run:
        _show(planned)
        return
    require_writable(run)
    from jogak.store import Store
    from jogak.studio.sweep import sweep as go

    store = Store()
    begun = time.perf_counter()
    with pieces(
        "loading", 1 + len(planned.checkpoints) * len(asked.weights), step="draw_cell"
    ) as on_progress:
        report = go(store, planned, on_progress=on_progress)
        folder = deliver(store, report, run)
    print(" step  weight  likeness  obedience  variety  copies  value  95 %")
    for i, cell in enumerate(report.cells):
        print(_row(cell) + ("  <- recommended" if i == report.best else ""))
    print(report.reason_en)
    print(report.reason_ko)
    print(f"{folder / 'grid.png'}   {planned.pictures} pictures, {time.perf_counter() - begun:.0f} s")


def _row(cell: CellScores) -> str:
    span = "" if cell.low is None else f"{cell.low:.2f}-{cell.high:.2f}"
    return (
        f"{cell.step:5d}  {cell.weight:6g}  {cell.likeness:8.0%}  {cell.obedience:9.0%}  {cell.variety:7.0%}"
        f"  {cell.copied:6.0%}  {cell.value:5.2f}  {span:9s}"
    )


def _show(planned: SweepPlan) -> None:
    from jogak.training.predict import predict

    request = planned.request
    print(request.to_yaml(), end="")
    print(f"# checkpoints: {', '.join(path.name for _, path in planned.checkpoints)}")
    for prompt in planned.prompts:
        print(f"# prompt: {prompt}")
    # a step with guidance is two passes forward; a training step is some three
    asked = planned.record.request.model_copy(update={"batch": 1, "accumulate": 1, "precision": "fp32"})
    cost = predict(asked, planned.ref, *planned.size)
    seconds = planned.pictures * request.steps * cost.seconds_per_step * 2 / 3
    print(
        f"# {planned.pictures} pictures of {planned.size[0]}×{planned.size[1]}, about {seconds / 60:.1f} minutes"
    )
