"""For tests of training: a build folder as `pocket/train/v1.sh` finds it, and a training that is killed."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import torch

from jogak.models.lexicon import lexicon
from pocket.data.scenes import DECOR
from pocket.data.sprites import SIZE, Sprites, save
from pocket.train.common import save_shards
from pocket.train.nets import build_clip, build_unet, build_vae

WIDTHS, LAYERS = (32, 64, 64), 1
TOKENIZER = Path("src/jogak/models/weights/pocket/tokenizer")


def write_build(folder: Path) -> Path:
    """A build folder as training leaves it: a few drawings, and untrained shards of every part."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    decor = {name for row in DECOR.values() for name in row[0]}
    ids = [c.id for c in lexicon().concepts if c.id in decor] + [c.id for c in lexicon().concepts[:6]]
    keys = [(concept, "flat") for concept in dict.fromkeys(ids)]
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    disc = (x**2 + y**2 < 0.2).astype(np.uint8)
    rng = np.random.default_rng(0)
    pixels = [np.concatenate([disc[None] * rng.integers(40, 255, (3, 1, 1)), disc[None] * 255]) for _ in keys]
    save(
        Sprites(np.stack(pixels).astype(np.uint8), {key: i for i, key in enumerate(keys)}),
        folder / "sprites.npz",
    )
    for name in ("unet", "vae", "clip"):
        (folder / name).mkdir()
    save_shards(build_unet(WIDTHS, LAYERS).state_dict(), folder / "unet", "unet")
    save_shards(build_vae().state_dict(), folder / "vae", "vae")
    clip = build_clip()
    save_shards(clip.text_model.state_dict(), folder / "clip", "text")
    save_shards(clip.state_dict(), folder / "clip", "pocket")
    return folder


def killed(command: list[str], state: Path) -> float:
    """Starts a training, kills it once it has saved `state`, and says where on its schedule that was, in 0..1."""
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    waited = time.monotonic() + 120
    while not state.exists() and run.poll() is None and time.monotonic() < waited:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, run.stderr and run.stderr.read()
    reached = torch.load(state, weights_only=True)["at"]
    assert 0 < reached < 1
    return reached
