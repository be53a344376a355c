"""What an IP-Adapter's files say before any weight is read: its kind, the base and the vision tower it belongs to.

The layout is that of h94/IP-Adapter: one safetensors file with `image_proj.*` (vision tower → tokens) and
`ip_adapter.<1, 3, 5 …>.to_k_ip/to_v_ip.weight` (tokens → keys and values of each cross-attention, numbered as the
UNet lists its attentions: those of the text have the odd numbers), and a folder `image_encoder/` beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jogak.models.recognise import FAMILY_OF_WIDTH
from jogak.models.safe import TensorFacts, read_header, read_json, read_part_headers
from jogak.spec import SpecError

IpKind = Literal["base", "plus", "full-face"]

_TOWERS = {("base", 1024): "ViT-H/14", ("base", 1280): "ViT-bigG/14", ("base", 768): "ViT-L/14"} | {
    (kind, width): name
    for kind in ("plus", "full-face")
    for width, name in ((1280, "ViT-H/14"), (1664, "ViT-bigG/14"), (1024, "ViT-L/14"))
}
"""By the width of what the adapter reads: the pooled projection, or the last but one hidden state."""


@dataclass(frozen=True)
class IpFacts:
    """An IP-Adapter as its header and its tower's configuration describe it."""

    path: Path
    """the safetensors file"""
    kind: IpKind
    text_width: int
    """cross_attention_dim of the base it belongs to"""
    vision_width: int
    """numbers it takes from the vision tower"""
    widths: tuple[int, ...]
    """channels of each cross-attention it adds to, in the UNet's order"""
    encoder: Path
    """folder of the vision tower, which fits"""


def ip_file(path: Path) -> Path:
    """The safetensors file at `path`, which may be the folder around it. Raises `SpecError` when there is none or
    more than one."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
    if not found:
        raise SpecError(f"{path} holds no IP-Adapter (no .safetensors file); give its file.")
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:6])
        raise SpecError(f"{path} holds several IP-Adapters ({names}); name the one you want.")
    return found[0]


def ip_facts(path: Path, encoder: Path | None = None) -> IpFacts:
    """What the IP-Adapter at `path`, a safetensors file or the folder around it, is. No weight is read.

    `encoder` is the folder of the vision tower; without it `image_encoder/` is looked for beside the file and in
    h94's two folders. Raises `SpecError` for a Face-ID adapter, for a file that is none, and for a tower that is
    absent or of another width; `UnsafeWeights` for a pickle (with the way to convert it) or a damaged file.
    """
    path = ip_file(path)
    tensors = read_header(path).tensors
    kind, vision = _kind(path, tensors)
    numbers = sorted(
        int(found[1])
        for name in tensors
        if (found := re.fullmatch(r"ip_adapter\.(\d+)\.to_k_ip\.weight", name))
    )
    if not numbers or numbers != list(range(1, 2 * len(numbers), 2)):
        raise SpecError(f"{path.name}: its attentions are not numbered 1, 3, 5 …; fetch the file again.")
    keys = [tensors[f"ip_adapter.{number}.to_k_ip.weight"].shape for number in numbers]
    values = [tensors.get(f"ip_adapter.{number}.to_v_ip.weight") for number in numbers]
    text = {shape[1] for shape in keys if len(shape) == 2}
    if len(text) != 1 or any(v is None or v.shape != k for k, v in zip(keys, values, strict=True)):
        raise SpecError(f"{path.name}: the keys and values of its attentions do not belong together.")
    widths = tuple(shape[0] for shape in keys)
    return IpFacts(path, kind, text.pop(), vision, widths, _encoder(path, kind, vision, encoder))


def _kind(path: Path, tensors: Mapping[str, TensorFacts]) -> tuple[IpKind, int]:
    """The kind of an adapter, and the width that it takes from the vision tower."""
    names = tensors.keys()
    if "image_proj.perceiver_resampler.proj_in.weight" in names or any(
        name.startswith("ip_adapter.") and "lora" in name for name in names
    ):
        raise SpecError(_face_id(path))
    kinds: dict[str, IpKind] = {"proj": "base", "proj_in": "plus", "proj.0": "full-face"}
    for first, kind in kinds.items():
        facts = tensors.get(f"image_proj.{first}.weight")
        if facts is None or len(facts.shape) != 2:
            continue
        if kind == "full-face" and "image_proj.proj.3.weight" not in names:
            raise SpecError(_face_id(path))
        return kind, facts.shape[1]
    raise SpecError(f"{path.name} is no IP-Adapter: it has no image_proj that is known.")


def _face_id(path: Path) -> str:
    return (
        f"{path.name} is a Face-ID adapter: it reads the vectors of InsightFace, a face network whose weights may "
        "not be used commercially, and Jogak does not run it. Take ip-adapter-plus-face or ip-adapter-full-face."
    )


def _encoder(path: Path, kind: IpKind, width: int, given: Path | None) -> Path:
    """The folder of the vision tower that the adapter was made with."""
    around = path.parent
    places = [given] if given else [
        around / "image_encoder",
        around.parent / "models" / "image_encoder",
        around.parent / "sdxl_models" / "image_encoder",
    ]  # fmt: skip
    there = [folder for folder in places if (folder / "config.json").is_file()]
    wanted = f"{tower_name(kind, width)} ({width} wide)"
    if not there:
        raise SpecError(
            f"{path.name} needs its vision tower, {wanted}, but {places[0]} has no config.json; put the folder "
            "image_encoder/ (config.json, model.safetensors) beside the adapter."
        )
    for folder in there:
        if encoder_width(folder, kind) == width:
            return folder
    other = encoder_width(there[0], kind)
    raise SpecError(
        f"{path.name} was made with the vision tower {wanted}, but {there[0]} is {tower_name(kind, other)} "
        f"({other} wide); take the image_encoder/ that belongs to it."
    )


def tower_config(folder: Path) -> dict[str, Any]:
    """A vision tower's configuration, once its weights are seen to be of those sizes. Raises `SpecError` when they are
    not: a network is only built at sizes that a file of that length can hold."""
    config, tensors = read_json(folder / "config.json"), read_part_headers(folder, "model")
    stem = "vision_model.embeddings."
    patch, places = (
        tensors.get(f"{stem}{name}.weight") for name in ("patch_embedding", "position_embedding")
    )
    layers = {name.split(".")[3] for name in tensors if name.startswith("vision_model.encoder.layers.")}
    names = ("image_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    image, size, width, depth, heads = (config.get(name) for name in names)
    sizes = all(type(value) is int and value > 0 for value in (image, size, width, depth, heads))
    if (
        not sizes
        or patch is None
        or places is None
        or patch.shape != (width, 3, size, size)
        or places.shape != ((image // size) ** 2 + 1, width)
        or len(layers) != depth
        or width % heads
    ):
        raise SpecError(
            f"{folder}: config.json and model.safetensors do not belong together, or are of no "
            "CLIPVisionModelWithProjection; fetch both again."
        )
    return config


def tower_name(kind: IpKind, width: int) -> str:
    return _TOWERS.get((kind, width), "a tower of its own")


def encoder_width(folder: Path, kind: IpKind) -> int:
    """What a tower gives this kind of adapter: the width of its projection or of its hidden states."""
    config = read_json(folder / "config.json")
    key = "projection_dim" if kind == "base" else "hidden_size"
    width = config.get(key) if isinstance(config, dict) else None
    if not isinstance(width, int):
        raise SpecError(f"{folder}/config.json lacks {key}; give a CLIPVisionModelWithProjection.")
    return width


def attention_widths(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Channels of each cross-attention of a UNet with this configuration, in the order in which it lists them:
    down, up, middle."""
    widths = list(config["block_out_channels"])
    levels = len(widths)

    def each_level(value: Any) -> list[int]:
        return list(value) if isinstance(value, (list, tuple)) else [value] * levels

    layers = each_level(config.get("layers_per_block", 2))
    depths = each_level(config.get("transformer_layers_per_block", 1))
    downs = config.get("down_block_types", ["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"])
    ups = config.get("up_block_types", ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1))
    found: list[int] = []
    for level, kind in enumerate(downs):
        if "CrossAttn" in kind:
            found += [widths[level]] * (layers[level] * depths[level])
    for level, kind in enumerate(ups):
        below = levels - 1 - level
        if "CrossAttn" in kind:
            found += [widths[below]] * ((layers[below] + 1) * depths[below])
    if "CrossAttn" in (config.get("mid_block_type", "UNetMidBlock2DCrossAttn") or ""):
        found += [widths[-1]] * depths[-1]
    return tuple(found)


def misfit(facts: IpFacts, base_config: Mapping[str, Any], base: str) -> str | None:
    """A sentence that says why an IP-Adapter does not fit a UNet's configuration, or None when it fits."""
    name, wanted = facts.path.name, int(base_config["cross_attention_dim"])
    if facts.text_width != wanted:
        theirs, ours = (FAMILY_OF_WIDTH.get(width, "another family") for width in (facts.text_width, wanted))
        return (
            f"{name} is an IP-Adapter for {theirs} (text {facts.text_width} wide), but {base} is {ours} "
            f"({wanted} wide); take one made for {ours}."
        )
    expected = attention_widths(base_config)
    if facts.widths != expected:
        return (
            f"{name} was made for a UNet with {len(facts.widths)} cross-attentions of other widths than the "
            f"{len(expected)} of {base}; take one made for this model."
        )
    return None
