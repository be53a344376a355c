"""Kohya's LoRA files: how modules are named in them, and writing one.

A module's name in such a file is a prefix and its path with `.` as `_`:
`lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight`. Prefixes are `lora_unet`, `lora_te` (SD 1.5's
text encoder), `lora_te1` and `lora_te2` (SDXL's two). Kohya trains SDXL in Stability's own UNet, so there the
path is of that (SGM: `input_blocks_4_1_…`) and not of diffusers (`down_blocks_1_attentions_0_…`).

Everywhere in Jogak a module is known by its *flat* name: diffusers' path with `_`, without a prefix, and the
text encoder's without `text_model`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from jogak.spec import SpecError

Target = Literal["unet", "text", "text2"]
"""Which network a module belongs to: the UNet, the text encoder, or SDXL's second text encoder."""

_PREFIXES: tuple[tuple[str, Target], ...] = (
    ("lora_unet_", "unet"),
    ("lora_te1_", "text"),
    ("lora_te2_", "text2"),
    ("lora_te_", "text"),
)

# names


def split_prefix(module: str) -> tuple[Target, str] | None:
    """`lora_te_text_model_encoder_…` -> ("text", "encoder_…"); None when it has none of kohya's prefixes."""
    for prefix, target in _PREFIXES:
        if module.startswith(prefix):
            rest = module.removeprefix(prefix)
            return target, from_sgm(rest) if target == "unet" else rest.removeprefix("text_model_")
    return None


_SGM_BLOCK = re.compile(r"(input|output)_blocks_(\d{1,3})_(\d{1,2})_(.+)")
_SGM_MIDDLE = re.compile(r"middle_block_([012])_(.+)")
_SGM_RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
_SGM_ENDS = {
    "input_blocks_0_0": "conv_in",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
}
_LAYERS = 3
"""Input or output blocks of one level: SD 1.5 and SDXL have two layers a level going down, and one more that
resizes; three going up."""


def from_sgm(flat: str) -> str:
    """A UNet module's flat name in diffusers, from Stability's; any other name comes back as it is."""
    if flat in _SGM_ENDS:
        return _SGM_ENDS[flat]
    if middle := _SGM_MIDDLE.fullmatch(flat):
        place = int(middle[1])
        if place == 1:
            return f"mid_block_attentions_0_{middle[2]}"
        return f"mid_block_resnets_{place // 2}_{_SGM_RESNET.get(middle[2], middle[2])}"
    found = _SGM_BLOCK.fullmatch(flat)
    if found is None:
        return flat
    side, number, place, rest = found[1], int(found[2]), int(found[3]), found[4]
    if side == "input":
        if number == 0:
            return flat
        block, layer = f"down_blocks_{(number - 1) // _LAYERS}", (number - 1) % _LAYERS
        if rest == "op":
            return f"{block}_downsamplers_0_conv"
    else:
        block, layer = f"up_blocks_{number // _LAYERS}", number % _LAYERS
        if rest == "conv":
            return f"{block}_upsamplers_0_conv"
    if place == 0:
        return f"{block}_resnets_{layer}_{_SGM_RESNET.get(rest, rest)}"
    return f"{block}_attentions_{layer}_{rest}"


_BLOCK = re.compile(r"(down|up)_blocks_(\d+)_(resnets|attentions|downsamplers|upsamplers)_(\d+)_(.+)")
_MIDDLE = re.compile(r"mid_block_(resnets|attentions)_([01])_(.+)")


def to_sgm(flat: str) -> str:
    """SDXL's name of a UNet module from its flat name in diffusers: the inverse of `from_sgm`."""
    ends = {ours: theirs for theirs, ours in _SGM_ENDS.items()}
    resnet = {ours: theirs for theirs, ours in _SGM_RESNET.items()}
    if flat in ends:
        return ends[flat]
    if middle := _MIDDLE.fullmatch(flat):
        if middle[1] == "attentions":
            return f"middle_block_1_{middle[3]}"
        return f"middle_block_{2 * int(middle[2])}_{resnet.get(middle[3], middle[3])}"
    found = _BLOCK.fullmatch(flat)
    if found is None:
        return flat
    side, level, what, layer, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if side == "down":
        if what == "downsamplers":
            return f"input_blocks_{_LAYERS * level + _LAYERS}_0_op"
        block = f"input_blocks_{1 + _LAYERS * level + layer}"
    else:
        if what == "upsamplers":
            # it is the last of its block: after a resnet, and after an attention where the level has them
            return f"output_blocks_{_LAYERS * level + _LAYERS - 1}_2_conv"
        block = f"output_blocks_{_LAYERS * level + layer}"
    if what == "resnets":
        return f"{block}_0_{resnet.get(rest, rest)}"
    return f"{block}_1_{rest}"


_WORDS = (
    "down_blocks", "up_blocks", "mid_block", "attentions", "resnets", "downsamplers", "upsamplers",
    "transformer_blocks", "motion_modules", "attn1", "attn2", "to_q", "to_k", "to_v", "to_out", "ff", "net",
    "proj_in", "proj_out", "proj", "norm1", "norm2", "norm3", "norm", "conv1", "conv2", "conv_shortcut",
    "conv_in", "conv_out", "conv_norm_out", "conv", "time_emb_proj", "time_embedding", "add_embedding",
    "class_embedding", "linear_1", "linear_2", "encoder", "layers", "self_attn", "q_proj", "k_proj", "v_proj",
    "out_proj", "mlp", "fc1", "fc2", "embeddings", "token_embedding", "position_embedding", "final_layer_norm",
    "layer_norm1", "layer_norm2", "text_projection", r"\d+",
)  # fmt: skip
_WORD = re.compile(rf"({'|'.join(sorted(_WORDS, key=len, reverse=True))})(?:_|$)")


def dotted(flat: str) -> str:
    """The path with dots of a flat name, by the words that UNets and CLIP text encoders are made of.

    Raises `SpecError` for a name with other words in it.
    """
    words: list[str] = []
    at = 0
    while at < len(flat):
        found = _WORD.match(flat, at)
        if found is None:
            raise SpecError(
                f'"{flat[:100]}" is no module of a UNet or CLIP text encoder, so it has no name in other layouts.'
            )
        words.append(found[1])
        at = found.end()
    return ".".join(words)


def flatten(path: str) -> str:
    """The flat name of a module from its path with dots: `text_model.encoder.layers.0.mlp.fc1` ->
    `encoder_layers_0_mlp_fc1`."""
    return path.removeprefix("text_model.").replace(".", "_")


# writing

_SUFFIXES = {
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora_magnitude_vector": "dora_scale",
    "lora_magnitude_vector.weight": "dora_scale",
}
_AS_THEY_ARE = re.compile(r"(hada|lokr)_[wt][12](_[ab])?")


def write_kohya(
    path: Path,
    unet: Mapping[str, Tensor],
    text: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    alpha: float,
    *,
    text2: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype | None = torch.float16,
) -> Path:
    """Write a LoRA as kohya's tools do; the file appears whole or not at all.

    `unet`, `text` and `text2` hold tensors under PEFT's names (`<path>.lora_A.weight` (r, in, …),
    `.lora_B.weight` (out, r, …), `.lora_magnitude_vector` (out,), `.hada_w1_a`, `.lokr_w1` …), the text
    encoders' paths with or without `text_model.`. `alpha` counts for every module: the change of a weight is
    `alpha / rank * B @ A`. `dtype` None keeps each tensor's type. The UNet gets SGM names where there is a
    second text encoder or the metadata's base model is SDXL.

    `metadata` is written as given, with `ss_network_dim` and `ss_network_alpha` where they are missing, and
    with both hashes of `sshs_hashes`. Raises `SpecError` for names that are none of these, for NaN or
    infinity, and for numbers too large for `dtype`.
    """
    sdxl = text2 is not None or _is_sdxl(metadata)
    tensors: dict[str, Tensor] = {}
    modules: set[str] = set()
    for target, group in (("unet", unet), ("text", text), ("text2", text2 or {})):
        for name, tensor in group.items():
            module, suffix = _kohya_name(name)
            module = kohya_module(target, flatten(module), sdxl)
            if suffix == "dora_scale":
                # one number for each output, as LyCORIS lays it out: (out, 1) or, before an up of a convolution,
                # (out, 1, 1, 1)
                tensor = tensor.reshape(-1, *[1] * (_down_dimensions(group, name) - 1))
            tensors[f"{module}.{suffix}"] = _finite(tensor, f"{module}.{suffix}", dtype)
            modules.add(module)
    if not modules:
        raise SpecError(f"{path.name}: there is nothing to write, no module was changed.")
    tensors |= {f"{module}.alpha": torch.tensor(float(alpha)) for module in modules}
    dims = sorted({t.shape[0] for name, t in tensors.items() if name.endswith(".lora_down.weight")})
    facts = {"ss_network_alpha": f"{alpha:g}"} | ({"ss_network_dim": str(dims[-1])} if dims else {})
    write_lora_file(path, tensors, facts | dict(metadata))
    return path


def kohya_module(target: str, flat: str, sdxl: bool) -> str:
    """A module's name in a kohya file, prefix included."""
    if target == "unet":
        return f"lora_unet_{to_sgm(flat) if sdxl else flat}"
    prefix = "lora_te2" if target == "text2" else "lora_te1" if sdxl else "lora_te"
    # `text_projection` lies beside `text_model`, not in it
    return f"{prefix}_{flat}" if flat == "text_projection" else f"{prefix}_text_model_{flat}"


def _is_sdxl(metadata: Mapping[str, str]) -> bool:
    base = metadata.get("ss_base_model_version", "") + " " + metadata.get("modelspec.architecture", "")
    return "sdxl" in base or "stable-diffusion-xl" in base


def _kohya_name(name: str) -> tuple[str, str]:
    """`<path>.lora_A.weight` -> (path, `lora_down.weight`)."""
    name = name.removeprefix("base_model.model.")
    for theirs, ours in _SUFFIXES.items():
        if name.endswith(f".{theirs}"):
            return name.removesuffix(f".{theirs}"), ours
    module, _, suffix = name.rpartition(".")
    if module and _AS_THEY_ARE.fullmatch(suffix):
        return module, suffix
    raise SpecError(f'"{name[:120]}" is no tensor of a LoRA, DoRA, LoHa or LoKr, so it is not written.')


def _down_dimensions(group: Mapping[str, Tensor], name: str) -> int:
    module = name.partition(".lora_magnitude_vector")[0]
    down = group.get(f"{module}.lora_A.weight")
    return 2 if down is None else down.ndim


def _finite(tensor: Tensor, name: str, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu()
    if not tensor.isfinite().all():
        raise SpecError(f"{name} holds NaN or infinity; the training diverged, so nothing is written.")
    cast = tensor.to(dtype or tensor.dtype)
    if not cast.isfinite().all():
        raise SpecError(f"{name} has numbers too large for {cast.dtype}; write it in float32.")
    return cast.contiguous()


def write_lora_file(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with kohya's two hashes in its metadata: temporary file, flush, rename."""
    model, legacy = sshs_hashes(tensors, metadata)
    told = dict(metadata) | {"sshs_model_hash": model, "sshs_legacy_hash": legacy}
    with new_file(path) as tmp, tmp.open("wb") as file:
        for piece in _serialised(tensors, told):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which takes its name when the block ends well and is removed otherwise.

    Raises `SpecError` where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.tmp")
        try:
            yield tmp
            os.replace(tmp, path)
        finally:
            with suppress(FileNotFoundError):
                tmp.unlink()
    except OSError as error:
        raise SpecError(
            f"cannot write {path}: {error.strerror or error}. Choose another place with -o, or make room."
        ) from error


# A serialiser of our own, not safetensors', whose metadata come in another order at each run: here the same LoRA
# is the same file, byte for byte. Tensors lie as safetensors lays them (larger types first, then by name), so
# that the hash over the buffer is the one that kohya's tools compute.
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL",
}  # fmt: skip
_ORDER = ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "F16", "BF16", "I32", "F32", "F64", "I64")
"""Types as safetensors orders them, from the one that lies last to the one that lies first."""


def _serialised(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Iterator[bytes]:
    """A safetensors file in pieces: the header, then each tensor."""
    order = sorted(tensors, key=lambda name: (-_ORDER.index(_DTYPES[tensors[name].dtype]), name.encode()))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    at = 0
    for name in order:
        tensor = tensors[name]
        end = at + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    yield len(raw).to_bytes(8, "little") + raw
    for name in order:
        yield tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def sshs_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[str, str]:
    """(`sshs_model_hash`, `sshs_legacy_hash`) as kohya-ss/sd-scripts computes them
    (`train_util.precalculate_safetensors_hashes`, after sd-webui-additional-networks).

    The file is laid out with the metadata that begin with `ss_` alone. The model hash is the sha256 of all that
    follows its header; the legacy hash the first 8 hex digits of the sha256 of its bytes 0x100000 to 0x110000,
    which in a small file are none.
    """
    pieces = _serialised(tensors, {name: v for name, v in metadata.items() if name.startswith("ss_")})
    at = len(next(pieces))
    model, legacy = hashlib.sha256(), hashlib.sha256()
    for piece in pieces:
        model.update(piece)
        legacy.update(piece[max(0, 0x100000 - at) : max(0, 0x110000 - at)])
        at += len(piece)
    return model.hexdigest(), legacy.hexdigest()[:8]


def lora_hash(path: Path) -> str:
    """What A1111 calls a LoRA's hash and shortens to 12 digits in infotext: the sha256 of all that follows the
    header of its file."""
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()
