"""A grid drawn whole: its cells are the pictures that single commands draw, warm when drawn again, resumed when
stopped."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from jogak.adapters.kohya import write_kohya
from jogak.image.grid import parse_grid
from jogak.models import resolve
from jogak.spec import ImageRequest, ModelRef, SpecError
from jogak.spec.image import LoraUse
from jogak.store import Cancelled, Progress, Store
from jogak.studio.cost import drawing_seconds, said
from jogak.studio.grid import cell_names, draw_grid
from jogak.studio.picture import Sources, draw_pictures
from tests.lora_layouts import layers, peft_factors
from tests.tiny_models import make_sd15_like

REQUEST = ImageRequest(prompt="red fox", width=64, height=64, steps=2, seed=1)


@pytest.fixture
def ref(base: Path) -> ModelRef:
    return resolve(base, "torch")


@pytest.fixture(scope="session")
def a_lora(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    shapes = dict(layers(unet, ("Transformer2DModel",)))
    path = tmp_path_factory.mktemp("lora") / "puppet.safetensors"
    return write_kohya(path, peft_factors(shapes), {}, {"ss_output_name": "puppet"}, alpha=8.0)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path).convert("RGB"))


def made(told: list[Progress]) -> int:
    return sum(one.step == "draw_image" and one.text == "made" for one in told)


def test_cells_are_the_pictures_drawn_alone(
    store: Store, ref: ModelRef, a_lora: Path, tmp_path: Path
) -> None:
    grid = parse_grid("lora:0,0.5,1 x prompt:fox,cat")
    sources = Sources(loras=(LoraUse(name=str(a_lora)),))
    drawn = draw_grid(store, REQUEST, grid, lambda one: ref, sources=sources)
    assert len({pixels(cell.path).tobytes() for cell in drawn.cells}) == 6
    alone = Store(tmp_path / "alone")
    for i, (weight, prompt) in {1: (0.5, "red fox"), 5: (1.0, "red cat")}.items():
        request = REQUEST.model_copy(update={"prompt": prompt})
        one = draw_pictures(
            alone, request, ref, sources=Sources(loras=(LoraUse(name=str(a_lora), weight=weight),))
        )
        assert np.array_equal(pixels(one[0].path), pixels(drawn.cells[i].path))
    plain = draw_pictures(alone, REQUEST, ref)
    assert np.array_equal(pixels(plain[0].path), pixels(drawn.cells[0].path))  # weight 0


def test_a_second_grid_is_warm_and_a_wider_one_draws_what_is_new(store: Store, ref: ModelRef) -> None:
    told: list[Progress] = []
    first = draw_grid(store, REQUEST, parse_grid("seed:1..3"), lambda one: ref, on_progress=told.append)
    assert made(told) == 3
    told.clear()
    again = draw_grid(store, REQUEST, parse_grid("seed:1..3"), lambda one: ref, on_progress=told.append)
    assert made(told) == 0
    assert again == first
    draw_grid(store, REQUEST, parse_grid("seed:3..5"), lambda one: ref, on_progress=told.append)
    assert made(told) == 2


def test_a_stopped_grid_goes_on(store: Store, ref: ModelRef) -> None:
    told: list[Progress] = []
    stop = threading.Event()

    def after_two(one: Progress) -> None:
        told.append(one)
        if made(told) == 2:
            stop.set()

    grid = parse_grid("seed:1..4")
    with pytest.raises(Cancelled):
        draw_grid(store, REQUEST, grid, lambda one: ref, on_progress=after_two, cancel=stop)
    done = made(told)
    assert done == 2
    draw_grid(store, REQUEST, grid, lambda one: ref, on_progress=told.append)
    assert made(told) == 4


def test_models_of_cells_are_their_own(store: Store, ref: ModelRef, tmp_path: Path) -> None:
    sd15_like = make_sd15_like(tmp_path / "sd15")
    grid = parse_grid(f"seed:1,2 x model:{ref.folder},{sd15_like}")
    drawn = draw_grid(store, REQUEST, grid, lambda one: resolve(one.model, "torch"))
    assert len({pixels(cell.path).tobytes() for cell in drawn.cells}) == 4
    alone = draw_pictures(store, REQUEST, resolve(sd15_like, "torch"))
    assert np.array_equal(pixels(alone[0].path), pixels(drawn.cells[2].path))


def test_sizes_and_strengths(store: Store, ref: ModelRef, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (80, 80), (250, 20, 20)).save(tmp_path / "start.png")
    grid = parse_grid("strength:0,1 x size:64x64,72x64")
    drawn = draw_grid(store, REQUEST, grid, lambda one: ref, sources=Sources(init=tmp_path / "start.png"))
    assert [(cell.width, cell.height) for cell in drawn.cells] == [(64, 64), (64, 64), (72, 64), (72, 64)]
    assert (pixels(drawn.cells[0].path) == (250, 20, 20)).all()
    assert not (pixels(drawn.cells[1].path) == (250, 20, 20)).all()


def test_nothing_is_drawn_when_one_cell_cannot_be(store: Store, ref: ModelRef) -> None:
    told: list[Progress] = []
    for text in ("guidance:2,99", "lora:0.5,1", "prompt:fox," + "word " * 700):
        with pytest.raises(SpecError):
            draw_grid(store, REQUEST, parse_grid(text), lambda one: ref, on_progress=told.append)
    assert made(told) == 0


def test_names_of_cells() -> None:
    names = [path.name for path in cell_names(parse_grid("seed:1,2 x steps:3,4"), Path("a/out.png"))]
    assert names == ["out-x1-y1.png", "out-x2-y1.png", "out-x1-y2.png", "out-x2-y2.png"]


def test_more_work_is_said_to_take_longer(ref: ModelRef) -> None:
    times = [
        drawing_seconds([(REQUEST.model_copy(update=more), ref)] * count)
        for more, count in (({"steps": 100}, 1), ({"steps": 100}, 10), ({"steps": 100, "guidance": 1.0}, 10))
    ]
    assert times[1] is not None
    assert times[1] > (times[0] or 0)
    assert times[1] > (times[2] or 0)
    assert said(30) == "about 30 s"
    assert said(600) == "about 10 minutes"
    assert "not known" in said(None)
