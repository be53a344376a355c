"""Train the depth net: how near each place of a picture is, to judge what a depth ControlNet drew.

    python -m pocket.train.depth --config pocket/train/configs/depth.yaml
    python -m pocket.train.depth --config pocket/train/configs/depth.yaml \\
        --export src/jogak/models/weights/pocket-depth

The net is `jogak.models.depth`. The target is the exact depth of a layout (`pocket.data.maps.depth`): cut-outs at the
distance of their feet, a plane for the ground. A share of the pictures (`--decoded`) goes through the autoencoder, since
what is to be judged comes out of it. Its RMSE on held-out scenes ends the log. The net is a judge: it never trains a
generator.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from jogak.models.depth import NAME, STEM, DepthNet
from pocket.data import maps
from pocket.data.compose import Layout, Painter
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import load
from pocket.train.common import Average, Log, adamw, feed, load_shards, save_shards, schedule, seed_all
from pocket.train.nets import parameters
from pocket.train.recipe import Clock, Resume, parse, recipe_of
from pocket.train.upscale import load_vae

NEAR_ENOUGH = 0.05
"""Errors below this, of the range, count squared: a step of the ground's slope is no edge of a thing."""


def loss_of(net: DepthNet, pixels: Tensor, depth: Tensor, half: bool = False) -> Tensor:
    """Huber loss of the nearness, pixels (B, 3, H, W) and depth (B, 1, H, W) in 0..1; with `half` in bfloat16."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=half):
        logits = net(pixels)
    return F.smooth_l1_loss(logits.float().sigmoid(), depth, beta=NEAR_ENOUGH)


class Pool:
    """The last `count` pictures of one shape with their depth, both (N, C, H, W) uint8."""

    def __init__(
        self, painter: Painter, vae: AutoencoderKL | None, layouts: Iterator[tuple[Layout, Tensor]],
        width: int, height: int, count: int, decoded: float,
    ) -> None:  # fmt: skip
        self.painter, self.vae, self.layouts, self.decoded = painter, vae, layouts, decoded
        self.pixels = torch.empty(count, 3, height, width, dtype=torch.uint8, device=painter.device)
        self.depth = self.pixels[:, :1].clone()
        self.at = self.full = 0

    @torch.no_grad()
    def renew(self) -> None:
        """Draw the next layout's scenes in place of the oldest ones."""
        layout, _ = next(self.layouts)
        pixels = self.painter.draw(layout, *self.pixels.shape[2:])
        through = torch.rand(len(pixels), device=pixels.device) < self.decoded
        if self.vae is not None and bool(through.any()):
            pixels[through] = torch.cat([_decoded(self.vae, part) for part in pixels[through].split(64)])
        depth = maps.depth(self.painter, layout, *self.pixels.shape[2:])
        rows = (self.at + torch.arange(len(pixels), device=pixels.device)) % len(self.pixels)
        self.pixels[rows], self.depth[rows] = ((part * 255).round().byte() for part in (pixels, depth))
        self.at = (self.at + len(pixels)) % len(self.pixels)
        self.full = min(len(self.pixels), self.full + len(pixels))

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Pictures and their depth in 0..1, every second one as in a mirror."""
        rows = torch.randint(0, self.full, (size,), device=self.pixels.device)
        mirrored = torch.rand(size, 1, 1, 1, device=rows.device) < 0.5
        pixels, depth = (
            torch.where(mirrored, part.flip(3), part).float() / 255
            for part in (self.pixels[rows], self.depth[rows])
        )
        return pixels.contiguous(memory_format=torch.channels_last), depth


def _decoded(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.is_cuda):
        back = vae.decode(vae.encode(pixels * 2 - 1).latent_dist.mode()).sample  # pyright: ignore
    return (back.float() / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def rmse(net: DepthNet, pool: Pool, count: int) -> float:
    """Mean over `count` new pictures of the root mean square error, of the range."""
    found: list[Tensor] = []
    while sum(map(len, found)) < count:
        pool.at = 0
        pool.renew()
        rows = slice(0, pool.at or len(pool.pixels))
        near = net(pool.pixels[rows].float() / 255).sigmoid()
        found.append((near - pool.depth[rows].float() / 255).square().mean((1, 2, 3)).sqrt())
    return round(float(torch.cat(found).mean()), 4)


def export(build: Path, folder: Path) -> None:
    """The trained weights as Jogak reads them: fp16 safetensors and `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in load_shards(build, "depth").items()}
    save_file(state, folder / f"{STEM}.safetensors")
    (folder / "config.json").write_text((build / "config.json").read_text())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--puppets", type=Path, help="an .npz of pocket.data.puppets --many")
    parser.add_argument("--people", type=float, default=0.2, help="share of pictures with a puppet")
    parser.add_argument("--plain", type=float, default=0.2, help="share of pictures on a plain ground")
    parser.add_argument("--vae", type=Path, help="folder of the autoencoder's shards")
    parser.add_argument(
        "--decoded", type=float, default=0.5, help="share of pictures seen by the autoencoder"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300, help="the schedule follows the clock")
    parser.add_argument("--shapes", default="256x256,320x192,192x320", help="WIDTHxHEIGHT,… in turn")
    parser.add_argument("--widths", type=int, default=32, help="channels at a quarter of the size")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--count", type=int, default=4096, help="pictures of each shape kept at a time")
    parser.add_argument("--chunk", type=int, default=256, help="pictures drawn at a time")
    parser.add_argument("--refresh", type=int, default=8, help="steps from one drawing to the next")
    parser.add_argument("--test", type=int, default=512, help="held-out scenes at the end")
    parser.add_argument("--half", action="store_true", help="bfloat16 on a CPU as well: faster where it can")
    parser.add_argument("--init", type=Path, help="folder of an earlier run's shards")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--export", type=Path, help="no training: write --out as a folder of Jogak's here")
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
    shapes = [(int(w), int(h)) for w, h in (shape.split("x") for shape in args.shapes.split(","))]
    net = DepthNet(args.widths)
    if args.init:
        net.load_state_dict(load_shards(args.init, "depth"))
    net = net.to(device, memory_format=torch.channels_last)
    facts = {"model": NAME, "width": args.widths, "side": max(shapes[0])}
    (args.out / "config.json").write_text(json.dumps(facts, indent=2) + "\n")
    average = Average(net.state_dict(), 0.999)
    optimizer = adamw(list(net.parameters()), args.lr, (0.9, 0.99), 1e-2)
    resume = Resume(
        args.out / "resume.pt", recipe_of(args), net.state_dict, net.load_state_dict, optimizer, average
    )
    resumed = resume.enter(0.0, 1.0, args.fresh, torch.device(device))
    log = Log(args.out / "log.jsonl", every=100)
    log.note(
        resumed_at=round(resumed, 4),
        recipe={k: str(v) for k, v in vars(args).items()},
        parameters=parameters(net),
    )
    sprites = load(args.sprites, args.puppets)
    painter = Painter(sprites.pixels, device)
    vae = load_vae(args.vae, device) if args.vae and args.decoded else None

    def pool_of(
        shape: tuple[int, int], sampler: SceneSampler, seed: int, decoded: float, workers: int
    ) -> Pool:
        width, height = shape
        layouts = feed(sampler, min(args.chunk, args.count), width / height, seed, workers)
        return Pool(painter, vae, layouts, width, height, args.count, decoded)

    sampler = SceneSampler(sprites, plain=args.plain, people=args.people)
    workers = -(-args.workers // len(shapes)) if args.workers else 0
    seeds = (args.seed * 100 + int(1000 * resumed) + k for k in range(len(shapes)))
    pools = [
        pool_of(shape, sampler, seed, args.decoded, workers)
        for shape, seed in zip(shapes, seeds, strict=True)
    ]
    for pool in pools:
        while pool.full < args.count:
            pool.renew()
    log.note(pictures=args.count * len(pools))
    log.last, log.pictures = log.start, 0
    rate = optimizer.param_groups[0]["lr"]
    clock, step, total = Clock(resume, resumed, args.seconds, args.save_every), 0, 1_000_000
    for _ in clock.rounds():
        rate.fill_(args.lr * schedule(int(clock.at() * total), total, total // 50, 0.3))
        pool = pools[step % len(pools)]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(net, *pool.batch(args.batch), half=args.half or device == "cuda")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update(net.state_dict())
        log.step(step, args.batch, loss=loss)
        step += 1
        if step % args.refresh < len(pools):
            pool.renew()
            if device == "cuda":
                torch.cuda.synchronize()  # the clock must not run ahead of the device
    net.load_state_dict(average.shadow)
    save_shards(average.shadow, args.out, "depth")
    held_out = SceneSampler(sprites, held_out=True, plain=args.plain, people=args.people)
    for name, share in (("drawn", 0.0), ("decoded", 1.0)):
        log.note(
            steps=step, held_out=name, rmse=rmse(net, pool_of(shapes[0], held_out, 98, share, 0), args.test)
        )
    resume.save(1.0)


if __name__ == "__main__":
    main()
