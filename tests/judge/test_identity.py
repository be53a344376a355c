from __future__ import annotations

import numpy as np
import pytest

from jogak.judge.diversity import diversity, diversity_score
from jogak.judge.identity import identity, identity_ceiling, identity_score
from jogak.spec import JogakError

RNG = np.random.default_rng(0)


def test_identity_by_hand() -> None:
    pictures = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    references = np.array([[5.0, 0.0], [0.6, 0.8]])
    np.testing.assert_allclose(identity(pictures, references), [0.8, 0.4, -0.8])
    score = identity_score(pictures, references, "eye")
    assert score.name == "identity/eye"
    assert score.value == pytest.approx(0.4 / 3)
    assert score.n == 3


def test_identity_is_the_mean_over_all_pairs() -> None:
    a, b = RNG.normal(size=(7, 12)), RNG.normal(size=(5, 12))
    pairs = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]
    np.testing.assert_allclose(identity(a, b), np.mean(pairs, axis=1))


def test_the_interval_covers_the_mean_of_more_pictures() -> None:
    references = RNG.normal(size=(6, 8)) + 1

    def draw(n: int) -> np.ndarray:
        return RNG.normal(size=(n, 8)) + 0.5

    truth = identity(draw(20_000), references).mean()
    inside = 0
    for seed in range(60):
        score = identity_score(draw(12), references, "eye", seed=seed)
        assert score.low is not None
        assert score.high is not None
        inside += score.low <= truth <= score.high
    assert inside >= 52


def test_the_ceiling_leaves_each_reference_itself_out() -> None:
    same = np.repeat(RNG.normal(size=(1, 6)), 4, 0)
    assert identity_ceiling(same, "eye").value == pytest.approx(1)
    crossed = np.eye(4)
    assert identity_ceiling(crossed, "eye").value == pytest.approx(0)
    with pytest.raises(JogakError, match="Two reference"):
        identity_ceiling(crossed[:1], "eye")


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(JogakError):
        identity(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(JogakError):
        identity(np.zeros((2, 3)), np.zeros((0, 3)))


def test_diversity_is_the_mean_over_different_pairs() -> None:
    rows = RNG.normal(size=(9, 5))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [1 - units[i] @ units[j] for i in range(9) for j in range(9) if i != j]
    assert diversity(rows) == pytest.approx(np.mean(pairs))
    assert diversity(np.repeat(rows[:1], 4, 0)) == pytest.approx(0, abs=1e-12)
    assert diversity(np.array([[1.0, 0], [-1.0, 0]])) == pytest.approx(2)


def test_diversity_interval_holds_the_truth_and_collapse_is_seen() -> None:
    truth = diversity(RNG.normal(size=(4000, 6)) + 1)
    inside = 0
    for seed in range(60):
        score = diversity_score(RNG.normal(size=(15, 6)) + 1, "eye", seed=seed, resamples=300)
        assert score.low is not None
        assert score.high is not None
        inside += score.low <= truth <= score.high
    assert inside >= 51
    collapsed = RNG.normal(size=(15, 6)) * 0.05 + 1
    assert diversity_score(collapsed, "eye").value < truth / 20
    with pytest.raises(JogakError, match="two pictures"):
        diversity(collapsed[:1])
