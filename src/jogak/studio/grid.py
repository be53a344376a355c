"""A grid of pictures: each cell is drawn by the step that draws any picture, so that what was drawn once stays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from jogak.image.draw import draw_image
from jogak.image.grid import Grid, grid_picture, plain_cell, weighted_cell
from jogak.image.lora_tags import split_loras
from jogak.spec import Image, ImageRequest, ModelRef
from jogak.store import Store, each
from jogak.studio.picture import Drawing, OnProgress, Sources, plan_drawing


@dataclass(frozen=True)
class DrawnGrid:
    picture: Image
    """all cells on one labelled page"""
    cells: tuple[Image, ...]
    """in the order of `Grid.cells`"""


def grid_requests(grid: Grid, request: ImageRequest) -> list[ImageRequest]:
    """What each cell asks for, but for the weights of adapters. Raises `SpecError` for values that do not fit."""
    return [plain_cell(grid, cell, request) for cell in grid.cells]


def draw_grid(
    store: Store,
    request: ImageRequest,
    grid: Grid,
    model_of: Callable[[ImageRequest], ModelRef],
    *,
    sources: Sources = Sources(),  # noqa: B008 (frozen)
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> DrawnGrid:
    """Draw every cell, and the page that shows them. `model_of` finds the model that a cell names.

    Raises `SpecError` before anything is drawn when a cell cannot be, and as the steps do.
    """
    plans: dict[str, Drawing] = {}

    def planned(asked: ImageRequest) -> Drawing:
        """One plan for all cells that need the same words, model and size."""
        key = asked.model_copy(
            update={"seed": 0, "guidance": 0, "strength": 0, "sampler": "euler", "hires": 1}
        ).to_json()
        if key not in plans:
            plans[key] = plan_drawing(store, asked, model_of(asked), sources)
        return plans[key]

    asked = grid_requests(grid, request)
    for one in asked:
        planned(one)
    with store.run("grid", spec=request, on_progress=on_progress, cancel=cancel):
        for key, plan in plans.items():
            plans[key] = plan.with_maps(store)
        jobs = [_finished(grid, cell, one, planned(one)) for cell, one in zip(grid.cells, asked, strict=True)]
        # model by model, as only two are kept loaded
        order = sorted(range(len(jobs)), key=lambda i: jobs[i].model.digest)
        drawn = each(
            None,
            lambda i: draw_image(jobs[i].request, jobs[i].model, jobs[i].given),
            order,
            label=lambda i: f"cell {i + 1}",
        )
        cells = tuple(
            picture for _, picture in sorted(zip(order, drawn, strict=True), key=lambda pair: pair[0])
        )
        words = {"prompt": split_loras(request.prompt)[0], "negative": request.negative}
        shown = jobs[0].request.model_copy(update=words)
        return DrawnGrid(grid_picture(cells, grid, shown, jobs[0].model), cells)


def _finished(grid: Grid, cell: tuple[int, ...], asked: ImageRequest, plan: Drawing) -> Drawing:
    """The plan with everything that this cell asks for."""
    own = {name: getattr(asked, name) for name in ("seed", "guidance", "strength", "sampler", "hires")}
    return replace(plan, request=weighted_cell(grid, cell, plan.request.model_copy(update=own)))


def cell_names(grid: Grid, target: Path) -> list[Path]:
    """Where the cells go beside `out.png`: `out-x1.png`, `out-x1-y2.png`, `out-x1-y2-z1.png`."""
    return [
        target.with_name(
            "-".join([target.stem, *(f"{axis}{at + 1}" for axis, at in zip("xyz", cell, strict=False))])
            + ".png"
        )
        for cell in grid.cells
    ]
