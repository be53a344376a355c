"""Effects: every kind sounds, starts and ends softly, and peaks on its event."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from jogak.film.audio import active_rms, decibels, loudest
from jogak.film.effects import Cue, cues, event_errors, make_effects, measure_errors, render_effects
from jogak.spec import AUDIO_RATE, BEDS, Event, FilmPlan, JogakError, Shot
from jogak.spec.film import EffectKind
from jogak.store import Store

MOMENTS = [kind for kind in EffectKind.__args__ if kind not in BEDS]


def cue(kind: EffectKind, at: float, seed: int = 0, seconds: float = 0, gain_db: float = 0) -> Cue:
    return Cue(kind=kind, at=at, seconds=seconds, gain_db=gain_db, seed=(seed, 0))


def loudest_moment(stem: np.ndarray) -> float:
    """Seconds of the highest 30 ms (Hann-weighted) energy: another measure than the code's own."""
    window = np.hanning(round(0.03 * AUDIO_RATE))
    energy = signal.fftconvolve(np.sum(stem**2, axis=1), window, mode="same")
    return int(np.argmax(energy)) / AUDIO_RATE


@pytest.mark.parametrize("kind", MOMENTS)
def test_a_moment_peaks_on_its_event(kind: EffectKind) -> None:
    for seed in range(4):
        stem = render_effects((cue(kind, 1.5, seed),), 4.0)
        assert abs(loudest_moment(stem) - 1.5) <= 0.04
        assert np.isfinite(stem).all()
        assert -20 < decibels(loudest(stem)) < -5
        assert abs(float(stem.mean())) < 1e-3


@pytest.mark.parametrize("kind", sorted(BEDS))
def test_a_bed_fills_its_shot_with_soft_edges(kind: EffectKind) -> None:
    stem = render_effects((cue(kind, 1.0, seconds=3.0),), 5.0)
    at = lambda second: round(second * AUDIO_RATE)  # noqa: E731
    assert not stem[: at(0.84)].any()
    assert not stem[at(4.16) :].any()
    quarters = [active_rms(part) for part in np.array_split(stem[at(1.0) : at(4.0)], 3)]
    assert min(quarters) > 10 ** (-48 / 20)
    edge = np.concatenate([stem[at(0.85) : at(0.87)], stem[at(4.13) : at(4.15)]])
    assert loudest(edge) < 0.15 * loudest(stem)  # no click where it begins and ends
    assert not np.allclose(stem[:, 0], stem[:, 1])  # it is wide
    assert decibels(active_rms(stem)) == pytest.approx(-31, abs=5)


def test_two_shots_with_one_bed_run_on_without_a_hole() -> None:
    stem = render_effects((cue("rain", 0.5, 1, seconds=2), cue("rain", 2.5, 2, seconds=2)), 5.0)
    block = AUDIO_RATE // 20
    levels = [
        decibels(float(np.sqrt(np.mean(stem[a : a + block] ** 2))))
        for a in range(AUDIO_RATE, 4 * AUDIO_RATE, block)
    ]
    assert max(levels) - min(levels) < 6


def test_event_error_is_measured_in_a_crowded_stem() -> None:
    crowd = (
        cue("rain", 0.0, 1, seconds=6), cue("thunder", 2.0, 2), cue("steps", 2.3, 3, gain_db=-6),
        cue("bell", 2.6, 4), cue("whoosh", 2.7, 5), cue("meow", 4.0, 6),
    )  # fmt: skip
    stem = render_effects(crowd, 7.0)
    assert max(map(abs, measure_errors(stem, crowd))) < 5
    late = np.roll(stem, round(0.030 * AUDIO_RATE), axis=0)
    assert measure_errors(late, crowd) == pytest.approx([30.0] * 5, abs=1)
    with pytest.raises(JogakError, match="meow"):
        measure_errors(np.where(np.arange(len(stem))[:, None] > 3.4 * AUDIO_RATE, 0, stem), crowd)


def test_same_plan_same_samples_and_gain_is_heard() -> None:
    pair = (cue("fire", 0, 1, seconds=2), cue("chime", 1, 2))
    assert np.array_equal(render_effects(pair, 3), render_effects(pair, 3))
    assert not np.array_equal(
        render_effects((cue("chime", 1, 2),), 3), render_effects((cue("chime", 1, 3),), 3)
    )
    soft, loud = (loudest(render_effects((cue("bell", 1, gain_db=g),), 4)) for g in (-12, 0))
    assert decibels(loud / soft) == pytest.approx(12, abs=0.1)


def test_hot_events_stay_under_full_scale() -> None:
    stem = render_effects(tuple(cue("thunder", 1 + i / 10, i, gain_db=12) for i in range(5)), 5)
    assert loudest(stem) <= 10 ** (-1 / 20) + 1e-9


def test_plan_to_stem_in_the_store(tmp_path: Path) -> None:
    events = (Event(kind="wind", at=1), Event(kind="door", at=0.0), Event(kind="impact", at=1.5))
    plan = FilmPlan(
        title="t", brief="b", lang="ko", shots=(Shot(id="a", prompt="p", seconds=2, events=events, seed=9),)
    )
    assert [(c.kind, c.at, c.seconds) for c in cues(plan)] == [
        ("wind", 2, 2),
        ("door", 2, 0),
        ("impact", 3.5, 0),
    ]
    with Store(tmp_path).run("test", spec=plan):
        stem = make_effects(plan)
        assert stem.samples == round(plan.seconds * AUDIO_RATE)
        assert max(map(abs, event_errors(stem, plan))) < 5
        renamed = plan.model_copy(update={"shots": (plan.shots[0].model_copy(update={"prompt": "q"}),)})
        assert make_effects(renamed) == stem
        bare = plan.model_copy(update={"shots": (plan.shots[0].model_copy(update={"events": ()}),)})
        silent = make_effects(bare)
        assert event_errors(silent, bare) == []
        assert silent.samples == stem.samples
