"""Plans by rules: valid, as long as asked, with lines that fit, the same for one seed, and always a plan."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jogak.film.instruments import find
from jogak.film.plan import lines_en, lines_ko, make_plan
from jogak.film.plan import words as w
from jogak.film.plan.grammar import fit_seconds, shot_seed
from jogak.film.plan.verbs import VERBS
from jogak.film.plan.write import speech_seconds
from jogak.models.lexicon import lexicon
from jogak.spec import FilmBrief, FilmPlan, SpecError

BRIEFS = [
    "노을 지는 초원에서 빨간 풍선을 쫓는 여우",
    "비 오는 밤, 외로운 로봇이 바다로 여행을 떠난다. 피아노 음악.",
    "하늘을 날고 싶은 펭귄이 비행기를 만든다",
    "두두라는 여우가 잃어버린 모자를 찾는다",
    "비가 그치고 무지개가 뜬 마을의 강아지",
    "용과 싸우는 공주",
    "아기 펭귄 세 마리가 눈밭에서 춤춘다",
    "달에 가고 싶은 토끼가 로켓을 만든다. 신비로운 오르골 음악",
    "A lonely robot walks through the rain and finds a red flower.",
    "a fox named Dudu dreams of flying to the moon",
    "Two cats dance in the kitchen at night, jazz",
    "Three little pigs build a house",
    "A brave knight fights a dragon near a castle. Epic music with drums.",
    "From the forest to the sea, a turtle travels",
    "🦊🌊",
    "夕焼けの草原を走る狐",
]


def check(plan: FilmPlan, brief: FilmBrief) -> None:
    """What every plan by rules keeps."""
    assert FilmPlan.parse(plan.model_dump(mode="json")) == plan
    assert abs(plan.seconds - brief.seconds) <= 0.1
    assert 4 <= len(plan.shots) <= 7
    assert (plan.shots[0].size, plan.shots[-1].size) == ("wide", "closing")
    assert {"close", "action"} <= {shot.size for shot in plan.shots}
    assert plan.brief == brief.text
    assert 0 < len(plan.title) <= 60
    for instrument in plan.music.instruments:
        find(instrument)
    for shot in plan.shots:
        assert len(shot.prompt.split()) <= 60
        assert shot.light
        assert len(shot.lines) <= 1
        for line in shot.lines:
            assert speech_seconds(line.text, plan.lang) <= shot.seconds - 0.8 + 1e-6
            assert bool(re.search("[가-힣]", line.text)) == (plan.lang == "ko"), line.text
            assert not re.search(r"[{}]|  |\bNone\b", line.text), line.text


@pytest.mark.parametrize("text", BRIEFS)
@pytest.mark.parametrize("seconds", [15, 17.3, 20, 24, 30])
def test_plans_keep_their_promises(text: str, seconds: float) -> None:
    for seed in range(6):
        brief = FilmBrief(text=text, seconds=seconds, seed=seed)
        check(make_plan(brief), brief)


@pytest.mark.parametrize("text", BRIEFS)
def test_the_hero_is_in_every_shot_by_one_name_and_in_one_look(text: str) -> None:
    plan = make_plan(FilmBrief(text=text, seconds=30, seed=1))
    words = lexicon()

    def in_every_shot(names: list[str]) -> list[str]:
        return [name for name in names if all(name in shot.prompt for shot in plan.shots)]

    assert in_every_shot([concept.ko if plan.lang == "ko" else concept.en for concept in words.concepts])
    assert in_every_shot([look.ko if plan.lang == "ko" else look.en for look in words.looks])


@pytest.mark.parametrize(
    ("text", "word"),
    [("선화로 그린 여우가 숲을 걷는다", "선화"), ("a fox in line art walks in a forest", "outlined")],
)
def test_line_art_is_drawn_when_it_is_asked_for_and_only_then(text: str, word: str) -> None:
    assert all(word in shot.prompt for shot in make_plan(FilmBrief(text=text, seed=1)).shots)
    words = lexicon().word("looks", "outlined")
    for brief in BRIEFS:
        prompts = " ".join(shot.prompt for shot in make_plan(FilmBrief(text=brief, seed=1)).shots)
        assert not any(said in prompts for said in (*words.words("en"), *words.words("ko")))


def test_the_same_brief_and_seed_give_the_same_plan_and_another_seed_another() -> None:
    for text in BRIEFS[:12]:
        plans = [make_plan(FilmBrief(text=text, seed=seed)) for seed in range(12)]
        assert plans == [make_plan(FilmBrief(text=text, seed=seed)) for seed in range(12)]
        spoken = {tuple(line.text for shot in plan.shots for line in shot.lines) for plan in plans}
        assert len(spoken) >= 9
        assert len({plan.shots[0].seed for plan in plans}) == 12


def test_length_decides_how_many_shots() -> None:
    counts = {s: len(make_plan(FilmBrief(text=BRIEFS[0], seconds=s)).shots) for s in (15, 20, 25, 30)}
    assert counts == {15: 4, 20: 5, 25: 6, 30: 7}


def test_most_shots_are_told() -> None:
    for text in BRIEFS:
        for seconds in (15, 20, 30):
            plan = make_plan(FilmBrief(text=text, seconds=seconds, seed=3))
            assert sum(not shot.lines for shot in plan.shots) <= 1, (text, seconds)


def test_the_language_is_that_of_the_brief_unless_told() -> None:
    assert make_plan(FilmBrief(text="노을 지는 초원의 여우")).lang == "ko"
    assert make_plan(FilmBrief(text="a fox at sunset")).lang == "en"
    korean = make_plan(FilmBrief(text="a lonely fox named Dudu at sunset in the park", lang="ko", seed=2))
    check(korean, FilmBrief(text="a lonely fox named Dudu at sunset in the park", lang="ko", seed=2))
    assert "여우" in korean.shots[0].prompt
    english = make_plan(FilmBrief(text="노을 지는 공원의 외로운 여우", lang="en"))
    assert "fox in a garden" in english.shots[1].prompt


def test_the_story_follows_the_brief() -> None:
    plan = make_plan(FilmBrief(text="비 오는 밤, 외로운 로봇이 바다로 여행을 떠난다. 피아노 음악.", seed=0))
    assert plan.music.instruments == ("piano",)
    assert plan.music.mood == "sad"
    assert all("비 오는 밤" in shot.prompt and "로봇" in shot.prompt for shot in plan.shots)
    assert "도시" in plan.shots[0].prompt
    assert "바다" in plan.shots[-1].prompt or "해변" in plan.shots[-1].prompt
    assert all("rain" in {event.kind for event in shot.events} for shot in plan.shots)
    assert "waves" in {event.kind for event in plan.shots[-1].events}
    dog = make_plan(FilmBrief(text="a dog runs in the park", seed=0))
    assert "bark" in {event.kind for shot in dog.shots for event in shot.events}
    clear = make_plan(FilmBrief(text="비가 그치고 무지개가 뜬 마을의 강아지", seconds=30))
    assert "무지개" not in clear.shots[3].prompt
    assert "무지개" in clear.shots[-1].prompt
    assert "rain" not in {event.kind for event in clear.shots[-1].events}


def test_music_wishes_come_before_the_mood() -> None:
    plan = make_plan(FilmBrief(text="a sad clown, fast jazz with no drums, in F minor"))
    assert plan.music.key == "F minor"
    assert not plan.music.drums
    assert "clarinet" in plan.music.instruments
    assert make_plan(FilmBrief(text="바이올린을 켜는 곰")).music.instruments[0] == "violin"
    assert make_plan(FilmBrief(text="빠른 드럼, 달리는 말")).music.tempo >= 120
    assert make_plan(FilmBrief(text="72 bpm piano music for a cat")).music.tempo == 72


def test_what_was_assumed_is_said_in_the_plans_language() -> None:
    assert any("장소" in note for note in make_plan(FilmBrief(text="여우가 달린다")).notes)
    assert any("hero" in note for note in make_plan(FilmBrief(text="at night in the forest")).notes)
    assert any("openai" in note for note in make_plan(FilmBrief(text="夕焼けの草原を走る狐")).notes)
    assert make_plan(FilmBrief(text="노을 지는 초원의 여우")).notes == ()


@given(text=st.text(min_size=1, max_size=300), seconds=st.floats(15, 30), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
@example(text="여우" * 900, seconds=20.0, seed=0)
@example(text="a " * 999, seconds=15.0, seed=0)
@example(text="{hero} %s {0} \\n", seconds=15.0, seed=0)
@example(text="고양이 99999999999마리", seconds=15.0, seed=0)
@example(text="여우 ٣마리 ²³ 마리", seconds=15.0, seed=0)
@example(text="👨‍👩‍👧‍👦🏳️‍🌈", seconds=15.0, seed=0)
def test_any_text_is_a_plan_or_a_sentence_that_says_why_not(text: str, seconds: float, seed: int) -> None:
    brief = FilmBrief(text=text, seconds=seconds, seed=seed)
    started = time.perf_counter()
    try:
        plan = make_plan(brief)
    except SpecError as error:
        problem = str(error)
    else:
        problem = ""
        check(plan, brief)
    assert "\n" not in problem
    assert time.perf_counter() - started < 2.0  # 0.2 s on an idle machine


_WORDS = st.lists(
    st.sampled_from(
        [word for concept in lexicon().concepts for lang in ("ko", "en") for word in concept.words(lang)]
        + [word for group in (lexicon().places, lexicon().times, lexicon().weathers, lexicon().actions)
           for entry in group for lang in ("ko", "en") for word in entry.words(lang)]
        + ["를", "이", "가", "에서", "바다로 떠나", "고 싶은", "the", "a", "wants to", "and", "three"]
    ),
    min_size=1, max_size=14,
)  # fmt: skip


@given(words=_WORDS, glue=st.sampled_from([" ", "", "를 ", " the "]), seconds=st.floats(15, 30))
@settings(max_examples=150, deadline=None)
def test_any_words_of_the_lexicon_make_a_plan(words: list[str], glue: str, seconds: float) -> None:
    text = glue.join(words)[:2000]
    if not text.strip():
        return
    brief = FilmBrief(text=text, seconds=seconds)
    check(make_plan(brief), brief)


def test_too_long_a_brief_is_refused_by_the_specification() -> None:
    with pytest.raises(SpecError, match="text"):
        FilmBrief.parse({"text": "여우" * 50_000})


def test_planning_is_fast() -> None:
    make_plan(FilmBrief(text="a fox"))
    started = time.perf_counter()
    for text in BRIEFS:
        make_plan(FilmBrief(text=text, seconds=30))
    assert (time.perf_counter() - started) / len(BRIEFS) < 0.2


def test_lengths_fill_the_room_in_quarters() -> None:
    assert fit_seconds([1, 1, 2], 8) == (2, 2, 4)
    assert sum(fit_seconds([1, 1.3, 2], 8.13)) == pytest.approx(8.13)
    assert fit_seconds([1, 1], 6, least=[4, 1]) == (4, 2)
    with pytest.raises(ValueError, match="need"):
        fit_seconds([1, 1], 3, least=[2, 2])


def test_shot_seeds_are_their_own() -> None:
    seeds = {shot_seed(film, shot) for film in range(50) for shot in range(7)}
    assert len(seeds) == 350
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_tables_point_at_what_exists_and_add_what_is_new() -> None:
    words = lexicon()
    ids = {concept.id for concept in words.concepts}
    places = {place.id for place in words.places}
    assert {*w.NEAR_KO.values(), *w.NEAR_EN.values()} <= ids
    assert {*w.PLACES_KO.values(), *w.PLACES_EN.values(), *w.EMOJI_PLACES.values()} <= places
    assert {action.id for action in words.actions} - {"rain"} <= set(VERBS)
    assert {*w.ACTIONS_KO.values(), *w.ACTIONS_EN.values(), *w.EMOJI_ACTIONS.values()} - {""} <= set(VERBS)
    known = {
        word.lower() for concept in words.concepts for lang in ("ko", "en") for word in concept.words(lang)
    }
    known |= {word.lower() for place in words.places for lang in ("ko", "en") for word in place.words(lang)}
    assert not known & {*w.NEAR_KO, *w.NEAR_EN, *w.PLACES_KO, *w.PLACES_EN}


@pytest.mark.parametrize("lines", [lines_ko.LINES, lines_en.LINES])
def test_every_part_of_the_story_can_be_told_in_every_mood(
    lines: dict[str, tuple[tuple[str, str], ...]],
) -> None:
    moods = {"calm", "happy", "sad", "tense", "epic", "mysterious", "playful"}
    for part in ("wish", "turn", "close"):
        assert moods <= {tags for tags, _ in lines[part]}
    for part, rows in lines.items():
        assert len(rows) == len(set(rows)), part
