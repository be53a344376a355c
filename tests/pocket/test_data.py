"""Pocket's data: scenes that captions can say, held-out combinations that training never meets, drawings that repeat."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from jogak.models.captions import caption
from jogak.models.lexicon import lexicon
from pocket.data.compose import PLACES, TIMES, WEATHERS, Painter
from pocket.data.puppets.export import make_sprites
from pocket.data.scenes import CLOSE_UP, COLOURS, DECOR, SceneSampler, held_out
from pocket.data.sprites import SIZE, Sprites, draw, load, save


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
