"""ControlNets and IP-Adapters in their true layouts, tiny and random, for tests that must load and draw with them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

from jogak.adapters.ip_layout import attention_widths
from jogak.spec import ModelRef

TEXT, HIDDEN, PROJECTION, SIDE = 64, 64, 48, 32


def a_controlnet(base: ModelRef, seed: int = 0, **more: object) -> ControlNetModel:
    """Of the base's build, and not silent: fresh ControlNets add nothing, their last layers are zero."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(base.folder / "unet")
    net = ControlNetModel.from_unet(unet, **more)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return net.eval()


def save_tower(folder: Path, hidden: int = HIDDEN, projection: int = PROJECTION) -> None:
    torch.manual_seed(7)
    config = CLIPVisionConfig(
        hidden_size=hidden, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE,
        patch_size=8, projection_dim=projection,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)


def projection_of(kind: str) -> dict[str, torch.Tensor]:
    if kind == "base":
        shapes = {"proj.weight": (4 * TEXT, PROJECTION), "proj.bias": (4 * TEXT,)}
        shapes |= {"norm.weight": (TEXT,), "norm.bias": (TEXT,)}
    elif kind == "full-face":
        shapes = {
            "proj.0.weight": (HIDDEN, HIDDEN), "proj.0.bias": (HIDDEN,), "proj.2.weight": (TEXT, HIDDEN),
            "proj.2.bias": (TEXT,), "proj.3.weight": (TEXT,), "proj.3.bias": (TEXT,),
        }  # fmt: skip
    else:
        width, inner = 96, 128
        shapes = {
            "latents": (1, 5, width), "proj_in.weight": (width, HIDDEN), "proj_in.bias": (width,),
            "proj_out.weight": (TEXT, width), "proj_out.bias": (TEXT,), "norm_out.weight": (TEXT,),
            "norm_out.bias": (TEXT,),
        }  # fmt: skip
        for layer in range(4):
            shapes |= {
                f"layers.{layer}.0.norm1.weight": (width,), f"layers.{layer}.0.norm1.bias": (width,),
                f"layers.{layer}.0.norm2.weight": (width,), f"layers.{layer}.0.norm2.bias": (width,),
                f"layers.{layer}.0.to_q.weight": (inner, width), f"layers.{layer}.0.to_kv.weight": (2 * inner, width),
                f"layers.{layer}.0.to_out.weight": (width, inner), f"layers.{layer}.1.0.weight": (width,),
                f"layers.{layer}.1.0.bias": (width,), f"layers.{layer}.1.1.weight": (4 * width, width),
                f"layers.{layer}.1.3.weight": (width, 4 * width),
            }  # fmt: skip
    return {
        name: 0.1 * torch.randn(shape) + (0.5 if len(shape) == 1 else 0) for name, shape in shapes.items()
    }


def save_adapter(file: Path, base: ModelRef, kind: str = "base") -> Path:
    torch.manual_seed(8)
    widths = attention_widths(json.loads((base.folder / "unet" / "config.json").read_text()))
    state = {f"image_proj.{name}": tensor for name, tensor in projection_of(kind).items()}
    for i, width in enumerate(widths):
        for part in ("to_k_ip", "to_v_ip"):
            state[f"ip_adapter.{2 * i + 1}.{part}.weight"] = 0.3 * torch.randn(width, TEXT)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file)
    return file
