"""Understand a brief: who, where, when, in what weather and mood, what happens, and which music is wished.

Rules over pocket's lexicon. `korean` and `english` find the words and what is said around them, this module
finds emoji and puts the parts together.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType

from jogak.film.plan import english, korean
from jogak.film.plan import words as w
from jogak.film.plan.music import MusicWish, read_music
from jogak.film.plan.terms import THINGS, Act, Hit, Mention, Role, Sense
from jogak.models.captions import josa
from jogak.models.lexicon import Concept, lexicon
from jogak.spec import SpecError
from jogak.spec.film import Lang

MAX_COUNT = 3
_WEATHER_OF = {
    "rain_cloud": "rain", "storm_cloud": "rain", "lightning_bolt": "rain", "snow_cloud": "snow",
    "snowflake": "snow",
}  # fmt: skip
_NIGHT_OF = frozenset(
    {"full_moon", "crescent_moon", "half_moon", "moon_with_a_face", "star", "shining_star", "comet"}
)
PLACE_OF = {
    "mountain": "mountains", "snowy_mountain": "mountains", "volcano": "mountains", "mount_fuji": "mountains",
    "desert_island": "beach", "wave": "sea", "coral": "underwater",
}  # fmt: skip
"""Things that are also where a film plays."""


@dataclass(frozen=True)
class Reading:
    """What a brief says. Empty where it is silent."""

    lang: Lang
    mentions: tuple[Mention, ...] = ()
    """In the order of the brief, each concept once."""
    places: tuple[str, ...] = ()
    goal: bool = False
    """Whether the last place is one to go to, not where the story begins."""
    place_words: Mapping[str, str] = field(default_factory=dict)
    """What the brief calls its places: "공원" for the garden."""
    times: tuple[str, ...] = ()
    weathers: tuple[str, ...] = ()
    look: str | None = None
    mood: str | None = None
    acts: tuple[Act, ...] = ()
    """What is done, the most telling first."""
    cues: frozenset[str] = frozenset()
    """Sounds that the brief asks for by name: thunder, wind, bell …"""
    music: MusicWish = field(default_factory=MusicWish)
    notes: tuple[str, ...] = ()


def read(text: str, lang: Lang | None = None) -> Reading:
    """Read a brief. `lang` is the language of titles and lines; None takes the brief's own.

    Raises `SpecError` for an empty brief, control characters, or neither letters nor a known emoji.
    """
    text = clean(text)
    lang = lang or language(text)
    music = read_music(text)
    hits = [hit for hit in _hits(text) if not any(a < hit.end and hit.start < b for a, b in music.spans)]
    if not hits and not any(character.isalpha() for character in text):
        raise SpecError(
            f'brief: nothing in "{text[:20]}" can be filmed. Write one or two sentences, as in '
            '"a fox in a meadow at sunset" or "노을 지는 초원의 여우".'
        )
    notes: list[str] = []
    if not hits:
        notes.append(_nothing_read(text, lang))
    mentions = _mentions(text, hits, lang, notes)
    places, goal = _places(text, hits, mentions, lang, notes)
    return Reading(
        lang=lang,
        mentions=tuple(
            m for m in mentions if not (m.concept in PLACE_OF and m.role == "setting" and len(mentions) > 1)
        ),
        places=places,
        goal=goal,
        place_words=_place_words(text, hits, lang),
        times=_times(hits, mentions),
        weathers=_weathers(text, hits),
        look=next(iter(_ids(hits, "look")), None),
        mood=next(iter(_ids(hits, "mood")), None),
        acts=_acts(text, hits, lang),
        cues=_cues(text),
        music=music,
        notes=tuple(notes),
    )


def clean(text: str) -> str:
    """NFC, single spaces. Raises `SpecError` where it is no text."""
    text = unicodedata.normalize("NFC", text)
    strange = any(unicodedata.category(c) in {"Cc", "Cs"} and c not in "\t\n\r" for c in text)
    if strange or text.count("�") > 2:
        raise SpecError("brief: it holds control characters or binary data; give it as plain text (UTF-8).")
    text = " ".join(text.split())
    if not text:
        raise SpecError(
            'brief: it is empty. Write one or two sentences, as in "a fox in a meadow at sunset".'
        )
    return text


def language(text: str) -> Lang:
    """Korean when three letters in ten are Hangul."""
    letters = [c for c in text if c.isalpha()]
    hangul = sum(map(korean.is_hangul, letters))
    return "ko" if hangul and hangul >= 0.3 * len(letters) else "en"


def say(lang: Lang, in_korean: str, in_english: str) -> str:
    return in_korean if lang == "ko" else in_english


def _nothing_read(text: str, lang: Lang) -> str:
    foreign = not re.search(r"[가-힣A-Za-z]", text)
    if foreign:
        return say(
            lang,
            "브리프가 한국어도 영어도 아니어서 읽지 못했어요. 다른 말은 --planner openai 로 읽을 수 있어요.",
            "The brief is neither English nor Korean and was not read; --planner openai reads others.",
        )
    return say(lang, "브리프에서 아는 말을 찾지 못했어요.", "No word of the brief is known.")


# --------------------------------------------------------------------------------------------- finding words

_TOKEN = re.compile(r"[가-힣]+|[A-Za-zÀ-ɏ](?:[A-Za-z0-9À-ɏ'’-]*[A-Za-z0-9À-ɏ])?|\S")


def _hits(text: str) -> list[Hit]:
    """Every word that the lexicon or the tables know, in order, none within another."""
    hits: list[Hit] = []
    at = 0
    while found := _TOKEN.search(text, at):
        start, at = found.span()
        if korean.is_hangul(text[start]):
            new = korean.find(text, start, at)
        elif text[start].isalpha():
            new = english.find(text, start, at)
        else:
            new = _emoji(text, start)
        hits += new
        at = max([at, *(hit.stop for hit in new)])
    return hits


@functools.cache
def _emoji_index() -> dict[str, str]:
    """An emoji without variation selectors and skin tones → the concept drawn from it."""
    return {
        _bare("".join(chr(int(code, 16)) for code in concept.hexcode.split("-"))): concept.id
        for concept in lexicon().concepts
    }


def _bare(emoji: str) -> str:
    return re.sub("[\ufe0f\U0001f3fb-\U0001f3ff]", "", emoji)


_EMOJI_TABLES = (
    ("place", w.EMOJI_PLACES), ("time", w.EMOJI_TIMES), ("weather", w.EMOJI_WEATHERS),
    ("mood", w.EMOJI_MOODS), ("action", w.EMOJI_ACTIONS),
)  # fmt: skip
_LONGEST_EMOJI = 10


def _emoji(text: str, at: int) -> list[Hit]:
    """The senses of the longest emoji known that starts at `at`."""
    for end in range(min(len(text), at + _LONGEST_EMOJI), at, -1):
        emoji = _bare(text[at:end])
        hits = [
            Hit(at, end, end, Sense(group, table[emoji])) for group, table in _EMOJI_TABLES if emoji in table
        ]
        concept = _emoji_index().get(emoji)
        if concept:
            hits.append(Hit(at, end, end, Sense("concept", concept)))
        if hits:
            return hits
    return []


# --------------------------------------------------------------------------------------------- things


def _tongue(text: str, hit: Hit) -> ModuleType:
    """The module that knows the language of a word."""
    return korean if korean.is_hangul(text[hit.start]) else english


def _in_language(text: str, hit: Hit, lang: Lang) -> bool:
    return text[hit.start].isalpha() and korean.is_hangul(text[hit.start]) == (lang == "ko")


def _mentions(text: str, hits: list[Hit], lang: Lang, notes: list[str]) -> tuple[Mention, ...]:
    things = [hit for hit in hits if hit.sense.group in THINGS]
    verb = min((hit.start for hit in hits if hit.sense.group == "action"), default=len(text))
    also = {(hit.start, hit.sense.group) for hit in hits}
    found: dict[str, Mention] = {}
    for number, hit in enumerate(things):
        concept = lexicon().concept(hit.sense.id)
        follower = things[number + 1] if number + 1 < len(things) else None
        beside = follower is not None and hit.end == hit.stop and text[hit.stop : follower.start].isspace()
        if beside and concept.kind == "person" and follower and lexicon().concept(follower.sense.id).can_act:
            continue  # "아기 여우", "baby fox": it says what the next one is like
        if (hit.start, "action") in also and len(things) > 1:
            continue  # an emoji of somebody who dances says what the others do
        mention = _mention(text, hit, hits, concept, lang, notes)
        if (hit.start, "place") in also or (beside and concept.kind == "building"):
            mention = replace(mention, role="setting")
        elif _tongue(text, hit) is english and not mention.role:
            mention = replace(mention, role="object" if found or hit.start > verb else "subject")
        earlier = found.get(hit.sense.id)
        found[hit.sense.id] = _merged(earlier, mention) if earlier else mention
    found = _joined(text, things, found)
    beings = [m for m in found.values() if lexicon().concept(m.concept).can_act]
    if beings:
        found = {id: m for id, m in found.items() if id not in _WEATHER_OF or m in beings}
    elif not any(m.role == "subject" and m.concept not in PLACE_OF for m in found.values()):
        stranger = _stranger(text, hits, lang, notes)
        found = {stranger.concept: stranger, **found} if stranger else found
    return tuple(found.values())


def _joined(text: str, things: list[Hit], found: dict[str, Mention]) -> dict[str, Mention]:
    """Things said in one breath have one part in the sentence: "할아버지와 강아지가"."""
    joined = dict(found)
    for first, second in reversed(list(itertools.pairwise(things))):
        one, other = joined.get(first.sense.id), joined.get(second.sense.id)
        between = text[first.stop : second.start]
        if one and other and one.role == "with" and first.particles(text) and not _known_verb(between):
            joined[first.sense.id] = replace(one, role=other.role)
    return joined


def _known_verb(between: str) -> bool:
    """Whether a clause stands between two things: "강아지와 산책하는 소녀"."""
    return re.search(r"(?:[하는운은던며고서]|다) ?$", between.rstrip()) is not None


def _mention(text: str, hit: Hit, hits: list[Hit], concept: Concept, lang: Lang, notes: list[str]) -> Mention:
    tongue = _tongue(text, hit)
    begin = tongue.described_from(text, hit.start)
    count, particles = tongue.count(text, hit, begin, concept)
    if count > MAX_COUNT:
        notes.append(
            say(
                lang,
                f"한 화면에 {count}은 너무 많아 셋만 그려요.",
                f"{count} are too many for one picture; three are drawn.",
            )
        )
    if hit.sense.group == "near_concept":
        notes.append(_drawn_for(text[hit.start : hit.end], concept, lang))
    colours = [
        c.sense.id for c in hits if c.sense.group == "colour" and begin <= c.start and c.stop <= hit.start
    ]
    word = concept.ko if lang == "ko" else concept.en
    own = _in_language(text, hit, lang)
    name = tongue.name(text, hit) if concept.can_act else ""
    return Mention(
        concept=concept.id,
        words=tongue.label(text, begin, hit, concept) if own else word,
        bare=tongue.label(text, hit.start, hit, concept) if own else word,
        count=min(count, MAX_COUNT),
        colour=colours[-1] if colours else None,
        role=tongue.role(text, begin, hit, particles, concept) or ("subject" if name else ""),
        name=name,
        start=hit.start,
        exact=hit.sense.group == "concept",
    )


def _merged(first: Mention, second: Mention) -> Mention:
    """One thing that is named twice."""
    roles: tuple[Role, ...] = ("subject", "object", "with", "setting", "")
    return replace(
        first,
        count=max(first.count, second.count),
        colour=first.colour or second.colour,
        role=min(first.role, second.role, key=roles.index),
        name=first.name or second.name,
    )


def _drawn_for(word: str, drawn: Concept, lang: Lang) -> str:
    return say(
        lang,
        f"pocket은 {josa(word, '을')} 그릴 줄 몰라서 가장 가까운 {josa(drawn.ko, '으로')} 그려요.",
        f'pocket cannot draw "{word}"; it draws the nearest thing it knows: {drawn.en}.',
    )


def _stranger(text: str, hits: list[Hit], lang: Lang, notes: list[str]) -> Mention | None:
    """A hero that pocket does not know: the nearest thing by its last word, or only a note."""
    covered = [(hit.start, hit.stop) for hit in hits]
    for word, at in (*korean.strangers(text), *english.strangers(text)):
        if any(a < at + len(word) and at < b for a, b in covered):
            continue
        kin = next((id for ending, id in w.KINDS if word.endswith(ending) and word != ending), None)
        if kin is None:
            notes.append(
                say(
                    lang,
                    f"pocket은 {josa(word, '을')} 그릴 줄 몰라요.",
                    f'pocket does not know "{word}" and cannot draw it.',
                )
            )
            return None
        drawn = lexicon().concept(kin)
        notes.append(_drawn_for(word, drawn, lang))
        said = word if korean.is_hangul(word[0]) == (lang == "ko") else say(lang, drawn.ko, drawn.en)
        return Mention(drawn.id, said, said, role="subject", start=at, exact=False)
    return None


# --------------------------------------------------------------------------------------------- where and when


def _ids(hits: Iterable[Hit], *groups: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(hit.sense.id for hit in hits if hit.sense.group in groups))


_MOON_AS_PLACE = re.compile(r"달(?:나라)?(?:에|로|까지)(?:서)?(?= |$)|\b(?:on|to|from) the moon\b")
_ON_THE_MOON = re.compile(r"달에서|on the moon|from the moon")


def _places(
    text: str, hits: list[Hit], mentions: tuple[Mention, ...], lang: Lang, notes: list[str]
) -> tuple[tuple[str, ...], bool]:
    """Where it plays, in the brief's order, and whether the last place is one to go to."""
    found: dict[str, bool] = {}
    for hit in hits:
        if hit.sense.group not in {"place", "near_place"}:
            continue
        found.setdefault(hit.sense.id, _tongue(text, hit).towards(text, hit))
        if hit.sense.group == "near_place":
            said, drawn = text[hit.start : hit.end], lexicon().word("places", hit.sense.id)
            notes.append(
                say(
                    lang,
                    f"{josa(said, '은')} pocket이 아는 가장 가까운 곳, {josa(drawn.ko, '으로')} 그려요.",
                    f'"{said}" is drawn as the nearest place that pocket knows: {drawn.en}.',
                )
            )
    for mention in mentions:
        if mention.concept in PLACE_OF:
            found.setdefault(PLACE_OF[mention.concept], False)
    if "밤하늘" in text:
        found.setdefault("sky", False)
    if _MOON_AS_PLACE.search(text):
        found.setdefault("space", not _ON_THE_MOON.search(text))
    places = tuple(found)[:3]
    return places, bool(places) and found[places[-1]]


def _place_words(text: str, hits: list[Hit], lang: Lang) -> dict[str, str]:
    words: dict[str, str] = {}
    for hit in hits:
        if hit.sense.group in {"place", "near_place"} and _in_language(text, hit, lang):
            words.setdefault(hit.sense.id, text[hit.start : hit.end].lower())
    if _MOON_AS_PLACE.search(text):
        words.setdefault("space", say(lang, "달", "moon"))
    return words


def _times(hits: list[Hit], mentions: tuple[Mention, ...]) -> tuple[str, ...]:
    times = _ids(hits, "time")
    if not times and any(mention.concept in _NIGHT_OF for mention in mentions):
        return ("night",)
    return times


def _weathers(text: str, hits: list[Hit]) -> tuple[str, ...]:
    """What falls from the sky, in order; what stops in the brief is followed by a clear sky."""
    weathers: list[str] = []
    for hit in hits:
        if hit.sense.group == "weather":
            weathers.append(hit.sense.id)
        elif hit.sense.group == "action" and hit.sense.id == "rain":
            if not re.search(r"(?:별|햇살|빛|웃음)\S* ?$", text[: hit.start]):
                weathers.append("rain")
        elif hit.sense.group == "concept" and hit.sense.id in _WEATHER_OF:
            weathers.append(_WEATHER_OF[hit.sense.id])
    if weathers and (w.CLEARS_KO.search(text) or w.CLEARS_EN.search(text.lower())):
        weathers = [weathers[0], "clear"]
    return tuple(dict.fromkeys(weathers))


# --------------------------------------------------------------------------------------------- what happens

_WEAK = frozenset({"look", "talk", "wait", "wish"})
"""What is told of only when nothing else happens."""


def _acts(text: str, hits: list[Hit], lang: Lang) -> tuple[Act, ...]:
    acts: list[Act] = []
    deeds = [hit for hit in hits if hit.sense.group == "action" and hit.sense.id not in {"rain", ""}]
    for hit in deeds:
        tongue = _tongue(text, hit)
        if hit.sense.id == "learn" and acts and not text[deeds[len(acts) - 1].stop : hit.start].strip():
            acts[-1] = replace(acts[-1], wished=True)  # "춤을 배우는": to dance is what is learnt
            continue
        if hit.sense.id == "learn" and re.match(r" (?:how )?to\b", text[hit.end :]):
            continue
        verb = "" if hit.sense.verb.partition(" ")[0] in w.NOUNISH_VERBS else hit.sense.verb
        phrase = tongue.phrase(text, hit, hits) if _in_language(text, hit, lang) else ""
        acts.append(Act(hit.sense.id, phrase, tongue.wished(text, hit), verb))
    told = [act for act in acts if act.id not in _WEAK] + [act for act in acts if act.id in _WEAK]
    once: dict[str, Act] = {}
    for act in told:
        once.setdefault(act.id, act)
    return tuple(once.values())


def _cues(text: str) -> frozenset[str]:
    low = text.lower()
    return frozenset(kind for kind, pattern in w.CUES if pattern.search(low))
