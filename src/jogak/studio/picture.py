"""The picture journey: a request becomes pictures, and a picture becomes itself again."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from jogak.image.draw import draw_image
from jogak.image.files import import_picture, read_picture
from jogak.image.infotext import Recipe, read_recipe, versions
from jogak.image.prompt import check
from jogak.models import load, resolve
from jogak.models.catalogue import Backend
from jogak.spec import Image, ImageRequest, ModelRef, SpecError
from jogak.store import Files, Progress, Store, each

MAX_COUNT = 100

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Replay:
    """What came of drawing a picture again."""

    identical: bool
    """Every pixel is what it was when the picture was first drawn."""
    differing: float
    """Share of the pixels that differ from those in the file, 0 to 1."""
    reasons: tuple[str, ...]
    """What is not as it was then, each in a sentence."""


def requests_for(request: ImageRequest, count: int) -> list[ImageRequest]:
    """`count` requests that differ in their seed alone: seed, seed + 1, …"""
    if not 1 <= count <= MAX_COUNT:
        raise SpecError(f"{count} pictures were asked for; one command draws 1 to {MAX_COUNT}.")
    data = request.model_dump()
    return [ImageRequest.parse(data | {"seed": request.seed + i}) for i in range(count)]


def draw_pictures(
    store: Store,
    request: ImageRequest,
    model: ModelRef,
    *,
    count: int = 1,
    init: Path | None = None,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> list[Image]:
    """Draw a request `count` times, seed after seed; `init` is the picture to start from (img2img).

    Raises `SpecError` for what cannot be drawn before anything is, and as the steps do.
    """
    for prompt in (request.prompt, request.negative):
        check(load(model), prompt, request.steps)
    start = import_picture(store, init) if init else None
    request = request.model_copy(update={"init": start.sha256 if start else None})
    with store.run("image", spec=request, on_progress=on_progress, cancel=cancel):
        return each(
            None,
            partial(draw_image, model=model, init=start),
            requests_for(request, count),
            label=lambda one: f"seed {one.seed}",
        )


def replay_picture(
    store: Store,
    source: Path,
    target: Path,
    *,
    model: str | None = None,
    init: Path | None = None,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> Replay:
    """Draw the picture in `source` again from the recipe inside it, into `target`, and compare.

    `model` and `init` say where weights and the first picture are now, if not where they were. Raises
    `SpecError` when there is no recipe, no such model, or no picture to start from.
    """
    recipe = read_recipe(source)
    old = read_picture(source)
    ref = _as_then(recipe, resolve(model or recipe.request.model, _backend(recipe)))
    # A store of its own: the picture has to be drawn anew, not remembered.
    with tempfile.TemporaryDirectory(prefix="jogak-") as folder:
        fresh = Store(Path(folder))
        start = _start(recipe, store, init)
        drawn = draw_pictures(
            fresh, recipe.request, ref, init=start, on_progress=on_progress, cancel=cancel
        )[0]  # fmt: skip
        fresh.export(drawn, target)
    new = np.asarray(read_picture(target))
    was = np.asarray(old)
    differing = float((was != new).any(axis=-1).mean()) if was.shape == new.shape else 1.0
    edited = _digest(was) != recipe.pixels
    return Replay(_digest(new) == recipe.pixels, differing, _reasons(recipe, ref, source, edited))


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _backend(recipe: Recipe) -> Backend:
    return "openvino" if recipe.numeric.startswith("openvino") else "torch"


def _as_then(recipe: Recipe, now: ModelRef) -> ModelRef:
    """The model with as many threads as the picture was drawn with: sums split otherwise round otherwise."""
    mode, _, threads = recipe.numeric.rpartition("-t")
    same = mode == now.numeric.rpartition("-t")[0] and threads.isdecimal() and 1 <= int(threads) <= 1024
    return now.model_copy(update={"numeric": recipe.numeric}) if same else now


def _start(recipe: Recipe, store: Files, given: Path | None) -> Path | None:
    """Where the picture lies that the drawing began with, if it began with one."""
    wanted = recipe.request.init
    if wanted is None:
        return None
    if given is None:
        kept = sorted(store.path(wanted).parent.glob(f"{wanted}.*"))
        if not kept:
            raise SpecError(
                f"the picture it began with (sha256 {wanted[:12]}…) is not in the store; give it with --init."
            )
        return kept[0]
    if not given.is_file():
        raise SpecError(f"{given} is not a file; give the picture that the drawing began with.")
    with given.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise SpecError(
            f"{given} is not the picture it began with (sha256 {found[:12]}…, not {wanted[:12]}…)."
        )
    return given


def _reasons(recipe: Recipe, now: ModelRef, source: Path, edited: bool) -> tuple[str, ...]:
    reasons: list[str] = []
    if edited:
        reasons.append(f"The pixels of {source.name} were changed after it was drawn.")
    if recipe.weights != now.digest:
        reasons.append(f"The weights differ: {recipe.weights[:12]}… then, {now.digest[:12]}… now.")
    if recipe.numeric != now.numeric:
        reasons.append(f"The numeric mode differs: {recipe.numeric} then, {now.numeric} now.")
    for name, version in versions(now.numeric).items():
        if (then := recipe.versions.get(name, "not used")) != version:
            reasons.append(f"{name} differs: {then} then, {version} now.")
    return tuple(reasons)
