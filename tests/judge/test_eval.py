"""The whole scoring of a set, on features whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from jogak.judge.eval import ITEMS, Fidelity, Seen, Words, halves_ratio, score_set
from jogak.spec.picture_scores import PictureScores


def seen(n: int, shift: float = 0.0, seed: int = 0, d: int = 12, mirrored: bool = False) -> Seen:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, d)) + 1 + shift
    thumbs = rng.integers(0, 256, (n, 96, 96), np.uint8)
    turned = rng.normal(size=(n, d)) if mirrored else None
    return Seen(tuple(f"{seed}-{i}.png" for i in range(n)), vectors, thumbs, turned)


def words(n: int, right: bool = True) -> Words:
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(n, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    said = rows if right else rows[rng.permutation(n)]
    return Words("eye", tuple(range(n)), tuple(f"prompt {i}" for i in range(n)), rows, said)


def names(scores: PictureScores) -> set[str]:
    return {score.name for score in scores.whole}


def bar(scores: PictureScores, name: str) -> float:
    return next(one.value for one in scores.bars if one.name == name)


def test_everything_is_scored_and_what_is_not_is_named() -> None:
    fidelity = [Fidelity("canny", (0, 2), (0.9, 0.7)), Fidelity("pose", (1,), ())]
    found = score_set(seen(12), seen(24, seed=1, mirrored=True), words(12), fidelity, seed=3)
    eye = "efficientnet-lite0"
    assert names(found) == {
        f"kid/{eye}", f"fd/{eye}", "clip_score/eye", "clip_margin/eye", f"identity/{eye}", f"identity_ceiling/{eye}",
        f"diversity/{eye}", "memorised/aligned-pixels", "edge_f1/canny",
    }  # fmt: skip
    assert {one.name: one.why for one in found.missing} == {
        "fid": "no_weights", "lpips": "no_weights", "control_fidelity/pose": "no_detector",
    }  # fmt: skip
    assert found.lead == found.whole[0].name == f"kid/{eye}"
    assert all(score.low is not None and score.high is not None for score in found.whole)
    assert all(score.n >= 2 for score in found.whole)
    assert {one.seed for one in found.whole} == {3, None}  # Wilson's interval has no chance in it
    edges = found.get("edge_f1")
    assert edges is not None
    assert (edges.value, edges.n) == (pytest.approx(0.8), 2)
    first, second = found.items[0], found.items[1]
    assert [score.name for score in first.scores] == ["clip_score/eye", f"identity/{eye}", "edge_f1/canny"]
    assert second.get("edge_f1") is None
    assert PictureScores.model_validate_json(found.to_json()) == found


def test_a_set_alone_says_what_it_lacks() -> None:
    found = score_set(seen(2))
    assert names(found) == {"diversity/efficientnet-lite0"}
    why = {one.name: one.why for one in found.missing}
    assert why["kid/efficientnet-lite0"] == "no_reference"
    assert why["clip_score"] == "no_prompts"
    assert why["memorised"] == "no_reference"
    assert why["control_fidelity"] == "no_maps"
    assert found.bars == ()
    one = score_set(seen(1))
    assert one.whole == ()
    assert "few_pictures" in {missing.why for missing in one.missing}


def test_few_pictures_have_no_distance() -> None:
    found = score_set(seen(9), seen(24, seed=1, mirrored=True))
    assert not {name for name in names(found) if name.startswith(("kid", "fd"))}
    assert ("kid/efficientnet-lite0", "few_pictures") in {(one.name, one.why) for one in found.missing}


def test_inceptions_distance_leads_under_its_own_name() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = seen(12), seen(20, seed=1, mirrored=True)
    ours = Seen(ours.names, ours.features, ours.thumbs, None, rng.normal(size=(12, 20)))
    theirs = Seen(theirs.names, theirs.features, theirs.thumbs, theirs.mirrored, rng.normal(size=(20, 20)))
    found = score_set(ours, theirs, inception="inception-v3-abc")
    assert found.lead == "kid/inception-v3-abc"
    assert {"fid/inception-v3-abc", "fd/efficientnet-lite0"} <= names(found)
    assert "fid" not in {one.name for one in found.missing}


def test_bars_tell_like_from_unlike() -> None:
    references = seen(60, seed=1, mirrored=True)
    like = score_set(seen(40), references, words(40))
    unlike = score_set(seen(40, shift=3.0), references, words(40, right=False))
    assert bar(like, "fd_over_halves") == pytest.approx(1, abs=0.4)
    assert bar(unlike, "fd_over_halves") > 2
    assert bar(like, "text_margin_low") > 0 > bar(unlike, "text_margin_low")
    collapsed = seen(40)
    collapsed.features[:] = collapsed.features[:1] + 0.05 * collapsed.features
    assert bar(score_set(collapsed, references), "diversity_share") < 0.5 < bar(like, "diversity_share")


def test_the_ratio_of_halves_is_one_for_the_same_law() -> None:
    rng = np.random.default_rng(2)
    ratios = [
        halves_ratio(rng.normal(size=(30, 5)), rng.normal(size=(60, 5)), seed=seed) for seed in range(20)
    ]
    assert np.median(ratios) == pytest.approx(1, abs=0.15)


def test_prompts_that_some_pictures_lack_are_counted() -> None:
    found = score_set(seen(5), None, words(3))
    score = found.get("clip_score")
    assert score is not None
    assert score.n == 3
    assert [one.detail for one in found.missing if one.name == "clip_score"] == ["2 / 5"]


def test_only_so_many_pictures_are_listed_and_that_is_said() -> None:
    many = seen(ITEMS + 5)
    found = score_set(many)
    assert len(found.items) == ITEMS
    assert found.pictures == ITEMS + 5
    assert "5 more" in found.notes[-1]
