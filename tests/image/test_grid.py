"""Grids as they are written, and as they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from jogak.image.grid import Grid, grid_picture, parse_grid, plain_cell, weighted_cell
from jogak.image.infotext import parse_infotext, read_infotext
from jogak.image.page import font, shortened, wrapped
from jogak.spec import Image, ImageRequest, ModelRef, SpecError
from jogak.spec.image import ControlUse, IpUse, LoraUse
from jogak.store import Store

REQUEST = ImageRequest(prompt="a red fox in snow", negative="fox fur", seed=7)


def values(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(axis.name, axis.values) for axis in parse_grid(text).axes]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("seed:1..4", [("seed", ("1", "2", "3", "4"))]),
        ("seed: 4..1", [("seed", ("4", "3", "2", "1"))]),
        ("seed:10..30..10, 99", [("seed", ("10", "20", "30", "99"))]),
        ("guidance:0.2..1.0..0.2", [("guidance", ("0.2", "0.4", "0.6", "0.8", "1"))]),
        ("guidance:0..1..0.3", [("guidance", ("0", "0.3", "0.6", "0.9"))]),
        ("seed:100", [("seed", ("100",))]),
        ("lora:0.5,1.0 x seed:1..2", [("lora", ("0.5", "1.0")), ("seed", ("1", "2"))]),
        ("lora.hana: -1..1 × control.canny:0.5", [("lora.hana", ("-1", "0", "1")), ("control.canny", ("0.5",))]),
        ("sampler:euler,ddim", [("sampler", ("euler", "ddim"))]),
        ("size:256x256,320x192 x seed:1", [("size", ("256x256", "320x192")), ("seed", ("1",))]),
        ('prompt:fox,"an old, grey cat",여우', [("prompt", ("fox", "an old, grey cat", "여우"))]),
        ("prompt:3 x 4,2 x seed of it x seed:1", [("prompt", ("3 x 4", "2 x seed of it")), ("seed", ("1",))]),
    ],
)  # fmt: skip
def test_axes_are_read(written: str, read: list) -> None:
    assert values(written) == read


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "FIELD:VALUES"),
        ("seeds:1..2", "Fields: seed"),
        ("seed", "FIELD:VALUES"),
        ("seed:", "no values"),
        ("seed:a..b", "neither a number nor a range"),
        ("seed:nan", "neither a number nor a range"),
        ("seed:1..9..0", "more than 200"),
        ("seed:1..1e99", "neither a number nor a range"),
        ("seed:1..1e9", "more than 200"),
        ("guidance:0.1..0.5", "needs its step"),
        ("seed.hana:1", "only lora, control and ip"),
        ("prompt:fox", "what replaces them"),
        ('prompt:"fox,cat', "not closed"),
        ("seed:1 x seed:2", "twice"),
        ("seed:1 x steps:1 x hires:1 x ip:1", "at most 3"),
        ("seed:1..15 x steps:1..15", "225 cells"),
        ("x" * 5000, "characters long"),
    ],
)
def test_what_cannot_be_drawn_is_said(written: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        parse_grid(written)


def test_the_first_axis_runs_fastest() -> None:
    assert parse_grid("seed:1,2 x steps:3,4").cells == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert len(parse_grid("seed:1..5 x steps:1..8 x guidance:1..5").cells) == 200


def test_cells_ask_for_their_values() -> None:
    grid = parse_grid("prompt:fox,cat x size:64x72,128×64 x sampler:euler,ddim")
    asked = [plain_cell(grid, cell, REQUEST) for cell in grid.cells]
    assert [one.prompt for one in asked[:2]] == ["a red fox in snow", "a red cat in snow"]
    assert [one.negative for one in asked[:2]] == ["fox fur", "cat fur"]
    assert [(one.width, one.height) for one in asked[::2]] == [(64, 72), (128, 64)] * 2
    assert [one.sampler for one in asked] == ["euler"] * 4 + ["ddim"] * 4
    assert {one.seed for one in asked} == {7}
    plain = parse_grid("seed:1..2 x guidance:2.5 x hires:1,2")
    assert [plain_cell(plain, cell, REQUEST).seed for cell in plain.cells] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("prompt:dog,cat", 'does not contain "dog"'),
        ("steps:0,1", "greater than or equal to 1"),
        ("sampler:magic", "sampler"),
        ("size:64", "height"),
        ("seed:1.5", "seed"),
    ],
)
def test_a_value_that_a_field_cannot_take_is_refused(written: str, says: str) -> None:
    grid = parse_grid(written)
    with pytest.raises(SpecError, match=says):
        [plain_cell(grid, cell, REQUEST) for cell in grid.cells]


STEERED = ImageRequest(
    prompt="fox",
    loras=(LoraUse(name="/models/hana.safetensors", weight=0.7, text_weight=0.2), LoraUse(name="style.safetensors")),
    controls=(ControlUse(kind="canny", image="0" * 64), ControlUse(kind="none", shows="pose", image="0" * 64)),
    ips=(IpUse(image="0" * 64), IpUse(image="1" * 64)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("written", "weights"),
    [
        ("lora:0.5", (0.5, 0.5, 1, 1, 0.6, 0.6)),
        ("lora.hana:0.5", (0.5, 1, 1, 1, 0.6, 0.6)),
        ("control:0.5", (0.7, 1, 0.5, 0.5, 0.6, 0.6)),
        ("control.pose:0.5", (0.7, 1, 1, 0.5, 0.6, 0.6)),
        ("ip.2:0.5", (0.7, 1, 1, 1, 0.6, 0.5)),
        ("seed:3", (0.7, 1, 1, 1, 0.6, 0.6)),
    ],
)
def test_weights_of_adapters_are_set(written: str, weights: tuple[float, ...]) -> None:
    asked = weighted_cell(parse_grid(written), (0,), STEERED)
    assert tuple(use.weight for use in (*asked.loras, *asked.controls, *asked.ips)) == weights
    assert asked.loras[0].text_weight == (None if "lora" in written else 0.2)


@pytest.mark.parametrize("written", ["lora.nobody:1", "control.depth:1", "ip.3:1"])
def test_an_adapter_that_is_not_there_is_named(written: str) -> None:
    with pytest.raises(SpecError, match=written.split(":")[0]):
        weighted_cell(parse_grid(written), (0,), STEERED)
    with pytest.raises(SpecError, match="has no lora"):
        weighted_cell(parse_grid("lora:1"), (0,), REQUEST)


def coloured(store: Store, colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Image:
    with store.new_file(".png") as file:
        PIL.Image.new("RGB", size, colour).save(file)
        return store.put(file, Image, width=size[0], height=size[1])


def drawn(tmp_path: Path, grid: Grid, sizes: list[tuple[int, int]]) -> tuple[PIL.Image.Image, Path]:
    store = Store(tmp_path / "store")
    ref = ModelRef(name="tiny", family="pocket", folder=tmp_path, digest="a" * 64, numeric="torch-fp32")
    with store.run("grid", spec=REQUEST):
        cells = tuple(
            coloured(store, (20 + 9 * i, 0, 255 - 9 * i), sizes[i % len(sizes)])
            for i in range(len(grid.cells))
        )
        page = grid_picture(cells, grid, REQUEST, ref)
    return PIL.Image.open(page.path).convert("RGB"), page.path


@pytest.mark.parametrize(
    "text", ["seed:1..3", "seed:1..3 x steps:1,2", "seed:1,2 x prompt:fox,여우 x hires:1,2,3"]
)
def test_every_cell_stands_in_its_place(tmp_path: Path, text: str) -> None:
    grid = parse_grid(text)
    page, _ = drawn(tmp_path, grid, [(64, 48)])
    pixels = np.asarray(page).astype(int)
    places = []
    for i in range(len(grid.cells)):
        rows, columns = np.nonzero((pixels == (20 + 9 * i, 0, 255 - 9 * i)).all(-1))
        assert len(rows) == 64 * 48  # whole, and not covered by a label
        places.append((rows.min(), columns.min()))
    counts = [len(axis.values) for axis in grid.axes] + [1, 1]
    assert len({x for _, x in places}) == counts[0]
    assert len({y for y, _ in places}) == counts[1] * counts[2]
    assert places == sorted(places)  # the first axis to the right, the others down


def test_sizes_may_differ_and_many_cells_stay_within_bounds(tmp_path: Path) -> None:
    page, _ = drawn(tmp_path, parse_grid("size:64x48,48x64"), [(64, 48), (48, 64)])
    assert page.width < 700
    page, _ = drawn(tmp_path / "large", parse_grid("seed:1..20"), [(1024, 1024)])
    assert page.width <= 6000


def test_the_png_says_what_it_shows(tmp_path: Path) -> None:
    _, path = drawn(tmp_path, parse_grid("seed:1..2 x prompt:fox,여우"), [(64, 48)])
    facts = parse_infotext(read_infotext(path) or "")
    assert facts["Grid"] == "seed:1..2 x prompt:fox,여우"
    assert facts["Prompt"] == REQUEST.prompt
    data = json.loads(PIL.Image.open(path).info["jogak-grid"])
    assert data["grid"] == "seed:1..2 x prompt:fox,여우"
    assert len(data["cells"]) == 4
    assert ImageRequest.parse(data["request"]) == REQUEST


def test_text_is_fitted_to_its_place() -> None:
    face = font(16)
    long = "눈 내리는 숲의 여우 " * 30
    short = shortened(long, face, 200)
    assert short.endswith("…")
    assert face.getlength(short) <= 200
    lines = wrapped(long, face, 200, 3)
    assert len(lines) == 3
    assert all(face.getlength(line) <= 200 for line in lines)
    assert wrapped("a\nb\tc", face, 200, 3) == ["a b c"]
    assert all(face.getlength(line) <= 60 for line in wrapped("가" * 200, face, 60, 4))
    assert wrapped("", face, 200, 3) == []
