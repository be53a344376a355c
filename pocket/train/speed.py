"""How fast one training step of the UNet runs, what it spends its time on, and what would speed it up.

    python -m pocket.train.speed --variants fused,blocks --size 256 --batch 256 [--profile]
    torchrun --nproc-per-node 2 -m pocket.train.speed --variants fused --size 256 --batch 256

Random latents and texts: no data is needed. `plain` is diffusers as it comes, `fused` our Triton norms, `blocks`
torch.compile of each repeated block, `both` the two together.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from diffusers.schedulers import DDIMScheduler

from pocket.train.common import GraphedStep, Log, adamw, join, share_gradients
from pocket.train.fused import fuse
from pocket.train.nets import SCHEDULER, TEXT_LENGTH, TEXT_WIDTH, build_unet
from pocket.train.unet import FLOPS, loss_of


def prepare(variant: str, device: torch.device) -> torch.nn.Module:
    unet = build_unet().to(device)
    if variant in ("fused", "both"):
        fuse(unet)
    unet.to(memory_format=torch.channels_last)
    if variant in ("blocks", "both"):
        for module in unet.modules():
            if isinstance(module, ResnetBlock2D | BasicTransformerBlock):
                module.compile(dynamic=False)
    return unet


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
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.recompile_limit = 64
    log = Log(args.out / "speed.jsonl")
    alphas = DDIMScheduler.from_config(SCHEDULER).alphas_cumprod.to(device)
    side = args.size // 8
    for variant in args.variants.split(","):
        began = time.perf_counter()
        unet = prepare(variant, device)
        parameters = list(unet.parameters())
        optimizer = adamw(parameters, 1e-4, (0.9, 0.99), 0.01)
        latents = torch.randn(args.batch, 8, side, side, device=device).contiguous(
            memory_format=torch.channels_last
        )
        context = torch.randn(args.batch, TEXT_LENGTH, TEXT_WIDTH, device=device, dtype=torch.bfloat16)

        def train(
            latents: torch.Tensor,
            context: torch.Tensor,
            unet=unet,
            optimizer=optimizer,
            parameters=parameters,
        ):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False):
                loss = loss_of(unet, latents, context, alphas)
            loss.backward()
            share_gradients(parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            return (loss.detach(),)

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
        del captured, train, unet, optimizer, parameters
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
