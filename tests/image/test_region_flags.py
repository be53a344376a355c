"""`--region`: how parts are written, and that a picture drawn in them is drawn again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from jogak.image.infotext import parse_infotext, read_infotext, read_recipe
from jogak.image.region_flags import parse_region, with_regions
from jogak.models import resolve
from jogak.spec import ImageRequest, SpecError
from jogak.store import Store
from jogak.studio.picture import draw_pictures, replay_picture


def test_a_named_place_says_where_in_the_words_language() -> None:
    assert parse_region("left=a fox").words == "a fox on the left"
    assert parse_region("right = 빨간 풍선").words == "오른쪽에 빨간 풍선"
    assert parse_region("왼쪽=여우").box == parse_region("left=a fox").box == (0.0, 0.0, 0.5, 1.0)
    assert parse_region("0.1,0,0.4,1=a (fox:1.2) = two").words == "a (fox:1.2) = two"


@pytest.mark.parametrize("text", ["a fox", "left=", "=a fox", "behind=a fox", "0,0,1=a fox", "0,0,a,1=a fox"])
def test_a_wrong_flag_says_how_to_write_it(text: str) -> None:
    with pytest.raises(SpecError, match="PLACE=WORDS"):
        parse_region(text)


def test_the_whole_is_told_everything_and_a_part_its_own() -> None:
    flags = [parse_region("left=a fox"), parse_region("right=a balloon")]
    prompt, regions = with_regions("sunset at the beach <lora:hana:0.8>", flags)
    assert prompt == "a fox on the left, a balloon on the right, sunset at the beach <lora:hana:0.8>"
    assert [part.prompt for part in regions] == [
        "a fox on the left, sunset at the beach", "a balloon on the right, sunset at the beach",
    ]  # fmt: skip
    assert with_regions("a fox", []) == ("a fox", ())
    assert with_regions("", flags[:1])[0] == "a fox on the left"


def test_too_many_parts_and_boxes_outside_are_refused() -> None:
    with pytest.raises(SpecError, match="at most 6"):
        with_regions("a beach", [parse_region("left=a fox")] * 7)
    with pytest.raises(SpecError, match="from 0 to 1"):
        with_regions("a beach", [parse_region("0.5,0,0.2,1=a fox")])


def test_a_picture_in_regions_is_drawn_again(home: Path, pocket_like: Path, tmp_path: Path) -> None:
    prompt, regions = with_regions("a beach", [parse_region("left=a fox"), parse_region("right=a balloon")])
    asked = {"prompt": prompt, "width": 64, "height": 64, "steps": 4, "model": str(pocket_like), "hires": 1.5}
    store, model = Store(), resolve(pocket_like, "torch")
    drawn = draw_pictures(store, ImageRequest.parse(asked | {"regions": regions}), model)[0]
    plain = draw_pictures(store, ImageRequest.parse(asked), model)[0]
    assert not np.array_equal(*(np.asarray(PIL.Image.open(one.path)) for one in (drawn, plain)))
    assert read_recipe(drawn.path).request.regions == regions
    facts = parse_infotext(read_infotext(drawn.path) or "")
    assert facts["Regions"].startswith("0 0 0.5 1 a fox on the left, a beach; 0.5 0 1 1 ")
    assert replay_picture(store, drawn.path, tmp_path / "again.png", model=str(pocket_like)).identical


def test_a_part_that_cannot_be_drawn_is_refused(home: Path, pocket_like: Path) -> None:
    _, regions = with_regions("a beach", [parse_region("left=a fox <lora:hana:1>")])
    request = ImageRequest.parse({"prompt": "a beach", "regions": regions, "model": str(pocket_like)})
    with pytest.raises(SpecError, match="lora:hana"):
        draw_pictures(Store(), request, resolve(pocket_like, "torch"))
