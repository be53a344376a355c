"""What a LoRA file tells of itself: its build, what it was trained on, and how much it changes where."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from jogak.adapters.kohya import lora_hash
from jogak.adapters.lora_files import Change, LoraWeights, read_lora

MAX_TAGS = 20
"""Tags that are told, the most frequent first."""
MAX_VALUE = 200
"""Characters of one metadata value that are told."""


@dataclass(frozen=True)
class LoraInfo:
    """What `lora_info` found. Texts from the file hold no control characters."""

    name: str
    path: Path
    bytes: int
    hash: str
    """sha256 of the weights, which infotext shortens to 12 digits"""
    kind: str
    base: str
    base_model: str
    """the name of the model it was trained on, as the file tells it; may be empty"""
    ranks: Mapping[int, int]
    """rank -> modules that have it"""
    alphas: Mapping[float, int]
    """alpha (scale times rank) -> modules that have it"""
    modules: Mapping[str, int]
    """unet, text, text2 -> modules changed"""
    parameters: int
    dtypes: tuple[str, ...]
    title: str
    trigger: str
    """the trigger phrase; may be empty"""
    trigger_is_told: bool
    """False where it is only the tag that every caption had"""
    tags: tuple[tuple[str, int], ...]
    """tag -> captions that had it, the most frequent first"""
    training: Mapping[str, str]
    """facts of the training, in words -> value"""
    norms: Mapping[str, float]
    """block -> Frobenius norm of all its changes together at strength 1, before any DoRA"""


_TRAINING = {
    "ss_num_train_images": "pictures",
    "ss_epoch": "epochs",
    "ss_num_epochs": "epochs planned",
    "ss_steps": "steps",
    "ss_max_train_steps": "steps planned",
    "ss_total_batch_size": "batch",
    "ss_batch_size_per_device": "batch",
    "ss_resolution": "resolution",
    "modelspec.resolution": "resolution",
    "ss_learning_rate": "learning rate",
    "ss_unet_lr": "learning rate, UNet",
    "ss_text_encoder_lr": "learning rate, text encoder",
    "ss_lr_scheduler": "schedule",
    "ss_optimizer": "optimiser",
    "ss_min_snr_gamma": "min-SNR gamma",
    "ss_noise_offset": "noise offset",
    "ss_clip_skip": "CLIP skip",
    "ss_mixed_precision": "precision",
    "ss_seed": "seed",
    "ss_network_module": "network",
    "ss_training_comment": "comment",
}


def lora_info(file: Path | LoraWeights) -> LoraInfo:
    """Everything a LoRA file tells; reads its weights once. Raises `SpecError` as `read_lora` does, and for NaN."""
    weights = read_lora(file) if isinstance(file, Path) else file
    ranks: Counter[int] = Counter()
    alphas: Counter[float] = Counter()
    squares: defaultdict[str, float] = defaultdict(float)
    for change in weights.changes():
        ranks[change.part.rank] += 1
        alphas[round(change.alpha, 4)] += 1
        squares[change.part.block] += squared_norm(change)
    facts = [fact for part in weights.parts for fact in part.facts.values()]
    told = weights.metadata
    tags = _tags(told.get("ss_tag_frequency", ""))
    trigger = plain(told.get("modelspec.trigger_phrase", ""))
    return LoraInfo(
        name=weights.name,
        path=weights.files[0],
        bytes=sum(path.stat().st_size for path in weights.files),
        hash=lora_hash(weights.files[0]),
        kind=weights.kind,
        base=weights.base,
        base_model=plain(told.get("ss_sd_model_name", "")),
        ranks=dict(sorted(ranks.items())),
        alphas=dict(sorted(alphas.items())),
        modules=dict(Counter(part.target for part in weights.parts)),
        parameters=sum(math.prod(fact.shape) for fact in facts),
        dtypes=tuple(sorted({fact.dtype for fact in facts if fact.shape})),
        title=plain(told.get("modelspec.title", "") or told.get("ss_output_name", "")),
        trigger=trigger or _in_every_caption(tags, told.get("ss_num_train_images", "")),
        trigger_is_told=bool(trigger),
        tags=tags[:MAX_TAGS],
        training=_training(told),
        norms={block: math.sqrt(squares[block]) for block in sorted(squares, key=_block_order)},
    )


def squared_norm(change: Change) -> float:
    """The squared Frobenius norm of a change at strength 1, without making it where its factors tell."""
    if (factors := change.factors()) is not None:
        up, down = factors
        # ‖UD‖² = tr(UᵀU · DDᵀ): two small matrices
        return max(0.0, ((up.T @ up).double() * (down @ down.T)).sum().item()) * change.scale**2
    return torch.linalg.vector_norm(change.delta().double()).item() ** 2


def plain(text: str) -> str:
    """A text from a file as one line without control characters, which could steer a terminal, and not too
    long."""
    line = " ".join(text[: 2 * MAX_VALUE].split())
    line = "".join(sign if sign.isprintable() else "�" for sign in line)
    return line if len(line) <= MAX_VALUE else line[: MAX_VALUE - 1] + "…"


def _tags(text: str) -> tuple[tuple[str, int], ...]:
    """kohya's `ss_tag_frequency`: {folder: {tag: captions}}, summed over folders."""
    try:
        folders = json.loads(text or "{}")
        counts: Counter[str] = Counter()
        for tags in folders.values():
            for tag, count in tags.items():
                counts[plain(tag)] += int(count)
    except (ValueError, RecursionError, AttributeError, TypeError, OverflowError):
        return ()  # metadata are for people: unreadable ones are left out
    return tuple(counts.most_common())


def _in_every_caption(tags: tuple[tuple[str, int], ...], pictures: str) -> str:
    """The tag that as many captions had as there are pictures; kohya's folders of trigger words look so."""
    full = [tag for tag, count in tags if pictures.isdecimal() and str(count) == pictures and count > 1]
    return full[0] if len(full) == 1 else ""


def _training(told: Mapping[str, str]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for key, words in _TRAINING.items():
        value = plain(told.get(key, ""))
        if value and value != "None":
            facts.setdefault(words, value)
    try:
        begun, ended = (float(told[f"ss_training_{end}_at"]) for end in ("started", "finished"))
        facts["took"] = f"{max(0.0, ended - begun) / 60:.0f} min"
        facts["trained on"] = time.strftime("%Y-%m-%d", time.gmtime(ended))
    except (KeyError, ValueError, OverflowError, OSError):
        pass
    return facts


def _block_order(block: str) -> tuple[int, str]:
    side, _, number = block.partition(".")
    order = ("down", "mid", "up", "other", "text", "text2")
    return order.index(side), number.zfill(3)
