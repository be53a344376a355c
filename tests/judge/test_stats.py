from __future__ import annotations

import numpy as np
import pytest

from jogak.judge.stats import bootstrap, mean_score, share_score, widened, wilson
from jogak.spec import JogakError


@pytest.mark.parametrize("n", [5, 12, 60])
def test_bootstrap_covers_the_true_mean_in_19_films_of_20(n: int) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(600):
        low, high = bootstrap(rng.normal(3, 2, n), seed=seed, resamples=600)
        hits += low <= 3 <= high
    assert 0.92 <= hits / 600 <= 0.98


def test_blocks_keep_coverage_where_single_draws_lose_it() -> None:
    """Frames of a shot resemble their neighbours: an AR(1) row with correlation 0.8."""
    rng = np.random.default_rng(2)
    hits = {1: 0, 12: 0}
    for seed in range(300):
        row = np.empty(150)
        row[0] = rng.normal() / 0.6
        for i, kick in enumerate(rng.normal(size=149)):
            row[i + 1] = 0.8 * row[i] + kick
        for block in hits:
            low, high = bootstrap(row, seed=seed, resamples=300, block=block)
            hits[block] += low <= 0 <= high
    assert hits[1] / 300 < 0.6
    assert hits[12] / 300 > 0.82


def test_bootstrap_is_seeded_and_shrinks_with_n() -> None:
    values = np.random.default_rng(0).normal(size=400)
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4) != bootstrap(values, seed=5)
    widths = [high - low for low, high in (bootstrap(values[:n]) for n in (10, 100, 400))]
    assert widths[0] > widths[1] > widths[2]


def test_bootstrap_of_equal_values_is_that_value() -> None:
    assert bootstrap([2.5] * 7) == (2.5, 2.5)
    with pytest.raises(JogakError):
        bootstrap([1.0])


def test_widened_percentiles_tend_to_the_plain_ones() -> None:
    assert widened(4)[0] < 0.006
    assert widened(1e6) == pytest.approx((0.025, 0.975), abs=1e-4)


def test_wilson_known_answers() -> None:
    # Newcombe 1998, table I, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


@pytest.mark.parametrize(("hits", "n"), [(3, 2), (-1, 5), (0, 0)])
def test_wilson_refuses_nonsense(hits: int, n: int) -> None:
    with pytest.raises(JogakError):
        wilson(hits, n)


def test_wilson_covers() -> None:
    found = np.random.default_rng(3).binomial(40, 0.2, 4000)
    inside = [low <= 0.2 <= high for low, high in (wilson(int(k), 40) for k in found)]
    assert 0.92 <= np.mean(inside) <= 0.98


def test_scores_carry_their_facts() -> None:
    score = mean_score("clip_score/x", [20.0, 30.0, 25.0], backbone="x", unit="cos×100", seed=9)
    assert (score.value, score.n, score.seed, score.backbone) == (25.0, 3, 9, "x")
    assert score.low is not None
    assert score.high is not None
    assert score.low < 25 < score.high
    alone = mean_score("a", [1.0])
    assert (alone.low, alone.high) == (None, None)
    share = share_score("moving", [True, False, True, True])
    assert share.value == 0.75
    assert share.seed is None
