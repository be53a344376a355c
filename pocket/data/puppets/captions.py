"""What a puppet's picture shows, in English and in Korean."""

from __future__ import annotations

import random
import re

from jogak.models.captions import Lang, josa
from jogak.models.lexicon import lexicon
from pocket.data.puppets.identity import Garment, Puppet
from pocket.data.puppets.poses import Pose
from pocket.data.puppets.words import (
    BEARDS,
    BOTTOMS,
    COLOURS,
    EXPRESSIONS,
    FURS,
    FURS_OF,
    GLASSES,
    HAIR_COLOURS,
    HAIRS,
    HATS,
    KINDS,
    PATTERNS,
    PEOPLE,
    POSES,
    SCARF,
    SELF_COLOURED,
    SHOES,
    SKINS,
    TOPS,
    VIEWS,
    Wear,
)


def caption(
    puppet: Puppet, pose: Pose, lang: Lang, rng: random.Random | None = None, look_too: bool = True
) -> str:
    """Who is seen, in what clothes, doing what: everything that can be seen, or with `rng` a variant.

    Variants leave out some of it and may order it otherwise. What the picture hides (a face from behind) is
    never said; nor is, without `look_too`, the look in which it is drawn.
    """
    said = _Said(puppet, pose, rng)
    said.look = said.look if look_too else None
    return _english(said) if lang == "en" else _korean(said)


def action(pose: Pose, lang: Lang, look_too: bool = True) -> str:
    """Only what is done, with which face and from where: "waving with a happy smile, seen from behind"."""
    return _en_action(pose, look_too, True) if lang == "en" else _ko_action(pose, look_too, True)


class _Said:
    """What this caption mentions."""

    def __init__(self, puppet: Puppet, pose: Pose, rng: random.Random | None) -> None:
        def keep(share: float) -> bool:
            return rng is None or rng.random() < share

        self.puppet, self.pose, self.rng = puppet, pose, rng
        behind = pose.view == "back"
        self.skin = SKINS[puppet.skin] if puppet.skin and keep(0.25) else None
        self.hair = HAIRS[puppet.hair] if puppet.hair and keep(0.9) else None
        self.hair_colour = HAIR_COLOURS[puppet.hair_colour] if puppet.hair_colour else None
        self.glasses = GLASSES[puppet.glasses] if puppet.glasses and not behind and keep(0.85) else None
        self.beard = BEARDS[puppet.beard] if puppet.beard and not behind and keep(0.9) else None
        usual = puppet.kind in SELF_COLOURED and puppet.fur == FURS_OF[puppet.kind][0]
        self.fur = FURS[puppet.fur] if puppet.fur and not usual and keep(0.9) else None
        self.hat = puppet.hat if keep(0.9) else None
        self.scarf = puppet.scarf if keep(0.85) else ""
        self.clothes: list[tuple[Garment, Wear]] = [
            (garment, known[garment.kind])
            for garment, known, share in (
                (puppet.top, TOPS, 0.95),
                (puppet.bottom, BOTTOMS, 0.85),
                (puppet.shoes, SHOES, 0.75),
            )
            if garment is not None and keep(share)
        ]
        self.face = not behind and keep(0.6)
        self.view = keep(0.6)
        look = next(word for word in lexicon().looks if word.id == puppet.look)
        self.look = look if keep(0.5) else None
        self.listed = rng is not None and rng.random() < 0.4
        """English: one list after "with", as "a girl with red hair, a yellow raincoat and blue boots"."""


def _listed(parts: list[str], last: str = " and ") -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + last + parts[-1]


# ------------------------------------------------------------------------------------------------ English


def _english(said: _Said) -> str:
    features = []
    if said.skin:
        features.append(f"{said.skin.en} skin")
    if said.hair:
        features.append(said.hair.en.format(said.hair_colour.en if said.hair_colour else ""))
    if said.glasses:
        features.append(said.glasses.en)
    if said.beard:
        features.append(
            said.beard.en.format(said.hair_colour.en if said.hair_colour else "").replace("  ", " ")
        )
    worn = []
    if said.hat:
        worn.append(HATS[said.hat.kind].en.format(COLOURS[said.hat.colour].en))
    if said.scarf:
        worn.append(SCARF.en.format(COLOURS[said.scarf].en))
    worn += [wear.en.format(_en_cloth(garment)) for garment, wear in said.clothes]
    words = _en_noun(said)
    if said.listed and features:
        words += f" with {_listed(features + worn)}"
    else:
        words += f" with {_listed(features)}" if features else ""
        words += f"{',' if features else ''} wearing {_listed(worn)}" if worn else ""
    does = _en_action(said.pose, said.face, said.view)
    words = f"{words}, {does}" if features or worn else f"{words} {does}"
    words += f", {said.look.en}" if said.look else ""
    return re.sub(r"\ba (?=[aeiou])", "an ", words)


def _en_noun(said: _Said) -> str:
    puppet = said.puppet
    if puppet.human:
        return f"a {PEOPLE[puppet.age, puppet.sex].en}"
    fur = f"{said.fur.en} " if said.fur else ""
    return f"a {'little ' if puppet.age == 'child' else ''}{fur}{KINDS[puppet.kind].en}"


def _en_cloth(garment: Garment) -> str:
    colour = COLOURS[garment.colour].en
    return f"{colour} {PATTERNS[garment.pattern].en}" if garment.pattern else colour


def _en_action(pose: Pose, face: bool, view: bool) -> str:
    words = POSES[pose.name].en
    if face and pose.view != "back":
        comma = "," if " with " in words or ", " in words else ""
        words += f"{comma} {EXPRESSIONS[pose.expression].en}"
    if pose.view == "back" or (view and pose.view != "front" and not pose.roll):
        words += f", {VIEWS[pose.view].en}"
    return words


# ------------------------------------------------------------------------------------------------ Korean


def _korean(said: _Said) -> str:
    parts: list[str] = []
    body = []
    if said.skin:
        body.append(f"{said.skin.ko} 피부")
    if said.hair:
        body.append(said.hair.ko.format(said.hair_colour.ko if said.hair_colour else "").replace("  ", " "))
    if body:
        parts.append(f"{_ko_listed(body)}에")
    on_head = []
    bow = said.hat is not None and HATS[said.hat.kind].verb == "달"
    if said.hat and not bow:
        on_head.append(_ko_hat(said.hat))
    if said.glasses:
        on_head.append(said.glasses.ko)
    if on_head:
        parts.append(f"{josa(_ko_listed(on_head), '을')} 쓰고")
    if said.hat and bow:
        parts.append(f"{josa(_ko_hat(said.hat), '을')} 달고")
    if said.beard:
        beard = (
            said.beard.ko.format(said.hair_colour.ko if said.hair_colour else "").strip().replace("  ", " ")
        )
        parts.append(f"{josa(beard, '을')} 기르고")
    if said.scarf:
        parts.append(f"{josa(SCARF.ko.format(COLOURS[said.scarf].ko), '을')} 두르고")
    does = _ko_action(said.pose, said.face, said.view)
    if said.clothes:
        worn = [wear.ko.format(_ko_cloth(garment)) for garment, wear in said.clothes]
        # two phrases in -으로 do not follow each other well
        manner = re.match(r"\S+ (표정|눈)으로|뒷모습으로|옆으로", does)
        parts.append(f"{_ko_listed(worn)} 차림{'에' if manner else '으로'}")
    parts.append(does)
    parts.append(_ko_noun(said))
    words = " ".join(parts)
    return f"{words}, {said.look.ko}" if said.look else words


def _ko_noun(said: _Said) -> str:
    puppet = said.puppet
    if puppet.human:
        return PEOPLE[puppet.age, puppet.sex].ko
    fur = f"{said.fur.ko} " if said.fur else ""
    return f"{fur}{'아기 ' if puppet.age == 'child' else ''}{KINDS[puppet.kind].ko}"


def _ko_hat(hat: Garment) -> str:
    return HATS[hat.kind].ko.format(COLOURS[hat.colour].ko)


def _ko_cloth(garment: Garment) -> str:
    colour = COLOURS[garment.colour].ko
    return f"{colour} {PATTERNS[garment.pattern].ko}" if garment.pattern else colour


def _ko_listed(parts: list[str]) -> str:
    """가, 나와 다."""
    if len(parts) == 1:
        return parts[0]
    return ", ".join([*parts[:-2], f"{josa(parts[-2], '과')} {parts[-1]}"])


def _ko_action(pose: Pose, face: bool, view: bool) -> str:
    words = []
    if face and pose.view != "back":
        words.append(EXPRESSIONS[pose.expression].ko)
    if pose.view == "back" or (view and pose.view != "front" and not pose.roll):
        words.append(VIEWS[pose.view].ko)
    return " ".join([*words, POSES[pose.name].ko])
