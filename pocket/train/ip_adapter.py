"""Train pocket's IP-Adapter: four tokens from pocket's vision tower (Ye et al., arXiv:2308.06721).

    python -m pocket.train.ip_adapter --sprites build/sprites.npz --tokenizer build/tokenizer --vae build/vae \\
        --clip build/unet --unet build/unet --vision build/vision --out build/ip --seconds 300 --drop 0.15
    python -m pocket.train.ip_adapter --vision build/vision --out build/ip --export src/jogak/models/weights/pocket-ip

`--vision` holds the shards of the whole CLIP (`pocket-*.safetensors`), `--clip` those of the text tower that the UNet
listens to. The file is of h94's layout, and the tower goes with it as `image_encoder/`. Started by
`torchrun --nproc-per-node N`, N devices share the work.

The reference is the picture itself or, for a share of the pictures, its things alone on white; it is mirrored half of
the time. So words still decide where things stand and what is around them.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from pocket.data.compose import Layout, Painter
from pocket.train.common import join, load_shards, rank, seed_all
from pocket.train.fused import _attend, _FusedBlock, geglu
from pocket.train.nets import TEXT_WIDTH, build_clip
from pocket.train.recipe import parse
from pocket.train.steer import Look, Predict, add_arguments, held_out, load_frozen, load_unet, train, v_loss

TOKENS = 4
BLANK = 0.1
"""Share of references replaced by zeros, for guidance."""
ALONE = 0.35
"""Share of references that show the things without their place."""
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class IpAdapter(nn.Module):
    """What is trained; its parameters have the names of h94's files."""

    def __init__(self, unet: UNet2DConditionModel, vision_width: int) -> None:
        super().__init__()
        projection = nn.ModuleDict(
            {"proj": nn.Linear(vision_width, TOKENS * TEXT_WIDTH), "norm": nn.LayerNorm(TEXT_WIDTH)}
        )
        self.image_proj = projection
        self.ip_adapter = nn.ModuleDict()
        for number, block in enumerate(blocks_with_text(unet)):
            width = block.attn2.to_k.out_features
            heard = nn.ModuleDict(
                {name: nn.Linear(TEXT_WIDTH, width, bias=False) for name in ("to_k_ip", "to_v_ip")}
            )
            # the words' keys and values are a better start than chance
            heard["to_k_ip"].weight.data.copy_(block.attn2.to_k.weight)
            heard["to_v_ip"].weight.data.copy_(block.attn2.to_v.weight)
            self.ip_adapter[str(2 * number + 1)] = heard

    def forward(self, embeds: Tensor) -> Tensor:
        """(B, vision width) -> (B, TOKENS, TEXT_WIDTH)."""
        tokens = F.linear(embeds, self.image_proj["proj"].weight) + self.image_proj["proj"].bias
        norm = self.image_proj["norm"]
        return F.layer_norm(
            tokens.unflatten(1, (TOKENS, -1)), (TEXT_WIDTH,), norm.weight, norm.bias, norm.eps
        )


def blocks_with_text(unet: UNet2DConditionModel) -> list[nn.Module]:
    """The transformer blocks in the order of IP-Adapter's numbers: as the UNet lists its attentions."""
    names = [name for name in unet.attn_processors if name.endswith(".attn2.processor")]
    return [unet.get_submodule(name.removesuffix(".attn2.processor")) for name in names]


class _IpBlock(_FusedBlock):
    """A fused block whose attention to the words also hears the reference."""

    said: list[Tensor]
    """the current batch's tokens, shared by all blocks"""
    heard: tuple[nn.Module, ...]
    """to_k_ip and to_v_ip; in a tuple, so that they are not the UNet's"""

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = _attend(self.attn1, self._normed(self.norm1, x), None, x)
        attention, h = self.attn2, self._normed(self.norm2, x)
        x = _attend(attention, h, context, x)
        to_k, to_v = self.heard
        q, k, v = F.linear(h, attention.to_q.weight), to_k(self.said[0]), to_v(self.said[0])
        q, k, v = (part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in (q, k, v))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + F.linear(seen, attention.to_out[0].weight)
        first, _, last = self.ff.net
        h = geglu(F.linear(self._normed(self.norm3, x), first.proj.weight), first.proj.bias)
        return x + F.linear(h, last.weight, last.bias)


def predictor(unet: UNet2DConditionModel, adapter: IpAdapter) -> Predict:
    """Makes the fused UNet's blocks hear, and returns what runs it."""
    said: list[Tensor] = [torch.empty(0)]
    for block, heard in zip(blocks_with_text(unet), adapter.ip_adapter.values(), strict=True):
        block.__class__ = _IpBlock
        block.said, block.heard = said, (heard["to_k_ip"], heard["to_v_ip"])

    def predict(noisy: Tensor, timesteps: Tensor, context: Tensor, embeds: Tensor) -> Tensor:
        blank = torch.rand(len(embeds), 1, device=embeds.device) < (BLANK if torch.is_grad_enabled() else 0.0)
        said[0] = adapter(torch.where(blank, 0.0, embeds).to(noisy.dtype))
        return unet(noisy, timesteps, context, return_dict=False)[0]

    return predict


def looker(tower: CLIPVisionModelWithProjection, painter: Painter) -> Look:
    """What makes the embeddings of references, (B, P) fp16, as the tower gives them."""
    side = tower.config.image_size

    @torch.no_grad()
    def look(layout: Layout, pixels: Tensor) -> Tensor:
        alone = np.flatnonzero(np.random.random(len(layout)) < ALONE)
        if len(alone):
            bare = layout.rows(alone)
            bare.place, bare.plain, bare.shadow = (
                np.full_like(bare.place, -1),
                np.ones_like(bare.plain),
                bare.shadow * 0,
            )
            pixels = pixels.clone()
            pixels[torch.from_numpy(alone).to(pixels.device)] = painter.draw(bare, *pixels.shape[2:])
        # the whole picture squeezed into the square, as references are
        small = F.interpolate(
            pixels, size=(side, side), mode="bicubic", antialias=True, align_corners=False
        ).clamp(0, 1)
        mirrored = torch.rand(len(small), 1, 1, 1, device=small.device) < 0.5
        small = torch.where(mirrored, small.flip(3), small)
        return tower(pixel_values=(small * 2 - 1).to(tower.dtype)).image_embeds.half()

    return look


def load_tower(clip: Path) -> CLIPVisionModelWithProjection:
    """Pocket's vision tower out of the whole CLIP's shards."""
    whole = build_clip()
    whole.load_state_dict(load_shards(clip, "pocket"))
    return vision_of(whole)


def vision_of(whole: nn.Module) -> CLIPVisionModelWithProjection:
    tower = CLIPVisionModelWithProjection(whole.config.vision_config)
    tower.load_state_dict(
        {k: v for k, v in whole.state_dict().items() if k.startswith(("vision_model.", "visual_projection."))}
    )
    return tower.requires_grad_(False).eval()


@torch.no_grad()
def for_clip_pixels(tower: CLIPVisionModelWithProjection) -> CLIPVisionModelWithProjection:
    """The same tower for pixels scaled by CLIP's mean and deviation in place of -1..1, so that stock pipelines, which
    know no other scale, feed it rightly: the scale goes into the patches' weights, the mean into their positions."""
    embeddings = tower.vision_model.embeddings
    weight = embeddings.patch_embedding.weight
    mean = torch.tensor(_CLIP_MEAN, dtype=weight.dtype).view(1, 3, 1, 1)
    std = torch.tensor(_CLIP_STD, dtype=weight.dtype).view(1, 3, 1, 1)
    embeddings.position_embedding.weight[1:] += (weight * (2 * mean - 1)).sum((1, 2, 3))
    weight.mul_(2 * std)
    return tower


def export(build: Path, vision: Path, folder: Path) -> None:
    """The trained shards in h94's layout, the vision tower beside them, fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    for_clip_pixels(load_tower(vision)).half().save_pretrained(folder / "image_encoder")
    temporary = folder / "ip-adapter_pocket.tmp"
    save_file(load_shards(build, "ip"), temporary)
    temporary.replace(folder / "ip-adapter_pocket.safetensors")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--vision", type=Path, required=True, help="folder of the whole CLIP's shards")
    parser.add_argument("--export", type=Path, help="no training: write --out in h94's layout here")
    return parse(parser)


def main() -> None:
    args = arguments()
    if args.export:
        export(args.out, args.vision, args.export)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    device = join()
    seed_all(args.seed)  # the same weights in every process, then each its own pictures and noise
    unet, tower = load_unet(args), load_tower(args.vision)
    adapter = IpAdapter(unet, tower.config.projection_dim)
    if args.init:
        adapter.load_state_dict(load_shards(args.init, "ip"))
    seed_all(args.seed + 100_003 * rank())
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    frozen = load_frozen(args, unet, device)
    tower = tower.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    adapter = adapter.to(device)
    look = looker(tower, frozen.painter)
    predict = predictor(frozen.unet, adapter)
    train(
        args, frozen, adapter, partial(v_loss, predict, alphas=frozen.alphas), look, "ip",
        partial(held_out, args, frozen, predict, look),
    )  # fmt: skip


if __name__ == "__main__":
    main()
