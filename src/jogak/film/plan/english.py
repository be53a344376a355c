"""English: the longest phrase known, with plurals and verb forms; two meanings are told apart by company."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from jogak.film.plan import words as w
from jogak.film.plan.terms import SCENERY, Hit, Role, Sense, groups
from jogak.models.captions import plural
from jogak.models.lexicon import Concept, Word, lexicon

_WORD = re.compile(r"[A-Za-z0-9À-ɏ](?:[A-Za-z0-9À-ɏ'’-]*[A-Za-z0-9À-ɏ])?")
_LONGEST = 6
"""Words in the longest phrase that is looked up."""

# --------------------------------------------------------------------------------------------- finding words


@functools.cache
def _index() -> dict[str, list[tuple[tuple[str, ...], Sense]]]:
    """First word → (words, sense), longest first."""
    words = lexicon()
    index: dict[str, dict[tuple[tuple[str, ...], bool], Sense]] = {}

    def add(surface: str, group: str, id: str, verb: str = "") -> None:
        # a noun that is a verb too is kept twice
        parts = tuple(surface.lower().split())
        index.setdefault(parts[0], {}).setdefault((parts, group == "action"), Sense(group, id, verb))

    for concept in words.concepts:
        for surface in concept.words("en"):
            add(surface, "concept", concept.id)
            add(plural(surface), "concept", concept.id)
        if concept.en_plural:
            add(concept.en_plural, "concept", concept.id)
    for verb, id in w.ACTIONS_EN.items():
        for form in inflected(verb):
            add(form, "action", id, verb)
    for action in words.actions:
        for form, verb in _verb_forms(action):
            add(form, "action", action.id, verb)
    for table, group in (
        (w.PLACES_EN, "near_place"), (w.TIMES_EN, "time"), (w.WEATHERS_EN, "weather"), (w.MOODS_EN, "mood"),
    ):  # fmt: skip
        for surface, id in table.items():
            add(surface, group, id)
    for surface, id in w.NEAR_EN.items():
        add(surface, "near_concept", id)
        add(plural(surface), "near_concept", id)
    for group, entries in groups(words):
        for entry in entries:
            for surface in entry.words("en"):
                if group != "action" and (group, surface) != ("time", "day"):  # "one day" is no hour
                    add(surface, group, entry.id)
    return {
        first: sorted(((parts, sense) for (parts, _), sense in forms.items()), key=lambda row: -len(row[0]))
        for first, forms in index.items()
    }


def _verb_forms(action: Word) -> Iterable[tuple[str, str]]:
    """Every form of an action's words with its plain form; the form itself where no word explains it."""
    plain: dict[str, str] = {}
    for word in sorted(action.words("en"), key=len):
        if word not in plain and word not in w.IRREGULAR_VERBS:
            for form in inflected(word):
                plain.setdefault(form, word)
        else:
            plain.setdefault(word, w.IRREGULAR_VERBS.get(word, word))
    return plain.items()


def inflected(verb: str) -> tuple[str, str, str, str]:
    """A verb, or a phrase that begins with one, with its regular forms: hop, hops, hopping, hopped."""
    first, _, rest = verb.partition(" ")
    rest = f" {rest}" if rest else ""
    if re.search(r"(?:[sxz]|[cs]h|o)$", first):
        third = first + "es"
    elif re.search(r"[^aeiou]y$", first):
        third = first[:-1] + "ies"
    else:
        third = first + "s"
    stem = first[:-1] if first.endswith("e") and not first.endswith("ee") else first
    if re.search(r"^[^aeiou]*[aeiou][bdgmnprt]$", first):
        stem += first[-1]
    past = stem[:-1] + "ied" if re.search(r"[^aeiou]y$", stem) else stem + "ed"
    return first + rest, third + rest, stem + "ing" + rest, past + rest


def find(text: str, at: int, end: int) -> list[Hit]:
    """The longest phrase known that starts at `at`."""
    tokens: list[tuple[str, int]] = []
    position = at
    while len(tokens) < _LONGEST and (found := _WORD.match(text, position)):
        tokens.append((found.group().lower().replace("’", "'"), found.end()))
        position = found.end() + 1 if text[found.end() : found.end() + 1] == " " else len(text)
    words = [word for word, _ in tokens]
    owned = [word.removesuffix("'s") for word in words]
    for first in dict.fromkeys((*words[:1], *owned[:1])):
        for parts, sense in _index().get(first, ()):
            n = len(parts)
            if n > len(words) or list(parts) not in (words[:n], [*words[: n - 1], owned[n - 1]]):
                continue
            close = tokens[n - 1][1]
            if _meant(text, at, close, parts, sense):
                return [Hit(at, close, close, sense)]
    return []


_STYLE_AFTER = re.compile(
    r"\W*(?:style|look|animation|animated|illustration|drawing|film|movie|picture|art|render|design|version|$|[,.;])",
    re.I,
)


def _meant(text: str, at: int, close: int, parts: tuple[str, ...], sense: Sense) -> bool:
    """Whether a word with two meanings has this one here."""
    (word, *more) = parts
    if more:
        return True
    before = [found.lower() for found in _WORD.findall(text[max(0, at - 40) : at])]
    last = before[-1] if before else ""
    if sense.group == "look" and word != "3d":
        return last in {"in", "as"} or _STYLE_AFTER.match(text, close) is not None
    if sense.group == "concept" and word in _verbish():
        if not before:
            following = _WORD.match(text, close + 1)
            return not following or following.group().lower() not in w.ARTICLES_EN
        return last in w.BEFORE_NOUNS_EN or _describes(last) or text[at - 2 : at - 1] in {",", ":"}
    return True


@functools.cache
def _verbish() -> frozenset[str]:
    return w.VERBISH_EN | {plural(word) for word in w.VERBISH_EN}


def _describes(word: str) -> bool:
    return word in w.MODIFIERS_EN or word in w.NUMBERS_EN or word.isdecimal() or word in _colour_words()


@functools.cache
def _colour_words() -> frozenset[str]:
    return frozenset(word for colour in lexicon().colours for word in colour.words("en"))


# --------------------------------------------------------------------------------------------- things


def described_from(text: str, at: int) -> int:
    """Where the words begin that describe what stands at `at`: "lonely little fox"."""
    for _ in range(3):
        word = re.search(r"([A-Za-z-]+) $", text[:at])
        if not word or not (
            word.group(1).lower() in w.MODIFIERS_EN or word.group(1).lower() in _colour_words()
        ):
            break
        at = word.start()
    return at


def label(text: str, begin: int, hit: Hit, concept: Concept) -> str:
    """The brief's own words for a thing, in the singular and small letters."""
    said = text[hit.start : hit.end].lower().removesuffix("'s")
    known = (*concept.words("en"), *(word for word, id in w.NEAR_EN.items() if id == concept.id))
    singular = next((word for word in known if said in {word.lower(), plural(word).lower()}), concept.en)
    return text[begin : hit.start].lower() + singular


def count(text: str, hit: Hit, begin: int, concept: Concept) -> tuple[int, str]:
    """How many; the second part is empty, as English has no particles."""
    said = text[hit.start : hit.end].lower().removesuffix("'s")
    many = said != plural(said) and said in {
        plural(word).lower() for word in (*concept.words("en"), *w.NEAR_EN)
    }
    number = re.search(r"([A-Za-z]+|\d+)(?: of)? $", text[:begin])
    word = number.group(1).lower() if number else ""
    if word.isdecimal():
        return max(1, int(word[:4])), ""
    if word in w.NUMBERS_EN:
        return w.NUMBERS_EN[word], ""
    return (2 if many or said == concept.en_plural.lower() else 1), ""


_ARTICLES = frozenset({"a", "an", "the", "his", "her", "its", "their", "my", "our", "this", "that"})


def role(text: str, begin: int, hit: Hit, particles: str, concept: Concept) -> Role:
    """A thing's part in its sentence, by the preposition before it."""
    before = [word.lower() for word in _WORD.findall(text[max(0, begin - 30) : begin])]
    while before and before[-1] in _ARTICLES:
        before.pop()
    link = before[-1] if before else ""
    scenic = {"in", "on", "at", "near", "by", "inside", "under", "beside", "to", "into", "above", "of"}
    if concept.kind in SCENERY and link in scenic:
        return "setting"
    if link in {"with", "and"}:
        return "with"
    return "object" if link in {"to", "for", "at", "on", "of", "into", "onto", "in", "after"} else ""


def name(text: str, hit: Hit) -> str:
    """The name that the brief gives a being: "a fox named Dudu", "Dudu the fox"."""
    called = (
        re.match(r",? (?:named|called|whose name is) ([A-Z][\w'-]{0,14})", text[hit.end :])
        or re.match(r" ([A-Z][a-z]{1,14})\b", text[hit.end :])
        or re.search(r"\b([A-Z][\w'-]{0,14}),? the (?:[a-z]+ ){0,2}$", text[: hit.start])
    )
    return called.group(1) if called else ""


_STRANGER = re.compile(
    r"\b(?:[Aa]n?|[Tt]he|[Tt]wo|[Tt]hree) (?:[a-z-]+ ){0,3}?([a-z-]{3,20})"
    r"(?= (?:[a-z]+s|is|was|who|that|in|on|at|and)\b|[.,]|$)"
)


def strangers(text: str) -> list[tuple[str, int]]:
    """Words that a sentence is about, for when none of them is known."""
    return [(m.group(1), m.start(1)) for m in _STRANGER.finditer(text) if m.group(1) not in w.NO_HERO_EN]


# ------------------------------------------------------------------------------------- acts and places

_WISHES = re.compile(
    r"\b(?:wants?|wanting|wish(?:es)?|dreams?|dreaming|hopes?|longs?|tries|trying|would like|learns?|learning"
    r"|decides?)"
    r"(?: to| of| for| how to)?\W*$"
)


def wished(text: str, hit: Hit) -> bool:
    """Whether an act is one that somebody wishes for: "wants to fly", "dreams of flying"."""
    return _WISHES.search(text[: hit.start].lower()) is not None


_PHRASE_END = re.compile(
    r"[.,;:!?()\"]|\b(?:and|but|while|when|who|that|which|because|as|then|until|before|after|so|if|or|is|are|was)\b"
)


def phrase(text: str, hit: Hit, hits: list[Hit]) -> str:
    """What follows a verb up to the clause's end: "a red balloon", "to the sea"; at most one preposition."""
    if hit.sense.verb.partition(" ")[0] in w.NOUNISH_VERBS:
        return ""
    rest = text[hit.end : hit.end + 60]
    stop = _PHRASE_END.search(rest)
    rest = rest[: stop.start()] if stop else rest
    deeds = [h.start for h in hits if h.sense.group == "action" and h.sense.id]
    following = [start - hit.end for start in deeds if start > hit.end]
    rest = rest[: following[0]] if following and following[0] < len(rest) else rest
    if rest.startswith(" from ") and (goal := re.search(r" to .*", rest)):
        rest = goal.group()
    taken: list[str] = []
    for word in rest.split():
        if taken and word.lower() in w.PREPOSITIONS_EN:
            break
        taken.append(word)
    while taken and taken[-1].lower() in w.PREPOSITIONS_EN | _ARTICLES:
        taken.pop()
    noun = any(len(word) > 2 and word.lower() not in w.PREPOSITIONS_EN for word in taken)
    plain = all(_WORD.fullmatch(word) for word in taken)
    return " ".join(taken) if noun and plain and len(taken) <= 6 else ""


_TOWARDS = re.compile(
    r"(?:(?<!next )(?<!close )(?<!near )\bto|\b(?:towards?|for|into|see|reach|find|miss(?:es)?)"
    r"|\b(?:dreams?|dreaming|thinks?) of"
    r"|(?:wants?|wish\w*|dreams?|longs?) (?:to|of) \w+ (?:in|over|through|across|on))"
    r"(?: the| an?| his| her)?(?: \w+)? $"
)


def towards(text: str, hit: Hit) -> bool:
    """Whether a place is one to go to or to long for: "travels to the sea", "wants to fly in the sky"."""
    return _TOWARDS.search(text[: hit.start]) is not None
