"""IP-Adapter: a reference picture speaks to the model beside the words (Ye et al., arXiv:2308.06721).

    adapter = load_ip(Path("models/ip-adapter_sd15.safetensors"), ref)
    with ip(model, adapter, [reference], weight=0.6, mode="style"):
        ...  # draw as ever

A vision tower turns the reference into a few tokens. Each cross-attention of the UNet then attends twice with the
same queries, to the words and to these tokens, and the two answers are added. While an `ip` is open the model draws
under it; several may be open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from jogak.adapters.ip_layout import IpFacts, ip_facts, misfit, tower_config
from jogak.adapters.networks import torch_networks
from jogak.models.catalogue import CATALOGUE
from jogak.models.diffusion import DiffusionModel, fill
from jogak.models.place import open_place
from jogak.models.safe import read_header, read_json, read_tensors, read_weights
from jogak.spec import IpMode, ModelRef, SpecError

MAX_PIXELS = 50_000_000
MAX_REFERENCES = 8
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_KEPT = 8
"""References whose features a loaded adapter remembers."""


@dataclass(frozen=True, eq=False)
class IpAdapter:
    """A loaded IP-Adapter with its vision tower."""

    facts: IpFacts
    tower: Any
    """transformers' `CLIPVisionModelWithProjection`"""
    projection: nn.Module
    """features of the tower -> (N, tokens, text width)"""
    keys: tuple[Tensor, ...]
    """(width, text width) of each cross-attention, in the UNet's order"""
    values: tuple[Tensor, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """of the pixels that the tower was trained on"""
    _seen: dict[str, Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.facts.path.stem

    @property
    def side(self) -> int:
        """pixels of a side of what the tower looks at"""
        return int(self.tower.config.image_size)

    @torch.inference_mode()
    def tokens(self, picture: NDArray[np.uint8]) -> Tensor:
        """What a reference (H, W, 3) says: (1, tokens, text width)."""
        key = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
        if key not in self._seen:
            while len(self._seen) >= _KEPT:
                self._seen.pop(next(iter(self._seen)))
            self._seen[key] = self.projection(self._features(self._pixels(picture)))
        return self._seen[key]

    @torch.inference_mode()
    def no_tokens(self) -> Tensor:
        """What stands for no reference, in the unconditional half of guidance: as in its training, zeros in place
        of the pooled features; for kinds that read hidden states, those of a picture of zeros."""
        if self.facts.kind == "base":
            zeros = torch.zeros(1, self.facts.vision_width, device=self.tower.device, dtype=self.tower.dtype)
            return self.projection(zeros)
        pixels = torch.zeros(1, 3, self.side, self.side, device=self.tower.device, dtype=self.tower.dtype)
        return self.projection(self._features(pixels))

    def _features(self, pixels: Tensor) -> Tensor:
        if self.facts.kind == "base":
            return self.tower(pixels).image_embeds
        return self.tower(pixels, output_hidden_states=True).hidden_states[-2]

    def _pixels(self, picture: NDArray[np.uint8]) -> Tensor:
        """As the tower takes it. The whole picture is squeezed into the square: cutting it, as CLIP's own
        preparation does, would lose what stands at the sides."""
        square = Image.fromarray(picture).resize((self.side, self.side), Image.Resampling.BICUBIC)
        scaled = (np.asarray(square, np.float32) / 255 - np.array(self.mean, np.float32)) / np.array(
            self.std, np.float32
        )
        return torch.from_numpy(scaled).permute(2, 0, 1)[None].to(self.tower.device, self.tower.dtype)


def find_ip(model: str | None, base: ModelRef) -> Path:
    """Where the IP-Adapter lies that `model` names: a folder or file, or None for the base's own. Raises
    `SpecError` when there is none."""
    if model is not None:
        path = Path(model).expanduser()
        if not path.exists():
            raise SpecError(f"{path} is neither a file nor a folder; give the path of an IP-Adapter.")
        return path
    folder = CATALOGUE["pocket"].folder.with_name(f"{base.family}-ip")
    if not folder.is_dir():
        raise SpecError(
            f"no IP-Adapter came with {base.name}; name one made for {base.family} "
            "(a safetensors file with image_encoder/ beside it)."
        )
    return folder


def check_ip(path: Path, base: ModelRef | None = None, encoder: Path | None = None) -> IpFacts:
    """What an IP-Adapter is, by its header and its tower's configuration alone. Raises `SpecError` when the tower
    is absent or another, or the adapter does not fit `base` (see `ip_layout`)."""
    facts = ip_facts(path, encoder)
    wrong = misfit(facts, open_place(base.folder).config("unet"), base.name) if base else None
    if wrong:
        raise SpecError(wrong)
    return facts


def load_ip(path: Path, base: ModelRef | None = None, encoder: Path | None = None) -> IpAdapter:
    """The IP-Adapter at `path`, warm: the last two are kept.

    `path` is a safetensors file or the folder around it, `encoder` the folder of its vision tower when that is not
    beside it. With `base` it is put where that model runs. What does not fit is refused before a weight is read,
    see `check_ip`.
    """
    facts = check_ip(path, base, encoder)
    parts = [facts.path, *sorted(facts.encoder.glob("*"))]
    stamp = tuple((str(part.resolve()), part.stat().st_size, part.stat().st_mtime_ns) for part in parts)
    return _load(facts, stamp, base is not None and base.numeric.startswith("torch-cuda"))


@lru_cache(maxsize=2)
def _load(facts: IpFacts, stamp: tuple[Any, ...], cuda: bool) -> IpAdapter:
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    weights = read_tensors(facts.path, read_header(facts.path).tensors.keys())
    image_proj = {
        name.removeprefix("image_proj."): tensor
        for name, tensor in weights.items()
        if name.startswith("image_proj.")
    }
    projection = fill(_maker(facts, image_proj), image_proj, facts.path)
    tower_weights = {
        name: tensor
        for name, tensor in read_weights(facts.encoder, "model").items()
        if not name.endswith("position_ids")  # older releases saved what is only a count
    }
    config = tower_config(facts.encoder)
    tower = fill(
        lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**config)), tower_weights, facts.encoder
    )
    device, dtype = ("cuda", torch.float16) if cuda else ("cpu", torch.float32)
    numbers = range(1, 2 * len(facts.widths), 2)
    keys, values = (
        tuple(weights[f"ip_adapter.{number}.{kind}.weight"].to(device, dtype) for number in numbers)
        for kind in ("to_k_ip", "to_v_ip")
    )
    mean, std = _pixel_scale(facts.encoder)
    return IpAdapter(facts, tower.to(device, dtype), projection.to(device, dtype), keys, values, mean, std)


def _pixel_scale(encoder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels that a tower expects: CLIP's, unless its folder says otherwise."""
    path = encoder / "preprocessor_config.json"
    said = read_json(path) if path.is_file() else {}
    mean, std = said.get("image_mean", _CLIP_MEAN), said.get("image_std", _CLIP_STD)
    if len(mean) != 3 or len(std) != 3 or not all(float(value) > 0 for value in std):
        raise SpecError(f"{path}: image_mean and image_std are three numbers each; fetch the file again.")
    return tuple(map(float, mean)), tuple(map(float, std))


# from features to tokens: the names of attributes are those of the files


class _Linear(nn.Module):
    """IP-Adapter: the pooled features as a few tokens."""

    def __init__(self, vision: int, text: int, tokens: int) -> None:
        super().__init__()
        self.proj = nn.Linear(vision, tokens * text)
        self.norm = nn.LayerNorm(text)

    def forward(self, features: Tensor) -> Tensor:
        return self.norm(self.proj(features).unflatten(-1, (-1, self.norm.normalized_shape[0])))


class _FullFace(nn.Module):
    """IP-Adapter full face: each hidden state becomes a token."""

    def __init__(self, vision: int, text: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Linear(vision, vision), nn.GELU(), nn.Linear(vision, text), nn.LayerNorm(text)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.proj(features)


class _Perceiver(nn.Module):
    """Queries attend to the features and to each other."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, features: Tensor, queries: Tensor) -> Tensor:
        features, queries = self.norm1(features), self.norm2(queries)
        keys, values = self.to_kv(torch.cat([features, queries], dim=1)).chunk(2, dim=-1)
        q, k, v = (
            part.unflatten(-1, (-1, 64)).transpose(1, 2) for part in (self.to_q(queries), keys, values)
        )
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Resampler(nn.Module):
    """IP-Adapter plus: learnt queries read all hidden states (Perceiver, Jaegle et al., arXiv:2103.03206)."""

    def __init__(
        self, vision: int, text: int, tokens: int, width: int, inner: int, wide: int, depth: int
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(1, tokens, width))
        self.proj_in, self.proj_out = nn.Linear(vision, width), nn.Linear(width, text)
        self.norm_out = nn.LayerNorm(text)
        self.layers = nn.ModuleList(
            nn.ModuleList([
                _Perceiver(width, inner),
                nn.Sequential(
                    nn.LayerNorm(width), nn.Linear(width, wide, bias=False), nn.GELU(),
                    nn.Linear(wide, width, bias=False),
                ),
            ])
            for _ in range(depth)
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        features = self.proj_in(features)
        queries = self.latents.expand(len(features), -1, -1)
        for attention, feed in self.layers:  # type: ignore[misc]
            queries = attention(features, queries) + queries
            queries = feed(queries) + queries
        return self.norm_out(self.proj_out(queries))


def _maker(facts: IpFacts, weights: Mapping[str, Tensor]) -> Callable[[], nn.Module]:
    """What builds the projection that these weights belong to."""
    text, vision = facts.text_width, facts.vision_width
    if facts.kind == "base":
        return lambda: _Linear(vision, text, weights["proj.weight"].shape[0] // text)
    if facts.kind == "full-face":
        return lambda: _FullFace(vision, text)
    depth = len({name.split(".")[1] for name in weights if name.startswith("layers.")})
    return lambda: _Resampler(
        vision, text,
        tokens=weights["latents"].shape[1], width=weights["latents"].shape[2],
        inner=weights["layers.0.0.to_q.weight"].shape[0], wide=weights["layers.0.1.1.weight"].shape[0],
        depth=depth,
    )  # fmt: skip


# in the UNet


@contextmanager
def ip(
    model: DiffusionModel,
    adapter: IpAdapter,
    pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    weight: float = 0.6,
    mode: IpMode = "all",
    *,
    combine: Literal["together", "mean"] = "together",
    blocks: Mapping[str, float] | None = None,
) -> Iterator[None]:
    """While it is open, the model draws with an eye on one or several references, each (H, W, 3) uint8 of any size.

    `weight` scales what they say, 0 changes nothing at all. `mode` lets them speak everywhere, or only where the
    UNet settles style or layout (see `blocks_of`); `blocks` says it by hand: factors by a block's name, as in
    {"up_blocks.0.attentions.1": 1.0}, and blocks not named are left alone. Several references are attended to
    `together`, as diffusers does, or as the `mean` of their tokens. With guidance the unconditional half of the batch
    gets no reference. Raises `SpecError` for a model that has no torch modules or that the adapter does not fit.
    """
    networks = torch_networks(model, f"the IP-Adapter {adapter.name}")
    shown = [pictures] if isinstance(pictures, np.ndarray) else list(pictures)
    _check(adapter, shown, weight)
    wrong = misfit(adapter.facts, networks.unet_module.config, model.ref.name)
    if wrong:
        raise SpecError(wrong)
    if adapter.keys[0].device.type != networks.device.type:
        raise SpecError(
            f"the IP-Adapter {adapter.name} is not where {model.ref.name} runs; load it with its reference."
        )
    layers = _layers(networks.unet_module)
    factors = _factors([name for name, _ in layers], mode, blocks)
    if weight == 0:
        yield
        return
    tokens = torch.cat([adapter.tokens(picture) for picture in shown])
    given = tokens.mean(0, keepdim=True) if combine == "mean" else tokens.flatten(0, 1)[None]
    absent = adapter.no_tokens()
    absent = absent.repeat(1, given.shape[1] // absent.shape[1], 1)
    both = torch.cat([absent, given]).to(networks.dtype)
    guided = _Guided()
    before: list[tuple[Any, Any]] = []
    networks.conditions.append(guided)
    try:
        for (_, attention), key, value, factor in zip(
            layers, adapter.keys, adapter.values, factors, strict=True
        ):
            if factor:
                k, v = (
                    F.linear(both, part).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
                    for part in (key, value)
                )
                before.append((attention, attention.processor))
                attention.set_processor(_Beside(attention.processor, k, v, weight * factor, guided))
        yield
    finally:
        for attention, processor in reversed(before):
            attention.set_processor(processor)
        networks.conditions.remove(guided)


def blocks_of(mode: IpMode, names: Sequence[str]) -> dict[str, float]:
    """The blocks that a mode speaks to, among those of a UNet that attend to text, as in `down_blocks.2.attentions.1`.

    InstantStyle (Wang et al., arXiv:2404.02733) found SDXL's style in `up_blocks.0.attentions.1` and its layout in
    `down_blocks.2.attentions.1`. In other UNets their counterparts are taken: for style the middle attention of the
    first (lowest) up block that has any, for layout the last attention of the last (lowest) down block that has any;
    in SD 1.5 `up_blocks.1.attentions.1` and `down_blocks.2.attentions.1`, in pocket the same names as in SDXL.
    """
    if mode == "all":
        return dict.fromkeys(names, 1.0)
    side, pick = ("up_blocks", min) if mode == "style" else ("down_blocks", max)
    levels: dict[int, list[int]] = {}
    for name in names:
        part, _, rest = name.partition(".")
        if part == side:
            level, _, number = rest.split(".")
            levels.setdefault(int(level), []).append(int(number))
    if not levels:
        raise SpecError(
            f"this model has no {side} that attend to text, so the mode {mode} means nothing; take all."
        )
    level = pick(levels)
    numbers = sorted(levels[level])
    number = numbers[len(numbers) // 2] if mode == "style" else numbers[-1]
    return {f"{side}.{level}.attentions.{number}": 1.0}


def _layers(unet: Any) -> list[tuple[str, Any]]:
    """The UNet's cross-attentions with the name of the block each is in, in the order of IP-Adapter's numbers."""
    found = []
    for name in unet.attn_processors:
        if name.endswith(".attn2.processor"):
            found.append(
                (
                    name.partition(".transformer_blocks.")[0],
                    unet.get_submodule(name.removesuffix(".processor")),
                )
            )
    return found


def _factors(names: Sequence[str], mode: IpMode, blocks: Mapping[str, float] | None) -> list[float]:
    chosen = blocks_of(mode, list(dict.fromkeys(names))) if blocks is None else blocks
    for block in chosen:
        if not any(_inside(name, block) for name in names):
            raise SpecError(
                f'the model has no block "{block[:60]}" that attends to text; it has {_listed(names)}.'
            )
    return [next((factor for block, factor in chosen.items() if _inside(name, block)), 0.0) for name in names]


def _inside(name: str, block: str) -> bool:
    return name == block or name.startswith(f"{block}.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _check(adapter: IpAdapter, pictures: Sequence[NDArray[np.uint8]], weight: float) -> None:
    if not 0 <= weight <= 2:
        raise SpecError(f"the weight of the IP-Adapter {adapter.name} is {weight:g}; give 0 to 2.")
    if not 1 <= len(pictures) <= MAX_REFERENCES:
        raise SpecError(f"{len(pictures)} references were given; give 1 to {MAX_REFERENCES}.")
    for picture in pictures:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise SpecError(f"a reference is (H, W, 3) bytes, not {picture.shape} {picture.dtype}.")
        if picture.shape[0] * picture.shape[1] > MAX_PIXELS:
            raise SpecError(f"a reference has more than {MAX_PIXELS / 1e6:.0f} megapixels; make it smaller.")


class _Guided:
    """Sees before each pass whether it is one with guidance: then `denoise` gives the same noisy latents twice, first
    without the words, then with them."""

    now = False

    def __call__(self, x: Tensor, timesteps: Tensor, cond: Tensor) -> dict[str, Any]:
        half = len(x) // 2
        self.now = (
            len(x) % 2 == 0
            and torch.equal(x[:half], x[half:])
            and torch.equal(timesteps[:half], timesteps[half:])
        )
        return {}


class _Beside:
    """An attention processor of diffusers: what `before` makes of the words, plus what the references say."""

    def __init__(self, before: Any, keys: Tensor, values: Tensor, weight: float, guided: _Guided) -> None:
        self._before, self._weight, self._guided = before, weight, guided
        self._keys, self._values = keys, values
        """(2, heads, tokens, channels): without and with the references"""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        words = self._before(
            attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs
        )
        query = attn.to_q(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        keys, values = (self._for(part, len(query)) for part in (self._keys, self._values))
        seen = F.scaled_dot_product_attention(query, keys, values).transpose(1, 2).flatten(2)
        # the output layer is linear, so the two answers may meet behind it; its bias is in `words` already
        last = attn.to_out[0]
        seen = last(seen) if last.bias is None else last(seen) - last.bias.to(seen.dtype)
        return words + self._weight / attn.rescale_output_factor * seen

    def _for(self, part: Tensor, batch: int) -> Tensor:
        if not self._guided.now:
            return part[1:].expand(batch, -1, -1, -1)
        return part.repeat_interleave(batch // 2, dim=0)
