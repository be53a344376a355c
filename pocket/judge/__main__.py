"""Judge pocket on what training never showed it, beside the generator's own pictures as the ceiling.

    python -m pocket.judge --sprites build/sprites.npz [--concepts 200] [--scenes 200] [--sheet build/judged.jpg]

Prints every figure with its sample size and 95 % interval. Without a UNet in the folder, what needs none is judged.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from jogak.judge.clip import FOLDER, Judge, word_vectors
from jogak.judge.features import features
from jogak.judge.stats import mean_score, share_score
from jogak.models import load, resolve, samplers
from jogak.models.captions import Scene, Subject, caption
from jogak.models.diffusion import DiffusionModel
from jogak.models.lexicon import lexicon
from jogak.spec.scores import Score
from pocket.data.compose import Painter
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites
from pocket.data.sprites import load as load_sprites

Pictures = NDArray[np.uint8]
SIZE = 256
WEIGHTS = FOLDER.parent / "pocket"


def paint(painter: Painter, sampler: SceneSampler, scenes: list[Scene], seed: int) -> Pictures:
    """The generator's own pictures of these scenes, (N, 256, 256, 3)."""
    rng = random.Random(seed)
    parts = []
    for at in range(0, len(scenes), 32):
        pixels = painter.draw(sampler.layout(scenes[at : at + 32], rng, 1.0), SIZE, SIZE)
        parts.append((pixels * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


def draw(
    model: DiffusionModel, prompts: list[str], seed: int, steps: int, guidance: float, sampler: str
) -> Pictures:
    """The model's pictures of these prompts, one at a time, as a user would draw them."""
    sigmas = model.sigmas(steps, samplers.schedule_of(sampler))
    uncond = model.encode_text([""])
    pictures = []
    for i, prompt in enumerate(prompts):
        cond = model.encode_text([prompt])
        noise = torch.randn(
            1, model.latent_channels, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(seed + i)
        )

        def denoise(x: torch.Tensor, sigma: torch.Tensor | float, cond: torch.Tensor = cond) -> torch.Tensor:
            return model.denoise(x, sigma, cond, uncond, guidance)

        latents = samplers.SAMPLERS[sampler](denoise, noise * sigmas[0], sigmas)
        pixels = (model.decode(latents)[0].clamp(-1, 1) + 1) * 127.5
        pictures.append(pixels.round().byte().permute(1, 2, 0).cpu().numpy())
    return np.stack(pictures)


def plain_scene(concept: str, look: str | None = None) -> Scene:
    return Scene(subjects=(Subject(concept),), look=look, framing=None)


def say(score: Score, bar: float | None = None) -> None:
    between = f"[{score.low:.3f}, {score.high:.3f}]" if score.low is not None else ""
    verdict = "" if bar is None else f"   bar {bar:g}: {'met' if score.value >= bar else 'MISSED'}"
    print(f"{score.name:<42} {score.value:8.3f} {between:<18} n={score.n}{verdict}", flush=True)


def judge_autoencoder(painter: Painter, sprites: Sprites, scenes: int) -> None:
    """PSNR on held-out scenes, in fp32, from the folder's own weights."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from pocket.train.vae import psnr

    vae = AutoencoderKL.from_pretrained(WEIGHTS / "vae").eval()
    sampler, rng = SceneSampler(sprites, held_out=True), random.Random(31)
    pictures = paint(painter, sampler, [sampler.scene(rng) for _ in range(scenes)], 32)
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    say(mean_score("vae_psnr_db", [psnr(vae, one[None]) for one in pixels], seed=0), 30)


@torch.inference_mode()
def judge_words() -> None:
    """Is a concept's Korean word nearest to its own English word, by the shipped text tower's pooled output?"""
    text = CLIPTextModel.from_pretrained(WEIGHTS / "text_encoder").eval()
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")

    def vectors(words: list[str]) -> torch.Tensor:
        ids = tokenizer(words, padding="longest", return_tensors="pt").input_ids
        return torch.nn.functional.normalize(text(input_ids=ids).pooler_output, dim=-1)

    concepts = lexicon().concepts
    near = vectors([c.ko for c in concepts]) @ vectors([c.en for c in concepts]).T
    say(share_score("korean_word_finds_english_top1", near.argmax(1).numpy() == np.arange(len(concepts))))


def judge_prototypes(
    painter: Painter, sprites: Sprites, concepts: int, drawn: Callable[[list[str], int], Pictures] | None
) -> None:
    """Mean EfficientNet-lite0 features of a concept over its looks as its prototype; which is a picture nearest to?"""
    sampler = SceneSampler(sprites)
    chosen = random.Random(7).sample(sampler.concepts, concepts)
    looks = [look.id for look in lexicon().looks]
    vectors = {}
    for look in looks:
        known = [c.id for c in chosen if (c.id, look) in sprites.index]
        seen = features(paint(painter, sampler, [plain_scene(c, look) for c in known], 5))
        vectors[look] = dict(zip(known, seen / np.linalg.norm(seen, axis=1, keepdims=True), strict=True))

    def prototypes(leave_out: str | None) -> NDArray[np.float32]:
        rows = [
            np.mean([vectors[k][c.id] for k in looks if k != leave_out and c.id in vectors[k]], 0)
            for c in chosen
        ]
        return np.stack([row / np.linalg.norm(row) for row in rows])

    ranks = []
    for look in looks:
        towards = prototypes(look)
        for i, c in enumerate(chosen):
            if c.id in vectors[look]:
                scores = towards @ vectors[look][c.id]
                ranks.append(int((scores > scores[i]).sum()))
    for k in (1, 5):
        say(share_score(f"ceiling_prototype_top{k}", np.array(ranks) < k))
    if drawn is None:
        return
    for lang in ("en", "ko"):
        seen = features(drawn([caption(plain_scene(c.id), lang) for c in chosen], 100))
        scores = seen / np.linalg.norm(seen, axis=1, keepdims=True) @ prototypes(None).T
        order = (scores > np.diagonal(scores)[:, None]).sum(1)
        for k, bar in ((1, 0.45), (5, 0.65)):
            say(share_score(f"prototype_top{k}_{lang}", order < k), bar)


def judge_scenes(
    painter: Painter,
    sprites: Sprites,
    scenes: int,
    drawn: Callable[[list[str], int], Pictures] | None,
    sheet: Path | None,
) -> None:
    """Held-out combinations of concept, place and time: subject, place and time as the judging CLIP reads them."""
    sampler, rng, words = SceneSampler(sprites, held_out=True, plain=0.0), random.Random(17), lexicon()
    asked = [sampler.scene(rng) for _ in range(scenes)]
    judge = Judge(FOLDER)
    names = word_vectors(
        judge, [c.en for c in sampler.concepts], ["{}", "a picture of {}", "{} on a white background"]
    )
    grounds = [(place, time) for place in words.places for time in words.times]
    sentences = [f"{place.en_in} {time.en_at}" for place, time in grounds]
    ground_vectors = word_vectors(judge, sentences, ["{}", "a picture {}"])

    def shares(pictures: Pictures) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        seen = judge.see(pictures)
        subject = (seen @ names.T).argmax(1) == [sampler.number[s.subjects[0].concept] for s in asked]
        best = (seen @ ground_vectors.T).argmax(1)
        ground = [
            grounds[b][0].id == s.place and (s.place in {"space", "underwater"} or grounds[b][1].id == s.time)
            for b, s in zip(best, asked, strict=True)
        ]
        return subject, np.array(ground)

    ceiling, ceiling_ground = shares(paint(painter, sampler, asked, 18))
    say(share_score("ceiling_judge_top1", ceiling))
    say(share_score("ceiling_place_and_time", ceiling_ground))
    if drawn is None:
        return
    prompts = [caption(s, "ko" if i % 2 else "en") for i, s in enumerate(asked)]
    pictures = drawn(prompts, 500)
    subject, ground = shares(pictures)
    say(share_score("judge_top1", subject), 0.6 * float(ceiling.mean()))
    for lang, rows in (("en", subject[::2]), ("ko", subject[1::2])):
        say(share_score(f"judge_top1_{lang}", rows))
    say(share_score("place_and_time", ground), 0.85)
    if sheet:
        rows = [
            np.concatenate(list(pictures[at : at + 8]), 1) for at in range(0, min(64, scenes // 8 * 8), 8)
        ]
        Image.fromarray(np.concatenate(rows)).save(sheet, quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--concepts", type=int, default=200)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--sampler", choices=sorted(samplers.SAMPLERS), default="dpmpp_2m")
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    sprites = load_sprites(args.sprites)
    painter = Painter(sprites.pixels)
    drawn = None
    if (WEIGHTS / "unet").is_dir():
        model = load(resolve("pocket"))

        def drawn(prompts: list[str], seed: int) -> Pictures:
            return draw(model, prompts, seed, args.steps, args.guidance, args.sampler)

    judge_autoencoder(painter, sprites, min(args.scenes, 128))
    judge_words()
    judge_prototypes(painter, sprites, args.concepts, drawn)
    judge_scenes(painter, sprites, args.scenes, drawn, args.sheet)


if __name__ == "__main__":
    main()
