"""Small folders of random weights in the true layouts, for tests that must load and run a model in
seconds."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

START, END = "<|startoftext|>", "<|endoftext|>"
V_ZERO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
EPSILON = {"prediction_type": "epsilon"}
BETAS = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "clip_sample": False,
}  # fmt: skip


def make_pocket_like(folder: Path) -> Path:
    """Pocket's layout and levels, a twentieth of its size: v-prediction, zero terminal SNR, 8 latent
    channels."""
    torch.manual_seed(11)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=8, out_channels=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 32, 64), layers_per_block=1, cross_attention_dim=64,
        attention_head_dim=(1, 1, 2), use_linear_projection=True,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 16, 32), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=8, norm_num_groups=16,
        mid_block_add_attention=False, scaling_factor=1.0,
    )  # fmt: skip
    _save(folder, unet, vae, V_ZERO_SNR)
    return folder


def make_sd15_like(folder: Path) -> Path:
    """SD 1.5's layout as its files have it: four levels, vocabulary and merges apart, the autoencoder's
    attention under its old names, `text_model.` before the text encoder's, position ids saved."""
    torch.manual_seed(12)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 32, 64, 64), layers_per_block=1, cross_attention_dim=64,
        attention_head_dim=8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=4,
    )  # fmt: skip
    _save(folder, unet, vae, EPSILON)
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def old_name(name: str) -> str:
        for now, then in new.items():
            name = name.replace(f".{now}.", f".{then}.") if ".attentions." in name else name
        return name

    _rename(folder / "vae" / "diffusion_pytorch_model.safetensors", old_name)
    text = folder / "text_encoder" / "model.safetensors"
    _rename(text, lambda name: f"text_model.{name.removeprefix('text_model.')}")
    save_file(load_file(text) | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, text)
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    older = {
        "_name_or_path": "openai/clip-vit-large-patch14",
        "torch_dtype": "float32",
        "dropout": 0.0,
        "eos_token_id": 2,
    }
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config | older))
    tokens = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(tokens["model"]["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in tokens["model"]["merges"])
    (folder / "tokenizer" / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    return folder


def _rename(path: Path, new_name) -> None:
    save_file({new_name(name): tensor for name, tensor in load_file(path).items()}, path)


def _save(folder: Path, unet: UNet2DConditionModel, vae: AutoencoderKL, scheduler: dict) -> None:
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=_save_tokenizer(folder / "tokenizer"), hidden_size=64, intermediate_size=128,
            num_hidden_layers=2, num_attention_heads=2, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    for name, module in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        module.save_pretrained(folder / name)
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(BETAS | scheduler))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))


def _save_tokenizer(folder: Path) -> int:
    """A CLIP tokenizer of single bytes and a few merges; returns the size of its vocabulary."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    folder.mkdir(parents=True)
    # the 256 signs that stand for bytes in a byte-level BPE, each also as the end of a word
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    signs = [chr(code) for code in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    merges = [("f", "o"), ("fo", "x</w>"), ("c", "a"), ("ca", "t</w>"), ("r", "e"), ("re", "d</w>")]
    words = [START, END, *signs, *(f"{sign}</w>" for sign in signs), *("".join(pair) for pair in merges)]
    vocabulary = {word: i for i, word in enumerate(words)}
    CLIPTokenizer(vocab=vocabulary, merges=merges).save_pretrained(folder)
    return len(vocabulary)
