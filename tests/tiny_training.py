"""A tiny base, six tiny pictures and the settings of a training of seconds."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from jogak.spec.training import TrainRequest
from jogak.store import Progress
from jogak.training.checkpoint import read_log

TINY: dict[str, Any] = {
    "steps": 12, "batch": 2, "resolution": 64, "bucket_step": 32, "rank": 2, "alpha": 2.0, "lr": 1e-2,
    "precision": "fp32", "save_every": 6, "validate_every": 6, "sample_every": 6, "sample_steps": 1, "state_every": 5,
    "trigger": "sk_fox", "name": "fox",
}  # fmt: skip


def make_pictures(folder: Path) -> Path:
    """Six pictures in kohya's layout; one is wide, one lacks a caption, one is partly transparent."""
    inside = folder / "2_sk_fox fox"
    inside.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for i in range(6):
        width, height = (96, 64) if i == 5 else (64, 64)
        blocks = rng.integers(0, 256, (height // 8, width // 8, 4), dtype=np.uint8)
        pixels = blocks.repeat(8, 0).repeat(8, 1)
        pixels[..., 3] = 255
        if i == 2:
            pixels[:, :32, 3] = 0
        PIL.Image.fromarray(pixels if i == 2 else pixels[..., :3]).save(inside / f"{i}.png")
        if i != 4:
            (inside / f"{i}.txt").write_text(f"sk_fox fox number {i}, in the snow\n")
    return folder


def request(base: Path, **changes: Any) -> TrainRequest:
    return TrainRequest.parse(TINY | {"base": str(base)} | changes)


def losses(folder: Path) -> list[dict[str, Any]]:
    return read_log(folder / "losses.jsonl")


def stopped_after(step: int) -> tuple[threading.Event, Any]:
    """A cancel event, and a callback that sets it once the training comes to this step."""
    cancel = threading.Event()

    def on_progress(told: Progress) -> None:
        if told.text.startswith("loss") and told.done == step:
            cancel.set()

    return cancel, on_progress
