"""Do the pictures differ from each other? Mean pairwise feature distance, 1 − cosine.

DreamBooth (arXiv:2208.12242) takes LPIPS between pictures of one subject and one prompt. LPIPS' weights are not
used here, so its name is not either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jogak.judge.identity import Vectors, unit
from jogak.judge.stats import LEVEL, widened
from jogak.spec import JogakError
from jogak.spec.scores import Score


def diversity(pictures: Vectors) -> float:
    """Mean of 1 − cosine over all pairs of different rows: (N, D), N ≥ 2 → 0..2."""
    return _mean_distance(unit(pictures), np.ones(len(pictures)))


def diversity_score(pictures: Vectors, backbone: str, *, seed: int = 0, resamples: int = 1000) -> Score:
    """`diversity` with a bootstrap interval over pictures; a picture never meets its own copy in a resample."""
    rows, n = unit(pictures), len(pictures)
    value = _mean_distance(rows, np.ones(n))
    rng = np.random.default_rng(seed)
    drawn = [
        _mean_distance(rows, counts)
        for counts in rng.multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64)
        if np.count_nonzero(counts) > 1
    ]
    low, high = np.quantile(drawn, widened(n, LEVEL))
    return Score(
        name=f"diversity/{backbone}", value=value, low=float(low), high=float(high), n=n, seed=seed,
        backbone=backbone,
    )  # fmt: skip


def _mean_distance(rows: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Each row counted so many times. Σ over pairs of cosines is |Σ rows|² less each row's meeting with itself."""
    if len(rows) < 2:
        raise JogakError("Diversity needs two pictures or more.")
    whole = counts @ rows
    lengths = (rows * rows).sum(1)
    pairs = counts.sum() ** 2 - (counts * counts).sum()
    return float(1 - (whole @ whole - (counts * counts) @ lengths) / pairs)
