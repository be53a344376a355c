"""Who a puppet is: kind, age, hair or fur, face, clothes. The same identity draws the same character in any pose."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from pocket.data.puppets.words import (
    ANIMALS,
    BEARDS,
    BOTTOMS,
    COLOURS,
    FURS_OF,
    GLASSES,
    HAIR_COLOURS,
    HAIRS,
    HATS,
    KINDS,
    LOOKS,
    PATTERNS,
    PEOPLE,
    SHOES,
    SKINS,
    TOPS,
    Age,
    Look,
    Sex,
)  # fmt: skip


class Garment(NamedTuple):
    """A piece of clothing: its kind in `words`, its colour's id, and for a top a pattern or ""."""

    kind: str
    colour: str
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Puppet:
    """A character. A field that does not apply is "" or None.

    People have `sex`, `skin`, `hair`, `hair_colour`; animals have `fur`. Raises `ValueError` for a word that
    the tables lack, so that a picture never differs from its caption.
    """

    kind: str = "human"
    age: Age = "child"
    sex: Sex = ""
    skin: str = ""
    hair: str = ""
    hair_colour: str = ""
    fur: str = ""
    glasses: str = ""
    beard: str = ""
    hat: Garment | None = None
    scarf: str = ""
    """Its colour."""
    top: Garment | None = None
    bottom: Garment | None = None
    shoes: Garment | None = None
    look: Look = "soft_3d"

    def __post_init__(self) -> None:
        human = self.kind == "human"
        _one_of("kind", self.kind, KINDS)
        _one_of("look", self.look, LOOKS)
        if human:
            _one_of("age and sex", (self.age, self.sex), PEOPLE)
            _one_of("skin", self.skin, SKINS)
            _one_of("hair", self.hair, HAIRS)
        else:
            _one_of("fur", self.fur, FURS_OF[self.kind])
            _one_of("age", self.age, ("child", "adult"))
        if self.hair and self.hair != "bald":
            _one_of("hair colour", self.hair_colour, HAIR_COLOURS)
        for name, value, known in (
            ("glasses", self.glasses, GLASSES), ("beard", self.beard, BEARDS), ("scarf", self.scarf, COLOURS),
        ):  # fmt: skip
            if value:
                _one_of(name, value, known)
        for garment, known in (
            (self.hat, HATS),
            (self.top, TOPS),
            (self.bottom, BOTTOMS),
            (self.shoes, SHOES),
        ):
            if garment is not None:
                _one_of("garment", garment.kind, known)
                _one_of("colour", garment.colour, COLOURS)
                if garment.pattern:
                    _one_of("pattern", garment.pattern, PATTERNS)
        if not human and (self.sex or self.skin or self.hair or self.beard):
            raise ValueError("an animal has fur, not skin, hair, beard or sex")

    @property
    def human(self) -> bool:
        return self.kind == "human"


def _one_of(what: str, value: object, known: object) -> None:
    if value not in known:  # type: ignore[operator]
        raise ValueError(f"{value!r} is no {what} of a puppet; known are {', '.join(map(str, known))}")  # type: ignore[call-overload]


GIRLS_HAIR = ("short", "curly", "bob", "long", "ponytail", "pigtails", "braids", "bun")
BOYS_HAIR = ("short", "tousled", "side_part", "curly")
CLOTH = tuple(colour for colour in COLOURS if colour not in ("black", "grey"))


def random_puppet(rng: random.Random, look: Look | None = None, kind: str | None = None) -> Puppet:
    """Any puppet; the same state of `rng` gives the same one. Half are people."""
    if kind is None:
        kind = "human" if rng.random() < 0.5 else rng.choice(ANIMALS)
    look = look or rng.choice(LOOKS)
    return _person(rng, look) if kind == "human" else _animal(rng, kind, look)


def _person(rng: random.Random, look: Look) -> Puppet:
    age: Age = rng.choices(("child", "adult", "elder"), (0.55, 0.33, 0.12))[0]
    sex: Sex = rng.choice(("female", "male"))
    girl = sex == "female"
    hair = rng.choice(GIRLS_HAIR if girl else BOYS_HAIR)
    if age == "elder":
        hair = rng.choice(("short", "curly", "bun") if girl else ("short", "side_part", "bald"))
    elif age == "adult" and not girl and rng.random() < 0.12:
        hair = "bald"
    colours = (
        ("grey", "white") if age == "elder" else ("black", "brown", "red", "blond") * 3 + ("pink", "blue")
    )
    beard = ""
    if not girl and age != "child" and rng.random() < 0.45:
        beard = rng.choice(tuple(BEARDS))
    top, bottom = _outfit(rng, girl, rng.random())
    bare = hair != "bald" or bool(beard)
    return Puppet(
        kind="human",
        age=age,
        sex=sex,
        skin=rng.choice(tuple(SKINS)),
        hair=hair,
        hair_colour=rng.choice(colours) if bare else "",
        glasses=rng.choices(("", "round", "square", "sun"), (0.68, 0.16, 0.1, 0.06))[0],
        beard=beard,
        hat=_hat(rng, girl, 0.34),
        scarf=_scarf(rng, top, 0.22),
        top=top,
        bottom=bottom,
        shoes=Garment(
            rng.choice(("boots", "shoes", "shoes")) if top.kind != "raincoat" else "boots",
            rng.choice(tuple(COLOURS)),
        ),
        look=look,
    )


def _animal(rng: random.Random, kind: str, look: Look) -> Puppet:
    known = FURS_OF[kind]
    fur = known[0] if rng.random() < 0.6 else rng.choice(known)
    dressed = rng.random() < 0.88
    top, bottom = _outfit(rng, rng.random() < 0.5, rng.random()) if dressed else (None, None)
    if top is not None and bottom is not None and bottom.kind == "trousers" and rng.random() < 0.4:
        bottom = None
    return Puppet(
        kind=kind,
        age="child" if rng.random() < 0.7 else "adult",
        fur=fur,
        glasses=rng.choices(("", "round", "square"), (0.82, 0.12, 0.06))[0],
        hat=_hat(rng, True, 0.25),
        scarf=_scarf(rng, top, 0.3 if dressed else 0.8),
        top=top,
        bottom=bottom,
        shoes=Garment(rng.choice(("boots", "shoes")), rng.choice(tuple(COLOURS)))
        if dressed and rng.random() < 0.35
        else None,
        look=look,
    )


def _scarf(rng: random.Random, top: Garment | None, share: float) -> str:
    if rng.random() >= share or (top is not None and top.kind in ("raincoat", "hanbok")):
        return ""
    return rng.choice([colour for colour in CLOTH if top is None or colour != top.colour])


def _hat(rng: random.Random, girl: bool, share: float) -> Garment | None:
    if rng.random() >= share:
        return None
    kinds = [
        "beanie",
        "cap",
        "straw_hat",
        "beret",
        "party_hat",
        "top_hat",
        "crown",
        *(["bow", "bow"] if girl else []),
    ]
    kind = rng.choice(kinds)
    colour = "yellow" if kind == "crown" else rng.choice(CLOTH)
    return Garment(kind, colour)


def _outfit(rng: random.Random, girl: bool, roll: float) -> tuple[Garment, Garment | None]:
    colour, other = rng.sample(CLOTH, 2)
    pattern = rng.choices(("", "stripes", "dots"), (0.62, 0.26, 0.12))[0]
    if roll < 0.09:
        return Garment("raincoat", rng.choice(("yellow", "yellow", "red", "blue", "green", "pink"))), None
    if roll < 0.20:
        return Garment("coat", colour), Garment("trousers", rng.choice(tuple(COLOURS)))
    if roll < 0.28:
        bottom = "hanbok_skirt" if girl else "trousers"
        return Garment("hanbok", colour), Garment(bottom, other)
    if girl and roll < 0.52:
        return Garment("dress", colour, pattern), None
    top = Garment(rng.choice(("t_shirt", "shirt", "sweater")), colour, pattern)
    bottoms = (
        ("skirt", "trousers", "shorts", "dungarees")
        if girl
        else ("trousers", "trousers", "shorts", "dungarees")
    )
    kind = rng.choice(bottoms)
    below = ("blue", "brown", "black", "grey", "green", "red", "white", "purple")
    return top, Garment(kind, rng.choice([name for name in below if name != colour]))
