"""What a caption says beside the name: two things and their places, a colour, a number, a look, what is unwanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jogak.judge.stats import mean_score, share_score
from jogak.models.captions import Scene, Subject
from jogak.models.lexicon import lexicon
from jogak.models.regions import regions_of
from pocket.data.scenes import COLOURS, SceneSampler
from pocket.judge import cases, readers
from pocket.judge.bench import (
    Bench,
    Pictures,
    languages,
    paint,
    paint_layout,
    plain_scene,
    prompts_of,
)
from pocket.judge.rows import Row, Unmeasured

Rows = Iterator[Row | Unmeasured]
STORYBOOK = {"clip art": "storybook", "클립아트": "동화책풍"}
"""The lexicon's other words for one look, which was learnt under both."""


def pair_rows(bench: Bench) -> Rows:
    """Two named things: both seen; and whatever is seen in its own half. Drawn from the prompt alone, and in regions as
    the film and `jogak image --region` draw them.

    The false alarm is the reader's share of yes when it is asked for the things of another picture.
    """
    asked = cases.pairs(bench.sprites, bench.count, 201)
    numbers = bench.numbers(asked)
    half = np.array([[0 if s.position == "left" else 1 for s in scene.subjects] for scene in asked])

    def read(pictures: Pictures) -> NDArray[np.float64]:
        return readers.ranks_in_halves(bench.judge, bench.known, pictures, numbers)

    real = bench.paint(asked, 202)
    whole, strange = read(real), read(np.roll(real, 1, 0))
    yield Row(share_score("false_alarm_seen", readers.seen(strange).ravel(), better="lower"))
    yield Row(share_score("ceiling_two_subjects", readers.seen(whole).all(1)))
    yield Row(share_score("ceiling_left_right", readers.in_place(whole, half)))
    if bench.draw is None:
        return
    prompts = prompts_of(asked)
    regions = [regions_of(*pair) for pair in zip(asked, languages(len(asked)), strict=True)]
    for name, drawn in (
        ("", bench.draw(prompts, 1000)),
        ("_in_regions", bench.draw(prompts, 1000, regions=regions)),
    ):
        found = read(drawn)
        yield Row(share_score(f"one_of_two_subjects{name}", readers.seen(found).any(1)))
        yield Row(share_score(f"two_subjects{name}", readers.seen(found).all(1)), 0.70)
        yield Row(share_score(f"left_right{name}", readers.in_place(found, half)), 0.75)


def negative_rows(bench: Bench) -> Rows:
    """A thing in a place, drawn without and with a negative prompt that names the thing, from the same noise.

    `negative_gone` and `no_negative_gone`: share of pictures in which the thing is not seen. `negative_removes`: their
    difference, picture by picture; the negative prompt works where its whole interval lies above 0. `negative_keeps`:
    share in which place and time, which nobody forbade, are still right. The ceiling takes the thing out of the
    generator's pictures.
    """
    asked = cases.in_places(bench.sprites, bench.count, 701)
    held = cases.Removable.of(bench.sampler, asked, 702)
    numbers = bench.numbers(asked)

    def gone(pictures: Pictures) -> NDArray[np.bool_]:
        boxes = [readers.WINDOWS] * len(pictures)
        return readers.ranks(bench.judge, bench.known, pictures, boxes, numbers)[:, 0] >= readers.SEEN

    def compared(prefix: str, without: Pictures, with_: Pictures) -> Rows:
        before, after = gone(without), gone(with_)
        yield Row(share_score(f"{prefix}no_negative_gone", before))
        yield Row(share_score(f"{prefix}negative_gone", after))
        removed = mean_score(f"{prefix}negative_removes", after.astype(int) - before)
        yield Row(removed, None if prefix else 0.0, sure=True)
        yield Row(share_score(f"{prefix}negative_keeps", readers.placed_in(bench.judge, asked, with_)))

    real, bare = (paint_layout(bench.painter, layout) for layout in (held.layout, held.without(0)))
    yield from compared("ceiling_", real, bare)
    if bench.draw:
        prompts, unwanted = prompts_of(asked), first_words(asked)
        yield from compared("", bench.draw(prompts, 6000), bench.draw(prompts, 6000, unwanted))


def first_words(asked: Sequence[Scene]) -> list[str]:
    """The first subject's word alone, in the language of the scene's prompt: the negative prompt."""
    words = [lexicon().concept(scene.subjects[0].concept) for scene in asked]
    return [
        w.en_phrase() if lang == "en" else w.ko for w, lang in zip(words, languages(len(words)), strict=True)
    ]


def colour_rows(bench: Bench) -> Rows:
    """The colour of one thing, by the judging CLIP between captions that differ in the colour alone."""
    asked = cases.colours(bench.sprites, bench.count, 301)
    names = list(COLOURS)
    variants = [
        [replace(s, subjects=(replace(s.subjects[0], colour=name),)) for name in names] for s in asked
    ]
    wanted = np.array([names.index(s.subjects[0].colour or "") for s in asked])

    def hits(pictures: Pictures) -> NDArray[np.bool_]:
        return readers.chosen(bench.judge, pictures, variants) == wanted

    yield Row(share_score("ceiling_colour", hits(bench.paint(asked, 302))))
    if bench.draw:
        yield Row(share_score("colour", hits(bench.draw(prompts_of(asked), 2000))), 0.75)


def count_rows(bench: Bench) -> Rows:
    """One, two or three of a kind on a plain ground, in equal parts: `readers.counted`."""
    asked = cases.counts(bench.sprites, bench.count, 401)
    wanted = np.array([s.subjects[0].count for s in asked])
    drawings = [_drawings(bench, s) for s in asked]

    def found(pictures: Pictures) -> NDArray[np.bool_]:
        return readers.counted(bench.judge, pictures, drawings) == wanted

    ceiling = found(bench.paint(asked, 402))
    yield Row(share_score("ceiling_count", ceiling))
    if bench.draw is None:
        return
    hits = found(bench.draw(prompts_of(asked), 3000))
    yield Row(share_score("count", hits), 0.75)
    for number in sorted(set(wanted.tolist())):
        yield Row(share_score(f"count_{number}", hits[wanted == number]))


def _drawings(bench: Bench, scene: Scene) -> Pictures:
    """One of the scene's thing alone, in its colour, in every look."""
    subject = Subject(scene.subjects[0].concept, colour=scene.subjects[0].colour)
    alone = [
        Scene(subjects=(subject,), look=look, background=scene.background)
        for look in bench.sampler.looks[subject.concept]
    ]
    return bench.paint(alone, 403)


def look_rows(bench: Bench) -> Rows:
    """The look of one thing: `readers.look_of`. A look takes part where there are drawings of it.

    `clip_art` is asked for by that word, and once more as "storybook": the lexicon has both words for one look.
    """
    sprites = bench.every_look or bench.sprites
    sampler = SceneSampler(sprites, held_out=True)
    words = [look.id for look in lexicon().looks]
    looks = [look for look in words if any(look == k for _, k in sprites.index)]
    first = cases.looks(sprites, bench.count, 501, looks)
    book = [i for i, scene in enumerate(first) if scene.look == "clip_art"]
    asked = [*first, *(first[i] for i in book)]
    alone = [plain_scene(s.subjects[0].concept, k) for s in asked for k in looks]
    drawings = paint(bench.painter, sampler, alone, 502)
    wanted = np.array([looks.index(s.look or "") for s in asked])

    def hits(pictures: Pictures) -> NDArray[np.bool_]:
        part = drawings[: len(pictures) * len(looks)]
        found = readers.look_of(bench.judge, pictures, part, asked[: len(pictures)], looks)
        return found == wanted[: len(pictures)]

    names = np.array([*(s.look for s in first), *("storybook" for _ in book)])
    real = hits(paint(bench.painter, sampler, first, 503))
    yield Row(share_score("ceiling_look", real))
    for name in dict.fromkeys(names[: len(first)].tolist()):
        yield Row(share_score(f"ceiling_look_{name}", real[names[: len(first)] == name]))
    for name in words:
        if name not in looks:
            yield Unmeasured(f"look_{name}", "no drawing of that look: fetch them and draw the sprites anew")
    if bench.draw is None:
        return
    prompts = prompts_of(first)
    drawn = [bench.draw(prompts, 4000)]
    if book:
        drawn.append(bench.draw([storybook(prompts[i]) for i in book], 4500))
    found = hits(np.concatenate(drawn))
    yield Row(share_score("look", found), 0.85)
    for name in dict.fromkeys(names.tolist()):
        yield Row(share_score(f"look_{name}", found[names == name]))


def storybook(prompt: str) -> str:
    """The prompt with the look's other word."""
    for usual, other in STORYBOOK.items():
        prompt = prompt.replace(usual, other)
    return prompt
