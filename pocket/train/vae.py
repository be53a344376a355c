"""Train the autoencoder.

    python -m pocket.train.vae --config pocket/train/configs/vae.yaml --seconds 360

Loss: L1 and squared error on pixels, a small KL term, and on a quarter of the steps (the last third of the run is spent
on sharpness alone) scale equivariance (EQ-VAE, arXiv:2502.09509): the latents shrunk by half must decode to the picture
shrunk by half. It makes the latents smooth, so the UNet learns them sooner and a film's camera may warp them.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models import AutoencoderKL
from torch import Tensor

from pocket.data.compose import Painter
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
from pocket.train.fused import fuse
from pocket.train.nets import build_vae
from pocket.train.recipe import Clock, Resume, parse, recipe_of

KL = 2e-4
FLOPS = 142e9
"""Forward and backward of one 256x256 picture."""


def loss_of(vae: AutoencoderKL, pixels: Tensor, shrink: bool) -> tuple[Tensor, Tensor]:
    """(loss, mean squared error in [-1, 1] units)."""
    posterior = vae.encode(pixels).latent_dist
    latents = posterior.sample()
    if shrink:
        latents = F.interpolate(latents, scale_factor=0.5, mode="bilinear", antialias=True)
        pixels = F.interpolate(pixels, scale_factor=0.5, mode="bilinear", antialias=True)
    decoded = vae.decode(latents).sample.float()
    squared = F.mse_loss(decoded, pixels)
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    return F.l1_loss(decoded, pixels) + 5 * squared + KL * kl, squared


@torch.no_grad()
def psnr(vae: AutoencoderKL, pixels: Tensor) -> float:
    """Mean over pictures of the peak signal to noise ratio, dB; pixels (N, 3, H, W) in [-1, 1]."""
    values = []
    for part in pixels.split(64):
        with torch.autocast("cuda", torch.bfloat16, enabled=part.is_cuda):
            decoded = vae.decode(vae.encode(part).latent_dist.mode()).sample.float().clamp(-1, 1)
        values.append(10 * torch.log10(4 / ((decoded - part) ** 2).mean((1, 2, 3)).clamp(min=1e-8)))
    return float(torch.cat(values).mean())


@torch.no_grad()
def normalise(vae: AutoencoderKL, batches: list[Tensor]) -> None:
    """Fold the latents' mean and deviation into the 1x1 convolutions: then the scalar scaling factor 1 is right."""
    latents = torch.cat([vae.encode(part).latent_dist.mode().float() for part in batches])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    before, after = vae.quant_conv, vae.post_quant_conv
    channels = len(mean)
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= std[None, :, None, None]
    before.bias[:channels] = (before.bias[:channels] - mean) / std
    before.weight[:channels] /= std[:, None, None, None]
    before.bias[channels:] -= 2 * std.log()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--seconds", type=float, default=360, help="length of the run; the schedule follows the clock"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--chunk", type=int, default=1024, help="pictures drawn at a time, a multiple of the batch"
    )
    parser.add_argument("--init", type=Path, help="folder of an earlier run's shards")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    return parse(parser)


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    seed_all(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")

    sprites = load(args.sprites)
    painter = Painter(sprites.pixels, device)
    held_out = feed(SceneSampler(sprites, held_out=True), 128, 1.0, 99, 0)
    test = [painter.draw(next(held_out)[0], args.size, args.size) * 2 - 1 for _ in range(2)]

    vae = build_vae()
    if args.init:
        vae.load_state_dict(load_shards(args.init, "vae"))
    vae = fuse(vae.to(device))
    average = Average(vae.state_dict(), 0.999)
    optimizer = adamw(list(vae.parameters()), args.lr, (0.9, 0.99), 1e-4)
    resume = Resume(
        args.out / "resume.pt", recipe_of(args), vae.state_dict, vae.load_state_dict, optimizer, average
    )
    resumed = resume.enter(0.0, 1.0, args.fresh, torch.device(device))
    scenes = feed(SceneSampler(sprites), args.chunk, 1.0, args.seed + int(1000 * resumed), args.workers)
    log = Log(args.out / "log.jsonl", FLOPS, every=50)
    log.note(
        resumed_at=round(resumed, 4),
        recipe={k: str(v) for k, v in vars(args).items()},
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
    )

    def train(pixels: Tensor, shrink: bool) -> tuple[Tensor, Tensor]:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda", cache_enabled=False):
            loss, squared = loss_of(vae, pixels, shrink)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        return loss.detach(), squared.detach()

    example = torch.cat(test)[: args.batch].contiguous(memory_format=torch.channels_last)
    rate = optimizer.param_groups[0]["lr"]
    rate.fill_(0.0)  # capture must not teach noise
    steps = [GraphedStep(partial(train, shrink=shrink), [example], log) for shrink in (False, True)]
    clock, step, total = Clock(resume, resumed, args.seconds, args.save_every), 0, 1_000_000
    for _ in clock.rounds():
        layout, _ = log.next(scenes)
        chunk = painter.draw(layout, args.size, args.size) * 2 - 1
        for pixels in chunk.split(args.batch):
            rate.fill_(args.lr * schedule(int(clock.at() * total), total, total // 50, 0.3))
            shrink = step % 4 == 3 and clock.at() < 0.7
            loss, squared = steps[shrink](pixels)
            average.update(vae.state_dict())
            log.step(step, args.batch, loss=loss, mse=squared)
            step += 1
        if device == "cuda":
            torch.cuda.synchronize()  # the clock must not run ahead of the device
    live = {k: v.clone() for k, v in vae.state_dict().items()}
    scores = {"last": psnr(vae, torch.cat(test))}
    vae.load_state_dict(average.shadow)
    scores["average"] = psnr(vae, torch.cat(test))
    if scores["last"] > scores["average"]:
        vae.load_state_dict(live)
    normalise(vae, test)
    log.note(steps=step, psnr_held_out=scores, psnr_folded=psnr(vae, torch.cat(test)))
    save_shards(vae.state_dict(), args.out, "vae")
    resume.save(1.0)


if __name__ == "__main__":
    main()
