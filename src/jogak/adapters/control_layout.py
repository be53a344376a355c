"""What a ControlNet's files say before any weight is read: layout, structure, and the base it belongs to.

Known are folders in the layout of diffusers (`config.json` and safetensors), single files with diffusers' names
(`controlnet_cond_embedding.*`), and single files in the layout of the first ControlNets
(lllyasviel/ControlNet, `control_model.input_blocks.*`), whose names diffusers' own converter translates; and Union
ControlNets in the first two. A single
file brings no configuration; its structure is read off the shapes in its header. Only the number of attention
heads leaves no trace there: it is taken from the base's configuration when that is given, else it is 8 in every
layer for SD 1.5 and one for each 64 channels in all later models, as published.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

from jogak.models.recognise import FAMILY_OF_WIDTH
from jogak.models.safe import TensorFacts, read_header, read_json, read_part_headers
from jogak.spec import SpecError

STEM = "diffusion_pytorch_model"
Layout = Literal["folder", "file", "ldm"]

_LDM_PREFIX = "control_model."
_CLASSES = ("ControlNetModel", "ControlNetUnionModel", "ControlNetModel_Union")
_NOT_IN_SHAPES = frozenset({
    "act_fn", "addition_embed_type", "addition_time_embed_dim", "attention_head_dim", "class_embed_type",
    "controlnet_conditioning_channel_order", "downsample_padding", "flip_sin_to_cos", "freq_shift",
    "mid_block_scale_factor", "norm_eps", "norm_num_groups", "num_attention_heads", "num_class_embeds",
    "num_trans_head", "only_cross_attention", "projection_class_embeddings_input_dim", "resnet_time_scale_shift",
    "upcast_attention",
})  # fmt: skip
"""What a folder's configuration is believed in; all else its weights show themselves."""
_MOST_PARTS = 64
"""Levels, layers or blocks of one network."""
_MOST_TENSORS = 5000
"""Of a file in the first layout; the converter's time grows with the square."""
_NAMES = {"pocket": "pocket", "sd15": "SD 1.5", "sd2": "SD 2", "sdxl": "SDXL"}


@dataclass(frozen=True)
class ControlFacts:
    """A ControlNet as its configuration or header describes it."""

    path: Path
    layout: Layout
    config: Mapping[str, Any]
    """arguments of diffusers' `ControlNetModel`, or of its `ControlNetUnionModel`"""
    tensors: Mapping[str, TensorFacts]
    """by diffusers' names"""

    @property
    def text_width(self) -> int:
        """cross_attention_dim of the base it belongs to"""
        return int(self.config["cross_attention_dim"])

    @property
    def latent_channels(self) -> int:
        return int(self.config["in_channels"])

    @property
    def widths(self) -> tuple[int, ...]:
        """channels of each level"""
        return tuple(self.config["block_out_channels"])

    @property
    def map_channels(self) -> int:
        return int(self.config.get("conditioning_channels", 3))

    @property
    def shrink(self) -> int:
        """pixels of a side of the map per latent"""
        return 2 ** (len(self.config["conditioning_embedding_out_channels"]) - 1)

    @property
    def union(self) -> bool:
        """One network for many kinds of map, which is told the kind (xinsir's Union)."""
        return "task_embedding" in self.tensors

    @property
    def family(self) -> str:
        """pocket, sd15, sd2, sdxl, or unknown"""
        return FAMILY_OF_WIDTH.get(self.text_width, "unknown")

    @cached_property
    def parameters(self) -> int:
        return sum(prod(facts.shape) for facts in self.tensors.values())


def control_facts(path: Path, base_config: Mapping[str, Any] | None = None) -> ControlFacts:
    """What the ControlNet at `path`, a folder or a safetensors file, is. No weight is read.

    `base_config` is the base UNet's configuration. Raises `SpecError` for anything else than a plain ControlNet
    of the layouts above, in a sentence that says what the file is.
    """
    if path.is_dir():
        return _folder(path)
    header = read_header(path)
    _refuse_relatives(path, header.tensors)
    if any(name.startswith((_LDM_PREFIX, "input_hint_block.")) for name in header.tensors):
        tensors, layout = _from_ldm(header.tensors), "ldm"
    elif "controlnet_cond_embedding.conv_in.weight" in header.tensors:
        tensors, layout = dict(header.tensors), "file"
    else:
        raise SpecError(
            f"{path} is no ControlNet: it has neither control_model.* nor controlnet_cond_embedding.*."
        )
    try:
        config = config_of_shapes(tensors, base_config)
    except (KeyError, IndexError, ValueError) as error:
        raise SpecError(
            f"{path} is an incomplete ControlNet ({str(error)[:100]} is missing); fetch the file again."
        ) from None
    return ControlFacts(path, layout, config, tensors)


def _folder(path: Path) -> ControlFacts:
    if not (path / "config.json").is_file():
        raise SpecError(
            f"{path} has no config.json; give a ControlNet folder in the layout of diffusers, or a safetensors file."
        )
    config = read_json(path / "config.json")
    kind = str(config.get("_class_name")) if isinstance(config, dict) else "thing unknown"
    if kind not in _CLASSES:
        raise SpecError(f"{path} holds a {kind[:60]}; give a ControlNetModel.")
    if config.get("global_pool_conditions"):
        raise SpecError(
            f"{path} pools its map over the whole picture (a shuffle ControlNet), which Jogak does not run; "
            "for style use an IP-Adapter (--ip)."
        )
    tensors = read_part_headers(path, STEM)
    said = {key: value for key, value in config.items() if key in _NOT_IN_SHAPES}
    text = config.get("cross_attention_dim")
    try:
        # without attention nothing shows the width of the text but the configuration
        shown = config_of_shapes(tensors, {"cross_attention_dim": text} if isinstance(text, int) else None)
    except (KeyError, IndexError, ValueError) as error:
        raise SpecError(
            f"{path} is an incomplete ControlNet ({str(error)[:100]} is missing); fetch it again."
        ) from None
    if shown["cross_attention_dim"] != text:
        raise SpecError(f"{path}: config.json and the weights do not belong together; fetch both again.")
    return ControlFacts(path, "folder", shown | said, tensors)


def _refuse_relatives(path: Path, names: Mapping[str, Any]) -> None:
    """Files that people take for a ControlNet, each with what to take in its place."""
    if "lora_controlnet" in names:
        raise SpecError(
            f"{path.name} is a Control-LoRA, which only holds differences to SDXL's own weights; Jogak does not run "
            "those. Take a whole SDXL ControlNet of the same kind (for example controlnet-canny-sdxl-1.0)."
        )
    if any(name.startswith(("adapter.body.", "body.0.")) for name in names):
        raise SpecError(
            f"{path.name} is a T2I-Adapter, not a ControlNet; take a ControlNet of the same kind."
        )
    if any("lora_up" in name or "lora_B" in name for name in names):
        raise SpecError(f"{path.name} is a LoRA; give it with --lora.")
    if any(name.startswith("ip_adapter.") for name in names):
        raise SpecError(f"{path.name} is an IP-Adapter; give it with --ip.")
    whole = any(name.startswith("model.diffusion_model.") for name in names)
    if whole and not any(name.startswith(_LDM_PREFIX) for name in names):
        raise SpecError(f"{path.name} is a whole checkpoint; give it with --model.")


def _from_ldm(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Names of lllyasviel's layout as diffusers has them. Works on tensors and on facts alike: only names change."""
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    plain = {name.removeprefix(_LDM_PREFIX): tensors[name] for name in ldm_names(tensors)}
    downs = [
        int(found[1])
        for name in plain
        if (found := re.fullmatch(r"input_blocks\.(\d+)\.0\.op\.weight", name))
    ]
    layers = min(downs, default=3) - 1
    if len(plain) > _MOST_TENSORS:
        raise SpecError(f"this ControlNet has {len(plain):,} tensors; at most {_MOST_TENSORS:,} are read.")
    # the converter takes names without the prefix when it finds this one
    if "time_embed.0.weight" not in plain:
        raise SpecError("this ControlNet lacks time_embed.0.weight; fetch the file again.")
    converted = convert_controlnet_checkpoint(plain, {"layers_per_block": layers})
    return {name: value for name, value in converted.items() if value is not None}


def ldm_names(names: Collection[str]) -> list[str]:
    """Those of the ControlNet: the oldest files carry the whole of Stable Diffusion beside it."""
    return [name for name in names if name.startswith(_LDM_PREFIX)] or list(names)


def converted(facts: ControlFacts, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Weights as they lie in the file, by diffusers' names."""
    return _from_ldm(tensors) if facts.layout == "ldm" else dict(tensors)


def config_of_shapes(
    tensors: Mapping[str, TensorFacts], base_config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The arguments of `ControlNetModel` that these shapes (by diffusers' names) belong to.

    Raises `KeyError` or `ValueError` when a shape that is needed is absent.
    """

    def shape(name: str) -> tuple[int, ...]:
        return tensors[name].shape

    levels = _count(tensors, r"down_blocks\.(\d+)\.")
    layers = _count(tensors, r"down_blocks\.0\.resnets\.(\d+)\.")
    widths = [shape(f"down_blocks.{level}.resnets.0.conv1.weight")[0] for level in range(levels)]
    depths = [
        _count(tensors, rf"down_blocks\.{level}\.attentions\.0\.transformer_blocks\.(\d+)\.")
        for level in range(levels)
    ]
    middle = _count(tensors, r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\.")
    texts = {facts.shape[1] for name, facts in tensors.items() if name.endswith("attn2.to_k.weight")}
    projections = {len(facts.shape) for name, facts in tensors.items() if name.endswith("proj_in.weight")}
    if base_config is not None and not texts:
        texts = {base_config["cross_attention_dim"]}  # a ControlNet without attention fits any text
    if not widths or not layers or len(texts) != 1:
        raise ValueError("the cross-attention or a level")
    text = texts.pop()
    hints = _count(tensors, r"controlnet_cond_embedding\.blocks\.(\d+)\.")
    stem = "controlnet_cond_embedding."
    embedding = [shape(f"{stem}conv_in.weight")[0]]
    embedding += [shape(f"{stem}blocks.{block}.weight")[0] for block in range(1, hints, 2)]
    config: dict[str, Any] = {
        "in_channels": shape("conv_in.weight")[1],
        "conditioning_channels": shape(f"{stem}conv_in.weight")[1],
        "conditioning_embedding_out_channels": embedding,
        "block_out_channels": widths,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D",
        # diffusers wants a depth for every level, and takes the last for the middle
        "transformer_layers_per_block": [
            *(max(depth, 1) for depth in depths[:-1]),
            max(depths[-1], middle, 1),
        ],
        "layers_per_block": layers,
        "cross_attention_dim": text,
        "use_linear_projection": projections == {2} or not projections,
        "attention_head_dim": _heads(widths, text, base_config),
    }
    if base_config is not None:
        config["norm_num_groups"] = base_config.get("norm_num_groups", 32)
    if "task_embedding" in tensors:
        kinds, channels = shape("task_embedding")
        config |= {
            "num_control_type": kinds,
            "num_trans_channel": channels,
            "num_trans_layer": _count(tensors, r"transformer_layes\.(\d+)\."),
            "num_proj_channel": shape("spatial_ch_projs.weight")[0],
            "addition_time_embed_dim": shape("control_add_embedding.linear_1.weight")[1] // kinds,
        }
    if "add_embedding.linear_1.weight" in tensors:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (base_config or {}).get("addition_time_embed_dim") or 256,
            "projection_class_embeddings_input_dim": shape("add_embedding.linear_1.weight")[1],
        }
    return config


def _count(names: Mapping[str, Any], pattern: str) -> int:
    """One more than the largest number that the pattern finds; 0 when it finds none. Raises `ValueError` for a number
    that no network has: what is built follows from it."""
    found = re.compile(pattern)
    count = 1 + max((int(match[1]) for name in names if (match := found.match(name))), default=-1)
    if count > _MOST_PARTS:
        raise ValueError(f"all but number {count - 1} of one part")
    return count


def _heads(widths: list[int], text: int, base_config: Mapping[str, Any] | None) -> int | list[int]:
    """What diffusers calls `attention_head_dim` in a UNet: the number of heads at each level."""
    if base_config is not None and list(base_config.get("block_out_channels", [])) == widths:
        return base_config.get("num_attention_heads") or base_config.get("attention_head_dim", 8)
    return 8 if text == 768 else [max(1, width // 64) for width in widths]


def misfit(facts: ControlFacts, base_config: Mapping[str, Any], base: str) -> str | None:
    """A sentence that says why a ControlNet does not fit a UNet's configuration, or None when it fits."""
    name = facts.path.name
    wanted = int(base_config["cross_attention_dim"])
    attends = any(name.endswith("attn2.to_k.weight") for name in facts.tensors)
    if attends and facts.text_width != wanted:
        return (
            f"{name} is a ControlNet for {_family(facts.text_width)} (text {facts.text_width} wide), but {base} is "
            f"{_family(wanted)} ({wanted} wide); take a ControlNet made for {_family(wanted)}."
        )
    channels = int(base_config.get("out_channels", 4))
    if facts.latent_channels != channels:
        return (
            f"{name} takes latents of {facts.latent_channels} channels, but those of {base} have {channels}; "
            f"take a ControlNet made for {_family(wanted)}."
        )
    widths = tuple(base_config["block_out_channels"])
    layers = base_config.get("layers_per_block", 2), facts.config.get("layers_per_block", 2)
    if facts.widths != widths or layers[0] != layers[1]:
        return (
            f"{name} has levels of {facts.widths} channels ({layers[1]} layers each), but {base} has {widths} "
            f"({layers[0]} each); it was made for another model of that family."
        )
    if facts.map_channels not in (1, 3):
        return (
            f"{name} takes a map of {facts.map_channels} channels; Jogak gives maps of 3 (RGB) or 1 (grey)."
        )
    return None


def _family(width: int) -> str:
    family = FAMILY_OF_WIDTH.get(width)
    return _NAMES.get(family or "", "another family")
