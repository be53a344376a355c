"""The shipped words: complete, unambiguous, in the right script, quick to load, impossible to change."""

from __future__ import annotations

import dataclasses
import itertools
import re
import time

import pytest

from jogak.models.lexicon import Group, Habitat, Kind, lexicon
from jogak.spec import SpecError

WORDS = lexicon()
NOUN_GROUPS = ("looks", "places", "times", "weathers", "colours", "sizes", "positions", "concepts")
GROUPS: tuple[Group, ...] = Group.__args__


def test_concepts_are_many_and_of_every_kind() -> None:
    assert 640 <= len(WORDS.concepts) <= 720
    kinds = [concept.kind for concept in WORDS.concepts]
    assert set(kinds) == set(Kind.__args__)
    assert min(kinds.count(kind) for kind in Kind.__args__) >= 8
    assert {concept.habitat for concept in WORDS.concepts} == set(Habitat.__args__)
    assert set(WORDS.counters) == set(Kind.__args__)
    assert sum(concept.can_act for concept in WORDS.concepts) > 200


def test_ids_are_unique() -> None:
    for group in (*GROUPS, "concepts"):
        ids = [entry.id for entry in getattr(WORDS, group)]
        assert len(ids) == len(set(ids)), group
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", id) for id in ids), group


@pytest.mark.parametrize("groups", [NOUN_GROUPS, ("actions",), ("moods",), ("counts",)], ids="-".join)
@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_word_means_one_thing(groups: tuple[str, ...], language) -> None:
    entries = itertools.chain.from_iterable(getattr(WORDS, group) for group in groups)
    words = [word.lower() for entry in entries for word in entry.words(language)]
    assert sorted({word for word in words if words.count(word) > 1}) == []


def test_concepts_are_written_in_their_script() -> None:
    for concept in WORDS.concepts:
        for word in (*concept.words("ko"), concept.counter):
            assert re.fullmatch(r"[가-힣]+( [가-힣]+)*", word), (concept.id, word)
        for word in concept.words("en"):
            assert re.fullmatch(r"[A-Za-zñé][A-Za-z0-9ñé' .-]*", word), (concept.id, word)
        assert len(concept.en_more) <= 4
        assert len(concept.ko_more) <= 4
        assert set(concept.en_bare) <= set(concept.en_more)


def test_every_concept_is_drawn_outlined_and_in_at_least_three_other_looks() -> None:
    sets = {look.icon_set for look in WORDS.looks}
    assert sets == {"noto", "fluent", "flat", "twemoji", "high_contrast"}
    assert all(set(concept.icons) <= sets and len(concept.icons) >= 4 for concept in WORDS.concepts)
    assert all("high_contrast" in concept.icons for concept in WORDS.concepts)
    assert all(all(concept.icons.values()) for concept in WORDS.concepts)
    hexcodes = [concept.hexcode for concept in WORDS.concepts]
    assert len(hexcodes) == len(set(hexcodes))


def test_the_look_that_the_shipped_base_lacks_is_the_last_that_a_cast_shares() -> None:
    """The film planner takes the first look that hero and company are drawn in: never `outlined` by itself."""
    assert WORDS.looks[-1].id == "outlined"
    drawn = {frozenset(concept.icons) for concept in WORDS.concepts}
    for one, other in itertools.combinations_with_replacement(drawn, 2):
        assert any(look.icon_set in one & other for look in WORDS.looks[:-1])


def test_groups_have_what_the_generator_and_the_planner_ask_for() -> None:
    wild = "meadow forest beach sea underwater desert snowfield mountains"
    inhabited = "city village river farm garden room space sky"
    assert [place.id for place in WORDS.places] == [*wild.split(), *inhabited.split()]
    assert [entry.id for entry in WORDS.times] == ["morning", "day", "sunset", "night"]
    assert [entry.id for entry in WORDS.weathers] == ["clear", "cloudy", "rain", "snow", "fog"]
    assert [entry.number for entry in WORDS.counts] == [1, 2, 3]
    assert (len(WORDS.looks), len(WORDS.colours), len(WORDS.moods)) == (5, 11, 7)
    assert len(WORDS.actions) >= 30
    assert all(place.en_in and place.ko_in and place.ko_of for place in WORDS.places)
    assert all(entry.en_at and entry.ko_at for entry in (*WORDS.times, *WORDS.positions))
    assert all(entry.en_in and entry.ko_in for entry in (*WORDS.weathers, *WORDS.looks, *WORDS.sizes))
    assert all(entry.en_adj and entry.ko_adj for entry in (*WORDS.actions, *WORDS.colours, *WORDS.counts))
    assert all(
        entry.rgb and len(entry.rgb) == 3 and 0 <= min(entry.rgb) <= max(entry.rgb) <= 1
        for entry in WORDS.colours
    )


@pytest.mark.parametrize(
    ("sentence", "action"),
    [
        ("여우가 숲으로 달려간다", "run"), ("곰이 걸어갑니다", "walk"), ("새가 하늘로 날아올랐다", "fly"),
        ("개구리가 뛰어올랐다", "jump"), ("아기가 잠들었다", "sleep"), ("로봇이 춤을 춘다", "dance"),
        ("토끼가 당근을 먹었다", "eat"), ("고래가 헤엄쳐 간다", "swim"), ("할머니가 손을 흔드신다", "wave"),
        ("소녀가 편지를 읽습니다", "read"), ("소년이 엉엉 울었다", "cry"), ("갑자기 비가 쏟아진다", "rain"),
    ],
)  # fmt: skip
def test_korean_stems_find_the_inflected_verb(sentence: str, action: str) -> None:
    assert any(stem in sentence for stem in WORDS.word("actions", action).ko_more)


@pytest.mark.parametrize(
    ("id", "word", "phrase"),
    [
        ("fox", "", "a fox"), ("owl", "", "an owl"), ("earth", "", "the Earth"), ("bacon", "", "bacon"),
        ("hourglass", "", "an hourglass"), ("unicorn", "", "a unicorn"), ("santa_claus", "", "Santa Claus"),
        ("bunch_of_grapes", "grapes", "grapes"), ("bunch_of_grapes", "grape", "a grape"),
        ("glass_of_milk", "milk", "milk"), ("flying_saucer", "UFO", "a UFO"), ("jeep", "SUV", "an SUV"),
        ("green_apple", "unripe apple", "an unripe apple"),
    ],
)  # fmt: skip
def test_articles(id: str, word: str, phrase: str) -> None:
    assert WORDS.concept(id).en_phrase(word) == phrase


def test_korean_counters_are_the_natural_ones() -> None:
    natural = {
        "fox": "마리",
        "girl": "명",
        "tree": "그루",
        "ship": "척",
        "car": "대",
        "rose": "송이",
        "open_book": "권",
    }
    assert {id: WORDS.concept(id).counter for id in natural} == natural


def test_an_unknown_id_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match=r'"foxx" is not a concept .* Did you mean "fox"'):
        WORDS.concept("foxx")
    with pytest.raises(SpecError, match=r'"meadov" is not a place .* Did you mean "meadow"'):
        WORDS.word("places", "meadov")


def test_nothing_can_be_changed() -> None:
    fox = WORDS.concept("fox")
    with pytest.raises(dataclasses.FrozenInstanceError):
        fox.ko = "늑대"  # type: ignore[misc]
    with pytest.raises(TypeError):
        fox.icons["noto"] = "wolf"  # type: ignore[index]
    with pytest.raises(TypeError):
        WORDS.counters["animal"] = "개"  # type: ignore[index]
    assert lexicon() is WORDS


def test_loading_is_quick() -> None:
    def load_ms() -> float:
        start = time.process_time()
        lexicon.__wrapped__()
        return 1000 * (time.process_time() - start)

    assert min(load_ms() for _ in range(5)) < 30
