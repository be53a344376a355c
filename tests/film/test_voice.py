"""The narrator in both languages, odd texts, and lines that fit their shots."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jogak.film.audio import active_rms, decibels, read
from jogak.film.voice import MAX_TEXT, fit_lines, line_spans, make_voice, speak
from jogak.spec import AUDIO_RATE, FilmPlan, Line, Shot, SpecError
from jogak.store import Store

ENGLISH = "A fox walks through the silent snow."
KOREAN = "눈 덮인 산 위로 해가 떠오릅니다."


def film(*shots: tuple[float, tuple[Line, ...]], lang: str = "en") -> FilmPlan:
    return FilmPlan(
        title="t", brief="b", lang=lang,
        shots=tuple(
            Shot(id=f"s{i}", prompt="p", seconds=seconds, lines=lines)
            for i, (seconds, lines) in enumerate(shots)
        ),
    )  # fmt: skip


@pytest.mark.parametrize(("text", "lang", "syllables"), [(ENGLISH, "en", 9), (KOREAN, "ko", 13)])
def test_speaks_at_a_narrators_pace(text: str, lang: str, syllables: int) -> None:
    sound, rate = speak(text, lang)
    assert rate == AUDIO_RATE
    assert sound.ndim == 1
    assert 2.5 < syllables / (len(sound) / rate) < 6.5
    assert decibels(active_rms(sound)) == pytest.approx(-20, abs=1.5)
    assert np.abs(sound).max() <= 0.8
    edges = np.concatenate([sound[: rate // 20], sound[-rate // 20 :]])
    assert np.abs(edges).max() > 0.002  # trimmed to the speech
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    share = spectrum[len(spectrum) * 80 // 24000 : len(spectrum) * 4000 // 24000].sum() / spectrum.sum()
    assert share > 0.9  # a voice, not a hiss


@pytest.mark.parametrize(("text", "lang"), [(ENGLISH, "en"), (KOREAN, "ko")])
def test_same_words_same_samples_whatever_was_said_before(text: str, lang: str) -> None:
    first, _ = speak(text, lang)
    with ThreadPoolExecutor(3) as pool:
        again = list(pool.map(lambda words: speak(words, lang)[0], (text, "Rain. 비가 와요.", text)))
    assert np.array_equal(first, again[0])
    assert np.array_equal(first, again[2])


def test_a_line_is_spoken_in_its_own_language() -> None:
    assert np.array_equal(speak(KOREAN, "en")[0], speak(KOREAN, "ko")[0])
    assert np.array_equal(speak(ENGLISH, "ko")[0], speak(ENGLISH, "en")[0])


@pytest.mark.parametrize("lang", ["ko", "en"])
@pytest.mark.parametrize(
    "text",
    ["3마리의 고양이와 12.5kg", "In 1999, 50% of $3!", "고양이 🐱 한 마리", "tab\there\x00\x1b[31m",
     "<b>&amp;[[x]]", "안녕 hello 안녕",
     "日本語です", "a" * 200, "가" * 200],
)  # fmt: skip
def test_odd_texts_are_spoken(text: str, lang: str) -> None:
    sound, _ = speak(text, lang)
    assert 0.2 < len(sound) / AUDIO_RATE < 60
    assert np.isfinite(sound).all()


@pytest.mark.parametrize("text", ["", "   ", "…!?", "🐱🎬", "\u200b\u202e\ufeff", "\x00\x07"])
def test_nothing_to_say_is_silence(text: str) -> None:
    sound, rate = speak(text, "ko")
    assert len(sound) == 0
    assert rate == AUDIO_RATE


def test_too_long_a_text_is_refused() -> None:
    with pytest.raises(SpecError, match=str(MAX_TEXT)):
        speak("word " * 100, "en")


def test_a_plan_that_fits_is_left_alone(tmp_path: Path) -> None:
    plan = film((4, (Line(text=ENGLISH, at=0.4),)), (2, ()))
    with Store(tmp_path).run("test", spec=plan):
        assert fit_lines(plan) == (plan, ())


@pytest.mark.parametrize(
    ("lang", "text", "said"), [("en", ENGLISH, "made the shot"), ("ko", KOREAN, "늘렸습니다")]
)
def test_a_short_shot_is_lengthened(tmp_path: Path, lang: str, text: str, said: str) -> None:
    plan = film((1.5, (Line(text=text),)), (3, ()), lang=lang)
    with Store(tmp_path).run("test", spec=plan):
        fitted, notes = fit_lines(plan)
        span = line_spans(fitted)[0]
        assert fit_lines(fitted) == (fitted, ())
    assert fitted.shots[0].seconds > 2
    assert fitted.shots[1] == plan.shots[1]
    assert fitted.shots[0].lines[0].text == text
    assert span.end + 0.29 <= fitted.starts[1]
    assert len(notes) == 1
    assert said in notes[0]
    assert fitted.notes == notes


def test_lines_that_overlap_or_start_late_are_moved(tmp_path: Path) -> None:
    plan = film(
        (
            8,
            (
                Line(text=ENGLISH, at=1),
                Line(text="Nothing moves.", at=1.5),
                Line(text="Then, spring.", at=7.8),
            ),
        )
    )
    with Store(tmp_path).run("test", spec=plan):
        fitted, notes = fit_lines(plan)
        spans = line_spans(fitted)
    assert fitted.seconds == plan.seconds
    assert len(notes) == 1
    assert all(after.start > before.end for before, after in itertools.pairwise(spans))
    assert spans[-1].end + 0.29 <= plan.seconds - plan.end_seconds


@pytest.mark.parametrize(
    ("lang", "text", "kept"),
    [
        (
            "en",
            "The old lighthouse keeper climbs the stairs, while the storm grows louder outside.",
            "The old",
        ),
        ("ko", "등대지기가 천천히 계단을 오르고, 밖에서는 폭풍이 점점 거세집니다.", "거세집니다"),
    ],
)
def test_without_room_a_line_loses_a_clause(tmp_path: Path, lang: str, text: str, kept: str) -> None:
    plan = film((4, (Line(text=text),)), lang=lang)
    with Store(tmp_path).run("test", spec=plan):
        fitted, notes = fit_lines(plan, longest=plan.seconds)
        span = line_spans(fitted)[0]
    assert fitted.seconds == plan.seconds
    assert kept in fitted.shots[0].lines[0].text
    assert len(fitted.shots[0].lines[0].text) < len(text)
    assert text in notes[0]
    assert span.end + 0.29 <= plan.seconds - plan.end_seconds


def test_a_shot_too_short_for_any_word_loses_its_line_and_says_so(tmp_path: Path) -> None:
    plan = film((1, (Line(text="Extraordinarily"),)))
    with Store(tmp_path).run("test", spec=plan):
        fitted, notes = fit_lines(plan, longest=plan.seconds)
    assert fitted.shots[0].lines == ()
    assert "Extraordinarily" in notes[0]


def test_the_stem_holds_the_speech_where_the_spans_say(tmp_path: Path) -> None:
    plan = film((4, (Line(text=ENGLISH, at=0.5), Line(text="🐱", at=3.2))), (2, ()))
    with Store(tmp_path).run("test", spec=plan):
        stem = make_voice(plan)
        sound = read(stem)
        spoken, unspoken = line_spans(plan)
        silent = make_voice(film((2, ())))
        assert not read(silent).any()
    assert sound.shape == (round(plan.seconds * AUDIO_RATE), 2)
    begin, end = round(spoken.start * AUDIO_RATE), round(spoken.end * AUDIO_RATE)
    assert not sound[: begin - 1].any()
    assert decibels(active_rms(sound[begin:end])) == pytest.approx(-23, abs=2)  # −20 dB, panned to the middle
    assert active_rms(sound[end + AUDIO_RATE // 2 :]) < 1e-4
    assert (unspoken.shot_id, unspoken.text) == ("s0", "🐱")
    assert unspoken.end - unspoken.start == pytest.approx(1.5)
