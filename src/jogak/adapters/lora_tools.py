"""Making one LoRA out of others, or out of two models: merge, resize, extract, convert.

Each tool returns what it did, and writes kohya's layout unless asked otherwise. A file appears whole or not at all.
"""

from __future__ import annotations

import json
import math
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from jogak.adapters.kohya import Target, dotted, flatten, kohya_module, write_lora_file
from jogak.adapters.lora_files import FAMILY_NAMES, Change, LoraWeights, Part
from jogak.models.catalogue import CATALOGUE
from jogak.models.place import open_place
from jogak.models.recognise import FAMILY_OF_WIDTH
from jogak.spec import SpecError

Layout = Literal["kohya", "peft", "diffusers"]
Place = tuple[Target, str]
"""A module: its network and flat name."""
Told = Callable[[int, int, str], None]
"""(modules done, modules in all, what is done): progress."""

MAX_RANK = 1024


@dataclass(frozen=True)
class Module:
    """One module of a LoRA that is to be written."""

    up: Tensor
    """(out, r) or (out, r, 1, 1)"""
    down: Tensor
    """(r, in) or (r, in, height, width)"""
    alpha: float
    magnitude: Tensor | None = None
    """DoRA: (out,) norms"""


@dataclass(frozen=True)
class Made:
    """What a tool wrote."""

    path: Path
    modules: int
    ranks: Mapping[int, int]
    """rank -> modules"""
    kept: float
    """share of the change's energy (squared Frobenius norm) that is in the file; 1 is all of it"""
    notes: tuple[str, ...] = ()


# merge


def merge(
    loras: Sequence[tuple[LoraWeights, float]],
    output: Path,
    rank: int | None = None,
    dtype: torch.dtype | None = None,
    told: Told = lambda done, total, text: None,
) -> Made:
    """One LoRA whose change is the weighted sum of several.

    Without `rank` the factors are laid side by side: exact but for the rounding to `dtype` (default: the widest
    type of the files), and the ranks add up. With `rank` each sum is cut to its best approximation of that rank
    (Eckart-Young). LoHa, LoKr and Full have no factors to lay side by side and need a rank; DoRA, whose change
    depends on the base's weights, cannot be merged. Raises `SpecError` for these, for LoRAs of different bases,
    and for modules of different shapes.
    """
    if len(loras) < 2:
        raise SpecError(
            "one LoRA was given; a merge takes two or more, as in: jogak lora merge A:0.8 B:0.5 -o OUT"
        )
    _check_rank(rank)
    _same_base([weights for weights, _ in loras])
    sums: dict[Place, list[tuple[Change, float]]] = {}
    for weights, weight in loras:
        if not math.isfinite(weight):
            raise SpecError(f"the weight of {weights.name} is {weight}; give a number such as 0.8.")
        for change in weights.changes():
            _refuse_dora(change.part, "merged")
            if rank is None and change.factors() is None:
                raise SpecError(
                    f"{weights.name} is a {change.part.kind}, which cannot be laid beside others; give --rank, as in "
                    "--rank 32."
                )
            sums.setdefault((change.part.target, change.part.name), []).append((change, weight))
    modules: dict[Place, Module] = {}
    total, kept = 0.0, 0.0
    for done, (place, changes) in enumerate(sums.items()):
        told(done, len(sums), place[1])
        shape = _one_shape(place[1], [change.part for change, _ in changes])
        if rank is None:
            modules[place] = _side_by_side(changes, shape)
            continue
        factored = _sum_factors(changes)
        cut = cut_factors(*factored, rank) if factored else cut_full(_sum_full(changes), rank)
        modules[place] = _module(cut, shape)
        total, kept = total + cut.energy, kept + cut.kept
    names = ", ".join(f"{weights.name}:{weight:g}" for weights, weight in loras)
    metadata = _merged_metadata([weights.metadata for weights, _ in loras], output.stem)
    metadata |= _history(loras[0][0].metadata, f"merge {names}" + (f" to rank {rank}" if rank else ""))
    metadata["modelspec.merged_from"] = ", ".join(weights.name for weights, _ in loras)
    sdxl = any(_is_sdxl(weights) for weights, _ in loras)
    used = dtype or _widest(part for weights, _ in loras for part in weights.parts)
    return _write(output, modules, metadata, sdxl, used, kept / total if total else 1.0)


def _side_by_side(changes: Sequence[tuple[Change, float]], shape: tuple[int, ...]) -> Module:
    factored = _sum_factors(changes)
    assert factored is not None, "LoRAs without factors were refused before"
    # alpha = rank: the scale is 1, weights and scales are in the ups
    return Module(*_laid_out(*factored, shape), alpha=float(factored[1].shape[0]))


def _sum_factors(changes: Sequence[tuple[Change, float]]) -> tuple[Tensor, Tensor] | None:
    """(out, R) and (R, columns) whose product is the weighted sum; None when one has no factors."""
    ups: list[Tensor] = []
    downs: list[Tensor] = []
    for change, weight in changes:
        if (factors := change.factors()) is None:
            return None
        ups.append(factors[0] * (weight * change.scale))
        downs.append(factors[1])
    return torch.cat(ups, dim=1), torch.cat(downs)


def _sum_full(changes: Sequence[tuple[Change, float]]) -> Tensor:
    first, weight = changes[0]
    total = first.delta() * weight
    for change, weight in changes[1:]:
        total += change.delta() * weight
    return total


# resize


def resize(
    weights: LoraWeights,
    output: Path,
    rank: int | None = None,
    energy: float | None = None,
    dtype: torch.dtype | None = None,
    told: Told = lambda done, total, text: None,
) -> Made:
    """The same LoRA with fewer numbers: each module's change cut to its best approximation of `rank`, or of the
    smallest rank that keeps the share `energy` of its squared Frobenius norm. LoHa, LoKr and Full become LoRA.

    alpha becomes each module's rank (scale 1), the factors equally large. Raises `SpecError` for DoRA.
    """
    if (rank is None) == (energy is None):
        raise SpecError("give one of --rank and --energy, as in --rank 16 or --energy 0.9.")
    _check_rank(rank)
    if energy is not None and not 0 < energy <= 1:
        raise SpecError(f"energy: {energy} is no share; give a number above 0 and up to 1, as in 0.9.")
    modules: dict[Place, Module] = {}
    total, kept = 0.0, 0.0
    for done, change in enumerate(weights.changes()):
        part = change.part
        told(done, len(weights.parts), part.name)
        _refuse_dora(part, "resized")
        factors = _sum_factors([(change, 1.0)])
        cut = (
            cut_factors(*factors, rank or MAX_RANK, energy)
            if factors is not None
            else cut_full(change.delta(), rank or MAX_RANK, energy)
        )
        modules[part.target, part.name] = _module(cut, part.shape)
        total, kept = total + cut.energy, kept + cut.kept
    way = f"rank {rank}" if rank else f"energy {energy:g}"
    metadata = dict(weights.metadata) | _history(weights.metadata, f"resize {weights.name} to {way}")
    used = dtype or _widest(weights.parts)
    return _write(output, modules, metadata, _is_sdxl(weights), used, kept / total if total else 1.0)


# extract


def extract(
    tuned: str,
    base: str,
    output: Path,
    rank: int = 32,
    conv: bool = False,
    dtype: torch.dtype = torch.float16,
    told: Told = lambda done, total, text: None,
) -> Made:
    """What a tuned model adds to its base, as a LoRA: the difference of each linear layer of the UNet and the text
    encoders, cut to `rank`; with `conv` that of the convolutions too.

    `tuned` and `base` are catalogue names, folders or checkpoint files. Layers without a difference are left out.
    Raises `SpecError` when the two are of different build or do not differ. The notes say what a LoRA cannot hold
    (biases, norms, convolutions left out), as a share of the whole difference.
    """
    _check_rank(rank)
    places = [open_place(_model_place(name)) for name in (tuned, base)]
    modules: dict[Place, Module] = {}
    total, kept, outside = 0.0, 0.0, 0.0
    width = places[1].config("unet").get("cross_attention_dim")
    networks: tuple[tuple[str, Target], ...] = (
        ("unet", "unet"),
        ("text_encoder", "text"),
        ("text_encoder_2", "text2"),
    )
    for part, target in networks:
        if any(place.absent([part]) for place in places):
            continue
        new, old = (
            {name.removeprefix("text_model."): tensor for name, tensor in place.weights(part).items()}
            for place in places
        )
        _same_build(part, new, old, tuned, base)
        for done, name in enumerate(old):
            told(done, len(old), f"{part} {name}")
            if name.endswith("position_ids"):
                continue
            difference = new[name].float() - old[name].float()
            if not difference.isfinite().all():
                raise SpecError(
                    f"{part}/{name} of {tuned} or {base} holds NaN or infinity; nothing can be taken from it."
                )
            energy = torch.linalg.vector_norm(difference.double()).item() ** 2
            total += energy
            windowed = difference.ndim == 4 and difference.shape[2:] != (1, 1)
            if not name.endswith(".weight") or "embedding" in name.split(".")[-2] or (windowed and not conv):
                outside += energy
            elif difference.ndim in (2, 4) and energy > 0:
                cut = cut_full(difference.flatten(1), rank)
                path = flatten(name.removesuffix(".weight"))
                modules[target, path] = _module(cut, tuple(difference.shape))
                kept += cut.kept
            else:
                outside += energy
    if not modules:
        raise SpecError(f"{tuned} and {base} do not differ in any layer that a LoRA can hold.")
    family = FAMILY_OF_WIDTH.get(width, "") if isinstance(width, int) else ""
    metadata = _base_metadata(family) | {
        "ss_sd_model_name": Path(base).name,
        "ss_output_name": output.stem,
        "modelspec.title": output.stem,
        "modelspec.sai_model_spec": "1.0.0",
    }
    metadata |= _history({}, f"extract {Path(tuned).name} minus {Path(base).name} to rank {rank}")
    notes = (
        (f"{outside / total:.1%} of the difference lies where this LoRA cannot hold it",) if outside else ()
    )
    return _write(output, modules, metadata, family == "sdxl", dtype, kept / total, notes)


def _model_place(name: str) -> Path:
    path = CATALOGUE[name].folder if name in CATALOGUE else Path(name).expanduser()
    if not path.exists():
        raise SpecError(
            f'"{name[:80]}" is neither in the catalogue ({", ".join(CATALOGUE)}) nor a folder or file of weights.'
        )
    return path


def _same_build(
    part: str, new: Mapping[str, Tensor], old: Mapping[str, Tensor], tuned: str, base: str
) -> None:
    names = {name for name in new.keys() ^ old.keys() if not name.endswith("position_ids")}
    odd = min(names, default=None) or next(
        (n for n in old if n in new and new[n].shape != old[n].shape), None
    )
    if odd is not None:
        shapes = [tuple(w[odd].shape) if odd in w else "absent" for w in (new, old)]
        raise SpecError(
            f"{tuned} and {base} are of different build: {part}/{odd} is {shapes[0]} in one and {shapes[1]} in the "
            "other; give the base that the model was tuned from."
        )


# convert


def convert(weights: LoraWeights, output: Path, to: Layout, dtype: torch.dtype | None = None) -> Made:
    """The same LoRA in another layout: every number stays as it is stored, unless `dtype` asks for another type.

    `kohya` and `diffusers` are one `.safetensors` file; `peft` is a folder with `unet/`, `text_encoder/`,
    `text_encoder_2/` of `adapter_model.safetensors` and `adapter_config.json`. A LoCon's core (`lora_mid`), which
    the other layouts do not know, is multiplied into its down. Raises `SpecError` for LoHa, LoKr and Full.
    """
    modules: dict[Place, Module] = {}
    for change in weights.changes():
        part = change.part
        factors = change.factors()
        if factors is None:
            raise SpecError(
                f"{weights.name} is a {part.kind}; as a LoRA it would be another file: jogak lora resize --rank 32."
            )
        magnitude = _magnitude(change) if part.is_dora else None
        up, down = factors if "mid" in change.tensors else (change.tensors["up"], change.tensors["down"])
        stored = dtype or _widest([part])
        shaped = (
            _laid_out(up, down, part.shape)
            if "mid" in change.tensors or down.ndim != len(part.shape)
            else (up, down)
        )
        modules[part.target, part.name] = Module(
            # not the part's own alpha: folding a core in may change the rank, never the scale
            shaped[0].to(stored),
            shaped[1].to(stored),
            change.scale * down.shape[0],
            magnitude,
        )
    metadata = {key: value for key, value in weights.metadata.items() if key != "lora_adapter_metadata"}
    if to == "kohya":
        return _write(output, modules, metadata, _is_sdxl(weights), None, 1.0)
    groups: dict[Target, dict[str, Tensor]] = {}
    for target in _NETWORKS:
        if group := _peft_names(modules, target):
            groups[target] = group
    if to == "diffusers":
        _write_diffusers(output, groups, modules, metadata)
    else:
        _write_peft(output, groups, modules, metadata)
    return Made(output, len(modules), dict(Counter(module.down.shape[0] for module in modules.values())), 1.0)


_NETWORKS: Mapping[Target, str] = {"unet": "unet", "text": "text_encoder", "text2": "text_encoder_2"}


def _magnitude(change: Change) -> Tensor:
    if "magnitude" in change.tensors:
        return change.tensors["magnitude"].flatten()
    scales = change.tensors["dora_scale"]
    if scales.shape[0] != change.part.shape[0]:
        raise SpecError(
            f"{change.part.path.name}: {change.part.name} scales its inputs, as LyCORIS once did; other layouts only "
            "know scales of outputs."
        )
    return scales.flatten()


def _peft_names(modules: Mapping[Place, Module], wanted: Target) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for (target, name), module in modules.items():
        if target != wanted:
            continue
        path = dotted(name)
        tensors |= {f"{path}.lora_A.weight": module.down, f"{path}.lora_B.weight": module.up}
        if module.magnitude is not None:
            # as PEFT shapes it: (out,) for a linear layer, (1, out, 1, 1) for a convolution
            shape = [-1] if module.down.ndim == 2 else [1, -1, 1, 1]
            tensors[f"{path}.lora_magnitude_vector"] = module.magnitude.reshape(shape)
    return tensors


def _peft_config(modules: Mapping[Place, Module], wanted: Target) -> dict[str, object]:
    """PEFT's configuration of one network: the most frequent rank and alpha, and patterns for the others."""
    mine = {dotted(name): module for (target, name), module in modules.items() if target == wanted}
    rank = Counter(module.down.shape[0] for module in mine.values()).most_common(1)[0][0]
    alpha = Counter(module.alpha for module in mine.values()).most_common(1)[0][0]
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: m.down.shape[0] for path, m in mine.items() if m.down.shape[0] != rank},
        "alpha_pattern": {path: m.alpha for path, m in mine.items() if m.alpha != alpha},
        "target_modules": sorted(mine),
        "use_dora": any(module.magnitude is not None for module in mine.values()),
        "bias": "none",
        "lora_dropout": 0.0,
    }


def _write_diffusers(
    output: Path,
    groups: Mapping[Target, Mapping[str, Tensor]],
    modules: Mapping[Place, Module],
    metadata: Mapping[str, str],
) -> None:
    tensors: dict[str, Tensor] = {}
    config: dict[str, object] = {}
    for target, group in groups.items():
        network = _NETWORKS[target]
        config |= {f"{network}.{key}": value for key, value in _peft_config(modules, target).items()}
        # files carry `text_model.`, which transformers 5 drops in memory only
        inner = "" if target == "unet" else "text_model."
        for name, tensor in group.items():
            name = name.replace("lora_magnitude_vector", "lora_magnitude_vector.weight")
            before = "" if name.startswith("text_projection") else inner
            tensors[f"{network}.{before}{name}"] = tensor

    told = {"format": "pt", "lora_adapter_metadata": json.dumps(config, sort_keys=True)}
    write_lora_file(output, tensors, dict(metadata) | told)


def _write_peft(
    output: Path,
    groups: Mapping[Target, Mapping[str, Tensor]],
    modules: Mapping[Place, Module],
    metadata: Mapping[str, str],
) -> None:
    """A folder, which takes its name when all of it is there."""
    if output.suffix == ".safetensors" or output.exists():
        raise SpecError(
            f"{output} {'exists' if output.exists() else 'is a file name'}; PEFT's layout is a new folder."
        )
    unfinished = output.with_name(f".{output.name[:100]}.{uuid.uuid4().hex}.tmp")
    try:
        for target, group in groups.items():
            folder = unfinished / _NETWORKS[target]
            inner = "" if target == "unet" else "text_model."
            tensors = {
                f"base_model.model.{'' if name.startswith('text_projection') else inner}{name}": tensor
                for name, tensor in group.items()
            }
            write_lora_file(folder / "adapter_model.safetensors", tensors, dict(metadata) | {"format": "pt"})
            config = {"peft_type": "LORA", "task_type": None, "base_model_name_or_path": None}
            config |= _peft_config(modules, target)
            if target != "unet":
                config |= _with_prefix(config, inner)
            (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        unfinished.rename(output)
    except OSError as error:
        raise SpecError(f"cannot write {output}: {error.strerror or error}. Choose another place.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _with_prefix(config: Mapping[str, object], inner: str) -> dict[str, object]:
    """Paths in a text encoder's configuration as its tensors have them."""
    changed: dict[str, object] = {}
    for key in ("rank_pattern", "alpha_pattern"):
        patterns = config[key]
        assert isinstance(patterns, dict)
        changed[key] = {f"{inner}{path}": value for path, value in patterns.items()}
    return changed


# cutting a change to a low rank


@dataclass(frozen=True)
class Cut:
    """A matrix cut to a low rank: `up @ down`."""

    up: Tensor
    down: Tensor
    energy: float
    """squared Frobenius norm of the whole matrix"""
    kept: float
    """that of the cut one"""


def cut_factors(up: Tensor, down: Tensor, rank: int, energy: float | None = None) -> Cut:
    """The best approximation of `up @ down` of at most `rank`, and with `energy` of the smallest rank that keeps
    that share; the product, however large, is never made."""
    left, small_left = torch.linalg.qr(up.double())
    right, small_right = torch.linalg.qr(down.double().T)
    u, s, v = torch.linalg.svd(small_left @ small_right.T, full_matrices=False)
    return _cut(left @ u, s, v @ right.T, rank, energy)


def cut_full(delta: Tensor, rank: int, energy: float | None = None) -> Cut:
    """The same of a whole matrix (rows, columns), through the eigenvectors of its smaller Gram matrix."""
    matrix = delta.double()
    wide = matrix.shape[0] <= matrix.shape[1]
    gram = matrix @ matrix.T if wide else matrix.T @ matrix
    values, vectors = torch.linalg.eigh(gram)
    s = values.flip(0).clamp(min=0).sqrt()
    vectors = vectors.flip(1)
    inverse = torch.where(s > s[0] * 1e-7, 1 / s.clamp(min=1e-300), 0)
    if wide:
        return _cut(vectors, s, inverse[:, None] * (vectors.T @ matrix), rank, energy)
    return _cut(matrix @ vectors * inverse, s, vectors.T, rank, energy)


def _cut(u: Tensor, s: Tensor, v: Tensor, rank: int, energy: float | None) -> Cut:
    squares = s**2
    total = squares.sum().item()
    # singular values that are rounding alone carry nothing
    count = max(1, min(rank, int((s > s[0] * 1e-7).sum())))
    if energy is not None and total > 0:
        enough = int((squares.cumsum(0) < energy * total * (1 - 1e-12)).sum()) + 1
        count = min(count, enough)
    root = s[:count].sqrt()
    # both factors equally large: best for half precision
    up, down = u[:, :count] * root, root[:, None] * v[:count]
    return Cut(up.float(), down.float(), total, squares[:count].sum().item())


def _module(cut: Cut, shape: tuple[int, ...]) -> Module:
    return Module(*_laid_out(cut.up, cut.down, shape), alpha=float(cut.down.shape[0]))


def _laid_out(up: Tensor, down: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Two-dimensional factors as kohya lays them out for a weight of this shape."""
    if len(shape) == 4:
        return up.reshape(*up.shape, 1, 1), down.reshape(-1, *shape[1:])
    return up, down


# writing, and what is told beside


def _write(
    output: Path,
    modules: Mapping[Place, Module],
    metadata: Mapping[str, str],
    sdxl: bool,
    dtype: torch.dtype | None,
    kept: float,
    notes: tuple[str, ...] = (),
) -> Made:
    if output.suffix != ".safetensors":
        raise SpecError(f"{output} does not end in .safetensors; name the LoRA so.")
    tensors: dict[str, Tensor] = {}
    for (target, name), module in modules.items():
        key = kohya_module(target, name, sdxl)
        named = {"lora_down.weight": module.down, "lora_up.weight": module.up}
        if module.magnitude is not None:
            named["dora_scale"] = module.magnitude.reshape(-1, *[1] * (module.down.ndim - 1))
        for tail, tensor in named.items():
            cast = tensor.to(dtype or tensor.dtype)
            if not cast.isfinite().all():
                raise SpecError(f"{key} has numbers too large for {cast.dtype}; write it with --dtype fp32.")
            tensors[f"{key}.{tail}"] = cast
        tensors[f"{key}.alpha"] = torch.tensor(module.alpha)
    ranks = Counter(module.down.shape[0] for module in modules.values())
    alphas = {module.alpha for module in modules.values()}
    # kohya's own tools write "Dynamic" where modules differ
    facts = {
        "ss_network_dim": str(next(iter(ranks))) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": f"{next(iter(alphas)):g}" if len(alphas) == 1 else "Dynamic",
    }
    write_lora_file(output, tensors, dict(metadata) | facts)
    return Made(output, len(modules), dict(sorted(ranks.items())), kept, notes)


_DTYPES = {
    "F64": torch.float32,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def _widest(parts: Iterable[Part]) -> torch.dtype:
    """The type that holds every number of these parts: float32 as soon as two half types meet."""
    found = {
        _DTYPES.get(fact.dtype, torch.float16)
        for part in parts
        for ours, fact in part.facts.items()
        if ours != "alpha"
    }
    return found.pop() if len(found) == 1 else torch.float32


def _is_sdxl(weights: LoraWeights) -> bool:
    return weights.base == "sdxl" or any(part.target == "text2" for part in weights.parts)


def _check_rank(rank: int | None) -> None:
    if rank is not None and not 1 <= rank <= MAX_RANK:
        raise SpecError(f"rank: {rank} is out of range; give 1 to {MAX_RANK}.")


def _refuse_dora(part: Part, done: str) -> None:
    if part.is_dora:
        raise SpecError(
            f"{part.path.name} is a DoRA, whose change depends on the base's weights, so it cannot be {done}; put it "
            "into the base and take the difference: jogak lora extract."
        )


def _same_base(loras: Sequence[LoraWeights]) -> None:
    bases = {weights.base: weights.name for weights in loras if weights.base != "unknown"}
    if len(bases) > 1:
        told = " and ".join(f"{name} for {FAMILY_NAMES.get(base, base)}" for base, name in bases.items())
        raise SpecError(f"LoRAs of different bases cannot be merged: {told}.")


def _one_shape(name: str, parts: Sequence[Part]) -> tuple[int, ...]:
    """The shape that all of them change; the one that tells height and width apart, if one does."""
    shape = max((part.shape for part in parts), key=len)
    for part in parts:
        if not part.fits(shape):
            raise SpecError(
                f"{name} is of shape {parts[0].shape} in {parts[0].path.name} and {part.shape} in {part.path.name}; they "
                "are for different models."
            )
    return shape


def _merged_metadata(several: Sequence[Mapping[str, str]], title: str) -> dict[str, str]:
    """What all files tell alike, their tags together, and the triggers of all."""
    same = {
        key: value
        for key, value in several[0].items()
        if all(other.get(key) == value for other in several) and not key.startswith("sshs_")
    }
    triggers = [told["modelspec.trigger_phrase"] for told in several if told.get("modelspec.trigger_phrase")]
    if triggers:
        same["modelspec.trigger_phrase"] = ", ".join(dict.fromkeys(triggers))
    tags: dict[str, object] = {}
    for told in several:
        try:
            found = json.loads(told.get("ss_tag_frequency", "{}"))
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            tags |= found
    if tags:
        same["ss_tag_frequency"] = json.dumps(tags, ensure_ascii=False)
    return same | {"ss_output_name": title, "modelspec.title": title}


def _history(before: Mapping[str, str], deed: str) -> dict[str, str]:
    """The tools that a file went through, the last at the end."""
    earlier = before.get("jogak.history", "")
    return {"jogak.history": f"{earlier}; {deed}" if earlier else deed}


def _base_metadata(family: str) -> dict[str, str]:
    known = {
        "sd15": ("sd_v1", "stable-diffusion-v1/lora"),
        "sd2": ("sd_v2", "stable-diffusion-v2-512/lora"),
        "sdxl": ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
        "pocket": ("pocket", "pocket/lora"),
    }
    if family not in known:
        return {}
    version, architecture = known[family]
    return {"ss_base_model_version": version, "modelspec.architecture": architecture}
