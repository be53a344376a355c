"""What a training leaves on disk: its state, from which it goes on exactly, and LoRA files in kohya's format."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from jogak.models.safe import read_header
from jogak.spec import JogakError, SpecError
from jogak.spec.dataset import Dataset
from jogak.spec.training import TrainRequest
from jogak.store.files import write_whole

STATE = "state.safetensors"
MAX_STATE_JSON = 20_000_000


@dataclass(frozen=True)
class State:
    """Everything that a training is, between two steps.

    Noise, timesteps, dropped captions and the order of the pictures depend on seed and step alone (see
    `objective.generator_for` and `order.Order`), and so does the learning rate: the step's number stands for
    all of their states.
    """

    step: int
    """optimizer steps done"""
    settings: str
    """digest of what must not change between stopping and going on"""
    weights: Mapping[str, Tensor]
    optimizer: Any
    """`state_dict()` of the optimizer: tensors inside plain data"""
    ema: Mapping[str, Tensor]
    scaler: Mapping[str, Any]
    """of fp16's loss scaling; empty otherwise"""


def save_state(path: Path, state: State) -> None:
    """Write the state whole or not at all, into one safetensors file: plain data lies in its header as JSON."""
    tensors: dict[str, Tensor] = {}
    plain = {
        "step": state.step,
        "settings": state.settings,
        "weights": _apart(dict(state.weights), "weights", tensors),
        "optimizer": _apart(state.optimizer, "optimizer", tensors),
        "ema": _apart(dict(state.ema), "ema", tensors),
        "scaler": _apart(dict(state.scaler), "scaler", tensors),
    }
    data = save(tensors, {"jogak_state": json.dumps(plain)})
    _write(path, data)


def load_state(path: Path) -> State:
    """Raises `SpecError` when the file is not a state of ours, or damaged."""
    try:
        header = read_header(path)
        plain = json.loads(header.metadata["jogak_state"][:MAX_STATE_JSON])
        tensors = load_file(path)
        parts = {name: _together(plain[name], tensors) for name in ("weights", "optimizer", "ema", "scaler")}
        return State(step=int(plain["step"]), settings=str(plain["settings"]), **parts)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise SpecError(
            f"{path} is not the state of a training ({' '.join(str(error).split())[:120]}); remove it to begin anew."
        ) from None


def _apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Plain data with each tensor replaced by where it lies: {"tensor": name}. Keys that are whole numbers, as
    optimizers number their parameters, are kept as such."""
    if isinstance(value, Tensor):
        # safetensors keeps no two names for one memory, and an optimizer's tensors may be views
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"pairs": [[key, _apart(part, f"{name}.{key}", tensors)] for key, part in value.items()]}
    if isinstance(value, (list, tuple)):
        parts = [_apart(part, f"{name}.{i}", tensors) for i, part in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": parts}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name}: {type(value).__name__} cannot be kept without pickle")


def _together(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    kind, content = next(iter(value.items()))
    if kind == "tensor":
        return tensors[content]
    if kind == "pairs":
        return {key: _together(part, tensors) for key, part in content}
    parts = [_together(part, tensors) for part in content]
    return tuple(parts) if kind == "tuple" else parts


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"), data)
    except OSError as error:
        raise JogakError(
            f"Cannot write {path}: {error.strerror or error}. Make room there; the same command then goes on."
        ) from error


def write_text(path: Path, text: str) -> None:
    """A small text file, whole or not at all."""
    _write(path, text.encode())


class LossLog:
    """`losses.jsonl`: one line a step, and one for each validation. A process that is killed tears at most the
    last line; going on from step n drops what was logged beyond n."""

    def __init__(self, path: Path, done: int) -> None:
        self.path = path
        kept = [line for line in read_log(path) if line["step"] <= done] if done else []
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def add(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a loss log; a torn last line is left out."""
    lines: list[dict[str, Any]] = []
    with suppress(FileNotFoundError):
        for text in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and isinstance(line.get("step"), int):
                    lines.append(line)
    return lines


def settings_digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def checkpoint_name(name: str, step: int | None = None) -> str:
    """As kohya names them: `lora.safetensors` at the end, `lora-step00000100.safetensors` on the way."""
    return f"{name}.safetensors" if step is None else f"{name}-step{step:08d}.safetensors"


def metadata(
    request: TrainRequest,
    data: Dataset,
    *,
    architecture: str,
    version: str,
    base_name: str,
    base_digest: str,
    step: int,
    epoch: int,
    prediction: str,
    trigger: str,
) -> dict[str, str]:
    """The header of a LoRA file, in the words of kohya's scripts and of modelspec 1.0.0; all strings.

    `sshs_model_hash` and `sshs_legacy_hash` are taken over the tensors as written, see `adapters.kohya`.
    """
    module, arguments = _MODULES[request.kind]
    folders: dict[str, dict[str, int]] = {}
    tags: dict[str, Counter[str]] = {}
    for image in data.images:
        folder = (
            image.file.rpartition("/")[0].rpartition("/")[2]
            or f"{image.repeats}_{data.class_name or 'pictures'}"
        )
        facts = folders.setdefault(folder, {"n_repeats": image.repeats, "img_count": 0})
        facts["img_count"] += 1
        tags.setdefault(folder, Counter()).update(
            tag.strip() for tag in image.caption.split(",") if tag.strip()
        )
    size = request.resolution
    return {
        "ss_network_module": module,
        "ss_network_args": json.dumps(arguments),
        "ss_network_dim": str(request.rank),
        "ss_network_alpha": str(request.alpha),
        "ss_base_model_version": version,
        "ss_sd_model_name": base_name,
        "ss_sd_model_hash": base_digest[:10],
        "ss_new_sd_model_hash": base_digest,
        "ss_v2": str(version.startswith("sd_v2")),
        "ss_tag_frequency": json.dumps(tags, ensure_ascii=False),
        "ss_dataset_dirs": json.dumps(folders, ensure_ascii=False),
        "ss_num_train_images": str(sum(image.repeats for image in data.images)),
        "ss_num_reg_images": "0",
        "ss_epoch": str(epoch),
        "ss_steps": str(step),
        "ss_max_train_steps": str(request.steps),
        "ss_seed": str(request.seed),
        "ss_output_name": request.name,
        "ss_learning_rate": str(request.lr),
        "ss_unet_lr": str(request.lr),
        "ss_text_encoder_lr": str(request.text_lr) if request.text_encoder else "None",
        "ss_lr_scheduler": request.scheduler,
        "ss_optimizer": request.optimizer,
        "ss_min_snr_gamma": str(request.min_snr_gamma) if request.min_snr_gamma else "None",
        "ss_noise_offset": str(request.noise_offset),
        "ss_total_batch_size": str(request.batch * request.accumulate),
        "ss_resolution": f"({size}, {size})",
        "ss_mixed_precision": {"fp32": "no"}.get(request.precision, request.precision),
        "ss_caption_dropout_rate": str(request.caption_dropout),
        "ss_caption_tag_dropout_rate": str(request.tag_dropout),
        "ss_prior_loss_weight": str(request.prior_weight),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": request.name,
        "modelspec.resolution": f"{size}x{size}",
        "modelspec.prediction_type": {"v_prediction": "v"}.get(prediction, prediction),
    } | ({"modelspec.trigger_phrase": trigger} if trigger else {})  # fmt: skip


_MODULES: dict[str, tuple[str, dict[str, str]]] = {
    "lora": ("networks.lora", {}),
    "dora": ("lycoris.kohya", {"algo": "lora", "dora_wd": "True"}),
    "loha": ("lycoris.kohya", {"algo": "loha"}),
    "lokr": ("lycoris.kohya", {"algo": "lokr", "factor": "-1"}),
}


def half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU in float16, as files hold them."""
    return {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in tensors.items()}
