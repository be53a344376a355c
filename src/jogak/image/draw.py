"""One picture from one request."""

from __future__ import annotations

import hashlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from jogak.image.files import read_picture
from jogak.image.infotext import Recipe, png_text, versions
from jogak.image.prompt import changes, encode
from jogak.models import DiffusionModel, load
from jogak.models.samplers import SAMPLERS, schedule_of
from jogak.spec import Image, ImageRequest, ModelRef, SpecError
from jogak.store import current, step


@step(version="1")
def draw_image(request: ImageRequest, model: ModelRef, init: Image | None = None) -> Image:
    """Draw a request: from noise alone, or from noise over the picture `init` (img2img).

    `request.steps` counts the whole schedule; with `init` its last `strength` share is walked, and a strength
    of 0 gives the picture itself, cut and scaled to the size. The PNG carries infotext and recipe. Raises
    `SpecError` when `request.init` and `init` are not the same picture.
    """
    if request.init != (init.sha256 if init else None):
        raise SpecError(
            "the request and the picture to start from do not belong together; give both or neither."
        )
    start = _fitted(init, request) if init else None
    steps = request.steps if start is None else round(request.steps * request.strength)
    pixels = (
        start if start is not None and steps == 0 else _to_bytes(_draw(load(model), request, steps, start))
    )
    recipe = Recipe(
        request=request,
        weights=model.digest,
        family=model.family,
        numeric=model.numeric,
        versions=versions(model.numeric),
        inputs={"init": init.sha256} if init else {},
        pixels=hashlib.sha256(pixels.tobytes()).hexdigest(),
    )
    store = current().store
    with store.new_file(".png") as file:
        PIL.Image.fromarray(pixels).save(file, pnginfo=png_text(request, model, recipe))
        return store.put(file, Image, width=request.width, height=request.height)


def _draw(model: DiffusionModel, request: ImageRequest, steps: int, start: np.ndarray | None) -> Tensor:
    """(3, H, W) pixels in [-1, 1]."""
    here = current()
    here.progress(0, steps, "drawing")
    schedule = model.sigmas(request.steps, schedule_of(request.sampler))
    sigmas = schedule[request.steps - steps :]
    shape = (1, model.latent_channels, request.height // model.factor, request.width // model.factor)
    # Noise comes from a CPU generator, so that a seed means the same on every device.
    generator = torch.Generator("cpu").manual_seed(request.seed)
    x = sigmas[0] * torch.randn(shape, generator=generator)
    if start is not None:
        x = x + model.encode(_to_tensor(start))
    words = _Words(model, request, steps)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return model.denoise(x, sigma, words.cond, words.uncond, request.guidance)

    def on_step(done: int, _: Tensor) -> None:
        here.progress(done, steps, "drawing")
        here.check_cancel()
        words.at(done)

    latents = SAMPLERS[request.sampler](denoise, x, sigmas, generator=generator, on_step=on_step)
    return model.decode(latents)[0]


class _Words:
    """Both prompts as the model sees them at the current step; encoded anew only where they change."""

    def __init__(self, model: DiffusionModel, request: ImageRequest, steps: int) -> None:
        self._model, self._steps = model, steps
        self._prompts = request.prompt, request.negative
        self.cond = encode(model, request.prompt, 0, steps)
        self.uncond = encode(model, request.negative, 0, steps)

    def at(self, step: int) -> None:
        prompt, negative = self._prompts
        if step < self._steps and changes(prompt):
            self.cond = encode(self._model, prompt, step, self._steps)
        if step < self._steps and changes(negative):
            self.uncond = encode(self._model, negative, step, self._steps)


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
