"""A training that is stopped, crashes or is killed goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from jogak.spec import SpecError
from jogak.store import Cancelled, Progress, Store
from jogak.studio.train import plan, train
from tests.tiny_training import TINY, losses, request, stopped_after

SCRIPT = """
import sys
from cyclopts import App
app = App()
app.command("jogak.cli.train:train", name="train")
app(sys.argv[1:], exit_on_error=False)
"""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": 0.9, "text_encoder": True, "flip": True, "accumulate": 2, "scheduler": "constant"},
        {
            "kind": "dora",
            "masked_loss": True,
            "noise_offset": 0.05,
            "gradient_checkpointing": True,
            "precision": "bf16",
            "tag_dropout": 0.5,
        },
    ],
    ids=["plain", "ema-text-flip", "dora-mask-bf16-tags"],
)
def test_going_on_gives_the_very_same_curve(
    changes: dict[str, Any], base: Path, pictures: Path, store: Store, tmp_path: Path
) -> None:
    planned = plan(request(base, **changes), pictures)
    whole = train(store, planned, tmp_path / "whole")
    cancel, on_progress = stopped_after(8)
    with pytest.raises(Cancelled):
        train(store, planned, tmp_path / "parts", on_progress=on_progress, cancel=cancel)
    assert losses(tmp_path / "parts")[-1]["step"] == 8
    rest = train(store, planned, tmp_path / "parts")
    assert rest.now == 4
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for one, other in zip(whole.checkpoints, rest.checkpoints, strict=True):
        assert one.read_bytes() == other.read_bytes(), "byte for byte"


def test_after_a_crash_it_goes_on_from_the_last_state(
    base: Path, pictures: Path, store: Store, tmp_path: Path
) -> None:
    planned = plan(request(base, sample_every=0), pictures)
    train(store, planned, tmp_path / "whole")

    def crash(told: Progress) -> None:
        if told.text.startswith("loss") and told.done == 9:
            raise MemoryError("planted")

    with pytest.raises(MemoryError):
        train(store, planned, tmp_path / "parts", on_progress=crash)
    rest = train(store, planned, tmp_path / "parts")
    assert rest.now == 6, "the state of step 6, where the checkpoint was written"
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_other_settings_or_pictures_do_not_mix(
    base: Path, pictures: Path, store: Store, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(store, plan(request(base, steps=2), pictures), run)
    with pytest.raises(SpecError, match="other settings"):
        train(store, plan(request(base, steps=2, rank=4), pictures), run)
    longer = train(store, plan(request(base, steps=4, sample_every=0), pictures), run)
    assert longer.now == 2, "more steps are no other training"
    less = tmp_path / "less"
    less.mkdir()
    for i in range(3):
        (less / f"{i}.png").write_bytes((pictures / "2_sk_fox fox" / f"{i}.png").read_bytes())
    with pytest.raises(SpecError, match="other pictures"):
        train(store, plan(request(base, steps=4), less), run)


@pytest.mark.slow
def test_a_killed_training_goes_on_with_the_very_same_curve(
    base: Path, pictures: Path, tmp_path: Path
) -> None:
    """A real process, killed with SIGKILL in the middle, three times over; then the same command until it is done."""
    settings = {**TINY, "steps": 60, "save_every": 20, "state_every": 7, "base": str(base)}
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    environment = os.environ | {"JOGAK_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}

    def start(run: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SCRIPT, "train", str(pictures), "-o", str(tmp_path / run), *flags]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    assert start("whole").wait(300) == 0
    for until in (11, 25, 41):
        process = start("parts")
        deadline = time.monotonic() + 200
        while not any(line["step"] >= until for line in losses(tmp_path / "parts")):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    assert start("parts").wait(300) == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for name in ("fox.safetensors", "fox-step00000040.safetensors", "state.safetensors"):
        one, other = load_file(tmp_path / "parts" / name), load_file(tmp_path / "whole" / name)
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one), name
