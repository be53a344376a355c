"""Train pocket's ControlNet: a copy of the UNet's encoder that sees a map (Zhang et al., arXiv:2302.05543).

    python -m pocket.train.controlnet --config pocket/train/configs/control.yaml --seconds 300
    python -m pocket.train.controlnet --config pocket/train/configs/control.yaml \\
        --export src/jogak/models/weights/pocket-control

Kinds: `lines` (canny, scribble and line art mixed, strengths at random), `depth` (from the layout), `pose` (OpenPose's
colours; only puppets have joints) and `any`: one network for all three, a picture showing one of them. Their maps look
so unlike that it needs not be told which it is, and it is a third of the size of three. Started by
`torchrun --nproc-per-node N`, N devices share the work.

`--lite` leaves out the encoder's attention: it hears no words, and of the 42.8 M UNet takes 8.6 M parameters (17 MB in
fp16) in place of 19.3 M (39 MB). Both are diffusers' `ControlNetModel` and load wherever one does.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers.models import UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor

from pocket.data import maps
from pocket.data.compose import Layout, Painter
from pocket.train.common import join, load_shards, rank, seed_all
from pocket.train.fused import fuse
from pocket.train.recipe import parse
from pocket.train.steer import (
    Frozen,
    Look,
    Predict,
    add_arguments,
    held_out,
    load_frozen,
    load_unet,
    train,
    v_loss,
)

EYE = (16, 32, 64, 96)
"""Channels of the layers that look at the map, at 1, 1/2, 1/4 and 1/8 of its size."""
KINDS = ("lines", "depth", "pose", "any")


def build_control(unet: UNet2DConditionModel, lite: bool = False) -> ControlNetModel:
    """A ControlNet for this UNet that starts as its encoder and adds nothing yet."""
    whole = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=EYE)
    if not lite:
        return whole.requires_grad_(True)
    levels = len(whole.config.block_out_channels)
    config = {key: value for key, value in whole.config.items() if not key.startswith("_")}
    net = ControlNetModel.from_config(
        config | {"down_block_types": ("DownBlock2D",) * levels, "mid_block_type": "UNetMidBlock2D"}
    )
    own = net.state_dict()
    net.load_state_dict({name: value for name, value in whole.state_dict().items() if name in own})
    return net.requires_grad_(True)


def looker(kind: str, painter: Painter, joints: np.ndarray | None = None) -> Look:
    """What makes the maps of one kind, (B, 1 or 3, H, W) uint8; `any` gives every picture one of them by chance."""

    def lines(layout: Layout, pixels: Tensor) -> Tensor:
        return maps.random_lines(pixels)

    def depth(layout: Layout, pixels: Tensor) -> Tensor:
        return maps.depth(painter, layout, *pixels.shape[2:])

    def pose(layout: Layout, pixels: Tensor) -> Tensor:
        if joints is None:  # no puppets, no poses
            return torch.zeros_like(pixels)
        placed = maps.placed_joints(layout, joints)
        return maps.poses(torch.from_numpy(placed).to(pixels.device), *pixels.shape[2:])

    def one_of_all(layout: Layout, pixels: Tensor) -> Tensor:
        posed = pose(layout, pixels)
        first, second = torch.rand(2, len(pixels), 1, 1, 1, device=pixels.device)
        # half of the people by their pose; of the rest two in three by lines, which there are three kinds of
        shown = posed.amax((1, 2, 3), keepdim=True) > 0
        other = torch.where(second < 2 / 3, lines(layout, pixels), depth(layout, pixels))
        return torch.where(shown & (first < 0.5), posed, other)

    make = {"lines": lines, "depth": depth, "pose": pose, "any": one_of_all}[kind]
    return lambda layout, pixels: (make(layout, pixels) * 255).round().byte()


def predictor(unet: UNet2DConditionModel, net: ControlNetModel) -> Predict:
    def predict(noisy: Tensor, timesteps: Tensor, context: Tensor, seen: Tensor) -> Tensor:
        pixels = (
            (seen.to(noisy.dtype) / 255).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        )
        down, middle = net(noisy, timesteps, context, controlnet_cond=pixels, return_dict=False)
        return unet(
            noisy, timesteps, context, down_block_additional_residuals=list(down),
            mid_block_additional_residual=middle, return_dict=False,
        )[0]  # fmt: skip

    return predict


def export(build: Path, folder: Path) -> None:
    """The trained shards as a folder of diffusers, fp16."""
    config = json.loads((build / "config.json").read_text())
    net = ControlNetModel.from_config(
        {key: value for key, value in config.items() if not key.startswith("_")}
    )
    net.load_state_dict(load_shards(build, "control"))
    net.half().save_pretrained(folder, max_shard_size="200MB")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--lite", action="store_true", help="without attention")
    parser.add_argument("--export", type=Path, help="no training: write --out as a folder of diffusers here")
    return parse(parser)


def main() -> None:
    args = arguments()
    if args.export:
        export(args.out, args.export)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    device = join()
    seed_all(args.seed)  # the same weights in every process, then each its own pictures and noise
    unet = load_unet(args)
    net = build_control(unet, args.lite)
    if args.init:
        net.load_state_dict(load_shards(args.init, "control"))
    net.save_config(args.out)
    seed_all(args.seed + 100_003 * rank())
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    frozen: Frozen = load_frozen(args, unet, device)
    net = fuse(net.to(device))
    look = looker(args.kind, frozen.painter, frozen.sprites.joints)
    predict = predictor(frozen.unet, net)
    train(
        args, frozen, net, partial(v_loss, predict, alphas=frozen.alphas), look, "control",
        partial(held_out, args, frozen, predict, look),
    )  # fmt: skip


if __name__ == "__main__":
    main()
