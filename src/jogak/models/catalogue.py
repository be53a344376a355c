"""Which models there are, and what a place of weights is: known before any weight is opened."""

from __future__ import annotations

import difflib
import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from jogak.models.place import SET_FILES, Place, open_place
from jogak.models.safe import cache_folder
from jogak.spec import ModelRef, SpecError
from jogak.spec.memory import Memory
from jogak.spec.models import ModelSet
from jogak.store.files import write_whole

Backend = Literal["auto", "openvino", "torch"]

PARTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
"""The folders of a latent-diffusion model that Jogak reads, in the layout of diffusers."""


@dataclass(frozen=True)
class Family:
    """Models that are built alike. A further family is one module and one entry here."""

    name: str
    parts: tuple[str, ...]
    """the folders that it needs, in the layout of diffusers"""
    module: str
    """the module whose `make(ref, device, memory)` loads it"""
    denoiser: str = "unet"
    width: str = "cross_attention_dim"
    """what the denoiser's configuration calls the width of the text it attends to"""
    openvino: bool = False
    """whether OpenVINO can run it; else torch does"""
    step: int = 8
    """sides of a picture are multiples of it"""
    half: str = "fp16"
    """the precision on a GPU"""


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "StableDiffusionPipeline": Family("latent", PARTS, "jogak.models.diffusion", openvino=True),
        "StableDiffusionXLPipeline": Family(
            "sdxl", (*PARTS, "text_encoder_2", "tokenizer_2"), "jogak.models.sdxl"
        ),
        "ZImagePipeline": Family(
            "zimage",
            ("scheduler", "text_encoder", "tokenizer", "transformer", "vae"),
            "jogak.models.zimage",
            denoiser="transformer",
            width="cap_feat_dim",
            step=16,
            half="bf16",
        ),
    }
)
"""Families by the pipeline that `model_index.json` names."""


@dataclass(frozen=True)
class Entry:
    """A model that can be asked for by name."""

    name: str
    family: str
    licence: str
    about: str
    folder: Path
    """of its weights, or the file of a `ModelSet`"""


CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "pocket": Entry(
            name="pocket",
            family="pocket",
            licence="Apache-2.0",
            about="illustrated worlds at 256×256, 320×192 and 192×320, told in Korean or English",
            folder=Path(__file__).parent / "weights" / "pocket",
        ),
        "pocket-fast": Entry(
            name="pocket-fast",
            family="pocket",
            licence="Apache-2.0",
            about="pocket in four steps, guidance already in it: --steps 4 --guidance 1 --sampler ddim",
            folder=Path(__file__).parent / "weights" / "pocket-fast" / "model.yaml",
        ),
    }
)


@dataclass(frozen=True)
class ModelFacts:
    """What configuration files and headers say of a model."""

    family: str
    text_width: int
    latent_channels: int
    size: int
    """pixels of a side that the model was made for"""
    megabytes: int
    """weights as they are stored"""


def resolve(
    name_or_folder: str | Path,
    backend: Backend | None = None,
    *,
    vae: Path | None = None,
    embeddings: Sequence[Path] = (),
    memory: Memory | None = None,
) -> ModelRef:
    """The reference of a model: by catalogue name, by folder in the layout of diffusers, by checkpoint file
    (`.safetensors` of SD 1.5 or SDXL), or by a file that describes a set (`jogak.spec.models.ModelSet`).

    Weights are only hashed (and that once, see `safe.folder_digest`). `backend` chooses what will run it:
    `torch`, `openvino`, or `auto` (CUDA where there is one, else OpenVINO where it can run the family); None
    takes `$JOGAK_BACKEND`, else `auto`. `vae` takes the place of the model's own autoencoder, `embeddings`
    are textual inversions that a prompt calls by their file's stem, `memory` says how to spend less of it.
    Raises `SpecError` for an unknown name, with near names, and for what is no model Jogak can run.
    """
    name = str(name_or_folder)
    entry = CATALOGUE.get(name)
    path = entry.folder if entry else Path(name).expanduser()
    if entry is None and not path.exists():
        near = difflib.get_close_matches(name.lower(), CATALOGUE, n=1, cutoff=0.5)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise SpecError(
            f'"{shown}" is neither in the catalogue ({", ".join(CATALOGUE)}) nor a folder or file of weights.{hint}'
        )
    if vae is not None or embeddings:
        path = _keep_set(path, vae, embeddings)
    place = open_place(path)
    facts, family = _describe(place), family_of(place)
    numeric = _numeric(backend, family, memory or Memory())
    return ModelRef(
        name=name, family=facts.family, folder=path, digest=place.digest(family.parts), numeric=numeric
    )


def family_of(place: Place) -> Family:
    """How a model is built. Raises `SpecError` when Jogak cannot run it."""
    if place.pipeline not in FAMILIES:
        raise SpecError(
            f"{place.path} holds a {place.pipeline[:60]}; this version runs {', '.join(FAMILIES)} "
            "(SD 1.5 and pocket, SDXL, Z-Image)."
        )
    return FAMILIES[place.pipeline]


def describe(folder: Path) -> ModelFacts:
    """What the weights at a place are, from configurations and headers. Raises `SpecError` when Jogak cannot
    run it."""
    return _describe(open_place(folder))


def _describe(place: Place) -> ModelFacts:
    family = family_of(place)
    if absent := place.absent(family.parts):
        hint = (
            "bring an autoencoder with --vae"
            if absent[0] == "vae"
            else "copy the whole model, or train it (for pocket: pocket/README.md)"
        )
        raise SpecError(f"{place.path} lacks the folder {absent[0]}/; {hint}.")
    denoiser, vae = place.config(family.denoiser), place.config("vae")
    if denoiser.get("in_channels") != (denoiser.get("out_channels") or denoiser.get("in_channels")):
        raise SpecError(
            f"{place.path} takes {denoiser.get('in_channels')} channels (inpainting?); give a text-to-image model."
        )
    try:
        width, channels = int(denoiser[family.width]), int(vae["latent_channels"])
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        size = int(denoiser.get("sample_size") or 1024 // factor) * factor
        # some denoisers take 2×2 latents as one token, with four times the channels
        patch = 4 if family.denoiser == "transformer" else 1
        fits = int(denoiser["in_channels"]) in (channels, channels * patch)
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(
            f"{place.path}: a config.json of {family.denoiser}/ or vae/ is incomplete ({str(error)[:100]})."
        ) from None
    if not fits:
        raise SpecError(
            f"{place.path}: its {family.denoiser}/ and vae/ do not belong together; copy both from one model."
        )
    name = family.name
    if name == "latent":
        name = {(384, 8): "pocket", (768, 4): "sd15", (1024, 4): "sd2"}.get((width, channels), name)
    return ModelFacts(name, width, channels, size, round(_weight_bytes(place, family) / 1e6))


def _weight_bytes(place: Place, family: Family) -> int:
    """Bytes of the weights that are read, as they are stored."""
    return sum(
        facts.end - facts.start
        for part in family.parts
        if part != "scheduler" and not part.startswith("tokenizer")
        for facts in place.headers(part).values()
    )


def _keep_set(model: Path, vae: Path | None, embeddings: Sequence[Path]) -> Path:
    """A file in the cache folder that describes the model with these parts, so that a path says it all."""
    chosen: dict[str, Any] = {"model": str(model.absolute())}
    if model.suffix.lower() in SET_FILES and model.is_file():
        kept = ModelSet.read(model)
        chosen = {
            "model": _beside(model, kept.model), "vae": _beside(model, kept.vae), "lora": _beside(model, kept.lora),
            "embeddings": [_beside(model, name) for name in kept.embeddings],
        }  # fmt: skip
    for path in (*embeddings, *([vae] if vae else [])):
        if not path.exists():
            raise SpecError(f"{path} is not there; give the path of a safetensors file or a folder.")
    chosen["vae"] = str(vae.absolute()) if vae else chosen.get("vae")
    chosen["embeddings"] = [*chosen.get("embeddings", ()), *(str(path.absolute()) for path in embeddings)]
    data = ModelSet.parse(chosen).to_json().encode()
    folder = cache_folder() / "sets"
    target = folder / f"{hashlib.sha256(data).hexdigest()[:32]}.json"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(target, folder / f".{uuid.uuid4().hex}.tmp", data)
    return target


def _beside(file: Path, name: str | None) -> str | None:
    """A name in a set's file, made independent of where that file lies."""
    return (
        name if name is None or name in CATALOGUE else str((file.parent / Path(name).expanduser()).absolute())
    )


def threads() -> int:
    """Threads a model runs on: `$JOGAK_THREADS`, `$OMP_NUM_THREADS`, or every processor this process may use.

    It is part of a model's numeric mode, since sums split otherwise round otherwise.
    """
    for name in ("JOGAK_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "")
        if text.isdecimal() and 1 <= int(text) <= 1024:
            return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_of(numeric: str) -> Memory:
    """The memory settings that a numeric mode names."""
    mode = numeric.rpartition("-t")[0] or numeric
    _, *names = mode.split("+")
    return Memory.of_names(",".join(name.replace("_", "-") for name in names))


def _numeric(backend: Backend | None, family: Family, memory: Memory) -> str:
    wish = backend or os.environ.get("JOGAK_BACKEND") or "auto"
    if wish not in ("auto", "openvino", "torch"):
        raise SpecError(f'the backend "{wish[:40]}" is not known; give auto, openvino or torch.')
    settings = "".join("+" + name.replace("-", "_") for name in memory.names())
    if wish != "openvino" and has_cuda():
        return f"torch-cuda-{family.half}{settings}"
    if wish == "openvino" and not family.openvino:
        raise SpecError(f"OpenVINO does not run this family ({family.name}) yet; give --backend torch.")
    if wish == "openvino" and settings:
        raise SpecError(f"the memory settings {', '.join(memory.names())} are torch's; give --backend torch.")
    if wish == "torch" or not family.openvino or settings:
        return f"torch-fp32{settings}-t{threads()}"
    return f"openvino-{_precision()}-t{threads()}"


def _precision() -> str:
    """`bf16` where the CPU computes in bfloat16 (AVX-512 BF16, AMX), else `f32`."""
    import openvino

    return "bf16" if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def has_cuda() -> bool:
    """Whether torch can use a GPU here. Asks for the driver first: importing torch costs a second, which a machine without a GPU need not
    pay."""
    import ctypes

    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()
