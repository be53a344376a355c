"""Pocket's keypoint net in its true layout, small and untrained, for tests that must load it and read with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jogak.models.keypoints import JOINTS, NAME, STEM, STRIDE, KeypointNet


def a_keypoint_net(width: int = 8, seed: int = 0) -> KeypointNet:
    """It says of every joint that it is there: where, is chance."""
    torch.manual_seed(seed)
    net = KeypointNet(width)
    with torch.no_grad():
        net.absent.weight.zero_()
        net.absent.bias.fill_(-20)
    return net.eval()


def write_keypoints(folder: Path, width: int = 8, side: int = 64, seed: int = 0) -> Path:
    """A folder as the export writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = a_keypoint_net(width, seed).state_dict()
    save_file({name: value.half() for name, value in state.items()}, folder / f"{STEM}.safetensors")
    facts = {"model": NAME, "width": width, "joints": JOINTS, "stride": STRIDE, "side": side}
    (folder / "config.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def ship_keypoints(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Let a folder stand for the weights that Jogak ships; where it does not exist, none are shipped."""
    monkeypatch.setattr("jogak.models.keypoints.FOLDER", folder)
    return folder
