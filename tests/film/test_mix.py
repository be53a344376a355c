"""The mix: as loud as the web asks, under the peak bar before and after AAC, and the voice above the bed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jogak.film.audio import read
from jogak.film.effects import make_effects
from jogak.film.mix import (
    LoudnessReport,
    hold_to_the_bars,
    integrated_loudness,
    mix,
    mixed,
    speech_passages,
    true_peak,
)
from jogak.film.music import make_music
from jogak.film.voice import make_voice
from jogak.spec import AUDIO_RATE, Audio, Event, FilmPlan, JogakError, Line, Music, Shot
from jogak.store import Store

PLANS = {
    "a line, beds and a calm piano": FilmPlan(
        title="t", brief="b", lang="en", music=Music(),
        shots=(
            Shot(
                id="a", prompt="p", seconds=4, lines=(Line(text="A fox walks through the silent snow."),),
                events=(Event(kind="wind"), Event(kind="steps", at=1)),
            ),
            Shot(id="b", prompt="p", seconds=3, size="close", events=(Event(kind="chime", at=1),)),
        ),
    ),
    "thunder over a Korean line and epic drums": FilmPlan(
        title="t", brief="b", lang="ko",
        music=Music(
            key="D minor", tempo=120, mood="epic", instruments=("french horn", "strings", "taiko"), drums=True
        ),
        shots=(
            Shot(
                id="a", prompt="p", seconds=4.5, size="action",
                lines=(Line(text="용이 깨어나 하늘을 뒤덮습니다!", at=0.5),),
                events=(Event(kind="thunder", at=1, gain_db=12), Event(kind="fire")),
            ),
        ),
    ),
    "neither lines nor events, and very short": FilmPlan(
        title="t", brief="b", lang="en", title_seconds=1, end_seconds=1, music=Music(instruments=("harp",)),
        shots=(Shot(id="a", prompt="p", seconds=1),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_meets_the_bars_when_measured_again(tmp_path: Path, name: str) -> None:
    plan = PLANS[name]
    with Store(tmp_path).run("test", spec=plan):
        stems = make_music(plan), make_effects(plan), make_voice(plan)
        made, report = mix(*stems)
        sound = read(made)
        assert mix(*stems) == (made, report)
    assert (made.rate, made.channels, made.samples) == (AUDIO_RATE, 2, stems[0].samples)
    assert integrated_loudness(sound) == pytest.approx(-14, abs=0.5)
    assert true_peak(sound) <= -1
    assert report.integrated == pytest.approx(integrated_loudness(sound), abs=0.01)
    assert report.true_peak == pytest.approx(true_peak(sound), abs=0.01)
    assert report.encoded_true_peak <= -1
    assert report.encoded_integrated == pytest.approx(-14, abs=0.5)
    if any(shot.lines for shot in plan.shots):
        assert report.dialogue_over_bed_db is not None
        assert report.dialogue_over_bed_db >= 6
        assert report.ducked_db >= 3
    else:
        assert report.dialogue_over_bed_db is None
        assert report.ducked_db == 0


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((round(seconds * AUDIO_RATE), 2)) * level


def voice_of(seconds: float, start: float, end: float) -> np.ndarray:
    time = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    tone = 0.1 * np.sin(2 * np.pi * 300 * time) * ((time >= start) & (time < end))
    return np.stack([tone, tone], axis=1)


def test_the_bed_goes_down_under_speech_and_comes_back() -> None:
    bed, voice = noise(6, 0.1), voice_of(6, 2, 3.5)
    sound, report = mixed(bed, np.zeros_like(bed), voice)
    assert report.dialogue_over_bed_db is not None
    assert report.dialogue_over_bed_db >= 6
    rms = lambda a, b: float(np.sqrt(np.mean(sound[round(a * AUDIO_RATE) : round(b * AUDIO_RATE)] ** 2)))  # noqa: E731
    assert rms(0.5, 1.5) == pytest.approx(rms(4.5, 5.5), rel=0.1)  # the same before and after
    spectrum = np.abs(np.fft.rfft(sound[2 * AUDIO_RATE : 3 * AUDIO_RATE, 0])) ** 2
    before = np.abs(np.fft.rfft(sound[AUDIO_RATE // 2 : 3 * AUDIO_RATE // 2, 0])) ** 2
    assert (
        10 * np.log10(before[2000:10000].sum() / spectrum[2000:10000].sum()) > 6
    )  # ducked where the voice is not


def test_passages_join_over_short_pauses() -> None:
    voice = voice_of(8, 1, 2) + voice_of(8, 2.5, 3) + voice_of(8, 6, 7)
    found = [(round(a / AUDIO_RATE, 1), round(b / AUDIO_RATE, 1)) for a, b in speech_passages(voice)]
    assert found == [(1.0, 3.0), (6.0, 7.0)]
    assert speech_passages(np.zeros((AUDIO_RATE, 2))) == []


def test_a_lone_crack_over_a_soft_bed_still_meets_the_peak_bar() -> None:
    bed = noise(6, 0.02)
    bed[3 * AUDIO_RATE : 3 * AUDIO_RATE + 240] = 0.9
    sound, report = mixed(bed, np.zeros_like(bed), np.zeros_like(bed))
    assert true_peak(sound) <= -1
    assert report.limited_db > 10


def test_known_loudness() -> None:
    time = np.arange(5 * AUDIO_RATE) / AUDIO_RATE
    tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 997 * time)
    stereo = np.stack([tone, tone], axis=1)
    assert integrated_loudness(stereo) == pytest.approx(-23, abs=0.1)  # EBU Tech 3341, case 1
    late = np.sin(2 * np.pi * 12_000 * time + np.pi / 4)  # its samples never reach its crests
    assert np.abs(late).max() < 0.72
    assert true_peak(np.stack([late, late], axis=1)) == pytest.approx(0, abs=0.3)


def test_silence_and_unequal_stems_are_errors_in_words() -> None:
    silent = np.zeros((2 * AUDIO_RATE, 2))
    with pytest.raises(JogakError, match="no sound"):
        mixed(silent, silent, silent)
    with pytest.raises(JogakError, match="differ in length"):
        mixed(silent, silent[:-1], silent)


@pytest.mark.parametrize(
    ("measured", "word"),
    [
        ({"integrated": -15.0}, "LUFS"),
        ({"true_peak": -0.5}, "dBTP"),
        ({"encoded_true_peak": -0.9}, "dBTP"),
        ({"dialogue_over_bed_db": 5.0}, "voice"),
    ],
)
def test_a_mix_that_misses_a_bar_is_an_error(measured: dict[str, float], word: str) -> None:
    good = LoudnessReport(
        integrated=-14, true_peak=-2, encoded_integrated=-14, encoded_true_peak=-2, dialogue_over_bed_db=8,
        ducked_db=6, limited_db=1,
    )  # fmt: skip
    hold_to_the_bars(good)
    with pytest.raises(JogakError, match=word):
        hold_to_the_bars(good.model_copy(update=measured))


def test_another_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JogakError, match="44100"):
        read(
            Audio(sha256="0" * 64, suffix=".wav", path=tmp_path / "x.wav", rate=44100, channels=2, samples=9)
        )
