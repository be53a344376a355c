"""Where the parts of a model lie, and how to get at them: a folder in the layout of diffusers, one checkpoint
file, or a set of these.

Whatever the place, its parts come out alike: configurations as diffusers and transformers write them, and
weights under their names.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jogak.models.recognise import recognise
from jogak.models.safe import (
    TensorFacts,
    file_digest,
    folder_digest,
    read_header,
    read_json,
    read_part_headers,
    read_tensors,
    read_weights,
)
from jogak.spec import SpecError
from jogak.spec.models import ModelSet

if TYPE_CHECKING:
    from torch import Tensor

SET_FILES = (".json", ".yaml", ".yml")
"""Endings of a file that describes a `ModelSet`."""


class Place(ABC):
    """Where one model's parts lie. `part` is the name of a folder in diffusers' layout, as in `unet`."""

    path: Path

    @property
    @abstractmethod
    def pipeline(self) -> str:
        """The name of diffusers' pipeline for it, which tells the family."""

    @property
    def embeddings(self) -> tuple[Path, ...]:
        """Files of textual inversions that the text encoder learns."""
        return ()

    @abstractmethod
    def absent(self, parts: Collection[str]) -> list[str]:
        """Those of `parts` that are not there."""

    @abstractmethod
    def config(self, part: str) -> dict[str, Any]: ...

    @abstractmethod
    def headers(self, part: str) -> Mapping[str, TensorFacts]:
        """Types and shapes of a part's tensors, under the names the file gives them; no weight is read."""

    @abstractmethod
    def weights(self, part: str) -> dict[str, Tensor]:
        """A part's tensors in the type they are stored in, under the names of diffusers or transformers."""

    @abstractmethod
    def tokenizer(self, part: str) -> Path:
        """The folder that holds a tokenizer's files."""

    @abstractmethod
    def digest(self, parts: Collection[str]) -> str:
        """sha256 (hex) over the weights and configurations of these parts."""


def open_place(path: Path) -> Place:
    """The place at `path`. Raises `SpecError` when nothing there is a model."""
    if path.suffix.lower() in SET_FILES and path.is_file():
        return SetPlace(path)
    if path.is_file():
        from jogak.models.single_file import SingleFile

        return SingleFile(path)
    return FolderPlace(path)


class FolderPlace(Place):
    """A folder in the layout of diffusers: model_index.json, unet/, vae/, …"""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def pipeline(self) -> str:
        if not (self.path / "model_index.json").is_file():
            raise SpecError(
                f"{self.path} has no model_index.json; give a folder in the layout of diffusers (unet/, vae/, …) "
                "or one checkpoint file (.safetensors)."
            )
        return str(_object(self.path / "model_index.json").get("_class_name"))

    def absent(self, parts: Collection[str]) -> list[str]:
        return [part for part in parts if not (self.path / part).is_dir()]

    def config(self, part: str) -> dict[str, Any]:
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        return _object(self.path / part / name)

    def headers(self, part: str) -> Mapping[str, TensorFacts]:
        return read_part_headers(self.path / part, _stem(part))

    def weights(self, part: str) -> dict[str, Tensor]:
        return read_weights(self.path / part, _stem(part))

    def tokenizer(self, part: str) -> Path:
        return self.path / part

    def digest(self, parts: Collection[str]) -> str:
        return folder_digest(self.path, parts)


class SetPlace(Place):
    """A model with an autoencoder, a LoRA or words from elsewhere; see `jogak.spec.models.ModelSet`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        chosen = ModelSet.read(path)
        base = self._found(chosen.model)
        if base.suffix.lower() in SET_FILES:
            raise SpecError(
                f"{path}: its model {chosen.model} is a set itself; name a folder or a checkpoint."
            )
        self._base = open_place(base)
        self._vae = self._found(chosen.vae) if chosen.vae else None
        self._lora = self._found(chosen.lora) if chosen.lora else None
        self._embeddings = tuple(self._found(name) for name in chosen.embeddings)

    def _found(self, name: str) -> Path:
        from jogak.models.catalogue import CATALOGUE

        if name in CATALOGUE:
            return CATALOGUE[name].folder
        found = self.path.parent / Path(name).expanduser()
        if not found.exists():
            raise SpecError(f"{self.path} names {name}, but {found} is not there; correct the path.")
        return found

    @property
    def pipeline(self) -> str:
        return self._base.pipeline

    @property
    def embeddings(self) -> tuple[Path, ...]:
        return self._embeddings

    def absent(self, parts: Collection[str]) -> list[str]:
        return self._base.absent([part for part in parts if part != "vae" or self._vae is None])

    def config(self, part: str) -> dict[str, Any]:
        if part == "vae" and self._vae is not None:
            return vae_config(self._vae, self._usual_vae())
        return self._base.config(part)

    def _usual_vae(self) -> dict[str, Any]:
        """The configuration that the base's own autoencoder has or, of a checkpoint without one, would have."""
        return self._base.config("vae")

    def headers(self, part: str) -> Mapping[str, TensorFacts]:
        if part == "vae" and self._vae is not None:
            return vae_headers(self._vae)
        return self._base.headers(part)

    def weights(self, part: str) -> dict[str, Tensor]:
        if part == "vae" and self._vae is not None:
            return vae_weights(self._vae, self.config("vae"))
        weights = self._base.weights(part)
        return weights if self._lora is None else with_lora(weights, part, self._lora)

    def tokenizer(self, part: str) -> Path:
        return self._base.tokenizer(part)

    def digest(self, parts: Collection[str]) -> str:
        total = hashlib.sha256(self._base.digest([part for part in parts if part != "vae"]).encode())
        if self._vae is not None:
            config = json.dumps(self.config("vae"), sort_keys=True)
            total.update(f"\nvae {file_digest(_vae_file(self._vae))} {config}".encode())
        else:
            total.update(f"\nvae {self._base.digest(['vae'])}".encode())
        if self._lora is not None:
            total.update(f"\nlora {file_digest(self._lora)}".encode())
        for file in self._embeddings:
            total.update(f"\n{file.stem} {file_digest(file)}".encode())
        return total.hexdigest()


def with_lora(weights: Mapping[str, Tensor], part: str, file: Path) -> dict[str, Tensor]:
    """A part's weights with what a LoRA file in PEFT's layout (`unet.….lora_A.weight`, scale 1) has for it added, in
    float32. Raises `SpecError` for a factor that has no weight to go to, no other half, or another shape."""
    names = [name for name in read_header(file).tensors if name.startswith(f"{part}.")]
    factors, added = read_tensors(file, names), dict(weights)
    for name in names:
        target, _, kind = name.removeprefix(f"{part}.").rpartition(".lora_")
        whole, up = weights.get(f"{target}.weight"), factors.get(f"{part}.{target}.lora_B.weight")
        down = factors.get(f"{part}.{target}.lora_A.weight")
        if kind not in ("A.weight", "B.weight") or whole is None or up is None or down is None or (
            (len(up), *down[0].shape, up[0].numel()) != (len(whole), *whole[0].shape, len(down))
        ):  # fmt: skip
            raise SpecError(
                f"{file}: {name} is no factor of a LoRA in PEFT's layout for this model; bake it in no set, put it on "
                "with --lora."
            )
        if kind == "A.weight":
            change = up.float().flatten(1) @ down.float().flatten(1)
            added[f"{target}.weight"] = whole.float() + change.view_as(whole)
    return added


# an autoencoder by itself: a folder of its own, the vae/ of a model, a file of it alone, or a whole checkpoint


def vae_config(path: Path, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Its configuration; for a file, `usual` with the widths that its header shows."""
    if path.is_dir():
        folder = _vae_folder(path)
        config = _object(folder / "config.json")
        # published folders of autoencoders leave out what was the default when they were made
        return {"scaling_factor": usual.get("scaling_factor", 0.18215)} | config
    if _is_diffusers_vae(vae_headers(path)):
        return dict(usual)
    from jogak.models.single_file import infer_vae

    return infer_vae(_shapes(vae_headers(path)), usual, path)


def vae_headers(path: Path) -> Mapping[str, TensorFacts]:
    """Types and shapes of its tensors, without the prefix that they have inside a whole checkpoint."""
    header = read_header(_vae_file(path))
    inside = {name: facts for name, facts in header.tensors.items() if name.startswith(_INSIDE)}
    if inside:
        return {name.removeprefix(_INSIDE): facts for name, facts in inside.items()}
    if recognise(header).kind != "vae":
        raise SpecError(f"{path} is no autoencoder; give a VAE file or folder, or a whole checkpoint.")
    return header.tensors


def vae_weights(path: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Its weights under diffusers' names."""
    headers, file = vae_headers(path), _vae_file(path)
    whole = any(name.startswith(_INSIDE) for name in read_header(file).tensors)
    prefix = _INSIDE if whole else ""
    tensors = read_tensors(file, [prefix + name for name in headers])
    weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if _is_diffusers_vae(headers):
        return weights
    from jogak.models.single_file import convert_vae

    return convert_vae(weights, config)


_INSIDE = "first_stage_model."


def _is_diffusers_vae(names: Collection[str]) -> bool:
    return any(name.startswith("encoder.down_blocks.") for name in names)


def _vae_folder(path: Path) -> Path:
    for folder in (path, path / "vae"):
        if (folder / "config.json").is_file():
            return folder
    raise SpecError(
        f"{path} holds no autoencoder (no config.json, no vae/config.json); give its folder or file."
    )


def _vae_file(path: Path) -> Path:
    if path.is_file():
        return path
    folder = _vae_folder(path)
    for name in ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"):
        if (folder / name).is_file():
            return folder / name
    read_part_headers(folder, "diffusion_pytorch_model")  # says what is there instead, and how to convert it
    raise SpecError(f"{folder}: an autoencoder in several files is not read; join them into one.")


def _shapes(headers: Mapping[str, TensorFacts]) -> dict[str, tuple[int, ...]]:
    return {name: facts.shape for name, facts in headers.items()}


def _stem(part: str) -> str:
    """Text encoders are saved by transformers, the rest by diffusers; each has its own name for the file."""
    return "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"


def _object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise SpecError(f"{path} is no JSON object; fetch the file again.")
    return content
