from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from jogak.film.frames import write_frames
from jogak.judge.clip import clip_score, judge_ref, load_judge
from jogak.judge.film import (
    best_keyframe,
    checks,
    consistency,
    judge_film,
    judge_shot,
    read_clip,
    score_frames,
    write_scores,
)
from jogak.spec import Clip, Image, JogakError, ModelRef, Shot
from jogak.spec.scores import EventError, FilmScores, Score, ShotScores, SoundFacts
from jogak.store import Run, Store

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (48, 80, 3), np.uint8)
STILL = np.repeat(PICTURE[None], 9, 0)
NOISE = RNG.integers(0, 256, (9, 48, 80, 3), np.uint8)
SHOT = Shot(id="s1", prompt="눈 덮인 숲의 여우", seconds=4)
SOUND = SoundFacts(
    integrated_lufs=-14.2,
    true_peak_dbtp=-1.4,
    dialogue_over_bed_db=7.5,
    events=(
        EventError(shot="s1", kind="bell", at=3.0, error_ms=-31.0),
        EventError(shot="s1", kind="door", at=4.0, error_ms=12.0),
    ),
)


@pytest.fixture
def ref(judge_folder: Path) -> ModelRef:
    return judge_ref(judge_folder)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Store(tmp_path / "store").run("judge") as run:
        yield run


def keep(run: Run, frames: np.ndarray, fps: float = 8) -> Clip:
    with run.store.new_file(".mkv") as path:
        facts = write_frames(path, frames, fps)
        return run.store.put(path, Clip, **facts._asdict())


def by_name(scores: list[Score]) -> dict[str, Score]:
    return {score.name: score for score in scores}


def test_identical_frames_are_perfectly_consistent(ref: ModelRef) -> None:
    found = by_name(score_frames(STILL, 8, SHOT, ref))
    for name in (
        "subject_consistency/efficientnet-lite0",
        "background_consistency/tiny-judge",
        "temporal_flicker",
        "temporal_flicker_compensated/dis-flow",
        "motion_smoothness/dis-flow",
    ):
        score = found[name]
        assert (score.value, score.low, score.high) == pytest.approx((1, 1, 1), abs=1e-5)
        assert score.value <= 1
    assert found["motion_amount/dis-flow"].value == 0
    assert found["dynamic_degree/dis-flow"].value == 0


def test_noise_scores_low(ref: ModelRef) -> None:
    found, still = (by_name(score_frames(frames, 8, SHOT, ref)) for frames in (NOISE, STILL))
    for name in ("temporal_flicker_compensated/dis-flow", "motion_smoothness/dis-flow"):
        assert found[name].value < 0.8 < still[name].value
    # noise changes everywhere, so by VBench's filter this is no static clip and has no plain flicker score
    assert "temporal_flicker" not in found


def test_a_moving_camera_has_no_plain_flicker_score(ref: ModelRef) -> None:
    moving = SHOT.model_copy(update={"camera": "pan_left"})
    assert "temporal_flicker" not in by_name(score_frames(STILL, 8, moving, ref))


def test_consistency_by_hand() -> None:
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    # frame 1: (0.6 + 0.6) / 2; frame 2: (max(0, −0.6) + max(0, −1)) / 2
    np.testing.assert_allclose(consistency(vectors), [0.6, 0.0], atol=1e-12)
    np.testing.assert_allclose(consistency(7 * vectors), [0.6, 0.0], atol=1e-12)
    assert np.isfinite(consistency(np.zeros((3, 4)))).all()


@pytest.mark.parametrize(("frames", "names"), [(1, 1), (2, 6), (3, 7)])
def test_short_shots_leave_out_what_they_cannot_show(ref: ModelRef, frames: int, names: int) -> None:
    found = score_frames(NOISE[:frames], 8, SHOT, ref)
    assert len(found) == names
    assert all(score.n >= 1 for score in found)


def test_a_shot_is_judged_once_for_each_judge(run: Run, ref: ModelRef) -> None:
    clip = keep(run, NOISE)
    first = judge_shot(clip, SHOT, ref)
    assert first == judge_shot(clip, SHOT, ref)
    other = ref.model_copy(update={"digest": "0" * 64})
    judge_shot(clip, SHOT, other)
    assert [record.state for record in run.records] == ["made", "hit", "made"]
    assert first.shot == "s1"
    again = first.get("clip_score/tiny-judge")
    assert again is not None
    assert -100 <= again.value <= 100


def test_frames_of_another_size_give_scores_too(run: Run, ref: ModelRef) -> None:
    large = np.repeat(np.repeat(NOISE[:3], 12, 1), 12, 2)
    found = by_name(list(judge_shot(keep(run, large, 24), SHOT, ref).scores))
    assert found["motion_smoothness/dis-flow"].n == 1


def test_a_clip_is_read_as_it_was_drawn_or_smaller(run: Run) -> None:
    np.testing.assert_array_equal(read_clip(keep(run, NOISE)), NOISE)
    large = np.repeat(np.repeat(NOISE[:3], 12, 1), 12, 2)
    assert read_clip(keep(run, large)).shape == (3, 307, 512, 3)


@pytest.mark.parametrize("change", [{"frames": 8}, {"frames": 10}, {"width": 81}, {"frames": 10**7}])
def test_a_clip_that_is_not_what_it_says_is_refused(run: Run, change: dict[str, int]) -> None:
    clip = keep(run, NOISE).model_copy(update=change)
    with pytest.raises(JogakError):
        read_clip(clip)


def test_a_file_that_is_no_clip_is_refused(run: Run) -> None:
    clip = keep(run, NOISE)
    clip.path.write_bytes(b"no video at all")
    with pytest.raises(JogakError, match="cannot be read"):
        read_clip(clip)


def test_the_film_is_the_mean_of_its_shots(run: Run) -> None:
    def shot(name: str, text: float, moving: float) -> ShotScores:
        return ShotScores(
            shot=name,
            scores=(
                Score(name="clip_score/x", value=text, n=30, backbone="x", unit="cos×100"),
                Score(name="dynamic_degree/dis-flow", value=moving, n=1, backbone="dis-flow"),
            ),
        )

    shots = (shot("s1", 20, 0), shot("s2", 30, 1), shot("s3", 40, 1), ShotScores(shot="s4", scores=()))
    found = judge_film(shots, SOUND)
    text, moving = found.film
    assert (text.value, text.n, text.unit) == (30, 3, "cos×100")
    assert text.low is not None
    assert text.high is not None
    assert 20 <= text.low < 30 < text.high <= 40
    assert moving.value == pytest.approx(2 / 3)
    assert moving.low is not None
    assert moving.low > 0  # Wilson
    assert [score.shot for score in found.shots] == ["s1", "s2", "s3", "s4"]


def test_checks_are_the_written_bars() -> None:
    found = {check.name: check for check in checks(SOUND)}
    assert all(check.passed for check in found.values())
    assert found["event_error"].value == 31.0
    assert found["event_error"].n == 2
    bad = SoundFacts(integrated_lufs=-13.4, true_peak_dbtp=-0.9, dialogue_over_bed_db=5.9)
    assert [check.passed for check in checks(bad)] == [False, False, False]
    silent = SoundFacts(integrated_lufs=-14.5, true_peak_dbtp=-1.0)
    assert [check.name for check in checks(silent)] == ["integrated_loudness", "true_peak"]
    assert all(check.passed for check in checks(silent))


def test_scores_json_reads_back(run: Run) -> None:
    shots = (ShotScores(shot="s1", scores=(Score(name="a/b", value=1.5, n=2),)),)
    scores = judge_film(shots, SOUND, "pocket (pocket, torch-fp32-t2, sha256 0123)")
    assert scores.model.startswith("pocket ")
    document = write_scores(scores)
    assert document.suffix == ".json"
    assert FilmScores.read(document.path) == scores
    data = json.loads(document.path.read_text("utf-8"))
    assert set(data) == {"film", "shots", "checks", "sound", "model"}
    assert data["checks"][0]["at_least"] == -14.5


def test_the_best_keyframe_is_the_one_nearest_to_its_prompt_in_any_order(ref: ModelRef, run: Run) -> None:
    pictures = NOISE[:3]
    scores = clip_score(load_judge(ref.folder), pictures, [SHOT.prompt] * 3)
    assert len(set(scores.tolist())) == 3
    kept = []
    for picture in pictures:
        with run.store.new_file(".png") as path:
            PIL.Image.fromarray(picture).save(path, format="PNG")
            kept.append(run.store.put(path, Image, width=80, height=48))
    best = kept[int(np.argmax(scores))]
    for order in (kept, kept[::-1]):
        assert best_keyframe(tuple(order), SHOT.prompt, ref).sha256 == best.sha256
