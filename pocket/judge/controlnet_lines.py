"""Lines hold a picture's structure: edges of the generator's pictures, drawn under, and taken again from what came out.

A third of the maps each is canny, scribble and line art, as `jogak image --control` makes them. The ceiling is the
generator's picture after pocket's autoencoder, the false alarm another case's picture.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from jogak.adapters.maps import make_map
from jogak.judge.control_fidelity import edge_f1, ms_ssim
from jogak.judge.stats import mean_score, share_score
from jogak.spec import ControlKind
from pocket.judge import base, cases, readers
from pocket.judge.bench import Bench, Pictures, prompts_of
from pocket.judge.controlled import (
    Sweep,
    controlled_drawer,
    hundredths,
    ratio_row,
    to_captions,
)
from pocket.judge.keypoints import decoded
from pocket.judge.rows import Row, Unmeasured

KINDS: tuple[ControlKind, ...] = ("canny", "scribble", "lineart")
BAR, TEXT_BAR = 0.75, 0.9


def rows(bench: Bench) -> Iterator[Row | Unmeasured]:
    """F1 of edges by weight and, at weight 1, by kind; the words are still heard."""
    asked = cases.in_places(bench.sprites, bench.count, 801)
    real = bench.paint(asked, 802)
    wanted = maps_of(real)

    def f1(pictures: Pictures) -> NDArray[np.float64]:
        return np.array([edge_f1(*pair) for pair in zip(maps_of(pictures), wanted, strict=True)])

    def soft(pictures: Pictures) -> NDArray[np.float64]:
        """MS-SSIM of the maps of line art, (N // 3,)."""
        return np.array([ms_ssim(*pair) for pair in zip(maps_of(pictures)[2::3], wanted[2::3], strict=True)])

    again = decoded(real)
    yield Row(mean_score("false_alarm_lines_f1", f1(np.roll(real, 1, 0)), better="lower"))
    yield Row(mean_score("ceiling_lines_f1", f1(again)))
    if len(asked) > 2:
        yield Row(mean_score("ceiling_lines_ms_ssim_lineart", soft(again)))
    if bench.draw is None:
        return
    draw, prompts = controlled_drawer(bench.draw), prompts_of(asked)
    drawn = yield from Sweep("lines", "f1", f1, BAR).rows(lambda weight: draw(prompts, 6000, wanted, weight))
    found = f1(drawn[1.0])
    for number, kind in enumerate(KINDS[: len(asked)]):
        yield Row(mean_score(f"lines_f1_{kind}", found[number::3]))
    if len(asked) > 2:
        yield Row(mean_score("lines_ms_ssim_lineart", soft(drawn[1.0])))
    told = {weight: to_captions(bench.judge, drawn[weight], asked) for weight in (0.0, 1.0)}
    yield ratio_row("lines_text_kept", told[1.0], told[0.0], TEXT_BAR)
    for weight in (0.0, 1.0):
        name, pictures = hundredths(weight), drawn[weight]
        yield Row(share_score(f"lines_subject_w{name}", base.subject_named(bench, asked, pictures)))
        ground = readers.placed_in(bench.judge, asked, pictures)
        yield Row(share_score(f"lines_place_and_time_w{name}", ground))


def maps_of(pictures: Pictures) -> Pictures:
    """Canny, scribble and line art of pictures (N, H, W, 3) in turn, of the same shape."""
    return np.stack([make_map(KINDS[i % 3], picture) for i, picture in enumerate(pictures)])
