"""Depth holds a picture's structure: the exact depth of the generator's layouts, and the depth read from what was drawn.

Depth is read by a net of pocket's own, whose error on the generator's pictures after the autoencoder is the ceiling.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from jogak.judge.control_fidelity import depth_rmse
from jogak.judge.stats import mean_score
from pocket.data import maps
from pocket.judge import cases
from pocket.judge.bench import SIZE, Bench, Pictures, paint_layout, prompts_of
from pocket.judge.controlled import Sweep, controlled_drawer
from pocket.judge.keypoints import decoded
from pocket.judge.rows import Row, Unmeasured

Reader = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""A picture (H, W, 3) → its depth (H, W), near is bright."""
BAR = 0.08


def reader() -> Reader | None:
    """Pocket's depth net; None where there is none."""
    if find_spec("jogak.models.depth") is None:
        return None
    from jogak.models import depth  # pyright: ignore[reportAttributeAccessIssue]

    return depth.load_depth_net() if depth.has_depth_net(depth.FOLDER) else None


def rows(bench: Bench) -> Iterator[Row | Unmeasured]:
    """What the scorecard says, with pocket's own reader of depth."""
    read = reader()
    if read is None:
        yield Unmeasured("depth_rmse", "no net reads depth here")
    else:
        yield from reader_rows(bench, read)


def reader_rows(bench: Bench, read: Reader) -> Iterator[Row]:
    """Root mean square error of depth by weight, as a share of its range."""
    asked = cases.in_places(bench.sprites, bench.count, 811)
    layout = bench.sampler.layout(asked, random.Random(812), 1.0)
    real = paint_layout(bench.painter, layout)
    exact = maps.depth(bench.painter, layout, SIZE, SIZE)[:, 0]
    wanted = (exact * 255).round().byte().cpu().numpy()

    def rmse(pictures: Pictures) -> NDArray[np.float64]:
        return np.array([depth_rmse(read(one), map_) for one, map_ in zip(pictures, wanted, strict=True)])

    yield Row(mean_score("false_alarm_depth_rmse", rmse(np.roll(real, 1, 0))))
    yield Row(mean_score("ceiling_depth_rmse", rmse(decoded(real)), better="lower"))
    if bench.draw is None:
        return
    draw, prompts, given = (
        controlled_drawer(bench.draw),
        prompts_of(asked),
        np.repeat(wanted[..., None], 3, 3),
    )
    sweep = Sweep("depth", "rmse", rmse, BAR, "lower")
    yield from sweep.rows(lambda weight: draw(prompts, 6200, given, weight))
