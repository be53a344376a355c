"""Scenes for pictures of film size: some of the drawings again, from their vectors and larger.

`sprites.npz` holds drawings of 192 pixels; on a picture 768 pixels high a subject of 600 would be a blur, and an
upscaler would learn blurs. All the drawings at 576 pixels would take 4 GB, so that a sample is drawn.

One drawing in eight (a concept in one look) is held out, beside the held-out combinations of `scenes`: what judges an
upscaler shows it shapes that it never saw.
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy as np

from pocket.data.compose import Layout, Painter
from pocket.data.scenes import DECOR
from pocket.data.sprites import Sprites, draw_rows, load, load_sources, save

SIDE = 576
"""Pixels of a drawing's side: the tallest subject of a picture 768 pixels high has 720."""
_SHARPEST = 110 / 192, 55 / 192
"""Shares of the array's side above which the whole, or the halved array is sampled, as `compose` has them."""


class LargePainter(Painter):
    """`Painter` for drawings of any side: it takes the halved and the quartered arrays at the sizes that fit them."""

    def _jobs(self, layout: Layout, height: int) -> list[tuple[int, int, np.ndarray]]:
        side = self.levels[0].shape[-1]
        whole, half = (share * side for share in _SHARPEST)
        jobs = []
        for slot in range(layout.sprite.shape[1]):
            present = np.flatnonzero(layout.sprite[:, slot] >= 0)
            pixels = layout.box[present, slot, 2] * height
            level = np.where(pixels > whole, 0, np.where(pixels > half, 1, 2))
            jobs += [(slot, k, present[level == k]) for k in range(3) if (level == k).any()]
        return jobs


def is_held_out(concept: str, look: str) -> bool:
    """One drawing in eight, by a hash, so that it never changes."""
    digest = hashlib.blake2s(f"{concept}/{look}".encode(), digest_size=2).digest()
    return int.from_bytes(digest, "big") % 8 == 0


def choose(
    rows: list[tuple[str, str, str]], count: int, seed: int, held_out: bool = False
) -> list[tuple[str, str, str]]:
    """`count` of the (concept, look, svg) rows that are, or are not, held out; trees and the like first, since most
    scenes want them."""
    decor = {concept for row in DECOR.values() for concept in row[0]}
    known = [row for row in rows if is_held_out(row[0], row[1]) == held_out]
    first = [row for row in known if row[0] in decor]
    rest = [row for row in known if row[0] not in decor]
    random.Random(seed).shuffle(rest)
    return (first + rest)[:count]


def drawings(
    sources: Path, count: int, seed: int, held_out: bool = False, workers: int = 0, side: int = SIDE
) -> Sprites:
    """A sample of the drawings that `pocket.data.fetch` brought to `sources`; 0.2 s each, shared by `workers`."""
    rows = choose(load_sources(sources), count, seed, held_out)
    return Sprites(draw_rows(rows, workers, side), {row[:2]: i for i, row in enumerate(rows)})


def kept_drawings(path: Path, sources: Path, count: int, seed: int, workers: int) -> Sprites:
    """`drawings` out of the file at `path`, or made now and kept there."""
    wanted = {row[:2] for row in choose(load_sources(sources), count, seed)}
    if path.exists():
        found = load(path)
        if found.index.keys() == wanted:
            return found
    made = drawings(sources, count, seed, workers=workers)
    draft = path.with_name(f"draft-{path.name}")
    save(made, draft)
    draft.replace(path)
    return made
