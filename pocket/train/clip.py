"""Train a bilingual CLIP: pocket's own (`--which pocket`) or the separately seeded judge (`--which judge`).

    python -m pocket.train.clip --config pocket/train/configs/clip.yaml --seconds 150
    python -m pocket.train.clip --config pocket/train/configs/judge.yaml --seconds 240

Each picture comes with an English and a Korean caption; the loss is contrastive between all three, plus one shared
linear head that must name the main subject from any of the three embeddings, which ties rare words to pictures soon.
With `--negatives` pictures also come with wrong captions, which differ from the right ones in one thing
(pocket.data.wrong) and which nothing may be nearest to (NegCLIP: Yuksekgonul et al., arXiv:2210.01936).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from pocket.data.compose import Painter
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites, load
from pocket.train.common import (
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
from pocket.train.nets import build_clip, build_judge, load_text
from pocket.train.recipe import Resume, parse, recipe_of

LONGEST = 64
"""Nearly all captions are shorter; attention over padding is wasted."""
END = 1
"""The tokenizer's id of the last token and of padding."""


def embed_image(model: CLIPModel, pixels: Tensor) -> Tensor:
    """pixels (B, 3, H, W) in 0..1, any size; unit vectors (B, P)."""
    size = model.config.vision_config.image_size
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(
            pixels, size=(size, size), mode="bilinear", antialias=True, align_corners=False
        )
    pooled = model.vision_model(pixel_values=(pixels * 2 - 1).to(model.dtype)).pooler_output
    return F.normalize(model.visual_projection(pooled).float(), dim=-1)


def embed_text(model: CLIPModel, ids: Tensor) -> Tensor:
    pooled = model.text_model(input_ids=ids).pooler_output
    return F.normalize(model.text_projection(pooled).float(), dim=-1)


class Wrong(NamedTuple):
    """Wrong captions, one for each of a batch's scenes."""

    rows: Tensor
    """(B, P) unit vectors."""
    there: Tensor
    """(B,) bool; where it is false there is no wrong caption, and the row says nothing."""


def contrast(
    a: Tensor, b: Tensor, scale: Tensor, wrong_b: Wrong | None = None, wrong_a: Wrong | None = None
) -> Tensor:
    """Each row of a (B, P) is to find its own row of b (B, P) among all of b and all of `wrong_b`, and the other
    way round. Without wrong ones it is the loss of CLIP (Radford et al., arXiv:2103.00020)."""
    logits = scale * a @ b.T
    target = torch.arange(len(a), device=a.device)
    forth = among(logits, a, wrong_b, scale)
    back = among(logits.T, b, wrong_a, scale)
    return (F.cross_entropy(forth, target) + F.cross_entropy(back, target)) / 2


def among(logits: Tensor, a: Tensor, wrong: Wrong | None, scale: Tensor) -> Tensor:
    """`logits` (B, B) of the rows of a, with those to the wrong captions behind them: (B, 2B). Of a fixed shape,
    so that the step can be captured; where there is no wrong caption, it cannot be chosen."""
    if wrong is None:
        return logits
    more = (scale * a @ wrong.rows.T).masked_fill(~wrong.there, float("-inf"))
    return torch.cat([logits, more], 1)


def loss_of(
    model: CLIPModel, head: nn.Linear, pixels: Tensor, ids: Tensor, subject: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, of it the naming of subjects from pictures, and how often that is right.

    pixels (B, 3, H, W) in 0..1, ids (B, 2, L) of two right captions or (B, 4, L) with two wrong ones behind
    them (`SceneFeed`), subject (B,) numbers of concepts or -1.
    """
    image = embed_image(model, pixels)
    said = embed_text(model, ids.flatten(0, 1)).view(len(ids), ids.shape[1], -1)
    first, second = said[:, :2].unbind(1)
    wrong_first = wrong_second = None
    if ids.shape[1] == 4:
        there = ids[:, 2:, 0] != END  # a caption begins with another token
        wrong_first, wrong_second = (Wrong(said[:, 2 + k], there[:, k]) for k in (0, 1))
    weight = head.weight.float()
    image_names = image @ weight.T
    text_names = torch.stack([first, second]) @ weight.T
    scale = model.logit_scale.float().exp().clamp(max=100)
    pair = (
        contrast(image, first, scale, wrong_first)
        + contrast(image, second, scale, wrong_second)
        + 0.3 * contrast(first, second, scale, wrong_second, wrong_first)
    )
    naming = F.cross_entropy(20 * image_names, subject, ignore_index=-1)  # puppets have no number
    names = F.cross_entropy(20 * text_names.flatten(0, 1), subject.repeat(2), ignore_index=-1)
    loss = pair + naming + 0.3 * names
    return loss, naming, (image_names.argmax(-1) == subject).float().mean()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--which", choices=("pocket", "judge"), required=True)
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument(
        "--chunk", type=int, default=4096, help="pictures drawn at a time, a multiple of the batch"
    )
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--puppets", type=Path, help="an .npz of pocket.data.puppets --many")
    parser.add_argument("--people", type=float, default=0.25, help="share of pictures with a puppet")
    parser.add_argument(
        "--negatives", type=float, default=0.0,
        help="share of pictures that come with wrong captions too, where something can be changed; 0: none",
    )  # fmt: skip
    add_scene_arguments(parser)
    parser.add_argument(
        "--probes",
        type=int,
        help="scenes for each attribute in the probe at the end; 0: none; default: 256, on a CPU 16",
    )
    parser.add_argument("--init", type=Path, help="folder of an earlier run's shards")
    parser.add_argument("--text", type=Path, help="folder of an earlier run's text shards, to start from")
    parser.add_argument(
        "--frozen-text",
        action="store_true",
        help="the text tower stays as --text has it: a UNet listens to it",
    )
    parser.add_argument("--seed", type=int, default=None, help="default: 2 for pocket, 77 for the judge")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--size", type=int, default=160, help="pixels at which scenes are drawn")
    args = parse(parser)
    if args.frozen_text and not args.text:
        parser.error("--frozen-text needs --text: the tower that is to stay as it is")
    return args


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    seed = args.seed = args.seed or (2 if args.which == "pocket" else 77)
    seed_all(seed)  # the same weights in every process
    device = join()
    torch.set_float32_matmul_precision("high")

    sprites = load(args.sprites, args.puppets)
    painter = Painter(sprites.pixels, device)
    sampler = SceneSampler(sprites, people=args.people, **scenes_of(args))
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    model = build_clip() if args.which == "pocket" else build_judge()
    if args.init:
        model.load_state_dict(load_shards(args.init, args.which))
    if args.text:
        load_text(model, load_shards(args.text, "text"))
    model.text_model.requires_grad_(not args.frozen_text)
    both_towers = nn.ModuleDict(
        {"clip": model, "head": nn.Linear(model.config.projection_dim, len(sampler.concepts), bias=False)}
    )
    both_towers.to(device).train()
    head = both_towers["head"]
    masters = Masters(both_towers)
    optimizer = adamw(masters.weights, args.lr, (0.9, 0.98), 0.05)
    resume = Resume(
        args.out / f"resume-{args.which}.pt", recipe_of(args), masters.state, masters.load, optimizer
    )
    resumed = resume.enter(0.0, 1.0, args.fresh, device)
    feed_seed = seed + int(1000 * resumed) + 100_003 * rank()
    batches = feed(
        sampler, args.chunk, 1.0, feed_seed, args.workers, args.tokenizer, negatives=args.negatives
    )
    log = Log(args.out / f"log-{args.which}-{rank()}.jsonl", every=50, loud=rank() == 0)
    log.note(recipe={k: str(v) for k, v in vars(args).items()}, resumed_at=round(resumed, 4))

    def train(pixels: Tensor, ids: Tensor, subject: Tensor) -> tuple[Tensor, ...]:
        loss, naming, right = loss_of(model, head, pixels, ids, subject)
        loss.backward()
        masters.collect()
        optimizer.step()
        masters.publish()
        return loss.detach(), naming.detach(), right

    picture = model.config.vision_config.image_size
    rate = optimizer.param_groups[0]["lr"]
    rate.fill_(0.0)  # capture must not teach noise
    example = [
        torch.rand(args.batch, 3, picture, picture, device=device),
        torch.full((args.batch, 4 if args.negatives else 2, LONGEST), END, device=device),
        torch.zeros(args.batch, dtype=torch.long, device=device),
    ]
    captured = GraphedStep(train, example, log)
    step, spent = 0, resumed * args.seconds
    start, saved_at = time.perf_counter() - spent, spent
    while spent < args.seconds:
        layout, said = log.next(batches)
        chunk = painter.draw(layout, args.size, args.size)
        chunk = F.interpolate(
            chunk, size=(picture, picture), mode="bilinear", antialias=True, align_corners=False
        )
        ids = said[..., :LONGEST].to(device).long()
        ids[..., -1] = END
        subject = torch.from_numpy(layout.subject).to(device)
        rate.fill_(args.lr * schedule(int(spent / args.seconds * 1000), 1000, 50, 0.4))
        for at in range(0, len(chunk), args.batch):
            rows = slice(at, at + args.batch)
            loss, naming, right = captured(chunk[rows], ids[rows], subject[rows])
            log.step(step, args.batch, loss=loss, naming=naming, image_names=right)
            step += 1
        if device.type == "cuda":
            torch.cuda.synchronize()  # the clock must not run ahead of the device
        spent = agreed(time.perf_counter() - start, device)
        if rank() == 0 and spent > saved_at + args.save_every:
            saved_at = spent
            resume.save(min(1.0, spent / args.seconds))
    both_towers.float()
    masters.working = [p for p in both_towers.parameters() if p.requires_grad]
    masters.publish()  # in full precision, for the evaluation and the file
    if args.frozen_text:
        load_text(model, load_shards(args.text, "text"))
    if rank() == 0:
        evaluate(model, painter, sprites, tokenizer, log, args.size)
        save_shards(model.state_dict(), args.out, args.which)
        if args.which == "pocket":
            save_shards(model.text_model.state_dict(), args.out, "text")
        resume.save(1.0)
        usual = 256 if device.type == "cuda" else 16  # 256 take a core of a CPU some minutes
        probe(model, painter, sprites, tokenizer, log, usual if args.probes is None else args.probes)
    leave()


@torch.no_grad()
def evaluate(
    model: CLIPModel, painter: Painter, sprites: Sprites, tokenizer: CLIPTokenizer, log: Log, size: int
) -> None:
    """Naming the main subject of held-out scenes among all concepts, by words, in both languages."""
    model.eval()
    device = painter.device
    sampler = SceneSampler(sprites, held_out=True)
    batches = feed(sampler, 512, 1.0, 5, 0)
    scores: dict[str, float] = {}
    layout, _ = next(batches)
    pictures = torch.cat([embed_image(model, part) for part in painter.draw(layout, size, size).split(128)])
    subject = torch.from_numpy(layout.subject).to(device)
    for lang in ("en", "ko"):
        words = embed_text(
            model, ids_of(tokenizer, [getattr(c, lang) for c in sampler.concepts]).to(device).long()
        )
        ranks = (pictures @ words.T).argsort(-1, descending=True)
        known = subject >= 0
        scores[f"top1_{lang}"] = float((ranks[known, 0] == subject[known]).float().mean())
        scores[f"top5_{lang}"] = float((ranks[known, :5] == subject[known, None]).any(-1).float().mean())
    log.note(held_out=scores)


def probe(
    model: CLIPModel, painter: Painter, sprites: Sprites, tokenizer: CLIPTokenizer, log: Log, count: int
) -> None:
    """How well text and pictures tell right captions from wrong ones, by attribute: pocket.judge.text_tower."""
    from pocket.judge.text_tower import probe_rows  # here, for it reads with this module's functions

    if count:
        log.note(probe=[str(row) for row in probe_rows(model, tokenizer, painter, sprites, count)])


if __name__ == "__main__":
    main()
