from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from jogak.judge.features import features
from jogak.judge.memorisation import Looks, alarm, likeness, memorisation_score, nearest, thumb
from jogak.spec import JogakError
from tests.judge.drawings import copied, drawings


def looks(pictures: NDArray[np.uint8], mirrored: bool = False) -> Looks:
    turned = features(np.ascontiguousarray(pictures[:, :, ::-1])) if mirrored else None
    return Looks(features(pictures), turned, np.stack([thumb(one) for one in pictures]))


@pytest.fixture(scope="module")
def all_drawings() -> NDArray[np.uint8]:
    return drawings()


@pytest.fixture(scope="module")
def references(all_drawings: NDArray[np.uint8]) -> Looks:
    return looks(all_drawings[:24], mirrored=True)


def names(count: int) -> list[str]:
    return [f"{i}.png" for i in range(count)]


@pytest.mark.parametrize(
    ("crop", "quality", "mirrored"), [(0.0, 30, False), (0.05, 50, True), (0.1, 40, True), (0.1, 75, False)]
)
def test_a_planted_copy_is_found(
    all_drawings: NDArray[np.uint8], references: Looks, crop: float, quality: int, mirrored: bool
) -> None:
    planted = looks(np.stack([copied(one, crop, quality, mirrored) for one in all_drawings[:24]]))
    found = alarm(planted, references, names(24), names(24))
    assert found.calibrated
    assert [copy.picture for copy in found.copies] == names(24)
    assert [copy.reference for copy in found.copies] == names(24)
    assert all(copy.mirrored == mirrored for copy in found.copies)


def test_held_out_drawings_are_no_copies(all_drawings: NDArray[np.uint8], references: Looks) -> None:
    found = alarm(looks(all_drawings[24:]), references, names(16), names(24))
    assert found.copies == ()
    score = memorisation_score(found, 16)
    assert (score.value, score.low, score.n) == (0, 0, 16)
    assert score.high is not None
    assert 0.1 < score.high < 0.25  # sixteen clean pictures prove no more than that


def test_near_equal_references_do_not_silence_the_alarm(all_drawings: NDArray[np.uint8]) -> None:
    twins = np.concatenate([all_drawings[:8], all_drawings[:8] // 2 + all_drawings[:8] // 4])
    planted = looks(np.stack([copied(one, 0.04, 60, False) for one in all_drawings[:4]]))
    found = alarm(planted, looks(twins, mirrored=True), names(4), names(16))
    assert len(found.copies) == 4


def test_few_references_leave_the_threshold_fixed(all_drawings: NDArray[np.uint8]) -> None:
    found = alarm(looks(all_drawings[:2]), looks(all_drawings[1:3], mirrored=True), names(2), names(2))
    assert not found.calibrated
    assert [copy.picture for copy in found.copies] == ["1.png"]


def test_nobody_meets_itself_when_left_out(references: Looks) -> None:
    own = nearest(references, references, left_out=True)
    assert all(one.reference != i for i, one in enumerate(own))
    assert max(one.likeness for one in own) < 0.95


def test_likeness_of_blank_and_noisy_pictures() -> None:
    blank = np.full((96, 96), 200, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8)
    other = np.random.default_rng(1).integers(0, 256, (96, 96), np.uint8)
    assert likeness(blank, blank) == 1
    assert likeness(blank, noise) == 0
    assert likeness(noise, noise) == pytest.approx(1, abs=1e-6)
    assert likeness(noise, other) < 0.5


def test_looks_have_to_belong_together(references: Looks) -> None:
    with pytest.raises(JogakError, match="thumbnail"):
        Looks(references.features, None, references.thumbs[1:])
    with pytest.raises(JogakError, match="mirror"):
        nearest(references, Looks(references.features, None, references.thumbs))
