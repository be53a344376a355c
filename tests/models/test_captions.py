"""Captions: canonical sentences, variants, grammar in both languages, speed, determinism."""

from __future__ import annotations

import random
import re
import time

import pytest

from jogak.models.captions import (
    POSITION_WORDS,
    TIMELESS,
    WEATHERLESS,
    Scene,
    Subject,
    Telling,
    caption,
    josa,
)
from jogak.models.lexicon import lexicon

FOX = (Subject("fox"),)


@pytest.mark.parametrize(
    ("word", "particle", "expected"),
    [
        ("여우", "은", "여우는"), ("곰", "은", "곰은"), ("여우", "이", "여우가"), ("곰", "이", "곰이"),
        ("여우", "과", "여우와"), ("풍선", "과", "풍선과"), ("길", "으로", "길로"),
        ("바다", "으로", "바다로"), ("두 마리", "을", "두 마리를"), ("3", "이", "3이"), ("2", "이", "2가"),
        ("robot", "은", "robot는"), ("moon", "은", "moon은"), ("두두", "아", "두두야"), ("", "은", "는"),
    ],
)  # fmt: skip
def test_particles_follow_the_last_sound(word: str, particle: str, expected: str) -> None:
    assert josa(word, particle) == expected


@pytest.mark.parametrize(
    ("concept", "count", "colour", "expected"),
    [
        ("fox", 1, None, "a fox"), ("owl", 1, None, "an owl"), ("owl", 1, "red", "a red owl"),
        ("fox", 2, None, "two foxes"), ("mouse", 3, None, "three mice"),
        ("sheep", 2, "white", "two white sheep"), ("unicorn", 1, None, "a unicorn"),
        ("hourglass", 1, None, "an hourglass"), ("bacon", 1, None, "bacon"),
        ("bacon", 2, None, "two pieces of bacon"), ("paella", 2, None, "two bowls of paella"),
        ("santa_claus", 1, None, "Santa Claus"), ("santa_claus", 2, None, "two Santa Clauses"),
        ("sun", 1, None, "the sun"), ("pair_of_glasses", 2, "red", "two red pairs of glasses"),
        ("police_officer", 2, None, "two police officers"),
        ("nest_with_eggs", 2, None, "two nests with eggs"),
    ],
)  # fmt: skip
def test_english_nouns(concept: str, count: int, colour: str | None, expected: str) -> None:
    scene = Scene((Subject(concept, count, colour=colour),))
    assert caption(scene, "en") == f"{expected} on a white background"


def test_english_synonyms_keep_their_articles_and_plurals() -> None:
    texts = set()
    rng = random.Random(9)
    for concept, count in (
        ("coat", 1),
        ("loaf_of_bread", 1),
        ("loaf_of_bread", 2),
        ("seal", 2),
        ("pair_of_jeans", 1),
    ):
        texts |= {caption(Scene((Subject(concept, count),)), "en", rng) for _ in range(400)}
    plain = {text.removesuffix(" on a white background") for text in texts}
    assert {
        "an overcoat",
        "a jacket",
        "bread",
        "two loaves of bread",
        "two walruses",
        "two sea lions",
        "jeans",
    } <= plain
    assert not plain & {"a bread", "two breads", "a jeans", "two jeanses"}


@pytest.mark.parametrize(
    ("scene", "english", "korean"),
    [
        (
            Scene(FOX, "meadow", time="sunset", weather=None),
            "a fox in a meadow at dusk",
            "해 질 녘 초원의 여우",
        ),
        (
            Scene(
                (Subject("cat", 2), Subject("balloon", colour="red")),
                "beach",
                time="night",
                weather="rain",
                framing="wide",
            ),
            "wide shot of two cats and a red balloon on a beach on a rainy night",
            "비 오는 밤 해변에 있는 고양이 두 마리와 빨간 풍선, 와이드 샷",
        ),
        (Scene(FOX, background="pink"), "a fox on a pink background", "분홍색 배경의 여우"),
        (
            Scene((Subject("owl"),), "forest", time="morning", weather="fog", framing="close"),
            "close-up of an owl in a forest on a foggy morning",
            "안개 낀 아침 숲의 부엉이, 클로즈업",
        ),
        (
            Scene(
                (Subject("owl", position="left"), Subject("fox", position="right")),
                "room",
                time="night",
                weather="rain",
            ),
            "an owl on the left and a fox on the right in a room at night",
            "밤 방, 왼쪽에 부엉이, 오른쪽에 여우",
        ),
    ],
)
def test_canonical_captions(scene: Scene, english: str, korean: str) -> None:
    assert caption(scene, "en") == english
    assert caption(scene, "ko") == korean


def random_scene(rng: random.Random) -> Scene:
    words = lexicon()
    subjects = tuple(
        Subject(
            rng.choice(words.concepts).id,
            rng.randint(1, 3),
            rng.choice(("left", "middle", "right", None)),
            rng.choice([colour.id for colour in words.colours]) if rng.random() < 0.3 else None,
        )
        for _ in range(rng.choice((1, 1, 2, 3)))
    )
    return Scene(
        subjects,
        place=rng.choice([place.id for place in words.places] + [None]),
        background=rng.choice([colour.id for colour in words.colours]),
        time=rng.choice([time.id for time in words.times] + [None]),
        weather=rng.choice([weather.id for weather in words.weathers] + [None]),
        look=rng.choice([look.id for look in words.looks] + [None]),
        framing=rng.choice(("wide", "medium", "close", None)),
    )


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_captions_are_clean_sentences(lang: str) -> None:
    rng = random.Random(5)
    for _ in range(4000):
        scene = random_scene(rng)
        for text in (caption(scene, lang), caption(scene, lang, rng)):
            assert text == " ".join(text.split()), text
            assert not re.search(r"None|,,|, ,| ,|\{|\}|^,|,$", text), text
            assert len(text.split()) <= 60, text
            assert bool(re.search("[가-힣]", text)) == (lang == "ko"), text
            if lang == "en":
                assert not re.search(r"\ba [aeio]\w", text.lower()), text
                assert "a two" not in text, text


def test_every_place_time_weather_and_framing_is_said_when_there_is_no_chance() -> None:
    words = lexicon()
    for lang in ("en", "ko"):
        texts = {}
        for place in words.places:
            for hour in words.times:
                for weather in words.weathers:
                    for framing in ("wide", "medium", "close"):
                        shown_hour = None if place.id in TIMELESS else hour.id
                        shown_weather = None if place.id in WEATHERLESS else weather.id
                        scene = Scene(FOX, place.id, time=hour.id, weather=weather.id, framing=framing)
                        key = (place.id, shown_hour, shown_weather, framing)
                        texts.setdefault(caption(scene, lang), set()).add(key)
        assert all(len(keys) == 1 for keys in texts.values()), [v for v in texts.values() if len(v) > 1][:3]


def test_variants_are_many_and_the_same_for_the_same_generator() -> None:
    scene = Scene(
        (Subject("cat", 2), Subject("balloon")),
        "beach",
        time="night",
        weather="rain",
        look=lexicon().looks[0].id,
    )
    for lang in ("en", "ko"):
        first = [caption(scene, lang, rng) for rng in [random.Random(1)] for _ in range(300)]
        again = [caption(scene, lang, rng) for rng in [random.Random(1)] for _ in range(300)]
        assert first == again
        assert len(set(first)) > 150


def test_chance_leaves_parts_out_and_uses_synonyms() -> None:
    rng = random.Random(2)
    scene = Scene(FOX, "beach", time="night", weather="rain", framing="wide")
    texts = [caption(scene, "en", rng) for _ in range(3000)]
    assert 0.05 < sum("rain" not in text for text in texts) / 3000 < 0.5
    assert 0.1 < sum("night" not in text for text in texts) / 3000 < 0.5
    assert 0.3 < sum(not re.search("wide|long shot|distant|afar", text) for text in texts) / 3000 < 0.7
    rock = next(concept for concept in lexicon().concepts if concept.en_more)
    scene = Scene((Subject(rock.id),))
    usual = sum(
        re.search(rf"\b{re.escape(rock.en)}\b", caption(scene, "en", rng)) is not None for _ in range(2000)
    )
    assert 0.7 < usual / 2000 <= 0.97


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_look_and_position_are_told_as_often_as_asked(lang: str) -> None:
    scene = Scene((Subject("fox", position="left"),), "beach", look="outlined")
    words = lexicon().word("looks", "outlined")
    forms = {
        "look": (*words.words(lang), words.en_adj, words.en_in),
        "position": POSITION_WORDS[lang],
    }

    def told(part: str, telling: Telling) -> float:
        rng = random.Random(8)
        texts = [caption(scene, lang, rng, telling).lower() for _ in range(600)]
        return sum(any(form.lower() in text for form in forms[part]) for text in texts) / 600

    assert told("look", Telling(look=0.0)) == 0
    assert told("look", Telling(look=1.0)) == 1
    assert 0.42 < told("look", Telling()) < 0.58
    assert told("position", Telling(position=0.0)) == 0
    assert told("position", Telling(position=1.0)) > 0.8 > told("position", Telling()) > 0.5


def test_an_unknown_id_and_an_impossible_scene_are_refused() -> None:
    with pytest.raises(KeyError):
        caption(Scene((Subject("no_such_thing"),)), "en")
    with pytest.raises(ValueError, match="subject or a place"):
        Scene(())
    with pytest.raises(ValueError, match="1, 2 or 3"):
        Scene((Subject("fox", 4),))


def test_captions_are_fast() -> None:
    rng = random.Random(3)
    scenes = [random_scene(rng) for _ in range(200)]
    start = time.perf_counter()
    for lang in ("en", "ko"):
        for _ in range(10):
            for scene in scenes:
                caption(scene, lang, rng)
    assert 4000 / (time.perf_counter() - start) > 5000
