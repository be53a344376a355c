"""Train the UNet in stages, on latents that are encoded once and kept on the device.

    python -m pocket.train.unet --sprites build/sprites.npz --tokenizer build/tokenizer --vae build/vae \\
        --clip build/clip --out build/unet --seconds 540 --stages 128x128:0.45,256x256:0.40,320x192:0.15

v-prediction on the zero-terminal-SNR schedule of nets.SCHEDULER; captions dropped one time in ten. The learning rate
follows a clock that spans all runs: `--from 0 --to 0.6` now and `--from 0.6 --to 1` later make one schedule.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
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
    adamw,
    feed,
    ids_of,
    load_shards,
    save_shards,
    schedule,
    seed_all,
)
from pocket.train.fused import fuse
from pocket.train.nets import SCHEDULER, TEXT_LENGTH, build_text, build_unet, build_vae, load_text

FLOPS = {(128, 128): 9.66e9, (256, 256): 35.5e9, (320, 192): 33.4e9, (192, 320): 33.4e9}
"""Forward and backward of one picture, from a flop counter (multiply and add count two)."""
DROP = 0.1
"""Share of captions replaced by the empty one, for guidance."""
CHUNK = 1024


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
            # in parts: 1024 pictures of 256x256 at 32 channels are 2**31 numbers, past what the kernels can index
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


def loss_of(unet: nn.Module, latents: Tensor, context: Tensor, alphas: Tensor) -> Tensor:
    """Mean squared error of v for random timesteps (Salimans and Ho, arXiv:2202.00512)."""
    timesteps = torch.randint(len(alphas), (len(latents),), device=latents.device)
    alpha = alphas[timesteps].sqrt()[:, None, None, None]
    sigma = (1 - alphas[timesteps]).sqrt()[:, None, None, None]
    noise = torch.randn_like(latents)
    predicted = unet(alpha * latents + sigma * noise, timesteps, context, return_dict=False)[0]
    return F.mse_loss(predicted.float(), alpha * noise - sigma * latents)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("--sprites", "--tokenizer", "--vae", "--clip", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument(
        "--seconds", type=float, required=True, help="training time, cache filling not counted"
    )
    parser.add_argument("--stages", default="256x256:1", help="WIDTHxHEIGHT:share of the time, in order")
    parser.add_argument("--count", type=int, default=61_440, help="pictures in each stage's cache")
    parser.add_argument(
        "--refresh", type=int, default=24, help="steps between renewals of a part of the cache"
    )
    parser.add_argument(
        "--batch", type=int, default=512, help="at 256x256; smaller pictures come in larger batches"
    )
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument(
        "--from", dest="start", type=float, default=0.0, help="where on the schedule this run starts"
    )
    parser.add_argument(
        "--to", dest="end", type=float, default=1.0, help="where on the schedule this run ends"
    )
    parser.add_argument("--hold", type=float, default=0.5, help="share of the schedule at full rate")
    parser.add_argument("--plain", type=float, default=0.4, help="share of pictures on a plain ground")
    parser.add_argument("--init", type=Path, help="folder of an earlier run's unet shards")
    parser.add_argument(
        "--average", type=float, default=0.999, help="decay of the weights' average; less for a short run"
    )
    parser.add_argument("--widths", default="96,192,320")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--workers", type=int, default=14)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    seed_all(args.seed + int(1000 * args.start))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")

    sprites = load(args.sprites)
    painter = Painter(sprites.pixels, device)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    vae = build_vae()
    vae.load_state_dict(load_shards(args.vae, "vae"))
    vae = fuse(vae.to(device).requires_grad_(False).eval())
    text = load_text(build_text(), load_shards(args.clip, "text"))
    text = text.to(device, torch.bfloat16 if device == "cuda" else torch.float32).eval().requires_grad_(False)
    alphas = DDIMScheduler.from_config(SCHEDULER).alphas_cumprod.to(device)
    widths = tuple(int(width) for width in args.widths.split(","))
    unet = build_unet(widths, args.layers).to(device)
    state = args.out / "resume.pt"  # our own file on our own disk; nothing from outside is unpickled
    if args.init:
        unet.load_state_dict(load_shards(args.init, "unet"))
    fuse(unet)
    average = Average(unet, args.average)
    optimizer = adamw(list(unet.parameters()), args.lr, (0.9, 0.99), 0.01)
    if state.exists() and args.start > 0:
        saved = torch.load(state, map_location=device, weights_only=True)
        unet.load_state_dict(saved["unet"])
        average.shadow, average.steps = saved["average"], saved["steps"]
        optimizer.load_state_dict(saved["optimizer"])
    log = Log(args.out / "log.jsonl", every=50)
    log.note(
        recipe={k: str(v) for k, v in vars(args).items()}, resumed=bool(state.exists() and args.start > 0)
    )
    empty = ids_of(tokenizer, [""]).to(device).long()

    def train(latents: Tensor, context: Tensor) -> tuple[Tensor]:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda", cache_enabled=False):
            loss = loss_of(unet, latents, context, alphas)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        return (loss.detach(),)

    done = 0.0
    for number, stage in enumerate(args.stages.split(",")):
        shape, share = stage.split(":")
        width, height = (int(v) for v in shape.split("x"))
        batch = int(args.batch * min(256 * 256 / (width * height), 2))
        began = time.perf_counter()
        sampler = SceneSampler(sprites, plain=args.plain)
        seed = args.seed * 100 + number + int(1000 * args.start)
        batches = feed(sampler, CHUNK, width / height, seed, args.workers, args.tokenizer)
        cache = Cache(vae, painter, batches, height, width, args.count)
        log.note(stage=stage, filled=args.count, per_s=round(args.count / (time.perf_counter() - began)))

        def batch_of(size: int, cache: Cache = cache) -> tuple[Tensor, Tensor]:
            latents, ids = cache.batch(size)
            ids = torch.where(torch.rand(size, 1, device=device) < DROP, empty, ids)
            with torch.no_grad():
                context = text(input_ids=ids).last_hidden_state
            return latents.float().contiguous(memory_format=torch.channels_last), context

        optimizer.param_groups[0]["lr"].fill_(0.0)  # capture must not move the weights
        captured = GraphedStep(train, batch_of(batch), log)
        log.note(captured=round(time.perf_counter() - began, 1))
        log.flops = FLOPS.get((width, height), 0.0)
        log.last, log.pictures = time.perf_counter(), 0
        began, span, step = time.perf_counter(), args.seconds * float(share), 0
        while (spent := time.perf_counter() - began) < span:
            at = args.start + (args.end - args.start) * (done + spent) / args.seconds
            optimizer.param_groups[0]["lr"].fill_(
                args.lr * schedule(int(at * 100_000), 100_000, 1500, args.hold)
            )
            (loss,) = captured(*batch_of(batch))
            average.update(unet)
            if step % 200 == 0 and not torch.isfinite(loss):
                raise RuntimeError(
                    f"the loss is not finite at step {step} of stage {stage}; the last stage's weights are kept"
                )
            log.step(step, batch, loss=loss)
            step += 1
            if step % args.refresh == 0:
                cache.renew()
            if step % 8 == 0 and device == "cuda":
                torch.cuda.synchronize()  # the clock must not run ahead of the device
        done += span
        save_shards(average.shadow, args.out, "unet")  # after each stage: a later one may fail
        del cache, batches, captured
    torch.save(
        {
            "unet": unet.state_dict(),
            "average": average.shadow,
            "steps": average.steps,
            "optimizer": optimizer.state_dict(),
        },
        state,
    )
    log.note(
        saved=True, peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 1) if device == "cuda" else 0
    )


if __name__ == "__main__":
    main()
