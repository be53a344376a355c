"""From what a brief says to what a film shows: the story's missing parts, the shots, their sounds.

Film grammar: a wide shot says where, a medium one who, a close one what is felt, an action what happens, a
closing one how it ends. The hero is in every shot, by the same noun and in the same look; with somebody else
it keeps its side of the picture; places, hours and weathers change only between chapters.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jogak.film.plan.read import Reading, say
from jogak.film.plan.terms import Act, Mention
from jogak.film.plan.verbs import VERBS
from jogak.models.captions import Framing, Position, Scene, Subject, josa
from jogak.models.lexicon import Concept, lexicon
from jogak.spec import Event
from jogak.spec.film import Camera, EffectKind, Lang, Mood, ShotSize

TITLE_SECONDS, END_SECONDS = 2.0, 1.5
Role = Literal["place", "hero", "wish", "act", "turn", "rise", "close"]
"""What a shot does for the story: where, who, the wish, the deed, the turn, one more deed, the end."""

_ORDERS: dict[int, tuple[Role, ...]] = {
    4: ("place", "wish", "act", "close"),
    5: ("place", "hero", "wish", "act", "close"),
    6: ("place", "hero", "wish", "act", "turn", "close"),
    7: ("place", "hero", "wish", "act", "turn", "rise", "close"),
}
_SECONDS_A_SHOT = 3.5
_SIZES: dict[Role, ShotSize] = {
    "place": "wide", "hero": "medium", "wish": "close", "act": "action", "turn": "close", "rise": "action",
    "close": "closing",
}  # fmt: skip
_WEIGHTS: dict[Role, float] = {
    "place": 1.15, "hero": 1.0, "wish": 0.9, "act": 1.2, "turn": 0.95, "rise": 1.1, "close": 1.15,
}  # fmt: skip


@dataclass(frozen=True)
class Story:
    """A brief with its gaps filled: everything that a film needs to know."""

    lang: Lang
    hero: Mention
    companion: Mention | None
    landmark: Mention | None
    """A building or another piece of scenery that the brief names."""
    places: tuple[str, ...]
    place_words: Mapping[str, str]
    """What the brief calls its places."""
    times: tuple[str, ...]
    weathers: tuple[str, ...]
    look: str
    mood: Mood
    wish: Act | None
    """What is wished for, or done, before the deed."""
    act: Act
    """The deed: what the action shot shows."""
    second: Act | None
    """What is done after it."""
    reading: Reading
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Beat:
    """One shot before its words and its exact length."""

    role: Role
    size: ShotSize
    scene: Scene
    camera: Camera
    light: str
    motion: float
    weight: float
    changes: frozenset[str]
    """What is not as in the shot before: place, time, weather."""


# --------------------------------------------------------------------------------------------- the story

_HOMES: dict[str, tuple[str, ...]] = {
    "polar_bear": ("snowfield",), "penguin": ("snowfield",), "snowman": ("snowfield",),
    "santa_claus": ("snowfield",), "skier": ("snowfield",), "snowboarder": ("snowfield",),
    "camel": ("desert",), "scorpion": ("desert",), "lizard": ("desert",), "cow": ("farm",),
    "pig": ("farm",), "chicken": ("farm",), "rooster": ("farm",), "chick": ("farm",), "farmer": ("farm",),
    "tractor": ("farm",), "horse": ("meadow", "farm"), "sheep": ("meadow", "farm"),
    "goat": ("mountains", "meadow"), "lion": ("meadow",), "zebra": ("meadow",), "giraffe": ("meadow",),
    "elephant": ("meadow", "river"), "monkey": ("forest",), "gorilla": ("forest",), "tiger": ("forest",),
    "panda": ("forest",), "deer": ("forest",), "wolf": ("forest", "mountains"), "bear": ("forest", "river"),
    "owl": ("forest",), "squirrel": ("forest",), "fox": ("forest", "meadow"), "hedgehog": ("forest",),
    "raccoon": ("forest",), "rabbit": ("meadow", "forest"), "cat": ("village", "garden"),
    "black_cat": ("village",), "dog": ("garden", "village"), "mouse": ("room", "farm"),
    "hamster": ("room",), "frog": ("river",), "duck": ("river",), "swan": ("river",), "otter": ("river",),
    "beaver": ("river",), "crab": ("beach",), "turtle": ("beach",), "surfer": ("beach",),
    "flamingo": ("river",), "mermaid": ("underwater",), "dolphin": ("sea",), "whale": ("sea", "underwater"),
    "seal": ("beach",), "astronaut": ("space",), "alien": ("space",), "space_monster": ("space",),
    "rocket": ("space",), "flying_saucer": ("space",), "satellite": ("space",), "dragon": ("mountains",),
    "phoenix": ("sky", "mountains"), "unicorn": ("forest", "meadow"), "fairy": ("forest", "garden"),
    "elf": ("forest",), "witch": ("forest",), "wizard": ("forest", "village"), "ghost": ("village",),
    "vampire": ("village",), "zombie": ("city",), "robot": ("city",), "superhero": ("city",),
    "detective": ("city",), "chef": ("room",), "scientist": ("room",), "programmer": ("room",),
    "pilot": ("sky",), "angel": ("sky",), "airplane": ("sky",), "helicopter": ("sky",),
    "balloon": ("sky", "meadow"), "kite": ("sky",), "rock_climber": ("mountains",), "king": ("garden",),
    "prince": ("garden",), "princess": ("garden",), "teddy_bear": ("room",), "ladybug": ("garden",),
    "bee": ("garden",), "butterfly": ("garden",),
}  # fmt: skip
_KIND_HOMES: dict[str, tuple[str, ...]] = {
    "person": ("village", "garden", "city"), "fantasy": ("forest", "mountains"),
    "animal": ("meadow", "forest"), "bird": ("meadow", "sky"), "fish": ("underwater",),
    "insect": ("garden",), "plant": ("garden", "meadow"), "building": ("village",),
    "nature": ("meadow", "river"), "sky": ("sky",), "food": ("room",), "tool": ("room",),
    "instrument": ("room", "garden"), "furniture": ("room",), "clothes": ("room",),
    "toy": ("room", "garden"), "sport": ("garden",), "object": ("room", "village"),
}  # fmt: skip
_STANDS_IN: dict[str, str] = {
    "castle": "mountains", "japanese_castle": "mountains", "hut": "forest", "tent": "forest",
    "campsite": "forest", "school": "city", "office_building": "city", "hospital": "city", "bank": "city",
    "hotel": "city", "train_station": "city", "bus_stop": "city", "department_store": "city",
    "stadium": "city", "factory": "city", "ferris_wheel": "garden", "roller_coaster": "garden",
    "circus_tent": "meadow", "playground_slide": "garden", "carousel_horse": "garden", "fountain": "garden",
    "bed": "room", "window": "room", "door": "room",
}  # fmt: skip
_LOCALS: dict[str, tuple[str, ...]] = {
    "meadow": ("rabbit", "fox", "horse"), "forest": ("fox", "bear", "deer"),
    "beach": ("turtle", "crab", "dog"), "sea": ("dolphin", "whale"),
    "underwater": ("octopus", "tropical_fish", "turtle"), "desert": ("camel", "fox"),
    "snowfield": ("penguin", "polar_bear", "fox"), "mountains": ("goat", "eagle", "bear"),
    "city": ("cat", "robot", "dog"), "village": ("cat", "dog", "child"), "river": ("duck", "frog", "otter"),
    "farm": ("pig", "chick", "cow"), "garden": ("cat", "butterfly", "rabbit"),
    "room": ("cat", "teddy_bear", "hamster"), "space": ("astronaut", "robot"),
    "sky": ("bird", "balloon", "angel"),
}  # fmt: skip
_DEFAULT_ACTS: dict[str, tuple[str, ...]] = {
    "animal": ("walk", "run", "look"), "bird": ("fly", "sing"), "fish": ("swim",), "insect": ("fly",),
    "person": ("walk", "run", "dance"), "fantasy": ("walk", "dance", "magic"), "vehicle": ("travel",),
    "sky": ("look",),
}  # fmt: skip
_FLYERS = frozenset({
    "airplane", "helicopter", "rocket", "flying_saucer", "balloon", "kite", "dragon", "fairy", "bee",
    "butterfly", "phoenix", "angel", "small_plane", "parachute", "satellite", "witch", "bat",
})  # fmt: skip
_SWIMMERS = frozenset({"mermaid", "dolphin", "whale", "seal", "otter", "frog", "duck", "turtle", "crocodile"})
_MOOD_OF: dict[str, Mood] = {
    "ghost": "mysterious", "vampire": "mysterious", "witch": "mysterious", "wizard": "mysterious",
    "fairy": "mysterious", "zombie": "tense", "dragon": "epic", "superhero": "epic", "clown": "playful",
    "monkey": "playful", "astronaut": "mysterious", "unicorn": "mysterious", "alien": "mysterious",
    "space_monster": "tense",
}  # fmt: skip


def tell(reading: Reading, rng: random.Random) -> Story:
    """Fill what the brief leaves open, and say in the notes what was assumed."""
    notes = list(reading.notes)
    lang = reading.lang
    hero = _hero(reading)
    places = reading.places or _place_of_scenery(reading)
    if hero is None:
        concept = lexicon().concept(
            rng.choice(_LOCALS[places[0] if places else rng.choice(("meadow", "forest"))])
        )
        said = concept.ko if lang == "ko" else concept.en
        hero = Mention(concept.id, said, said, role="subject")
        notes.append(
            say(
                lang,
                f"누구의 이야기인지 알 수 없어 {josa(said, '을')} 주인공으로 삼았어요.",
                f"The brief names no hero that pocket knows; it became the {said}.",
            )
        )
    concept = lexicon().concept(hero.concept)
    others = [m for m in reading.mentions if m.concept != hero.concept]
    companion = _companion(others)
    landmark = next((m for m in others if m is not companion and _is_scenery(m)), None)
    wish, act, second = _acts(reading, concept, rng)
    if not places or (reading.goal and len(places) == 1):
        home = rng.choice([p for p in _homes(concept) if p not in places] or ["village"])
        if not places:
            notes.append(
                say(
                    lang,
                    f"장소를 말하지 않아 {josa(_place(home, lang), '으로')} 정했어요.",
                    f"No place is named; it became the {_place(home, lang)}.",
                )
            )
        places = (home, *places)
    place_words = dict(reading.place_words)
    if "sea" in places and not _at_sea(reading, concept):
        # who walks, stands where the sea is seen
        places = tuple("beach" if place == "sea" else place for place in places)
        if "sea" in place_words:
            place_words.setdefault("beach", place_words["sea"])
    times, weathers = reading.times, reading.weathers
    mood = _mood(reading, concept, act, rng)
    if not times:
        times = (
            ("night",)
            if mood == "mysterious" and concept.id in _MOOD_OF and places[0] != "space"
            else (rng.choice(("day", "day", "morning", "sunset")),)
        )
    return Story(
        lang=lang,
        hero=hero,
        companion=companion,
        landmark=landmark,
        places=tuple(dict.fromkeys(places))[:3],
        place_words=place_words,
        times=times[:2],
        weathers=(weathers or ("clear",))[:2],
        look=_look(reading, hero, companion),
        mood=mood,
        wish=wish,
        act=act,
        second=second,
        reading=reading,
        notes=tuple(notes),
    )


_AFLOAT = frozenset({"swim", "ride", "travel", "fish", "drive", "fly", "launch"})


def _at_sea(reading: Reading, hero: Concept) -> bool:
    """Whether a hero may be out on the sea: one that swims, sails or flies, or with a boat."""
    cast = [hero, *(lexicon().concept(mention.concept) for mention in reading.mentions)]
    afloat = any(concept.habitat in {"water", "sky"} or concept.id in _SWIMMERS | _FLYERS for concept in cast)
    sails = any(act.id in _AFLOAT and not act.wished for act in reading.acts)
    return afloat or (sails and not reading.goal)


def _place(place: str, lang: Lang) -> str:
    word = lexicon().word("places", place)
    return word.ko if lang == "ko" else word.en


def _is_scenery(mention: Mention) -> bool:
    return lexicon().concept(mention.concept).kind in {"building", "nature", "furniture"}


def _hero(reading: Reading) -> Mention | None:
    """Who it is about: a being that does something, before one that something is done to, before a thing."""

    def rank(mention: Mention) -> tuple[float, int]:
        concept = lexicon().concept(mention.concept)
        role = {"subject": 2.0, "": 1.5, "with": 0.5, "object": 0.0, "setting": -2.0}[mention.role]
        alive = 1.6 if concept.kind not in {"vehicle", "sky", "toy"} else 0.8
        return (
            role
            + (alive if concept.can_act else 0)
            + (1 if mention.name else 0)
            - (2 if _is_scenery(mention) else 0),
            -mention.start,
        )

    fit = [m for m in reading.mentions if m.role != "setting" or len(reading.mentions) == 1]
    return max(fit, key=rank, default=None)


def _companion(others: Sequence[Mention]) -> Mention | None:
    def rank(mention: Mention) -> float:
        role = {"object": 2, "with": 2, "subject": 1.5, "": 1, "setting": 0}[mention.role]
        return (
            role
            + (0.5 if lexicon().concept(mention.concept).can_act else 0)
            - (1.5 if _is_scenery(mention) else 0)
        )

    return max(others, key=rank, default=None)


def _homes(concept: Concept) -> tuple[str, ...]:
    if concept.id in _HOMES:
        return _HOMES[concept.id]
    if concept.kind == "vehicle":
        return {"water": ("sea",), "sky": ("sky",)}.get(concept.habitat, ("city", "village"))
    if concept.habitat == "water":
        return ("sea", "river")
    return _KIND_HOMES[concept.kind]


def _place_of_scenery(reading: Reading) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_STANDS_IN[m.concept] for m in reading.mentions if m.concept in _STANDS_IN))[
        :1
    ]


_YEARNING = frozenset({"miss", "wish"})


def _acts(reading: Reading, hero: Concept, rng: random.Random) -> tuple[Act | None, Act, Act | None]:
    """What is wished for (or done first), the deed, and what is done after it."""
    acts = list(reading.acts)
    if not acts:
        if hero.id in _FLYERS or hero.id == "bird":
            return None, Act("fly"), None
        if hero.id in _SWIMMERS:
            return None, Act("swim"), None
        return None, Act(rng.choice(_DEFAULT_ACTS.get(hero.kind, ("look",)))), None
    wish = next((act for act in acts if act.wished or act.id in _YEARNING), None)
    if wish is None and len(acts) > 1:
        wish = acts[0]
    deeds = [act for act in acts if act is not wish]
    if not deeds and wish and wish.id in _YEARNING and reading.goal:
        place = reading.place_words.get(reading.places[-1]) or _place(reading.places[-1], reading.lang)
        return wish, Act("travel", say(reading.lang, josa(place, "으로"), f"to the {place}")), None
    if not deeds:
        return wish, acts[0], None
    return wish, deeds[0], deeds[1] if len(deeds) > 1 else None


def _mood(reading: Reading, hero: Concept, act: Act, rng: random.Random) -> Mood:
    moods: dict[str, Mood] = {m: m for m in _MOODS}
    if reading.mood in moods:
        return moods[reading.mood]
    if hero.id in _MOOD_OF:
        return _MOOD_OF[hero.id]
    if reading.acts and VERBS[act.id].mood:
        return VERBS[act.id].mood or "calm"
    if "thunder" in reading.cues:
        return "tense"
    if "rain" in reading.weathers or "fog" in reading.weathers:
        return "calm" if "clear" in reading.weathers else rng.choice(("calm", "mysterious"))
    if "space" in reading.places or "underwater" in reading.places:
        return "mysterious"
    if "night" in reading.times or "sunset" in reading.times:
        return "calm"
    return rng.choice(("calm", "happy", "playful"))


_MOODS: tuple[Mood, ...] = ("calm", "happy", "sad", "tense", "epic", "mysterious", "playful")


def _look(reading: Reading, hero: Mention, companion: Mention | None) -> str:
    """The look asked for, or the first that the hero and its company were drawn in."""
    if reading.look:
        return reading.look
    cast = [lexicon().concept(m.concept).icons for m in (hero, companion) if m]
    looks = lexicon().looks
    return next((look.id for look in looks if all(look.icon_set in icons for icons in cast)), looks[0].id)


# --------------------------------------------------------------------------------------------- the shots


def lay_out(story: Story, seconds: float, rng: random.Random) -> tuple[Beat, ...]:
    """Shots for a film of `seconds`, title and end cards included: 4 for 15 s, up to 7 for 30 s."""
    count = min(7, max(4, round((seconds - TITLE_SECONDS - END_SECONDS) / _SECONDS_A_SHOT)))
    order = _ORDERS[count]
    side: Position = rng.choice(("left", "right"))
    beats: list[Beat] = []
    for role in order:
        place, time, weather = (
            _at(options, role, order, story) for options in (story.places, story.times, story.weathers)
        )
        scene = Scene(
            _cast(story, role, side, weather),
            place=place,
            time=time,
            weather=weather,
            look=story.look,
            framing=_framing(story, role),
        )
        before = beats[-1] if beats else None
        beats.append(
            Beat(
                role=role,
                size=_SIZES[role],
                scene=scene,
                camera=_camera(story, role, scene, before.camera if before else None, rng),
                light=_light(scene, story.lang),
                motion=_motion(story, role),
                weight=_WEIGHTS[role],
                changes=frozenset(
                    name
                    for name in ("place", "time", "weather")
                    if before and getattr(scene, name) != getattr(before.scene, name)
                ),
            )
        )
    return tuple(beats)


def _at(options: tuple[str, ...], role: Role, order: tuple[Role, ...], story: Story) -> str:
    """Which of several places, hours or weathers a shot has: a chapter begins with the deed, turn or end."""
    if len(options) == 1:
        return options[0]
    first = order.index("act")
    if options is story.weathers:
        change = order.index("turn") if "turn" in order else order.index("close")
    elif options is story.places and story.reading.goal:
        change = order.index("turn") if "turn" in order else first
    else:
        change = first
    number = order.index(role)
    if number < change:
        return options[0]
    return options[-1] if len(options) == 2 or role in {"close", "rise"} else options[1]


def _cast(story: Story, role: Role, side: Position, weather: str) -> tuple[Subject, ...]:
    hero, other = story.hero, story.companion
    if other and lexicon().concept(other.concept).kind == "sky" and weather != story.weathers[-1]:
        other = None  # a rainbow comes after the rain
    other_side: Position = "right" if side == "left" else "left"
    if role == "wish" or role == "turn":
        return (Subject(hero.concept, 1, None, hero.colour),)
    if role == "hero":
        return (Subject(hero.concept, hero.count, None, hero.colour),)
    if role == "place":
        beside = story.landmark or (other if other and _is_scenery(other) else None)
        if beside and hero.count == 1:
            return (
                Subject(hero.concept, 1, side, hero.colour),
                Subject(beside.concept, 1, other_side, beside.colour),
            )
        return (Subject(hero.concept, hero.count, side if hero.count == 1 else None, hero.colour),)
    if other is None:
        return (Subject(hero.concept, hero.count, None, hero.colour),)
    room = 3 - hero.count
    if room < 1:
        return (
            Subject(hero.concept, 2, side, hero.colour),
            Subject(other.concept, 1, other_side, other.colour),
        )
    return (
        Subject(hero.concept, hero.count, side, hero.colour),
        Subject(other.concept, min(other.count, room), other_side, other.colour),
    )


def _framing(story: Story, role: Role) -> Framing | None:
    if role in {"place", "close"}:
        return "wide"
    if role in {"wish", "turn"}:
        return "close"
    # several together were drawn as wide or in no named size
    return "medium" if role == "hero" and story.hero.count == 1 else None


_UPWARDS = frozenset({"fly", "launch", "climb", "jump", "wish"})
_ALONG = frozenset(
    {"run", "walk", "chase", "escape", "ride", "drive", "travel", "swim", "carry", "return", "rescue"}
)


def _camera(story: Story, role: Role, scene: Scene, before: Camera | None, rng: random.Random) -> Camera:
    options: tuple[Camera, ...]
    if role == "place":
        options = ("pan_right", "pan_left", "zoom_in")
        if scene.place in {"mountains", "city", "forest", "sky", "space"}:
            options = ("tilt_up", "tilt_down", *options)
    elif role == "hero":
        options = ("zoom_in", "still", "pan_right")
    elif role == "wish":
        options = ("zoom_in", "still", "tilt_up")
    elif role in {"act", "rise"}:
        act = story.second if role == "rise" and story.second else story.act
        options = ("tilt_up",) if act.id in _UPWARDS else ("pan_right", "pan_left")
        if act.id not in _UPWARDS | _ALONG:
            options = ("zoom_in", "pan_right", "pan_left")
    elif role == "turn":
        options = ("still", "zoom_in", "tilt_up")
    else:
        options = ("zoom_out", "zoom_out", "tilt_up")
    return rng.choice([camera for camera in options if camera != before] or options)


def _motion(story: Story, role: Role) -> float:
    act = story.second if role == "rise" and story.second else story.act
    if role in {"act", "rise"}:
        return VERBS[act.id].motion
    return {"place": 0.4, "hero": 0.45, "wish": 0.3, "turn": 0.35, "close": 0.4}[role]


_LIGHTS: dict[str, tuple[str, str]] = {
    "morning": ("soft morning light", "부드러운 아침 햇살"), "day": ("bright daylight", "밝은 낮빛"),
    "sunset": ("warm evening glow", "따뜻한 노을빛"), "night": ("cool moonlight", "서늘한 달빛"),
    "cloudy": ("soft grey light", "부드러운 잿빛"), "rain": ("dim light in the rain", "빗속의 어스름한 빛"),
    "snow": ("pale light of snow", "눈에 비친 하얀 빛"),
    "fog": ("pale light in the mist", "안개에 번진 빛"), "room": ("warm lamplight", "따뜻한 불빛"),
    "space": ("starlight", "별빛"), "underwater": ("blue light of the deep", "푸른 물빛"),
}  # fmt: skip


def _light(scene: Scene, lang: Lang) -> str:
    time, weather, place = scene.time or "day", scene.weather or "clear", scene.place or ""
    if place in {"space", "underwater"} or (place == "room" and time == "night"):
        key = place
    else:
        key = time if weather == "clear" or place == "room" else weather
    return _LIGHTS[key][0 if lang == "en" else 1]


def shot_seed(seed: int, number: int) -> int:
    """A shot's own seed, from the film's."""
    return int.from_bytes(hashlib.blake2s(f"{seed}/{number}".encode(), digest_size=4).digest(), "big")


def fit_seconds(
    wanted: Sequence[float], room: float, least: Sequence[float] | None = None
) -> tuple[float, ...]:
    """Lengths in quarters of a second (the last takes the rest) that fill `room`, in proportion to `wanted`.

    No shot is shorter than its `least`. Raises `ValueError` when these do not fit.
    """
    floors = [math.ceil(x * 4 - 1e-9) for x in (least or [0.25] * len(wanted))]
    total = math.floor(room * 4 + 1e-9)
    if sum(floors) > total:
        raise ValueError(f"the shots need {sum(floors) / 4} s, there are {room} s")
    scale = total / sum(wanted)
    units = floors[:]
    for _ in range(total - sum(floors)):
        shortest = max(range(len(units)), key=lambda i: wanted[i] * scale - units[i])
        units[shortest] += 1
    lengths = [unit / 4 for unit in units]
    lengths[-1] = round(lengths[-1] + room - total / 4, 3)
    return tuple(lengths)


# --------------------------------------------------------------------------------------------- the sounds


class _Bed(NamedTuple):
    kind: EffectKind
    gain_db: float


_PLACE_BEDS: dict[str, tuple[_Bed, ...]] = {
    "beach": (_Bed("waves", -4),), "sea": (_Bed("waves", -4), _Bed("wind", -14)),
    "underwater": (_Bed("stream", -14),), "desert": (_Bed("wind", -6),), "snowfield": (_Bed("wind", -8),),
    "mountains": (_Bed("wind", -10),), "river": (_Bed("stream", -6),), "city": (_Bed("crowd", -10),),
    "sky": (_Bed("wind", -8),),
}  # fmt: skip
_GREEN = frozenset({"meadow", "forest", "garden", "farm", "village", "river", "mountains"})
_VOICES: dict[str, tuple[EffectKind, float]] = {
    "dog": ("bark", -4), "poodle": ("bark", -4), "guide_dog": ("bark", -4), "wolf": ("bark", -10),
    "cat": ("meow", -4), "black_cat": ("meow", -4), "lion": ("meow", -14), "tiger": ("meow", -14),
    "bell": ("bell", -4), "alarm_clock": ("bell", -6), "wind_chime": ("chime", -4), "fairy": ("magic", -8),
    "wizard": ("magic", -8), "witch": ("magic", -8), "magic_wand": ("magic", -6), "genie": ("magic", -8),
    "unicorn": ("magic", -10), "star": ("chime", -8), "shining_star": ("chime", -8),
    "comet": ("whoosh", -6), "horse": ("steps", -6), "firecracker": ("impact", -4),
    "explosion": ("impact", -2), "door": ("door", -4), "fountain": ("splash", -8),
}  # fmt: skip
_NATURES: dict[str, _Bed] = {
    "dragon": _Bed("fire", -10), "fire": _Bed("fire", -6), "phoenix": _Bed("fire", -10),
    "ghost": _Bed("wind", -8), "wave": _Bed("waves", -6),
}  # fmt: skip
_MOMENT_CUES: tuple[tuple[EffectKind, Role], ...] = (
    ("thunder", "place"), ("thunder", "act"), ("bell", "hero"), ("door", "wish"), ("magic", "turn"),
    ("steps", "hero"), ("engine", "hero"),
)  # fmt: skip
"""Which shot has a moment that the brief names."""
_BED_CUES: dict[EffectKind, float] = {
    "wind": -6, "fire": -6, "birds": -6, "waves": -5, "crowd": -8, "stream": -8, "insects": -6,
}  # fmt: skip


def sounds(beat: Beat, story: Story, seconds: float) -> tuple[Event, ...]:
    """What is heard besides music and voice: beds by place, hour and weather; moments by what happens."""
    events = [Event(kind=bed.kind, at=0, gain_db=bed.gain_db) for bed in _beds(beat, story)]
    at = round(min(seconds * 0.58, seconds - 0.6), 2)
    moments: dict[EffectKind, float] = {}
    if beat.role == "act" or beat.role == "rise":
        act = story.second if beat.role == "rise" and story.second else story.act
        kind = VERBS[act.id].sound if beat.role == "act" or story.second else None
        dry = kind == "splash" and beat.scene.place not in {"sea", "underwater", "river", "beach"}
        if kind == "steps" and lexicon().concept(story.hero.concept).kind == "vehicle":
            kind = "engine"
        if kind and not dry and kind not in {bed.kind for bed in _beds(beat, story)}:
            moments[kind] = -4
    figure = story.companion if beat.role == "close" else story.hero
    if beat.role in {"wish", "close"} and figure:
        concept = lexicon().concept(figure.concept)
        if concept.id in _VOICES:
            moments.setdefault(*_VOICES[concept.id])
        elif concept.kind == "vehicle" and beat.role == "wish":
            moments.setdefault("engine", -8)
    for cue, role in _MOMENT_CUES:
        if cue in story.reading.cues and beat.role == role:
            moments.setdefault(cue, -3)
    if beat.role == "close" and story.mood in {"happy", "mysterious", "calm"}:
        moments.setdefault("chime", -12)
    events += [
        Event(kind=kind, at=round(max(0.3, at - 0.5 * number), 2), gain_db=gain)
        for number, (kind, gain) in enumerate(moments.items())
    ]
    return tuple(events[:12])


def _beds(beat: Beat, story: Story) -> list[_Bed]:
    scene = beat.scene
    place, night = scene.place or "", scene.time == "night"
    beds = {bed.kind: bed for bed in _PLACE_BEDS.get(place, ())}
    if place in _GREEN and scene.weather in {"clear", "cloudy"}:
        beds["insects" if night else "birds"] = _Bed("insects" if night else "birds", -9)
    if scene.weather == "rain" and place not in {"underwater", "space"}:
        beds["rain"] = _Bed("rain", -12 if place == "room" else -5)
    if scene.weather in {"snow", "fog"} and place not in {"underwater", "space", "room"}:
        beds.setdefault("wind", _Bed("wind", -12))
    for cue, gain in _BED_CUES.items():
        if cue in story.reading.cues and place not in {"underwater", "space"}:
            beds[cue] = _Bed(cue, gain)
    nature = _NATURES.get(story.hero.concept) or (
        _NATURES.get(story.companion.concept) if story.companion else None
    )
    if nature and beat.role in {"wish", "act", "close"}:
        beds.setdefault(nature.kind, nature)
    return sorted(beds.values(), key=lambda bed: -bed.gain_db)[:3]
