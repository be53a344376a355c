"""Pictures that are steered: inpainting, enlarging, LoRA, ControlNet and IP-Adapter at once, and their replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from jogak.adapters.kohya import write_kohya
from jogak.image.infotext import read_infotext, read_recipe
from jogak.image.lora_tags import split_loras
from jogak.image.steer import ControlFlag, IpFlag, parse_control, parse_ip
from jogak.models import load, resolve
from jogak.spec import Image, ImageRequest, ModelRef, SpecError
from jogak.store import Store
from jogak.studio.picture import Sources, draw_pictures, replay_picture
from tests.tiny_adapters import a_controlnet, save_adapter, save_tower

ASKED = {"prompt": "red fox", "width": 64, "height": 64, "steps": 4}


@pytest.fixture
def store(home: Path) -> Store:
    return Store()


@pytest.fixture
def model(pocket_like: Path) -> ModelRef:
    return resolve(pocket_like, "torch")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    picture = PIL.Image.new("RGB", (96, 64), (200, 30, 30))
    picture.paste((20, 20, 220), (20, 10, 60, 50))
    picture.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def ink(model: ModelRef, tmp_path: Path) -> Path:
    """A LoRA over every cross-attention query of the tiny UNet."""
    unet = UNet2DConditionModel.from_pretrained(model.folder / "unet")
    torch.manual_seed(5)
    factors: dict[str, torch.Tensor] = {}
    for name, part in unet.named_modules():
        if name.endswith("attn2.to_q"):
            factors[f"{name}.lora_A.weight"] = torch.randn(2, part.in_features)
            factors[f"{name}.lora_B.weight"] = torch.randn(part.out_features, 2)
    return write_kohya(tmp_path / "ink.safetensors", factors, {}, {}, 2.0)


def draw(store: Store, model: ModelRef, sources: Sources = Sources(), **asked: object) -> Image:  # noqa: B008
    return draw_pictures(
        store, ImageRequest.parse(ASKED | {"model": model.name} | asked), model, sources=sources
    )[0]


def pixels(image: Image) -> np.ndarray:
    return np.asarray(PIL.Image.open(image.path), dtype=int)


def test_outside_the_mask_every_pixel_stays(store: Store, model: ModelRef, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    PIL.Image.fromarray(before).save(tmp_path / "before.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 8:40] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    sources = Sources(init=tmp_path / "before.png", mask=tmp_path / "mask.png")
    after = pixels(draw(store, model, sources, strength=1.0))
    changed = (after != before).any(-1)
    assert not changed[mask == 0].any()
    assert changed[24:40, 16:32].mean() > 0.9


def test_a_mask_needs_a_picture(store: Store, model: ModelRef, photo: Path) -> None:
    with pytest.raises(SpecError, match="--init"):
        draw(store, model, Sources(mask=photo))


def test_hires_draws_larger_and_keeps_the_picture(store: Store, model: ModelRef) -> None:
    small, large = draw(store, model), draw(store, model, hires=1.5)
    assert (large.width, large.height) == (96, 96)
    shrunk = PIL.Image.open(large.path).resize((64, 64), PIL.Image.Resampling.BOX)
    assert np.abs(np.asarray(shrunk, dtype=int) - pixels(small)).mean() < 64


def test_all_three_adapters_at_once_and_the_picture_is_enough_to_replay_them(
    store: Store, model: ModelRef, photo: Path, ink: Path, tmp_path: Path
) -> None:
    a_controlnet(model).save_pretrained(tmp_path / "lines")
    adapter = save_adapter(tmp_path / "ip" / "ip.safetensors", model)
    save_tower(tmp_path / "ip" / "image_encoder")
    sources = Sources(
        controls=(
            ControlFlag("canny", str(photo), weight=0.8, end=0.7, model=str(tmp_path / "lines")),
            ControlFlag("pose", "waving", weight=0.5, model=str(tmp_path / "lines")),
        ),
        ips=(IpFlag(str(photo), 0.6, "style", str(adapter)),),
    )
    plain = draw(store, model)
    drawn = draw(store, model, sources, prompt=f"red fox <lora:{ink}:0.7>")
    assert not np.array_equal(pixels(plain), pixels(drawn))
    for without in (Sources(controls=sources.controls), Sources(ips=sources.ips)):
        part = draw(store, model, without, prompt=f"red fox <lora:{ink}:0.7>")
        assert not np.array_equal(pixels(part), pixels(drawn))
    text = read_infotext(drawn.path) or ""
    assert "red fox <lora:ink:0.7>" in text
    assert "ControlNet 0" in text
    assert "Lora hashes" in text
    recipe = read_recipe(drawn.path)
    assert len(recipe.inputs) == 1 + 2 * 2 + 2
    again = replay_picture(store, drawn.path, tmp_path / "again.png")
    assert again.identical, again.reasons


def test_the_model_is_as_it_was_and_weight_zero_is_plain(
    store: Store, model: ModelRef, photo: Path, ink: Path, tmp_path: Path
) -> None:
    before = {name: part.clone() for name, part in load(model).networks.unet_module.state_dict().items()}
    plain = draw(store, model)
    draw(store, model, Sources(), prompt=f"red fox <lora:{ink}:1>")
    after = load(model).networks.unet_module.state_dict()
    assert all(torch.equal(part, after[name]) for name, part in before.items())
    off = draw(store, model, Sources(), prompt=f"red fox <lora:{ink}:0>")
    assert np.array_equal(pixels(off), pixels(plain))


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("canny=photo.png:0.8@0.0-0.7", ControlFlag("canny", "photo.png", weight=0.8, end=0.7)),
        ("none:canny=map.png", ControlFlag("none", "map.png", shows="canny")),
        ("pose=waving", ControlFlag("pose", "waving")),
        ("depth=a b.png#/models/depth", ControlFlag("depth", "a b.png", model="/models/depth")),
    ],
)
def test_controls_as_they_are_written(text: str, flag: ControlFlag) -> None:
    assert parse_control(text) == flag


@pytest.mark.parametrize("text", ["photo.png", "foo=a.png", "canny=", "none:foo=map.png"])
def test_a_control_that_is_none_is_explained(text: str) -> None:
    with pytest.raises(SpecError, match="KIND=FILE"):
        parse_control(text)


def test_references_as_they_are_written() -> None:
    assert parse_ip("ref.png:0.5:style") == IpFlag("ref.png", 0.5, "style")
    assert parse_ip("ref.png") == IpFlag("ref.png")
    assert split_loras("<lora:ink:0.8>")[1][0].weight == 0.8
