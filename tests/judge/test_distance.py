from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from jogak.judge.distance import frechet_distance, frechet_score, kid, kid_score
from jogak.spec import JogakError


def _exactly(rng: np.random.Generator, n: int, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """n rows whose sample mean and covariance are exactly those."""
    x = rng.normal(size=(n, len(mean)))
    x = (x - x.mean(0)) / np.sqrt(n - 1)
    white = np.linalg.qr(x)[0] * np.sqrt(n - 1)
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_shifted_and_scaled_gaussians_is_the_analytic_one() -> None:
    rng = np.random.default_rng(0)
    d = 6
    eye, shift = np.eye(d), np.full(d, 0.5)
    a = _exactly(rng, 400, np.zeros(d), eye)
    assert frechet_distance(a, _exactly(rng, 300, shift, eye)) == pytest.approx(d * 0.25, abs=1e-9)
    # |μ|² + Σ (σa − σb)² for covariances that commute
    assert frechet_distance(a, _exactly(rng, 300, shift, 9 * eye)) == pytest.approx(
        d * 0.25 + d * 4, abs=1e-9
    )


def test_frechet_distance_equals_the_textbook_formula() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(50, 8)), rng.normal(size=(40, 8)) @ rng.normal(size=(8, 8)) + 1
    covariances = np.cov(a.T), np.cov(b.T)
    root = np.real(np.trace(np.asarray(sqrtm(covariances[0] @ covariances[1]))))
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_holds_with_fewer_rows_than_columns() -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(20, 300)).astype(np.float32)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + 1) == pytest.approx(300, rel=1e-5)


def test_frechet_score_names_its_eye_and_holds_its_value() -> None:
    rng = np.random.default_rng(3)
    score = frechet_score(rng.normal(size=(80, 10)), rng.normal(size=(80, 10)) + 1, seed=1)
    assert score.name == "fd/efficientnet-lite0"
    assert score.better == "lower"
    assert score.low is not None
    assert score.high is not None
    assert score.low < score.value < score.high


def test_kid_by_hand() -> None:
    a, b = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    # kernels: within a (0/2 + 1)³ = 1, within b (2/2 + 1)³ = 8, across (1/2 + 1)³ = 3.375
    assert kid(a, b) == pytest.approx(1 + 8 - 2 * 3.375)


def test_kid_is_unbiased_and_its_interval_covers() -> None:
    rng = np.random.default_rng(4)
    truth = kid(rng.normal(size=(3000, 4)), rng.normal(size=(3000, 4)) + 0.5)
    values, inside = [], 0
    for seed in range(120):
        score = kid_score(rng.normal(size=(30, 4)), rng.normal(size=(30, 4)) + 0.5, seed=seed, resamples=300)
        assert score.low is not None
        assert score.high is not None
        values.append(score.value / 1000)
        inside += score.low <= 1000 * truth <= score.high
    assert np.mean(values) == pytest.approx(truth, abs=3 * np.std(values) / np.sqrt(120))
    assert inside / 120 >= 0.88


def test_kid_of_the_same_law_straddles_zero() -> None:
    rng = np.random.default_rng(5)
    values = [kid(rng.normal(size=(25, 4)), rng.normal(size=(25, 4))) for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)
    assert min(values) < 0


@pytest.mark.parametrize(("a", "b"), [((1, 4), (5, 4)), ((5, 4), (5, 3)), ((5,), (5, 4))])
def test_sets_that_cannot_be_compared_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(JogakError):
        frechet_distance(np.zeros(a), np.zeros(b))
    with pytest.raises(JogakError):
        kid_score(np.zeros((5, 4)), np.zeros((12, 4)))
