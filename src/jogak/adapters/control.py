"""ControlNet: a map of edges, depth or pose holds the structure of the picture (Zhang et al., arXiv:2302.05543).

    net = load_control(Path("control_v11p_sd15_canny.safetensors"), ref)
    with control(model, net, make_map("canny", photo), weight=0.8, start_sigma=s0, end_sigma=s1):
        ...  # draw as ever

A copy of the UNet's encoder sees the map beside the noisy latents, and what it finds is added to the UNet's skip
connections. While a `control` is open the model draws under it; several may be open, their findings add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from jogak.adapters.control_layout import STEM, ControlFacts, control_facts, converted, ldm_names, misfit
from jogak.adapters.networks import torch_networks
from jogak.models.catalogue import CATALOGUE
from jogak.models.diffusion import DiffusionModel, fill
from jogak.models.place import open_place
from jogak.models.safe import read_header, read_tensors, read_weights
from jogak.spec import ControlKind, ModelRef, SpecError

MAX_MAP_PIXELS = 50_000_000
_NEAR = 1e-3
"""Timesteps closer than this are the same one: a schedule's sigma comes back from the network as a float32."""

_UNION: Mapping[ControlKind, int] = {
    "pose": 0, "depth": 1, "hed": 2, "scribble": 2, "canny": 3, "lineart": 3,
}  # fmt: skip
"""A kind's number in Union ControlNets."""


@dataclass(frozen=True, eq=False)
class ControlNet:
    """A loaded ControlNet. The part that looks at the map is kept apart: it runs once a picture, not once a step."""

    facts: ControlFacts
    module: Any
    """diffusers' `ControlNetModel` without the eye: it takes the map's features"""
    eye: Any
    """(1, channels, H, W) map in 0..1 -> (1, C, h, w) features"""

    @property
    def name(self) -> str:
        return self.facts.path.stem if self.facts.path.is_file() else self.facts.path.name


def find_control(model: str | None, kind: ControlKind, base: ModelRef) -> Path:
    """Where the ControlNet lies that `model` names: a folder or file, or None for the base's own, one for all kinds.

    Raises `SpecError` when there is none.
    """
    if model is not None:
        path = Path(model).expanduser()
        if not path.exists():
            raise SpecError(f"{path} is neither a file nor a folder; give the path of a ControlNet.")
        return path
    if kind == "none":
        raise SpecError("a ready map does not say what it shows; name the ControlNet for it.")
    folder = CATALOGUE["pocket"].folder.with_name(f"{base.family}-control")
    if not (folder / "config.json").is_file():
        raise SpecError(
            f"no ControlNet for {kind} came with {base.name}; name one made for {base.family}, a folder or a "
            "safetensors file."
        )
    return folder


def load_control(path: Path, base: ModelRef | None = None) -> ControlNet:
    """The ControlNet at `path` (a diffusers folder, or a single safetensors file), warm: the last three are kept.

    With `base` it is first checked that it fits, before a weight is read, and it is put where that model runs.
    Raises `SpecError` in a sentence when it does not fit or is none (see `control_layout`), and `UnsafeWeights`
    for a damaged file or a pickle.
    """
    facts, numeric = check_control(path, base), base.numeric if base else "torch-fp32"
    parts = sorted(path.glob("*")) if path.is_dir() else [path]
    stamp = tuple((part.name, part.stat().st_size, part.stat().st_mtime_ns) for part in parts)
    return _load(path.resolve(), stamp, numeric.startswith("torch-cuda"), _Key(facts))


def check_control(path: Path, base: ModelRef | None = None) -> ControlFacts:
    """What a ControlNet is, by its configuration or header alone. Raises `SpecError` when it does not fit `base`."""
    config = open_place(base.folder).config("unet") if base else None
    facts = control_facts(path, config)
    wrong = misfit(facts, config, base.name) if base and config else None
    if wrong:
        raise SpecError(wrong)
    return facts


class _Key:
    """Facts as a part of a cache key: they follow from the file and the base's heads."""

    def __init__(self, facts: ControlFacts) -> None:
        self.facts = facts
        self._id = repr(sorted(facts.config.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._id == other._id

    def __hash__(self) -> int:
        return hash(self._id)


@lru_cache(maxsize=3)
def _load(path: Path, stamp: tuple[Any, ...], cuda: bool, key: _Key) -> ControlNet:
    from diffusers.models.controlnets.controlnet import ControlNetModel
    from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel

    facts = key.facts
    if path.is_dir():
        tensors = read_weights(path, STEM)
    else:
        names = read_header(path).tensors.keys()
        tensors = read_tensors(path, ldm_names(names) if facts.layout == "ldm" else names)
    network: Any = ControlNetUnionModel if facts.union else ControlNetModel
    make = partial(network.from_config, dict(facts.config))
    try:
        module: Any = fill(make, converted(facts, tensors), path)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError) as error:
        raise SpecError(f"{path} describes no network that can be built: {str(error)[:200]}.") from None
    if cuda:
        module = module.to("cuda", torch.float16)
    eye = module.controlnet_cond_embedding
    module.controlnet_cond_embedding = nn.Identity()
    # the map's channels are turned before the eye; the network behind it must not turn the features
    module.register_to_config(controlnet_conditioning_channel_order="rgb")
    return ControlNet(facts, module, eye)


@contextmanager
def control(
    model: DiffusionModel,
    net: ControlNet,
    map_pixels: NDArray[np.uint8],
    weight: float = 1.0,
    start_sigma: float = math.inf,
    end_sigma: float = 0.0,
    kind: ControlKind | None = None,
) -> Iterator[None]:
    """While it is open, the model draws under the map (H, W, 3) uint8.

    `weight` scales what the ControlNet adds, 0 adds nothing at all. It acts for noise levels from `start_sigma`
    down to `end_sigma`, both included (`range_to_sigmas` tells them from shares of a schedule). The map is cut
    about its middle and scaled to the picture. `kind` matters to a Union ControlNet alone, which must be told what
    the map shows. Raises `SpecError` for a model that has no torch modules or that `net` does not fit.
    """
    networks = torch_networks(model, f"the ControlNet {net.name}")
    check_map(map_pixels)
    if not 0 <= weight <= 2:
        raise SpecError(f"the weight of the ControlNet {net.name} is {weight:g}; give 0 to 2.")
    wrong = misfit(net.facts, networks.unet_module.config, model.ref.name)
    if wrong:
        raise SpecError(wrong)
    if net.eye.conv_in.weight.device.type != networks.device.type:
        raise SpecError(
            f"the ControlNet {net.name} is not where {model.ref.name} runs; load it with its reference."
        )
    if net.facts.union and kind not in _UNION:
        raise SpecError(f"{net.name} reads many kinds of map; say which this one is: {', '.join(_UNION)}.")
    if weight == 0:
        yield
        return
    task = _UNION[kind] if net.facts.union and kind else None
    condition = _Condition(model, net, map_pixels, float(weight), (start_sigma, end_sigma), task)
    networks.conditions.append(condition)
    try:
        yield
    finally:
        networks.conditions.remove(condition)


def range_to_sigmas(sigmas: Tensor | Sequence[float], start: float, end: float) -> tuple[float, float]:
    """The first and last noise level of the steps from the share `start` to the share `end` of a schedule.

    `sigmas` is a whole descending schedule, (steps + 1,), the last of them 0. Step i of n belongs when
    i / n >= start and (i + 1) / n <= end, as in diffusers. Raises `SpecError` when no step does.
    """
    levels = [float(sigma) for sigma in sigmas][:-1]
    steps = len(levels)
    inside = [level for i, level in enumerate(levels) if i / steps >= start and (i + 1) / steps <= end]
    if not inside:
        raise SpecError(
            f"none of the {steps} steps lies between {start:g} and {end:g} of the way; widen the range, "
            "or draw with more steps."
        )
    return inside[0], inside[-1]


def check_map(map_pixels: NDArray[np.uint8]) -> None:
    """Raises `SpecError` when this is no (H, W, 3) uint8 map, is empty, or has more than 50 megapixels."""
    if (
        map_pixels.dtype != np.uint8
        or map_pixels.ndim != 3
        or map_pixels.shape[2] != 3
        or not map_pixels.size
    ):
        raise SpecError(f"a control map is (H, W, 3) bytes, not {map_pixels.shape} {map_pixels.dtype}.")
    if map_pixels.shape[0] * map_pixels.shape[1] > MAX_MAP_PIXELS:
        raise SpecError(
            f"the control map has more than {MAX_MAP_PIXELS / 1e6:.0f} megapixels; make it smaller."
        )


def fit_map(map_pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The map cut about its middle and scaled to a size: averaged when it shrinks, so that thin lines grow grey
    and do not vanish, and smooth when it grows."""
    shape = map_pixels.shape[1], map_pixels.shape[0]
    if shape == (width, height):
        return map_pixels
    shrinks = min(shape[0] / width, shape[1] / height) > 1
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(ImageOps.fit(Image.fromarray(map_pixels), (width, height), method=method))


class _Condition:
    """Asked before each pass of the UNet: what the ControlNet adds to it."""

    def __init__(
        self,
        model: DiffusionModel,
        net: ControlNet,
        map_pixels: NDArray[np.uint8],
        weight: float,
        sigmas: tuple[float, float],
        task: int | None,
    ) -> None:
        self._networks = torch_networks(model, net.name)
        self._net, self._map, self._weight, self._task = net, map_pixels, weight, task
        first, last = model.time_of(torch.tensor(sigmas)).tolist()
        self._times = last - _NEAR, first + _NEAR
        self._seen: dict[tuple[int, int], Tensor] = {}

    def __call__(self, x: Tensor, timesteps: Tensor, cond: Tensor) -> dict[str, Any]:
        last, first = self._times
        acts = (timesteps >= last) & (timesteps <= first)
        if not acts.any():
            return {}
        text, more = self._networks.unpack(x, cond)
        features: Any = self._features(x.shape[2], x.shape[3])
        if self._task is not None:
            # which of its kinds the map is; its transformer wants the map once for each picture
            kinds = torch.zeros(
                len(x), self._net.module.config.num_control_type, device=x.device, dtype=x.dtype
            )
            kinds[:, self._task] = 1
            more = more | {"control_type": kinds, "control_type_idx": [self._task]}
            features = [features.expand(len(x), -1, -1, -1)]
        down, middle = self._net.module(
            x[:, : self._net.facts.latent_channels],
            timesteps,
            text,
            controlnet_cond=features,
            conditioning_scale=self._weight,
            return_dict=False,
            **more,
        )
        if not acts.all():  # a batch of pictures at different noise levels
            share = acts.to(x.dtype)[:, None, None, None]
            down, middle = [part * share for part in down], middle * share
        return {"down_block_additional_residuals": list(down), "mid_block_additional_residual": middle}

    def _features(self, rows: int, columns: int) -> Tensor:
        """What the eye sees in the map at this size of latents, (1, C, h, w). Guidance doubles the batch; both
        halves see the same map, so one is enough."""
        if (rows, columns) not in self._seen:
            facts, module = self._net.facts, self._net.module
            pixels = fit_map(self._map, columns * facts.shrink, rows * facts.shrink)
            if facts.map_channels == 1:
                pixels = pixels.max(axis=2, keepdims=True)
            if facts.config.get("controlnet_conditioning_channel_order") == "bgr":
                pixels = pixels[..., ::-1]
            tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
            self._seen = {(rows, columns): self._net.eye(tensor.to(module.device, module.dtype) / 255)}
        return self._seen[rows, columns]
