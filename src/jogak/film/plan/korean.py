"""Korean: the longest word known at the start of an eojeol, particles stripped, meanings told by company."""

from __future__ import annotations

import functools
import re

from jogak.film.plan import words as w
from jogak.film.plan.terms import NOUNS, SCENERY, THINGS, Hit, Role, Sense, groups
from jogak.film.plan.verbs import VERBS
from jogak.models.lexicon import Concept, lexicon

_ADVERBS = frozenset(
    {"아주", "정말", "너무", "참", "펑펑", "살짝", "꼭", "천천히", "조용히", "막", "곧", "다시", "잘", "많이"}
)


def is_hangul(character: str) -> bool:
    return "가" <= character <= "힣"


def _end(text: str, at: int) -> int:
    """Where the run of Hangul that covers `at` ends."""
    while at < len(text) and is_hangul(text[at]):
        at += 1
    return at


# --------------------------------------------------------------------------------------------- finding words


@functools.cache
def _index() -> dict[str, list[tuple[str, Sense, bool]]]:
    """First syllable → (surface, sense, whether it is a stem that any ending may follow), longest first."""
    words = lexicon()
    index: dict[str, dict[str, tuple[Sense, bool]]] = {}

    def add(surface: str, group: str, id: str, stem: bool) -> None:
        # "아기여우" is written as one word too; a space at the end is meant
        joined = surface.replace(" ", "") if " " in surface.strip() else surface
        for form in (surface, joined, *(_contracted(surface) if group == "action" else ())):
            if is_hangul(form[:1]):
                index.setdefault(form[0], {}).setdefault(form, (Sense(group, id), stem))

    for concept in words.concepts:
        for surface in concept.words("ko"):
            add(surface, "concept", concept.id, False)
    for table, group, stem in (
        (w.ACTIONS_KO, "action", True), (w.PLACES_KO, "near_place", False), (w.TIMES_KO, "time", True),
        (w.WEATHERS_KO, "weather", True), (w.MOODS_KO, "mood", True), (w.NEAR_KO, "near_concept", False),
    ):  # fmt: skip
        for surface, id in table.items():
            add(surface, group, id, stem)
    for group, entries in groups(words):
        for entry in entries:
            for surface in entry.words("ko"):
                add(surface, group, entry.id, group in {"action", "mood"} or " " in surface)
    return {
        first: sorted(((s, sense, stem) for s, (sense, stem) in forms.items()), key=lambda row: -len(row[0]))
        for first, forms in index.items()
    }


_NIEUN, _RIEUL, _BIEUP, _SSANG_SIOT = 4, 8, 17, 20


def _contracted(stem: str) -> tuple[str, ...]:
    """A stem of two syllables or more as endings change its last one: 키우 → 키운, 키울; 만들 → 만든."""
    last = stem[-1]
    if len(stem) < 2 or not is_hangul(last):
        return ()
    final = (ord(last) - ord("가")) % 28
    if final == 0:
        return tuple(stem[:-1] + chr(ord(last) + end) for end in (_NIEUN, _RIEUL, _BIEUP, _SSANG_SIOT))
    if final == _RIEUL:
        return tuple(stem[:-1] + chr(ord(last) - _RIEUL + end) for end in (0, _NIEUN, _BIEUP))
    return ()


def find(text: str, at: int, end: int, phrases: bool = True) -> list[Hit]:
    """What starts at `at`, in a run of Hangul that ends at `end`: one hit, or the parts of a compound.

    A verb with its noun ("편지를 쓰") gives the noun's hits too; without `phrases` such are not looked for.
    """
    if text[at:end] in w.NEVER_KO:
        return []
    for surface, sense, stem in _index().get(text[at], ()):
        if not text.startswith(surface, at):
            continue
        close = at + len(surface.rstrip())
        stop = _end(text, close)
        noun = re.match(r"[가-힣]+(?:을|를|이|가|에|에서|로) ", surface) if sense.group == "action" else None
        if noun:
            if phrases:
                before = find(text, at, _end(text, at), phrases=False)
                return [*before, Hit(at + noun.end(), close, stop, sense)]
        elif stem and surface not in w.RULES_KO:
            return [Hit(at, close, stop, sense)]
        elif stem or _takes(surface, text[close:stop]):
            meant = _meant(text, at, close, stop, surface, sense)
            return [Hit(at, close, stop, meant)] if meant else []
        rest = (
            find(text, close, stop, phrases) if not stem and len(surface) > 1 and sense.group in NOUNS else []
        )
        if rest and rest[0].sense.group in THINGS | {"place", "action"}:
            return [Hit(at, close, close, sense), *rest]
    return []


def _takes(noun: str, particles: str) -> bool:
    """Whether particles may follow a noun: 곰은, 여우는, but not 논다 (that is a verb) nor 곰는."""
    if not w.JOSA.fullmatch(particles):
        return False
    final = (ord(noun[-1]) - ord("가")) % 28 if is_hangul(noun[-1]) else 0
    if final == 0:
        return particles != "이" and not particles.startswith(("은", "을", "과", "으로"))
    if particles.startswith("로"):
        return final == _RIEUL
    return not particles.startswith(("가", "는", "를", "와", "다", "라", "란", "랑", "나", "야", "여", "예"))


def _meant(text: str, at: int, close: int, stop: int, surface: str, sense: Sense) -> Sense | None:
    """The sense of a word with more than one, by the words around it; None when it is not the lexicon's."""
    particles = text[close:stop]
    if sense.group == "look":
        # a picture book that is read is a thing; one that is a style is not
        return sense if re.fullmatch(r"(?:으로|로|의|풍|풍의|풍으로|처럼|체|같은)?", particles) else None
    rule = w.RULES_KO.get(surface)
    if rule is None:
        return sense
    before = next(iter(text[:at].split()[-1:]), "")
    after = next((word for word in text[stop : stop + 24].split() if word not in _ADVERBS), "")
    holds = (
        (not rule.after or re.match(rule.after, after))
        and not (rule.unless_after and re.match(rule.unless_after, after))
        and (not rule.before or re.fullmatch(rule.before, before))
        and not (rule.unless_before and re.fullmatch(rf"(?:{rule.unless_before})+(?:을|를|이|의)?", before))
        and (not rule.josa or re.fullmatch(rule.josa, particles))
    )
    if holds:
        return sense
    return Sense("concept", rule.instead) if rule.instead else None


# --------------------------------------------------------------------------------------------- things


def described_from(text: str, at: int) -> int:
    """Where the words begin that describe what stands at `at`: "외로운 작은 여우"."""
    for _ in range(3):
        before = text[:at].rstrip()
        length = max((len(m) for m in _modifiers() if before.endswith(m)), default=0)
        earlier = before[: len(before) - length]
        if not length or len(before) + 1 != at or (earlier and earlier[-1] != " "):
            break
        if re.search(r"[가-힣](?:이|가) $", earlier):
            break  # "눈이 큰 부엉이": the eyes are big
        at = len(earlier)
    return at


@functools.cache
def _modifiers() -> tuple[str, ...]:
    return (*w.MODIFIERS_KO, *(word for colour in lexicon().colours for word in colour.words("ko")))


def label(text: str, begin: int, hit: Hit, concept: Concept) -> str:
    """The brief's own words for a thing."""
    return text[begin : hit.end]


def count(text: str, hit: Hit, begin: int, concept: Concept) -> tuple[int, str]:
    """How many, and the particles of the whole: those of the counter in "고양이 두 마리가"."""
    particles = hit.particles(text)
    numbers = "|".join(w.NUMBERS_KO)
    if particles in {"", "들"}:
        counted = re.match(rf" ?({numbers}|\d+) ?(?:{w.COUNTERS_RE})", text[hit.stop :])
        if counted:
            end = hit.stop + counted.end()
            return _number(counted.group(1)), text[end : _end(text, end)]
    counted = re.search(rf"(?:^|\s)({numbers}|\d+) ?(?:(?:{w.COUNTERS_RE})의?)? ?$", text[:begin])
    if counted:
        return _number(counted.group(1)), particles
    return (2 if particles.startswith("들") else 1), particles


def _number(word: str) -> int:
    return max(1, int(word[:4])) if word.isdecimal() else w.NUMBERS_KO.get(word, 1)


_BESIDE = r"(?:위|아래|안|속|옆|앞|뒤|밑|근처|너머)"


def role(text: str, begin: int, hit: Hit, particles: str, concept: Concept) -> Role:
    """A thing's part in its sentence, by its particle."""
    if concept.kind in SCENERY and not particles and re.match(rf" {_BESIDE}", text[hit.stop :]):
        return "setting"
    particles = particles.removeprefix("들").removeprefix("님")
    if re.match(r"(?:이|가|은|는|께서|도)$|(?:이랑|랑|하고|과|와)?(?:은|는)$", particles):
        return "subject"
    if re.match(r"(?:을|를)", particles):
        return "object"
    if concept.kind in SCENERY and re.match(r"(?:에|에서|으로|로|의|속|안|위|밑|옆|앞|뒤)", particles):
        return "setting"
    if re.match(r"(?:과|와|랑|이랑|하고|에게|한테)", particles):
        return "with"
    return "object" if re.match(r"(?:에|으로|로|의|위|속|안)", particles) else ""


def name(text: str, hit: Hit) -> str:
    """The name that the brief gives a being: "여우 두두가", "두두라는 여우", "이름은 두두다"."""
    called = re.search(
        r"([가-힣]{1,5}?)(?:이라는|라는|이란|란)(?: 이름의| 이름을 가진)? (?:[가-힣]+ )?$", text[: hit.start]
    ) or re.search(r"이름[은이] ([가-힣]{1,5}?)(?:이다|이고|이며|이야|이에요|예요|다|고|야|인|[.,]|$)", text)
    if called:
        return called.group(1)
    called = re.match(r" ([가-힣]{2,4}?)(?:이가|이는|가|이|는|은|와|과|의)(?= |$|,)", text[hit.stop :])
    if hit.end != hit.stop or not called or called.group(1) in w.NOT_NAMES_KO:
        return ""
    known = find(text, hit.stop + 1, hit.stop + 1 + len(called.group(1)))
    return "" if known else called.group(1)


def strangers(text: str) -> list[tuple[str, int]]:
    """Words that a sentence is about, for when none of them is known."""
    found = re.finditer(r"(?<![가-힣])([가-힣]{2,8}?)(?:이가|가|이|은|는)(?![가-힣])", text)
    words = [(match.group(1), match.start()) for match in found]
    return [(word, at) for word, at in words if word not in w.NO_HERO_KO and word[-1] not in "하되있없였했"]


# ------------------------------------------------------------------------------------- acts and places


def wished(text: str, hit: Hit) -> bool:
    """Whether an act is one that somebody wishes for: "날고 싶은"."""
    return re.match(r"[가-힣]*(?: 있)?(?:고| 것을| 걸)? ?(?:싶|꿈꾸|꿈을|바라)", text[hit.end :]) is not None


_OBJECT = re.compile(
    r"(?<!\S)([가-힣]+)(을|를|으로|로|에게|한테|에|과|와|이랑|랑|이|가) "
    r"(?:(?:처음|다시|함께|같이|열심히|빨리|천천히|혼자|몰래|조용히|신나게|매일|오래|아주|정말) )?$"
)


def phrase(text: str, hit: Hit, hits: list[Hit]) -> str:
    """The word with a particle right before a verb, with what describes it: "빨간 풍선을", "바다로"."""
    found = _OBJECT.search(text[: hit.start])
    if not found or len(found.group()) > 16 or (found.group(2) in {"이", "가"} and hit.sense.id != "miss"):
        return ""
    if " " in VERBS[hit.sense.id].stem:
        return ""  # "길을 잃": its noun is a part of the verb
    begin = found.start(1)
    noun = next((h for h in hits if h.start <= begin < h.stop and h.sense.group in NOUNS), None)
    begin = described_from(text, noun.start if noun else begin)
    learnt = re.search(r"[가-힣]+(?:는|ㄴ) $", text[:begin]) if found.group(1) in {"법", "방법"} else None
    return text[learnt.start() if learnt else begin : hit.start].strip()


def towards(text: str, hit: Hit) -> bool:
    """Whether a place is one to go to or to long for: "바다로 떠나", "바다가 보고 싶", "하늘을 날고 싶"."""
    after = text[hit.stop : hit.stop + 24]
    leads = re.fullmatch(r"(?:으로|로|까지)", hit.particles(text)) is not None
    return (
        leads
        or re.match(r" (?:가|갈|간|떠나|떠난|여행|향|보고 싶|그리|꿈꾸|찾아|데려|돌아|[가-힣]+고 싶)", after)
        is not None
    )
