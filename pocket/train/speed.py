"""How fast one training step of the UNet runs, what it spends its time on, and what would speed it up.

    python -m pocket.train.speed --variants plain,fused --size 256 --batch 256 [--profile]
    torchrun --nproc-per-node 2 -m pocket.train.speed --variants fused --size 256 --batch 256

Random latents and texts: no data is needed. `plain` is diffusers as it comes, `fused` our kernels (fused.py).
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import torch
from diffusers.schedulers import DDIMScheduler

from pocket.train.common import GraphedStep, Log, Masters, adamw, join
from pocket.train.fused import fuse
from pocket.train.nets import SCHEDULER, TEXT_LENGTH, TEXT_WIDTH, build_unet
from pocket.train.unet import FLOPS, train_step


def agreement(device: torch.device) -> dict[str, float]:
    """How far the kernels in bf16 are from plain diffusers in fp32, relative, and plain bf16 autocast beside it."""
    torch.manual_seed(0)
    plain = build_unet().to(device)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.03) if parameter.ndim > 1 else torch.nn.init.normal_(
            parameter, 0.5, 0.2
        )
    fused = fuse(copy.deepcopy(plain))
    Masters(fused)
    x, timesteps = torch.randn(4, 8, 32, 24, device=device), torch.tensor([3, 300, 600, 999], device=device)
    context = torch.randn(4, TEXT_LENGTH, TEXT_WIDTH, device=device)
    expected = plain(x, timesteps, context).sample
    expected.square().mean().backward()
    gradients = [parameter.grad.clone() for parameter in plain.parameters()]
    plain.zero_grad()
    with torch.autocast(device.type, torch.bfloat16):
        cast = plain(x, timesteps, context).sample.float()
    cast.square().mean().backward()
    dtype = fused.dtype
    found = fused(x.to(dtype), timesteps, context.to(dtype), return_dict=False)[0].float()
    found.square().mean().backward()

    @torch.no_grad()
    def apart(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
        total = sum((x.float() - y.float()).square().sum() for x, y in zip(a, b, strict=True))
        return float((total / sum(y.float().square().sum() for y in b)).sqrt())

    return {
        "fused": apart([found], [expected]),
        "autocast": apart([cast], [expected]),
        "fused_gradient": apart([p.grad for p in fused.parameters()], gradients),
        "autocast_gradient": apart([p.grad for p in plain.parameters()], gradients),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variants", default="fused")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("build"))
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    device = join()
    torch.set_float32_matmul_precision("high")
    log = Log(args.out / "speed.jsonl")
    log.note(device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu")
    apart = agreement(device)
    log.note(apart={name: round(value, 5) for name, value in apart.items()})
    if not apart["fused_gradient"] < 3 * apart["autocast_gradient"] + 1e-3:
        raise SystemExit("the fused kernels do not compute what diffusers computes")
    torch.backends.cudnn.benchmark = True
    alphas = DDIMScheduler.from_config(SCHEDULER).alphas_cumprod.to(device)
    side = args.size // 8
    for variant in args.variants.split(","):
        began = time.perf_counter()
        unet = build_unet().to(device, memory_format=torch.channels_last)
        if variant == "fused":
            fuse(unet)
        masters = Masters(unet)
        optimizer = adamw(masters.weights, 1e-4, (0.9, 0.99), 0.01)
        latents = torch.randn(args.batch, 8, side, side, device=device).contiguous(
            memory_format=torch.channels_last
        )
        context = torch.randn(args.batch, TEXT_LENGTH, TEXT_WIDTH, device=device, dtype=torch.bfloat16)

        def train(
            latents: torch.Tensor, context: torch.Tensor, unet=unet, optimizer=optimizer, masters=masters
        ):
            return train_step(unet, masters, optimizer, latents, context, alphas)

        captured = GraphedStep(train, (latents, context), log)
        ready = time.perf_counter() - began
        for _ in range(3):
            captured(latents, context)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(args.steps):
            (loss,) = captured(latents, context)
        torch.cuda.synchronize()
        rate = args.batch * args.steps / (time.perf_counter() - start)
        mfu = rate * FLOPS.get((args.size, args.size), 0) / 790e12
        log.note(
            variant=variant, size=args.size, per_s=round(rate), mfu=round(mfu, 3), ready=round(ready, 1),
            loss=round(float(loss), 3), graph=captured.graph is not None,
            gib=round(torch.cuda.max_memory_allocated() / 2**30, 1),
        )  # fmt: skip
        if args.profile:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                captured(latents, context)
                torch.cuda.synchronize()
            rows = sorted(profile.key_averages(), key=lambda row: -row.self_device_time_total)
            total = sum(row.self_device_time_total for row in rows)
            print(f"kernels of one step: {total / 1000:.1f} ms")
            for row in rows[:28]:
                print(f"{row.self_device_time_total / 1000:8.2f} ms {row.count:5d}  {row.key[:110]}")
        del captured, train, unet, optimizer, masters
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
