"""Inpainting with the base: a hole in one of the generator's pictures, drawn anew as `jogak image --init --mask` does.

The picture is a held-out scene without its subject, the hole is where the subject stood with a margin, the prompt is
the scene's whole caption; the ceiling is the generator's own picture with the subject in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from jogak.judge.stats import mean_score, share_score, widened
from jogak.spec.scores import Score
from pocket.judge import cases, readers
from pocket.judge.bench import Bench, Box, Pictures, paint_layout, pixels_of, prompts_of
from pocket.judge.rows import Row, Unmeasured

MARGIN = 0.15
"""Of the thing's height, on each side: the rim of the hole is ground, so that a step there is a seam."""


def rows(bench: Bench) -> Iterator[Row | Unmeasured]:
    """Outside kept bit for bit; the seam; the named thing in the hole."""
    asked = cases.in_places(bench.sprites, bench.count, 601)
    held = cases.Removable.of(bench.sampler, asked, 602)
    holes = held.boxes(0, MARGIN)
    before, real = (paint_layout(bench.painter, layout) for layout in (held.without(0), held.layout))
    wanted = bench.numbers(asked)
    boxes = [readers.around(hole) for hole in holes]

    def named(pictures: Pictures) -> NDArray[np.bool_]:
        return readers.ranks(bench.judge, bench.known, pictures, boxes, wanted)[:, 0] < readers.SEEN

    yield Row(share_score("false_alarm_inpaint_subject", named(before), better="lower"))
    yield Row(share_score("ceiling_inpaint_subject", named(real)))
    for name, reach in (("edge", readers.EDGE), ("tone", readers.TONE)):
        yield Row(seam_score(f"ceiling_inpaint_seam_{name}", real, before, holes, reach))
    if bench.mend is None:
        return
    mended = bench.mend(before, holes, prompts_of(asked), 5000)
    yield Row(share_score("inpaint_outside_identical", kept_outside(before, mended, holes)), 1.0)
    for name, reach in (("edge", readers.EDGE), ("tone", readers.TONE)):
        yield Row(seam_score(f"inpaint_seam_{name}", mended, before, holes, reach), 1.2)
    yield Row(share_score("inpaint_subject", named(mended)), 0.70)


def kept_outside(before: Pictures, after: Pictures, holes: Sequence[Box]) -> NDArray[np.bool_]:
    """Whether every pixel outside of each picture's hole is what it was, bit for bit: (N,)."""
    same = (before == after).all(-1)
    for row, hole in enumerate(holes):
        left, top, right, bottom = pixels_of(hole, same.shape[2], same.shape[1])
        same[row, top:bottom, left:right] = True
    return same.all((1, 2))


def seam_score(
    name: str, after: Pictures, before: Pictures, holes: Sequence[Box], reach: tuple[int, int]
) -> Score:
    """Steps across the rims of the holes, over those of the pictures as they were, along the same rims.

    The picture's own noise is what `readers.rim_step` finds there before anything is drawn: grass, waves, the slope of
    a sky. Means over all pictures are divided, not picture by picture: a smooth sky has steps near 0, and a picture
    has no less than half a level of 255, which is what rounding hides. Resampled by pictures.
    """
    ours, own = readers.rim_steps(after, holes, reach), readers.rim_steps(before, holes, reach)
    usable = ~np.isnan(own)
    ours, own = ours[usable], np.maximum(own[usable], 0.5)
    if not len(own):
        return mean_score(name, [float("nan")], better="lower")
    picks = np.random.default_rng(0).integers(0, len(own), (2000, len(own)))
    found = ours[picks].mean(1) / own[picks].mean(1)
    low, high = np.quantile(found, widened(len(own))) if len(own) > 1 else (None, None)
    return Score(
        name=name, value=float(ours.mean() / own.mean()), low=low, high=high, n=len(own), seed=0, better="lower",
    )  # fmt: skip
