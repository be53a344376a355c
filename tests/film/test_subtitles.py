"""Subtitles keep their rules for any text, lose no word, and say what could not be kept."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jogak.film.subtitles import (
    HANGUL,
    LATIN,
    Cue,
    break_text,
    check_cues,
    clean,
    limits,
    make_subtitles,
    subtitle_files,
    to_srt,
    to_vtt,
)
from jogak.spec import JogakError
from jogak.spec.film import Lang
from jogak.store import Store

KOREAN = [
    *(
        "노을이",
        "지는",
        "들판에서",
        "작은",
        "여우",
        "한",
        "마리가",
        "천천히",
        "걸어가고,",
        "그래서",
        "우리는",
    ),
    *("볼", "수", "있다.", "바다는", "밤에도", "잠들지", "않는다.", "하지만", "끝!"),
    "도대체무슨일이일어났는지아무도모르는채로살았다",
]
ENGLISH = [
    *(
        "the",
        "fox",
        "stops",
        "and",
        "listens,",
        "because",
        "a",
        "wind",
        "of",
        "autumn",
        "begins.",
        "Run!",
        "I",
    ),
    *(
        "—",
        "moon;",
        "(softly)",
        "incomprehensibilities",
        "http://example.org/a/very/long/path/without/any/end",
    ),
]
sentences = st.one_of(
    st.lists(st.sampled_from(KOREAN), min_size=1, max_size=30).map(" ".join),
    st.lists(st.sampled_from(ENGLISH), min_size=1, max_size=30).map(" ".join),
    st.text(max_size=120),
)
langs = st.sampled_from(["ko", "en"])


def words(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=150, deadline=None)
@given(sentences, langs)
def test_breaking_keeps_every_word_and_every_limit(text: str, lang: Lang) -> None:
    parts = break_text(text, lang)
    assert words("".join(parts)) == words(clean(text))
    for part in parts:
        lines = part.split("\n")
        assert len(lines) <= 2
        assert all(0 < len(line) <= limits(text, lang).line for line in lines)


@settings(max_examples=100, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=4), langs)
def test_with_room_every_rule_holds(texts: list[str], lang: Lang) -> None:
    at, spans = 0.4, []
    for text in texts:
        spans.append((at, at + 1, text))
        at += 1 + len(text) / 5 + 3 * len(text.split())
    made = make_subtitles(spans, lang, at)
    assert check_cues(made.cues, lang) == []
    assert made.notes == ()
    assert words("".join(cue.text for cue in made.cues)) == words("".join(clean(text) for text in texts))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-2, 32, allow_nan=False), st.floats(0, 8, allow_nan=False), sentences), max_size=8
    ),
    langs,
)
def test_without_room_only_the_reading_rate_gives_and_it_is_said(
    raw: list[tuple[float, float, str]], lang: Lang
) -> None:
    spans = [(start, start + length, text) for start, length, text in raw]
    if 22 * sum(len(break_text(text, lang)) for _, _, text in spans) - 2 > 30 * 24:
        with pytest.raises(JogakError, match="take out some lines"):
            make_subtitles(spans, lang, 30)
        return
    made = make_subtitles(spans, lang, 30)
    problems = check_cues(made.cues, lang)
    assert all("characters a second" in problem for problem in problems)
    fast = [note for note in made.notes if "characters a second" in note or "초당" in note]
    assert len(fast) == len(problems)
    assert all(cue.end <= 30 for cue in made.cues)


@given(
    st.lists(
        st.tuples(st.integers(0, 40_000), st.integers(1, 9000), st.text(min_size=1, max_size=60)), max_size=6
    )
)
def test_files_read_back_as_the_same_cues(raw: list[tuple[int, int, str]]) -> None:
    cues = [
        Cue(start=at / 1000, end=(at + length) / 1000, text=clean(text))
        for at, length, text in raw
        if clean(text)
    ]
    head, _, body = to_vtt(cues).partition("\n\n")
    assert head.rstrip("\n") == "WEBVTT"
    read = [block.split("\n", 2) for block in body.split("\n\n") if block.strip()]
    assert [html.unescape(block[2]).rstrip("\n") for block in read] == [cue.text for cue in cues]
    assert all("-->" not in block[2] and "<" not in block[2] for block in read)
    blocks = [block.split("\n", 2) for block in to_srt(cues).split("\n\n") if block.strip()]
    assert [block[0] for block in blocks] == [str(number + 1) for number in range(len(cues))]
    for block, cue in zip(blocks, cues, strict=True):
        found = re.fullmatch(r"(\d\d):(\d\d):(\d\d),(\d{3}) --> (\d\d):(\d\d):(\d\d),(\d{3})", block[1])
        assert found
        hours, minutes, seconds, ms, *_ = map(int, found.groups())
        assert hours * 3600 + minutes * 60 + seconds + ms / 1000 == pytest.approx(cue.start, abs=1e-6)
        assert "-->" not in block[2]
        assert "<" not in block[2]


def test_a_korean_sentence_breaks_between_its_phrases() -> None:
    made = make_subtitles(
        [(8, 10, "바다는 밤에도 잠들지 않는다, 그래서 우리는 계속 노래할 수 있다.")], "ko", 20
    )
    assert [cue.text for cue in made.cues] == [
        "바다는 밤에도 잠들지 않는다,",
        "그래서 우리는 계속\n노래할 수 있다.",
    ]


def test_an_english_sentence_breaks_between_its_phrases() -> None:
    text = (
        "At the edge of the meadow a small fox stops and listens, because the wind has begun to carry the "
        "smell of rain across the hills."
    )
    made = make_subtitles([(2, 9, text)], "en", 20)
    assert [cue.text for cue in made.cues] == [
        "At the edge of the meadow\na small fox stops and listens,",
        "because the wind has begun to carry\nthe smell of rain across the hills.",
    ]
    assert made.cues[0].start == pytest.approx(2, abs=0.001)
    assert made.cues[-1].end == pytest.approx(9, abs=0.1)


def test_a_crowded_line_is_named_in_the_film_language() -> None:
    spans = [(1.0, 1.9, "여우는 아무 말도 없이 바다를 오래 바라보았다"), (2.0, 3.0, "그리고 갔다")]
    made = make_subtitles(spans, "ko", 20)
    assert any("여우는 아무" in note and "초당" in note for note in made.notes)
    assert any("characters a second" in problem for problem in check_cues(made.cues, "ko"))


def test_a_hangul_line_in_an_english_film_keeps_the_hangul_limits() -> None:
    assert limits("안녕, fox", "en") == HANGUL
    assert limits("fox", "en") == LATIN


@pytest.mark.parametrize(
    ("cue", "said"),
    [
        (Cue(start=1, end=1.5, text="short"), "stays 0.5 s"),
        (Cue(start=1, end=9, text="long"), "stays 8.0 s"),
        (Cue(start=1, end=3, text="x" * 43), "line of 43"),
        (Cue(start=1, end=3, text="가" * 17), "line of 17"),
        (Cue(start=1, end=3, text="a\nb\nc"), "3 lines"),
        (Cue(start=1, end=3, text="a\n"), "empty line"),
        (Cue(start=1, end=3, text="a\x07b"), "control character"),
        (Cue(start=1, end=2, text="가" * 13), "characters a second"),
    ],
)
def test_the_check_sees_each_broken_rule(cue: Cue, said: str) -> None:
    assert any(said in problem for problem in check_cues([cue], "en"))


def test_the_check_sees_cues_too_near() -> None:
    cues = [Cue(start=1, end=2, text="a"), Cue(start=2.05, end=3, text="b")]
    assert check_cues(cues, "en") == ["cue 2 follows after 0.050 s, at least 2 frames"]


def test_markup_and_control_characters_cannot_get_through() -> None:
    made = make_subtitles([(0, 4, "Run --> <b>now</b> & \x07\u202enever {\\an8} stop\r\n\r\n2")], "en", 10)
    assert made.cues[0].text.replace("\n", " ") == "Run --> <b>now</b> & never {\\an8} stop 2"
    assert "Run → ‹b>now‹/b> & never (\\an8} stop 2" in to_srt(made.cues).replace("stop\n2", "stop 2")
    assert "--&gt; &lt;b&gt;now&lt;/b&gt; &amp; never" in to_vtt(made.cues)


def test_both_files_are_kept_in_the_store(tmp_path: Path) -> None:
    made = make_subtitles([(1, 3, "안녕, 바다야.")], "ko", 10)
    with Store(tmp_path).run("film"):
        srt, vtt = subtitle_files(made)
        assert subtitle_files(made) == (srt, vtt)
    assert srt.path.read_text("utf-8") == "1\n00:00:01,000 --> 00:00:03,000\n안녕, 바다야.\n"
    assert vtt.path.read_text("utf-8") == "WEBVTT\n\n1\n00:00:01.000 --> 00:00:03.000\n안녕, 바다야.\n"
