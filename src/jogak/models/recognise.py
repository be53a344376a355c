"""What a file of weights is, told by the names and shapes in its header alone.

The width of the text that a network attends to (`cross_attention_dim`) tells the families apart: pocket 384,
SD 1.5 768, SD 2 1024, SDXL 2048.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from jogak.models.safe import Header, TensorFacts

Kind = Literal["checkpoint", "unet", "vae", "lora", "control", "ip", "embedding", "vision", "unknown"]
VisionPart = Literal["projection", "hidden", "face"]

FAMILY_OF_WIDTH: Mapping[int, str] = MappingProxyType({384: "pocket", 768: "sd15", 1024: "sd2", 2048: "sdxl"})
"""The family that a width of text belongs to, as far as published models go."""
_BASE_NAMES: tuple[tuple[str, str], ...] = (
    ("pocket", "pocket"), ("sdxl", "sdxl"), ("stable-diffusion-xl", "sdxl"), ("sd_v2", "sd2"),
    ("stable-diffusion-v2", "sd2"), ("sd_v1", "sd15"), ("stable-diffusion-v1", "sd15"), ("flux", "flux"),
    ("z-image", "zimage"), ("zimage", "zimage"),
)  # fmt: skip
"""Beginnings and parts of `ss_base_model_version` and `modelspec.architecture`, with the family they mean."""
_LORA_ENDS = re.compile(
    r"\.(lora_down|lora_up|lora_A|lora_B|hada_w1_[ab]|hada_w2_[ab]|lokr_w[12](_[ab])?|lora_mid|oft_blocks)(\.weight)?$"
    r"|\.(lora_A|lora_B)\.\w+\.weight$"
)


@dataclass(frozen=True)
class Recognised:
    """What a header shows. A field is None where the header does not tell."""

    kind: Kind
    family: str | None = None
    """the base it is, or belongs to: pocket, sd15, sd2, sdxl, flux, zimage"""
    text_width: int | None = None
    """cross_attention_dim of the base it belongs to"""
    latent_channels: int | None = None
    """channels of the latents it takes"""
    vision_width: int | None = None
    """IP-Adapter: numbers the vision tower must give"""
    vision_part: VisionPart | None = None
    """IP-Adapter: which of the tower's outputs, pooled projection, last but one hidden state, or a face
    vector"""


def recognise(header: Header) -> Recognised:
    """What the file with this header is."""
    tensors = header.tensors
    if _any(tensors, "image_proj.") and _any(tensors, "ip_adapter."):
        return _ip(tensors)
    if any(_LORA_ENDS.search(name) for name in tensors):
        return _lora(header)
    if (
        _any(tensors, "control_model.")
        or _any(tensors, "controlnet_cond_embedding.")
        or "lora_controlnet" in tensors
    ):
        return _attending("control", tensors)
    if _any(tensors, "model.diffusion_model."):
        return _attending("checkpoint", tensors)
    if _is_embedding(tensors):
        return _embedding(tensors)
    names = tensors.keys()
    if {"vision_model.embeddings.patch_embedding.weight", "visual_projection.weight"} & names:
        return Recognised("vision")
    if _any(tensors, "first_stage_model.") or (
        "decoder.conv_in.weight" in names and "encoder.conv_in.weight" in names
    ):
        return Recognised("vae", latent_channels=_latents_of_vae(tensors))
    if "conv_in.weight" in names and _any(tensors, "down_blocks."):
        return _attending("unet", tensors)
    return Recognised("unknown")


def _any(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def _attending(kind: Kind, tensors: Mapping[str, TensorFacts]) -> Recognised:
    """A network with cross-attention: its widths tell its base."""
    width = next(
        (
            facts.shape[1]
            for name, facts in tensors.items()
            if name.endswith("attn2.to_k.weight") and len(facts.shape) == 2
        ),
        None,
    )
    first = next(
        (
            facts.shape[1]
            for name, facts in tensors.items()
            if name.endswith(("input_blocks.0.0.weight", "conv_in.weight"))
            and "cond_embedding" not in name
            and "first_stage" not in name
            and len(facts.shape) == 4
        ),
        None,
    )
    family = FAMILY_OF_WIDTH.get(width or 0)
    if _any(tensors, "conditioner.embedders.1.") or "add_embedding.linear_1.weight" in tensors:
        family = "sdxl"
    elif any("double_blocks." in name for name in tensors):
        family = "flux"
    return Recognised(kind, family, width, first)


def _lora(header: Header) -> Recognised:
    tensors = header.tensors
    width = next((w for name in tensors if (w := _lora_text_width(name, tensors)) is not None), None)
    family = FAMILY_OF_WIDTH.get(width or 0)
    if family is None:
        said = " ".join(
            header.metadata.get(key, "") for key in ("ss_base_model_version", "modelspec.architecture")
        ).lower()
        family = next((name for part, name in _BASE_NAMES if part in said), None)
    if family is None and any("double_blocks" in name or "single_transformer" in name for name in tensors):
        family = "flux"
    if family is None and _any(tensors, "lora_te2_"):
        family = "sdxl"
    return Recognised("lora", family, width)


def _lora_text_width(name: str, tensors: Mapping[str, TensorFacts]) -> int | None:
    """The width of text that a module's delta takes, when `name` is the half that takes it."""
    if not re.search(r"attn2[._]to_[kv]\.", name):
        return None
    facts = tensors[name]
    if len(facts.shape) != 2:
        return None
    if re.search(r"\.(lora_down|hada_w1_b|lora_A(\.\w+)?)(\.weight)?$", name):
        return facts.shape[1]
    if name.endswith(".lokr_w1"):
        # a Kronecker product is as wide as its factors' widths together
        stem = name.removesuffix("lokr_w1")
        second = tensors.get(f"{stem}lokr_w2") or tensors.get(f"{stem}lokr_w2_b")
        return facts.shape[1] * second.shape[1] if second and len(second.shape) == 2 else None
    return None


def _ip(tensors: Mapping[str, TensorFacts]) -> Recognised:
    width = next(
        (f.shape[1] for n, f in tensors.items() if n.endswith("to_k_ip.weight") and len(f.shape) == 2), None
    )
    base = FAMILY_OF_WIDTH.get(width or 0)
    for name, part in _READS.items():
        facts = tensors.get(name)
        if facts and len(facts.shape) == 2:
            # "full face" adapters read hidden states through a small network; a face vector has 512 numbers
            reads: VisionPart = "hidden" if part == "face" and facts.shape[1] != 512 else part
            return Recognised("ip", base, width, vision_width=facts.shape[1], vision_part=reads)
    return Recognised("ip", base, width)


_READS: Mapping[str, VisionPart] = MappingProxyType(
    {
        "image_proj.proj.weight": "projection",
        "image_proj.proj_in.weight": "hidden",
        "image_proj.proj.0.weight": "face",
    }
)
"""The layer of an IP-Adapter that takes what the vision tower gives, and which of its outputs that is."""


def _is_embedding(tensors: Mapping[str, TensorFacts]) -> bool:
    if any(len(facts.shape) not in (1, 2) for facts in tensors.values()):
        return False
    names = tensors.keys()
    return names == {"clip_l", "clip_g"} or (len(names) == 1 and "." not in next(iter(names)))


def _embedding(tensors: Mapping[str, TensorFacts]) -> Recognised:
    if "clip_g" in tensors:
        return Recognised("embedding", "sdxl", 2048)
    width = next(iter(tensors.values())).shape[-1]
    return Recognised("embedding", FAMILY_OF_WIDTH.get(width), width)


def _latents_of_vae(tensors: Mapping[str, TensorFacts]) -> int | None:
    for name, facts in tensors.items():
        if name.endswith("decoder.conv_in.weight") and len(facts.shape) == 4:
            return facts.shape[1]
    return None
