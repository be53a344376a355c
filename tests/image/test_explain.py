"""Parts of a picture, its way out of the noise, and its words' maps, on a small model of the true layout."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from jogak.image import explain
from jogak.image.draw import draw_image
from jogak.image.explain import parts_of, trace_drawing, word_heat
from jogak.image.infotext import read_recipe
from jogak.image.prompt import at_step, weighted
from jogak.image.steer import Steering
from jogak.models import load, resolve
from jogak.spec import ImageRequest, ModelRef
from jogak.spec.image import ControlUse, IpUse, LoraUse
from jogak.store import StepError, Store

REQUEST = ImageRequest(prompt="red fox", width=64, height=64, steps=4, seed=3)


@pytest.fixture
def store(home: Path) -> Store:
    return Store()


@pytest.fixture
def model(pocket_like: Path) -> ModelRef:
    return resolve(pocket_like, "torch")


# parts


def test_every_part_is_taken_out_alone() -> None:
    request = ImageRequest(
        prompt="(red:1.2) fox", negative="cat", guidance=5, init="a" * 64, strength=0.6, hires=2,
        loras=(LoraUse(name="/x/hana.safetensors", weight=0.8, text_weight=0.4), LoraUse(name="off", weight=0)),
        controls=(ControlUse(kind="none", shows="pose", image="0" * 64),), ips=(IpUse(image="0" * 64),),
    )  # fmt: skip
    parts = parts_of(request)
    assert [(part.kind, part.name) for part in parts] == [
        ("prompt", "(red:1.2) fox"), ("negative", "cat"), ("guidance", "5"), ("init", "0.6"), ("hires", "× 2"),
        ("lora", "hana 0.8"), ("control", "pose 1"), ("ip", "all 0.6"),
    ]  # fmt: skip
    fields = ("prompt", "negative", "guidance", "strength", "hires", "loras", "controls", "ips")
    for part, field in zip(parts, fields, strict=True):
        for one in (part.off, part.half):
            assert one is not None
            differing = {
                name for name in ImageRequest.model_fields if getattr(one, name) != getattr(request, name)
            }
            assert differing == {field}
    by_kind = {part.kind: part for part in parts}
    assert by_kind["guidance"].off.guidance == 1
    assert by_kind["guidance"].half.guidance == 3
    assert by_kind["init"].half.strength == pytest.approx(0.8)
    assert (by_kind["hires"].off.hires, by_kind["hires"].half.hires) == (1, 1.5)
    assert [(use.weight, use.text_weight) for use in by_kind["lora"].half.loras] == [(0.4, 0.2), (0, None)]
    assert by_kind["lora"].off.loras[0].text_weight == 0
    assert weighted(by_kind["prompt"].half.prompt) == [("red", pytest.approx(0.6)), (" fox", 0.5)]


def test_without_a_prompt_nothing_is_said_at_any_step() -> None:
    off = parts_of(REQUEST)[0].off.prompt
    assert {at_step(off, step, 20) for step in range(20)} == {""}


def test_what_is_not_there_is_no_part() -> None:
    assert [part.kind for part in parts_of(REQUEST.model_copy(update={"guidance": 1.0}))] == ["prompt"]


def test_words_whose_brackets_would_swallow_the_half_have_none() -> None:
    assert parts_of(REQUEST.model_copy(update={"prompt": "red) fox"}))[0].half is None
    assert parts_of(REQUEST.model_copy(update={"prompt": "red [fox"}))[0].half is not None


# the way out


def test_the_trace_is_the_drawing_itself(store: Store, model: ModelRef) -> None:
    request = REQUEST.model_copy(update={"sampler": "ddim"})
    with store.run("x", spec=request):
        plain = draw_image(request, model)
        instants = trace_drawing(request, model, Steering(), 3)
    sigmas = load(model).sigmas(4, "trailing").tolist()
    assert [one.sigma for one in instants] == sigmas[:-1]
    assert [one.step for one in instants if one.clean] == [1, 3, 4]
    d = 8 * 8 * 8
    for one in instants:
        assert one.noise_norm == pytest.approx(d**0.5 / one.sigma)
    # at the first step there is noise alone: what is taken away is all of it
    x = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(3))
    assert instants[0].score_norm == pytest.approx(x.norm().item() / sigmas[0], rel=0.02)
    assert instants[0].change == 0
    assert all(one.change > 0 for one in instants[1:])
    # DDIM's last step goes to the prediction itself, so that is the picture
    last = instants[-1].clean
    assert last is not None
    assert np.array_equal(*(np.asarray(PIL.Image.open(one.path)) for one in (last, plain)))


def test_the_score_is_held_against_its_own_formula(
    store: Store, model: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that always guesses zero has the score −x / σ²."""
    loaded = load(model)
    monkeypatch.setattr(loaded.networks, "unet", lambda x, t, cond: torch.zeros_like(x))
    monkeypatch.setattr(loaded, "prediction", "sample")
    with store.run("x", spec=REQUEST):
        instants = trace_drawing(REQUEST.model_copy(update={"sampler": "ddim"}), model, Steering(), 1)
    x = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(3)).norm().item()
    for one in instants:  # DDIM keeps the noise: x = σ · noise
        assert one.score_norm == pytest.approx(x / one.sigma, rel=1e-4)
        assert one.change == 0


def test_a_second_pass_is_traced_too(store: Store, model: ModelRef) -> None:
    with store.run("x", spec=REQUEST):
        instants = trace_drawing(REQUEST.model_copy(update={"hires": 2.0}), model, Steering(), 2)
    assert len(instants) == 4 + 2
    assert instants[4].sigma > instants[3].sigma
    assert instants[-1].clean is not None
    assert instants[-1].clean.width == 128


# words


def test_watching_changes_no_pixel_and_leaves_no_trace(store: Store, model: ModelRef) -> None:
    loaded = load(model)
    unet = loaded.networks.unet_module
    before = dict(unet.attn_processors)
    with store.run("x", spec=REQUEST):
        drawn = draw_image(REQUEST, model)
        heat = explain._Heat(loaded, REQUEST)
        with explain._listening(unet, heat.layers), explain._watched(loaded, heat.look):
            again = inspect.unwrap(draw_image)(REQUEST, model, Steering())
        assert read_recipe(again.path).pixels == read_recipe(drawn.path).pixels
    assert dict(unet.attn_processors) == before
    assert "denoise" not in vars(loaded)


def test_the_model_is_given_back_after_a_failure(
    store: Store, model: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(model)
    before = dict(loaded.networks.unet_module.attn_processors)

    def broken(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(explain, "_draw_again", broken)
    with store.run("x", spec=REQUEST), pytest.raises(StepError, match="planted"):
        word_heat(REQUEST, model, Steering())
    assert dict(loaded.networks.unet_module.attn_processors) == before
    assert "denoise" not in vars(loaded)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("red fox, in a meadow", ["red", "fox", "in", "a", "meadow"]),
        ("빨간 여우와 눈", ["빨간", "여우와", "눈"]),
        ("(red:1.3) fox BREAK red cat", ["red", "fox", "red", "cat"]),
        ("[red:blue:0.5] fox", ["red", "fox", "blue"]),
        ("a1-b don't", ["a1-b", "don't"]),
    ],
)
def test_every_word_has_a_map(store: Store, model: ModelRef, prompt: str, words: list[str]) -> None:
    request = ImageRequest(prompt=prompt, negative="a cat " * 60, width=64, height=72, steps=2)
    with store.run("x", spec=request):
        found = word_heat(request, model, Steering())
    assert [word.text for word in found] == words
    assert sum(word.share for word in found) == pytest.approx(1)
    for word in found:
        assert (word.heat.width, word.heat.height) == (57, 64)
        assert np.asarray(PIL.Image.open(word.heat.path)).max() == 255
        assert word.focus >= 1


def test_a_network_of_four_levels_is_listened_to(store: Store, sd15_like: Path) -> None:
    request = ImageRequest(prompt="red fox", width=72, height=104, steps=2, hires=1.5)
    with store.run("x", spec=request):
        found = word_heat(request, resolve(sd15_like, "torch"), Steering())
    assert [word.text for word in found] == ["red", "fox"]
    assert (found[0].heat.width, found[0].heat.height) == (44, 64)


def test_the_rows_of_a_word_are_its_tokens(model: ModelRef) -> None:
    loaded = load(model)
    text = "red 여우 BREAK (cat:1.2), red"
    words, rows = explain._placed_words(loaded, text)
    chunks = explain.chunks_of(loaded, weighted(text))
    ids = [token for chunk in chunks for token in loaded.chunk(chunk.tokens)]
    assert rows == len(ids) == 2 * 77
    assert [word for word, _ in words] == [("red", 0), ("여우", 0), ("cat", 0), ("red", 1)]
    for (word, _), places in words:
        assert [ids[place] for place in places] == loaded.tokens(word)


def test_a_map_is_bright_where_the_word_was_looked_at(
    store: Store, model: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: every layer looks at the second word in the left half, at the first in the right half."""
    loaded = load(model)
    heat = explain._Heat(loaded, REQUEST.model_copy(update={"prompt": "red fox"}))
    words, rows = explain._placed_words(loaded, "red fox")
    (_, red), (_, fox) = words
    for _ in range(4):
        for side in (8, 4, 2):
            shares = torch.full((side, side, rows), 0.1)
            shares[:, : side // 2, fox] += 5
            shares[:, side // 2 :, red] += 5
            heat.layers.append(shares.flatten(0, 1))
        heat.look(torch.zeros(1, 8, 8, 8), 1.0, torch.zeros(1, 8, 8, 8))
    with store.run("x", spec=REQUEST):
        first, second = (np.asarray(PIL.Image.open(word.heat.path)).astype(int) for word in heat.words())
    assert (first[:, 56:] > 200).all()
    assert (first[:, :8] < 50).all()
    assert (second[:, :8] > 200).all()
    assert (second[:, 56:] < 50).all()


def test_openvino_has_no_layers_to_listen_to(store: Store, pocket_like: Path) -> None:
    ref = resolve(pocket_like, "openvino")
    with store.run("x", spec=REQUEST), pytest.raises(StepError, match="--backend torch"):
        word_heat(REQUEST, ref, Steering())
