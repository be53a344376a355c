"""Sample scenes and lay them out: which things, where they stand, how large, what stands behind them.

A `Scene` (jogak.models.captions) is what a caption says; a `Layout` (compose) is what the painter draws. One in
twenty (concept, place, time) combinations is held out: training never shows it, judging draws only from it.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np

from jogak.models.captions import USUAL, Lang, Scene, Subject, Telling, caption
from jogak.models.lexicon import Concept, lexicon
from pocket.data.compose import LAYERS, PLACES, TIMES, WEATHERS, Layout, empty_layout
from pocket.data.sprites import OUTLINED, Sprites

GROUND_LINE = {  # where feet may stand, top and bottom of the band
    "meadow": (0.76, 0.94), "forest": (0.80, 0.95), "beach": (0.78, 0.95), "sea": (0.62, 0.90),
    "underwater": (0.90, 0.97), "desert": (0.78, 0.94), "snowfield": (0.78, 0.94), "mountains": (0.82, 0.95),
    "city": (0.82, 0.95), "village": (0.80, 0.95), "river": (0.78, 0.94), "farm": (0.76, 0.94),
    "garden": (0.78, 0.94), "room": (0.82, 0.95), "space": (0.80, 0.90), "sky": (0.80, 0.92),
}  # fmt: skip
FLOATING = {"space", "sky", "underwater", "sea"}
"""Places without firm ground: things hover or swim, and throw no shadow."""
DECOR = {  # place -> (concept ids, how many at most, horizon line of their feet, smallest and largest height)
    "forest": (("pine_tree", "tree"), 5, 0.74, 0.36, 0.62),
    "meadow": (("tree", "pine_tree"), 2, 0.69, 0.14, 0.26),
    "beach": (("palm_tree",), 2, 0.74, 0.34, 0.55),
    "desert": (("cactus",), 3, 0.72, 0.14, 0.28),
    "snowfield": (("pine_tree",), 3, 0.70, 0.16, 0.30),
    "mountains": (("pine_tree",), 3, 0.76, 0.16, 0.28),
    "village": (("tree",), 2, 0.73, 0.16, 0.24),
    "river": (("tree", "pine_tree"), 3, 0.67, 0.14, 0.28),
    "farm": (("tree",), 1, 0.63, 0.14, 0.22),
}
HEIGHTS = {"wide": (0.24, 0.36), "medium": (0.42, 0.58), "close": (0.68, 0.90), None: (0.36, 0.66)}
COLOURS = {
    "red": (0.89, 0.20, 0.20), "orange": (0.96, 0.55, 0.15), "yellow": (0.99, 0.84, 0.20), "green": (0.24, 0.66, 0.32),
    "blue": (0.20, 0.42, 0.90), "purple": (0.55, 0.30, 0.78), "pink": (0.98, 0.58, 0.74), "brown": (0.52, 0.34, 0.20),
    "black": (0.10, 0.10, 0.11), "white": (1.0, 1.0, 1.0), "grey": (0.58, 0.59, 0.61),
}  # fmt: skip
ACTORS = 1.6
"""How much more often a thing that can carry a story is drawn."""
CLOSE_UP = (0.66, 0.94)
"""Heights in a close-up: at 128 pixels a side about as many pixels as `HEIGHTS[None]` are at 256."""
PAIR = (0.46, 0.66)
"""Heights of two things that `pairs` asks for, before they are made to fit beside each other."""
CENTRES = {"left": 0.24, "middle": 0.5, "right": 0.76}


def held_out(concept: str, place: str | None, time: str) -> bool:
    """One combination in twenty, by a hash, so that it never changes."""
    digest = hashlib.blake2s(f"{concept}/{place}/{time}".encode(), digest_size=2).digest()
    return int.from_bytes(digest, "big") % 20 == 0


class SceneSampler:
    """Draws scenes from the lexicon and lays them out with the sprites at hand."""

    def __init__(
        self,
        sprites: Sprites,
        held_out: bool = False,
        plain: float = 0.3,
        people: float = 0.2,
        close_ups: bool = False,
        pairs: float = 0.0,
        painted: float = 1.0,
        telling: Telling = USUAL,
    ) -> None:
        """`plain` is the share of scenes on a plain ground; `people`, where there are puppets, of those with one.

        `close_ups` draws nothing but one thing that fills a plain ground: the cheapest way to learn what things look
        like. At half the side of other pictures it has as many pixels as there.

        `pairs` is the share of scenes that are made of two different things of a good size, side by side; of the
        others a quarter has two by chance, some of them far away. `painted`: how many times as often as usual a thing
        has a named colour. `telling`: how often a caption of `caption` tells the look and the position.
        """
        words = lexicon()
        looks: dict[str, list[str]] = {}
        for concept, look in sprites.index:
            looks.setdefault(concept, []).append(look)
        drawn = [look for known in looks.values() for look in known]
        if pairs and max(map(drawn.count, set(drawn)), default=0) < 2:
            raise ValueError("pairs need drawings of two things in one look")
        self.sprites, self.held_out, self.plain = sprites, held_out, plain
        self.people = people if sprites.puppets else 0.0
        self.close_ups, self.pairs, self.painted, self.telling = close_ups, pairs, painted, telling
        self.concepts: list[Concept] = [c for c in words.concepts if c.id in looks]
        self.number = {c.id: i for i, c in enumerate(self.concepts)}
        self.by_id = {c.id: c for c in self.concepts}
        self.looks = looks
        self.colours = {name: np.array(rgb, dtype=np.float32) for name, rgb in COLOURS.items()}
        weights = np.cumsum([ACTORS if c.can_act else 1.0 for c in self.concepts])
        self.cumulative: list[float] = weights.tolist()

    def scene(self, rng: random.Random) -> Scene:
        while True:
            scene = self._any_scene(rng)
            combination = held_out(scene.subjects[0].concept, scene.place, scene.time)
            if combination == self.held_out:
                return scene

    def caption(self, scene: Scene, lang: Lang, rng: random.Random) -> str:
        """A caption by chance, as a training reads it."""
        return caption(scene, lang, rng, self.telling)

    def _close_up(self, rng: random.Random) -> Scene:
        if rng.random() < self.people:
            row = rng.randrange(len(self.sprites.puppets))
            name, look = self.sprites.puppets[row]
            subject = Subject(concept=name, phrase=self.sprites.phrases[row])
        else:
            concept = self._concept(rng, None)
            look = rng.choice(self.looks[concept.id])
            subject = Subject(concept=concept.id, colour=self._colour(rng, concept))
        return Scene(subjects=(subject,), look=look, framing=None, **self._surroundings(rng, None))

    def _any_scene(self, rng: random.Random) -> Scene:
        if self.close_ups:
            return self._close_up(rng)
        plain = rng.random() < self.plain
        place = None if plain else rng.choice(PLACES)
        if self.pairs and rng.random() < self.pairs:
            return self._pair(rng, place)
        if rng.random() < self.people:
            return self._with_puppet(rng, place)
        many = rng.random()
        first = self._concept(rng, place)
        subjects = [first]
        if many < 0.25:
            subjects.append(self._concept(rng, place))
        if subjects[-1].id == first.id:
            subjects = [first]
        count = rng.choice((2, 3)) if len(subjects) == 1 and many > 0.85 else 1
        looks = set(self.looks[first.id]).intersection(*(self.looks[c.id] for c in subjects))
        look = rng.choice(sorted(looks)) if looks else None
        if look is None:
            subjects, look = [first], rng.choice(self.looks[first.id])
        framing = rng.choice(("wide", "medium", "close")) if rng.random() < 0.6 else None
        if len(subjects) > 1 or count > 1:
            framing = "wide" if framing == "wide" else None
        sides = list(CENTRES)
        if len(subjects) == 2:
            positions = rng.choice((["left", "right"], ["right", "left"]))
        else:
            positions = [
                rng.choice(sides) if count == 1 and framing != "close" and rng.random() < 0.5 else None
            ]
        return Scene(
            subjects=tuple(
                Subject(concept=c.id, count=count, position=p, colour=self._colour(rng, c))
                for c, p in zip(subjects, positions, strict=True)
            ),
            look=look,
            framing=framing,
            **self._surroundings(rng, place),
        )

    def _pair(self, rng: random.Random, place: str | None) -> Scene:
        """Two different things in one look, left and right."""
        first, second = self._concept(rng, place), self._concept(rng, place)
        while second.id == first.id or not set(self.looks[first.id]) & set(self.looks[second.id]):
            first, second = self._concept(rng, place), self._concept(rng, place)
        look = rng.choice(sorted(set(self.looks[first.id]) & set(self.looks[second.id])))
        positions = rng.choice((("left", "right"), ("right", "left")))
        return Scene(
            subjects=tuple(
                Subject(concept=c.id, position=p, colour=self._colour(rng, c))
                for c, p in zip((first, second), positions, strict=True)
            ),
            look=look,
            framing=None,
            **self._surroundings(rng, place),
        )

    def _with_puppet(self, rng: random.Random, place: str | None) -> Scene:
        """A puppet alone, or one time in six beside a thing in the same look."""
        row = rng.randrange(len(self.sprites.puppets))
        name, look = self.sprites.puppets[row]
        position = rng.choice((None, None, "left", "right"))
        subjects = [Subject(concept=name, position=position, phrase=self.sprites.phrases[row])]
        other = self._concept(rng, place)
        beside = rng.random() < 1 / 6 and look in self.looks[other.id]
        if beside:
            first, second = rng.choice((("left", "right"), ("right", "left")))
            subjects = [
                Subject(concept=name, position=first, phrase=self.sprites.phrases[row]),
                Subject(concept=other.id, position=second),
            ]
        framing = rng.choice(("wide", "medium", "close", "close")) if rng.random() < 0.6 else None
        return Scene(
            subjects=tuple(subjects),
            look=look,
            framing=None if beside else framing,
            **self._surroundings(rng, place),
        )

    def _surroundings(self, rng: random.Random, place: str | None) -> dict[str, Any]:
        white = place is not None or rng.random() < 0.5
        return {
            "place": place,
            "background": "white" if white else rng.choice(sorted(self.colours)),
            "time": rng.choice(TIMES) if place else "day",
            "weather": "clear" if place is None or rng.random() < 0.5 else rng.choice(WEATHERS),
        }

    def _concept(self, rng: random.Random, place: str | None) -> Concept:
        """Any concept; three times in four one that belongs to the place."""
        for _ in range(4):
            concept = rng.choices(self.concepts, cum_weights=self.cumulative)[0]
            if place is None or rng.random() < 0.25 or _fits(concept, place):
                return concept
        return concept

    def _colour(self, rng: random.Random, concept: Concept) -> str | None:
        paintable = concept.kind in {
            "vehicle",
            "object",
            "clothes",
            "toy",
            "furniture",
            "sport",
            "tool",
            "instrument",
            "building",
        }
        share = self.painted * (0.15 if paintable else 0.03)
        return rng.choice(sorted(self.colours)) if rng.random() < share else None

    def layout(self, scenes: list[Scene], rng: random.Random, aspect: float) -> Layout:
        """`aspect` is width / height; one layout row a scene, with `subject` the number of the main concept."""
        out = empty_layout(len(scenes))
        out.numbers[:] = np.random.default_rng(rng.getrandbits(63)).random(
            out.numbers.shape, dtype=np.float32
        )
        for row, scene in enumerate(scenes):
            out.subject[row] = self.number.get(scene.subjects[0].concept, -1)  # -1: a puppet
            out.place[row] = PLACES.index(scene.place) if scene.place else -1
            out.time[row] = TIMES.index(scene.time) if scene.time else 1
            out.weather[row] = WEATHERS.index(scene.weather) if scene.weather else 0
            if scene.place is None:
                out.plain[row] = self.colours[scene.background]
            slot = self._decorate(out, row, scene, rng, aspect)
            self._stand(out, row, slot, scene, rng, aspect)
        return out

    def _put(
        self, out: Layout, row: int, slot: int, concept: str, look: str, box: tuple[float, ...], shadow: float
    ) -> int:
        sprite = self.sprites.index.get((concept, look))
        if sprite is None or slot >= LAYERS:
            return slot
        out.sprite[row, slot] = sprite
        out.box[row, slot] = box
        out.shadow[row, slot] = shadow
        out.ink[row, slot] = look == OUTLINED
        return slot + 1

    def _decorate(self, out: Layout, row: int, scene: Scene, rng: random.Random, aspect: float) -> int:
        if scene.place not in DECOR:
            return 0
        ids, most, line, low, high = DECOR[scene.place]
        slot = 0
        for k in range(rng.randint(1 if scene.place == "forest" else 0, most)):
            x = rng.choice((rng.uniform(0.0, 0.30), rng.uniform(0.70, 1.0))) if k % 3 else rng.uniform(0, 1)
            box = (x * aspect, line + rng.uniform(0, 0.05), rng.uniform(low, high), rng.choice((-1, 1)), 0.0)
            slot = self._put(out, row, slot, rng.choice(ids), scene.look, box, 0.25)
        return slot

    def _stand(
        self, out: Layout, row: int, slot: int, scene: Scene, rng: random.Random, aspect: float
    ) -> None:
        low, high = self._heights(scene)
        crowd = sum(subject.count for subject in scene.subjects)
        narrow = min(1.0, aspect)  # in an upright picture the width is what limits
        size = (
            rng.uniform(low, high) * (0.86 if crowd == 2 else 0.68 if crowd == 3 else 1.0) * max(narrow, 0.7)
        )
        size = min(size, 0.95 * aspect / crowd)
        for subject in scene.subjects:
            centre = CENTRES[subject.position] if subject.position else 0.5
            centre = centre * aspect + rng.uniform(-0.05, 0.05) * aspect
            concept = self.by_id.get(subject.concept)  # None: a puppet
            bottom, shadow = self._footing(concept, scene.place, size, rng)
            for k in range(subject.count):
                x = centre + (k - (subject.count - 1) / 2) * size * 0.98
                margin = min(size * 0.45, aspect * 0.45)
                x = min(max(x, margin), aspect - margin)
                each = size * rng.uniform(0.94, 1.06)
                y = bottom + (rng.uniform(-0.02, 0.02) if subject.count > 1 else 0)
                turned = rng.choice((-1, 1)) if concept else 1  # a puppet's caption says which way it looks
                box = (x, y, each, turned, rng.gauss(0, 0.06) if shadow == 0 else 0.0)
                before = slot
                slot = self._put(out, row, slot, subject.concept, scene.look, box, shadow)
                if slot > before and subject.colour:
                    out.tint[row, before] = (*self.colours[subject.colour], 0.9)

    def _heights(self, scene: Scene) -> tuple[float, float]:
        if self.close_ups:
            return CLOSE_UP
        pair = len(scene.subjects) == 2 and all(s.count == 1 and not s.phrase for s in scene.subjects)
        return PAIR if self.pairs and pair and scene.framing is None else HEIGHTS[scene.framing]

    def _footing(
        self, concept: Concept | None, place: str | None, size: float, rng: random.Random
    ) -> tuple[float, float]:
        """(y of the feet, darkness of the shadow)."""
        if place is None:
            return 0.5 + size / 2 + rng.uniform(-0.04, 0.04), 0.0
        flies = concept is not None and concept.habitat == "sky" and place not in {"room", "underwater"}
        if flies or place in FLOATING:
            top = {"sea": 0.50, "underwater": 0.20}.get(place, 0.10)
            if flies:
                top = 0.06
            lowest = {"sea": 0.88, "underwater": 0.92}.get(place, 0.62 if flies else 0.88)
            return min(rng.uniform(top + size, max(top + size, lowest)), 0.98), 0.0
        band = GROUND_LINE[place]
        bottom = rng.uniform(*band)
        if size > 0.6:
            bottom = rng.uniform(0.92, 1.02)
        return bottom, 0.35


def _fits(concept: Concept, place: str) -> bool:
    habitat = concept.habitat
    if place in {"sea", "underwater", "river"} and habitat == "water":
        return True
    if place in {"sky", "space"}:
        return habitat in {"sky", "any"} or (place == "space" and concept.kind in {"person", "vehicle"})
    if place == "room":
        return habitat in {"indoor", "any"} or concept.kind in {"person", "animal"}
    if place in {"sea", "underwater"}:
        return habitat in {"water", "any"}
    return habitat in {"ground", "sky", "any"}
