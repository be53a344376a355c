"""A LoRA in a model: its change is added to the weights for as long as a `with` block lasts.

The patched weight is a parameter of its own that keeps the original and knows which LoRAs are in it. So the
original comes back as the very object it was, several LoRAs add up in the order they were put on, and taking them
off in any other order leaves exactly those that remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from jogak.adapters.kohya import Target, flatten
from jogak.adapters.lora_files import (
    FAMILY_NAMES,
    Change,
    LoraWeights,
    Part,
    block_of,
    find_lora,
    read_lora,
)
from jogak.adapters.lora_info import LoraInfo, lora_info
from jogak.models.recognise import FAMILY_OF_WIDTH
from jogak.spec import SpecError

if TYPE_CHECKING:
    from jogak.models import DiffusionModel

__all__ = ["Applied", "LoraInfo", "LoraWeights", "find_lora", "fitting", "lora", "lora_info", "read_lora"]


@dataclass(frozen=True)
class Applied:
    """What a LoRA changed."""

    modules: int
    """modules whose weights are changed now (none at weight 0)"""
    unknown: tuple[str, ...]
    """modules of the file that the model does not have"""


@contextmanager
def lora(
    model: DiffusionModel,
    weights: LoraWeights,
    weight: float = 1.0,
    text_weight: float | None = None,
    blocks: Mapping[str, float] | None = None,
) -> Iterator[Applied]:
    """The model with a LoRA in it, inside a `with` block; afterwards it is as it was, bit for bit.

    `weight` is the strength in the UNet and `text_weight` in the text encoders (default: the same). `blocks`
    gives factors by block of the UNet: `down.0`, `mid`, `up.1` …; others keep 1. A strength of 0 touches nothing.
    May be stacked. Raises `SpecError`, with the model untouched, when the LoRA was made for another family, does
    not fit a module, holds NaN, or the model runs on OpenVINO. Not for a model that another thread draws with.
    """
    fitted = fitting(model, weights)
    _check_blocks(blocks or {}, fitted.unet_blocks)
    text = weight if text_weight is None else text_weight
    _check_memory(model, weights, text != 0)
    strengths = {
        id(part): text if part.target != "unet" else weight * (blocks or {}).get(part.block, 1.0)
        for part, _ in fitted.pairs
    }
    wanted = [(part, module) for part, module in fitted.pairs if strengths[id(part)] != 0]
    modules = {id(part): module for part, module in wanted}
    layers = [
        (modules[id(change.part)], _Layer(change, strengths[id(change.part)]))
        for change in weights.changes(part for part, _ in wanted)
    ]
    _put_on(layers)
    try:
        yield Applied(len(layers), fitted.unknown)
    finally:
        _take_off(layers)


# which module


@dataclass(frozen=True)
class Fitted:
    """The parts of a LoRA with the modules they change."""

    pairs: tuple[tuple[Part, Any], ...]
    unknown: tuple[str, ...]
    unet_blocks: tuple[str, ...]


def fitting(model: DiffusionModel, weights: LoraWeights) -> Fitted:
    """Find the module of each part. Raises `SpecError` when nothing fits, or a module has another shape."""
    networks = _networks(model)
    found = {target: _modules(network) for target, network in networks.items()}
    pairs: list[tuple[Part, Any]] = []
    unknown: list[str] = []
    wrong: list[tuple[Part, tuple[int, ...]]] = []
    for part in weights.parts:
        module = found.get(part.target, {}).get(part.name)
        if module is None:
            unknown.append(f"{part.target}: {part.name}")
        elif not part.fits(tuple(module.weight.shape)):
            wrong.append((part, tuple(module.weight.shape)))
        else:
            pairs.append((part, module))
    if wrong or not pairs:
        raise SpecError(_misfit_sentence(weights, networks["unet"], wrong, len(unknown)))
    blocks = {block_of(name) for name in found["unet"]}
    order = ("down", "mid", "up", "other")
    return Fitted(
        tuple(pairs),
        tuple(unknown),
        tuple(sorted(blocks, key=lambda block: (order.index(block.split(".")[0]), block))),
    )


def _networks(model: DiffusionModel) -> dict[Target, nn.Module]:
    networks: Any = model.networks
    if model.ref.numeric.startswith("openvino"):
        raise SpecError(
            f"{model.ref.name} runs as {model.ref.numeric}, where weights cannot be changed; a LoRA needs "
            "the torch backend: --backend torch."
        )
    if not hasattr(networks, "unet_module"):
        raise SpecError(
            f"{model.ref.name} ({model.ref.family}) has no UNet; this version puts LoRAs into UNets only."
        )
    found: dict[Target, nn.Module] = {"unet": networks.unet_module, "text": networks.text_encoder}
    if (second := getattr(networks, "text_encoder_2", None)) is not None:
        found["text2"] = second
    return found


def _modules(network: nn.Module) -> dict[str, Any]:
    """The linear and convolutional layers of a network by flat name."""
    return {
        flatten(path): module
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def _misfit_sentence(
    weights: LoraWeights, unet: Any, wrong: list[tuple[Part, tuple[int, ...]]], unknown: int
) -> str:
    width = getattr(unet.config, "cross_attention_dim", None)
    family = FAMILY_OF_WIDTH.get(width, "unknown") if isinstance(width, int) else "unknown"
    here = FAMILY_NAMES.get(family, f"of text width {width}")
    if weights.base != "unknown" and weights.base != family:
        made_for = FAMILY_NAMES.get(weights.base, weights.base)
        return (
            f'the LoRA "{weights.name}" was made for {made_for}, this model is {here}; '
            f"take a LoRA for {here} or a model of {made_for}."
        )
    if wrong:
        part, shape = wrong[0]
        return (
            f'the LoRA "{weights.name}" does not fit: {part.target} {part.name} changes a weight of {part.shape}, '
            f"this model's is {shape} ({len(wrong)} of {len(weights.parts)} modules differ so)."
        )
    return (
        f'nothing of the LoRA "{weights.name}" fits this model ({here}): it does not have any of its {unknown} '
        f"modules, such as {weights.parts[0].name}."
    )


def _check_blocks(blocks: Mapping[str, float], known: Iterable[str]) -> None:
    odd = sorted(blocks.keys() - set(known))
    if odd:
        raise SpecError(f'the UNet has no block "{odd[0][:40]}"; its blocks are {", ".join(known)}.')


def _check_memory(model: DiffusionModel, weights: LoraWeights, text: bool) -> None:
    """Weights that lie in 8 bits, or that a hook streams from elsewhere, cannot take a change."""
    memory = getattr(model.networks, "memory", None)
    if memory is None:
        return
    if memory.weights == "fp8":
        raise SpecError(
            f'the LoRA "{weights.name}" would be rounded away in weights of 8 bits; leave out the memory setting fp8.'
        )
    if memory.offload == "group":
        raise SpecError(
            f'the LoRA "{weights.name}" cannot be put into weights that are streamed layer by layer; use offload-model '
            "in place of offload-group."
        )
    if memory.text == "int8" and text and any(part.target != "unet" for part in weights.parts):
        raise SpecError(
            f'the LoRA "{weights.name}" changes the text encoder, whose weights lie in 8 bits; leave out the memory '
            "setting text-int8, or give a text weight of 0."
        )


# changing weights


@dataclass(frozen=True, eq=False)
class _Layer:
    """One LoRA's change of one module, at a strength. Two are the same only if they are one object."""

    change: Change
    strength: float


class _Patched(nn.Parameter):
    """A weight with changes added; the original lies beside."""

    original: nn.Parameter
    layers: tuple[_Layer, ...]


def _patched(original: nn.Parameter, layers: tuple[_Layer, ...]) -> _Patched:
    """The sum in float32, rounded once to the weight's type. DoRA's norms are those of the original weight, so
    that a LoRA's change does not depend on what else is on."""
    data = original.detach()
    total = data.float().clone()
    for layer in layers:
        total += layer.change.of(data) * layer.strength
    patched = _Patched(total.to(data.dtype), requires_grad=original.requires_grad)
    patched.original, patched.layers = original, layers
    return patched


@torch.inference_mode(False)
@torch.no_grad()
def _put_on(layers: list[tuple[Any, _Layer]]) -> None:
    """Add each layer to its module: all or, when one fails, none."""
    new: list[tuple[Any, _Patched]] = []
    for module, layer in layers:
        original, there = _split_weight(module.weight)
        patched = _patched(original, (*there, layer))
        if not patched.isfinite().all():
            part = layer.change.part
            raise SpecError(
                f"{part.path.name}: at this strength the weights of {part.name} leave the range of {patched.dtype}; "
                "use a smaller weight."
            )
        new.append((module, patched))
    for module, parameter in new:
        module.weight = parameter


@torch.inference_mode(False)
@torch.no_grad()
def _take_off(layers: list[tuple[Any, _Layer]]) -> None:
    for module, layer in layers:
        original, there = _split_weight(module.weight)
        left = tuple(other for other in there if other is not layer)
        module.weight = _patched(original, left) if left else original


def _split_weight(weight: nn.Parameter) -> tuple[nn.Parameter, tuple[_Layer, ...]]:
    if isinstance(weight, _Patched):
        if weight.original.device != weight.device:  # the model was moved meanwhile
            weight.original.data = weight.original.data.to(weight.device)
        return weight.original, weight.layers
    return weight, ()
