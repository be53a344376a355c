"""Held-out cases for each attribute: scenes whose combination of thing, place and time no training ever showed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jogak.models.captions import Scene
from pocket.data.compose import Layout
from pocket.data.scenes import SceneSampler, held_out
from pocket.data.sprites import Sprites
from pocket.judge.bench import Box

TRIES = 200_000


def draw_scenes(
    sprites: Sprites, count: int, seed: int, wanted: Callable[[Scene], bool], plain: float = 0.3
) -> list[Scene]:
    """`count` held-out scenes for which `wanted` holds, distributed as the generator draws them; `plain` is the share
    on a plain ground. Raises `ValueError` when the drawings at hand allow none."""
    sampler, rng = SceneSampler(sprites, held_out=True, plain=plain, people=0.0), random.Random(seed)
    found: list[Scene] = []
    for _ in range(TRIES):
        if len(found) == count:
            return found
        scene = sampler.scene(rng)
        if wanted(scene):
            found.append(scene)
    raise ValueError(f"{TRIES} scenes held {len(found)} of the {count} that were wanted")


def is_single(scene: Scene) -> bool:
    return len(scene.subjects) == 1 and scene.subjects[0].count == 1


def pairs(sprites: Sprites, count: int, seed: int) -> list[Scene]:
    """Two things, left and right, each of which is held out at this place and time: unseen in either order."""

    def wanted(scene: Scene) -> bool:
        out = (held_out(s.concept, scene.place, scene.time or "day") for s in scene.subjects)
        return len(scene.subjects) == 2 and all(out)

    return draw_scenes(sprites, count, seed, wanted)


def colours(sprites: Sprites, count: int, seed: int) -> list[Scene]:
    """One thing in a named colour, on no plain ground of that colour."""
    return draw_scenes(
        sprites,
        count,
        seed,
        lambda s: is_single(s) and s.subjects[0].colour not in (None, s.background if not s.place else None),
    )


def counts(sprites: Sprites, count: int, seed: int) -> list[Scene]:
    """One, two and three of a kind in turn, on a plain ground that is not of their colour."""

    def wanted(scene: Scene, number: int) -> bool:
        subject = scene.subjects[0]
        fits = len(scene.subjects) == 1 and subject.count == number and subject.colour != scene.background
        return fits and scene.framing != "close"

    each = [
        draw_scenes(sprites, -(-count // 3), seed + n, lambda s, n=n: wanted(s, n), plain=1.0)
        for n in (1, 2, 3)
    ]
    return [scene for row in zip(*each, strict=True) for scene in row][:count]


def looks(sprites: Sprites, count: int, seed: int, wanted: Sequence[str]) -> list[Scene]:
    """One thing, not small and in its own colours, in each of the looks in turn; of things drawn in all of them."""

    def fits(scene: Scene, look: str) -> bool:
        if not is_single(scene) or scene.look != look or scene.framing == "wide":
            return False
        subject = scene.subjects[0]
        return subject.colour is None and all((subject.concept, k) in sprites.index for k in wanted)

    each = [
        draw_scenes(sprites, -(-count // len(wanted)), seed + i, lambda s, k=k: fits(s, k))
        for i, k in enumerate(wanted)
    ]
    return [scene for row in zip(*each, strict=True) for scene in row][:count]


def in_places(sprites: Sprites, count: int, seed: int) -> list[Scene]:
    """One thing in a place, neither small nor so large that nothing is left around it."""
    return draw_scenes(
        sprites, count, seed, lambda s: is_single(s) and s.framing in (None, "medium"), plain=0.0
    )


@dataclass(frozen=True)
class Removable:
    """A layout in which subjects can be found again: where they stand, and the same without them."""

    sampler: SceneSampler
    scenes: Sequence[Scene]
    layout: Layout

    @staticmethod
    def of(sampler: SceneSampler, scenes: Sequence[Scene], seed: int) -> Removable:
        return Removable(sampler, scenes, sampler.layout(list(scenes), random.Random(seed), 1.0))

    def _layer(self, row: int, subject: int) -> int:
        scene = self.scenes[row]
        sprite = self.sampler.sprites.index[scene.subjects[subject].concept, scene.look or ""]
        # trees that stand behind may be the same drawing: subjects are painted last
        return int(np.flatnonzero(self.layout.sprite[row] == sprite).max())

    def without(self, subject: int) -> Layout:
        """The same ground and light, and nothing where the subject of that number stood."""
        sprite = self.layout.sprite.copy()
        for row in range(len(self.scenes)):
            sprite[row, self._layer(row, subject)] = -1
        return replace(self.layout, sprite=sprite)

    def boxes(self, subject: int, margin: float) -> list[Box]:
        """Squares around the subject, `margin` of its height wider on each side, cut at the picture's edge."""
        found = []
        for row in range(len(self.scenes)):
            x, bottom, size = self.layout.box[row, self._layer(row, subject), :3].tolist()
            half, more = size * (0.5 + margin), size * margin
            box = (x - half, bottom - size - more, x + half, bottom + more)
            found.append(tuple(min(max(side, 0.0), 1.0) for side in box))
        return found  # pyright: ignore[reportReturnType]
