"""Intervals: the bootstrap for means, Wilson's for shares. Every score of this project carries one."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

from jogak.spec import JogakError
from jogak.spec.scores import Score

LEVEL = 0.95


def bootstrap(
    values: ArrayLike, *, seed: int = 0, resamples: int = 2000, block: int = 1, level: float = LEVEL
) -> tuple[float, float]:
    """The interval of the mean of `values` (n,), n ≥ 2, by resampling circular blocks of `block` neighbours.

    Neighbouring frames resemble each other: blocks keep that likeness, where single draws would feign
    certainty. The percentiles are widened for small n as in Hesterberg 2015,
    doi:10.1080/00031305.2015.1089789, section 5. Raises `JogakError` when n < 2.
    """
    data = np.asarray(values, np.float64)
    n = len(data)
    if n < 2:
        raise JogakError("An interval needs two observations or more.")
    block = max(1, min(block, n // 2))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, n, (resamples, math.ceil(n / block)))
    picks = (starts[..., None] + np.arange(block)).reshape(resamples, -1)[:, :n] % n
    low, high = np.quantile(data[picks].mean(1), widened(n / block, level))
    return float(low), float(high)


def widened(n: float, level: float = LEVEL) -> tuple[float, float]:
    """The two percentiles (0..1) at which to read a bootstrap of `n` independent observations, n > 1."""
    tail = float(ndtr(-math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2)))
    return tail, 1 - tail


def wilson(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share, in 0..1 (1927, doi:10.2307/2276774). Raises `JogakError` for nonsense."""
    if not 0 <= successes <= n or n == 0:
        raise JogakError(f"{successes} of {n} is no share.")
    z = float(ndtri((1 + level) / 2))
    share, scale = successes / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    # at both ends the formula is exact only on paper
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == n else middle + half)


def mean_score(
    name: str,
    values: ArrayLike,
    *,
    backbone: str = "",
    unit: str = "",
    better: Literal["higher", "lower"] = "higher",
    seed: int = 0,
    block: int = 1,
) -> Score:
    """The mean of `values` (n,), n ≥ 1, with its bootstrap interval (none when n is 1)."""
    data: NDArray[np.float64] = np.asarray(values, np.float64)
    low, high = bootstrap(data, seed=seed, block=block) if len(data) > 1 else (None, None)
    return Score(
        name=name, value=float(data.mean()), low=low, high=high, n=len(data),
        seed=seed, backbone=backbone, unit=unit, better=better,
    )  # fmt: skip


def share_score(
    name: str, hits: ArrayLike, *, backbone: str = "", better: Literal["higher", "lower"] = "higher"
) -> Score:
    """The share of true among `hits` (n,), n ≥ 1, in 0..1, with Wilson's interval; no chance is in it."""
    found = np.asarray(hits, bool)
    low, high = wilson(int(found.sum()), len(found))
    return Score(
        name=name,
        value=float(found.mean()),
        low=low,
        high=high,
        n=len(found),
        backbone=backbone,
        better=better,
    )
