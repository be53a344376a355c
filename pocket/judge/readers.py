"""How an attribute is read from a picture. Every reader is measured on the generator's own pictures first.

A thing that is named: rank of its word and drawings among all, by the judging CLIP on parts of the picture. A word of a
caption (a colour): the judging CLIP between captions that differ in that word alone. How many: the plain ground is
taken away, what is left is cut into one to four columns, and the number whose pieces look most like one drawing of
the thing wins. A look: the thing's own drawings, one in each look, and captions that differ in the look alone. A seam:
steps across the rim of a hole beside those of the picture as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jogak.judge.clip import Judge, word_vectors
from jogak.models.captions import Scene, caption
from jogak.models.lexicon import lexicon
from pocket.judge.bench import Box, Pictures, pixels_of

SIDE = 224
"""Pixels of a part that is looked at."""
SEEN = 20 / 717
"""A thing is seen where its word is among this share of all words that are nearest: the first 20 with every drawing at
hand. In 144 of the generator's pictures of two things some 96 % of them are seen so, and 5 % of another's."""
MOST = 4
"""The largest number that is counted: one more than is ever asked for, so that too many can be told."""
FOREGROUND = 24
"""How far, of 255, a pixel has to lie from the plain ground in some channel to belong to a thing."""


def part(picture: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """What lies in the box, stretched to (SIDE, SIDE, 3)."""
    left, top, right, bottom = pixels_of(box, picture.shape[1], picture.shape[0])
    cut = Image.fromarray(picture[top:bottom, left:right])
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


# ------------------------------------------------------------------------------------------ what is named


def ranks(
    judge: Judge,
    names: NDArray[np.float32],
    pictures: Pictures,
    boxes: Sequence[Sequence[Box]],
    wanted: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Share of all words that are nearer than a wanted one: each word's likeness is that of its best box.

    `names` (W, D), a row for each word; `boxes` for each of the N pictures as many; `wanted` (N, K) of its
    rows → (N, K).
    """
    parts = [part(picture, box) for picture, row in zip(pictures, boxes, strict=True) for box in row]
    near = (judge.see(np.stack(parts)) @ names.T).reshape(len(pictures), -1, len(names)).max(1)
    own = np.take_along_axis(near, wanted, 1)
    return (near[:, None] > own[..., None]).mean(-1)


def _windows(left: float) -> list[Box]:
    """Half of a picture whole, and five squares that walk down it."""
    walk = [(left, top, left + 0.5, top + 0.5) for top in (0.0, 0.125, 0.25, 0.375, 0.5)]
    return [(left, 0.0, left + 0.5, 1.0), *walk]


def ranks_in_halves(
    judge: Judge, names: NDArray[np.float32], pictures: Pictures, wanted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """As `ranks`, in the left and the right half: (N, 2, K)."""
    halves = [ranks(judge, names, pictures, [_windows(left)] * len(pictures), wanted) for left in (0.0, 0.5)]
    return np.stack(halves, 1)


def seen(found: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Ranks in both halves (N, 2, K) → whether each thing is seen in one of them, (N, K)."""
    return np.asarray((found < SEEN).any(1))


def in_place(found: NDArray[np.float64], half: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether everything that is seen stands in its half (0 left, 1 right), and something is seen: (N, 2, K) → (N,).

    `half` is (N, K). A picture without the things is a miss, not a throw of a coin.
    """
    own = np.take_along_axis(found, half[:, None], 1)[:, 0]
    other = np.take_along_axis(found, 1 - half[:, None], 1)[:, 0]
    there = seen(found)
    right = ~there | ((own < SEEN) & (own <= other))
    return np.asarray(there.any(1) & right.all(1))


WINDOWS: tuple[Box, ...] = (
    (0.0, 0.0, 1.0, 1.0),
    *((x, y, x + 0.6, y + 0.6) for y in (0.0, 0.2, 0.4) for x in (0.0, 0.2, 0.4)),
)
"""A picture whole, and nine squares that cover it."""


def around(box: Box, share: float = 1.2) -> list[Box]:
    """A hole, and a little more than it."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half, high = (box[2] - box[0]) * share / 2, (box[3] - box[1]) * share / 2
    return [box, (max(x - half, 0.0), max(y - high, 0.0), min(x + half, 1.0), min(y + high, 1.0))]


# ------------------------------------------------------------------------------------------ one word of a caption


def chosen(judge: Judge, pictures: Pictures, variants: Sequence[Sequence[Scene]]) -> NDArray[np.int64]:
    """Which of its scenes' English captions each picture is nearest to: N pictures, V variants for each → (N,)."""
    texts = [caption(scene, "en") for row in variants for scene in row]
    return _cosines(judge.see(pictures), judge.read(texts)).argmax(1)


def placed_in(judge: Judge, asked: Sequence[Scene], pictures: Pictures) -> NDArray[np.bool_]:
    """Whether place and time are those that were asked for, among all: (N,). Space and the deep sea have no time."""
    words = lexicon()
    grounds = [(place, time) for place in words.places for time in words.times]
    sentences = [f"{place.en_in} {time.en_at}" for place, time in grounds]
    best = (judge.see(pictures) @ word_vectors(judge, sentences, ["{}", "a picture {}"]).T).argmax(1)
    return np.array(
        [
            grounds[b][0].id == s.place and (s.place in {"space", "underwater"} or grounds[b][1].id == s.time)
            for b, s in zip(best, asked, strict=True)
        ]
    )


# ------------------------------------------------------------------------------------------ how many


def pieces(picture: NDArray[np.uint8], columns: int) -> NDArray[np.uint8] | None:
    """What stands on a plain ground, cut into equal columns: (columns, SIDE, SIDE, 3), each alone in a square of the
    ground's colour. None where nothing stands out."""
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    ground = np.median(edge, 0)
    stands = np.abs(picture - ground).max(-1) > FOREGROUND
    if not stands.any():
        return None
    # a stray pixel is no end of the row
    left, right = np.quantile(np.nonzero(stands)[1], (0.002, 0.998)).astype(int)
    edges = np.linspace(left, right + 1, columns + 1).round().astype(int).tolist()
    return np.stack([_alone(picture[:, a:b], stands[:, a:b], ground) for a, b in pairwise(edges)])


def _alone(
    cut: NDArray[np.uint8], stands: NDArray[np.bool_], ground: NDArray[np.floating]
) -> NDArray[np.uint8]:
    rows, columns = np.nonzero(stands)
    if len(rows):
        top, bottom = np.quantile(rows, (0.002, 0.998)).astype(int)
        left, right = np.quantile(columns, (0.002, 0.998)).astype(int)
        cut = cut[top : bottom + 1, left : right + 1]
    height, width = cut.shape[:2]
    side = int(max(height, width) * 1.25) + 2
    square = np.broadcast_to(ground.astype(np.uint8), (side, side, 3)).copy()
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = cut
    return part(square, (0.0, 0.0, 1.0, 1.0))


def counted(judge: Judge, pictures: Pictures, drawings: Sequence[Pictures]) -> NDArray[np.int64]:
    """How many of a thing stand in a row on each plain ground, 0..MOST; `drawings` show it alone, in any look."""
    return np.array([_counted(judge, *pair) for pair in zip(pictures, drawings, strict=True)])


def _counted(judge: Judge, picture: NDArray[np.uint8], drawings: Pictures) -> int:
    rows = [pieces(picture, n) for n in range(1, MOST + 1)]
    known = [found for found in (pieces(drawing, 1) for drawing in drawings) if found is not None]
    if not known or any(row is None for row in rows):
        return 0
    one = unit(judge.see(np.concatenate(known)).mean(0))
    near = judge.see(np.concatenate([row for row in rows if row is not None])) @ one
    starts = np.cumsum([0, *range(1, MOST + 1)])
    return 1 + int(np.argmax([near[a:b].mean() for a, b in pairwise(starts)]))


# ------------------------------------------------------------------------------------------ which look


def look_of(
    judge: Judge, pictures: Pictures, drawings: Pictures, scenes: Sequence[Scene], looks: Sequence[str]
) -> NDArray[np.int64]:
    """Which of L looks each of N pictures has, by the judging CLIP: drawings (N·L, H, W, 3) of the scene's thing, look
    after look → (N,).

    The cosine to the thing's own drawings tells the looks of clean pictures best (96 % of 144 of the generator's), but
    compares what is drawn as much as how. The cosine to captions that differ in the look alone compares the manner
    alone (81 %). It spreads a quarter as far: four times it is added, so that both weigh the same (94 %). With the
    fifth look, `outlined`, whose words this judge never read, its captions tell 65 % of 150 and both together 95 %.
    """
    ours = judge.see(pictures)
    captions = [caption(replace(scene, look=look), "en") for scene in scenes for look in looks]
    near = _cosines(ours, judge.see(drawings)) + 4 * _cosines(ours, judge.read(captions))
    return near.argmax(1)


def _cosines(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> NDArray[np.floating]:
    """Unit rows (N, D) against (N·L, D), L after L → (N, L)."""
    return np.einsum("nd,nld->nl", ours, theirs.reshape(len(ours), -1, ours.shape[1]))


# ------------------------------------------------------------------------------------------ the rim of a hole

EDGE = (1, 1)
"""The last pixel outside and the first inside."""
TONE = (10, 2)
"""Tenth pixel inside, second outside: what was drawn fades in over some eight pixels, so that a wrong tone shows here
and not at the edge."""


def rim_step(picture: NDArray[np.uint8], hole: Box, reach: tuple[int, int]) -> float:
    """Mean absolute difference, of 255, across the rim of a hole between the `reach[0]`-th pixel inside and the
    `reach[1]`-th outside, over the sides that lie within the picture; NaN where none does."""
    inside, outside = reach
    pixels = picture.astype(np.float32)
    height, width = pixels.shape[:2]
    left, top, right, bottom = pixels_of(hole, width, height)
    if min(right - left, bottom - top) < inside:
        return float("nan")
    found = []
    if top >= outside:
        found.append(pixels[top + inside - 1, left:right] - pixels[top - outside, left:right])
    if bottom + outside <= height:
        found.append(pixels[bottom - inside, left:right] - pixels[bottom + outside - 1, left:right])
    if left >= outside:
        found.append(pixels[top:bottom, left + inside - 1] - pixels[top:bottom, left - outside])
    if right + outside <= width:
        found.append(pixels[top:bottom, right - inside] - pixels[top:bottom, right + outside - 1])
    return float(np.abs(np.concatenate(found)).mean()) if found else float("nan")


def rim_steps(pictures: Pictures, holes: Sequence[Box], reach: tuple[int, int]) -> NDArray[np.float64]:
    """`rim_step` of each picture, (N,)."""
    return np.array([rim_step(one, hole, reach) for one, hole in zip(pictures, holes, strict=True)])
