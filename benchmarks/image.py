"""How long a picture takes: `python -m benchmarks.image`.

Warm: 256×256, 8 guided steps, model loaded, decoding included; the median of several. Cold: the whole command
`jogak image` in a process of its own, the first time ever (networks are converted) and every later time. The
same run measures OpenVINO and torch in turn, so that both meet the same load.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from jogak.image.prompt import encode
from jogak.models import DiffusionModel, load, resolve
from jogak.models.catalogue import threads
from jogak.models.samplers import SAMPLERS, schedule_of
from jogak.spec import ImageRequest

STEPS = 8
WARM_BAR, COLD_BAR = 3.0, 12.0


def draw(model: DiffusionModel, seed: int) -> tuple[Tensor, Tensor]:
    """Latents and pixels of one picture, by the default sampler."""
    sampler = ImageRequest(prompt="-").sampler
    cond, uncond = encode(model, "a fox in a snowy forest at night"), encode(model, "")
    sigmas = model.sigmas(STEPS, schedule_of(sampler))
    noise = torch.randn(1, model.latent_channels, 32, 32, generator=torch.Generator().manual_seed(seed))
    latents = SAMPLERS[sampler](
        lambda x, sigma: model.denoise(x, sigma, cond, uncond, 4.0), sigmas[0] * noise, sigmas
    )
    return latents, model.decode(latents)


def warm(model: DiffusionModel, rounds: int) -> list[float]:
    """Seconds of each picture after a first one that is not counted."""
    seconds: list[float] = []
    for seed in range(rounds + 1):
        begun = time.perf_counter()
        draw(model, seed)
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]


def psnr(found: Tensor, exact: Tensor) -> float:
    """Decibels, for pixels in [-1, 1]."""
    return 10 * math.log10(4 / (found - exact).square().mean().item())


def cold(home: Path, seed: int) -> float:
    """Seconds of the whole command in a process of its own."""
    command = [sys.executable, "-c", "from jogak.cli.main import run; run()"]
    words = ["image", "a fox in a snowy forest at night", "-o", str(home / "out.png"), "--steps", str(STEPS)]
    begun = time.perf_counter()
    subprocess.run(
        [*command, *words, "--seed", str(seed)],
        check=True,
        capture_output=True,
        env=os.environ | {"JOGAK_HOME": str(home / "jogak")},
    )
    return time.perf_counter() - begun


def main() -> None:
    print(f"{threads()} threads, load {os.getloadavg()[0]:.1f}")
    fast, exact = load(resolve("pocket", "openvino")), load(resolve("pocket", "torch"))
    medians: list[float] = []
    for model in (fast, exact):
        seconds = warm(model, rounds=5)
        medians.append(statistics.median(seconds))
        print(
            f"warm, 256×256, {STEPS} guided steps, {model.ref.numeric}: median {medians[-1]:.2f} s "
            f"({min(seconds):.2f}–{max(seconds):.2f}); bar {WARM_BAR:.0f} s"
        )
    print(f"OpenVINO is {medians[1] / medians[0]:.1f} times as fast as eager torch")
    (latents, pixels), (_, other) = draw(exact, 0), draw(fast, 0)
    print(
        f"{fast.ref.numeric} against torch, PSNR: decoder {psnr(fast.decode(latents), pixels):.1f} dB, "
        f"the whole drawing {psnr(other, pixels):.1f} dB"
    )
    with tempfile.TemporaryDirectory() as folder:
        first = cold(Path(folder), 0)
        later = [cold(Path(folder), seed) for seed in (1, 2, 3)]
    print(f"cold command, first ever: {first:.1f} s; bar {COLD_BAR:.0f} s")
    print(f"cold command, later: median {statistics.median(later):.1f} s ({min(later):.1f}–{max(later):.1f})")


if __name__ == "__main__":
    main()
