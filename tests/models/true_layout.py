"""Checkpoints in the layouts in which SD 1.5 and SDXL were published: every key and shape, or the same topology
with narrow layers that runs in a second.

Names are made from diffusers' modules, built without memory, by the way back from diffusers to LDM and SGM: the
opposite of what Jogak loads with, written apart from it. The weights of a full-size file are a hole in the
file, which takes no room on disk.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

CONFIGS = Path(__file__).parents[2] / "src" / "jogak" / "models" / "configs"

NARROW: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "sd15": {
        "unet": {"block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 64},
        "vae": {"block_out_channels": (32, 32, 32, 32)},
        "text_encoder": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
                         "num_attention_heads": 1, "projection_dim": 64},
    },
    "sdxl": {
        "unet": {"block_out_channels": (64, 64, 128), "cross_attention_dim": 192, "attention_head_dim": (1, 1, 2),
                 "transformer_layers_per_block": (1, 1, 2), "projection_class_embeddings_input_dim": 128 + 6 * 256},
        "vae": {"block_out_channels": (32, 32, 32, 32)},
        "text_encoder": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
                         "num_attention_heads": 1, "projection_dim": 64},
        "text_encoder_2": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4,
                           "num_attention_heads": 2, "projection_dim": 128},
    },
}  # fmt: skip
"""The families with narrow layers: the same blocks, a thousandth of the size."""


def config(family: str, part: str, narrow: bool) -> dict[str, Any]:
    published = json.loads((CONFIGS / family / part / "config.json").read_text())
    return published | dict(NARROW[family][part] if narrow else {})


def networks(family: str, narrow: bool = False) -> dict[str, nn.Module]:
    """A family's networks with random weights; full-size ones inside `torch.device("meta")`."""
    made: dict[str, nn.Module] = {}
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if not (CONFIGS / family / part).is_dir():
            continue
        settings = config(family, part, narrow)
        if part.startswith("text_encoder"):
            kind = CLIPTextModelWithProjection if part.endswith("2") else CLIPTextModel
            made[part] = kind(CLIPTextConfig(**settings))
        else:
            kind = UNet2DConditionModel if part == "unet" else AutoencoderKL
            made[part] = kind.from_config({k: v for k, v in settings.items() if not k.startswith("_")})
        made[part].eval()
    return made


# diffusers -> LDM and SGM


def to_ldm(family: str, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """All tensors under the names that the family's single files have."""
    clip = "conditioner.embedders.0.transformer." if family == "sdxl" else "cond_stage_model.transformer."
    tensors: dict[str, Tensor] = {}
    for name, tensor in modules["unet"].state_dict().items():
        tensors[
            "model.diffusion_model." + unet_to_ldm(name, len(modules["unet"].config.block_out_channels))
        ] = tensor
    for name, tensor in modules["vae"].state_dict().items():
        new = vae_to_ldm(name)
        attention = ".mid.attn_1." in new and new.endswith("weight") and ".norm." not in new
        tensors["first_stage_model." + new] = tensor[:, :, None, None] if attention else tensor
    for name, tensor in modules["text_encoder"].state_dict().items():
        tensors[f"{clip}text_model.{name.removeprefix('text_model.')}"] = tensor
    tensors[f"{clip}text_model.embeddings.position_ids"] = torch.arange(77)[None]
    if "text_encoder_2" in modules:
        tensors |= {
            f"conditioner.embedders.1.model.{name}": tensor
            for name, tensor in to_open_clip(modules["text_encoder_2"].state_dict()).items()
        }
    return tensors


def unet_to_ldm(name: str, levels: int) -> str:
    plain = {
        "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
        "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
        "add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
    }  # fmt: skip
    for old, new in plain.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, number, rest = found.groups()
        at = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{at}.{_resnet(rest) if kind == 'resnets' else rest}"
    found = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
    assert found, name
    side, level, kind, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if kind == "downsamplers":
        return f"input_blocks.{3 * level + 3}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        # behind an attention where the level has one: SD 1.5's first level up and SDXL's last have none
        attends = level > 0 if levels == 4 else level < 2
        return f"output_blocks.{3 * level + 2}.{2 if attends else 1}.{rest}"
    block = (
        f"input_blocks.{3 * level + number + 1}" if side == "down" else f"output_blocks.{3 * level + number}"
    )
    return f"{block}.0.{_resnet(rest)}" if kind == "resnets" else f"{block}.1.{rest}"


def _resnet(rest: str) -> str:
    for old, new in (
        ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("norm2", "out_layers.0"), ("conv2", "out_layers.3"),
        ("time_emb_proj", "emb_layers.1"), ("conv_shortcut", "skip_connection"),
    ):  # fmt: skip
        rest = rest.replace(old, new)
    return rest


def vae_to_ldm(name: str) -> str:
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    if found := re.match(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        side, kind, number, rest = found.groups()
        if kind == "resnets":
            return f"{side}.mid.block_{int(number) + 1}.{rest}"
        for old, new in (
            ("group_norm", "norm"),
            ("to_q", "q"),
            ("to_k", "k"),
            ("to_v", "v"),
            ("to_out.0", "proj_out"),
        ):
            rest = rest.replace(old, new)
        return f"{side}.mid.attn_1.{rest}"
    if found := re.match(r"encoder\.down_blocks\.(\d)\.(resnets\.(\d)|downsamplers\.0)\.(.*)", name):
        part = f"block.{found[3]}" if found[3] else "downsample"
        return f"encoder.down.{found[1]}.{part}.{found[4]}"
    if found := re.match(r"decoder\.up_blocks\.(\d)\.(resnets\.(\d)|upsamplers\.0)\.(.*)", name):
        part = f"block.{found[3]}" if found[3] else "upsample"
        return f"decoder.up.{3 - int(found[1])}.{part}.{found[4]}"
    return name


def to_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    found: dict[str, Tensor] = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state["text_projection.weight"].T.contiguous(),
        "logit_scale": torch.tensor(math.log(100.0)),
    }
    names = {
        "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }  # fmt: skip
    layers = sorted(
        {int(match[1]) for name in state if (match := re.match(r"encoder\.layers\.(\d+)\.", name))}
    )
    for layer in layers:
        old, new = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            for theirs, ours in names.items():
                found[f"{new}{ours}.{kind}"] = state[f"{old}{theirs}.{kind}"]
            three = [state[f"{old}self_attn.{which}_proj.{kind}"] for which in "qkv"]
            found[f"{new}attn.in_proj_{kind}"] = torch.cat(three)
    return found


# files


def published(family: str, ema: bool = False) -> dict[str, Tensor]:
    """Every name and shape of the published file, as tensors without memory."""
    with torch.device("meta"):
        tensors = to_ldm(family, networks(family))
    if family == "sd15" and ema:
        tensors |= ema_copies(tensors)
    return tensors


def ema_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The averages that unpruned SD 1.5 files keep, and the schedule's tables, under their names."""
    prefix = "model.diffusion_model."
    copies = {
        f"model_ema.diffusion_model{name.removeprefix(prefix).replace('.', '')}": tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    tables = {name: torch.zeros(1000) for name in ("betas", "alphas_cumprod", "sqrt_alphas_cumprod")}
    return (
        copies | tables | {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(1)}
    )


def write_hole(path: Path, tensors: Mapping[str, Tensor], dtype: str = "F16") -> Path:
    """A safetensors file with these names and shapes whose data are a hole: zeros that take no disk."""
    size = {"F16": 2, "F32": 4}[dtype]
    header: dict[str, Any] = {}
    at = 0
    for name, tensor in tensors.items():
        whole = name.endswith("position_ids")
        end = at + tensor.numel() * (8 if whole else size)
        header[name] = {
            "dtype": "I64" if whole else dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + at)
    return path


def make_single_file(
    path: Path,
    family: str,
    *,
    dtype: torch.dtype = torch.float16,
    ema: bool = False,
    more: Mapping[str, Tensor] | None = None,
    metadata: Mapping[str, str] | None = None,
    seed: int = 21,
) -> dict[str, nn.Module]:
    """A narrow checkpoint of one file; returns the networks that went into it, in the precision of the file."""
    torch.manual_seed(seed)
    modules = {name: module.to(dtype).float() for name, module in networks(family, narrow=True).items()}
    tensors = to_ldm(family, modules)
    if ema:
        tensors |= {name: tensor + 1 for name, tensor in ema_copies(tensors).items()}
    stored = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
    save_file(
        {n: t.contiguous().clone() for n, t in (stored | dict(more or {})).items()},
        path,
        dict(metadata or {}),
    )
    return modules


def make_folder(folder: Path, family: str, seed: int = 21) -> Path:
    """A narrow model in the layout of diffusers, with the vocabulary of CLIP."""
    torch.manual_seed(seed)
    for name, module in networks(family, narrow=True).items():
        module.save_pretrained(folder / name)
    shutil.copytree(CONFIGS / family / "scheduler", folder / "scheduler")
    for name in ("tokenizer", "tokenizer_2") if family == "sdxl" else ("tokenizer",):
        (folder / name).mkdir()
        shutil.copy(CONFIGS / "clip" / "merges.txt", folder / name / "merges.txt")
        pad = "!" if name.endswith("2") else "<|endoftext|>"
        (folder / name / "tokenizer_config.json").write_text(json.dumps({"pad_token": pad}))
    shutil.copy(CONFIGS / family / "model_index.json", folder / "model_index.json")
    return folder


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""What Qwen3's template makes of one message of a user."""


def make_zimage_folder(folder: Path, seed: int = 21) -> Path:
    """A narrow Z-Image in the layout of Tongyi-MAI/Z-Image-Turbo."""
    from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
    from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

    torch.manual_seed(seed)
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({sign: i for i, sign in enumerate(signs)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=marks[0], additional_special_tokens=marks[1:], chat_template=CHAT
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    text = Qwen3Model(
        Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=3,
            num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        )
    )  # fmt: skip
    # some releases hold the whole language model
    text.save_pretrained(folder / "text_encoder")
    file = folder / "text_encoder" / "model.safetensors"
    from safetensors.torch import load_file

    save_file({f"model.{name.removeprefix('model.')}": t for name, t in load_file(file).items()}, file)
    transformer = ZImageTransformer2DModel(
        in_channels=16, dim=64, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=32,
        axes_dims=[8, 12, 12], axes_lens=[1024, 64, 64],
    )  # fmt: skip
    for parameter in transformer.parameters():
        if parameter.isnan().any() or parameter.abs().max() > 1e6:  # its padding tokens are made empty
            torch.nn.init.normal_(parameter, std=0.02)
    for name, parameter in transformer.named_parameters():
        if "pad_token" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    transformer.save_pretrained(folder / "transformer")
    AutoencoderKL(
        block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1, latent_channels=16,
        use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159,
    ).save_pretrained(folder / "vae")  # fmt: skip
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000,
             "use_dynamic_shifting": False, "shift": 3.0}
        )
    )  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "ZImagePipeline"}))
    return folder
