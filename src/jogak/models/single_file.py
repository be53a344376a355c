"""Checkpoints of one file: SD 1.5 in the layout of LDM, SDXL in that of SGM, loaded with no network.

What diffusers keeps in JSON beside the weights is not in such a file. It ships here (`configs/`), and the
widths and depths that the header shows are put in, so that pruned, distilled and very small models load as
well. Weights are renamed by diffusers' own converters. EMA copies, the loss network and the schedule's tables
stay unread.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from jogak.models.place import Place
from jogak.models.recognise import recognise
from jogak.models.safe import Header, TensorFacts, file_digest, read_header, read_json, read_tensors
from jogak.spec import SpecError

if TYPE_CHECKING:
    from torch import Tensor

CONFIGS = Path(__file__).parent / "configs"
CLIP_TOKENIZER = CONFIGS / "clip"
MAX_YAML_BYTES = 100_000

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_CLIP = "cond_stage_model.transformer."
_XL_CLIP, _XL_OPEN = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
_PREFIXES: Mapping[str, Mapping[str, str]] = {
    "sd15": {"unet": _UNET, "vae": _VAE, "text_encoder": _CLIP},
    "sdxl": {"unet": _UNET, "vae": _VAE, "text_encoder": _XL_CLIP, "text_encoder_2": _XL_OPEN},
}

Shapes = Mapping[str, tuple[int, ...]]


class SingleFile(Place):
    """A whole model in one safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header: Header = read_header(path)
        self.family = _family(path, self._header)

    @property
    def pipeline(self) -> str:
        return str(read_json(CONFIGS / self.family / "model_index.json")["_class_name"])

    def absent(self, parts: Collection[str]) -> list[str]:
        prefixes = _PREFIXES[self.family]
        return [part for part in parts if part in prefixes and not self.headers(part)]

    @cached_property
    def _parts(self) -> Mapping[str, Mapping[str, TensorFacts]]:
        return {
            part: {
                name.removeprefix(prefix): facts
                for name, facts in self._header.tensors.items()
                if name.startswith(prefix)
            }
            for part, prefix in _PREFIXES[self.family].items()
        }

    def headers(self, part: str) -> Mapping[str, TensorFacts]:
        return self._parts[part]

    def config(self, part: str) -> dict[str, Any]:
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        usual: dict[str, Any] = read_json(CONFIGS / self.family / part / name)
        if part == "scheduler":
            return usual | self._training()
        shapes = {name: facts.shape for name, facts in self.headers(part).items()}
        if part == "vae" and not shapes:
            return usual
        return _INFER[part](shapes, usual, self.path)

    def _training(self) -> dict[str, Any]:
        """What the file, or a YAML of its name, says of how it was trained: v-prediction, zero terminal SNR."""
        said = self._header.metadata.get("modelspec.prediction_type", "").lower()
        names = self._header.tensors.keys()
        v = "v_pred" in names or said.startswith("v") or _yaml_says_v(self.path.with_suffix(".yaml"))
        found: dict[str, Any] = {"prediction_type": "v_prediction"} if v else {}
        return found | ({"rescale_betas_zero_snr": True} if "ztsnr" in names else {})

    def weights(self, part: str) -> dict[str, Tensor]:
        prefix = _PREFIXES[self.family][part]
        # diffusers' converters expect the prefixes, but copies of tensors that nobody asked for cost memory
        tensors = read_tensors(self.path, [prefix + name for name in self.headers(part)])
        if part == "unet":
            return _convert_unet(tensors, self.config("unet"))
        bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        if part == "vae":
            return convert_vae(bare, self.config("vae"))
        return _convert_open_clip(tensors, prefix) if part == "text_encoder_2" else bare

    def tokenizer(self, part: str) -> Path:
        return CLIP_TOKENIZER

    def digest(self, parts: Collection[str]) -> str:
        total = hashlib.sha256()
        for part in sorted(parts):
            total.update(
                f"{part} {file_digest(CLIP_TOKENIZER / 'merges.txt')}\n".encode()
                if part.startswith("tokenizer")
                else f"{part} {json.dumps(self.config(part), sort_keys=True)}\n".encode()
            )
        total.update(file_digest(self.path).encode())
        return total.hexdigest()


# what kind of checkpoint it is

_ELSEWHERE = {
    "lora": "a LoRA; give the base model here, and the LoRA with <lora:{stem}:0.8> or --lora",
    "control": "a ControlNet; give the base model here, and this with --control",
    "ip": "an IP-Adapter; give the base model here, and this with --ip-model",
    "vae": "an autoencoder alone; give the base model here, and this with --vae",
    "embedding": "a textual inversion; give the base model here, and this with --embedding",
    "unet": "a UNet in diffusers' names without text encoder and autoencoder; give the whole folder it came from",
    "vision": "an image encoder; give the base model here",
    "unknown": "no checkpoint of SD 1.5 or SDXL; give one in their published layout, or a folder of diffusers'",
}


def _family(path: Path, header: Header) -> str:
    """The family of a checkpoint. Raises `SpecError`, saying what the file is, when it is none we run."""
    kind = recognise(header).kind
    if kind != "checkpoint":
        raise SpecError(f"{path} is {_ELSEWHERE[kind].format(stem=path.stem)}.")
    tensors = header.tensors
    first = tensors.get(f"{_UNET}input_blocks.0.0.weight")
    if first is None or len(first.shape) != 4:
        raise SpecError(
            f"{path} holds another kind of network (FLUX, SD 3, …) in one file; give its diffusers folder."
        )
    last = tensors.get(f"{_UNET}out.2.weight")
    if last is None or last.shape[:1] != first.shape[1:2]:
        raise SpecError(f"{path} takes {first.shape[1]} channels (inpainting?); give a text-to-image model.")
    names = tensors.keys()
    if any(name.startswith(_XL_OPEN) for name in names):
        return "sdxl"
    if any(name.startswith("conditioner.embedders.0.model.") for name in names):
        raise SpecError(f"{path} is the refiner of SDXL, which only redraws; give the base model.")
    if any(name.startswith("cond_stage_model.model.") for name in names):
        raise SpecError(f"{path} is SD 2 in one file; give its diffusers folder, which Jogak runs.")
    if not any(name.startswith(_CLIP) for name in names):
        raise SpecError(f"{path} has no text encoder (a UNet alone); give the whole checkpoint.")
    return "sd15"


def _yaml_says_v(path: Path) -> bool:
    """Whether the YAML that lies beside some checkpoints says `parameterization: v`."""
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            return False
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return content["model"]["params"].get("parameterization") == "v"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return False


# widths and depths from shapes


def _shape(shapes: Shapes, name: str, rank: int, path: Path) -> tuple[int, ...]:
    found = shapes.get(name)
    if found is None or len(found) != rank:
        raise SpecError(
            f"{path} lacks {name} in its usual shape; the checkpoint is incomplete, fetch it again."
        )
    return found


def _count(shapes: Shapes, pattern: str) -> int:
    """How many different numbers stand where `pattern` has its group."""
    return len({found[1] for name in shapes if (found := re.match(pattern, name))})


def _infer_unet(shapes: Shapes, usual: Mapping[str, Any], path: Path) -> dict[str, Any]:
    per_level = usual["layers_per_block"] + 1
    levels = _count(shapes, r"input_blocks\.(\d+)\.") // per_level
    if levels != len(usual["block_out_channels"]):
        raise SpecError(
            f"{path}: its UNet has {levels} levels, this family's has {len(usual['block_out_channels'])}; "
            "give its diffusers folder, which says how it is built."
        )
    starts = [1 + level * per_level for level in range(levels)]
    widths = [_shape(shapes, f"input_blocks.{i}.0.in_layers.2.weight", 4, path)[0] for i in starts]
    cross = next(
        (s[1] for name, s in shapes.items() if name.endswith("attn2.to_k.weight") and len(s) == 2), None
    )
    if cross is None:
        raise SpecError(f"{path}: its UNet attends to no text; give a text-to-image model.")
    found: dict[str, Any] = {
        "block_out_channels": widths,
        "cross_attention_dim": cross,
        "in_channels": _shape(shapes, "input_blocks.0.0.weight", 4, path)[1],
        "out_channels": _shape(shapes, "out.2.weight", 4, path)[0],
    }
    if "transformer_layers_per_block" in usual:
        depths = [_count(shapes, rf"input_blocks\.{i}\.1\.transformer_blocks\.(\d+)\.") for i in starts]
        found["transformer_layers_per_block"] = [max(depth, 1) for depth in depths]
        found["attention_head_dim"] = [max(width // 64, 1) for width in widths]
        found["projection_class_embeddings_input_dim"] = _shape(shapes, "label_emb.0.0.weight", 2, path)[1]
    return dict(usual) | found


def infer_vae(shapes: Shapes, usual: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The configuration of an autoencoder in LDM's names, from its shapes."""
    levels = range(len(usual["block_out_channels"]))
    return dict(usual) | {
        "block_out_channels": [
            _shape(shapes, f"encoder.down.{i}.block.0.conv1.weight", 4, path)[0] for i in levels
        ],
        "latent_channels": _shape(shapes, "decoder.conv_in.weight", 4, path)[1],
    }


def _infer_clip(shapes: Shapes, usual: Mapping[str, Any], path: Path) -> dict[str, Any]:
    bare = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    words, width = _shape(bare, "embeddings.token_embedding.weight", 2, path)
    return dict(usual) | {
        "hidden_size": width,
        "vocab_size": words,
        "max_position_embeddings": _shape(bare, "embeddings.position_embedding.weight", 2, path)[0],
        "intermediate_size": _shape(bare, "encoder.layers.0.mlp.fc1.weight", 2, path)[0],
        "num_hidden_layers": _count(bare, r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(width // 64, 1),
        "projection_dim": width,
    }


def _infer_open_clip(shapes: Shapes, usual: Mapping[str, Any], path: Path) -> dict[str, Any]:
    words, width = _shape(shapes, "token_embedding.weight", 2, path)
    return dict(usual) | {
        "hidden_size": width,
        "vocab_size": words,
        "max_position_embeddings": _shape(shapes, "positional_embedding", 2, path)[0],
        "intermediate_size": _shape(shapes, "transformer.resblocks.0.mlp.c_fc.weight", 2, path)[0],
        "num_hidden_layers": _count(shapes, r"transformer\.resblocks\.(\d+)\."),
        "num_attention_heads": max(width // 64, 1),
        "projection_dim": _shape(shapes, "text_projection", 2, path)[1],
    }


_INFER = {
    "unet": _infer_unet, "vae": infer_vae, "text_encoder": _infer_clip, "text_encoder_2": _infer_open_clip,
}  # fmt: skip


# names, by diffusers' converters


def _convert_unet(tensors: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    return convert_ldm_unet_checkpoint(tensors, config)


def convert_vae(tensors: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """An autoencoder's weights, LDM's names without prefix -> diffusers' names."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    kept = {f"{_VAE}{name}": tensor for name, tensor in tensors.items()}
    return convert_ldm_vae_checkpoint(kept, config)


def _convert_open_clip(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    # its first argument is only asked for the width when the projection is absent, which `_infer_open_clip` refuses
    return convert_open_clip_checkpoint(None, tensors, prefix=prefix)
