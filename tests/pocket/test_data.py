"""Pocket's data: scenes that captions can say, held-out combinations that training never meets, drawings that repeat."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jogak.models.captions import Scene, Subject, Telling, caption
from jogak.models.lexicon import lexicon
from pocket.data import large, shares
from pocket.data.compose import PLACES, TIMES, WEATHERS, Painter
from pocket.data.puppets.export import make_sprites
from pocket.data.scenes import CLOSE_UP, COLOURS, DECOR, SceneSampler, held_out
from pocket.data.sprites import (
    INK,
    OUTLINED,
    SIZE,
    Sprites,
    draw,
    draw_outlined,
    draw_row,
    draw_rows,
    load,
    save,
)


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    """A coloured disc for each of forty concepts (and the trees that stand behind) in two looks."""
    decor = {name for row in DECOR.values() for name in row[0]}
    ids = [c.id for c in lexicon().concepts if c.id in decor] + [c.id for c in lexicon().concepts[:40]]
    keys = [(concept, look) for concept in dict.fromkeys(ids) for look in ("flat", "soft_3d")]
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    disc = (x**2 + y**2 < 0.2).astype(np.uint8)
    rng = np.random.default_rng(0)
    pixels = np.stack(
        [np.concatenate([disc[None] * rng.integers(40, 255, (3, 1, 1)), disc[None] * 255]) for _ in keys]
    )
    return Sprites(pixels.astype(np.uint8), {key: i for i, key in enumerate(keys)})


def test_the_painter_and_the_lexicon_name_the_same_things() -> None:
    words = lexicon()
    assert {w.id for w in words.places} == set(PLACES)
    assert [w.id for w in words.times] == list(TIMES)
    assert {w.id for w in words.weathers} == set(WEATHERS)
    assert {w.id for w in words.colours} == set(COLOURS)


def test_training_never_meets_a_held_out_combination(sprites: Sprites) -> None:
    rng = random.Random(1)
    for wanted in (False, True):
        sampler = SceneSampler(sprites, held_out=wanted)
        for _ in range(300):
            scene = sampler.scene(rng)
            assert held_out(scene.subjects[0].concept, scene.place, scene.time) is wanted


def test_every_scene_has_captions_in_both_languages_and_a_subject_in_the_picture(sprites: Sprites) -> None:
    sampler, rng = SceneSampler(sprites), random.Random(2)
    scenes = [sampler.scene(rng) for _ in range(300)]
    for scene in scenes:
        assert caption(scene, "en", rng)
        assert any("가" <= letter <= "힣" for letter in caption(scene, "ko", rng))
    layout = sampler.layout(scenes, rng, 1.0)
    assert ((layout.sprite >= 0).sum(1) >= [sum(s.count for s in scene.subjects) for scene in scenes]).all()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80), (80, 48)])
def test_drawing_repeats_and_every_place_differs(sprites: Sprites, height: int, width: int) -> None:
    sampler = SceneSampler(sprites, plain=0.0)

    def painted() -> torch.Tensor:
        rng = random.Random(3)
        scenes = [sampler.scene(rng) for _ in range(48)]
        return Painter(sprites.pixels).draw(sampler.layout(scenes, rng, width / height), height, width)

    first = painted()
    assert first.shape == (48, 3, height, width)
    assert torch.isfinite(first).all()
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
    torch.testing.assert_close(first, painted(), rtol=0, atol=0)
    assert len({tuple(picture.mean((1, 2)).tolist()) for picture in first}) == 48


def test_an_svg_becomes_a_sprite_that_stands_on_its_feet() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect x="4" y="2" width="8" height="16" fill="#f00"/></svg>'
    sprite = draw(svg)
    assert sprite.shape == (4, SIZE, SIZE)
    filled = np.argwhere(sprite[3] > 128)
    assert filled[:, 0].max() >= SIZE - 3
    assert abs(filled[:, 1].mean() - SIZE / 2) < 2
    assert sprite[0][sprite[3] > 250].min() > 250


def black(shapes: str) -> str:
    """A drawing of black shapes, 32 units a side."""
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{shapes}</svg>'


def ring(gap: float) -> str:
    """A circle of radius 12 drawn with a line of 2 units, open over `gap` units."""
    around = 2 * np.pi * 12
    dashes = f'stroke-dasharray="{around - gap} {gap}"' if gap else ""
    return black(
        f'<circle cx="16" cy="16" r="12" fill="none" stroke="currentColor" stroke-width="2" {dashes}/>'
    )


MIDDLE = SIZE // 2


@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_a_line_drawing_has_dark_lines_and_white_paper_inside(gap: float) -> None:
    """An opening of one unit, as where one part lies over another, still holds the outside out."""
    sprite = draw_outlined(ring(gap))
    assert sprite.shape == (4, SIZE, SIZE)
    assert sprite[:, MIDDLE, MIDDLE].tolist() == [255] * 4
    across = sprite[:, MIDDLE]  # left to right: nothing, line, paper, line
    assert across[3, :2].tolist() == [0, 255]
    assert (across[:3, 4:10] == INK).all()
    assert (across[:3, 24:-24] == 255).all()
    assert sprite[3, 2, 2] == 0


def test_what_is_wide_open_is_not_filled() -> None:
    assert draw_outlined(ring(8.0))[3, MIDDLE, MIDDLE] == 0


def test_an_open_corner_has_no_speck_of_paper() -> None:
    corner = draw_outlined(black('<path d="M4 4 h2 v22 h22 v2 h-24 Z"/>'))
    unit = 190 / 24
    x, y = round(1 + 2 * unit) + 2, round(1 + 22 * unit) - 3
    assert corner[3, y, x] == 0
    assert corner[3, y, x - 6] == corner[3, y + 6, x] == 255


def test_a_black_area_becomes_paper_within_a_line_and_a_line_stays() -> None:
    area = draw_outlined(black('<rect x="4" y="4" width="24" height="24"/>'))
    assert area[:, MIDDLE, MIDDLE].tolist() == [255] * 4
    dark = area[0, MIDDLE] < 128
    assert 6 <= dark[:MIDDLE].sum() <= 12, "1.2 of 24 units of 190 pixels"
    assert dark[3:6].all()
    line = draw_outlined(black('<rect x="4" y="4" width="24" height="2"/>'))
    assert (line[0][line[3] == 255] == INK).all()


def test_a_line_drawings_edges_are_smooth() -> None:
    sprite = draw_outlined(black('<path d="M4 4 L28 10 L20 28 Z"/>')).astype(int)
    outside = sprite[:, (sprite[3] > 0) & (sprite[3] < 255)]
    assert outside.shape[1] > 200
    rim = outside[0] - INK * outside[3] / 255
    assert rim.max() < 2, "what the ground shines through is ink, without a rim of paper"
    inside = sprite[0][(sprite[3] == 255) & (sprite[0] > INK + 20) & (sprite[0] < 235)]
    assert len(inside) > 100


def write_sources(folder: Path) -> list[tuple[str, str, str]]:
    """A black square for a few concepts in each look, as `fetch` writes them."""
    svg = black('<rect x="4" y="4" width="24" height="24"/>')
    rows = [(name, look.id, svg) for name in ("fox", "owl", "car", "tree") for look in lexicon().looks]
    with gzip.open(folder / "drawings.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return rows


def test_every_drawing_is_made_in_the_manner_of_its_look(tmp_path: Path) -> None:
    rows = write_sources(tmp_path)
    pixels = draw_rows(rows, 0)
    assert [int(one[0, MIDDLE, MIDDLE]) for one in pixels] == [0, 0, 0, 0, 255] * 4
    assert (pixels[-1] == draw_row(rows[-1])).all()
    kept, held = (large.drawings(tmp_path, len(rows), 0, out, side=96) for out in (False, True))
    assert kept.index.keys() | held.index.keys() == {row[:2] for row in rows}
    for found in (kept, held):
        for (_, look), row in found.index.items():
            assert found.pixels[row, 0, 48, 48] == (255 if look == OUTLINED else 0)


def test_a_colour_goes_on_a_line_drawings_paper_and_not_on_its_lines() -> None:
    svg = black('<rect x="4" y="4" width="24" height="24"/>')
    both = {("fox", OUTLINED): 0, ("fox", "flat"): 1}
    drawings = Sprites(np.stack([draw_outlined(svg), draw_outlined(svg)]), both)
    scenes = [Scene((Subject("fox", colour="red"),), look=look, background="blue") for _, look in both]
    layout = SceneSampler(drawings).layout(scenes, random.Random(1), 1.0)
    assert layout.ink[:, 0].tolist() == [True, False]
    layout.box[:, 0] = (0.5, 0.9, 0.8, 1, 0)
    inked, other = Painter(drawings.pixels).draw(layout, 128, 128)
    assert inked[0, 64, 64] > 0.8
    assert inked[1:, 64, 64].max() < 0.4
    line = inked[:, 64].max(0).values.min()
    assert line < 0.12
    assert other[:, 64].max(0).values.min() > 2 * line, "of other looks the dark takes the colour too"


def test_pairs_are_two_things_of_a_good_size_that_every_caption_names(sprites: Sprites) -> None:
    telling = Telling(look=1.0, position=1.0)
    sampler, rng = SceneSampler(sprites, pairs=1.0, telling=telling), random.Random(6)
    scenes = [sampler.scene(rng) for _ in range(200)]
    for aspect in (1.0, 16 / 9):
        layout = sampler.layout(scenes, rng, aspect)
        for row, scene in enumerate(scenes):
            drawn = [sprites.index[subject.concept, scene.look or ""] for subject in scene.subjects]
            slots = np.flatnonzero(layout.sprite[row] >= 0)[-2:]
            assert layout.sprite[row, slots].tolist() == drawn
            assert layout.box[row, slots, 2].min() > 0.36
            left, right = sorted(layout.box[row, slots, 0] / aspect)
            assert left < 0.35 < 0.65 < right
    by_id = {concept.id: concept for concept in lexicon().concepts}
    for scene in scenes:
        assert len({subject.concept for subject in scene.subjects}) == 2
        assert {subject.position for subject in scene.subjects} == {"left", "right"}
        for lang in ("en", "ko"):
            text = sampler.caption(scene, lang, rng).lower()
            for subject in scene.subjects:
                words = by_id[subject.concept].words(lang)
                assert any(word.lower() in text for word in words) or by_id[subject.concept].en_plural in text


def test_pairs_are_the_share_that_was_asked_for(sprites: Sprites) -> None:
    rng = random.Random(7)
    sampler = SceneSampler(sprites, pairs=0.5)
    two = [len(sampler.scene(rng).subjects) == 2 for _ in range(1500)]
    assert np.mean(two) == pytest.approx(0.5 + 0.5 * 0.25, abs=0.05)
    alone = Sprites(sprites.pixels[:1], {("fox", "flat"): 0})
    with pytest.raises(ValueError, match="two things in one look"):
        SceneSampler(alone, pairs=0.1)


def test_what_is_asked_for_shows_in_the_shares(sprites: Sprites) -> None:
    settings = {"pairs": 0.4, "painted": 3, "look-told": 0.9, "position-told": 1.0}
    usual, more = (shares.shares(shares.sampler_of(sprites, row), 800) for row in ({}, settings))
    gains = {name: more[name] - usual[name] for name in usual}
    assert gains["two different things"] > 0.2
    assert gains["a thing's colour in the caption"] > 0.05
    assert gains["a position in the caption"] > 0.15
    assert gains["the look in the caption"] == pytest.approx(0.4, abs=0.08)
    assert gains["two, far away"] < 0


def test_a_colour_the_caption_does_not_tell_is_not_counted(sprites: Sprites) -> None:
    scene = Scene((Subject("fox", colour="red", position="left"),), look="flat")
    full = shares._has(scene, "a red fox on the left on a white background, flat", "en")
    assert [name for name, told in full.items() if told] == [
        "a thing's colour in the caption", "a position in the caption", "the look in the caption",
    ]  # fmt: skip
    assert not any(shares._has(scene, "a fox on a coloured background", "en").values())
    assert not any(shares._has(replace(scene, look=None), "하얀 배경의 여우", "ko").values())


def test_the_shipped_tokenizer_reads_both_languages_without_losing_letters() -> None:
    from transformers import CLIPTokenizer

    folder = Path("src/jogak/models/weights/pocket/tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    for text in ("a fox in a meadow", "비 오는 밤 바닷가의 고양이 두 마리", "쀍 xyzzy 🦊"):
        ids = tokenizer(text).input_ids
        assert ids[0] == 0
        assert ids[-1] == 1
        assert 1 not in ids[1:-1], "END inside a prompt would cut it"


@pytest.fixture(scope="module")
def with_puppets(sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Sprites:
    folder = tmp_path_factory.mktemp("sprites")
    save(sprites, folder / "sprites.npz")
    make_sprites(folder / "puppets.npz", 6, 3, workers=1)
    return load(folder / "sprites.npz", folder / "puppets.npz")


def test_puppets_stand_in_scenes_under_their_own_words(with_puppets: Sprites) -> None:
    """Their phrase is in the caption of either language; they are never shown as in a mirror, for their words say
    which way they look; no concept's number is theirs."""
    sampler, rng = SceneSampler(with_puppets, people=1.0), random.Random(4)
    scenes = [sampler.scene(rng) for _ in range(40)]
    layout = sampler.layout(scenes, rng, 1.25)
    first = len(with_puppets.index) - len(with_puppets.puppets)
    assert (layout.subject == -1).all()
    for row, scene in enumerate(scenes):
        said = scene.subjects[0].phrase
        assert said is not None
        assert said[0].lower() in caption(scene, "en", random.Random(row)).lower()
        assert said[1] in caption(scene, "ko", random.Random(row))
        slot = int(np.flatnonzero(layout.sprite[row] >= first)[0])
        assert layout.box[row, slot, 3] == 1
        assert with_puppets.joints is not None
        assert with_puppets.joints[layout.sprite[row, slot], :, 2].any()


def test_without_puppets_nobody_is_drawn(sprites: Sprites) -> None:
    sampler, rng = SceneSampler(sprites, people=1.0), random.Random(4)
    assert all(subject.phrase is None for _ in range(20) for subject in sampler.scene(rng).subjects)


def test_a_close_up_is_one_thing_that_fills_a_plain_ground(sprites: Sprites) -> None:
    sampler, rng = SceneSampler(sprites, close_ups=True), random.Random(5)
    scenes = [sampler.scene(rng) for _ in range(40)]
    layout = sampler.layout(scenes, rng, 1.0)
    assert {(len(scene.subjects), scene.subjects[0].count, scene.place) for scene in scenes} == {(1, 1, None)}
    assert (layout.sprite >= 0).sum(1).tolist() == [1] * len(scenes)
    heights = layout.box[:, 0, 2]
    assert CLOSE_UP[0] * 0.94 <= heights.min() <= heights.max() <= CLOSE_UP[1] * 1.06
