"""What the measures of adapters share: a drawer that adapters can reach into, weights in steps, and ratios of pairs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jogak.adapters.control import ControlNet, control, load_control
from jogak.judge.clip import Judge
from jogak.judge.stats import mean_score, widened
from jogak.models import load, resolve
from jogak.models.captions import Scene, caption
from jogak.models.diffusion import TorchNetworks
from jogak.spec.scores import Score
from pocket.judge.bench import WEIGHTS, Draw, Drawer, Pictures
from pocket.judge.rows import Row, Unmeasured

FOLDER = WEIGHTS.with_name("pocket-control")
STEPS, GUIDANCE, SAMPLER = 20, 4.0, "dpmpp_2m"
"""Of the scorecard's own drawer (`pocket.judge.__main__`), where the bench has another."""
WEIGHT_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
Better = Literal["higher", "lower"]
Measure = Callable[[Pictures], NDArray[np.float64]]
"""Pictures (N, H, W, 3) → a value for each, (N,); those that cannot be measured may be left out, always the same."""


def torch_drawer(draw: Draw | None) -> Drawer:
    """The bench's drawer on torch, where adapters can reach the networks; OpenVINO's are compiled."""
    if not isinstance(draw, Drawer):
        return Drawer(load(resolve("pocket", backend="torch")), STEPS, GUIDANCE, SAMPLER)
    if isinstance(draw.model.networks, TorchNetworks):
        return draw
    model = load(resolve(draw.model.ref.name, backend="torch"))
    return Drawer(model, draw.steps, draw.guidance, draw.sampler)


@dataclass(frozen=True)
class ControlledDrawer:
    """Draws as a `Drawer` does, each picture under a map of its own."""

    drawer: Drawer
    net: ControlNet

    def __call__(self, prompts: Sequence[str], seed: int, maps: Pictures, weight: float) -> Pictures:
        """N prompts, `maps` (N, H, W, 3) → (N, 256, 256, 3); the i-th from the noise of `seed + i`. Weight 0 is no
        control."""
        rows = zip(prompts, maps, strict=True)
        return np.stack([self._one(prompt, seed + i, map_, weight) for i, (prompt, map_) in enumerate(rows)])

    def _one(self, prompt: str, seed: int, map_: NDArray[np.uint8], weight: float) -> NDArray[np.uint8]:
        with control(self.drawer.model, self.net, map_, weight):
            return self.drawer([prompt], seed)[0]


def controlled_drawer(draw: Draw) -> ControlledDrawer:
    """The bench's drawer with pocket's ControlNet: one net for lines, depth and poses."""
    drawer = torch_drawer(draw)
    return ControlledDrawer(drawer, load_control(FOLDER, drawer.model.ref))


@dataclass(frozen=True)
class Sweep:
    """How faithful pictures are, weight by weight."""

    control: str
    what: str
    """Of the rows: `lines` and `f1` make `lines_f1_w000` and on, and `lines_monotone`."""
    measure: Measure
    bar: float
    """At weight 1."""
    better: Better = "higher"

    def rows(self, draw: Callable[[float], Pictures]) -> Generator[Row, None, dict[float, Pictures]]:
        """A row for each weight, whether each is better than the one before, and what was drawn at each."""
        drawn: dict[float, Pictures] = {}
        found = []
        for weight in WEIGHT_STEPS:
            drawn[weight] = draw(weight)
            found.append(self.measure(drawn[weight]))
            name = f"{self.control}_{self.what}_w{hundredths(weight)}"
            yield Row(mean_score(name, found[-1], better=self.better), self.bar if weight == 1 else None)
        yield Row(monotone_score(f"{self.control}_monotone", found, self.better), 1.0)
        return drawn


def hundredths(strength: float) -> str:
    """0.25 → 025: a score's name has no dots."""
    return f"{round(100 * strength):03d}"


def monotone_score(name: str, steps: Sequence[NDArray[np.floating]], better: Better = "higher") -> Score:
    """The share of steps from one strength to the next whose mean gets better: S ≥ 2 rows of (N,) → 0..1."""
    means = [float(np.mean(step)) for step in steps]
    up = [(b > a) if better == "higher" else (b < a) for a, b in pairwise(means)]
    return Score(name=name, value=float(np.mean(up)), n=len(steps[0]))


def ratio_row(
    name: str,
    ours: ArrayLike,
    theirs: ArrayLike,
    bar: float,
    middle: Callable[..., NDArray[np.floating]] = np.mean,
) -> Row | Unmeasured:
    """The middle (mean or median) of `ours` (N,) over that of `theirs` (N,), N ≥ 1, of the same cases.

    The interval resamples cases, so that both keep their pairs: 2000 times, seed 0; resamples in which theirs is not
    above 0 are left out. Where theirs is not above 0 at all, there is no ratio.
    """
    pairs = np.stack([np.asarray(ours, np.float64), np.asarray(theirs, np.float64)])
    n = pairs.shape[1]
    above, below = middle(pairs, axis=1).tolist()
    if below <= 0:
        return Unmeasured(name, f"{below:.3f} is nothing to compare {above:.3f} with")
    picks = np.random.default_rng(0).integers(0, n, (2000, n))
    tops, bottoms = middle(pairs[:, picks], axis=2)
    ratios = tops[bottoms > 0] / bottoms[bottoms > 0]
    low, high = np.quantile(ratios, widened(n)).tolist() if n > 1 else (None, None)
    return Row(Score(name=name, value=above / below, low=low, high=high, n=n, seed=0), bar)


def to_captions(judge: Judge, pictures: Pictures, scenes: Sequence[Scene]) -> NDArray[np.float64]:
    """Cosine of each picture to its scene's English caption, by the judging CLIP: (N,)."""
    texts = judge.read([caption(scene, "en") for scene in scenes])
    return (judge.see(pictures) * texts).sum(1).astype(np.float64)


def likeness(judge: Judge, pictures: Pictures, others: Pictures) -> NDArray[np.float64]:
    """Cosine of each picture to the other of its number, by the judging CLIP: (N,)."""
    return (judge.see(pictures) * judge.see(others)).sum(1).astype(np.float64)
