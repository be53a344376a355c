"""LoRA files in the layouts of the field, with the key sets and shapes of published models, and one set of random
factors written in every layout that can hold it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

SD15_UNET = {"cross_attention_dim": 768, "attention_head_dim": 8}
SDXL_UNET = {
    "sample_size": 128, "block_out_channels": (320, 640, 1280), "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048, "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
CLIP_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
CLIP_BIG_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
}
_KOHYA_UNET = ("Transformer2DModel",)
_KOHYA_CONV = ("ResnetBlock2D", "Downsample2D", "Upsample2D")
_KOHYA_TEXT = ("CLIPAttention", "CLIPSdpaAttention", "CLIPMLP")


def layers(network: nn.Module, inside: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Path and weight shape of the linear and convolutional layers; `inside` modules of these classes only."""
    for outer_path, outer in network.named_modules() if inside else [("", network)]:
        if inside and type(outer).__name__ not in inside:
            continue
        for path, module in outer.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                yield ".".join(filter(None, (outer_path, path))), tuple(module.weight.shape)


def kohya_layers(base: str, conv: bool = False) -> dict[str, dict[str, tuple[int, ...]]]:
    """What kohya's `networks.lora` trains in the true SD 1.5 or SDXL: {target: {path: weight's shape}}."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**(SDXL_UNET if base == "sdxl" else SD15_UNET))
        texts = {"text": CLIPTextModel(CLIPTextConfig(**CLIP_L))}
        if base == "sdxl":
            texts["text2"] = CLIPTextModel(CLIPTextConfig(**CLIP_BIG_G))
    found = {"unet": dict(layers(unet, _KOHYA_UNET + (_KOHYA_CONV if conv else ())))}
    for target, text in texts.items():
        found[target] = {path.removeprefix("text_model."): shape for path, shape in layers(text, _KOHYA_TEXT)}
    return found


def factors(shape: tuple[int, ...], rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random (down, up) for a weight of this shape, laid out as kohya and PEFT lay them out."""
    down = torch.randn(rank, *shape[1:], generator=generator) / (rank * torch.Size(shape[1:]).numel()) ** 0.5
    up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=generator) / 8
    return down, up


def peft_factors(shapes: dict[str, tuple[int, ...]], rank: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """Random factors under PEFT's names."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for path, shape in shapes.items():
        down, up = factors(shape, rank, generator)
        tensors |= {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}
    return tensors


METADATA = {
    "ss_network_module": "networks.lora", "ss_network_dim": "4", "ss_network_alpha": "2",
    "ss_sd_model_name": "base.safetensors", "ss_output_name": "puppet_v2", "ss_num_train_images": "24",
    "ss_epoch": "10", "ss_steps": "1200", "ss_seed": "42", "ss_resolution": "(512, 512)",
    "ss_learning_rate": "0.0001", "ss_optimizer": "torch.optim.AdamW",
    "ss_tag_frequency": json.dumps({"10_puppet": {"sk_puppet": 24, "red scarf": 17, "인형": 9}}),
    "modelspec.sai_model_spec": "1.0.0", "modelspec.title": "puppet_v2", "modelspec.resolution": "512x512",
    "modelspec.trigger_phrase": "sk_puppet",
}  # fmt: skip
BASES = {
    "sd15": {"ss_base_model_version": "sd_v1", "modelspec.architecture": "stable-diffusion-v1/lora"},
    "sdxl": {
        "ss_base_model_version": "sdxl_base_v1-0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    },
}


def true_kohya(path: Path, base: str, rank: int = 4) -> Path:
    """A kohya LoRA as published ones are laid out: every key of SD 1.5 or SDXL, fp16, random numbers."""
    from jogak.adapters.kohya import write_kohya

    found = {target: peft_factors(shapes, rank) for target, shapes in kohya_layers(base).items()}
    return write_kohya(
        path, found["unet"], found["text"], METADATA | BASES[base], 2.0, text2=found.get("text2")
    )


def flat(path: str) -> str:
    return path.replace(".", "_")


def write_layout(
    folder: Path, layout: str, unet: dict[str, Tensor], text: dict[str, Tensor], alpha: float
) -> Path:
    """The same factors (PEFT's names) in a layout, each written out here by hand and not by the code under test."""
    path = folder / f"{layout}.safetensors"
    modules = [("unet", name.removesuffix(".lora_A.weight"), unet) for name in unet if ".lora_A." in name]
    modules += [("text", name.removesuffix(".lora_A.weight"), text) for name in text if ".lora_A." in name]
    tensors: dict[str, Tensor] = {}
    for target, module, group in modules:
        down, up = group[f"{module}.lora_A.weight"], group[f"{module}.lora_B.weight"]
        rank = down.shape[0]
        if layout in ("kohya", "kohya_te1", "locon"):
            text_prefix = "lora_te1" if layout == "kohya_te1" else "lora_te"
            name = (
                f"lora_unet_{flat(module)}"
                if target == "unet"
                else f"{text_prefix}_text_model_{flat(module)}"
            )
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
            if layout == "locon" and down.ndim == 4:
                # the same product through a core: down 1×1 takes one channel each, so the core is the old down
                tensors[f"{name}.lora_down.weight"] = torch.eye(down.shape[1])[:, :, None, None]
                tensors[f"{name}.lora_mid.weight"] = down
                tensors[f"{name}.lora_up.weight"] = up
                tensors[f"{name}.alpha"] = torch.tensor(alpha * down.shape[1] / rank)
            else:
                tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        elif layout == "peft":
            prefix = "base_model.model." + ("" if target == "unet" else "text_model.")
            tensors |= {f"{prefix}{module}.lora_A.weight": down, f"{prefix}{module}.lora_B.weight": up}
        elif layout == "peft_named":
            prefix = "base_model.model." + ("" if target == "unet" else "text_model.")
            tensors[f"{prefix}{module}.lora_A.default.weight"] = down
            tensors[f"{prefix}{module}.lora_B.default.weight"] = up
        elif layout == "diffusers":
            prefix = "unet." if target == "unet" else "text_encoder.text_model."
            tensors |= {f"{prefix}{module}.lora_A.weight": down, f"{prefix}{module}.lora_B.weight": up}
        elif layout == "diffusers_lora":
            prefix, middle = (
                ("unet.", "lora") if target == "unet" else ("text_encoder.text_model.", "lora_linear_layer")
            )
            tensors[f"{prefix}{module}.{middle}.down.weight"] = down
            tensors[f"{prefix}{module}.{middle}.up.weight"] = up * (alpha / rank)
        elif layout == "diffusers_processor":
            name = _processor_name(target, module)
            tensors[f"{name}.down.weight"] = down
            tensors[f"{name}.up.weight"] = up * (alpha / rank)
        elif layout == "full":
            name = f"lora_unet_{flat(module)}" if target == "unet" else f"lora_te_text_model_{flat(module)}"
            delta = up.flatten(1) @ down.flatten(1) * (alpha / rank)
            tensors[f"{name}.diff"] = delta.view(up.shape[0], *down.shape[1:])
        else:
            raise ValueError(layout)
    metadata = {}
    if layout.startswith("peft"):
        path = folder / layout / "adapter_model.safetensors"
        path.parent.mkdir()
        config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha}
        (path.parent / "adapter_config.json").write_text(json.dumps(config))
    if layout == "diffusers":
        told = {}
        for target, network in (("unet", "unet"), ("text", "text_encoder")):
            paths = [module for other, module, _ in modules if other == target]
            told |= {f"{network}.r": rank, f"{network}.lora_alpha": alpha, f"{network}.target_modules": paths}
        metadata = {"lora_adapter_metadata": json.dumps(told)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path.parent if layout.startswith("peft") else path


def _processor_name(target: str, module: str) -> str:
    """How diffusers named attention layers before it used PEFT; the others as `lora.` beside them."""
    *front, last = module.removesuffix(".0").split(".")
    if target == "unet" and front and front[-1] in ("attn1", "attn2"):
        return "unet." + ".".join([*front, "processor", f"{last}_lora"])
    old = {"q_proj": "to_q_lora", "k_proj": "to_k_lora", "v_proj": "to_v_lora", "out_proj": "to_out_lora"}
    if target == "text" and last in old:
        return "text_encoder.text_model." + ".".join([*front, old[last]])
    return (
        f"unet.{module}.lora" if target == "unet" else f"text_encoder.text_model.{module}.lora_linear_layer"
    )
