"""The sentences that pocket was trained on: a scene in, a caption in English or Korean out.

The same function wrote the training captions and writes the planner's prompts: a prompt always is a sentence
of the kind that the model has read. Words are the lexicon's; how a place, an hour and a weather are said in a
sentence is grammar and stands here.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jogak.models.lexicon import Concept, Word, lexicon

Lang = Literal["ko", "en"]
Position = Literal["left", "middle", "right"]
Framing = Literal["wide", "medium", "close"]

WEATHERLESS = frozenset({"underwater", "room", "space"})
"""Places where neither rain nor cloud is seen: their captions are silent about the weather."""
TIMELESS = frozenset({"space"})
SYNONYM_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Subject:
    """What stands in a scene: a concept's id, how many (1-3), where, and a colour's id if painted.

    `phrase` is said in place of the concept's word, for one who is described and not merely named: a noun phrase with
    its article in English, and one in Korean.
    """

    concept: str
    count: int = 1
    position: Position | None = None
    colour: str | None = None
    phrase: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows, in ids of the lexicon; None leaves a thing open.

    Without a place the ground is plain, coloured `background`. Raises `ValueError` when there is neither a
    subject nor a place, or more than three of a kind.
    """

    subjects: tuple[Subject, ...]
    place: str | None = None
    background: str = "white"
    time: str | None = "day"
    weather: str | None = "clear"
    look: str | None = None
    framing: Framing | None = None

    def __post_init__(self) -> None:
        if not self.subjects and self.place is None:
            raise ValueError("a scene needs a subject or a place")
        object.__setattr__(self, "subjects", tuple(self.subjects))
        if any(not 1 <= subject.count <= 3 for subject in self.subjects):
            raise ValueError("a subject's count is 1, 2 or 3")


@dataclass(frozen=True, slots=True)
class Telling:
    """How often a caption by chance tells what it may leave out, in shares of the captions."""

    look: float = 0.5
    position: float = 0.7
    """Lists of tags never tell it."""


USUAL = Telling()


def caption(scene: Scene, lang: Lang, rng: random.Random | None = None, telling: Telling = USUAL) -> str:
    """A caption of `scene`: the canonical one, which says everything, or with `rng` one of many variants.

    Variants run from tags to whole sentences, leave out time, weather, look or framing at random, and use a
    synonym for one word in five; every subject is named, in its colour. `telling` says how often look and position
    are told. The same state of `rng` gives the same caption. Raises `KeyError` for an id
    that the lexicon lacks.
    """
    dice = _Dice(rng, telling)
    return _english(scene, dice) if lang == "en" else _korean(scene, dice)


class _Index(NamedTuple):
    concepts: dict[str, Concept]
    places: dict[str, Word]
    times: dict[str, Word]
    looks: dict[str, Word]
    colours: dict[str, Word]


@functools.cache
def _index() -> _Index:
    words = lexicon()
    return _Index(
        {concept.id: concept for concept in words.concepts},
        {place.id: place for place in words.places},
        {time.id: time for time in words.times},
        {look.id: look for look in words.looks},
        {colour.id: colour for colour in words.colours},
    )


class _Dice:
    """Choices by chance; without a generator, the first option and what the canonical caption does."""

    __slots__ = ("rng", "telling")

    def __init__(self, rng: random.Random | None, telling: Telling) -> None:
        self.rng, self.telling = rng, telling

    def pick(self, options: Sequence[str]) -> str:
        if self.rng is None or len(options) == 1:
            return options[0]
        return options[int(self.rng.random() * len(options))]

    def chance(self, probability: float, canonical: bool) -> bool:
        return canonical if self.rng is None else self.rng.random() < probability

    def word(self, usual: str, others: Sequence[str], share: float = SYNONYM_SHARE) -> str:
        """The usual word, or now and then another."""
        if others and self.chance(share, canonical=False):
            return self.pick(others)
        return usual

    def roll(self) -> float:
        """Which style: 0 is the canonical one."""
        return 0.0 if self.rng is None else self.rng.random()


class _Told(NamedTuple):
    """What of a scene this caption will say; None is left out."""

    place: str | None
    time: str | None
    weather: str | None
    glow: bool
    """Whether the evening sky is seen to glow: a sunset is called one only then."""
    look: str | None
    framing: Framing | None
    position: bool


def _told(scene: Scene, dice: _Dice) -> _Told:
    place = scene.place
    shows_time = place is not None and place not in TIMELESS
    shows_weather = place is not None and place not in WEATHERLESS
    clear = scene.weather == "clear"
    says_weather = dice.chance(0.25 if clear else 0.8, canonical=True)
    return _Told(
        place=place if dice.chance(0.96, canonical=True) or not scene.subjects else None,
        time=scene.time if shows_time and dice.chance(0.75, canonical=True) else None,
        weather=scene.weather if shows_weather and says_weather else None,
        glow=shows_weather and clear,
        look=scene.look if dice.chance(dice.telling.look, canonical=True) else None,
        framing=scene.framing if dice.chance(0.5, canonical=True) else None,
        position=dice.chance(dice.telling.position, canonical=True),
    )


# --------------------------------------------------------------------------------------------- English

_EN_IRREGULAR = {
    "wolf": "wolves", "leaf": "leaves", "knife": "knives", "elf": "elves", "calf": "calves", "mouse": "mice",
    "goose": "geese", "child": "children", "person": "people", "ox": "oxen", "woman": "women", "man": "men",
    "potato": "potatoes", "tomato": "tomatoes", "volcano": "volcanoes", "hero": "heroes", "mango": "mangoes",
    "buffalo": "buffaloes", "tornado": "tornadoes", "mosquito": "mosquitoes", "policeman": "policemen",
    "policewoman": "policewomen", "fireman": "firemen", "businessman": "businessmen", "spaceman": "spacemen",
    "repairman": "repairmen", "guardsman": "guardsmen", "swordsman": "swordsmen", "boatman": "boatmen",
    "strongman": "strongmen", "oarsman": "oarsmen", "superman": "supermen", "superwoman": "superwomen",
}  # fmt: skip
_EN_SAME = frozenset(
    {"sheep", "fish", "angelfish", "clownfish", "goldfish", "blowfish", "deer", "reindeer", "elk"}
)
_EN_NAMES = frozenset({
    "Father Christmas", "Mother Christmas", "Santa", "Dracula", "Fuji", "Saturn", "planet Earth",
    "Eiffel Tower",
})  # fmt: skip
"""Synonyms that are names: no article, one of each."""
_EN_MASS = frozenset({
    "bamboo", "wheat", "barley", "lavender", "corn", "maize", "ginger", "bread", "toast", "cheese",
    "meat", "beef", "chicken", "pizza", "stew", "soup", "salad", "popcorn", "margarine", "salt", "food",
    "rice", "curry", "ramen", "spaghetti", "pasta", "oden", "nigiri", "tempura", "takeout", "cream",
    "chocolate", "custard", "honey", "milk", "coffee", "cocoa", "tea", "champagne", "wine", "punch",
    "beer", "soda", "cola", "boba", "juice", "ice", "wood", "firewood", "sunshine", "lightning",
    "glitter", "smoke", "cutlery", "luggage", "confetti", "dynamite", "yarn", "wool", "bowling",
    "football", "rugby", "tennis", "hockey", "lacrosse", "ping-pong", "badminton", "boxing", "golf",
    "curling", "parchment", "mail", "money", "medicine", "paper", "tissue", "soap", "thread",
    "volleyball", "greens", "coral",
})  # fmt: skip
_EN_SINGULAR_S = ("us", "ss", "is")
"""Endings in s that are no plural: walrus, compass, iris."""
_EN_SILENT = ("hour", "honest", "heir")
_EN_CONSONANT_U = ("uni", "use", "uku", "eu", "one", "ute", "ufo", "u-")
_EN_PLACES: dict[str, tuple[str, ...]] = {
    "meadow": (
        "in a meadow", "in a green meadow", "on the grass", "in a grassy field", "in a pasture",
        "in a field",
    ),
    "forest": (
        "in a forest", "in the woods", "in the forest", "in a jungle", "in a rainforest",
        "among the trees",
    ),
    "beach": (
        "on a beach", "on the beach", "on a sandy beach", "at the seaside", "on the shore",
        "by the seashore",
    ),
    "sea": ("on the sea", "at sea", "on the ocean", "on the open sea", "in the ocean"),
    "underwater": (
        "under the sea", "underwater", "on the seabed", "in the deep sea", "at the bottom of the sea",
    ),
    "desert": ("in a desert", "in the desert", "in a sandy desert", "on the sand dunes", "among the dunes"),
    "snowfield": (
        "in a snowfield", "in a snowy field", "on a snowy plain", "in the arctic",
        "in a snowy landscape",
    ),
    "mountains": (
        "in the mountains", "in the hills", "in a mountain valley", "in a valley", "in the highlands",
    ),
    "city": ("in a city", "in the city", "downtown", "on a city street", "in a town", "on a street"),
    "village": (
        "in a village", "in a small village", "in the countryside", "in a hamlet", "in a small town",
    ),
    "river": ("by a river", "by the river", "at the riverside", "by a lake", "by a pond", "by a stream"),
    "farm": ("on a farm", "on the farm", "in a farmyard", "on a ranch", "on farmland"),
    "garden": (
        "in a garden", "in a flower garden", "in the park", "in a park", "in the backyard",
        "in the yard",
    ),
    "room": (
        "in a room", "indoors", "in a living room", "in a bedroom", "in the kitchen",
        "inside a house",
    ),
    "space": (
        "in outer space", "in space", "in deep space", "in the galaxy", "in the universe",
        "in the cosmos",
    ),
    "sky": ("in the sky", "above the clouds", "high in the sky", "up in the air", "in the blue sky"),
}  # fmt: skip
_EN_TIMES: dict[str, tuple[str, ...]] = {
    "morning": ("in the morning", "in the early morning", "at dawn", "at sunrise", "at daybreak"),
    "day": ("in the daytime", "by day", "in daylight", "at noon", "in the afternoon"),
    "sunset": ("at sunset", "at dusk", "in the evening", "at twilight", "in the golden hour"),
    "night": ("at night", "by night", "late at night", "at midnight"),
}
_EN_DUSK = ("at dusk", "in the evening", "at nightfall")
_EN_CLEAR: dict[str, tuple[str, ...]] = {
    "morning": ("on a clear morning", "on a sunny morning", "in the clear morning light"),
    "day": ("on a sunny day", "on a clear day", "in bright sunshine", "under a blue sky"),
    "sunset": ("at sunset under a clear sky", "at a clear sunset", "under a glowing evening sky"),
    "night": ("on a clear night", "on a starry night", "under a starry sky"),
}
_EN_TIME_NOUNS = {"morning": "morning", "day": "day", "sunset": "evening", "night": "night"}
_EN_WEATHERS: dict[str, tuple[str, ...]] = {
    "clear": ("under a clear sky", "in clear weather"),
    "cloudy": ("under a cloudy sky", "in cloudy weather", "under grey clouds"),
    "rain": ("in the rain", "in rainy weather", "in pouring rain"),
    "snow": ("in falling snow", "while it snows", "in snowy weather"),
    "fog": ("in the fog", "in thick fog", "in the mist"),
}
_EN_WEATHER_ADJECTIVES: dict[str, tuple[str, ...]] = {
    "clear": ("clear",),
    "cloudy": ("cloudy", "grey"),
    "rain": ("rainy",),
    "snow": ("snowy",),
    "fog": ("foggy", "misty"),
}
_EN_WEATHER_TAGS: dict[str, tuple[str, ...]] = {
    "clear": ("clear", "clear sky", "clear weather", "cloudless"),
    "cloudy": ("cloudy", "overcast", "clouds", "cloudy weather", "grey sky"),
    "rain": ("rain", "rainy", "raining", "rainfall", "downpour", "drizzle"),
    "snow": ("snow", "snowy", "snowing", "snowfall"),
    "fog": ("fog", "foggy", "mist", "misty", "haze"),
}
_EN_FRAMINGS: dict[Framing, tuple[str, ...]] = {
    "wide": ("wide shot", "long shot", "seen from afar"),
    "medium": ("medium shot", "mid shot"),
    "close": ("close-up", "close-up shot", "seen up close"),
}
_EN_POSITIONS: dict[Position, tuple[str, ...]] = {
    "left": ("on the left", "on the left side"),
    "middle": ("in the middle", "in the center"),
    "right": ("on the right", "on the right side"),
}
_EN_SHOTS: dict[Framing | None, tuple[str, ...]] = {
    "wide": ("wide shot of", "a wide shot of", "a distant view of"),
    "close": ("close-up of", "a close-up of"),
}
_EN_EMPTY: dict[str, tuple[str, ...]] = {
    "meadow": ("a green meadow", "a meadow", "an empty meadow"),
    "forest": ("a forest", "the woods", "a quiet forest"),
    "beach": ("a sandy beach", "a beach", "an empty beach"),
    "sea": ("the open sea", "the sea", "the ocean"),
    "underwater": ("the world under water", "the bottom of the sea", "underwater scenery"),
    "desert": ("a desert", "sand dunes", "an empty desert"),
    "snowfield": ("a snowy field", "a snowfield", "snow-covered ground"),
    "mountains": ("the mountains", "snowy peaks", "a mountain landscape"),
    "city": ("a city", "a city street", "a city skyline"),
    "village": ("a small village", "a village", "a little town"),
    "river": ("a river", "a river bank", "a winding river"),
    "farm": ("a farm", "farmland", "a farm field"),
    "garden": ("a flower garden", "a garden", "flower beds"),
    "room": ("a room", "an empty room", "a cosy room"),
    "space": ("outer space", "space", "a starry universe"),
    "sky": ("the sky above the clouds", "the sky", "the open sky"),
}
_EN_NUMBERS = {2: "two", 3: "three"}
_EN_MEASURES = {"그릇": "bowls of", "벌": "sets of"}
"""By Korean counter, how servings of what English does not count are counted."""


def _en_hours(time: str | None, weather: str | None) -> tuple[str, ...]:
    """Ways to say an hour and a weather together, the canonical one first; ("",) when both are unsaid."""
    if time is None:
        return _EN_WEATHERS[weather] if weather else ("",)
    if weather is None:
        return _EN_TIMES[time]
    if weather == "clear":
        return _EN_CLEAR[time]
    noun = _EN_TIME_NOUNS[time]
    on_a = tuple(f"on a {adjective} {noun}" for adjective in _EN_WEATHER_ADJECTIVES[weather])
    hours, skies = _EN_TIMES[time][:3:2], _EN_WEATHERS[weather][:2]
    both = tuple(f"{hour} {sky}" for hour in hours for sky in skies)
    return both + on_a if time == "sunset" else on_a + both


_EN_WHEN = {(t, w): _en_hours(t, w) for t in (*_EN_TIMES, None) for w in (*_EN_WEATHERS, None)}


def _english(scene: Scene, dice: _Dice) -> str:
    told = _told(scene, dice)
    style = dice.roll()
    if style > 0.86 and scene.subjects:
        return _english_tags(scene, told, dice)
    where = _en_where(scene, told, dice)
    when = _en_when(told, dice) if told.place else ""
    look = _look("en", told.look, dice)
    framing = dice.pick(_EN_FRAMINGS[told.framing]) if told.framing else ""
    if not scene.subjects:
        return _join(_words(dice.pick(_EN_EMPTY[told.place or "meadow"]), when), look, framing)
    sentence = style > 0.76 and where
    words = _en_subjects(scene.subjects, told.position, not sentence, dice)
    if sentence:
        body = _en_sentence(scene.subjects, words, _words(where, when), dice)
        return ". ".join(part[0].upper() + part[1:] for part in (body, look, framing) if part)
    if told.framing in _EN_SHOTS and dice.chance(0.5, canonical=True):
        words, framing = f"{dice.pick(_EN_SHOTS[told.framing])} {words}", ""
    elif told.look and dice.chance(0.15, canonical=False):
        style_of = f"{_index().looks[told.look].en_adj} {dice.pick(('illustration', 'picture', 'drawing'))}"
        words, look = f"{_article(style_of)} {style_of} of {words}", ""
    elif told.look and dice.chance(0.15, canonical=False):
        return _join(_words(words, where, when, _index().looks[told.look].en_in), framing)
    if when and dice.chance(0.08, canonical=False):
        return _join(when, _words(words, where), look, framing)
    return _join(_words(words, where, when), look, framing)


def _english_tags(scene: Scene, told: _Told, dice: _Dice) -> str:
    parts = [_en_subject(subject, False, True, dice) for subject in scene.subjects]
    if told.place:
        place = _index().places[told.place]
        parts.append(dice.word(place.en, place.en_more))
        if told.time:
            hour = _index().times[told.time]
            parts.append(dice.word(hour.en, hour.en_more))
        if told.weather:
            parts.append(dice.pick(_EN_WEATHER_TAGS[told.weather]))
    elif scene.place is None:
        parts.append(f"{_colour('en', scene.background, dice)} background")
    framing = _EN_FRAMINGS[told.framing][0] if told.framing else ""
    return _join(*parts, _look("en", told.look, dice), framing)


def _en_sentence(subjects: tuple[Subject, ...], words: str, scene: str, dice: _Dice) -> str:
    there = "are" if subjects[0].count > 1 else "is"
    be = "are" if len(subjects) > 1 else there
    return dice.pick(
        (
            f"there {there} {words} {scene}",
            f"{words} {be} {scene}",
            f"{scene} there {there} {words}",
            f"the picture shows {words} {scene}",
        )
    )


def _en_when(told: _Told, dice: _Dice) -> str:
    if told.time == "sunset" and told.weather is None and not told.glow:
        return dice.pick(_EN_DUSK)
    return dice.pick(_EN_WHEN[told.time, told.weather])


def _en_where(scene: Scene, told: _Told, dice: _Dice) -> str:
    if told.place:
        options = _EN_PLACES[told.place]
        return dice.word(options[0], options[1:], share=0.45)
    if scene.place is not None:
        return ""
    colour = _colour("en", scene.background, dice)
    return f"{dice.word('on', ('against',))} {_article(colour)} {colour} background"


def _en_subjects(subjects: tuple[Subject, ...], position: bool, bare: bool, dice: _Dice) -> str:
    bare = bare and len(subjects) == 1 and dice.chance(0.12, canonical=False)
    parts = [_en_subject(subject, position, bare, dice) for subject in subjects]
    if len(parts) == 2:
        placed = position and any(subject.position for subject in subjects)
        link = "and" if placed else dice.word("and", ("with", "next to", "beside"))
        return f"{parts[0]} {link} {parts[1]}"
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _en_subject(subject: Subject, position: bool, bare: bool, dice: _Dice) -> str:
    words = subject.phrase[0] if subject.phrase else _en_named(subject, bare, dice)
    if position and subject.position:
        return f"{words} {dice.word(*_first(_EN_POSITIONS[subject.position]))}"
    return words


def _en_named(subject: Subject, bare: bool, dice: _Dice) -> str:
    concept = _index().concepts[subject.concept]
    noun = dice.word(concept.en, concept.en_more)
    colour = _colour("en", subject.colour, dice) if subject.colour else ""
    if noun != concept.en and (subject.count > 1 or colour) and not _countable(noun):
        noun = concept.en
    if subject.count > 1:
        words = _words(_EN_NUMBERS[subject.count], colour, _several(concept, noun))
    else:
        words = _words(colour, noun)
        article = concept.article if noun == concept.en else "a" if _countable(noun) else ""
        if article and not bare:
            words = f"{'the' if article == 'the' else _article(words)} {words}"
    return words


def _several(concept: Concept, noun: str) -> str:
    """What follows a number: "foxes", "bowls of paella"."""
    if noun == concept.en and concept.en_plural:
        return concept.en_plural
    if noun != concept.en or concept.kind not in {"food", "nature", "tool"}:
        return plural(noun)
    return f"{_EN_MEASURES.get(concept.counter, 'pieces of')} {noun}"


@functools.lru_cache(maxsize=4096)
def _countable(noun: str) -> bool:
    """Whether an English word takes "a" and a plural: not "bread", "jeans", "Santa"."""
    head = noun.split(" of ")[0].split(" in ")[0].split(" with ")[0].split(" on ")[0]
    last = head.rsplit(" ", 1)[-1]
    plural = last.endswith("s") and not last.endswith(_EN_SINGULAR_S)
    return not plural and last not in _EN_MASS and noun not in _EN_NAMES


def plural(noun: str) -> str:
    """The plural of an English noun phrase: "foxes", "bowls of rice"."""
    for link in (" of ", " in ", " with ", " on "):
        if link in noun:
            head, rest = noun.split(link, 1)
            return plural(head) + link + rest
    before, last = noun[: noun.rfind(" ") + 1], noun[noun.rfind(" ") + 1 :]
    if last in _EN_SAME:
        return noun
    if last in _EN_IRREGULAR:
        return before + _EN_IRREGULAR[last]
    if last.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if last.endswith("y") and last[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def _article(words: str) -> str:
    first = words.split(" ", 1)[0].lower()
    if first.startswith(_EN_SILENT):
        return "an"
    if first.startswith(_EN_CONSONANT_U):
        return "a"
    return "an" if first[:1] in "aeiou" else "a"


# --------------------------------------------------------------------------------------------- Korean

_KO_PLACES: dict[str, tuple[str, ...]] = {
    "meadow": ("초원", "풀밭", "푸른 초원", "들판", "잔디밭", "들"),
    "forest": ("숲", "숲속", "깊은 숲", "정글", "밀림", "수풀"),
    "beach": ("해변", "바닷가", "모래사장", "해안", "백사장"),
    "sea": ("바다", "넓은 바다", "바다 위", "푸른 바다", "망망대해"),
    "underwater": ("바닷속", "물속", "깊은 바닷속", "바다 속", "해저", "심해"),
    "desert": ("사막", "모래 언덕", "모래벌판", "사막 한가운데"),
    "snowfield": ("눈밭", "설원", "하얀 눈밭", "눈 덮인 들판", "남극", "북극"),
    "mountains": ("산속", "산골짜기", "깊은 산속", "산중", "계곡", "골짜기"),
    "city": ("도시", "도심", "시내", "거리", "길거리", "골목"),
    "village": ("마을", "작은 마을", "시골 마을", "시골", "산골 마을"),
    "river": ("강가", "호숫가", "냇가", "시냇가", "연못", "개울"),
    "farm": ("농장", "시골 농장", "밭", "목장", "농가"),
    "garden": ("정원", "꽃밭", "공원", "마당", "뜰", "화단"),
    "room": ("방", "방 안", "집 안", "거실", "침실", "부엌"),
    "space": ("우주", "우주 공간", "은하수", "은하", "우주 속"),
    "sky": ("하늘", "하늘 위", "구름 위", "공중", "창공"),
}
_KO_TIMES: dict[str, tuple[str, ...]] = {
    "morning": ("아침", "이른 아침", "새벽", "동틀 무렵"),
    "day": ("낮", "한낮", "대낮", "오후"),
    "sunset": ("노을 지는", "해 질 녘", "해 지는", "저녁노을이 물든", "석양이 지는"),
    "night": ("밤", "깊은 밤", "한밤중", "어두운 밤"),
}
_KO_DUSK = ("해 질 녘", "저녁", "저녁 무렵")
_KO_CLEAR: dict[str, tuple[str, ...]] = {
    "morning": ("맑은 아침", "햇살 좋은 아침", "화창한 아침"),
    "day": ("맑은 날", "화창한 날", "햇살 가득한"),
    "sunset": ("노을 지는", "맑은 해 질 녘", "노을이 붉게 물든"),
    "night": ("맑은 밤", "별이 빛나는 밤", "별이 총총한 밤"),
}
_KO_WEATHERS: dict[str, tuple[str, ...]] = {
    "clear": ("맑은",),
    "cloudy": ("흐린", "구름 낀", "잔뜩 흐린"),
    "rain": ("비 오는", "비 내리는", "비가 쏟아지는"),
    "snow": ("눈 오는", "눈 내리는", "함박눈이 내리는"),
    "fog": ("안개 낀", "안개 자욱한", "안개가 내려앉은"),
}
_KO_WEATHER_TAGS: dict[str, tuple[str, ...]] = {
    "clear": ("맑음", "맑은 하늘"),
    "cloudy": ("흐림", "구름"),
    "rain": ("비", "비 오는 날"),
    "snow": ("눈 내림", "눈 오는 날"),
    "fog": ("안개", "짙은 안개"),
}
_KO_FRAMINGS: dict[Framing, tuple[str, ...]] = {
    "wide": ("와이드 샷", "멀리서 본 모습", "전경", "원경", "롱 샷"),
    "medium": ("미디엄 샷", "중경"),
    "close": ("클로즈업", "가까이서 본 모습", "근접 샷"),
}
_KO_SHOTS: dict[Framing | None, tuple[str, ...]] = {
    "wide": ("멀리서 본", "멀리 보이는"),
    "close": ("가까이서 본", "클로즈업한"),
}
_KO_POSITIONS: dict[Position, tuple[str, ...]] = {
    "left": ("왼쪽", "왼편"),
    "middle": ("가운데", "한가운데"),
    "right": ("오른쪽", "오른편"),
}
POSITION_WORDS: dict[Lang, tuple[str, ...]] = {
    "en": tuple(word for words in _EN_POSITIONS.values() for word in words),
    "ko": tuple(word for words in _KO_POSITIONS.values() for word in words),
}
"""Every word for a position."""
_KO_NUMBERS = {1: "한", 2: "두", 3: "세"}
_KO_PARTICLES: dict[str, tuple[str, str]] = {
    "은": ("은", "는"),
    "이": ("이", "가"),
    "을": ("을", "를"),
    "과": ("과", "와"),
    "으로": ("으로", "로"),
    "이랑": ("이랑", "랑"),
    "아": ("아", "야"),
    "이다": ("이다", "다"),
    "이에요": ("이에요", "예요"),
    "이었": ("이었", "였"),
}


def josa(word: str, particle: str) -> str:
    """`word` with its particle in the form its last sound asks for: josa("여우", "은") is "여우는".

    `particle` is the form after a consonant: 은 이 을 과 으로 이랑 아 이다 이에요 이었. Another one raises
    `KeyError`.
    """
    after_consonant, after_vowel = _KO_PARTICLES[particle]
    final = _final(word)
    closed = final > 0 and not (particle == "으로" and final == _RIEUL)
    return word + (after_consonant if closed else after_vowel)


_RIEUL = 8
_DIGIT_FINALS = {"0": 21, "1": _RIEUL, "3": 16, "6": 1, "7": _RIEUL, "8": _RIEUL}
_LETTER_FINALS = {"l": _RIEUL, "m": 16, "n": 4, "r": _RIEUL}


def _final(word: str) -> int:
    """Index of the last syllable's final consonant, 0 for none; digits and Latin letters as read aloud."""
    last = word.rstrip(")\"'” ")[-1:].lower()
    if "가" <= last <= "힣":
        return (ord(last) - ord("가")) % 28
    return _DIGIT_FINALS.get(last, 0) or _LETTER_FINALS.get(last, 0)


def _ko_hours(time: str | None, weather: str | None) -> tuple[str, ...]:
    """Ways to say a weather and an hour before a place, the canonical one first."""
    if time is None:
        return _KO_WEATHERS[weather] if weather else ("",)
    if weather is None:
        return _KO_TIMES[time]
    if weather == "clear":
        return _KO_CLEAR[time]
    noun = {"morning": "아침", "day": "날", "sunset": "해 질 녘", "night": "밤"}[time]
    return tuple(f"{sky} {noun}" for sky in _KO_WEATHERS[weather])


_KO_WHEN = {(t, w): _ko_hours(t, w) for t in (*_KO_TIMES, None) for w in (*_KO_WEATHERS, None)}


def _korean(scene: Scene, dice: _Dice) -> str:
    told = _told(scene, dice)
    style = dice.roll()
    if style > 0.86 and scene.subjects:
        return _korean_tags(scene, told, dice)
    where = _ko_where(scene, told, dice)
    look = _look("ko", told.look, dice)
    framing = dice.pick(_KO_FRAMINGS[told.framing]) if told.framing else ""
    if not scene.subjects:
        return _join(where + dice.word("", (" 풍경", "의 풍경")), look, framing)
    if told.position and any(subject.position for subject in scene.subjects):
        return _join(where, *_ko_placed(scene.subjects, dice), look, framing)
    words = _ko_subjects(scene.subjects, dice)
    if style > 0.76 and where:
        body = _ko_sentence(words, where, dice)
        return ". ".join(part for part in (body, look, framing) if part)
    if told.framing in _KO_SHOTS and dice.chance(0.35, canonical=False):
        shot, framing = dice.pick(_KO_SHOTS[told.framing]), ""
        return _join(_words(shot, _ko_link(where, words, scene, dice)), look)
    if told.look and dice.chance(0.2, canonical=False):
        look = f"{_index().looks[told.look].ko_adj} {dice.pick(('그림', '일러스트'))}"
    return _join(_ko_link(where, words, scene, dice), look, framing)


def _korean_tags(scene: Scene, told: _Told, dice: _Dice) -> str:
    parts = [_ko_subject(subject, dice) for subject in scene.subjects]
    if told.place:
        place = _index().places[told.place]
        parts.append(dice.word(place.ko, place.ko_more))
        if told.time:
            hour = _index().times[told.time]
            parts.append(dice.word(hour.ko, hour.ko_more, share=0.4))
        if told.weather:
            parts.append(dice.pick(_KO_WEATHER_TAGS[told.weather]))
    elif scene.place is None:
        parts.append(f"{_colour('ko', scene.background, dice)} 배경")
    framing = _KO_FRAMINGS[told.framing][0] if told.framing else ""
    return _join(*parts, _look("ko", told.look, dice), framing)


def _ko_where(scene: Scene, told: _Told, dice: _Dice) -> str:
    """Hour, weather and place as one noun phrase: 비 오는 밤 바닷가."""
    if told.place is None:
        return f"{_colour('ko', scene.background, dice)} 배경" if scene.place is None else ""
    options = _KO_PLACES[told.place]
    place = dice.word(options[0], options[1:], share=0.45)
    if told.time == "sunset" and told.weather is None and not told.glow:
        return _words(dice.pick(_KO_DUSK), place)
    return _words(dice.pick(_KO_WHEN[told.time, told.weather]), place)


def _ko_link(where: str, words: str, scene: Scene, dice: _Dice) -> str:
    """The place before what stands in it: 초원의 여우, or for more than one thing 초원에 있는 여우와 풍선."""
    if not where:
        return words
    short = len(scene.subjects) == 1 and scene.subjects[0].count == 1
    usual = f"{where}의 {words}" if short or scene.place is None else f"{where}에 있는 {words}"
    if scene.place is None:
        return dice.word(usual, (f"{where}에 {words}", f"{where} 위의 {words}", f"{where}, {words}"))
    return dice.word(usual, (f"{where}의 {words}", f"{where}에 있는 {words}", f"{where}, {words}"), share=0.5)


def _ko_sentence(words: str, where: str, dice: _Dice) -> str:
    subject = josa(words, "이")
    return dice.pick(
        (
            f"{where}에 {subject} 있다",
            f"{where}에 {subject} 있어요",
            f"{subject} {where}에 있다",
            f"{where}에 {subject} 있는 그림",
        )
    )


def _ko_placed(subjects: tuple[Subject, ...], dice: _Dice) -> list[str]:
    parts = []
    for subject in subjects:
        words = _ko_subject(subject, dice)
        if subject.position:
            words = f"{dice.word(*_first(_KO_POSITIONS[subject.position]))}에 {words}"
        parts.append(words)
    return parts


def _ko_subjects(subjects: tuple[Subject, ...], dice: _Dice) -> str:
    parts = [_ko_subject(subject, dice) for subject in subjects]
    link = dice.word("과", ("이랑",), share=0.05)
    return " ".join([*(josa(part, link) for part in parts[:-1]), parts[-1]])


def _ko_subject(subject: Subject, dice: _Dice) -> str:
    if subject.phrase:
        return subject.phrase[1]
    concept = _index().concepts[subject.concept]
    noun = dice.word(concept.ko, concept.ko_more)
    colour = _colour("ko", subject.colour, dice) if subject.colour else ""
    if subject.count == 1 and not dice.chance(0.08, canonical=False):
        return _words(colour, noun)
    return _words(colour, noun, f"{_KO_NUMBERS[subject.count]} {concept.counter}")


# --------------------------------------------------------------------------------------------- both


def _look(lang: Lang, look: str | None, dice: _Dice) -> str:
    if look is None:
        return ""
    word = _index().looks[look]
    return dice.word(word.en, word.en_more) if lang == "en" else dice.word(word.ko, word.ko_more)


def _colour(lang: Lang, colour: str, dice: _Dice) -> str:
    """A colour as it stands before a noun."""
    word = _index().colours[colour]
    if lang == "en":
        return dice.word(word.en_adj, word.en_more)
    return dice.word(word.ko_adj, (word.ko, *word.ko_more))


def _first(options: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return options[0], options[1:]


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
