"""What each memory setting saves: `python -m benchmarks.memory [--family sd15|sdxl] [--size 512]`.

A full-size model of the published layout (weights of zeros, which compute as slowly as any) is loaded and run in
a process of its own for each setting. Counted is resident memory that belongs to no file, looked at every 10 ms:
pages of the weight file that are merely mapped go when somebody else needs the room. Settings that move weights
between GPU and CPU do nothing without CUDA and are not measured here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SETTINGS = ("", "attention-slices", "vae-tiles", "fp8", "text-int8", "fp8,text-int8,vae-tiles")


class Peak:
    """The most that was resident since the last look."""

    def __init__(self) -> None:
        self._most = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, _now())
            time.sleep(0.01)

    def look(self) -> float:
        most, self._most = max(self._most, _now()), 0.0
        return most


def measure(path: str, names: str, size: int) -> dict[str, list[float]]:
    """Megabytes at the peak and after, and seconds, of loading, encoding text, a guided pass, and decoding."""
    import torch

    from jogak.models.catalogue import Memory, resolve
    from jogak.models.diffusion import load

    peak = Peak()
    found: dict[str, list[float]] = {}
    begun = time.perf_counter()

    def note(step: str) -> None:
        nonlocal begun
        found[step] = [round(peak.look()), round(_now()), round(time.perf_counter() - begun, 1)]
        begun = time.perf_counter()

    model = load(resolve(path, "torch", memory=Memory.of_names(names)))
    note("load")
    cond = model.encode_text(["a fox"])
    note("text")
    x = torch.randn(1, model.latent_channels, size // 8, size // 8)
    model.denoise(x, 5.0, cond, cond, 5.0)
    note("pass")
    model.decode(x)
    note("decode")
    return found


def _now() -> float:
    """Megabytes that are resident and belong to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=("sd15", "sdxl"), default="sd15")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--only", help="one setting, as in fp8,vae-tiles")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(*args.child, args.size)))
        return
    from tests.models.true_layout import published, write_hole

    with tempfile.TemporaryDirectory() as folder:
        path = write_hole(Path(folder) / f"{args.family}.safetensors", published(args.family))
        print(f"{args.family} at {args.size}×{args.size}, float32: MB at the peak (and after) [seconds]")
        for names in SETTINGS if args.only is None else (args.only,):
            ran = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", "--size", str(args.size), "--child", str(path), names],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if ran.returncode:
                print(f"{names or 'default':28} failed: {ran.stderr.strip().splitlines()[-1][:200]}")
                continue
            found = json.loads(ran.stdout.splitlines()[-1])
            row = "  ".join(f"{step} {peak} ({now}) [{s}]" for step, (peak, now, s) in found.items())
            print(f"{names or 'default':28} {row}", flush=True)


if __name__ == "__main__":
    main()
