"""Does a text tower tell captions apart that differ in one thing, and does its CLIP see which is right?

    python -m pocket.judge.text_tower --sprites build/sprites.npz [--tower build/clip] [--clip build/clip]

`distance_…`: RMS of the difference of the last hidden states of a right and a wrong caption, over all tokens
that the UNet listens to: what the tower makes alike, the UNet cannot draw differently. `nearer_…`: share of
pictures that are nearer to the right caption than to the wrong one; chance is 0.5. The captions are the
canonical ones, which tell everything, of held-out scenes, in English and Korean in turn. Without arguments,
of the text tower and the judging CLIP that ship. A folder is one of transformers or one of a training's
shards.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from jogak.judge.clip import FOLDER
from jogak.judge.stats import mean_score, share_score
from jogak.models.captions import Scene, caption
from pocket.data.compose import Painter
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites
from pocket.data.sprites import load as load_sprites
from pocket.data.wrong import ATTRIBUTES, Attribute, wrong
from pocket.judge.bench import WEIGHTS, languages, readable
from pocket.judge.rows import Row, Unmeasured, say
from pocket.train.clip import embed_image, embed_text
from pocket.train.common import ids_of, load_shards
from pocket.train.nets import build_clip, build_text, load_text

Rows = Iterator[Row | Unmeasured]
SEED = 801
TRIES = 100
"""Scenes that are drawn for each that is wanted: one in some twelve has a colour."""
BATCH = 64
SIZE = 160
"""Pixels at which pictures are drawn, as in the training of either CLIP."""


class Cases(NamedTuple):
    """Scenes with a right and a wrong caption for each."""

    scenes: list[Scene]
    right: list[str]
    wrong: list[str]


def cases(sampler: SceneSampler, attribute: Attribute, count: int) -> Cases:
    """`count` scenes of the sampler with something to change; fewer where the drawings allow no more."""
    rng = random.Random(SEED + ATTRIBUTES.index(attribute))
    found = Cases([], [], [])
    for _ in range(TRIES * count):
        if len(found.scenes) == count:
            break
        scene = sampler.scene(rng)
        other = wrong(scene, rng, attribute, sampler.looks)
        if other is None or not _is_hard(scene, other, attribute):
            continue
        lang = languages(2)[len(found.scenes) % 2]
        found.scenes.append(scene)
        found.right.append(caption(scene, lang))
        found.wrong.append(caption(other, lang))
    return found


def _is_hard(scene: Scene, other: Scene, attribute: Attribute) -> bool:
    """Of two things, left and right are harder than the place of one (the words are the same, only their
    order is not), and the second is harder to hear than the first, which training names."""
    if attribute == "side":
        return len(scene.subjects) == 2
    return attribute != "second" or scene.subjects[0] == other.subjects[0]


def held_out_scenes(sprites: Sprites) -> SceneSampler:
    """Without puppets, of which one is as good as another when only the words are looked at."""
    return SceneSampler(sprites, held_out=True, people=0.0)


@torch.no_grad()
def distances(tower: nn.Module, tokenizer: CLIPTokenizer, asked: Cases) -> NDArray[np.float64]:
    """(N,) RMS of the difference of the last hidden states (77, width) of the right and the wrong caption."""
    device = next(tower.parameters()).device

    def hidden(texts: list[str]) -> Tensor:
        return tower(input_ids=ids_of(tokenizer, texts).to(device).long()).last_hidden_state.float()

    parts = [
        (hidden(asked.right[at : at + BATCH]) - hidden(asked.wrong[at : at + BATCH])).square().mean((1, 2))
        for at in range(0, len(asked.scenes), BATCH)
    ]
    return torch.cat(parts).sqrt().double().cpu().numpy()


@torch.no_grad()
def nearer(
    model: CLIPModel, tokenizer: CLIPTokenizer, painter: Painter, sampler: SceneSampler, asked: Cases
) -> NDArray[np.bool_]:
    """(N,) whether the picture of each scene is nearer to its right caption than to its wrong one."""
    layout, found = sampler.layout(asked.scenes, random.Random(SEED), 1.0), []
    for at in range(0, len(layout), BATCH):
        rows = np.arange(at, min(at + BATCH, len(layout)))
        image = embed_image(model, painter.draw(layout.rows(rows), SIZE, SIZE))
        right, other = (
            embed_text(model, ids_of(tokenizer, texts[at : at + BATCH]).to(painter.device).long())
            for texts in (asked.right, asked.wrong)
        )
        found.append((image * (right - other)).sum(-1) > 0)
    return torch.cat(found).cpu().numpy()


def distance_rows(tower: nn.Module, tokenizer: CLIPTokenizer, sprites: Sprites, count: int) -> Rows:
    """Of a text tower alone: any module that takes `input_ids` and gives `last_hidden_state`."""
    sampler = held_out_scenes(sprites)
    for attribute in ATTRIBUTES:
        asked = cases(sampler, attribute, count)
        if asked.scenes:
            yield Row(mean_score(f"distance_{attribute}", distances(tower, tokenizer, asked)))
        else:
            yield Unmeasured(f"distance_{attribute}", "nothing to change in these drawings")


def probe_rows(
    model: CLIPModel, tokenizer: CLIPTokenizer, painter: Painter, sprites: Sprites, count: int
) -> Rows:
    """Of a whole CLIP: the distances of its text tower, and how often its pictures find the right caption."""
    yield from distance_rows(model.text_model, tokenizer, sprites, count)
    sampler = held_out_scenes(sprites)
    for attribute in ATTRIBUTES:
        asked = cases(sampler, attribute, count)
        if asked.scenes:
            hits = nearer(model, tokenizer, painter, sampler, asked)
            yield Row(share_score(f"nearer_{attribute}", hits))
        else:
            yield Unmeasured(f"nearer_{attribute}", "nothing to change in these drawings")


def load_tower(folder: Path) -> CLIPTextModel:
    """A text tower, of transformers' files or of a training's shards."""
    if (folder / "config.json").exists():
        return CLIPTextModel.from_pretrained(folder).eval()
    return load_text(build_text(), load_shards(folder, "text")).eval()


def load_clip(folder: Path) -> CLIPModel:
    """Both towers, of transformers' files or of the shards of pocket's own CLIP."""
    if (folder / "config.json").exists():
        return CLIPModel.from_pretrained(folder).eval()
    model = build_clip()
    model.load_state_dict(load_shards(folder, "pocket"))
    return model.eval()


def read_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--tower", type=Path, default=WEIGHTS / "text_encoder", help="a text tower")
    parser.add_argument("--clip", type=Path, default=FOLDER, help="a whole CLIP; default: the judging one")
    parser.add_argument("--tokenizer", type=Path, default=WEIGHTS / "tokenizer")
    parser.add_argument("--count", type=int, default=256, help="scenes for each attribute")
    parser.add_argument(
        "--every-look", action="store_true", help="also looks that the shipped towers were not trained on"
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    args = read_arguments(words)
    sprites = load_sprites(args.sprites)
    if not args.every_look:
        sprites = readable(sprites)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    say(f"text tower {args.tower}")
    for row in distance_rows(load_tower(args.tower), tokenizer, sprites, args.count):
        say(row)
    say(f"CLIP {args.clip}")
    for row in probe_rows(load_clip(args.clip), tokenizer, Painter(sprites.pixels), sprites, args.count):
        say(row)


if __name__ == "__main__":
    main()
