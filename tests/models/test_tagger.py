"""Pocket's own tagger: plain backgrounds are measured, the rest is said only when it is sure."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from jogak.models.background import plain_background
from jogak.models.lexicon import lexicon
from jogak.models.tagger import BARS, Tag, Tagger, Tags, load_tagger, sentence
from jogak.spec import JogakError

SPRITES = Path(__file__).parents[2] / "build" / "sprites.npz"


def tags(**seen: object) -> Tags:
    empty = {"concept": None, "background": None, "place": None, "time": None, "weather": None, "look": None}
    return Tags(**(empty | seen))  # type: ignore[arg-type]


@pytest.mark.parametrize("colour", lexicon().colours, ids=lambda colour: colour.id)
def test_a_plain_background_is_named_by_its_colour(colour: object) -> None:
    rgb = tuple(round(255 * part) for part in colour.rgb)  # type: ignore[attr-defined]
    picture = np.full((120, 90, 3), rgb, np.uint8)
    picture[20:100, 20:70] = np.random.default_rng(0).integers(0, 256, (80, 50, 3))
    assert plain_background(picture) == colour.id  # type: ignore[attr-defined]
    picture[100:, 20:70] = 7
    assert plain_background(picture) == colour.id, "a subject that reaches the lower edge"  # type: ignore[attr-defined]


def test_a_scene_is_no_plain_background() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:50], picture[50:] = (90, 160, 250), (40, 150, 40)
    assert plain_background(picture) is None
    assert plain_background(np.random.default_rng(1).integers(0, 256, (50, 50, 3)).astype(np.uint8)) is None


def test_sentences_say_what_is_sure_and_nothing_else() -> None:
    meadow, dusk, rain = Tag("meadow", 0.9), Tag("sunset", 0.9), Tag("rain", 0.9)
    fox = Tag("fox", 0.9)
    assert sentence(tags(concept=fox, place=meadow, time=dusk, weather=rain), "en") == (
        "a fox in a meadow at sunset in the rain"
    )
    assert sentence(tags(place=meadow), "en") == "a green meadow"
    assert sentence(tags(place=meadow, time=dusk), "en", "fox").startswith("a fox in a meadow")
    assert "여우" in sentence(tags(place=meadow), "ko", "fox")
    assert sentence(tags(background="red"), "en") == "red background"
    assert sentence(tags(background="red"), "ko") == "빨간 배경"
    assert sentence(tags(background="red"), "en", "fox") == "a fox on a red background"
    assert sentence(tags(), "en") == ""
    assert sentence(tags(), "ko", "fox") == "여우"
    unsure = {name: Tag(tag, BARS[name] - 0.01) for name, tag in (("concept", "fox"), ("place", "meadow"))}
    assert sentence(tags(**unsure), "en") == ""
    assert sentence(tags(place=meadow, time=Tag("night", BARS["time"] - 0.01)), "en") == "a green meadow"
    assert sentence(tags(place=meadow, look=Tag("flat", 1.0)), "en") == "a green meadow", "the trigger's part"


def test_the_shipped_tagger_is_the_same_each_time_and_asks_only_what_can_be() -> None:
    tagger = load_tagger()
    white = np.full((64, 64, 3), 255, np.uint8)
    seen = tagger.tag(white, subject=False)
    assert (seen.background, seen.place, seen.time, seen.weather, seen.concept) == (
        "white",
        None,
        None,
        None,
        None,
    )
    noise = np.random.default_rng(2).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    assert tagger.tag(noise, subject=False) == tagger.tag(noise, subject=False)
    assert tagger is load_tagger(), "loaded once"


def test_a_folder_without_a_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JogakError, match="the folder of weights is incomplete"):
        Tagger(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not SPRITES.is_file(), reason="needs build/sprites.npz (pocket/README.md)")
def test_what_the_tagger_says_of_held_out_scenes_is_right() -> None:
    """The figures in `BARS`: python -m pytest -m slow -s tests/models/test_tagger.py"""
    from pocket.data.compose import Painter
    from pocket.data.scenes import SceneSampler
    from pocket.data.sprites import load
    from pocket.judge.bench import paint, readable

    sprites = readable(load(SPRITES))  # the tagger is the judge, and was not trained on line drawings
    sampler, rng = SceneSampler(sprites, held_out=True, plain=0.3), random.Random(99)
    scenes = [sampler.scene(rng) for _ in range(400)]
    pictures = paint(Painter(sprites.pixels), sampler, scenes, 5)
    tagger = load_tagger()
    seen = [tagger.tag(picture) for picture in pictures]
    for one, scene in zip(seen, scenes, strict=True):
        if scene.place is None:
            assert one.background == scene.background
    subjects = [
        (one.sure("concept"), [subject.concept for subject in scene.subjects])
        for one, scene in zip(seen, scenes, strict=True)
    ]
    named = [mine in true for mine, true in subjects if mine]
    print(f"concept: said of {len(named)} of {len(scenes)}, right {sum(named) / len(named):.1%}")
    assert len(named) >= 0.6 * len(scenes)
    assert sum(named) >= 0.9 * len(named)
    for group, least, said_least in (("place", 0.93, 0.9), ("time", 0.95, 0.9), ("weather", 0.95, 0.3)):
        asked = [(o, s) for o, s in zip(seen, scenes, strict=True) if s.place and getattr(o, group)]
        said = [(o.sure(group), getattr(s, group)) for o, s in asked if o.sure(group)]
        right = sum(mine == true for mine, true in said) / len(said)
        print(f"{group}: said of {len(said)} of {len(asked)}, right {right:.1%}")
        assert right >= least
        assert len(said) >= said_least * len(asked)
