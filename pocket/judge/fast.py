"""The four-step student: as good as the base on the same prompts and seeds, and how fast it is.

It is drawn as it ships, the model `pocket-fast`, and so is the base. Seconds are those of one 256×256 picture on this
machine, with the threads that Jogak takes: warm in this process, in turn with a stock pipeline of diffusers; and of the
whole command in a process of its own, the first one ever, and those after it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jogak.judge.stats import share_score, widened
from jogak.models import load, resolve
from jogak.models.captions import caption
from jogak.spec.scores import Score
from pocket.judge import base, readers
from pocket.judge.bench import SIZE, WEIGHTS, Bench, Drawer, languages, plain_scene, prompts_of
from pocket.judge.controlled import ratio_row
from pocket.judge.rows import Row, Unmeasured

Rows = Iterator[Row | Unmeasured]
NAME = "pocket-fast"
STEPS, GUIDANCE, SAMPLER = 4, 1.0, "ddim"
"""DDIM without noise from `trailing` timesteps 999, 749, 499, 249: the rungs that the student was taught at."""
OF_BASE = 0.95
WARM, PAIRS, COLD = 10, 3, 3
"""Pictures that are timed: fast alone, in turn with diffusers, and by the command."""
PLAIN_STEPS, PLAIN_GUIDANCE = 25, 4.0
PROMPT = "여우"


def rows(bench: Bench) -> Rows:
    """Quality beside the base's, then time."""
    if bench.draw is None:
        yield Unmeasured("fast", "no model draws")
        return
    draw = fast_drawer()
    yield from prototype_rows(bench, draw)
    yield from scene_rows(bench, draw)
    yield from warm_rows(draw)
    yield from cold_rows()


def fast_drawer() -> Drawer:
    return Drawer(load(resolve(NAME)), STEPS, GUIDANCE, SAMPLER)


# quality


def prototype_rows(bench: Bench, draw: Drawer) -> Rows:
    """Each of the base's concepts by name alone, in English and Korean in turn."""
    assert bench.draw is not None
    known = base.prototypes(bench)
    pairs = zip(known.concepts, languages(len(known.concepts)), strict=True)
    prompts = [caption(plain_scene(c.id), lang) for c, lang in pairs]
    ours = known.ranks(draw(prompts, 100))
    theirs = known.ranks(bench.draw(prompts, 100))
    for k in (1, 5):
        yield from beside(f"prototype_top{k}", ours < k, theirs < k)


def scene_rows(bench: Bench, draw: Drawer) -> Rows:
    """The base's held-out scenes: subject, and place and time, as the judging CLIP reads them."""
    test = base.scene_test(bench)
    ours = draw(prompts_of(test.asked), 500)
    theirs = test.drawn
    assert theirs is not None
    yield from beside("judge_top1", base.subject_named(bench, test.asked, ours), test.subject)
    ground = [readers.placed_in(bench.judge, test.asked, pictures) for pictures in (ours, theirs)]
    yield from beside("place_and_time", *ground)


def beside(name: str, ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Rows:
    """Hits of fast and of the base on the same cases, (N,) each, and fast's share of the base's."""
    yield Row(share_score(f"fast_{name}", ours))
    yield Row(share_score(f"base_{name}", theirs))
    yield ratio_row(f"fast_{name}_of_base", ours, theirs, OF_BASE)


# time


def warm_rows(draw: Drawer) -> Rows:
    """One picture after another, and in turn with a stock pipeline in this process, each warm."""
    fast = _clock(lambda seed: draw([PROMPT], seed))
    fast(0)
    yield Row(median_score("fast_seconds", [fast(1 + i) for i in range(WARM)]), 0.6)
    pipe = plain_pipeline()

    def plain(steps: int) -> Any:
        return pipe(PROMPT, height=SIZE, width=SIZE, num_inference_steps=steps, guidance_scale=PLAIN_GUIDANCE)

    plain(2)
    pairs = np.array([(_clock(plain)(PLAIN_STEPS), fast(100 + i)) for i in range(PAIRS)])
    yield ratio_row("fast_times_plain_diffusers", pairs[:, 0], pairs[:, 1], 10, np.median)


def plain_pipeline() -> Any:
    """diffusers' own pipeline of the shipped base with its own settings, on torch."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(WEIGHTS)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def cold_rows() -> Rows:
    """The whole command, from its start to the written picture. The first one also converts the networks for OpenVINO,
    once for good."""
    with tempfile.TemporaryDirectory() as folder:
        found = [cold_seconds(Path(folder), seed) for seed in range(1 + COLD)]
    seconds = [one for one in found if isinstance(one, float)]
    if len(seconds) < len(found):
        yield Unmeasured("fast_cold_seconds", next(one for one in found if isinstance(one, str)))
        return
    yield Row(median_score("fast_first_seconds", seconds[:1]))
    yield Row(median_score("fast_cold_seconds", seconds[1:]), 6)


def cold_seconds(folder: Path, seed: int) -> float | str:
    """Seconds of `jogak image --fast` in a process of its own, with its store in `folder`; where it fails, what it said
    last."""
    # the script in bin/ does the same
    command = [sys.executable, "-c", "from jogak.cli.main import run; run()", "image", PROMPT, "--fast"]
    command += ["--size", f"{SIZE}x{SIZE}", "--seed", str(seed), "-o", str(folder / f"{seed}.png")]
    start = time.perf_counter()
    ran = subprocess.run(
        command, env=os.environ | {"JOGAK_HOME": str(folder / "home")}, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if ran.returncode == 0 and (folder / f"{seed}.png").is_file():
        return seconds
    return (ran.stderr.strip().splitlines() or ["the command drew nothing"])[-1]


def _clock(work: Callable[[int], object]) -> Callable[[int], float]:
    """Seconds of each call."""

    def timed(number: int) -> float:
        start = time.perf_counter()
        work(number)
        return time.perf_counter() - start

    return timed


def median_score(name: str, seconds: ArrayLike) -> Score:
    """The median of (N,) seconds, N ≥ 1, with its bootstrap interval: 2000 resamples, seed 0."""
    data = np.asarray(seconds, np.float64)
    low = high = None
    if (n := len(data)) > 1:
        picks = np.random.default_rng(0).integers(0, n, (2000, n))
        low, high = np.quantile(np.median(data[picks], 1), widened(n)).tolist()
    return Score(
        name=name, value=float(np.median(data)), low=low, high=high, n=n, seed=0, unit="s", better="lower"
    )
