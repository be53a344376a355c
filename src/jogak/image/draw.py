"""One picture from one request."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
import torch.nn.functional as F
from torch import Tensor

from jogak.image.files import read_picture
from jogak.image.infotext import Recipe, png_text, versions
from jogak.image.prompt import changes, encode
from jogak.image.steer import Steering, steered
from jogak.models import DiffusionModel, load
from jogak.models.regions import RegionalModel
from jogak.models.samplers import SAMPLERS, schedule_of
from jogak.spec import Image, ImageRequest, ModelRef, SpecError
from jogak.store import current, step

HIRES_STRENGTH = 0.45
"""Share of the steps that are walked again after enlarging: enough for new detail, too little for a new picture."""
FEATHER = 4.0
"""Pixels over which a mask's inside gives way to what was drawn."""


@step(version="2")
def draw_image(request: ImageRequest, model: ModelRef, given: Steering = Steering()) -> Image:  # noqa: B008 (frozen)
    """Draw a request: from noise alone, or from noise over the picture `given.init` (img2img, inpainting).

    `request.steps` counts the whole schedule; with an initial picture its last `strength` share is walked, and a
    strength of 0 gives the picture itself, cut and scaled to the size. Under a mask every pixel outside of it stays
    as it was. With `hires` the picture is `hires` times as wide and high. The PNG carries infotext and recipe.
    Raises `SpecError` when the request and what was given do not belong together.
    """
    _check(request, given)
    start = _fitted(given.init, request) if given.init else None
    steps = request.steps if start is None else round(request.steps * request.strength)
    if start is not None and steps == 0:
        pixels = start
    else:
        pixels = _draw(load(model), model, request, given, steps, start)
    if start is not None and given.mask and request.hires == 1:
        pixels = _outside_kept(start, pixels, _fitted(given.mask, request)[..., 0])
    recipe = Recipe(
        request=request,
        weights=model.digest,
        family=model.family,
        numeric=model.numeric,
        versions=versions(model.numeric),
        inputs=given.inputs,
        pixels=hashlib.sha256(pixels.tobytes()).hexdigest(),
    )
    store = current().store
    with store.new_file(".png") as file:
        PIL.Image.fromarray(pixels).save(file, pnginfo=png_text(request, model, recipe, given))
        return store.put(file, Image, width=pixels.shape[1], height=pixels.shape[0])


def _check(request: ImageRequest, given: Steering) -> None:
    asked = (request.init, request.mask, *(use.image for use in request.ips))
    found = (given.init, given.mask, *given.references)
    if [digest for digest in asked if digest] != [handle.sha256 for handle in found if handle]:
        raise SpecError(
            "the request and the pictures to start from do not belong together; give both or neither."
        )


def _draw(
    model: DiffusionModel,
    ref: ModelRef,
    request: ImageRequest,
    given: Steering,
    steps: int,
    start: np.ndarray | None,
) -> np.ndarray:
    """(H, W, 3) uint8."""
    schedule = model.sigmas(request.steps, schedule_of(request.sampler))
    # Noise comes from a CPU generator, so that a seed means the same on every device.
    generator = torch.Generator("cpu").manual_seed(request.seed)
    again = max(1, round(request.steps * HIRES_STRENGTH)) if request.hires > 1 else 0
    bar = _Bar(steps + again)
    with steered(model, ref, request, given, schedule):
        size = request.width, request.height
        hole = _hole(given.mask, request, model.factor) if given.mask else None
        pixels = _walk(model, request, schedule, steps, size, start, hole, generator, bar)
        if again:
            size = _times(request.width, request.hires), _times(request.height, request.hires)
            large = np.asarray(PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.LANCZOS))
            pixels = _walk(model, request, schedule, again, size, large, None, generator, bar)
    return pixels


def _times(side: int, factor: float) -> int:
    return round(side * factor / 8) * 8


class _Bar:
    """Progress over all passes of one picture."""

    def __init__(self, total: int) -> None:
        self.here, self.done, self.total = current(), 0, total
        self.here.progress(0, total, "drawing")

    def step(self) -> None:
        self.done += 1
        self.here.progress(self.done, self.total, "drawing")
        self.here.check_cancel()


def _walk(
    model: DiffusionModel, request: ImageRequest, schedule: Tensor, steps: int, size: tuple[int, int],
    start: np.ndarray | None, hole: Tensor | None, generator: torch.Generator, bar: _Bar,
) -> np.ndarray:  # fmt: skip
    """The last `steps` of the schedule, from noise or from noise over `start`; (H, W, 3) uint8.

    Where `hole` (1, 1, h, w) is 0 the clean latents are held to those of `start` at every step (the masked sampling
    of RePaint and of latent blending; Avrahami et al., arXiv:2206.02779).
    """
    sigmas = schedule[request.steps - steps :]
    width, height = size
    shape = (1, model.latent_channels, height // model.factor, width // model.factor)
    x = sigmas[0] * torch.randn(shape, generator=generator)
    kept = model.encode(_to_tensor(start)) if start is not None else None
    if kept is not None:
        x = x + kept
    words = _Words(model, request, steps)
    parts = RegionalModel(model, request.regions, schedule, request.guidance)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        clean = parts.denoise(x, sigma, words.conds, words.uncond)
        return clean if hole is None or kept is None else torch.lerp(kept, clean, hole)

    def on_step(done: int, _: Tensor) -> None:
        bar.step()
        words.at(done)

    latents = SAMPLERS[request.sampler](denoise, x, sigmas, generator=generator, on_step=on_step)
    return _to_bytes(model.decode(latents)[0])


def _hole(mask: Image, request: ImageRequest, factor: int) -> Tensor:
    """(1, 1, h, w) in 0..1: a latent belongs to the hole as soon as one of its pixels does."""
    grey = torch.from_numpy(_fitted(mask, request)[..., 0].astype(np.float32))[None, None] / 255
    return F.max_pool2d(grey, factor)


def _outside_kept(before: np.ndarray, drawn: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What was drawn where the mask is white; every pixel where it is black as it was, bit for bit."""
    inside = mask.astype(np.float32) / 255
    soft = cv2.GaussianBlur(inside, (0, 0), FEATHER, borderType=cv2.BORDER_REPLICATE)
    share = np.minimum(inside, np.clip(2 * soft - 1, 0, 1))[..., None]  # 0 at the rim, 1 well inside
    mixed = (before * (1 - share) + drawn * share).round().astype(np.uint8)
    return np.where(mask[..., None] > 0, mixed, before)


class _Words:
    """All prompts as the model sees them at the current step; encoded anew only where they change."""

    def __init__(self, model: DiffusionModel, request: ImageRequest, steps: int) -> None:
        self._model, self._steps = model, steps
        self._prompts = request.prompt, *(region.prompt for region in request.regions)
        self._negative = request.negative
        self.conds = [encode(model, prompt, 0, steps) for prompt in self._prompts]
        self.uncond = encode(model, request.negative, 0, steps)

    def at(self, step: int) -> None:
        if step >= self._steps:
            return
        for i, prompt in enumerate(self._prompts):
            if changes(prompt):
                self.conds[i] = encode(self._model, prompt, step, self._steps)
        if changes(self._negative):
            self.uncond = encode(self._model, self._negative, step, self._steps)


def _fitted(init: Image, request: ImageRequest) -> np.ndarray:
    """The picture cut (about its middle) and scaled to the request's size: (H, W, 3) uint8."""
    picture = read_picture(init.path)
    size = (request.width, request.height)
    return np.asarray(PIL.ImageOps.fit(picture, size, method=PIL.Image.Resampling.LANCZOS))


def _to_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1


def _to_bytes(pixels: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) uint8."""
    return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
