"""Pocket's depth net in its true layout, small and untrained, for tests that must load it and read with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jogak.models.depth import NAME, STEM, DepthNet


def write_depth(folder: Path, width: int = 8, side: int = 64, seed: int = 0) -> Path:
    """A folder as the export writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    state = DepthNet(width).state_dict()
    save_file({name: value.half() for name, value in state.items()}, folder / f"{STEM}.safetensors")
    (folder / "config.json").write_text(
        json.dumps({"model": NAME, "width": width, "side": side}), encoding="utf-8"
    )
    return folder


def ship_depth(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Let a folder stand for the weights that Jogak ships; where it does not exist, none are shipped."""
    monkeypatch.setattr("jogak.models.depth.FOLDER", folder)
    return folder
