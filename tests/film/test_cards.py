"""Cards begin and end where the film does, fit their words, and never show a box for a letter."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import cv2
import numpy as np
import pytest

from jogak.film import cards
from jogak.film.cards import card_notes, end_card, fit, printable, subtitle_words, title_card
from jogak.spec import FilmPlan, JogakError, Shot


def plan(title: str, lang: str = "ko", model: str = "pocket") -> FilmPlan:
    shot = Shot(id="s1", prompt="a fox")
    return FilmPlan.parse(
        {"title": title, "brief": "x", "lang": lang, "model": model, "shots": [shot.model_dump()]}
    )


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    small = np.random.default_rng(0).integers(40, 220, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (1280, 720), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("frames", [24, 48])
def test_the_title_card_comes_from_black_and_ends_in_the_first_picture(
    picture: np.ndarray, frames: int
) -> None:
    made = list(title_card(plan("노을 여우"), picture, frames))
    assert len(made) == frames
    assert all(frame.shape == (720, 1280, 3) and frame.dtype == np.uint8 for frame in made)
    assert made[0].mean() < 0.15 * picture.mean()
    assert np.abs(made[-1].astype(int) - picture).mean() < 3
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(made)]
    assert max(steps) < 20  # nothing jumps


@pytest.mark.parametrize("frames", [24, 36])
def test_the_end_card_leaves_the_last_picture_and_ends_in_black(picture: np.ndarray, frames: int) -> None:
    made = list(end_card(plan("노을 여우"), picture, frames))
    assert len(made) == frames
    assert np.abs(made[0].astype(int) - picture).mean() < 3
    assert made[-1].max() <= 1
    middle = made[round(frames * 0.6)]
    assert (middle > 200).any()  # the words are there


def test_the_title_is_there_while_the_card_stands(picture: np.ndarray) -> None:
    worded = list(title_card(plan("노을 여우"), picture, 48))[24]
    other = list(title_card(plan("밤바다"), picture, 48))[24]
    rows = np.flatnonzero(np.abs(worded.astype(int) - other).max(axis=(1, 2)) > 40)
    assert rows.size
    assert rows.min() > 200
    assert rows.max() < 480


def test_the_same_plan_gives_the_same_card(picture: np.ndarray) -> None:
    first, again = (list(title_card(plan("노을"), picture, 24)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("title", "drawn", "lost"),
    [
        ("노을 여우", "노을 여우", ""),
        (unicodedata.normalize("NFD", "노을 여우"), "노을 여우", ""),
        ("여우 🦊✨ 달", "여우 달", "🦊✨"),
        ("漢字 Café", "漢字 Café", ""),
        ("𝓐bc ﬁn", "Abc fin", ""),
        ("ليل", "", "ليل"),
        ("a\u200b\x07\u202eb\tc", "ab c", ""),
    ],
)
def test_only_letters_the_font_has_are_drawn(title: str, drawn: str, lost: str) -> None:
    assert printable(title) == (drawn, lost)


def test_lost_letters_are_told_in_the_film_language() -> None:
    assert card_notes(plan("여우")) == ()
    assert "🦊" in card_notes(plan("여우 🦊"))[0]
    assert "글꼴" in card_notes(plan("여우 🦊"))[0]
    assert "font" in card_notes(plan("fox 🦊", "en"))[0]


@pytest.mark.parametrize(
    "title", ["🦊🦊", "W" * 60, "가" * 60, "가나다 " * 15, "a", "긴 밤의 여우가 달을 보며 부르는 노래"]
)
def test_any_title_makes_a_card(picture: np.ndarray, title: str) -> None:
    for card in (title_card, end_card):
        assert (list(card(plan(title), picture, 24))[12] > 200).any()


@pytest.mark.parametrize(
    "title", ["W" * 60, "가" * 60, "a", "긴 밤의 여우가 달을 보며 부르는 노래", "가나다 " * 30]
)
def test_words_fit_the_width(title: str) -> None:
    lines, font = fit(title, "ExtraBold", largest=92, smallest=30)
    assert 1 <= len(lines) <= 2
    assert all(font.getlength(line) <= cards.TEXT_WIDTH for line in lines)


def test_a_model_folder_goes_by_its_name() -> None:
    assert cards._credit(plan("x", model="/home/someone/models/my-model")) == "Drawn by my-model · Jogak 조각"


def test_subtitles_stand_at_the_foot() -> None:
    words = subtitle_words("안녕, 바다야.\n잘 있었니?")
    assert words is not None
    assert words.top > 520
    assert words.top + words.cover.shape[0] <= 720
    assert subtitle_words("🦊") is None


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(JogakError, match="1280x720"):
        next(title_card(plan("x"), np.zeros((180, 320, 3), np.uint8), 24))
