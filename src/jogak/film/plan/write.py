"""Words for a film: its title and its narrator's lines, in Korean or English, that fit their shots.

Every shot has a part in the story (place, hero, wish, deed, turn, end). The lines that `lines_ko` and
`lines_en` offer for it are kept when their tags hold and their blanks can be filled, and one is drawn, a
particular one more likely. Speech is counted in Hangul syllables and English words; a line that needs more
time than its shot can have is no candidate.
"""

from __future__ import annotations

import math
import random
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jogak.film.plan import lines_en, lines_ko
from jogak.film.plan.grammar import Beat, Story, fit_seconds
from jogak.film.plan.read import Act, Mention
from jogak.film.plan.verbs import VERBS
from jogak.models.captions import TIMELESS, WEATHERLESS, josa, plural
from jogak.models.lexicon import lexicon
from jogak.spec.film import Lang

SYLLABLES_A_SECOND, WORDS_A_SECOND = 4.5, 2.3
QUIET = 0.8
"""Seconds of a shot without speech: before the line and after it."""
SHORTEST = 2.0
MAX_TITLE = 40


def speech_seconds(text: str, lang: Lang) -> float:
    """How long a narrator needs for a line: 4.5 Hangul syllables or 2.3 English words a second."""
    if lang == "ko":
        return sum("가" <= c <= "힣" or c.isdigit() for c in text) / SYLLABLES_A_SECOND
    return len(text.split()) / WORDS_A_SECOND


@dataclass(frozen=True)
class Told:
    """A beat's line (empty when nobody speaks) and its length."""

    line: str
    seconds: float


class _Offer(NamedTuple):
    """A line that a beat may have, and how much it is wanted; the empty line is a silent shot."""

    appeal: float
    line: str


_SILENCE = _Offer(-4.0, "")
_STRETCH = 1.6
"""A line may ask for so many times the length that its shot has by weight alone."""


def write_lines(story: Story, beats: tuple[Beat, ...], room: float, rng: random.Random) -> tuple[Told, ...]:
    """A line and a length for every beat; the lengths fill `room` and give every line the time it needs."""
    weights = [beat.weight for beat in beats]
    fair = [weight * room / sum(weights) for weight in weights]
    offers: list[list[_Offer]] = []
    for number, beat in enumerate(beats):
        options = _offers(story, beats, number, rng)
        fitting = [o for o in options if _need(o.line, story.lang) <= fair[number] * _STRETCH]
        # a film of many shots may keep one of them silent: the pause is part of the story
        pause = (
            beat.role == {6: "turn", 7: "rise"}.get(len(beats)) and not beat.changes and rng.random() < 0.2
        )
        offers.append([_SILENCE, *([] if pause else fitting)])
    lines = _fitting(offers, math.floor(room * 4), story.lang)
    lengths = fit_seconds(fair, room, [_quarters(line, story.lang) / 4 for line in lines])
    return tuple(Told(line, length) for line, length in zip(lines, lengths, strict=True))


def _quarters(line: str, lang: Lang) -> int:
    """Quarters of a second that a shot with this line lasts at least."""
    return math.ceil(max(SHORTEST, _need(line, lang)) * 4 - 1e-9)


def _fitting(offers: list[list[_Offer]], room: int, lang: Lang) -> list[str]:
    """One line a beat, the most appealing that fit `room` quarters of a second together."""
    best: dict[int, tuple[float, list[str]]] = {0: (0.0, [])}
    for options in offers:
        longer: dict[int, tuple[float, list[str]]] = {}
        for used, (appeal, lines) in best.items():
            for offer in options:
                if offer.line and offer.line in lines:
                    continue
                total = used + _quarters(offer.line, lang)
                if total <= room and appeal + offer.appeal > longer.get(total, (-math.inf,))[0]:
                    longer[total] = (appeal + offer.appeal, [*lines, offer.line])
        best = longer
    return max(best.values(), key=lambda choice: choice[0])[1]


def _need(line: str, lang: Lang) -> float:
    """Seconds that a shot needs for a line."""
    return speech_seconds(line, lang) + QUIET if line else 0.0


def write_title(story: Story, beats: tuple[Beat, ...], rng: random.Random) -> str:
    """A short title in the story's language."""
    templates = lines_ko.TITLES if story.lang == "ko" else lines_en.TITLES
    blanks, tags = _blanks(story, beats, 0), _tags(story, beats, 0)
    titles = [offer.line for offer in _drawn(templates, blanks, tags, rng) if len(offer.line) <= MAX_TITLE]
    title = titles[0] if titles else blanks["bare"]
    return _title_case(title) if story.lang == "en" else title


_SMALL = frozenset({"a", "an", "the", "and", "of", "in", "on", "at", "to", "with", "under", "by", "for"})


def _title_case(title: str) -> str:
    words = title.split()
    return " ".join(w if n and w in _SMALL else w[0].upper() + w[1:] for n, w in enumerate(words))


def _offers(story: Story, beats: tuple[Beat, ...], number: int, rng: random.Random) -> list[_Offer]:
    """Every line that would suit a beat, the most appealing first."""
    table = lines_ko.LINES if story.lang == "ko" else lines_en.LINES
    return _drawn(table[beats[number].role], _blanks(story, beats, number), _tags(story, beats, number), rng)


def _drawn(
    templates: tuple[tuple[str, str], ...],
    blanks: Mapping[str, str],
    tags: frozenset[str],
    rng: random.Random,
) -> list[_Offer]:
    """The templates that hold, filled, in a random order in which the particular ones come first."""
    drawn: dict[str, float] = {}
    for condition, text in templates:
        needed = condition.split()
        if any((tag[1:] in tags) if tag[0] == "!" else (tag not in tags) for tag in needed):
            continue
        if any(not blanks.get(name) for name in _names(text)):
            continue
        weight = 1.0 + sum(map(_weight, needed))
        telling = any(tag.startswith(_TELLING) for tag in needed) and rng.random() < 0.95
        own = 2 * ("phrase" in needed)  # the brief's own words before all
        drawn.setdefault(text.format_map(blanks), rng.random() ** (1 / weight) + telling + own)
    return sorted((_Offer(appeal, line) for line, appeal in drawn.items()), reverse=True)


_TELLING = (
    "act_", "w_", "wish", "goal", "arrive", "cleared", "later", "before", "named", "phrase", "second",
    "treasure",
)  # fmt: skip
"""Tags of what only this brief says. A line with one of them goes nearly always before others."""
_COMPANY = frozenset({"being", "thing", "other"})


def _weight(tag: str) -> float:
    """How much a tag adds to a line's chance of coming first."""
    if tag[0] == "!":
        return 0.0
    if tag.startswith(_TELLING):
        return 24.0
    return 8.0 if tag in _COMPANY else 1.5


def _names(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name]


# --------------------------------------------------------------------------------------------- what holds


def _tags(story: Story, beats: tuple[Beat, ...], number: int) -> frozenset[str]:
    beat, scene = beats[number], beats[number].scene
    hero = lexicon().concept(story.hero.concept)
    tags = {story.mood, f"at_{scene.place}", f"act_{story.act.id}"}
    tags |= story.reading.cues
    if scene.time and scene.place not in TIMELESS:
        tags.add(scene.time)
    if scene.weather:
        tags.add(scene.weather)
    if scene.place not in WEATHERLESS:
        tags.add("outdoors")
    if scene.place in {"sea", "underwater", "river", "beach"}:
        tags.add("water")
    if len(beats) == 4:
        tags.add("short")
    if story.hero.name:
        tags.add("named")
    if story.hero.words == story.hero.bare:
        tags.add("plain")
    else:
        tags.add("modified")
    if hero.kind in {"animal", "bird", "insect", "fish"}:
        tags.add("animal")
    if hero.kind == "vehicle":
        tags.add("vehicle")
    tags |= _tags_of_company(story)
    tags |= _tags_of_deed(story, beat)
    if story.reading.goal:
        tags.add("goal")
    if story.reading.places:
        tags.add("placed")
    if "place" in beat.changes:
        tags.add("arrive")
    if "time" in beat.changes:
        tags.add("later")
    if "weather" in beat.changes and scene.weather == "clear":
        tags |= {"cleared", f"was_{beats[number - 1].scene.weather}"}
    return frozenset(tags)


def _tags_of_company(story: Story) -> set[str]:
    if story.companion is None:
        return {"alone"} if story.hero.count == 1 else set()
    concept = lexicon().concept(story.companion.concept)
    if concept.can_act and concept.kind != "vehicle":
        together = story.act.id in {
            "run",
            "walk",
            "dance",
            "sing",
            "play",
            "swim",
            "travel",
            "cook",
            "eat",
            "sleep",
            "laugh",
        }
        hostile = story.act.id in {"fight", "chase", "escape", "hide"} or story.mood == "tense"
        return (
            {"other", "being"} | ({"together"} if together else set()) | (set() if hostile else {"friends"})
        )
    small = concept.kind in {"clothes", "toy", "object", "tool", "instrument", "plant", "food", "sport"}
    return {"other", "thing", "alone"} | (
        {"treasure"} if small and story.act.id in {"find", "chase", "collect", "build"} else set()
    )


def _spoken_of(story: Story, beat: Beat) -> Act:
    """The act that a beat's line may name."""
    return story.wish if beat.role == "wish" and story.wish else story.act


def _tags_of_deed(story: Story, beat: Beat) -> set[str]:
    act, wish = _spoken_of(story, beat), story.wish
    tags: set[str] = set()
    if wish and wish.wished and (beat.role != "act" or wish is story.act):
        tags.add("wished")
    if wish and beat.role == "wish":
        tags.add(f"w_{wish.id}")
        if not wish.wished and wish is not story.act:
            tags.add("before")
    if act.phrase:
        tags.add("phrase")
    elif _manner(act, story.lang):
        tags.add("manner")
    if VERBS[story.act.id].motion >= 0.7:
        tags.add("fast")
    if story.second:
        tags.add("second")
        if story.second.phrase:
            tags.add("phrase2")
        elif _manner(story.second, story.lang):
            tags.add("manner2")
    return tags


def _manner(act: Act, lang: Lang) -> str:
    if lang == "ko":
        return VERBS[act.id].ko_object
    return VERBS[act.id].en_object if not act.verb or act.verb == VERBS[act.id].english else ""


# ------------------------------------------------------------------------------------- what fills the blanks


class _Korean(str):
    """A word that takes its particle in a blank: `{hero:은}`."""

    def __format__(self, particle: str) -> str:
        return josa(str(self), particle) if particle else str(self)


def _blanks(story: Story, beats: tuple[Beat, ...], number: int) -> dict[str, str]:
    return (
        _korean_blanks(story, beats, number) if story.lang == "ko" else _english_blanks(story, beats, number)
    )


def _place_word(story: Story, place: str) -> str:
    word = lexicon().word("places", place)
    return story.place_words.get(place) or (word.ko if story.lang == "ko" else word.en)


def _korean_blanks(story: Story, beats: tuple[Beat, ...], number: int) -> dict[str, str]:
    hero, other = story.hero, story.companion
    scene = beats[number].scene
    act = _spoken_of(story, beats[number])
    verb = VERBS[act.id]
    bare = hero.bare if hero.count == 1 else hero.bare + "들"
    blanks = {
        "bare": bare,
        "hero": hero.name or bare,
        "name": hero.name,
        "intro": hero.words if hero.count == 1 else _counted(hero),
        "one": _counted(hero),
        "place": _place_word(story, scene.place or ""),
        "here": _place_word(story, scene.place or ""),
        "goal": _place_word(story, story.places[-1]) if story.reading.goal else "",
        "other": _other_korean(other) if other else "",
        "phrase": act.phrase,
        "stem": verb.stem,
        "now": verb.now,
        "manner": verb.ko_object,
    }
    if story.second:
        second = VERBS[story.second.id]
        blanks |= {"phrase2": story.second.phrase, "now2": second.now, "manner2": second.ko_object}
    return {name: _Korean(text) for name, text in blanks.items()}


def _counted(mention: Mention) -> str:
    concept = lexicon().concept(mention.concept)
    if mention.count == 1 and concept.kind in {"person", "fantasy"}:
        return mention.words
    return f"{mention.words} {('한', '두', '세')[mention.count - 1]} {concept.counter}"


def _other_korean(other: Mention) -> str:
    return other.name or (other.words if other.count == 1 else other.bare + "들")


def _english_blanks(story: Story, beats: tuple[Beat, ...], number: int) -> dict[str, str]:
    hero, other = story.hero, story.companion
    scene = beats[number].scene
    one = hero.count == 1
    bare = hero.bare if one else plural(hero.bare)
    intro = _a(hero)
    the_hero = hero.name or _the(bare)
    act = _spoken_of(story, beats[number])
    verb = act.verb or VERBS[act.id].english
    blanks = {
        "bare": bare,
        "name": hero.name,
        "hero": the_hero,
        "name_or_bare": hero.name or _the(bare),
        "name_or_a": hero.name or _a(hero, described=False),
        "a_intro": intro,
        "The_bare": hero.name or _the(bare),
        "A_bare": hero.name or _a(hero, described=False),
        "the_intro": _the(hero.words if one else plural(hero.words)),
        "s": "s" if one else "",
        "es": "es" if one else "",
        "is_": "is" if one else "are",
        "was_": "was" if one else "were",
        "has_": "has" if one else "have",
        "place": _place_word(story, scene.place or ""),
        "the_place": _the_place(story, scene.place or ""),
        "the_here": _the_place(story, scene.place or ""),
        "the_goal": _the_place(story, story.places[-1]) if story.reading.goal else "",
        "at": _at(story, scene.place or ""),
        "phrase": act.phrase,
        "verb": verb,
        "verbs": _third(verb) if one else verb,
        "manner": _manner(act, "en"),
    }
    if other:
        many = other.count > 1
        name = plural(other.bare) if many else other.bare
        blanks |= {
            "other": plural(other.words) if many else other.words,
            "a_other": other.name or _a(other),
            "the_other": other.name or _the(name),
            "Others_": plural(other.bare),
            "os": "" if many else "s",
            "ois": "are" if many else "is",
        }
    if story.second:
        second = story.second.verb or VERBS[story.second.id].english
        blanks |= {
            "phrase2": story.second.phrase,
            "verbs2": _third(second) if one else second,
            "manner2": _manner(story.second, "en"),
        }
    for name in (
        "hero",
        "a_intro",
        "at",
        "a_other",
        "the_other",
        "the_here",
        "the_intro",
        "Others_",
        "The_bare",
        "A_bare",
    ):
        if blanks.get(name):
            blanks[name[0].upper() + name[1:]] = blanks[name][0].upper() + blanks[name][1:]
    # an empty agreement is no missing blank
    return _Agreeing(blanks)


class _Agreeing(dict[str, str]):
    """Blanks of which the agreements may be empty."""

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return "agrees" if key in {"s", "es", "os"} else super().get(key, default)


_KIN = frozenset({"grandpa", "grandma", "granny", "mom", "mum", "dad"})
"""Who is called so needs no article."""


def _the(noun: str) -> str:
    if noun in _KIN:
        return noun.capitalize()
    return noun if noun[:1].isupper() and not noun.startswith("T-") else f"the {noun}"


def _a(mention: Mention, described: bool = True) -> str:
    noun = mention.words if described else mention.bare
    if mention.count > 1:
        return f"{('two', 'three')[mention.count - 2]} {plural(noun)}"
    if noun in _KIN or lexicon().concept(mention.concept).article == "the":
        return _the(noun)
    if lexicon().concept(mention.concept).article == "" or re.search(r"[^s]s$", noun):
        return noun
    return f"{'an' if noun[0].lower() in 'aeiou' and not noun.startswith(('uni', 'use')) else 'a'} {noun}"


_BARE_PLACES = frozenset({"space", "outer space", "downtown", "indoors", "underwater", "deep space"})


def _the_place(story: Story, place: str) -> str:
    word = _place_word(story, place)
    return (
        word
        if word in _BARE_PLACES or word.startswith(("under ", "inside ", "above ", "up "))
        else f"the {word}"
    )


_PREPOSITIONS = {
    "beach": "on", "sea": "on", "farm": "on", "river": "by", "underwater": "in", "snowfield": "in",
    "city": "in",
}  # fmt: skip


def _at(story: Story, place: str) -> str:
    word = _place_word(story, place)
    if word in _BARE_PLACES - {"space", "outer space", "deep space"} or word.startswith(
        ("under ", "inside ", "above ", "up ")
    ):
        return word
    preposition = _PREPOSITIONS.get(place, "in")
    if word in {
        "street",
        "island",
        "hill",
        "hillside",
        "stage",
        "rooftop",
        "road",
        "highway",
        "coast",
        "shore",
        "seashore",
        "pier",
    }:
        preposition = "on"
    if place == "beach" and word in {"sea", "ocean"}:
        preposition = "by"
    if word in {"seaside", "north pole", "south pole"}:
        preposition = "at"
    return f"{preposition} {_the_place(story, place)}"


def _third(verb: str) -> str:
    """Third person: "wake up" → "wakes up"."""
    first, _, rest = verb.partition(" ")
    if first.endswith(("s", "x", "z", "ch", "sh", "o")):
        first += "es"
    elif first.endswith("y") and first[-2:-1] not in "aeiou":
        first = first[:-1] + "ies"
    else:
        first += "s"
    return f"{first} {rest}" if rest else first
