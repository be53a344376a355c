"""Train the keypoint net: where the 18 joints of a puppet are, to judge what a pose ControlNet drew.

    python -m pocket.train.keypoints --config pocket/train/configs/keypoints.yaml

A picture goes down to a 32nd of its size and back up to a quarter (an encoder and decoder with ways across, after
Xiao et al. 2018, arXiv:1804.06208, and Newell et al. 2016, arXiv:1603.06937). Each joint has one map there and one
more number for "not there"; together they are a distribution (softmax), whose target is a small Gaussian around the
joint, or all of it at "not there". So a joint that is turned away costs nothing to leave out, and the share at "not
there" can be read as a probability.

Scenes with one puppet (`--people`) and without; a share of them (`--decoded`) goes through the autoencoder, since what
is to be judged comes out of it. One puppet in sixteen is held out with all of its poses; PCK@0.1 (Yang & Ramanan 2013,
doi:10.1109/TPAMI.2012.261) of these in held-out scenes ends the log. The net is a judge: it never trains a generator.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models import AutoencoderKL
from torch import Tensor, nn

from jogak.judge.control_fidelity import FEWEST_JOINTS, pose_fidelity
from jogak.judge.stats import mean_score
from pocket.data.compose import Layout, Painter
from pocket.data.maps import placed_joints
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

JOINTS = 18
STRIDE = 4
"""Pixels of a picture to one of a map."""
SPREAD = 1.0
"""Standard deviation of a target, in pixels of a map."""
HELD_OUT_EVERY = 16
"""One puppet in so many is never trained on."""
GROUPS = 8


class KeypointNet(nn.Module):
    """(B, 3, H, W) in 0..1, sides multiples of 32 → logits (B, 18, H/4 · W/4 + 1), the last one "not there"."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [width, 2 * width, 3 * width, 4 * width]  # at a quarter, 8th, 16th and 32nd of the size
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, width, 4, 2, 1), _Block(width)
        )
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), _Block(b), _Block(b))
            for a, b in itertools.pairwise(widths)
        )
        self.across = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(_Block(a) for a in widths[:-1])
        self.maps = nn.Conv2d(width, JOINTS, 1)
        self.absent = nn.Linear(widths[-1], JOINTS)

    def forward(self, pixels: Tensor) -> Tensor:
        h = self.stem(pixels * 2 - 1)
        kept = [h]
        for part in self.down:
            kept.append(part(kept[-1]))
        h = kept[-1]
        nothing = self.absent(h.mean((2, 3)))
        for level in reversed(range(len(self.up))):
            larger = F.interpolate(self.across[level](h), scale_factor=2.0, mode="nearest")
            h = self.up[level](kept[level] + larger)
        return torch.cat([self.maps(h).flatten(2), nothing[:, :, None]], 2)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


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


def loss_of(net: KeypointNet, pixels: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of the joints' distributions."""
    return -(wanted * net(pixels).float().log_softmax(2)).sum(2).mean()


@torch.no_grad()
def read_joints(net: KeypointNet, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) in 0..1 → (points (B, 18, 2) in pixels, probability (B, 18) that a joint is there).

    A point is the mean of its distribution over the highest place of the map and its neighbours, two away at most.
    """
    height, width = (side // STRIDE for side in pixels.shape[2:])
    shares = net(pixels).float().softmax(2)
    maps = shares[..., :-1]
    best = maps.argmax(2)
    device = pixels.device
    y, x = best // width, best % width
    rows = torch.arange(height, device=device)[None, None, :, None]
    columns = torch.arange(width, device=device)[None, None, None, :]
    near = ((rows - y[..., None, None]).abs() <= 2) & ((columns - x[..., None, None]).abs() <= 2)
    weight = maps.unflatten(2, (height, width)) * near
    weight = weight / weight.sum((2, 3), keepdim=True).clamp(min=1e-12)
    found = torch.stack([(weight * columns).sum((2, 3)), (weight * rows).sum((2, 3))], -1)
    return (found + 0.5) * STRIDE, 1 - shares[..., -1]


class Pictures:
    """Draws scenes with the joints that are in them."""

    def __init__(
        self, sprites: Sprites, vae: AutoencoderKL | None, size: int, decoded: float, device: str
    ) -> None:
        assert sprites.joints is not None, "give --puppets"
        self.painter, self.joints = Painter(sprites.pixels, device), sprites.joints
        self.vae, self.size, self.decoded = vae, size, decoded

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
        with torch.autocast("cuda", torch.bfloat16, enabled=pixels.is_cuda):
            back = self.vae.decode(self.vae.encode(pixels * 2 - 1).latent_dist.mode()).sample
        return (back.float() / 2 + 0.5).clamp(0, 1)


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
        right += float(((there > 0.5) == (joints[..., 2] > 0)).sum())
        found = torch.where(there[..., None] > 0.5, points, torch.nan).cpu().numpy()
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
    parser.add_argument("--size", type=int, default=256, help="side of the pictures, a multiple of 32")
    parser.add_argument("--widths", type=int, default=32, help="channels at a quarter of the size")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--chunk", type=int, default=1024, help="pictures drawn at a time, a multiple of the batch"
    )
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

    net = KeypointNet(args.widths).to(device, memory_format=torch.channels_last)
    (args.out / "config.json").write_text(
        json.dumps({"width": args.widths, "joints": JOINTS, "stride": STRIDE}, indent=2) + "\n"
    )
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
    pictures = Pictures(sprites, vae, args.size, args.decoded, device)
    scenes = feed(
        SceneSampler(share_of_puppets(sprites, held_out=False), people=args.people),
        args.chunk,
        1.0,
        args.seed + int(1000 * resumed),
        args.workers,
    )
    side = args.size // STRIDE

    def train(pixels: Tensor, wanted: Tensor) -> tuple[Tensor]:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda", cache_enabled=False):
            loss = loss_of(net, pixels, wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return (loss.detach(),)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        layout, _ = log.next(scenes)
        pixels, joints = pictures.draw(layout)
        for part, found in zip(pixels.split(args.batch), joints.split(args.batch), strict=True):
            yield part.contiguous(memory_format=torch.channels_last), targets(found, side, side)

    rate = optimizer.param_groups[0]["lr"]
    rate.fill_(0.0)  # capture must not teach noise
    captured = GraphedStep(train, next(batches()), log)
    clock, step, total = Clock(resume, resumed, args.seconds, args.save_every), 0, 1_000_000
    for _ in clock.rounds():
        for pixels, wanted in batches():
            rate.fill_(args.lr * schedule(int(clock.at() * total), total, total // 50, 0.3))
            (loss,) = captured(pixels, wanted)
            average.update(net.state_dict())
            log.step(step, args.batch, loss=loss)
            step += 1
        if device == "cuda":
            torch.cuda.synchronize()  # the clock must not run ahead of the device

    net.load_state_dict(average.shadow)
    save_shards(average.shadow, args.out, "keypoints")
    sampler = SceneSampler(share_of_puppets(sprites, held_out=True), held_out=True, people=1.0)
    for name, share in (("drawn", 0.0), ("decoded", 1.0)):
        if share and vae is None:
            continue
        pictures.decoded = share
        layouts = feed(sampler, min(64, args.test), 1.0, 98, 0)
        log.note(steps=step, held_out=name, **judge(net, pictures, layouts, args.test))
    resume.save(1.0)


if __name__ == "__main__":
    main()
