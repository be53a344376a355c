"""The music: in its key, on the cuts, with an ending, the same every time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from jogak.film.audio import active_rms, decibels, read
from jogak.film.instruments import INSTRUMENTS, find
from jogak.film.music import make_music, render_music
from jogak.film.score import MAX_BEND, arrange, arrangement, compose, parse_key
from jogak.spec import AUDIO_RATE, FilmPlan, Music, Shot, SpecError
from jogak.spec.film import Mood
from jogak.store import Store

SIZES = ("wide", "medium", "close", "action", "closing")
BANDS = {
    "calm": Music(key="C major", tempo=90, mood="calm", instruments=("piano", "strings")),
    "epic": Music(
        key="D minor", tempo=120, mood="epic", instruments=("french horn", "strings", "timpani"), drums=True
    ),
    "playful": Music(
        key="Bb major", tempo=112, mood="playful", instruments=("clarinet", "pizzicato", "bass")
    ),
    "sad": Music(key="F# minor", tempo=66, mood="sad", instruments=("첼로", "피아노", "현악")),
}


def film(music: Music, seconds: tuple[float, ...] = (3.5, 4, 3), seed: int = 0) -> FilmPlan:
    shots = tuple(
        Shot(id=f"s{i}", prompt="a", seconds=length, size=SIZES[i % 5]) for i, length in enumerate(seconds)
    )
    return FilmPlan(title="t", brief="b", lang="en", shots=shots, music=music, seed=seed, end_seconds=2)


def play(plan: FilmPlan) -> np.ndarray:
    sizes = tuple(shot.size for shot in plan.shots)
    return render_music(
        plan.music, plan.seed, plan.starts, sizes, plan.seconds - plan.end_seconds, plan.seconds
    )


def chroma(sound: np.ndarray) -> np.ndarray:
    """Energy of the twelve pitch classes (C first) between 110 and 1500 Hz, summing to 1."""
    block = 16384
    mono = sound.mean(axis=1)
    frames = [mono[at : at + block] * np.hanning(block) for at in range(0, len(mono) - block, block // 2)]
    power = np.sum(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0)
    frequency = np.fft.rfftfreq(block, 1 / AUDIO_RATE)
    used = (frequency > 110) & (frequency < 1500)
    classes = np.round(69 + 12 * np.log2(frequency[used] / 440)).astype(int) % 12
    energy = np.bincount(classes, power[used], minlength=12)
    return energy / energy.sum()


@pytest.mark.parametrize("name", BANDS)
def test_is_in_the_planned_key_and_ends_on_its_tonic(name: str) -> None:
    plan = film(BANDS[name])
    sound = play(plan)
    key = parse_key(plan.music.key)
    scale = {0, 2, 3, 5, 7, 8, 10, 11} if key.minor else {0, 2, 4, 5, 7, 9, 11}
    found = chroma(sound)
    shares = [sum(found[(tonic + step) % 12] for step in scale) for tonic in range(12)]
    assert shares[key.tonic] > 0.9
    assert (
        shares[key.tonic] >= max(shares) - 0.02
    )  # a neighbouring key may share almost all notes, none fits better
    ending = arrangement(plan).ending
    last = chroma(sound[round((ending + 0.15) * AUDIO_RATE) :])
    triad = sum(last[(key.tonic + step) % 12] for step in (0, 3 if key.minor else 4, 7))
    assert triad > 0.75
    assert last[key.tonic] > 0.2


@pytest.mark.parametrize("name", BANDS)
def test_is_as_long_as_the_film_and_dies_away(name: str) -> None:
    plan = film(BANDS[name])
    sound = play(plan)
    assert sound.shape == (round(plan.seconds * AUDIO_RATE), 2)
    assert np.abs(sound).max() <= 0.71
    assert abs(float(sound.mean())) < 1e-4
    second = AUDIO_RATE
    levels = [
        float(np.sqrt(np.mean(sound[at : at + second // 4] ** 2)))
        for at in range(len(sound) - second, len(sound), second // 4)
    ]
    assert all(after < before for before, after in itertools.pairwise(levels))
    assert decibels(float(np.abs(sound[-second // 100 :]).max())) < -55
    assert decibels(active_rms(sound)) == pytest.approx(-20, abs=3)


def test_same_plan_same_samples_and_another_seed_another_tune() -> None:
    plan = film(BANDS["calm"])
    first = play(plan)
    assert np.array_equal(first, play(plan))
    assert not np.array_equal(first, play(film(BANDS["calm"], seed=1)))


def test_bars_meet_the_cuts_within_a_few_per_cent_of_the_tempo() -> None:
    rng = np.random.default_rng(5)
    misses, ends = [], []
    moods: list[Mood] = list(get_args(Mood))
    for _ in range(60):
        seconds = tuple(float(length) for length in np.round(rng.uniform(2.5, 6, 4), 1))
        music = Music(tempo=int(rng.integers(60, 150)), mood=moods[int(rng.integers(len(moods)))])
        plan = film(music, seconds)
        laid = arrangement(plan)
        assert abs(laid.tempo / music.tempo - 1) <= MAX_BEND + 1e-9
        assert sum(section.beats for section in laid.sections) == laid.last_beat
        misses += [abs(section.second - section.cut) for section in laid.sections[1:]]
        ends.append(abs(laid.ending - (plan.seconds - plan.end_seconds)))
    assert np.mean(misses) < 0.25
    assert np.mean(ends) < 0.1
    assert max(ends) < 0.35


def test_the_sentence_says_the_tempo_in_both_languages() -> None:
    laid = arrangement(film(BANDS["calm"]))
    for lang in ("ko", "en"):
        assert f"90 → {laid.tempo:.1f} BPM" in laid.sentence(lang)


@pytest.mark.parametrize("mood", get_args(Mood))
def test_every_mood_is_playable_in_every_key(mood: Mood) -> None:
    names = list(INSTRUMENTS)
    rng = np.random.default_rng(3)
    for number, (tonic, mode) in enumerate(
        itertools.product(["C", "C#", "Db", "F#", "Ab", "Bb"], ("major", "minor"))
    ):
        band = tuple(str(name) for name in rng.choice(names, rng.integers(1, 7), replace=False))
        music = Music(key=f"{tonic} {mode}", mood=mood, instruments=band, drums=number % 2 == 0)
        laid = arrange(music, (2.0, 5.5, 8.0), ("wide", "close", "action"), 12.0, 14.0)
        for part in compose(laid, music, number):
            assert part.notes, part.role
            if part.instrument is not None:
                keys = [note.pitch for note in part.notes]
                assert part.instrument.low <= min(keys) <= max(keys) <= part.instrument.high, (part, band)
            assert all(0 <= note.beat <= laid.last_beat + 0.5 and note.beats > 0 for note in part.notes)


def test_melody_stands_on_chord_tones_and_moves_by_small_steps() -> None:
    for seed in range(8):
        plan = film(BANDS["calm"], (5, 6, 5), seed)
        tune = next(part for part in compose(arrangement(plan), plan.music, seed) if part.role == "melody")
        leaps = [abs(after.pitch - before.pitch) for before, after in itertools.pairwise(tune.notes)]
        assert np.mean([leap <= 5 for leap in leaps]) > 0.75
        assert max(leaps) <= 12
        assert tune.notes[-1].pitch % 12 == 0  # home, on C


@pytest.mark.parametrize("tempo", [40, 200])
@pytest.mark.parametrize("shots", [(1.0,), (1.0,) * 12, (15.0,)])
def test_very_short_long_slow_and_fast_films(tempo: int, shots: tuple[float, ...]) -> None:
    plan = film(Music(tempo=tempo, instruments=("piano",)), shots).model_copy(
        update={"title_seconds": 1, "end_seconds": 1}
    )
    sound = play(plan)
    assert sound.shape == (round(plan.seconds * AUDIO_RATE), 2)
    assert active_rms(sound) > 0.01
    assert decibels(float(np.abs(sound[-480:]).max())) < -50


def test_names_of_instruments() -> None:
    assert find("피아노") == find("Acoustic  Grand_Piano") == INSTRUMENTS["piano"]
    with pytest.raises(SpecError, match="violin"):
        find("violim")
    plan = film(Music(instruments=("kazoo",)))
    with pytest.raises(SpecError, match="kazoo"):
        make_music(plan)


def test_the_step_answers_from_the_store_when_only_a_prompt_changed(tmp_path: Path) -> None:
    plan = film(Music(instruments=("piano",)), (2.0,))
    other = plan.model_copy(update={"shots": (plan.shots[0].model_copy(update={"prompt": "another"}),)})
    with Store(tmp_path).run("test", spec=plan):
        first, second = make_music(plan), make_music(other)
        assert first == second
        assert (first.rate, first.channels, first.seconds) == (AUDIO_RATE, 2, plan.seconds)
        assert np.abs(read(first) - play(plan)).max() < 2**-22
