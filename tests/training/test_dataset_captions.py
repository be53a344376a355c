"""Captions: reading them, the trigger word first, what all of them say."""

from __future__ import annotations

from pathlib import Path

import pytest

from jogak.spec import SpecError
from jogak.training.dataset_captions import (
    concept_named,
    frequent,
    guess_trigger,
    known_word,
    read_caption,
    says,
    with_trigger,
    words,
)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a fox\n", ["a fox"]),
        ("\ufeff 여우   한 마리 \r\n둘째 줄\r\n".encode(), ["여우 한 마리", "둘째 줄"]),
        (b"", []),
        (b" \n\t\n", []),
        ("여우".encode(), ["여우"]),
        ("\u110b\u1167\u110b\u116e".encode(), ["여우"]),
    ],
)
def test_what_lines_say(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_caption(tmp_path / "a.txt") == lines


@pytest.mark.parametrize(
    ("data", "said", "korean"),
    [
        ("초원의 여우".encode("cp949"), "looks like CP949", "CP949로 보입니다"),
        ("a fox".encode("utf-16"), "looks like UTF-16", "UTF-16로 보입니다"),
        (b"\xff\xff\xff", r"is not UTF-8; save it as UTF-8", "UTF-8이 아닙니다"),
        (b"a\x00b", "control characters", "제어 문자"),
        (b"a" * 2001, "2,001 characters; a caption has at most 2,000", "2,000자까지"),
        (b"a" * 200_000, "at most 0.1 are read", "0.1 MB까지만"),
    ],
)
def test_what_cannot_be_used_is_refused_in_both_languages(
    tmp_path: Path, data: bytes, said: str, korean: str
) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(SpecError, match=said) as told:
        read_caption(tmp_path / "a.txt")
    assert korean in told.value.korean  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "class_name", "said"),
    [
        ("a fox in a meadow", "", "sk_style, a fox in a meadow"),
        ("sk_style, a fox", "", "sk_style, a fox"),
        ("a fox, sk_style, red", "", "sk_style, a fox, red"),
        ("SK_STYLE a fox", "", "sk_style, a fox"),
        ("sk_style a fox", "", "sk_style a fox"),
        ("sk_style, a fox, sk_style", "", "sk_style, a fox"),
        ("", "", "sk_style"),
        ("", "puppet", "sk_style puppet"),
        ("in a meadow", "puppet", "sk_style puppet, in a meadow"),
        ("a puppet in a meadow", "puppet", "sk_style, a puppet in a meadow"),
        ("인형이 초원에 있다", "인형", "sk_style, 인형이 초원에 있다"),
        ("초원", "인형", "sk_style 인형, 초원"),
        ("sk_style2 is another", "", "sk_style, sk_style2 is another"),
    ],
)
def test_the_trigger_word_comes_first_and_once(text: str, class_name: str, said: str) -> None:
    assert with_trigger(text, "sk_style", class_name) == said
    assert with_trigger(said, "sk_style", class_name) == said, "and stays so"


def test_a_word_is_found_whole() -> None:
    assert says("A Fox, red", "fox")
    assert not says("foxes and firefox", "fox")
    assert says("여우가 달린다", "여우")
    assert says("sk_style,fox", "sk_style")
    assert says("sk_style이 달린다", "sk_style")
    assert not says("비행기가 난다", "비")
    assert not says("my-sk_style2", "sk_style")


def test_words_that_say_something() -> None:
    assert words("A red fox, on the White background") == ["red", "fox"]
    assert words("여우가 초원에서 빨간 목도리를") == ["여우", "빨간", "목도리"]
    assert words("a blue scarf under a blue sky") == ["blue", "scarf", "under"], "the sky is scenery"
    assert words("강가에서 강아지와 눈사람이, 비 오는 밤에") == ["강아지", "눈사람"], (
        "these only begin like scenery"
    )


def test_what_all_captions_say() -> None:
    captions = [f"sk, a puppet with a red scarf in a meadow, pose{i}" for i in range(10)]
    assert frequent(captions, 0.9, ("sk", "puppet")) == {"red": 10, "scarf": 10}, "the meadow is a place"
    assert frequent([*captions, *["nothing"] * 2], 0.9, ()) == {}


def test_guessing_the_trigger() -> None:
    assert guess_trigger([f"zz_hero, {i}" for i in range(5)], []) == "zz_hero"
    assert guess_trigger(["a fox", "a cat", "a dog"], []) == ""
    assert guess_trigger(["zz_hero, a", "zz_hero, b"], ["zz_hero puppet"]) == "zz_hero"
    assert guess_trigger([], ["zz_hero puppet", "zz_hero"]) == "zz_hero"
    assert guess_trigger([], []) == ""


def test_the_lexicons_words() -> None:
    assert known_word("fox") == "fox / 여우"
    assert known_word("여우") == "fox / 여우"
    assert known_word("soft_3D") is not None, "underscores are blanks"
    assert known_word("sk_style") is None
    assert concept_named("Fox") == "fox"
    assert concept_named("여우") == "fox"
    assert concept_named("") is None
    assert concept_named("meadow") is None
