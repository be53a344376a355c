"""One picture from one request, on a small model of the true layout."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import get_args

import numpy as np
import PIL.Image
import pytest

from jogak.image.draw import draw_image
from jogak.image.files import import_picture
from jogak.image.infotext import read_recipe
from jogak.image.steer import Steering
from jogak.models import resolve
from jogak.spec import Image, ImageRequest, ModelRef
from jogak.spec.image import SamplerName
from jogak.store import Cancelled, Progress, StepError, Store


@pytest.fixture
def store(home: Path) -> Store:
    return Store()


@pytest.fixture
def model(pocket_like: Path) -> ModelRef:
    return resolve(pocket_like, "torch")


def draw(store: Store, model: ModelRef, start: Image | None = None, **asked) -> np.ndarray:
    request = ImageRequest.parse({"prompt": "red fox", "width": 64, "height": 64, "steps": 4} | asked)
    with store.run("image", spec=request):
        return pixels(draw_image(request, model, Steering(init=start)))


def pixels(image: Image) -> np.ndarray:
    return np.asarray(PIL.Image.open(image.path), dtype=int)


@pytest.fixture
def start(store: Store, tmp_path: Path) -> Image:
    picture = PIL.Image.new("RGB", (96, 64), (200, 30, 30))
    picture.paste((20, 20, 220), (0, 0, 48, 64))
    picture.save(tmp_path / "start.png")
    return import_picture(store, tmp_path / "start.png")


@pytest.mark.parametrize("sampler", get_args(SamplerName))
def test_every_sampler_draws_and_the_seed_decides(store: Store, model: ModelRef, sampler: str) -> None:
    first, other = (draw(store, model, sampler=sampler, seed=seed) for seed in (1, 2))
    assert first.shape == (64, 64, 3)
    assert first.std() > 1
    assert not np.array_equal(first, other)
    assert np.array_equal(draw(Store(store.root / "elsewhere"), model, sampler=sampler, seed=1), first)


def test_words_guidance_and_negative_words_matter(store: Store, model: ModelRef) -> None:
    drawn = [
        draw(store, model),
        draw(store, model, prompt="cat"),
        draw(store, model, guidance=9),
        draw(store, model, negative="cat"),
        draw(store, model, prompt="[red fox|cat]"),
        draw(store, model, prompt="[red fox:cat:0.5]"),
        draw(store, model, prompt="(red fox:1.5)"),
        draw(store, model, prompt="red BREAK fox"),
    ]
    assert len({picture.tobytes() for picture in drawn}) == len(drawn)


def test_a_schedule_that_never_turns_is_the_plain_prompt(store: Store, model: ModelRef) -> None:
    assert np.array_equal(draw(store, model, prompt="[red fox:cat:99]"), draw(store, model))
    assert np.array_equal(draw(store, model, prompt="[cat:red fox:0]"), draw(store, model))


@pytest.mark.parametrize(("width", "height"), [(64, 96), (72, 104)])
def test_any_multiple_of_eight_is_a_size(store: Store, model: ModelRef, width: int, height: int) -> None:
    assert draw(store, model, width=width, height=height).shape == (height, width, 3)


def test_strength_goes_from_the_picture_to_ignoring_it(store: Store, model: ModelRef, start: Image) -> None:
    def drawn(strength: float) -> np.ndarray:
        return draw(store, model, start, init=start.sha256, strength=strength, steps=10)

    fitted = np.asarray(PIL.Image.open(start.path).crop((16, 0, 80, 64)), dtype=int)
    assert np.array_equal(drawn(0), fitted)
    alone = draw(store, model, steps=10)
    assert np.abs(drawn(1) - alone).mean() < 2
    assert not np.array_equal(drawn(0.3), drawn(0.6))


def test_request_and_picture_must_belong_together(store: Store, model: ModelRef, start: Image) -> None:
    with pytest.raises(StepError, match="do not belong together"):
        draw(store, model, start)
    with pytest.raises(StepError, match="do not belong together"):
        draw(store, model, None, init=start.sha256)


def test_the_recipe_is_true(store: Store, model: ModelRef, start: Image) -> None:
    request = ImageRequest(prompt="fox", width=64, height=64, steps=2, init=start.sha256)
    with store.run("image", spec=request):
        drawn = draw_image(request, model, Steering(init=start))
    recipe = read_recipe(drawn.path)
    assert recipe.request == request
    assert (recipe.weights, recipe.numeric) == (model.digest, model.numeric)
    assert recipe.inputs == {"init": start.sha256}
    assert recipe.pixels == hashlib.sha256(pixels(drawn).astype(np.uint8).tobytes()).hexdigest()
    assert {"jogak", "torch", "diffusers"} <= recipe.versions.keys()


def test_progress_is_told_and_a_drawing_can_be_stopped(store: Store, model: ModelRef) -> None:
    told: list[tuple[int, int]] = []
    stop = threading.Event()

    def on_progress(progress: Progress) -> None:
        told.append((progress.done, progress.total))
        if progress.done == 2:
            stop.set()

    request = ImageRequest(prompt="fox", width=64, height=64, steps=5)
    with pytest.raises(Cancelled), store.run("image", spec=request, on_progress=on_progress, cancel=stop):
        draw_image(request, model)
    assert told == [(0, 5), (1, 5), (2, 5)]
