"""Wrong captions: they differ from the right one in a single thing, for a CLIP to learn that thing by.

In a batch of random scenes a contrastive loss is met by the subjects and places alone; what stands left and
what right seldom decides. Hard negatives mend that (NegCLIP: Yuksekgonul et al., arXiv:2210.01936). Here the
scene is known, so no words are shuffled: a thing of the scene is changed and the caption written anew. Every
wrong caption could be the right one of another picture; otherwise the words alone would betray it (Hsieh et
al., arXiv:2306.14610).
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal, get_args

from jogak.models.captions import Lang, Scene, Telling, caption
from jogak.models.lexicon import lexicon
from pocket.data.scenes import COLOURS, DECOR, SceneSampler

Attribute = Literal["side", "second", "colour", "look", "count", "subject"]
ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)
"""Left and right; one of two subjects; a subject's colour; the look; how many of a kind; the only subject."""
LEARNT: tuple[Attribute, ...] = ATTRIBUTES[:-1]
"""What training changes. The only subject is what every other caption of a batch differs in already."""
OTHER_SIDE = {"left": "right", "right": "left"}
TRIES = 4
"""Wrong values that are tried for one caption, until one is told in the same words but for itself."""


def wrong(
    scene: Scene, rng: random.Random, attribute: Attribute, looks: dict[str, list[str]]
) -> Scene | None:
    """`scene` with `attribute` changed and nothing else; None where there is nothing to change.

    `looks` are the looks in which each concept is drawn (`SceneSampler.looks`): another concept is one of
    these, and another look is one that all the subjects have. A puppet is said by its own phrase: it keeps
    what that says.
    """
    match attribute:
        case "side":
            return _mirrored(scene)
        case "colour":
            return _repainted(scene, rng)
        case "look":
            return _in_another_look(scene, rng, looks)
        case "count":
            return _recounted(scene, rng)
        case "second":
            return _with_another(scene, rng, looks) if len(scene.subjects) == 2 else None
        case "subject":
            return _with_another(scene, rng, looks) if len(scene.subjects) == 1 else None


def changeable(scene: Scene, looks: dict[str, list[str]]) -> list[Attribute]:
    """Those of `LEARNT` in which a wrong scene can differ."""
    rng = random.Random(0)
    return [attribute for attribute in LEARNT if wrong(scene, rng, attribute, looks)]


def _mirrored(scene: Scene) -> Scene | None:
    """What was left is right, and the other way round; the middle stays."""
    subjects = tuple(
        replace(s, position=OTHER_SIDE.get(s.position or "", s.position)) for s in scene.subjects
    )
    return replace(scene, subjects=subjects) if subjects != scene.subjects else None


def _repainted(scene: Scene, rng: random.Random) -> Scene | None:
    """One of the coloured subjects in another colour."""
    painted = [k for k, s in enumerate(scene.subjects) if s.colour and not s.phrase]
    if not painted:
        return None
    which = rng.choice(painted)
    others = sorted(set(COLOURS) - {scene.subjects[which].colour})
    return _with(scene, which, colour=rng.choice(others))


def _in_another_look(scene: Scene, rng: random.Random, looks: dict[str, list[str]]) -> Scene | None:
    if scene.look is None or not scene.subjects:
        return None
    common = set.intersection(*(set(looks.get(s.concept, ())) for s in scene.subjects)) - {scene.look}
    return replace(scene, look=rng.choice(sorted(common))) if common else None


def _recounted(scene: Scene, rng: random.Random) -> Scene | None:
    """Another number of what there are several of. One of a kind stays one: it is so common that "three"
    would be learnt as wrong by itself."""
    if len(scene.subjects) != 1 or scene.subjects[0].count == 1:
        return None
    return _with(scene, 0, count=rng.choice(sorted({1, 2, 3} - {scene.subjects[0].count})))


def _with_another(scene: Scene, rng: random.Random, looks: dict[str, list[str]]) -> Scene | None:
    """One subject is another concept: drawn in the scene's look, at home in the same places, and not to be
    seen in the picture, be it as decoration."""
    named = [k for k, s in enumerate(scene.subjects) if not s.phrase]
    if not named:
        return None
    which = rng.choice(named)
    seen = {s.concept for s in scene.subjects} | set(DECOR[scene.place][0] if scene.place in DECOR else ())
    habitat = lexicon().concept(scene.subjects[which].concept).habitat
    others = [
        c.id
        for c in lexicon().concepts
        if c.habitat == habitat and c.id not in seen and scene.look in looks.get(c.id, ())
    ]
    return _with(scene, which, concept=rng.choice(others)) if others else None


def _with(scene: Scene, which: int, **changes: object) -> Scene:
    """`scene` with another value of something of its subject number `which`."""
    subjects = list(scene.subjects)
    subjects[which] = replace(subjects[which], **changes)
    return replace(scene, subjects=tuple(subjects))


def right_and_wrong(
    scene: Scene, attribute: Attribute, lang: Lang, rng: random.Random, sampler: SceneSampler
) -> tuple[str, str | None]:
    """The right caption by chance, which tells `attribute`, and a wrong one that differs in it alone.

    None where no wrong one can: lists of tags tell no position, and Korean says the number of one thing
    elsewhere. A colour or a concept that has no synonym takes fewer throws of the dice than one that has, and
    all later words would come out otherwise: such a wrong caption is seen by the next throw, and another is
    tried.
    """
    telling = telling_of(attribute, sampler.telling)
    seed = rng.getrandbits(63)
    right, following = _said(scene, lang, seed, telling)
    for _ in range(TRIES):
        other = wrong(scene, rng, attribute, sampler.looks)
        if other is None:
            break
        text, next_throw = _said(other, lang, seed, telling)
        if text != right and next_throw == following:
            return right, text
    return right, None


def telling_of(attribute: Attribute, usual: Telling) -> Telling:
    """How often captions tell look and position, when they must tell `attribute`; the rest is always told."""
    if attribute == "look":
        return replace(usual, look=1.0)
    return replace(usual, position=1.0) if attribute == "side" else usual


def _said(scene: Scene, lang: Lang, seed: int, telling: Telling) -> tuple[str, float]:
    """The caption that the dice of `seed` throw, and what they throw next."""
    rng = random.Random(seed)
    return caption(scene, lang, rng, telling), rng.random()


def captions(
    scene: Scene, order: tuple[Lang, ...], rng: random.Random, sampler: SceneSampler, share: float
) -> list[str | None]:
    """The right captions in the languages of `order`, then a wrong one in each, None where there is none.

    `share`: how often there are wrong ones where the scene has something to change. All languages change the
    same thing, not always to the same value.
    """
    able = changeable(scene, sampler.looks) if rng.random() < share else []
    if not able:
        return [*(sampler.caption(scene, lang, rng) for lang in order), *(None for _ in order)]
    attribute = rng.choice(able)
    pairs = [right_and_wrong(scene, attribute, lang, rng, sampler) for lang in order]
    return [*(right for right, _ in pairs), *(other for _, other in pairs)]
