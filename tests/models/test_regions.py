"""Parts of a picture with words of their own."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jogak.models import load, resolve
from jogak.models.captions import Lang, Scene, Subject, caption
from jogak.models.diffusion import DiffusionModel
from jogak.models.lexicon import lexicon
from jogak.models.regions import SHARE, RegionalModel, region_mask, regions_of
from jogak.spec import Region, SpecError

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


@pytest.fixture
def model(pocket_like: Path) -> DiffusionModel:
    return load(resolve(pocket_like, "torch"))


def words(model: DiffusionModel, *said: str) -> list[torch.Tensor]:
    return list(model.encode_text(said).split(1))


def test_each_half_follows_its_own_words(model: DiffusionModel) -> None:
    """Well inside a half the picture's share apart, what is seen is what the half's words alone would show."""
    fox, balloon, beach, nothing = words(model, "a fox", "a balloon", "a beach", "")
    regions = [Region(prompt="a fox", box=LEFT), Region(prompt="a balloon", box=RIGHT)]
    x, sigmas = torch.randn(1, model.latent_channels, 8, 32), torch.tensor([8.0, 4.0, 2.0, 1.0, 0.0])
    seen = RegionalModel(model, regions, sigmas, 3.0).denoise(x, 8.0, [beach, fox, balloon], nothing)
    whole, left, right = (model.denoise(x, 8.0, cond, nothing, 3.0) for cond in (beach, fox, balloon))
    assert torch.allclose(seen[..., :12], ((left + 0.3 * whole) / 1.3)[..., :12], atol=1e-5)
    assert torch.allclose(seen[..., 20:], ((right + 0.3 * whole) / 1.3)[..., 20:], atol=1e-5)
    assert not torch.allclose(left, right, atol=1e-3)


def test_late_steps_and_no_regions_are_the_model_alone(model: DiffusionModel) -> None:
    fox, beach, nothing = words(model, "a fox", "a beach", "")
    x, sigmas = torch.randn(1, model.latent_channels, 8, 8), torch.tensor([16.0, 8.0, 4.0, 2.0, 1.0, 0.0])
    plain = {sigma: model.denoise(x, sigma, beach, nothing, 3.0) for sigma in (4.0, 2.0)}
    regional = RegionalModel(model, [Region(prompt="a fox", box=LEFT)], sigmas, 3.0)
    assert round(SHARE * 5) == 3
    assert not torch.equal(regional.denoise(x, 4.0, [beach, fox], nothing), plain[4.0])
    assert torch.equal(regional.denoise(x, 2.0, [beach, fox], nothing), plain[2.0])
    assert torch.equal(RegionalModel(model, (), sigmas, 3.0).denoise(x, 4.0, [beach], nothing), plain[4.0])


@given(st.floats(0.05, 0.95), st.integers(8, 64))
def test_masks_of_two_neighbours_add_up(border: float, width: int) -> None:
    masks = [
        region_mask(Region(prompt="x", box=box), 4, width) for box in ((0, 0, border, 1), (border, 0, 1, 1))
    ]
    assert torch.allclose(masks[0] + masks[1], torch.ones(1, 1, 4, width), atol=1e-5)


@pytest.mark.parametrize("box", [(0.5, 0, 0.5, 1), (0, 0.6, 1, 0.5), (-0.1, 0, 1, 1), (0, 0, 1.2, 1)])
def test_a_box_outside_of_the_picture_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(SpecError, match="from 0 to 1"):
        Region.parse({"prompt": "a fox", "box": box})


def test_a_scene_of_two_has_a_part_for_each() -> None:
    two = (Subject("fox", position="right"), Subject("balloon", position="left", colour="red"))
    fox, balloon = regions_of(Scene(subjects=two, place="beach", time="sunset"), "en")
    assert (fox.box, balloon.box) == (RIGHT, LEFT)
    assert "fox on the right" in fox.prompt
    assert "balloon" not in fox.prompt
    assert "red balloon on the left" in balloon.prompt
    assert all("beach" in part.prompt and "sunset" in part.prompt for part in (fox, balloon))
    korean = regions_of(Scene(subjects=two, place="beach"), "ko")
    assert "여우" in korean[0].prompt
    assert "오른쪽" in korean[0].prompt


def test_one_subject_or_no_places_have_no_parts() -> None:
    fox = Subject("fox", position="left")
    assert regions_of(Scene(subjects=(fox,), place="beach"), "en") == ()
    assert regions_of(Scene(subjects=(fox, Subject("balloon")), place="beach"), "en") == ()
    assert regions_of(Scene(subjects=(), place="beach"), "en") == ()


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_a_part_says_nothing_that_the_whole_does_not(lang: Lang) -> None:
    """So that an edited plan whose regions were left behind can be told."""
    known, rng = lexicon(), random.Random(1)
    for _ in range(300):
        one, other = rng.sample(known.concepts, 2)
        colour = rng.choice([None, *(word.id for word in known.colours)])
        scene = Scene(
            subjects=(Subject(one.id, 1, "left", colour), Subject(other.id, 1, "right")),
            place=rng.choice(known.places).id,
            time=rng.choice(known.times).id,
            weather=rng.choice(known.weathers).id,
            look=rng.choice(known.looks).id,
        )
        whole = caption(scene, lang).lower()
        parts = regions_of(scene, lang)
        assert len(parts) == 2
        for part in parts:
            assert all(word.lower() in whole for word in re.findall(r"\w+", part.prompt)), part.prompt
