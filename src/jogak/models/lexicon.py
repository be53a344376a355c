"""The words pocket knows: what it can draw, where, when, in which look, in English and in Korean.

The data is `pocket_lexicon.json` beside this file; `pocket/data/curate.py` checks it. The training captions,
the prompts and the film planner all take their words from here, so that a picture is asked for as it was
taught.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from jogak.spec import SpecError

LEXICON_FILE = Path(__file__).with_name("pocket_lexicon.json")

STARTS_WITH_A_VOWEL = re.compile(r"hour|SUV|(?!uni[^n]|UFO|one)[aeiou]", re.IGNORECASE)
"""By sound, among the words of the lexicon."""

Language = Literal["en", "ko"]
Article = Literal["a", "an", "the", ""]
Kind = Literal[
    "person",
    "fantasy",
    "animal",
    "bird",
    "fish",
    "insect",
    "plant",
    "vehicle",
    "building",
    "nature",
    "sky",
    "food",
    "tool",
    "instrument",
    "furniture",
    "clothes",
    "toy",
    "sport",
    "object",
]
Habitat = Literal["ground", "sky", "water", "indoor", "any"]
Group = Literal[
    "looks", "places", "times", "weathers", "colours", "sizes", "positions", "counts", "actions", "moods"
]


@dataclass(frozen=True, slots=True)
class Word:
    """A look, place, time, weather, colour, size, position, count, action or mood.

    `en` and `ko` are the main words; `en_more` and `ko_more` are others that mean the same. In actions and
    moods these are what to look for in a sentence: inflected forms in English, stems that inflected Korean
    begins with ("달려" for "달려간다"). A colour's Korean words stand before a noun ("빨간"). The phrases are
    ready to use, and empty where a group has none: `en_in` "in a meadow", `ko_in` "초원에서", `ko_of`
    "초원의", `en_at` "at sunset", `ko_at` "해 질 녘에"; before a noun `en_adj` "running", `ko_adj` "달리는".
    """

    id: str
    en: str
    ko: str
    en_more: tuple[str, ...] = ()
    ko_more: tuple[str, ...] = ()
    en_in: str = ""
    ko_in: str = ""
    ko_of: str = ""
    en_at: str = ""
    ko_at: str = ""
    en_adj: str = ""
    ko_adj: str = ""
    icon_set: str = ""
    """Of a look: the key of the drawings it was taught with, in `Concept.icons`."""
    number: int = 0
    """Of a count: how many."""
    rgb: tuple[float, float, float] | None = None
    """Of a colour: red, green, blue in sRGB, 0 to 1."""

    def words(self, language: Language) -> tuple[str, ...]:
        """Every word for it in one language, the main one first."""
        return (self.en, *self.en_more) if language == "en" else (self.ko, *self.ko_more)


@dataclass(frozen=True, slots=True)
class Concept:
    """A being or thing that pocket can draw."""

    id: str
    en: str
    """A singular noun phrase without its article."""
    ko: str
    en_more: tuple[str, ...]
    ko_more: tuple[str, ...]
    en_bare: tuple[str, ...]
    """Those of `en_more` that take no article: plurals, substances and names ("grapes", "Dracula")."""
    article: Article
    """Empty where English uses none ("bacon", "Santa Claus")."""
    en_plural: str
    """Empty where it has none."""
    counter: str
    """The Korean counter: 마리 in "여우 두 마리"."""
    kind: Kind
    habitat: Habitat
    """Where it stands naturally."""
    can_act: bool
    """Whether it can be a film's hero."""
    hexcode: str
    """The Unicode code points of the drawing, as in the sources."""
    icons: Mapping[str, str] = field(compare=False)
    """Icon set (noto, fluent, flat, twemoji, high_contrast) → the drawing's name there; absent where it has
    none."""

    def words(self, language: Language) -> tuple[str, ...]:
        """Every word for it in one language, the main one first."""
        return (self.en, *self.en_more) if language == "en" else (self.ko, *self.ko_more)

    def en_phrase(self, word: str = "") -> str:
        """The main word, or one of `en_more`, with its article: "a fox", "the Earth", "bacon", "grapes"."""
        if word and word != self.en:
            article = "" if word in self.en_bare else "an" if STARTS_WITH_A_VOWEL.match(word) else "a"
        else:
            word, article = self.en, self.article
        return f"{article} {word}".lstrip()


@dataclass(frozen=True)
class Lexicon:
    """All words. No word belongs to two concepts, nor to a concept and a look, place, time, weather, colour,
    size or position."""

    counters: Mapping[str, str]
    """Kind → the usual Korean counter of that kind; `Concept.counter` is the exact one."""
    looks: tuple[Word, ...]
    """The first that a film's whole cast is drawn in is its look; `outlined`, which the shipped base was not
    trained on, is last, so that it is drawn only where it is asked for by name."""
    places: tuple[Word, ...]
    times: tuple[Word, ...]
    weathers: tuple[Word, ...]
    colours: tuple[Word, ...]
    sizes: tuple[Word, ...]
    positions: tuple[Word, ...]
    counts: tuple[Word, ...]
    actions: tuple[Word, ...]
    moods: tuple[Word, ...]
    concepts: tuple[Concept, ...]

    @cached_property
    def _concepts(self) -> dict[str, Concept]:
        return {concept.id: concept for concept in self.concepts}

    def concept(self, id: str) -> Concept:
        """The concept of that id. Raises `SpecError`, naming the nearest, when there is none."""
        found = self._concepts.get(id)
        if found is None:
            raise SpecError(_unknown("concept", id, self._concepts))
        return found

    def word(self, group: Group, id: str) -> Word:
        """The word of an id in a group: `word("places", "meadow")`. Raises `SpecError` when there is none."""
        words: tuple[Word, ...] = getattr(self, group)
        for word in words:
            if word.id == id:
                return word
        raise SpecError(_unknown(group.removesuffix("s"), id, [word.id for word in words]))


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The shipped lexicon, read once in a process."""
    return read_lexicon(json.loads(LEXICON_FILE.read_text(encoding="utf-8")))


def read_lexicon(data: Mapping[str, Any]) -> Lexicon:
    """A lexicon from the file's plain data."""
    groups = {group: tuple(_word(row) for row in data[group]) for group in Group.__args__}
    return Lexicon(
        counters=MappingProxyType(data["counters"]),
        concepts=tuple(_concept(row) for row in data["concepts"]),
        **groups,
    )


def _word(row: Mapping[str, Any]) -> Word:
    return Word(**_frozen(row))


def _concept(row: Mapping[str, Any]) -> Concept:
    return Concept(**{**_frozen(row), "icons": MappingProxyType(row["icons"])})


def _frozen(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def _unknown(what: str, id: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(id, known, n=1, cutoff=0.5)
    hint = f'Did you mean "{near[0]}"?' if near else f"Known are {', '.join(known[:12])} …"
    return f'"{id}" is not a {what} that pocket knows. {hint}'
