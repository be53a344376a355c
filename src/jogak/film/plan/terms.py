"""What a reader finds in a brief: words with their sense, and the parts of a story that they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jogak.models.lexicon import Lexicon, Word

Role = Literal["subject", "object", "with", "setting", ""]
"""A thing's part in its sentence; empty where the sentence does not tell."""
THINGS = frozenset({"concept", "near_concept"})
"""Groups of words for what can be drawn; a near one is drawn as something else."""
NOUNS = THINGS | {"place", "near_place", "time", "weather", "look", "colour"}
SCENERY = frozenset({"building", "nature", "furniture", "sky"})
"""Kinds of concept that a story plays among, not about."""


class Sense(NamedTuple):
    """What a word means: a group of the lexicon (or a near_ group) and an id in it."""

    group: str
    id: str
    verb: str = ""
    """Of an English action: the plain form of the verb that the brief uses."""


class Hit(NamedTuple):
    """A word found in a brief."""

    start: int
    end: int
    """End of the word itself."""
    stop: int
    """End of the word with its particles."""
    sense: Sense

    def particles(self, text: str) -> str:
        return text[self.end : self.stop]


@dataclass(frozen=True)
class Mention:
    """One thing the brief names: which concept, in which words, how many, and its part in the sentence."""

    concept: str
    words: str
    """As a narrator says it, with what describes it: "작은 여우", "little fox"."""
    bare: str = ""
    """The same without what describes it: "여우", "fox"."""
    count: int = 1
    colour: str | None = None
    role: Role = ""
    name: str = ""
    start: int = 0
    exact: bool = True
    """False when pocket does not know the thing and this is what stands in for it."""


@dataclass(frozen=True)
class Act:
    """Something that is done, with the words of the brief around it."""

    id: str
    phrase: str = ""
    """To what, where to, with whom: "바다로", "빨간 풍선을", "the red balloon", "for a lost sock"."""
    wished: bool = False
    verb: str = ""
    """The brief's own English verb in its plain form, where it is not the action's name."""


def groups(words: Lexicon) -> Iterable[tuple[str, tuple[Word, ...]]]:
    """The lexicon's groups that a brief is searched for, besides its concepts."""
    return (
        ("place", words.places), ("time", words.times), ("weather", words.weathers), ("look", words.looks),
        ("colour", words.colours), ("action", words.actions), ("mood", words.moods),
    )  # fmt: skip
