"""The trainable part: peft's LoRA, DoRA, LoHa or LoKr in the base's layers, and its tensors by kohya's ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from jogak.spec import SpecError
from jogak.spec.training import TrainRequest

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_TRANSFORMER = (*_ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2")
_TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
_TEXT = (*_TEXT_ATTENTION, "fc1", "fc2")
_ADAPTER = "default"
_PARTS = ("lora_", "hada_", "lokr_")


def inject(module: nn.Module, request: TrainRequest, *, text: bool = False) -> dict[str, nn.Parameter]:
    """Put a fresh adapter into a UNet or text encoder and return its parameters, float32, by peft's names
    (`down_blocks.1.….to_q.lora_A.weight`). All else is frozen. It changes nothing yet: one factor is zero."""
    from peft import inject_adapter_in_model

    inject_adapter_in_model(_config(request, text), module, adapter_name=_ADAPTER)
    module.requires_grad_(False)
    found = dict(_adapter_parameters(module))
    if not found:
        raise SpecError(f"the base has no layers for {request.targets}; choose other --targets.")
    for parameter in found.values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return found


def _config(request: TrainRequest, text: bool) -> Any:
    from peft import LoHaConfig, LoKrConfig, LoraConfig

    attention = request.targets == "attention"
    layers = (
        (_TEXT_ATTENTION if attention else _TEXT) if text else (_ATTENTION if attention else _TRANSFORMER)
    )
    common: dict[str, Any] = {"r": request.rank, "target_modules": list(layers)}
    # peft declares a whole number and takes any
    alpha: Any = request.alpha
    if request.kind == "loha":
        return LoHaConfig(alpha=alpha, **common)
    if request.kind == "lokr":
        return LoKrConfig(alpha=alpha, **common)
    return LoraConfig(lora_alpha=alpha, use_dora=request.kind == "dora", **common)


def _adapter_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in module.named_parameters():
        parts = name.split(".")
        if _ADAPTER in parts and any(part.startswith(_PARTS) for part in parts):
            yield ".".join(part for part in parts if part != _ADAPTER), parameter


def scale_of(request: TrainRequest) -> float:
    """What the learned update is multiplied by."""
    return request.alpha / request.rank


def for_file(tensors: dict[str, Tensor], request: TrainRequest) -> dict[str, Tensor]:
    """Tensors as readers of files expect them.

    LoKr with both factors whole has no rank that a reader could see, and LyCORIS then takes the scale as 1:
    the scale goes into the first factor.
    """
    if request.kind != "lokr":
        return tensors
    whole = {
        name.removesuffix("lokr_w1")
        for name in tensors
        if name.endswith("lokr_w1") and name.removesuffix("lokr_w1") + "lokr_w2" in tensors
    }
    return {
        name: tensor * scale_of(request) if name.removesuffix("lokr_w1") in whole else tensor
        for name, tensor in tensors.items()
    }
