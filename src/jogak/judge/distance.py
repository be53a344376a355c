"""How far two sets of pictures lie apart, by their EfficientNet-lite0 features: Fréchet distance and KID.

Names are `fd/efficientnet-lite0` and `kid/efficientnet-lite0`, never FID: FID's weights were not used. Below
some 10,000 pictures the Fréchet distance is biased upwards and depends on the number of pictures, so compare
it at equal n only; KID is unbiased at any n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jogak.judge.features import BACKBONE
from jogak.judge.stats import LEVEL, widened
from jogak.spec import JogakError
from jogak.spec.scores import Score

Features = NDArray[np.floating]


def frechet_distance(a: Features, b: Features) -> float:
    """Fréchet distance between the normal laws fitted to a (N, D) and b (M, D), N, M ≥ 2; ≥ 0.

    |μa − μb|² + tr(A + B − 2 (AB)^½) with covariances over N − 1 (Heusel et al. 2017, arXiv:1706.08500). The
    trace of the root is taken without any matrix root: for centred rows X and Y with A = XᵀX and B = YᵀY it
    is the sum of the singular values of XYᵀ, which stays exact when D exceeds N.
    """
    _check(a, b)
    x, y = (_centred(part) for part in (a, b))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    gap = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    return max(0.0, float(gap @ gap + (x * x).sum() + (y * y).sum() - 2 * root))


def _centred(rows: Features) -> NDArray[np.float64]:
    """Rows whose product XᵀX is the covariance; more rows than columns are first folded into as many (QR)."""
    x = (rows - rows.mean(0, dtype=np.float64)) / np.sqrt(len(rows) - 1)
    return np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x


def frechet_score(a: Features, b: Features, *, seed: int = 0, resamples: int = 100) -> Score:
    """Fréchet distance with a bootstrap interval for this many pictures.

    Resampling repeats pictures, which pushes the distance up: the spread of the resampled distances is
    therefore laid around the measured one, and their common shift is thrown away.
    """
    value = frechet_distance(a, b)
    rng = np.random.default_rng(seed)
    drawn = np.array([frechet_distance(_again(a, rng), _again(b, rng)) for _ in range(resamples)])
    low, high = np.quantile(drawn, widened(min(len(a), len(b)), LEVEL)) - np.median(drawn) + value
    return Score(
        name=f"fd/{BACKBONE}", value=value, low=max(0.0, float(low)), high=float(high), n=min(len(a), len(b)),
        seed=seed, backbone=BACKBONE, better="lower",
    )  # fmt: skip


def _again(rows: Features, rng: np.random.Generator) -> Features:
    return rows[rng.integers(0, len(rows), len(rows))]


def kid(a: Features, b: Features) -> float:
    """Unbiased squared MMD, kernel (x·y/D + 1)³ (Bińkowski et al. 2018, arXiv:1801.01401); may be < 0."""
    _check(a, b)
    ones_a, ones_b = np.ones(len(a)), np.ones(len(b))
    return _mmd(_kernel(a, a), _kernel(b, b), _kernel(a, b), ones_a, ones_b)


def kid_score(a: Features, b: Features, *, seed: int = 0, resamples: int = 1000) -> Score:
    """KID ×1000 of ten pictures or more in each set, with a bootstrap interval.

    A picture never meets its own copy in a resample, so that the resamples are as unbiased as the value.
    """
    if min(len(a), len(b)) < 10:
        raise JogakError(f"KID needs ten pictures or more in each set, not {len(a)} and {len(b)}.")
    value = kid(a, b)
    aa, bb, ab = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    rng = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        counts = (rng.multinomial(n, np.full(n, 1 / n)).astype(np.float64) for n in (len(a), len(b)))
        drawn[i] = _mmd(aa, bb, ab, *counts)
    low, high = np.quantile(drawn, widened(min(len(a), len(b)), LEVEL))
    return Score(
        name=f"kid/{BACKBONE}", value=1000 * value, low=1000 * float(low), high=1000 * float(high),
        n=min(len(a), len(b)), seed=seed, backbone=BACKBONE, unit="×10⁻³", better="lower",
    )  # fmt: skip


def _kernel(a: Features, b: Features) -> NDArray[np.float64]:
    return (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3


def _mmd(
    aa: NDArray[np.float64],
    bb: NDArray[np.float64],
    ab: NDArray[np.float64],
    u: NDArray[np.float64],
    v: NDArray[np.float64],
) -> float:
    """Squared MMD from kernel matrices, each picture counted u or v times; pictures never meet themselves."""
    within = [
        (w @ k @ w - (w * w) @ np.diag(k)) / (w.sum() ** 2 - (w * w).sum()) for k, w in ((aa, u), (bb, v))
    ]
    return float(within[0] + within[1] - 2 * (u @ ab @ v) / (u.sum() * v.sum()))


def _check(a: Features, b: Features) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise JogakError(
            f"A distance needs two sets (N, D) with N ≥ 2 and the same D, not {a.shape} and {b.shape}."
        )
