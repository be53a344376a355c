"""Judge the upscaler: frames of held-out scenes, made of drawings it never saw, four times as large.

    python -m pocket.judge.upscale --sources build/sources [--scenes 48] [--weights FOLDER] [--sheet build/upscaled]

Each scene is drawn at 1280x768. What is enlarged is that picture shrunk to 320x192, once as it is and once after a way
through pocket's autoencoder, and cut to 16:9 as the film cuts it. Printed are the peak signal to noise ratio (dB) of
plain Lanczos, of the film's `enlarge` and of the network, and the network's gains, each with its sample size and 95 %
interval (the gains are of pairs: the same frame, enlarged twice); and seconds a frame on `JOGAK_THREADS` threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from diffusers.models import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image

from jogak.film.enlarge import crop_to_film, enlarge
from jogak.judge.stats import mean_score
from jogak.models.catalogue import threads
from jogak.models.upscale import FACTOR, FOLDER, load_upscaler
from jogak.spec.scores import Score
from pocket.data.large import LargePainter, drawings
from pocket.data.scenes import SceneSampler
from pocket.judge.bench import Bench
from pocket.judge.rows import Unmeasured
from pocket.train.common import feed
from pocket.train.upscale import PLAIN, Frames

Frame = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Enlarge = Callable[[Frame], Frame]
WIDTH, HEIGHT = 320, 192
BAR = 2.0
"""dB over Lanczos that a network has to give to be worth its weights."""


def rows(bench: Bench) -> Iterator[Unmeasured]:
    """The scorecard's sprites are too small to be drawn at this size: the drawings' own files are needed."""
    yield Unmeasured("upscale", "trained; python -m pocket.judge.upscale --sources build/sources measures it")


def lanczos(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    size = width * FACTOR, height * FACTOR
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)


def psnr(found: Frame, wanted: Frame) -> float:
    """Peak signal to noise ratio, dB; at most 80."""
    squared = ((found.astype(np.float32) - wanted) ** 2).mean() / 255**2
    return float(-10 * np.log10(max(squared, 1e-8)))


def held_out(
    frames: Frames, sampler: SceneSampler, count: int, seed: int
) -> Iterator[tuple[Frame, Frame, Frame]]:
    """(shrunk, shrunk and decoded, large) frames, cut to 16:9."""
    layouts = feed(sampler, 1, WIDTH / HEIGHT, seed, 0)
    for _ in range(count):
        small, large = frames.draw(next(layouts)[0])
        yield tuple(crop_to_film(part[0].cpu().numpy()) for part in (small, frames.decoded(small), large))


def say(score: Score, bar: float | None = None) -> None:
    between = f"[{score.low:.2f}, {score.high:.2f}]" if score.low is not None else ""
    verdict = "" if bar is None else f"   bar {bar:g}: {'met' if score.value >= bar else 'MISSED'}"
    print(f"{score.name:<32} {score.value:7.2f} {between:<16} n={score.n}{verdict}", flush=True)


def seconds_a_frame(make: Enlarge, frame: Frame, repeats: int = 20) -> list[float]:
    make(frame)
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        make(frame)
        taken.append(time.perf_counter() - began)
    return taken


def save_sheet(folder: Path, number: int, source: str, rows: dict[str, Frame]) -> None:
    """What each way made of one frame, whole, in a lossless file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in rows.items():
        Image.fromarray(picture).save(folder / f"{number:02d}-{source}-{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, required=True, help="what pocket.data.fetch wrote")
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of the upscaler")
    parser.add_argument("--vae", type=Path, default=FOLDER.parent / "pocket" / "vae")
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--drawings", type=int, default=300, help="held-out drawings to make scenes of")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--sheet", type=Path, help="folder for the first eight frames, enlarged each way")
    args = parser.parse_args()
    net = load_upscaler(args.weights)
    if net is None:
        parser.error(f"{args.weights} holds no upscaler; train one with pocket.train.upscale")
    ways: dict[str, Enlarge] = {"lanczos": lanczos, "enlarge": enlarge, "net": net}

    sprites = drawings(args.sources, args.drawings, args.seed, held_out=True)
    vae = AutoencoderKL.from_pretrained(args.vae).eval()
    frames = Frames(LargePainter(sprites.pixels), vae, WIDTH, HEIGHT, half=False)
    sampler = SceneSampler(sprites, held_out=True, plain=PLAIN)
    values: dict[tuple[str, str], list[float]] = {}
    frame = None
    for number, (small, decoded, large) in enumerate(held_out(frames, sampler, args.scenes, args.seed)):
        for source, frame in (("shrunk", small), ("decoded", decoded)):
            made = {name: way(frame) for name, way in ways.items()}
            for name, picture in made.items():
                values.setdefault((source, name), []).append(psnr(picture, large))
            if args.sheet and number < 8:
                save_sheet(args.sheet, number, source, made | {"truth": large})
    for source in ("shrunk", "decoded"):
        of = {name: np.array(values[source, name]) for name in ways}
        for name in ways:
            say(mean_score(f"{source}_{name}_db", of[name], unit="dB"))
        say(mean_score(f"{source}_over_lanczos_db", of["net"] - of["lanczos"], unit="dB"), BAR)
        say(mean_score(f"{source}_over_enlarge_db", of["net"] - of["enlarge"], unit="dB"))
    assert frame is not None
    for name, way in ways.items():
        taken = seconds_a_frame(way, frame)
        print(
            f"{name}: {np.median(taken):.3f} s a frame (median of {len(taken)}, {min(taken):.3f} to {max(taken):.3f}), "
            f"{threads()} threads"
        )


if __name__ == "__main__":
    main()
