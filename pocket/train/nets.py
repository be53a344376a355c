"""The networks of the pocket family, as stock diffusers and transformers classes, and their folder on disk.

A miniature SDXL: an f8 autoencoder with 8 latent channels, a three-level UNet with attention on the two lower
levels, a small bilingual CLIP. Everything loads with `StableDiffusionPipeline.from_pretrained(folder)`.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.models import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers import DDIMScheduler
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
)

LATENT_CHANNELS = 8
TEXT_WIDTH = 384
TEXT_LENGTH = 77
VOCABULARY = 8192

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,  # plain white grounds need a sampler that starts from pure noise
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 1,
}


def build_vae() -> AutoencoderKL:
    """6 M parameters, no attention (it would tie the decoder to one size), scaling factor 1."""
    return AutoencoderKL(
        block_out_channels=(32, 64, 128, 192),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        mid_block_add_attention=False,
        sample_size=256,
        scaling_factor=1.0,
        force_upcast=False,
    )


def build_unet(widths: tuple[int, int, int] = (96, 192, 320), layers: int = 2) -> UNet2DConditionModel:
    """No attention at the first level: on a CPU it costs ten times the pass for no visible gain."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=widths,
        layers_per_block=layers,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(
            max(1, width // 64) for width in widths
        ),  # diffusers' name; it means heads, 64 channels each
        norm_num_groups=32,
        use_linear_projection=True,
    )


def _text_config(layers: int, width: int, projection: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        max_position_embeddings=TEXT_LENGTH,
        projection_dim=projection,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _vision_config(layers: int, width: int, projection: int, size: int, patch: int) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=width * 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        image_size=size,
        patch_size=patch,
        projection_dim=projection,
    )


def build_clip() -> CLIPModel:
    """Pocket's own towers: its text tower conditions the UNet, its vision tower is IP-Adapter's eye."""
    text, vision = _text_config(6, TEXT_WIDTH, 256), _vision_config(6, 320, 256, 128, 16)
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=256)
    )


def build_judge() -> CLIPModel:
    """The judging CLIP: other widths, other patches, another seed; it never trains anything."""
    text, vision = _text_config(4, 256, 192), _vision_config(6, 256, 192, 144, 16)
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=192)
    )


def build_text() -> CLIPTextModel:
    """Pocket's text tower as the class that StableDiffusionPipeline names."""
    return CLIPTextModel(_text_config(6, TEXT_WIDTH, 256))


def load_text(model: CLIPTextModel, state: dict[str, torch.Tensor]) -> CLIPTextModel:
    """Some releases of transformers put a `text_model.` before every name; `state` has none."""
    getattr(model, "text_model", model).load_state_dict(state)
    return model


def save_pipeline(
    folder: Path, unet: UNet2DConditionModel, vae: AutoencoderKL, text: CLIPTextModel, tokenizer: Path
) -> None:
    """Write a StableDiffusionPipeline folder in fp16 safetensors. `tokenizer` is a folder made by `tokenizer.py`."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    for name, model in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        model.to(torch.float16).save_pretrained(folder / name, max_shard_size="200MB")
    # transformers loads in the dtype that the file names, diffusers in fp32: a stock pipeline needs both alike
    config = folder / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")
    CLIPTokenizer.from_pretrained(tokenizer).save_pretrained(folder / "tokenizer")
    DDIMScheduler.from_config(SCHEDULER).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
