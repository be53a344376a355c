"""Which take is kept, which panel is drawn again, and how it is said."""

from __future__ import annotations

import string

import numpy as np
import pytest

from jogak.adapters.poses import pose_names
from jogak.spec.sheet import Character, Panel
from jogak.studio.sheet_scores import (
    PATIENCE,
    Look,
    choose,
    fault,
    lead,
    next_panel,
    own_bar,
    subject_box,
    worth,
    worths,
)
from jogak.studio.sheet_words import POSE_WORDS, WORDS, panel_caption, panel_words

HERE = np.array([1.0, 0.0, 0.0])
REFERENCES = np.stack([HERE, [0.95, 0.3, 0.0], [0.95, 0.0, 0.3], [0.9, 0.3, 0.3]])


def look(share: float, *, lead: float = 5.0, copy: bool = False) -> Look:
    """A subject that lies at this cosine to the character."""
    return Look(np.array([share, np.sqrt(1 - share**2), 0.0]), lead, copy)


def test_the_subject_is_boxed() -> None:
    picture = np.full((120, 160, 3), (90, 160, 230), np.uint8)
    picture[40:90, 100:130] = (230, 120, 20)
    left, top, right, bottom = subject_box(picture)
    assert 90 <= left <= 108
    assert 122 <= right <= 140
    assert 30 <= top <= 50
    assert 80 <= bottom <= 100
    assert subject_box(np.zeros((30, 40, 3), np.uint8)) == (0, 0, 40, 30)


def test_the_most_alike_take_of_each_panel_is_kept() -> None:
    takes = [[look(0.3), look(0.9)], [look(0.8), look(0.5), look(0.95)], [look(0.7)]]
    assert choose(takes, REFERENCES) == (1, 2, 0)
    assert choose([[look(0.6)] * 2, [look(0.6)], [look(0.6)]], REFERENCES) == (0, 0, 0)


def test_a_copy_and_a_picture_off_its_words_come_last() -> None:
    takes = [
        [look(0.99, copy=True), look(0.4), look(0.98, lead=-1.0)],
        [look(0.99, copy=True), look(0.2, lead=-2.0)],
        [look(0.9)],
    ]
    assert choose(takes, REFERENCES) == (1, 1, 0)


def test_no_panel_alone_could_do_better() -> None:
    rng = np.random.default_rng(3)
    for trial in range(50):
        takes = [
            [Look(rng.normal(size=6), float(rng.normal()), bool(rng.random() < 0.2)) for _ in range(4)]
            for _ in range(5)
        ]
        known = rng.normal(size=(7, 6)) if trial % 2 else None
        picks = choose(takes, known)
        for panel, row in enumerate(worths(takes, picks, known)):
            ranks = [
                (not one.copy, one.lead > 0, value.consistency)
                for one, value in zip(takes[panel], row, strict=True)
            ]
            assert max(ranks) == ranks[picks[panel]]


def test_consistency_is_the_mean_of_both_cosines() -> None:
    value = worth(look(1.0), [look(0.8), look(0.6)], HERE[None])
    assert value.likeness == pytest.approx(0.7)
    assert value.identity == pytest.approx(1.0)
    assert value.consistency == pytest.approx(0.85)
    alone = worth(look(1.0), [look(0.8), look(0.6)], None)
    assert (alone.identity, alone.consistency) == (None, pytest.approx(0.7))


def test_the_bar_is_what_nine_in_ten_references_reach() -> None:
    rng = np.random.default_rng(4)
    references = HERE + 0.3 * rng.normal(size=(40, 3))
    bar = own_bar(references)
    assert bar is not None
    unit = references / np.linalg.norm(references, axis=1, keepdims=True)
    own = ((unit @ unit.T).sum(1) - 1) / 39
    assert (own >= bar).sum() == 36
    assert own_bar(references[:3]) is None
    assert own_bar(None) is None


def drawn_again(takes: list[list[Look]], bar: float, times: int) -> list[int]:
    """The panels that are drawn again, if nothing gets better by it."""
    order = []
    for _ in range(times):
        panel = next_panel(takes, REFERENCES, bar)
        if panel is None:
            break
        order.append(panel)
        takes[panel].append(look(0.0))
    return order


def test_the_worst_is_drawn_again_and_gives_way_when_nothing_helps() -> None:
    takes = [[look(0.5)], [look(0.2)], [look(0.9)]]
    order = drawn_again(takes, 0.99, 4 * PATIENCE)
    assert order == [1] * PATIENCE + [0] * PATIENCE + [2] * PATIENCE + [1] * PATIENCE
    assert drawn_again([[look(0.9)]] * 3, 0.1, 5) == []


def test_what_keeps_a_take_from_passing() -> None:
    value = worth(look(0.9), [look(0.9)], REFERENCES)
    assert fault(look(0.9), value, 0.5) == ""
    assert fault(look(0.9), value, 0.99) == "below"
    assert fault(look(0.9, lead=0.0), value, 0.5) == "off_text"
    assert fault(look(0.9, copy=True, lead=0.0), value, 0.5) == "copy"


def test_the_lead_is_over_the_other_panels_words() -> None:
    read = np.eye(3)
    assert lead(np.array([0.6, 0.2, 0.0]), read, ("a", "b", "c"), 0) == pytest.approx(50)
    assert lead(np.array([0.6, 0.2, 0.0]), read, ("a", "a", "c"), 0) == pytest.approx(60)
    assert lead(np.array([0.6, 0.2, 0.0]), read, ("a", "a", "a"), 0) == 1


# words


def test_every_pose_has_words_in_both_languages() -> None:
    assert POSE_WORDS.keys() == pose_names().keys()
    assert all(words["en"].isascii() and not words["ko"].isascii() for words in POSE_WORDS.values())


def test_every_sentence_is_there_in_both_languages_with_the_same_gaps() -> None:
    def gaps(text: str) -> set[tuple[str, str]]:
        """Named gaps by their name, the others by their format."""
        found = ((name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name is not None)
        return {(name if name.isalpha() else "", spec or "") for name, spec in found}

    assert WORDS["en"].keys() == WORDS["ko"].keys()
    for key, text in WORDS["en"].items():
        assert gaps(text) == gaps(WORDS["ko"][key]), key


WHO = Character(
    name="Hana", trigger="sks_girl", subject="a girl with red braids", look="soft 3d", references=("x",)
)


@pytest.mark.parametrize(
    ("panel", "prompt"),
    [
        (
            Panel(pose="waving", scene="in a meadow by day", expression="with a happy smile"),
            "sks_girl, a girl with red braids, waving with a happy smile, in a meadow by day, soft 3d",
        ),
        (
            Panel(pose="생각하기", scene="in a room", expression="with a calm face", extra="a lamp"),
            "sks_girl, a girl with red braids, thinking, a hand at the chin, with a calm face, in a room, a lamp, soft 3d",
        ),
        (
            Panel(pose="running", scene="바닷가에서"),
            "sks_girl, a girl with red braids, 달리는, 바닷가에서, soft 3d",
        ),
        (
            Panel(pose="map.png", action="flying", scene="over a city"),
            "sks_girl, a girl with red braids, flying, over a city, soft 3d",
        ),
    ],
)
def test_prompts(panel: Panel, prompt: str) -> None:
    written, said = panel_words(WHO, panel)
    assert written == prompt
    assert said == prompt.removeprefix("sks_girl, ")


def test_a_panel_without_a_caption_is_called_by_what_it_shows() -> None:
    assert panel_caption(Panel(pose="waving", scene="in a meadow"), "en") == "waving, in a meadow"
    assert panel_caption(Panel(pose="waving", caption={"ko": "안녕"}), "en") == "안녕"  # pyright: ignore[reportArgumentType]
