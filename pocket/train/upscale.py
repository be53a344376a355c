"""Train the upscaler: film frames of 320x192 become 1280x768.

    python -m pocket.train.upscale --config pocket/train/configs/upscale.yaml
    python -m pocket.train.upscale --out build/upscale --export src/jogak/models/weights/pocket-upscale

A scene is drawn at four times the size of a frame. A quarter of the scenes are shrunk (mean of 4x4 pixels) to what the
network sees; three quarters go through the autoencoder after that (`--decoded 0.75`), since that is what film frames
look like: soft, with small mistakes along edges. Crops at random places, mirrored and turned, are taken from a pool of
scenes, because drawing a scene takes as long as several steps.

Loss: L1 and squared error on pixels, and L1 on the steps from each pixel to the next (`STEPS`): without it the 4x4
values of neighbouring pixels do not join, which shows as a comb along slanted edges. The drawings are made anew from
their vectors (`pocket.data.large`); without `--sources` those of `--sprites` serve, which are soft at this size.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from jogak.models.upscale import FACTOR, STEM, Upscaler
from pocket.data.compose import Layout
from pocket.data.large import LargePainter, kept_drawings
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import load
from pocket.train.common import (
    Average,
    GraphedStep,
    Log,
    adamw,
    feed,
    load_shards,
    save_shards,
    schedule,
    seed_all,
)
from pocket.train.nets import build_vae, parameters
from pocket.train.recipe import Clock, Resume, parse, recipe_of

PLAIN = 0.1
"""Share of scenes on a plain ground: a film has few."""
STEPS = 1.0
"""Weight of the error in steps from pixel to pixel."""
DRAWN_AT_ONCE = 8
"""A scene of film size takes 12 MB, and some ten times as much on its way."""


class Frames:
    """Draws frames of film size, and makes of each what the network is to enlarge."""

    def __init__(
        self, painter: LargePainter, vae: AutoencoderKL | None, width: int, height: int, half: bool
    ) -> None:
        """`width` and `height` are those of the small frames; `half`: the autoencoder computes in bfloat16."""
        self.painter, self.vae, self.size, self.half = painter, vae, (height, width), half

    @torch.no_grad()
    def draw(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """(small (B, h, w, 3), large (B, 4h, 4w, 3)), uint8, the small ones shrunk."""
        height, width = self.size
        large = self.painter.draw(layout, FACTOR * height, FACTOR * width)
        return as_bytes(F.avg_pool2d(large, FACTOR)), as_bytes(large)

    @torch.no_grad()
    def decoded(self, small: Tensor) -> Tensor:
        """Frames (B, h, w, 3) uint8 after a way through the autoencoder."""
        assert self.vae is not None
        pixels = small.permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.half):
            back = self.vae.decode(self.vae.encode(pixels).latent_dist.mode()).sample
        return as_bytes((back.float() + 1) / 2)


def as_bytes(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) in 0..1 -> (B, H, W, 3) uint8."""
    return (pixels.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous()


class Pool:
    """The last `count` scenes, small and large, and crops of them."""

    def __init__(
        self, frames: Frames, layouts: Iterator[tuple[Layout, Tensor]], count: int, decoded: float
    ) -> None:
        self.frames, self.layouts, self.decoded = frames, layouts, decoded
        height, width = frames.size
        device = frames.painter.device
        self.small = torch.empty(count, height, width, 3, dtype=torch.uint8, device=device)
        self.large = torch.empty(count, FACTOR * height, FACTOR * width, 3, dtype=torch.uint8, device=device)
        self.at = self.full = 0

    def renew(self, scenes: int) -> None:
        """Draw `scenes` anew in place of the oldest ones; of these, `decoded` go through the autoencoder."""
        layout, _ = next(self.layouts)
        small, large = self.frames.draw(layout.rows(torch.arange(scenes).numpy() % len(layout)))
        through = torch.rand(scenes) < self.decoded
        if through.any():
            rows = through.to(small.device)
            small[rows] = self.frames.decoded(small[rows])
        rows = (self.at + torch.arange(scenes, device=small.device)) % len(self.small)
        self.small[rows], self.large[rows] = small, large
        self.at = (self.at + scenes) % len(self.small)
        self.full = min(len(self.small), self.full + scenes)

    def crops(self, batch: int, side: int, reach: int) -> tuple[Tensor, Tensor]:
        """(small (B, 3, side + 2 reach, …), large (B, 3, 4 side, 4 side)) in 0..1: the large ones are the middles of
        the small ones. Beyond a frame its edge goes on, as the network has it."""
        height, width = self.frames.size
        device = self.small.device
        rows = torch.randint(0, self.full, (batch, 1, 1), device=device)
        top = torch.randint(0, height - side + 1, (batch, 1), device=device)
        left = torch.randint(0, width - side + 1, (batch, 1), device=device)
        around = torch.arange(-reach, side + reach, device=device)[None]
        y, x = (top + around).clamp(0, height - 1), (left + around).clamp(0, width - 1)
        small = self.small[rows, y[:, :, None], x[:, None, :]]
        inside = torch.arange(FACTOR * side, device=device)[None]
        y, x = FACTOR * top + inside, FACTOR * left + inside
        large = self.large[rows, y[:, :, None], x[:, None, :]]
        pair = [part.permute(0, 3, 1, 2).float() / 255 for part in (small, large)]
        flips = [axis for axis in (2, 3) if random.random() < 0.5]
        pair = [part.flip(flips) for part in pair]
        if random.random() < 0.5:
            pair = [part.transpose(2, 3) for part in pair]
        return pair[0].contiguous(), pair[1].contiguous()


def loss_of(net: Upscaler, small: Tensor, large: Tensor, half: bool) -> tuple[Tensor, Tensor]:
    """(loss, mean squared error in units of 0..1); with `half` the network's own part computes in bfloat16."""
    with torch.autocast(small.device.type, torch.bfloat16, enabled=half, cache_enabled=False):
        detail = net.detail(small)
    error = net.enlarged(small) + detail.float() - large
    squared = (error**2).mean()
    steps = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + 5 * squared + STEPS * steps, squared


@torch.no_grad()
def gains(net: Upscaler, small: Tensor, large: Tensor) -> dict[str, float]:
    """Peak signal to noise ratio of frames as in `Frames.draw`, and what plain Lanczos gives: mean, dB."""
    found: dict[str, list[Tensor]] = {"psnr": [], "lanczos": []}
    for one, truth in zip(small.split(1), large.split(1), strict=True):
        x, y = (part.permute(0, 3, 1, 2).float() / 255 for part in (one, truth))
        wide = F.pad(x, (net.reach,) * 4, mode="replicate")
        plain = net.enlarged(wide)
        for name, made in (("psnr", plain + net.detail(wide)), ("lanczos", plain)):
            found[name].append(-10 * torch.log10(((made.clamp(0, 1) - y) ** 2).mean().clamp(min=1e-8)))
    return {name: round(float(torch.stack(values).mean()), 3) for name, values in found.items()}


def load_vae(folder: Path, device: str) -> AutoencoderKL:
    vae = build_vae()
    vae.load_state_dict(load_shards(folder, "vae"))
    return vae.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def export(build: Path, folder: Path) -> None:
    """The trained weights as Jogak reads them: fp16 safetensors and `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in load_shards(build, "upscale").items()}
    save_file(state, folder / f"{STEM}.safetensors")
    (folder / "config.json").write_text((build / "config.json").read_text())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sprites", type=Path, help="the drawings, where there are no --sources")
    parser.add_argument("--sources", type=Path, help="folder of the drawings' vectors, to draw them larger")
    parser.add_argument("--drawings", type=int, default=700, help="how many of them are drawn larger")
    parser.add_argument("--vae", type=Path, help="folder of the autoencoder's shards")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--export", type=Path, help="no training: write --out as Jogak's folder here")
    parser.add_argument(
        "--seconds", type=float, default=1500, help="length of the run; the schedule follows the clock"
    )
    parser.add_argument("--decoded", type=float, default=0.75, help="share of scenes seen by the autoencoder")
    parser.add_argument("--widths", type=int, default=48, help="channels of the network")
    parser.add_argument("--layers", type=int, default=2, help="its blocks of two convolutions")
    parser.add_argument("--frame", default="320x192", help="size of the small frames")
    parser.add_argument("--size", type=int, default=48, help="side of a crop, in pixels of the small frames")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--count", type=int, default=96, help="scenes kept at a time")
    parser.add_argument("--chunk", type=int, default=4, help="scenes drawn at a time")
    parser.add_argument("--refresh", type=int, default=80, help="steps from one drawing to the next")
    parser.add_argument("--test", type=int, default=24, help="held-out scenes measured at the end")
    parser.add_argument(
        "--half", action="store_true", help="bfloat16 on a CPU as well: twice as fast if it can"
    )
    parser.add_argument("--init", type=Path, help="folder of an earlier run's shards")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--workers", type=int, default=0)
    return parse(parser)


def main() -> None:
    args = arguments()
    if args.export:
        export(args.out, args.export)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    seed_all(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    half = args.half or device == "cuda"

    net = Upscaler(args.widths, args.layers)
    if args.init:
        net.load_state_dict(load_shards(args.init, "upscale"))
    net = net.to(device, memory_format=torch.channels_last)
    (args.out / "config.json").write_text(
        json.dumps({"factor": FACTOR, "width": args.widths, "blocks": args.layers}, indent=2) + "\n"
    )
    average = Average(net.state_dict(), 0.999)
    optimizer = adamw(list(net.parameters()), args.lr, (0.9, 0.99), 1e-4)
    resume = Resume(
        args.out / "resume.pt", recipe_of(args), net.state_dict, net.load_state_dict, optimizer, average
    )
    resumed = resume.enter(0.0, 1.0, args.fresh, torch.device(device))
    log = Log(args.out / "log.jsonl", every=50)
    log.note(
        resumed_at=round(resumed, 4),
        recipe={k: str(v) for k, v in vars(args).items()},
        parameters=parameters(net),
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
    )

    if args.sources:
        sprites = kept_drawings(
            args.out / "drawings.npz", args.sources, args.drawings, args.seed, args.workers
        )
    else:
        sprites = load(args.sprites)
    width, height = (int(side) for side in args.frame.split("x"))
    vae = load_vae(args.vae, device) if args.vae and args.decoded else None
    frames = Frames(LargePainter(sprites.pixels, device), vae, width, height, half)
    layouts = feed(
        SceneSampler(sprites, plain=PLAIN),
        args.chunk,
        width / height,
        args.seed + int(1000 * resumed),
        args.workers,
    )
    pool = Pool(frames, layouts, args.count, args.decoded if vae else 0.0)
    filled = time.perf_counter()
    while pool.full < args.count:
        pool.renew(min(args.chunk, args.count - pool.full))
    log.note(scenes=args.count, drawn_in=round(time.perf_counter() - filled, 1))

    def train(small: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad(set_to_none=True)
        loss, squared = loss_of(net, small, large, half)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss.detach(), squared.detach()

    rate = optimizer.param_groups[0]["lr"]
    rate.fill_(0.0)  # capture must not teach noise
    captured = GraphedStep(train, pool.crops(args.batch, args.size, net.reach), log)
    log.last, log.pictures = time.perf_counter(), 0
    clock, step, total = Clock(resume, resumed, args.seconds, args.save_every), 0, 1_000_000
    for _ in clock.rounds():
        rate.fill_(args.lr * schedule(int(clock.at() * total), total, total // 50, 0.3))
        loss, squared = captured(*pool.crops(args.batch, args.size, net.reach))
        average.update(net.state_dict())
        log.step(step, args.batch, loss=loss, mse=squared)
        step += 1
        if step % args.refresh == 0:
            pool.renew(args.chunk)
            if device == "cuda":
                torch.cuda.synchronize()  # the clock must not run ahead of the device

    net.load_state_dict(average.shadow)
    save_shards(average.shadow, args.out, "upscale")
    held_out = feed(SceneSampler(sprites, held_out=True, plain=PLAIN), 1, width / height, 99, 0)
    pairs = [frames.draw(next(held_out)[0]) for _ in range(args.test)]
    small, large = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    log.note(steps=step, shrunk=gains(net, small, large))
    if vae is not None:
        seen = torch.cat([frames.decoded(part) for part in small.split(DRAWN_AT_ONCE)])
        log.note(decoded=gains(net, seen, large))
    resume.save(1.0)


if __name__ == "__main__":
    main()
