"""Distil pocket to four steps without guidance: a LoRA on the UNet (multistep consistency distillation).

    python -m pocket.train.fast --config pocket/train/configs/fast.yaml --seconds 300
    python -m pocket.train.fast --config pocket/train/configs/fast.yaml --export src/jogak/models/weights/pocket-fast

The way from noise to picture is cut into four segments (Heek et al., arXiv:2403.06807). From anywhere in a segment the
student must reach the segment's end in one step: it takes one small step of the guided UNet, and from there its own
word (without gradient) for the rest, as consistency distillation does (Song et al., arXiv:2303.01469). The UNet's
guidance goes into the student (Luo et al., arXiv:2310.04378), so that it is used at guidance 1. A LoRA in place of a
second UNet: it is an eighth of the size and goes onto other LoRAs' pictures too (LCM-LoRA, arXiv:2311.05556).

Started by `torchrun --nproc-per-node N`, N devices share the work.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from pocket.data.compose import Layout
from pocket.data.scenes import SceneSampler
from pocket.train.common import feed, ids_of, join, load_shards, rank, seed_all
from pocket.train.nets import build_unet
from pocket.train.recipe import parse
from pocket.train.steer import Frozen, add_arguments, load_frozen, load_unet, train

STEPS = 4
"""Steps of the student; timesteps 999, 749, 499, 249, as `trailing` spaces them."""
PARTS = 10
"""Small steps of the teacher in each of them."""


class LoraFactors(nn.Module):
    """Two factors for each large weight of a model; the second starts at zero, so nothing is changed yet."""

    def __init__(self, model: nn.Module, rank: int) -> None:
        super().__init__()
        self.targets = {
            name: weight
            for name, weight in model.named_parameters()
            if weight.ndim in (2, 4) and min(weight.shape[:2]) > rank
        }
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for name, weight in self.targets.items():
            flat = weight.flatten(1)
            key = name.replace(".", "/")  # a parameter's name has no dots
            self.down[key] = nn.Parameter(torch.randn(rank, flat.shape[1]) / math.sqrt(flat.shape[1]))
            self.up[key] = nn.Parameter(torch.zeros(flat.shape[0], rank))

    def merged(self) -> dict[str, Tensor]:
        """The model's weights with the factors added, by name, in the model's own layout."""
        whole = {}
        for name, weight in self.targets.items():
            key = name.replace(".", "/")
            change = (self.up[key] @ self.down[key]).view_as(weight).to(weight.dtype)
            if weight.ndim == 4:
                change = change.contiguous(memory_format=torch.channels_last)
            whole[name] = weight + change
        return whole


class Ladder:
    """The teacher's timesteps from noise to picture, and the way of DDIM between any two of them.

    Rung 0 is pure noise, the last one (`STEPS * PARTS`) the picture. Where x = a z + s n and the model says
    v = a n - s z, a step from rung i to rung j is a turn by the angle between them (Salimans and Ho, arXiv:2202.00512):
    x_j = cos(angle) x_i - sin(angle) v.
    """

    def __init__(self, alphas: Tensor) -> None:
        count, rungs = len(alphas), STEPS * PARTS
        times = torch.arange(rungs, device=alphas.device)
        self.times = (count - times * count // rungs - 1).clamp(min=0)
        signal = torch.cat([alphas[self.times].sqrt(), torch.ones(1, device=alphas.device)])
        self.angles = torch.acos(signal.clamp(-1, 1))
        """0 at the picture, pi/2 at pure noise; (STEPS * PARTS + 1,)"""

    def mixed(self, latents: Tensor, noise: Tensor, rung: Tensor) -> Tensor:
        angle = self.angles[rung][:, None, None, None]
        return angle.cos() * latents + angle.sin() * noise

    def step(self, x: Tensor, v: Tensor, start: Tensor, end: Tensor) -> Tensor:
        turn = (self.angles[start] - self.angles[end])[:, None, None, None]
        return turn.cos() * x - turn.sin() * v

    def asked(self, x: Tensor, reached: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """The v that takes x from `start` to `reached` at `end`."""
        turn = (self.angles[start] - self.angles[end])[:, None, None, None]
        return (turn.cos() * x - reached) / turn.sin()


Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(noisy latents, timesteps, text) -> v, fp32."""


def loss_of(
    student: Velocity, teacher: Velocity, ladder: Ladder, latents: Tensor, context: Tensor, _: Tensor
) -> Tensor:
    """Squared error of the student's v against the one that leads where teacher and student together arrive."""
    start = torch.randint(STEPS * PARTS, (len(latents),), device=latents.device)
    end = (start // PARTS + 1) * PARTS
    following = start + 1
    noisy = ladder.mixed(latents, torch.randn_like(latents), start)
    with torch.no_grad():
        nearer = ladder.step(noisy, teacher(noisy, ladder.times[start], context), start, following)
        time = ladder.times[following.clamp(max=STEPS * PARTS - 1)]
        arrived = ladder.step(nearer, student(nearer, time, context), following, end)
        arrived = torch.where((following == end)[:, None, None, None], nearer, arrived)
        asked = ladder.asked(noisy, arrived, start, end)
    return F.mse_loss(student(noisy, ladder.times[start], context), asked)


def velocities(
    frozen: Frozen, factors: LoraFactors, empty: Tensor, guidance: float
) -> tuple[Velocity, Velocity]:
    """(student, teacher): the UNet with the factors, and without them but guided. `empty` is (1, 77, W)."""
    unet = frozen.unet
    dtype = next(unet.parameters()).dtype

    def student(x: Tensor, times: Tensor, context: Tensor) -> Tensor:
        said = functional_call(unet, factors.merged(), (x.to(dtype), times, context), {"return_dict": False})
        return said[0].float()

    def teacher(x: Tensor, times: Tensor, context: Tensor) -> Tensor:
        both = torch.cat([context, empty.expand_as(context)])
        said = unet(x.to(dtype).repeat(2, 1, 1, 1), times.repeat(2), both, return_dict=False)[0]
        worded, plain = said.float().chunk(2)
        return plain + guidance * (worded - plain)

    return student, teacher


@torch.no_grad()
def drawn(velocity: Velocity, ladder: Ladder, noise: Tensor, context: Tensor, parts: int) -> Tensor:
    """Latents out of noise, `parts` rungs of the ladder at a time."""
    x, last = noise, STEPS * PARTS
    for rung in range(0, last, parts):
        start = torch.full((len(x),), rung, device=x.device)
        x = ladder.step(x, velocity(x, ladder.times[start], context), start, start + parts)
    return x


def distance(
    args: argparse.Namespace, frozen: Frozen, student: Velocity, teacher: Velocity, ladder: Ladder
) -> dict[str, float]:
    """Mean squared distance, in latents, of the student's four steps from the teacher's forty guided ones for the same
    noise and words of held-out scenes; beside it that of the teacher's own four guided steps."""
    count, device = min(256, args.count), frozen.alphas.device
    sampler = SceneSampler(frozen.sprites, held_out=True, plain=args.plain, people=args.people)
    _, ids = next(feed(sampler, count, 1.0, args.seed + 9, 0, args.tokenizer))
    side = int(args.stages.split(":")[0].split("+")[0].split("x")[1]) // 8
    noise = torch.randn(count, 8, side, side, generator=torch.Generator().manual_seed(args.seed)).to(device)
    sums: dict[str, float] = {}
    for at in range(0, count, 64):
        rows = slice(at, at + 64)
        with torch.no_grad():
            context = frozen.text(input_ids=ids[rows, 0].to(device).long()).last_hidden_state
        goal = drawn(teacher, ladder, noise[rows], context, 1)
        for name, velocity in (("student_4", student), ("teacher_4", teacher)):
            found = drawn(velocity, ladder, noise[rows], context, PARTS)
            sums[name] = sums.get(name, 0.0) + float(F.mse_loss(found, goal)) * len(goal)
    return {name: round(total / count, 5) for name, total in sums.items()}


def nothing(layout: Layout, pixels: Tensor) -> Tensor:
    return torch.zeros(len(layout), 1, device=pixels.device)


def export(args: argparse.Namespace) -> None:
    """The factors as a LoRA file with diffusers' names (PEFT's layout, scale 1), fp16."""
    widths = tuple(int(width) for width in args.widths.split(","))
    shapes = {name: weight.shape for name, weight in build_unet(widths, args.layers).named_parameters()}
    file = {}
    for key, value in load_shards(args.out, "fast").items():
        kind, _, name = key.partition(".")
        name = name.replace("/", ".")
        if len(shapes[name]) == 4:
            value = value.view(-1, *shapes[name][1:]) if kind == "down" else value[:, :, None, None]
        part = "lora_A" if kind == "down" else "lora_B"
        file[f"unet.{name.removesuffix('.weight')}.{part}.weight"] = value.half().contiguous()
    args.export.mkdir(parents=True, exist_ok=True)
    temporary = args.export / "pytorch_lora_weights.tmp"
    save_file(file, temporary, {"format": "pt"})
    temporary.replace(args.export / "pytorch_lora_weights.safetensors")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--rank", type=int, default=32, help="of the LoRA")
    parser.add_argument("--guidance", type=float, default=4.0, help="of the teacher, learnt by the student")
    parser.add_argument("--export", type=Path, help="no training: write --out as a LoRA file here")
    return parse(parser)


def main() -> None:
    args = arguments()
    if args.export:
        export(args)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    device = join()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    frozen = load_frozen(args, load_unet(args), device)
    seed_all(args.seed)  # the same factors in every process, then each its own pictures and noise
    factors = LoraFactors(frozen.unet, args.rank).to(device)
    if args.init:
        factors.load_state_dict(load_shards(args.init, "fast"))
    seed_all(args.seed + 100_003 * rank())
    ladder = Ladder(frozen.alphas)
    with torch.no_grad():
        empty = frozen.text(input_ids=ids_of(frozen.tokenizer, [""]).to(device).long()).last_hidden_state
    student, teacher = velocities(frozen, factors, empty, args.guidance)
    train(
        args, frozen, factors, partial(loss_of, student, teacher, ladder), nothing, "fast",
        partial(distance, args, frozen, student, teacher, ladder),
    )  # fmt: skip


if __name__ == "__main__":
    main()
