"""What the trainings around a frozen UNet share (ControlNet, IP-Adapter, fast): the frozen model, a cache with what
steers each picture beside its latents, the loop over stages, and the loss on held-out scenes with right and with wrong
steering."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers import DDIMScheduler
from torch import Tensor, nn
from transformers import CLIPTokenizer

from pocket.data.compose import Layout, Painter
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites, load
from pocket.train.common import (
    Average,
    GraphedStep,
    Log,
    Masters,
    adamw,
    add_scene_arguments,
    agreed,
    feed,
    ids_of,
    leave,
    load_shards,
    rank,
    save_shards,
    scenes_of,
    schedule,
)
from pocket.train.fused import fuse
from pocket.train.nets import SCHEDULER, build_text, build_unet, build_vae, load_text
from pocket.train.recipe import Resume, recipe_of, stages_after
from pocket.train.unet import CHUNK, Cache

Look = Callable[[Layout, Tensor], Tensor]
"""(layout, pixels (B, 3, H, W) in 0..1) -> (B, …): what steers these pictures, in the type it is kept in."""
Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(noisy latents, timesteps, text, what steers) -> v."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(latents, text, what steers) -> the loss of this batch, a scalar."""
HELD_OUT = 512
"""Scenes of the last look at the loss."""
PART = 128
"""Pictures that are looked at together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("--sprites", "--tokenizer", "--vae", "--clip", "--unet"):
        parser.add_argument(
            name, type=Path, help="as for pocket.train.unet; --unet holds the trained UNet's shards"
        )
    parser.add_argument("--puppets", type=Path, help="an .npz of pocket.data.puppets --many")
    parser.add_argument("--people", type=float, default=0.2, help="share of pictures with a puppet")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained shards")
    parser.add_argument("--seconds", type=float, default=300, help="training time, cache filling not counted")
    parser.add_argument(
        "--stages", default="256x256:0.8,320x192+192x320:0.2",
        help="WIDTHxHEIGHT[+WIDTHxHEIGHT…]:share of the time, in order; shapes with + take turns",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=16_384, help="pictures in each shape's cache")
    parser.add_argument(
        "--refresh", type=int, default=24, help="steps between renewals of a part of the cache"
    )
    parser.add_argument("--batch", type=int, default=256, help="of each process, at 256x256")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--hold", type=float, default=0.5, help="share of the schedule at full rate")
    parser.add_argument("--drop", type=float, default=0.3, help="share of captions that are empty")
    parser.add_argument("--plain", type=float, default=0.25, help="share of pictures on a plain ground")
    add_scene_arguments(parser)
    parser.add_argument("--init", type=Path, help="folder of an earlier run's shards")
    parser.add_argument("--average", type=float, default=0.999, help="decay of the weights' average")
    parser.add_argument("--widths", default="96,192,320", help="of the UNet")
    parser.add_argument("--layers", type=int, default=2, help="of the UNet")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--workers", type=int, default=14)


@dataclass
class Frozen:
    """The model that is steered; nothing of it is trained."""

    sprites: Sprites
    painter: Painter
    tokenizer: CLIPTokenizer
    vae: AutoencoderKL
    text: nn.Module
    unet: UNet2DConditionModel
    alphas: Tensor


def load_unet(args: argparse.Namespace) -> UNet2DConditionModel:
    unet = build_unet(tuple(int(width) for width in args.widths.split(",")), args.layers)
    unet.load_state_dict(load_shards(args.unet, "unet"))
    return unet.requires_grad_(False).eval()


def load_frozen(args: argparse.Namespace, unet: UNet2DConditionModel, device: torch.device) -> Frozen:
    """Reads what the arguments name, and puts all of it on the device as training wants it."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    sprites = load(args.sprites, args.puppets)
    vae = build_vae()
    vae.load_state_dict(load_shards(args.vae, "vae"))
    text = load_text(build_text(), load_shards(args.clip, "text"))
    return Frozen(
        sprites=sprites,
        painter=Painter(sprites.pixels, device),
        tokenizer=CLIPTokenizer.from_pretrained(args.tokenizer),
        vae=fuse(vae.to(device).requires_grad_(False).eval()),
        text=text.to(device, dtype).eval().requires_grad_(False),
        unet=fuse(unet.to(device)).to(dtype),
        alphas=DDIMScheduler.from_config(SCHEDULER).alphas_cumprod.to(device),
    )


class SteeredCache(Cache):
    """A cache with what steers each picture beside its latents."""

    def __init__(
        self,
        frozen: Frozen,
        batches: Iterator[tuple[Layout, Tensor]],
        height: int,
        width: int,
        count: int,
        look: Look,
    ) -> None:
        self.look, self.steering = look, torch.empty(0)
        super().__init__(frozen.vae, frozen.painter, self._noted(batches), height, width, count)

    def _noted(self, batches: Iterator[tuple[Layout, Tensor]]) -> Iterator[tuple[Layout, Tensor]]:
        for layout, ids in batches:
            self.layout = layout
            yield layout, ids

    @torch.no_grad()
    def renew(self) -> None:
        at = self.at
        super().renew()
        # drawn once more: that costs a tenth of encoding, and drawing is exact
        pixels = self.painter.draw(self.layout, self.height, self.width)
        parts = [torch.arange(at, min(at + PART, len(pixels))) for at in range(0, len(pixels), PART)]
        seen = torch.cat(
            [self.look(self.layout.rows(part.numpy()), pixels[part.to(pixels.device)]) for part in parts]
        )
        if not len(self.steering):
            self.steering = torch.empty(
                len(self.latents), *seen.shape[1:], device=seen.device, dtype=seen.dtype
            )
        rows = (torch.arange(len(seen), device=seen.device) + at) % len(self.latents)
        self.steering[rows] = seen

    def steered(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, token ids and steering of `size` pictures by chance."""
        rows = torch.randint(len(self.latents), (size,), device=self.latents.device)
        which = torch.randint(self.ids.shape[1], (size,), device=self.latents.device)
        return self.latents[rows], self.ids[rows, which].long(), self.steering[rows]


def v_loss(predict: Predict, latents: Tensor, context: Tensor, steering: Tensor, alphas: Tensor) -> Tensor:
    """Mean squared error of v for random timesteps (Salimans and Ho, arXiv:2202.00512)."""
    timesteps = torch.randint(len(alphas), (len(latents),), device=latents.device)
    alpha = alphas[timesteps].sqrt()[:, None, None, None]
    sigma = (1 - alphas[timesteps]).sqrt()[:, None, None, None]
    noise = torch.randn_like(latents)
    noisy = (alpha * latents + sigma * noise).to(context.dtype)
    predicted = predict(noisy, timesteps, context, steering)
    return F.mse_loss(predicted.float(), alpha * noise - sigma * latents)


def train(
    args: argparse.Namespace,
    frozen: Frozen,
    trained: nn.Module,
    loss_of: Loss,
    look: Look,
    name: str,
    measure: Callable[[], dict[str, float]],
) -> None:
    """Train `trained` (already fused and on its device) for `args.seconds`, through the frozen UNet that `loss_of`
    calls; at the end `measure` looks at its average, and the log has what it says. The average goes to `args.out` as `name`-*.safetensors each minute and after each stage."""
    device, first = frozen.alphas.device, rank() == 0
    masters = Masters(trained)
    average = Average(masters.state(), args.average)
    optimizer = adamw(masters.weights, args.lr, (0.9, 0.99), 0.01)
    resume = Resume(args.out / "resume.pt", recipe_of(args), masters.state, masters.load, optimizer, average)
    done = resume.enter(0.0, 1.0, args.fresh, device)
    rate = optimizer.param_groups[0]["lr"]
    log = Log(args.out / f"log-{rank()}.jsonl", every=50, loud=first)
    log.note(
        recipe={k: str(v) for k, v in vars(args).items()},
        parameters=sum(w.numel() for w in masters.weights),
        resumed_at=round(done, 4),
    )
    empty = ids_of(frozen.tokenizer, [""]).to(device).long()

    def step(latents: Tensor, context: Tensor, steering: Tensor) -> tuple[Tensor]:
        loss = loss_of(latents, context, steering)
        loss.backward()
        masters.collect()
        optimizer.step()
        masters.publish()
        return (loss.detach(),)

    def batch_of(cache: SteeredCache, size: int) -> tuple[Tensor, Tensor, Tensor]:
        latents, ids, steering = cache.steered(size)
        ids = torch.where(torch.rand(size, 1, device=device) < args.drop, empty, ids)
        with torch.no_grad():
            context = frozen.text(input_ids=ids).last_hidden_state
        return latents.float().contiguous(memory_format=torch.channels_last), context, steering

    def save(done: float) -> None:
        if first:
            save_shards(average.shadow, args.out, name)
            resume.save(done)

    for stage in stages_after(args.stages, done):
        streams = []
        for k, (width, height) in enumerate(stage.shapes):
            size = max(1, int(args.batch * min(256 * 256 / (width * height), 2)) // 8 * 8)
            sampler = SceneSampler(frozen.sprites, plain=args.plain, people=args.people, **scenes_of(args))
            seed = args.seed * 100 + 10 * stage.number + k + int(1000 * stage.begin) + 100_003 * rank()
            workers = max(1, args.workers // len(stage.shapes)) if args.workers else 0
            batches = feed(sampler, min(CHUNK, args.count), width / height, seed, workers, args.tokenizer)
            cache = SteeredCache(frozen, batches, height, width, args.count, look)
            rate.fill_(0.0)  # capture must not move the weights
            streams.append((cache, GraphedStep(step, batch_of(cache, size), log), size))
            log.note(shape=f"{width}x{height}", filled=args.count, steering=list(cache.steering.shape[1:]))
        began, span, at, spent = time.perf_counter(), args.seconds * (stage.end - stage.begin), 0, 0.0
        saved_at = 0.0
        log.last, log.pictures = began, 0
        while spent < span:
            if at % 8 == 0:
                if device.type == "cuda":
                    torch.cuda.synchronize()  # the clock must not run ahead of the device
                spent = agreed(time.perf_counter() - began, device)
                progress = min(stage.end, stage.begin + spent / args.seconds)
                rate.fill_(args.lr * schedule(int(progress * 100_000), 100_000, 1500, args.hold))
            cache, captured, size = streams[at % len(streams)]
            (loss,) = captured(*batch_of(cache, size))
            average.update(masters.state())
            if at % 200 == 0 and not torch.isfinite(loss):
                raise RuntimeError(
                    f"the loss is not finite at step {at} of stage {stage.number}; the weights last saved are kept"
                )
            log.step(at, size, loss=loss)
            at += 1
            if at % 8 == 0 and spent > saved_at + args.save_every:
                saved_at = spent
                save(progress)
            if at % args.refresh < len(streams):
                cache.renew()
        save(stage.end)
    if first:
        masters.load(average.shadow)
        log.note(**measure())
    leave()


@torch.no_grad()
def held_out(args: argparse.Namespace, frozen: Frozen, predict: Predict, look: Look) -> dict[str, float]:
    """Loss on scenes that training never met, steered by what belongs to them and by what belongs to others; the
    same noise for both. What was learnt is the difference."""
    device, count = frozen.alphas.device, min(HELD_OUT, args.count)
    sampler = SceneSampler(frozen.sprites, held_out=True, plain=args.plain, people=args.people)
    batches = feed(sampler, count, 1.0, args.seed + 9, 0, args.tokenizer)
    side = int(args.stages.split(":")[0].split("+")[0].split("x")[1])
    cache = SteeredCache(frozen, batches, side, side, count, look)
    losses: dict[str, float] = {}
    for name, steering in (("right", cache.steering), ("wrong", cache.steering.roll(1, 0))):
        torch.manual_seed(args.seed)
        total = 0.0
        for at in range(0, len(cache.latents), 64):
            rows = slice(at, at + 64)
            context = frozen.text(input_ids=cache.ids[rows, 0].long()).last_hidden_state
            latents = cache.latents[rows].float().contiguous(memory_format=torch.channels_last)
            total += float(v_loss(predict, latents, context, steering[rows], frozen.alphas)) * len(latents)
        losses[f"held_out_{name}"] = round(total / len(cache.latents), 5)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return losses
