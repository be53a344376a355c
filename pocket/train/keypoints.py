"""Train the keypoint net: where the 18 joints of a puppet are, to judge what a pose ControlNet drew.

    python -m pocket.train.keypoints --config pocket/train/configs/keypoints.yaml
    python -m pocket.train.export --build build --out src/jogak/models/weights --only keypoints

The net and how its maps are read are `jogak.models.keypoints`. The target of a joint's distribution is a small Gaussian
around the joint, or all of it at "not there". So a joint that is turned away costs nothing to leave out, and the share
at "not there" can be read as a probability.

Scenes with one puppet (`--people`) and without; a share of them (`--decoded`) goes through the autoencoder, since what
is to be judged comes out of it. They are drawn larger than the net looks (`--drawn`, `--size`) and kept for a while
(`--count`): each is seen several times, nearer or farther, turned and mirrored, because on a processor drawing takes
as long as learning. One puppet in sixteen is held out with all of its poses; PCK@0.1 (Yang & Ramanan 2013,
doi:10.1109/TPAMI.2012.261) of these in held-out scenes ends the log. The net is a judge: it never trains a generator.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models import AutoencoderKL
from torch import Tensor

from jogak.judge.control_fidelity import FEWEST_JOINTS, pose_fidelity
from jogak.judge.stats import mean_score
from jogak.models.keypoints import JOINTS, STRIDE, SURE, KeypointNet, read_joints
from pocket.data.compose import Layout, Painter
from pocket.data.maps import MIRROR, placed_joints
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites, load
from pocket.train.common import (
    Average,
    GraphedStep,
    Log,
    adamw,
    feed,
    save_shards,
    schedule,
    seed_all,
)
from pocket.train.nets import parameters
from pocket.train.recipe import Clock, Resume, parse, recipe_of
from pocket.train.upscale import load_vae

SPREAD = 1.0
"""Standard deviation of a target, in pixels of a map."""
HELD_OUT_EVERY = 16
"""One puppet in so many is never trained on."""
TAKEN = (0.15, 0.95)
"""Share of a view that the joints' box takes, where the picture is large enough for it."""
TURN = 0.15
"""Standard deviation of a view's turn, in radians."""
BEYOND = 0.06
"""Standard deviation of how far a view misses its figure, in shares of its side: some joints are cut off."""


def figure(layout: Layout, joints: np.ndarray, aspect: float) -> np.ndarray:
    """The joints of the puppet of each scene: (B, 18, 3), x and y in shares of the height, and 1 where there is one
    inside the picture. Of two puppets the foremost counts; without one all is 0."""
    placed = placed_joints(layout, joints)
    inside = (placed[..., 0] >= 0) & (placed[..., 0] < aspect) & (placed[..., 1] >= 0) & (placed[..., 1] < 1)
    placed[..., 2] *= inside
    has = placed[..., 2].any(-1)
    layers = np.arange(has.shape[1])
    foremost = np.where(has, layers, -1).max(1)
    found = placed[np.arange(len(placed)), foremost.clip(0)]
    return np.where((foremost >= 0)[:, None, None] & (found[..., 2:] > 0), found, 0).astype(np.float32)


def targets(joints: Tensor, height: int, width: int) -> Tensor:
    """`figure`'s joints as distributions over a map of (height, width) and "not there": (B, 18, height · width + 1)."""
    at = joints[..., :2] * height - 0.5
    device = joints.device
    y = torch.arange(height, device=device, dtype=torch.float32)
    x = torch.arange(width, device=device, dtype=torch.float32)
    weight_y = torch.exp(-((y - at[..., 1:]) ** 2) / (2 * SPREAD**2))
    weight_x = torch.exp(-((x - at[..., :1]) ** 2) / (2 * SPREAD**2))
    spread = torch.einsum("bjy,bjx->bjyx", weight_y, weight_x).flatten(2)
    spread = spread / spread.sum(2, keepdim=True).clamp(min=1e-9)
    there = joints[..., 2:]
    return torch.cat([spread * there, 1 - there], 2)


def loss_of(net: KeypointNet, pixels: Tensor, wanted: Tensor, half: bool = False) -> Tensor:
    """Cross-entropy of the joints' distributions; with `half` the net computes in bfloat16."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=half, cache_enabled=False):
        logits = net(pixels)
    return -(wanted * logits.float().log_softmax(2)).sum(2).mean()


class Pictures:
    """Draws scenes with the joints that are in them."""

    def __init__(
        self, sprites: Sprites, vae: AutoencoderKL | None, size: int, decoded: float, device: str, half: bool
    ) -> None:
        assert sprites.joints is not None, "give --puppets"
        self.painter, self.joints = Painter(sprites.pixels, device), sprites.joints
        self.vae, self.size, self.decoded, self.half = vae, size, decoded, half

    @torch.no_grad()
    def draw(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """(pixels (B, 3, size, size) in 0..1, joints (B, 18, 3)); a share of the pictures decoded."""
        pixels = self.painter.draw(layout, self.size, self.size)
        rows = torch.rand(len(pixels), device=pixels.device) < self.decoded
        if self.vae is not None and bool(rows.any()):
            pixels[rows] = torch.cat([self.through(part) for part in pixels[rows].split(64)])
        return pixels, torch.from_numpy(figure(layout, self.joints, 1.0)).to(pixels.device)

    def through(self, pixels: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in 0..1 after a way through the autoencoder."""
        assert self.vae is not None
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.half):
            back = self.vae.decode(self.vae.encode(pixels * 2 - 1).latent_dist.mode()).sample
        return (back.float() / 2 + 0.5).clamp(0, 1)


class Pool:
    """The last `count` pictures with their joints, and views of them."""

    def __init__(self, pictures: Pictures, layouts: Iterator[tuple[Layout, Tensor]], count: int) -> None:
        self.pictures, self.layouts = pictures, layouts
        device = pictures.painter.device
        self.pixels = torch.empty(count, 3, pictures.size, pictures.size, dtype=torch.uint8, device=device)
        self.joints = torch.zeros(count, JOINTS, 3, device=device)
        self.at = self.full = 0

    def renew(self) -> None:
        """Draw the next layout's scenes in place of the oldest ones."""
        layout, _ = next(self.layouts)
        pixels, joints = self.pictures.draw(layout)
        rows = (self.at + torch.arange(len(pixels), device=pixels.device)) % len(self.pixels)
        self.pixels[rows], self.joints[rows] = (pixels * 255).round().byte(), joints
        self.at = (self.at + len(pixels)) % len(self.pixels)
        self.full = min(len(self.pixels), self.full + len(pixels))

    def views(self, batch: int, side: int, zoom: float) -> tuple[Tensor, Tensor]:
        """`batch` pictures, each through a random view: (pixels (B, 3, side, side) in 0..1, joints (B, 18, 3))."""
        rows = torch.randint(0, self.full, (batch,), device=self.pixels.device)
        joints = self.joints[rows]
        view = random_views(joints, zoom)
        return seen_through(view, self.pixels[rows].float() / 255, side), joints_through(view, joints)


def random_views(joints: Tensor, zoom: float) -> Tensor:
    """A window into each picture for its joints (B, 18, 3): (B, 2, 3), from a view's coordinates to the picture's,
    both from -1 to 1. The figure is made up to `zoom` times as large, mostly whole, at a random place of the view,
    turned a little, and mirrored in every second picture."""
    count, device = len(joints), joints.device
    there, at = joints[..., 2:] > 0, 2 * joints[..., :2] - 1
    low, high = at.masked_fill(~there, 2).amin(1), at.masked_fill(~there, -2).amax(1)
    nobody = ~there.any(1)
    middle = torch.where(nobody, torch.rand(count, 2, device=device) * 2 - 1, (low + high) / 2)
    reach = torch.where(nobody[:, 0], 2 * torch.rand(count, device=device), (high - low).amax(1))
    taken = TAKEN[0] + (TAKEN[1] - TAKEN[0]) * torch.rand(count, device=device)
    span = (reach / 2 / taken).clamp(1 / zoom, 1)  # of the window, as a share of the picture
    room = (span - reach / 2).clamp(min=0)[:, None]
    middle = middle + room * (2 * torch.rand(count, 2, device=device) - 1)
    middle = middle + span[:, None] * 2 * BEYOND * torch.randn(count, 2, device=device)
    edge = (1 - span)[:, None]
    middle = torch.maximum(torch.minimum(middle, edge), -edge)
    angle = TURN * torch.randn(count, device=device)
    flip = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    cos, sin = span * angle.cos(), span * angle.sin()
    return torch.stack(
        [torch.stack([cos * flip, -sin, middle[:, 0]], 1), torch.stack([sin * flip, cos, middle[:, 1]], 1)], 1
    )


def seen_through(view: Tensor, pixels: Tensor, side: int) -> Tensor:
    """Pictures (B, 3, H, W) through windows (B, 2, 3): (B, 3, side, side). Beyond a picture its edge goes on."""
    grid = F.affine_grid(view, [len(view), 3, side, side], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def joints_through(view: Tensor, joints: Tensor) -> Tensor:
    """Joints (B, 18, 3) of pictures as they lie in windows (B, 2, 3) of these; those outside are not there. In a
    mirrored window left and right change."""
    back = torch.linalg.inv(view[..., :2])
    at = torch.einsum("bij,bkj->bki", back, 2 * joints[..., :2] - 1 - view[:, None, :, 2])
    inside = ((at >= -1) & (at < 1)).all(2, keepdim=True)
    there = joints[..., 2:] * inside
    moved = torch.cat([(at + 1) / 2 * (there > 0), there], 2)
    mirrored = torch.linalg.det(view[..., :2]) < 0
    return torch.where(mirrored[:, None, None], moved[:, torch.from_numpy(MIRROR)], moved)


def share_of_puppets(sprites: Sprites, held_out: bool) -> Sprites:
    """The same drawings with only those puppets to choose from that are, or are not, held out."""
    rows = [i for i in range(len(sprites.puppets)) if (i % HELD_OUT_EVERY == 0) == held_out]
    return dataclasses.replace(
        sprites, puppets=[sprites.puppets[i] for i in rows], phrases=[sprites.phrases[i] for i in rows]
    )


def judge(
    net: KeypointNet, pictures: Pictures, layouts: Iterator[tuple[Layout, Tensor]], count: int
) -> dict[str, object]:
    """PCK@0.1 and OKS of puppets in at least `count` scenes, with 95 % intervals, and how often the net is right that
    a joint is there. A joint that it leaves out counts as missed."""
    scores: dict[str, list[float]] = {"pck": [], "oks": []}
    seen, right, asked = 0, 0.0, 0
    while seen < count:
        layout, _ = next(layouts)
        pixels, joints = pictures.draw(layout)
        points, there = read_joints(net, pixels)
        seen, asked = seen + len(layout), asked + there.numel()
        right += float(((there > SURE) == (joints[..., 2] > 0)).sum())
        found = torch.where(there[..., None] > SURE, points, torch.nan).cpu().numpy()
        wanted = torch.where(joints[..., 2:] > 0, joints[..., :2] * pictures.size, torch.nan).cpu().numpy()
        for one, other in zip(found, wanted, strict=True):
            if np.isfinite(other).all(1).sum() >= FEWEST_JOINTS:
                for name, value in pose_fidelity(one, other).items():
                    scores[name].append(value)
    facts: dict[str, object] = {"scenes": seen, "there_right": round(right / max(1, asked), 4)}
    for name, values in scores.items():
        if values:
            score = mean_score(name, values)
            facts[name] = {
                "mean": round(score.value, 4), "low": score.low, "high": score.high, "n": score.n
            }  # fmt: skip
    return facts


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument(
        "--puppets",
        type=Path,
        required=True,
        help="an .npz of pocket.data.puppets --many; only they have joints",
    )
    parser.add_argument("--people", type=float, default=0.85, help="share of pictures with a puppet")
    parser.add_argument("--vae", type=Path, help="folder of the autoencoder's shards")
    parser.add_argument(
        "--decoded", type=float, default=0.3, help="share of pictures seen by the autoencoder"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--seconds", type=float, default=300, help="length of the run; the schedule follows the clock"
    )
    parser.add_argument("--drawn", type=int, default=384, help="side of the pictures that are drawn")
    parser.add_argument("--size", type=int, default=256, help="side of what the net sees, a multiple of 32")
    parser.add_argument("--zoom", type=float, default=2.5, help="how much larger a figure is shown at most")
    parser.add_argument("--widths", type=int, default=32, help="channels at a quarter of the size")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--count", type=int, default=4096, help="pictures kept at a time")
    parser.add_argument("--chunk", type=int, default=256, help="pictures drawn at a time")
    parser.add_argument("--refresh", type=int, default=8, help="steps from one drawing to the next")
    parser.add_argument("--half", action="store_true", help="bfloat16 on a CPU as well: faster where it can")
    parser.add_argument("--test", type=int, default=512, help="held-out scenes at the end")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--workers", type=int, default=8)
    return parse(parser)


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    seed_all(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")

    half = args.half or device == "cuda"

    net = KeypointNet(args.widths).to(device, memory_format=torch.channels_last)
    facts = {"width": args.widths, "joints": JOINTS, "stride": STRIDE, "side": args.size}
    (args.out / "config.json").write_text(json.dumps(facts, indent=2) + "\n")
    average = Average(net.state_dict(), 0.999)
    optimizer = adamw(list(net.parameters()), args.lr, (0.9, 0.99), 1e-2)
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

    sprites = load(args.sprites, args.puppets)
    vae = load_vae(args.vae, device) if args.vae and args.decoded else None
    pictures = Pictures(sprites, vae, args.drawn, args.decoded, device, half)
    layouts = feed(
        SceneSampler(share_of_puppets(sprites, held_out=False), people=args.people),
        args.chunk,
        1.0,
        args.seed + int(1000 * resumed),
        args.workers,
    )
    pool, side = Pool(pictures, layouts, args.count), args.size // STRIDE
    filled = time.perf_counter()
    while pool.full < args.count:
        pool.renew()
    log.note(pictures=args.count, drawn_in=round(time.perf_counter() - filled, 1))

    def train(pixels: Tensor, wanted: Tensor) -> tuple[Tensor]:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(net, pixels, wanted, half)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return (loss.detach(),)

    def batch() -> tuple[Tensor, Tensor]:
        pixels, joints = pool.views(args.batch, args.size, args.zoom)
        return pixels.contiguous(memory_format=torch.channels_last), targets(joints, side, side)

    rate = optimizer.param_groups[0]["lr"]
    rate.fill_(0.0)  # capture must not teach noise
    captured = GraphedStep(train, batch(), log)
    log.last, log.pictures = time.perf_counter(), 0
    clock, step, total = Clock(resume, resumed, args.seconds, args.save_every), 0, 1_000_000
    for _ in clock.rounds():
        rate.fill_(args.lr * schedule(int(clock.at() * total), total, total // 50, 0.3))
        (loss,) = captured(*batch())
        average.update(net.state_dict())
        log.step(step, args.batch, loss=loss)
        step += 1
        if step % args.refresh == 0:
            pool.renew()
            if device == "cuda":
                torch.cuda.synchronize()  # the clock must not run ahead of the device

    net.load_state_dict(average.shadow)
    save_shards(average.shadow, args.out, "keypoints")
    sampler = SceneSampler(share_of_puppets(sprites, held_out=True), held_out=True, people=1.0)
    pictures.size = args.size
    for name, share in (("drawn", 0.0), ("decoded", 1.0)):
        if share and vae is None:
            continue
        pictures.decoded = share
        layouts = feed(sampler, min(64, args.test), 1.0, 98, 0)
        log.note(steps=step, held_out=name, **judge(net, pictures, layouts, args.test))
    resume.save(1.0)


if __name__ == "__main__":
    main()
