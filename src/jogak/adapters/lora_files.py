"""Reading LoRA files of every common layout into one form.

| layout | names |
|---|---|
| kohya | `lora_unet_…`, `lora_te_…`, `lora_te1_…`, `lora_te2_…` with `.lora_down.weight`, `.lora_up.weight` |
| PEFT | `base_model.model.….lora_A.weight`, alpha in the `adapter_config.json` beside |
| diffusers | `unet.…`, `text_encoder.…`; `.lora_A.weight`, or the older `.lora.down.weight` and `.processor.to_q_lora…` |
| LyCORIS | kohya's names with `lora_mid` (LoCon), `dora_scale`, `hada_*` (LoHa), `lokr_*` (LoKr), `diff` (Full) |

A file's header is checked by `jogak.models.safe` and tells everything but the numbers: which modules, which
shapes, which rank. Weights are read only when a change is asked for.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from jogak.adapters.kohya import Target, flatten, from_sgm, split_prefix
from jogak.models.recognise import FAMILY_OF_WIDTH, recognise
from jogak.models.safe import Header, TensorFacts, read_header, read_json, read_tensors
from jogak.spec import SpecError

Kind = Literal["lora", "loha", "lokr", "full"]
"""How one module's change is stored: two factors, LyCORIS' Hadamard or Kronecker product, or whole."""

MAX_NUMBERS = 2**28
"""Numbers in one module's change: 1 GiB in float32, twice the largest layer of today's models. A small file
could ask for far more."""

# what a file holds


@dataclass(frozen=True)
class Part:
    """What a file holds for one module, known from its header."""

    path: Path
    target: Target
    name: str
    """flat name, see `jogak.adapters.kohya`"""
    kind: Kind
    keys: Mapping[str, str]
    """our name of each tensor (`down`, `up`, `mid`, `alpha`, `dora_scale`, `hada_w1_a` …) -> its name in the
    file"""
    facts: Mapping[str, TensorFacts]
    """type and shape by our names"""
    rank: int
    """0 where the change is not factored"""
    shape: tuple[int, ...]
    """of the weight it changes: (out, in) or (out, in, height, width); (out, in·height·width) where the file
    does not tell them apart"""
    config: tuple[float, bool] | None = None
    """alpha from a configuration beside, and whether the scale is `alpha / sqrt(rank)` (rank-stabilised)"""

    @property
    def is_dora(self) -> bool:
        return "dora_scale" in self.keys or "magnitude" in self.keys

    @property
    def is_conv(self) -> bool:
        """Whether a window larger than one pixel is changed."""
        return len(self.shape) == 4 and self.shape[2:] != (1, 1)

    @property
    def block(self) -> str:
        """`down.0`, `mid`, `up.1` …, `other` (the UNet's ends) or the text encoder's `text`, `text2`."""
        return block_of(self.name) if self.target == "unet" else self.target

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a weight of this shape can take the change."""
        if len(shape) == 4 == len(self.shape):
            return tuple(shape) == self.shape
        return shape[0] == self.shape[0] and math.prod(shape[1:]) == math.prod(self.shape[1:])


@dataclass(frozen=True)
class Change:
    """One module's part with its numbers."""

    part: Part
    tensors: Mapping[str, Tensor]
    """float32, by our names, without alpha"""
    scale: float

    @property
    def alpha(self) -> float:
        """alpha as kohya's files mean it: scale times rank."""
        return self.scale * max(self.part.rank, 1)

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """(out, r) and (r, in·height·width) whose product, times `scale`, is the change; None when it has no
        such factors."""
        if self.part.kind != "lora":
            return None
        up, down = self.tensors["up"].flatten(1), self.tensors["down"]
        if "mid" in self.tensors:
            down = torch.einsum("rshw,si->rihw", self.tensors["mid"], down.flatten(1))
        return up, down.flatten(1)

    def delta(self, device: torch.device | str = "cpu") -> Tensor:
        """The change of the weight at strength 1, before any DoRA: float32 (out, in·height·width)."""
        if math.prod(self.part.shape) > MAX_NUMBERS:
            raise SpecError(
                f"{self.part.path.name}: the change of {self.part.name} has {math.prod(self.part.shape):,} numbers; "
                f"at most {MAX_NUMBERS:,} are made."
            )
        moved = Change(self.part, {n: t.to(device) for n, t in self.tensors.items()}, self.scale)
        if (factors := moved.factors()) is not None:
            return factors[0] @ factors[1] * self.scale
        make = {"loha": _hadamard, "lokr": _kronecker, "full": lambda tensors: tensors["diff"].flatten(1)}
        return make[self.part.kind](moved.tensors) * self.scale

    def of(self, weight: Tensor) -> Tensor:
        """What to add to this weight at strength 1, in its shape, float32, on its device.

        For DoRA it is `m · (W + ΔW) / ‖W + ΔW‖ − W` (Liu et al., arXiv 2402.09353), the norm over each output, or
        over each input where the file's scales are laid out so (LyCORIS' older way). Strengths other than 1 scale
        this difference, as LyCORIS does.
        """
        delta = self.delta(weight.device).view(weight.shape)
        if not self.part.is_dora:
            return delta
        original = weight.float()
        flat = (original + delta).flatten(1)
        scales = self.tensors["magnitude" if "magnitude" in self.tensors else "dora_scale"].to(weight.device)
        tiny = torch.finfo(torch.float32).eps
        if "magnitude" in self.tensors or scales.shape[0] == weight.shape[0]:
            norms = flat.norm(dim=1).clamp(min=tiny)
            new = flat * (scales.flatten() / norms)[:, None]
            return new.view(weight.shape) - original
        by_input = flat.view(weight.shape[0], weight.shape[1], -1)
        norms = by_input.norm(dim=(0, 2)).clamp(min=tiny)
        return (by_input * (scales.flatten() / norms)[:, None]).view(weight.shape) - original


@dataclass(frozen=True)
class LoraWeights:
    """A LoRA file, known by its header; `changes` reads the numbers."""

    name: str
    """the file's stem"""
    kind: str
    """lora, locon (with convolutions), dora, loha, lokr, full, or several joined by +"""
    rank: int
    """the rank that most modules have; 0 when none is factored"""
    base: str
    """the family it was made for: sd15, sd2, sdxl, pocket, or unknown"""
    metadata: Mapping[str, str]
    parts: tuple[Part, ...]
    files: tuple[Path, ...] = field(repr=False)

    def changes(self, parts: Iterable[Part] | None = None) -> Iterator[Change]:
        """The given parts (default: all) with their numbers, read one after another.

        Raises `SpecError` for NaN, for infinity, and when a file changed after it was looked at.
        """
        wanted = self.parts if parts is None else tuple(parts)
        for path in self.files:
            mine = [part for part in wanted if part.path == path]
            if not mine:
                continue
            names = [theirs for part in mine for theirs in part.keys.values()]
            stored = read_tensors(path, names)
            for part in mine:
                yield _read(stored, part)


def _read(stored: Mapping[str, Tensor], part: Part) -> Change:
    tensors: dict[str, Tensor] = {}
    for ours, theirs in part.keys.items():
        tensor = stored[theirs]
        if tuple(tensor.shape) != part.facts[ours].shape:
            raise SpecError(f"{part.path} changed while it was read; run the command again.")
        tensors[ours] = tensor.float()
        low, high = tensors[ours].aminmax()  # one pass, and NaN comes through
        if not math.isfinite(low.item()) or not math.isfinite(high.item()):
            raise SpecError(
                f"{part.path.name}: {theirs} holds NaN or infinity. The training diverged or the file is damaged; "
                "take an earlier checkpoint."
            )
    alpha = tensors.pop("alpha", None)
    return Change(part, tensors, _scale(part, None if alpha is None else alpha.item()))


def _scale(part: Part, alpha: float | None) -> float:
    """`alpha / rank`; 1 where no alpha is told, or nothing is factored."""
    if not part.rank:
        return 1.0
    if alpha is not None:
        return alpha / part.rank
    if part.config is not None:
        alpha, rank_stabilised = part.config
        return alpha / (math.sqrt(part.rank) if rank_stabilised else part.rank)
    return 1.0


def _tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(r, s, h, w) core, (r, out) and (s, in) factors -> (out, in·h·w), as LyCORIS composes convolutions."""
    return torch.einsum("rshw,ro,si->oihw", core, a, b).flatten(1)


def _hadamard(t: Mapping[str, Tensor]) -> Tensor:
    """LoHa: (w1a · w1b) ⊙ (w2a · w2b)."""
    if "hada_t1" in t:
        left = _tucker(t["hada_t1"], t["hada_w1_a"], t["hada_w1_b"])
        return left * _tucker(t["hada_t2"], t["hada_w2_a"], t["hada_w2_b"])
    return (t["hada_w1_a"] @ t["hada_w1_b"].flatten(1)) * (t["hada_w2_a"] @ t["hada_w2_b"].flatten(1))


def _kronecker(t: Mapping[str, Tensor]) -> Tensor:
    """LoKr: w1 ⊗ w2, each whole or in factors."""
    first = t["lokr_w1"] if "lokr_w1" in t else t["lokr_w1_a"] @ t["lokr_w1_b"]
    if "lokr_w2" in t:
        second = t["lokr_w2"]
    elif "lokr_t2" in t:
        second = _tucker(t["lokr_t2"], t["lokr_w2_a"], t["lokr_w2_b"])
    else:
        second = t["lokr_w2_a"] @ t["lokr_w2_b"].flatten(1)
    # over a flattened window the product is the same: its last axes are those of the second factor alone
    return torch.kron(first.flatten(1).contiguous(), second.flatten(1).contiguous())


# reading a header


def read_lora(path: Path) -> LoraWeights:
    """A LoRA from a `.safetensors` file, or from a folder as PEFT writes it (`adapter_model.safetensors` and
    `adapter_config.json`, in the folder itself or in `unet/`, `text_encoder/`, `text_encoder_2/` inside).

    Only headers are read. Raises `SpecError` when the file is unsafe or damaged, holds no LoRA, or has tensors
    that do not belong together; the sentence names the module.
    """
    parts: list[Part] = []
    metadata: dict[str, str] = {}
    files = _files(path)
    headers = [read_header(file) for file, _ in files]
    for (file, target), header in zip(files, headers, strict=True):
        metadata |= header.metadata
        parts += _parts(file, header, target)
    if not parts:
        raise SpecError(f"{path.name} holds no LoRA: none of its tensors is a part of one.")
    ranks = Counter(part.rank for part in parts if part.rank)
    return LoraWeights(
        name=path.stem if path.is_file() else path.name,
        kind=_kind(parts),
        rank=ranks.most_common(1)[0][0] if ranks else 0,
        base=_base(headers, parts),
        metadata=metadata,
        parts=tuple(parts),
        files=tuple(file for file, _ in files),
    )


_ADAPTER = "adapter_model.safetensors"
_DIFFUSERS = "pytorch_lora_weights.safetensors"
"""What PEFT and diffusers call the file in a LoRA's folder: the folder has the LoRA's name."""
_FOLDERS: Mapping[str, Target] = {"unet": "unet", "text_encoder": "text", "text_encoder_2": "text2"}


def _files(path: Path) -> list[tuple[Path, Target | None]]:
    """The files of a LoRA, and the network of each where its place tells it."""
    found: list[tuple[Path, Target | None]]
    if not path.is_dir():
        return [(path, None)]
    if (path / _ADAPTER).is_file():
        return [(path / _ADAPTER, _FOLDERS.get(path.name))]
    if (path / _DIFFUSERS).is_file():
        return [(path / _DIFFUSERS, None)]
    found = [
        (path / name / _ADAPTER, target)
        for name, target in _FOLDERS.items()
        if (path / name / _ADAPTER).is_file()
    ]
    if not found:
        raise SpecError(
            f"{path} is a folder without {_ADAPTER} or {_DIFFUSERS}; give a LoRA's .safetensors file."
        )
    return found


_TAILS: Mapping[str, str] = {
    "lora_down.weight": "down", "lora_up.weight": "up", "lora_mid.weight": "mid",
    "lora_A.weight": "down", "lora_B.weight": "up",
    "lora.down.weight": "down", "lora.up.weight": "up",
    "lora_linear_layer.down.weight": "down", "lora_linear_layer.up.weight": "up",
    "alpha": "alpha", "dora_scale": "dora_scale",
    "lora_magnitude_vector": "magnitude", "lora_magnitude_vector.weight": "magnitude",
    **{f"hada_{rest}": f"hada_{rest}" for rest in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f"lokr_{rest}": f"lokr_{rest}" for rest in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
    "diff": "diff",
}  # fmt: skip
_REFUSED: Mapping[str, str] = {
    "diff_b": "a change of a bias", "w_norm": "a change of a norm", "b_norm": "a change of a norm",
    "on_input": "IA³", "a1.weight": "GLoRA", "b1.weight": "GLoRA", "oft_blocks": "OFT", "oft_R.weight": "OFT",
    "boft_R": "BOFT", "lora_B.bias": "a LoRA with biases", "lora_up.bias": "a LoRA with biases",
    "set_weight": "a replaced weight", "reshape_weight": "a reshaped weight", "bias_values": "sparse biases",
    "emb_params": "a textual inversion", "string_to_param": "a textual inversion",
}  # fmt: skip
"""Endings of tensors that change a model in ways this version cannot, and what they are: a LoRA must not be
applied in part unseen."""
_OLD_PROCESSOR = re.compile(r"(?:\.processor)?\.to_(q|k|v|out)_lora\.(down|up)\.weight$")
_ADAPTER_NAME = re.compile(r"\.(lora_A|lora_B|lora_magnitude_vector)\.(?!weight$)[^.]{1,64}(\.weight)?$")
_OLD_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


def _parts(path: Path, header: Header, target: Target | None) -> list[Part]:
    keys: dict[tuple[Target, str], dict[str, str]] = {}
    for name in header.tensors:
        module, tail = _split(path, name)
        place = _module(module, target)
        if tail in keys.setdefault(place, {}):
            raise SpecError(f"{path.name} names {place[1]} twice: {keys[place][tail]} and {name}.")
        keys[place][tail] = name
    config = _Config.beside(path, header.metadata)
    facts = header.tensors
    return [
        _part(path, place, named, {ours: facts[theirs] for ours, theirs in named.items()}, config)
        for place, named in keys.items()
    ]


def _split(path: Path, name: str) -> tuple[str, str]:
    """A tensor's name in a file -> the module's, and our name of the tensor."""
    plain = _ADAPTER_NAME.sub(r".\1\2", name)
    if old := _OLD_PROCESSOR.search(plain):
        module = f"{plain[: old.start()]}.to_{old[1]}"
        text = ".self_attn." in module
        if text:
            module = f"{plain[: old.start()]}.{_OLD_TEXT[f'to_{old[1]}']}"
        elif old[1] == "out":
            module += ".0"
        return module, old[2]
    words = plain.split(".")
    for count in range(min(3, len(words) - 1), 0, -1):
        tail = ".".join(words[-count:])
        if tail in _TAILS:
            return ".".join(words[:-count]), _TAILS[tail]
        if tail in _REFUSED:
            raise SpecError(
                f"{path.name}: {name[:120]} is {_REFUSED[tail]}, which this version does not apply; "
                "convert it to a LoRA with the tool that made it."
            )
    raise SpecError(_no_lora(path, name))


_OTHERS: Mapping[str, str] = {
    "checkpoint": "a whole model; give it with --model, or take what it adds to its base: jogak lora extract",
    "unet": "a UNet alone; take what it adds to its base: jogak lora extract",
    "vae": "an autoencoder",
    "control": "a ControlNet; give it with --control",
    "ip": "an IP-Adapter; give it with --ip",
    "embedding": "a textual inversion",
    "vision": "a vision tower",
}


def _no_lora(path: Path, name: str) -> str:
    kind = recognise(read_header(path)).kind
    if kind in _OTHERS:
        return f"{path.name} is no LoRA but {_OTHERS[kind]}."
    return f"{path.name} holds {name[:120]!r}, which is no tensor of a LoRA that is known."


_DOTTED_PREFIXES: Mapping[str, Target] = {
    "unet.": "unet",
    "diffusion_model.": "unet",
    "text_encoder_2.": "text2",
    "text_encoder.": "text",
}


def _module(module: str, target: Target | None) -> tuple[Target, str]:
    """The network and flat name of a module from its name in a file."""
    if (found := split_prefix(module)) is not None:
        return found
    path = module.removeprefix("base_model.model.")
    for prefix, network in _DOTTED_PREFIXES.items():
        if path.startswith(prefix):
            return _flat(network, path.removeprefix(prefix))
    if target is None:
        target = "text" if path.removeprefix("text_model.").startswith("encoder.layers.") else "unet"
    return _flat(target, path)


def _flat(target: Target, path: str) -> tuple[Target, str]:
    flat = flatten(path)
    return target, from_sgm(flat) if target == "unet" else flat


def _part(
    path: Path,
    place: tuple[Target, str],
    keys: Mapping[str, str],
    facts: Mapping[str, TensorFacts],
    config: _Config,
) -> Part:
    target, name = place
    for ours, fact in facts.items():
        if ours != "alpha" and not fact.dtype.startswith(("F", "BF")):
            raise SpecError(
                f"{path.name}: {keys[ours]} is of type {fact.dtype}; only floating point is read."
            )
    shapes = {ours: fact.shape for ours, fact in facts.items()}
    try:
        kind, rank, shape = _measure(shapes)
    except _Misfit as error:
        raise SpecError(f"{path.name}: {name}: {error}") from None
    return Part(path, target, name, kind, keys, facts, rank, shape, config.of(target, name))


class _Misfit(Exception):
    """Tensors of one module that do not belong together."""


def _measure(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Kind, int, tuple[int, ...]]:
    """Kind, rank and the changed weight's shape from the shapes of one module's tensors."""
    names = shapes.keys() - {"alpha", "dora_scale", "magnitude"}
    if math.prod(shapes.get("alpha", ())) != 1:
        raise _Misfit(f"its alpha has the shape {shapes['alpha']}; it must be one number.")
    for ours, shape in shapes.items():
        if ours != "alpha" and (0 in shape or not shape):
            raise _Misfit(f"its {ours} is empty (shape {shape}).")
    if names & {"down", "up", "mid"}:
        kind, rank, shape = _measure_lora(_exactly(shapes, names, {"down", "up"}, {"mid"}))
    elif any(ours.startswith("hada") for ours in names):
        kind, rank, shape = _measure_loha(shapes, names)
    elif any(ours.startswith("lokr") for ours in names):
        kind, rank, shape = _measure_lokr(shapes, names)
    elif names == {"diff"}:
        kind, rank, shape = "full", 0, _at_least(shapes, "diff", 2)
    else:
        raise _Misfit("its weights are missing, only its scale is there; fetch the file again.")
    _measure_dora(shapes, shape)
    return kind, rank, shape


def _exactly(
    shapes: Mapping[str, tuple[int, ...]], names: Iterable[str], needed: set[str], more: set[str]
) -> dict[str, tuple[int, ...]]:
    absent, odd = needed - set(names), set(names) - needed - more
    if absent:
        raise _Misfit(f"its {min(absent)} is missing; the file is incomplete, fetch it again.")
    if odd:
        raise _Misfit(f"its {min(odd)} does not belong to it; the file mixes two kinds for one module.")
    return {ours: _at_least(shapes, ours, 2) for ours in names}


def _at_least(shapes: Mapping[str, tuple[int, ...]], ours: str, dimensions: int) -> tuple[int, ...]:
    shape = shapes[ours]
    if len(shape) not in (dimensions, 4):
        raise _Misfit(f"its {ours} has the shape {shape}; {dimensions} or 4 dimensions fit.")
    return shape


def _measure_lora(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Kind, int, tuple[int, ...]]:
    down, up = shapes["down"], shapes["up"]
    if math.prod(up[2:]) != 1:
        raise _Misfit(f"its up has the shape {up}; behind (out, rank) only 1×1 fits.")
    rank = down[0]
    if "mid" not in shapes:
        if up[1] != rank:
            raise _Misfit(
                f"its up {up} has rank {up[1]} and its down {down} rank {rank}; both must be the same."
            )
        return "lora", rank, (up[0], *down[1:])
    mid = shapes["mid"]
    if len(mid) != 4 or math.prod(down[2:]) != 1 or (up[1], rank) != mid[:2]:
        raise _Misfit(
            f"its mid {mid} does not lie between its up {up} and its down {down}; "
            f"({up[1]}, {rank}, height, width) fits."
        )
    return "lora", rank, (up[0], down[1], *mid[2:])


def _measure_loha(
    shapes: Mapping[str, tuple[int, ...]], names: Iterable[str]
) -> tuple[Kind, int, tuple[int, ...]]:
    needed = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}
    found = _exactly(
        shapes,
        names,
        needed | ({"hada_t1", "hada_t2"} if {"hada_t1", "hada_t2"} & set(names) else set()),
        set(),
    )
    sides = [_product(found, f"hada_w{i}", f"hada_t{i}") for i in (1, 2)]
    if sides[0] != sides[1]:
        raise _Misfit(f"its two sides make {sides[0]} and {sides[1]}; both must make the same shape.")
    return "loha", found["hada_w1_b"][0], sides[0]


def _measure_lokr(
    shapes: Mapping[str, tuple[int, ...]], names: Iterable[str]
) -> tuple[Kind, int, tuple[int, ...]]:
    present = set(names)
    first = {"lokr_w1"} if "lokr_w1" in present else {"lokr_w1_a", "lokr_w1_b"}
    second = {"lokr_w2"} if "lokr_w2" in present else {"lokr_w2_a", "lokr_w2_b"}
    core = {"lokr_t2"} & present if "lokr_w2" not in present else set()
    found = _exactly(shapes, names, first | second | core, set())
    left = found["lokr_w1"] if "lokr_w1" in found else _product(found, "lokr_w1", "")
    right = found["lokr_w2"] if "lokr_w2" in found else _product(found, "lokr_w2", "lokr_t2")
    if math.prod(left[2:]) != 1:
        raise _Misfit(f"its lokr_w1 has the shape {left}; two dimensions fit.")
    factored = found.get("lokr_w1_b", found.get("lokr_w2_b"))
    # LyCORIS stores alpha even where both are whole, and does not use it there
    return "lokr", factored[0] if factored else 0, (left[0] * right[0], left[1] * right[1], *right[2:])


def _product(shapes: Mapping[str, tuple[int, ...]], name: str, core: str) -> tuple[int, ...]:
    """The shape that `<name>_a` and `<name>_b` make, through a Tucker core where there is one."""
    a, b = shapes[f"{name}_a"], shapes[f"{name}_b"]
    if core in shapes:
        middle = shapes[core]
        if len(middle) != 4 or middle[:2] != (a[0], b[0]) or len(a) != 2 or len(b) != 2:
            raise _Misfit(
                f"its {core} {middle} does not fit {name}_a {a} and {name}_b {b}; ({a[0]}, {b[0]}, …) fits."
            )
        return (a[1], b[1], *middle[2:])
    if a[1] != b[0] or len(a) != 2:
        raise _Misfit(f"its {name}_a {a} and {name}_b {b} have no rank in common.")
    return (a[0], *b[1:])


def _measure_dora(shapes: Mapping[str, tuple[int, ...]], shape: tuple[int, ...]) -> None:
    if "magnitude" in shapes and math.prod(shapes["magnitude"]) != shape[0]:
        raise _Misfit(
            f"its magnitude has the shape {shapes['magnitude']}; {shape[0]} numbers fit, one an output."
        )
    if "dora_scale" in shapes:
        given = shapes["dora_scale"]
        by_output = given[0] == shape[0] and math.prod(given) == shape[0]
        by_input = given[0] == 1 and len(given) > 1 and math.prod(given) == given[1] == shape[1]
        if not (by_output or by_input):
            raise _Misfit(f"its dora_scale has the shape {given}; ({shape[0]}, 1) or (1, {shape[1]}) fits.")


# what lies beside: alpha in a configuration


@dataclass(frozen=True)
class _Config:
    """PEFT's configuration: alpha for all, and for modules whose path ends in, or matches, a pattern."""

    by_target: Mapping[str, Mapping[str, Any]]

    @classmethod
    def beside(cls, path: Path, metadata: Mapping[str, str]) -> _Config:
        """From `adapter_config.json` in the file's folder, or from what diffusers puts into the header."""
        if path.name == _ADAPTER and (path.parent / "adapter_config.json").is_file():
            content = read_json(path.parent / "adapter_config.json")
            if not isinstance(content, dict):
                raise SpecError(f"{path.parent / 'adapter_config.json'} is no JSON object; fetch it again.")
            return cls({"": content})
        packed = metadata.get("lora_adapter_metadata")
        if packed is None:
            return cls({})
        try:
            content = json.loads(packed)
            split: dict[str, dict[str, Any]] = {}
            for name, value in content.items():
                prefix, _, key = name.partition(".")
                split.setdefault(_FOLDERS.get(prefix, prefix), {})[key] = value
        except (ValueError, RecursionError, AttributeError):
            raise SpecError(
                f"{path.name}: its lora_adapter_metadata is not readable; fetch the file again."
            ) from None
        return cls(split)

    def of(self, target: str, name: str) -> tuple[float, bool] | None:
        content = self.by_target.get(target, self.by_target.get(""))
        if content is None:
            return None
        alpha = content.get("lora_alpha", content.get("alpha"))
        patterns = content.get("alpha_pattern")
        for pattern, value in (patterns if isinstance(patterns, dict) else {}).items():
            flat = flatten(pattern.lstrip("^"))
            if name == flat or name.endswith(f"_{flat}"):
                alpha = value
                break
        if type(alpha) not in (int, float) or not math.isfinite(alpha):
            return None
        return float(alpha), content.get("use_rslora") is True


# what it is


def block_of(name: str) -> str:
    """The block of a UNet's module, by its flat name: `down.0`, `mid`, `up.1` …, else `other`."""
    if found := re.match(r"(down|up)_blocks_(\d+)_", name):
        return f"{found[1]}.{int(found[2])}"
    return "mid" if name.startswith("mid_block_") else "other"


def _kind(parts: Sequence[Part]) -> str:
    kinds: set[str] = set()
    for part in parts:
        if part.kind == "lora":
            kinds.add("locon" if part.is_conv else "lora")
        else:
            kinds.add(part.kind)
    if "locon" in kinds:
        kinds.discard("lora")
    if any(part.is_dora for part in parts):
        kinds = {"dora"} | (kinds - {"lora"})
    return "+".join(sorted(kinds))


FAMILY_NAMES: Mapping[str, str] = {"pocket": "pocket", "sd15": "SD 1.5", "sd2": "SD 2", "sdxl": "SDXL"}


def text_width(parts: Iterable[Part]) -> int | None:
    """The width of the text that the UNet of this LoRA reads; None when no part tells."""
    for part in parts:
        if part.target == "unet" and re.search(r"_attn2_to_[kv]$", part.name):
            return math.prod(part.shape[1:])
    return None


def _base(headers: Iterable[Header], parts: Sequence[Part]) -> str:
    """By the width of the text that the UNet reads, which cannot lie; else by what else the files show."""
    width = text_width(parts)
    if width is not None:
        return FAMILY_OF_WIDTH.get(width, "unknown")
    if any(part.target == "text2" for part in parts):
        return "sdxl"
    return next((family for header in headers if (family := recognise(header).family)), "unknown")


# finding one by name

MAX_LISTED = 10_000
"""Files of a folder that are looked at for a name."""


def find_lora(name: str, folders: Sequence[Path]) -> Path:
    """The file of a LoRA, by its path, its stem in one of the folders (earlier folders first; also `sub/stem`), or
    the `ss_output_name` in its header.

    Raises `SpecError` that lists near names when there is none, and both files when the output name is in two.
    """
    given = Path(name).expanduser()
    if given.suffix == ".safetensors" and given.is_file():
        return given
    candidates = [path for folder in folders for path in _listed(folder)]
    for folder in folders:
        for path in candidates:
            stem = path.with_suffix("") if path.suffix == ".safetensors" else path
            if stem in (folder / name, folder / name.removesuffix(".safetensors")):
                return path
    by_stem = [path for path in candidates if path.stem == name]
    if by_stem:
        return by_stem[0]
    named = [(path, _output_name(path)) for path in candidates]
    found = list(dict.fromkeys(path.resolve() for path, output in named if output == name))
    if len(found) > 1:
        raise SpecError(
            f'two LoRA files call themselves "{name}": {found[0]} and {found[1]}; use a file name.'
        )
    if found:
        return found[0]
    raise SpecError(_unknown(name, folders, [path.stem for path in candidates] + [n for _, n in named if n]))


def _listed(folder: Path) -> list[Path]:
    """The safetensors files of a folder and of the folders in it."""
    if not folder.is_dir():
        return []
    found: list[Path] = []
    for pattern in ("*.safetensors", "*/*.safetensors"):
        for path in folder.glob(pattern):
            found.append(path.parent if path.name in (_ADAPTER, _DIFFUSERS) else path)
            if len(found) >= MAX_LISTED:
                break
    return sorted(set(found))


def _output_name(path: Path) -> str | None:
    try:
        return read_header(path).metadata.get("ss_output_name")
    except SpecError:
        return None  # another file's fault is no reason to refuse this name


def _unknown(name: str, folders: Sequence[Path], known: Sequence[str]) -> str:
    shown = name if len(name) <= 80 else "..." + name[-77:]  # a path's end says most
    places = " or ".join(str(folder) for folder in folders)
    if not known:
        return f'the LoRA "{shown}" is not known: there is no .safetensors file in {places}.'
    lower = {other.lower(): other for other in known}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.4)]
    hint = f"Near names: {', '.join(near)}." if near else f"There are: {', '.join(sorted(set(known))[:8])}."
    return f'no LoRA "{shown}" in {places}. {hint}'
