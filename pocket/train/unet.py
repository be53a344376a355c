"""Train the UNet in stages, on latents that are encoded once and kept on the device.

    python -m pocket.train.unet --config pocket/train/configs/unet.yaml --seconds 1400

With `--text-lr` the text tower learns beside it, from the same loss: a tower that was only taught to tell captions
apart keeps of each what tells it apart, and lost colours, looks and sides (pocket.judge.text_tower). `--out` then has
its shards too, and what is trained on this UNet takes them (`--clip build/unet`).

Started by `torchrun --nproc-per-node N`, N devices share the work. v-prediction on the zero-terminal-SNR schedule of
nets.SCHEDULER; captions dropped one time in ten. The learning rate follows a clock that spans all runs: `--from 0 --to
0.6` now and `--from 0.6 --to 1` later make one schedule.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models import AutoencoderKL
from diffusers.schedulers import DDIMScheduler
from torch import Tensor, nn
from transformers import CLIPTokenizer

from pocket.data.compose import Layout, Painter
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import load
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
    join,
    leave,
    load_shards,
    rank,
    save_shards,
    scenes_of,
    schedule,
    seed_all,
)
from pocket.train.fused import fuse
from pocket.train.nets import SCHEDULER, TEXT_LENGTH, build_text, build_unet, build_vae, load_text
from pocket.train.recipe import Resume, parse, recipe_of, stages_after

FLOPS = {(128, 128): 9.66e9, (256, 256): 35.5e9, (320, 192): 33.4e9, (192, 320): 33.4e9, (384, 216): 45.9e9}
"""Forward and backward of one picture, from a flop counter (multiply and add count two)."""
DROP = 0.1
"""Share of captions replaced by the empty one, for guidance."""
CHUNK = 1024
MANY_SKIPPED = 50
"""Gradients that were not finite in one stage: by then it is no accident."""


class Cache:
    """Latents (N, C, h, w) fp16 and token ids (N, 2, 77) int16 on the device, filled once and then renewed in turn.

    Encoding costs about as much as a training step, so pictures are used several times; renewing one batch every few
    steps keeps them from growing stale.
    """

    def __init__(
        self, vae: AutoencoderKL, painter: Painter, batches: Iterator[tuple[Layout, Tensor]],
        height: int, width: int, count: int,
    ) -> None:  # fmt: skip
        self.vae, self.painter, self.batches = vae, painter, batches
        self.height, self.width, self.at = height, width, 0
        device = painter.device
        self.latents = torch.empty(count, 8, height // 8, width // 8, device=device, dtype=torch.float16)
        self.ids = torch.empty(count, 2, TEXT_LENGTH, device=device, dtype=torch.int16)
        for _ in range(0, count, CHUNK):
            self.renew()

    @torch.no_grad()
    def renew(self) -> None:
        layout, ids = next(self.batches)
        pixels = self.painter.draw(layout, self.height, self.width) * 2 - 1
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.bfloat16, enabled=pixels.is_cuda):
            # in parts, for the memory: 1024 pictures of 256x256 at 32 channels are 4 GiB in each layer
            coded = torch.cat([self.vae.encode(part).latent_dist.sample() for part in pixels.split(128)])
        if not torch.isfinite(coded).all():
            raise RuntimeError("the autoencoder gave latents that are not finite")
        rows = (torch.arange(len(coded), device=coded.device) + self.at) % len(self.latents)
        self.latents[rows] = coded.half()
        self.ids[rows] = ids.to(coded.device, non_blocking=True)
        self.at = (self.at + len(coded)) % len(self.latents)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(self.latents), (size,), device=self.latents.device)
        which = torch.randint(self.ids.shape[1], (size,), device=self.latents.device)
        return self.latents[rows], self.ids[rows, which].long()


def drawn_timesteps(count: int, most: int, device: torch.device) -> Tensor:
    """(count,) int64 below `most`: one half uniform, the other logit-normal (Esser et al., arXiv:2403.03206), for it
    is the middle noises that decide what a thing is."""
    half = count // 2
    middle = torch.sigmoid(torch.randn(count - half, device=device) + 0.3) * most
    return torch.cat([torch.randint(most, (half,), device=device), middle.long().clamp(0, most - 1)])


def loss_of(unet: nn.Module, latents: Tensor, context: Tensor, alphas: Tensor) -> Tensor:
    """Mean squared error of v for random timesteps (Salimans and Ho, arXiv:2202.00512)."""
    timesteps = drawn_timesteps(len(latents), len(alphas), latents.device)
    alpha = alphas[timesteps].sqrt()[:, None, None, None]
    sigma = (1 - alphas[timesteps]).sqrt()[:, None, None, None]
    noise = torch.randn_like(latents)
    noisy = (alpha * latents + sigma * noise).to(context.dtype)
    predicted = unet(noisy, timesteps, context, return_dict=False)[0]
    return F.mse_loss(predicted.float(), alpha * noise - sigma * latents)


def train_step(
    unet: nn.Module,
    masters: Masters,
    optimizer: torch.optim.Optimizer,
    latents: Tensor,
    context: Tensor,
    alphas: Tensor,
) -> tuple[Tensor, Tensor]:
    """One whole step, all on the device, so that it can be captured. Returns the loss and the gradient's length."""
    loss = loss_of(unet, latents, context, alphas)
    loss.backward()
    norm = masters.collect()
    optimizer.step()
    masters.publish()
    return loss.detach(), norm


def optimizer_of(masters: Masters, lr: float, text_lr: float) -> torch.optim.AdamW:
    """One group for the UNet and, if it learns, a second for the text tower, which has a rate of its own."""
    groups: dict[str, list[nn.Parameter]] = {"unet": [], "text": []}
    for name, weight in zip(masters.names, masters.weights, strict=True):
        groups[name.partition(".")[0]].append(weight)
    optimizer = adamw(groups["unet"], lr, (0.9, 0.99), 0.01)
    if groups["text"]:
        rate = torch.tensor(text_lr, device=groups["text"][0].device)
        optimizer.add_param_group({"params": groups["text"], "lr": rate})
    return optimizer


def part_of(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of one of the two models, by their own names."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


@dataclass
class Stream:
    """Pictures of one shape: their cache, and the step captured for them."""

    cache: Cache
    step: GraphedStep
    batch: int
    shape: tuple[int, int]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--sprites", "--tokenizer", "--vae", "--clip", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument(
        "--seconds", type=float, required=True, help="training time, cache filling not counted"
    )
    parser.add_argument(
        "--stages", default="256x256:1",
        help="WIDTHxHEIGHT[+WIDTHxHEIGHT…]:share of the time, in order; shapes with + take turns, "
        "and 128x128 beside a larger one is close-ups of single things",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=32_768, help="pictures in each shape's cache")
    parser.add_argument(
        "--refresh", type=int, default=24, help="steps between renewals of a part of the cache"
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=256,
        help="of each process, at 256x256; smaller pictures come in larger batches",
    )
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument(
        "--from", dest="start", type=float, default=0.0, help="where on the schedule this run starts"
    )
    parser.add_argument(
        "--to", dest="end", type=float, default=1.0, help="where on the schedule this run ends"
    )
    parser.add_argument("--hold", type=float, default=0.2, help="share of the schedule at full rate")
    parser.add_argument("--plain", type=float, default=0.4, help="share of pictures on a plain ground")
    parser.add_argument("--puppets", type=Path, help="an .npz of pocket.data.puppets --many")
    parser.add_argument("--people", type=float, default=0.2, help="share of pictures with a puppet")
    add_scene_arguments(parser)
    parser.add_argument("--attention", choices=("flash", "efficient", "math"), default="flash")
    parser.add_argument("--init", type=Path, help="folder of an earlier run's unet shards")
    parser.add_argument(
        "--text-lr",
        type=float,
        default=0.0,
        help="the text tower's rate, on the same schedule; 0: it stays as it is",
    )
    parser.add_argument(
        "--average", type=float, default=0.999, help="decay of the weights' average; less for a short run"
    )
    parser.add_argument("--widths", default="96,192,320")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--workers", type=int, default=14)
    return parse(parser)


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    device = join()
    first = rank() == 0
    seed_all(args.seed)  # the same weights in every process, then each its own pictures and noise
    unet = build_unet(tuple(int(width) for width in args.widths.split(",")), args.layers)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.enable_flash_sdp(args.attention == "flash")
    torch.backends.cuda.enable_mem_efficient_sdp(args.attention != "math")
    torch.set_float32_matmul_precision("high")

    sprites = load(args.sprites, args.puppets)
    painter = Painter(sprites.pixels, device)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    vae = build_vae()
    vae.load_state_dict(load_shards(args.vae, "vae"))
    vae = fuse(vae.to(device).requires_grad_(False).eval())
    text = load_text(build_text(), load_shards(args.clip, "text"))
    text = text.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    text = text.eval().requires_grad_(args.text_lr > 0)
    alphas = DDIMScheduler.from_config(SCHEDULER).alphas_cumprod.to(device)
    if args.init:
        unet.load_state_dict(load_shards(args.init, "unet"))
    unet = fuse(unet.to(device))
    masters = Masters(nn.ModuleDict({"unet": unet, "text": getattr(text, "text_model", text)}))
    average = Average(masters.state(), args.average)
    optimizer = optimizer_of(masters, args.lr, args.text_lr)
    path = args.out / "resume.pt"
    if args.start and not args.init and not path.exists():
        raise SystemExit(f"{path} is not there: nothing to go on from; --from 0 or --init FOLDER")
    resume = Resume(path, recipe_of(args), masters.state, masters.load, optimizer, average)
    at = resume.enter(args.start, args.end, args.fresh, device)
    seed_all(args.seed + int(1000 * at) + 100_003 * rank())
    log = Log(args.out / f"log-{rank()}.jsonl", every=50, loud=first)
    log.note(recipe={k: str(v) for k, v in vars(args).items()}, resumed_at=round(at, 4))
    empty = ids_of(tokenizer, [""]).to(device).long()

    def set_rate(factor: float) -> None:
        for group, most in zip(optimizer.param_groups, (args.lr, args.text_lr), strict=False):
            group["lr"].fill_(most * factor)

    def train(latents: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        context = text(input_ids=ids).last_hidden_state
        return train_step(unet, masters, optimizer, latents, context, alphas)

    def batch_of(cache: Cache, size: int) -> tuple[Tensor, Tensor]:
        latents, ids = cache.batch(size)
        ids = torch.where(torch.rand(size, 1, device=device) < DROP, empty, ids)
        return latents.float().contiguous(memory_format=torch.channels_last), ids

    def stream_of(width: int, height: int, shapes: tuple[tuple[int, int], ...], seed: int) -> Stream:
        batch = max(8, int(args.batch * min(256 * 256 / (width * height), 2)) // 8 * 8)
        began = time.perf_counter()
        close_ups = (width, height) == (128, 128) and len(shapes) > 1
        sampler = SceneSampler(
            sprites, plain=args.plain, people=args.people, close_ups=close_ups, **scenes_of(args)
        )
        workers = args.workers if len(shapes) == 1 else max(1, args.workers // 2)
        batches = feed(sampler, min(CHUNK, args.count), width / height, seed, workers, args.tokenizer)
        cache = Cache(vae, painter, batches, height, width, args.count)
        log.note(
            shape=f"{width}x{height}",
            filled=args.count,
            per_s=round(args.count / (time.perf_counter() - began)),
        )
        set_rate(0.0)  # capture must not move the weights
        captured = GraphedStep(train, batch_of(cache, batch), log)
        log.note(captured=round(time.perf_counter() - began, 1))
        return Stream(cache, captured, batch, (width, height))

    def save(at: float) -> None:
        if first:
            for name in ("unet", "text"):
                if state := part_of(average.shadow, name):
                    save_shards(state, args.out, name)
            resume.save(at)

    whole = args.end - args.start
    for stage in stages_after(args.stages, (at - args.start) / whole):
        seed = args.seed * 100 + 10 * stage.number + int(1000 * at) + 100_003 * rank()
        streams = [stream_of(*shape, stage.shapes, seed + k) for k, shape in enumerate(stage.shapes)]
        log.flops = sum(FLOPS.get(stream.shape, 0.0) for stream in streams) / len(streams)
        log.last, log.pictures = time.perf_counter(), 0
        skipped, saved_at = torch.zeros((), device=device), 0.0
        began, span, step, spent = time.perf_counter(), args.seconds * (stage.end - stage.begin), 0, 0.0
        while spent < span:
            if step % 8 == 0:
                if device.type == "cuda":
                    torch.cuda.synchronize()  # the clock must not run ahead of the device
                spent = agreed(time.perf_counter() - began, device)
                at = args.start + whole * min(stage.end, stage.begin + spent / args.seconds)
                set_rate(schedule(int(at * 100_000), 100_000, 1500, args.hold))
            stream = streams[step % len(streams)]
            loss, norm = stream.step(*batch_of(stream.cache, stream.batch))
            skipped += ~torch.isfinite(norm)
            average.update(masters.state())
            if step % 200 == 0 and skipped > MANY_SKIPPED:
                raise RuntimeError(
                    f"{int(skipped)} gradients were not finite by step {step} of stage {stage.number}; the weights "
                    "last saved are kept"
                )
            log.step(step, stream.batch, loss=loss, norm=norm, skipped=skipped)
            step += 1
            if step % 8 == 0 and spent > saved_at + args.save_every:
                saved_at = spent
                save(at)
            if step % args.refresh < len(streams):
                stream.cache.renew()
        at = args.start + whole * stage.end
        save(at)
        del streams, stream
        torch.cuda.empty_cache()
    log.note(
        saved=True,
        peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 1) if device.type == "cuda" else 0,
    )
    leave()


if __name__ == "__main__":
    main()
