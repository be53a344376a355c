"""What a picture was made of: its parts taken away, its way out of the noise, and where each word was looked at.

The network is only watched: what is drawn while somebody looks is, bit for bit, what is drawn otherwise.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from jogak.adapters.networks import torch_networks
from jogak.image.draw import HIRES_STRENGTH, draw_image
from jogak.image.prompt import at_step, chunks_of, weighted
from jogak.image.steer import Steering
from jogak.models import DiffusionModel, load
from jogak.spec import Image, ImageRequest, ModelRef, SpecError
from jogak.spec.explain import Instant, Part, PartKind, Word
from jogak.spec.image import MAX_PROMPT
from jogak.store import current, step

EMPTY_PROMPT = "[.::0]"
"""A prompt that says something until step 0: nothing, in the language of prompts, which has no empty one."""
HEAT_SIDE = 64
"""Numbers along the longer side of a word's map."""
MAX_WORDS = 48


# parts


def parts_of(request: ImageRequest) -> list[Part]:
    """Everything that can be taken out of a picture alone, with the request that is left."""

    def part(kind: PartKind, name: str, off: dict[str, Any], half: dict[str, Any] | None) -> Part:
        data = request.model_dump()
        return Part(
            kind=kind,
            name=name,
            off=ImageRequest.parse(data | off),
            half=None if half is None else ImageRequest.parse(data | half),
        )

    parts = [part("prompt", request.prompt, {"prompt": EMPTY_PROMPT}, _halved("prompt", request))]
    if request.negative.strip():
        parts.append(part("negative", request.negative, {"negative": ""}, _halved("negative", request)))
    if request.guidance != 1:
        between = {"guidance": (1 + request.guidance) / 2}
        parts.append(part("guidance", f"{request.guidance:g}", {"guidance": 1.0}, between))
    if request.init and request.strength < 1:
        between = {"strength": (1 + request.strength) / 2}
        parts.append(part("init", f"{request.strength:g}", {"strength": 1.0}, between))
    if request.hires > 1:
        between = {"hires": (1 + request.hires) / 2}
        parts.append(part("hires", f"× {request.hires:g}", {"hires": 1.0}, between))
    if request.regions:
        parts.append(part("regions", f"× {len(request.regions)}", {"regions": ()}, None))
    for field, uses in (("loras", request.loras), ("controls", request.controls), ("ips", request.ips)):
        for i, use in enumerate(uses):
            if use.weight != 0 or getattr(use, "text_weight", None):
                off, half = ({field: _scaled(uses, i, share)} for share in (0.0, 0.5))
                parts.append(part(*_named(use), off, half))
    return parts


def _halved(field: str, request: ImageRequest) -> dict[str, str] | None:
    """Words at half their weight, as `(words:0.5)`; None where their own brackets would make it mean something else."""
    words = getattr(request, field)
    half = f"({words}:0.5)"
    for at in range(request.steps):
        whole, less = (weighted(at_step(text, at, request.steps)) for text in (words, half))
        if [piece and (piece[0], piece[1] / 2) for piece in whole] != list(less):
            return None
    return {field: half} if len(half) <= MAX_PROMPT else None


def _scaled(uses: Sequence[Any], index: int, share: float) -> list[dict[str, Any]]:
    data = [use.model_dump() for use in uses]
    for name in ("weight", "text_weight"):
        if data[index].get(name) is not None:
            data[index][name] *= share
    return data


def _named(use: Any) -> tuple[PartKind, str]:
    if hasattr(use, "blocks"):
        return "lora", f"{Path(use.name).stem} {use.weight:g}"
    if hasattr(use, "shows"):
        return "control", f"{use.shows or use.kind} {use.weight:g}"
    return "ip", f"{use.mode} {use.weight:g}"


# watching


Look = Callable[[Tensor, float, Tensor], None]


@contextmanager
def _watched(model: DiffusionModel, look: Look) -> Iterator[None]:
    """While it is open, `look(x, sigma, clean)` is told of every prediction that the model makes."""
    plain = model.denoise

    def denoise(
        x: Tensor, sigma: float, cond: Tensor, uncond: Tensor | None = None, guidance: float = 1.0
    ) -> Tensor:
        clean = plain(x, sigma, cond, uncond, guidance)
        look(x, float(sigma), clean)
        return clean

    vars(model)["denoise"] = denoise  # before the method of its class, on this model alone
    try:
        yield
    finally:
        del vars(model)["denoise"]


def _draw_again(request: ImageRequest, model: ModelRef, given: Steering) -> None:
    """Draw although the store has the picture: what happens on the way is wanted."""
    inspect.unwrap(draw_image)(request, model, given)


def _passes(request: ImageRequest) -> list[int]:
    """Steps of each pass: one, and with hires a second."""
    first = round(request.steps * request.strength) if request.init else request.steps
    if first == 0:
        raise SpecError("the picture is its initial picture, strength 0: it never was noise.")
    return [first, max(1, round(request.steps * HIRES_STRENGTH))] if request.hires > 1 else [first]


# the way out of the noise


@step(version="1")
def trace_drawing(request: ImageRequest, model: ModelRef, given: Steering, shown: int) -> tuple[Instant, ...]:
    """Every step of a drawing, with the pictures of `shown` of them, evenly from the first to the last.

    The score of the noisy distribution at xₜ is (x̂₀ − xₜ) / σ² (Tweedie's formula; Song et al., arXiv:2011.13456,
    Karras et al., arXiv:2206.00364, eq. 3), x̂₀ being the prediction with guidance in it.
    """
    count = sum(_passes(request))
    chosen = {round(i * (count - 1) / max(shown - 1, 1)) for i in range(min(shown, count))}
    facts: list[dict[str, float]] = []
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    last: list[Tensor] = []

    def look(x: Tensor, sigma: float, clean: Tensor) -> None:
        norm = ((clean - x).double() / sigma**2).norm().item()
        same = last and last[0].shape == clean.shape
        change = (clean - last[0]).square().mean().sqrt().item() if same else 0.0
        if len(facts) in chosen:
            kept[len(facts)] = x / (1 + sigma**2) ** 0.5, clean
        noise = x.numel() ** 0.5 / sigma
        facts.append({"sigma": sigma, "score_norm": norm, "noise_norm": noise, "change": change})
        last[:] = [clean]

    loaded = load(model)
    with _watched(loaded, look):
        _draw_again(request, model, given)
    pictures: dict[int, dict[str, Image]] = {}
    for done, (at, (noisy, clean)) in enumerate(kept.items(), 1):
        current().progress(done, len(kept), "decoding")
        current().check_cancel()
        pictures[at] = {"noisy": _decoded(loaded, noisy), "clean": _decoded(loaded, clean)}
    return tuple(
        Instant.model_validate({"step": at + 1} | one | pictures.get(at, {})) for at, one in enumerate(facts)
    )


def _decoded(model: DiffusionModel, latents: Tensor) -> Image:
    pixels = ((model.decode(latents)[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return _kept(pixels.permute(1, 2, 0).contiguous().numpy())


def _kept(pixels: np.ndarray) -> Image:
    store = current().store
    with store.new_file(".png") as file:
        PIL.Image.fromarray(pixels).save(file)
        return store.put(file, Image, width=pixels.shape[1], height=pixels.shape[0])


# words


@step(version="1")
def word_heat(request: ImageRequest, model: ModelRef, given: Steering) -> tuple[Word, ...]:
    """Where the picture looked at each word of its prompt, in the order of the prompt, at most `MAX_WORDS`.

    The attention probabilities of all cross-attention layers, averaged over heads, enlarged to one size and averaged
    over layers and steps (DAAM; Tang et al., arXiv:2210.04885); those of a word's tokens are added up. Signs of
    punctuation are left out. Raises `SpecError` for a model without torch modules or without a UNet.
    """
    loaded = load(model)
    unet = torch_networks(loaded, "the map of the words").unet_module
    heat = _Heat(loaded, request)
    with _listening(unet, heat.layers), _watched(loaded, heat.look):
        _draw_again(request, model, given)
    return heat.words()


@contextmanager
def _listening(unet: Any, layers: list[Tensor]) -> Iterator[None]:
    """While it is open, every cross-attention puts what it looked at into `layers`, a (places, keys) tensor each."""
    before = [
        (unet.get_submodule(name.removesuffix(".processor")), processor)
        for name, processor in unet.attn_processors.items()
        if name.endswith(".attn2.processor")
    ]
    try:
        for attention, processor in before:
            attention.set_processor(_Ear(processor, layers))
        yield
    finally:
        for attention, processor in before:
            attention.set_processor(processor)


class _Ear:
    """An attention processor of diffusers that does what `before` does, and notes the probabilities of the last
    picture in the batch: with guidance, that is the one which sees the words."""

    def __init__(self, before: Any, layers: list[Tensor]) -> None:
        self._before, self._layers = before, layers

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None, temb: Tensor | None = None, *args: Any, **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        if encoder_hidden_states is not None:
            query, key = (
                layer(states[-1:]).unflatten(-1, (attn.heads, -1)).transpose(1, 2).float()
                for layer, states in ((attn.to_q, hidden_states), (attn.to_k, encoder_hidden_states))
            )
            shares = (query @ key.transpose(-1, -2) * attn.scale).softmax(-1)
            self._layers.append(shares.mean(1)[0].cpu())
        return self._before(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)


class _Heat:
    """Adds up what the layers looked at, step by step, word by word."""

    def __init__(self, model: DiffusionModel, request: ImageRequest) -> None:
        self._model, self._request = model, request
        self.layers: list[Tensor] = []
        self._turns = [(at, steps) for steps in _passes(request) for at in range(steps)]
        longer = max(request.width, request.height)
        self._size = tuple(
            max(1, round(HEAT_SIDE * side / longer)) for side in (request.height, request.width)
        )
        self._sums: dict[tuple[str, int], Tensor] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._cache: dict[str, tuple[list[tuple[tuple[str, int], list[int]]], int]] = {}

    def look(self, x: Tensor, sigma: float, clean: Tensor) -> None:
        text = at_step(self._request.prompt, *self._turns.pop(0))
        if text not in self._cache:
            self._cache[text] = _placed_words(self._model, text)
        words, rows = self._cache[text]
        height, width = x.shape[-2:]
        for shares in self.layers if words else ():
            shares = shares.unflatten(-1, (-1, rows)).sum(
                -2
            )  # a prompt shorter than the negative one is repeated
            found = torch.stack([shares[:, places].sum(-1) for _, places in words])
            tall, wide = _layer_size(height, width, shares.shape[0])
            maps = found.reshape(1, len(words), tall, wide)
            large = F.interpolate(maps, self._size, mode="bilinear", align_corners=False)[0]
            for (word, _), one in zip(words, large, strict=True):
                self._sums[word] = self._sums[word] + one if word in self._sums else one
                self._counts[word] = self._counts.get(word, 0) + 1
        self.layers.clear()

    def words(self) -> tuple[Word, ...]:
        means = {word: total / self._counts[word] for word, total in self._sums.items()}
        whole = sum(float(mean.mean()) for mean in means.values())
        return tuple(
            Word(
                text=word,
                share=float(mean.mean()) / whole,
                focus=float(mean.max() / mean.mean()),
                heat=_kept((mean / mean.max() * 255).round().to(torch.uint8).numpy()),
            )
            for (word, _), mean in list(means.items())[:MAX_WORDS]
        )


def _layer_size(height: int, width: int, places: int) -> tuple[int, int]:
    """Height and width of a layer with so many places, in a network whose levels halve the latents, rounding up."""
    while height * width > places:
        height, width = -(-height // 2), -(-width // 2)
    if height * width != places:
        raise SpecError(
            f"a cross-attention of {places} places fits no level of this model, so no word is mapped."
        )
    return height, width


def _placed_words(model: DiffusionModel, text: str) -> tuple[list[tuple[tuple[str, int], list[int]]], int]:
    """The words of a prompt at one step, each with the rows of the text that are its tokens; and how many rows there
    are. A word that stands twice is two."""
    pieces = weighted(text)
    chunks = chunks_of(model, pieces)
    rows = [
        i * model.text_length + 1 + at for i, chunk in enumerate(chunks) for at in range(len(chunk.tokens))
    ]
    found: list[tuple[tuple[str, int], list[int]]] = []
    at = 0
    for piece in pieces:
        for word, tokens in _words(model, piece[0]) if piece else ():
            places = rows[at : at + tokens]
            at += tokens
            if any(sign.isalnum() for sign in word):
                twin = sum(known[0] == word for known, _ in found)
                found.append(((word, twin), places))
    return found, len(chunks) * model.text_length


def _words(model: DiffusionModel, text: str) -> list[tuple[str, int]]:
    """A text's words with their number of tokens. Where a tokenizer joins what is split here, larger pieces are taken."""
    whole = model.tokens(text)
    for pattern in (r"[\w'’-]+|[^\w\s]", r"\S+"):
        words = re.findall(pattern, text)
        tokens = [model.tokens(word) for word in words]
        if [token for one in tokens for token in one] == whole:
            return [(word, len(one)) for word, one in zip(words, tokens, strict=True) if one]
    return [(text.strip(), len(whole))]
