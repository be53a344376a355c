"""The base: autoencoder, words, concepts, scenes, their distance to real ones, and the attributes of a caption."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from jogak.judge.distance import frechet_distance, frechet_score, kid_score
from jogak.judge.features import BACKBONE, features
from jogak.judge.stats import mean_score, share_score, widened
from jogak.models.captions import Scene, caption
from jogak.models.lexicon import Concept, lexicon
from jogak.spec.scores import Score
from pocket.data.scenes import SceneSampler
from pocket.judge import attributes, readers
from pocket.judge.bench import (
    WEIGHTS,
    Bench,
    Pictures,
    plain_scene,
    prompts_of,
)
from pocket.judge.rows import Row, Unmeasured, behind_score

Rows = Iterator[Row | Unmeasured]
KID_LEAST = 10
"""Pictures in each set that `kid_score` takes."""


def rows(bench: Bench) -> Rows:
    """Everything that the scorecard says of the base."""
    yield from autoencoder_rows(bench)
    yield from word_rows()
    yield from prototype_rows(bench)
    test = scene_test(bench)
    yield from scene_rows(bench, test)
    yield from language_rows(test)
    yield from distance_rows(bench, test)
    yield from attributes.pair_rows(bench)
    yield from attributes.negative_rows(bench)
    yield from attributes.colour_rows(bench)
    yield from attributes.count_rows(bench)
    yield from attributes.look_rows(bench)


def autoencoder_rows(bench: Bench) -> Rows:
    """PSNR on held-out scenes, in fp32, from the folder's own weights."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from pocket.train.vae import psnr

    vae = AutoencoderKL.from_pretrained(WEIGHTS / "vae").eval()
    rng = random.Random(31)
    pictures = bench.paint([bench.sampler.scene(rng) for _ in range(min(bench.scenes, 128))], 32)
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    yield Row(mean_score("vae_psnr_db", [psnr(vae, one[None]) for one in pixels], seed=0), 30)


@torch.inference_mode()
def word_rows() -> Rows:
    """Is a concept's Korean word nearest to its own English word, by the shipped text tower's pooled output?"""
    text = CLIPTextModel.from_pretrained(WEIGHTS / "text_encoder").eval()
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")

    def vectors(words: list[str]) -> torch.Tensor:
        ids = tokenizer(words, padding="longest", return_tensors="pt").input_ids
        return torch.nn.functional.normalize(text(input_ids=ids).pooler_output, dim=-1)

    concepts = lexicon().concepts
    near = vectors([c.ko for c in concepts]) @ vectors([c.en for c in concepts]).T
    hits = near.argmax(1).numpy() == np.arange(len(concepts))
    yield Row(share_score("korean_word_finds_english_top1", hits))


@dataclass(frozen=True)
class Prototypes:
    """Concepts that are asked for by name alone, and what EfficientNet-lite0 sees in the generator's pictures of them."""

    concepts: Sequence[Concept]
    seen: Mapping[str, Mapping[str, NDArray[np.float32]]]
    """By look and by concept: unit features (D,)."""

    def towards(self, leave_out: str | None = None) -> NDArray[np.float32]:
        """Mean features of each concept over its looks, but one: (N, D) unit rows. A thing that is drawn in that look
        alone is left with it."""
        rows = []
        for c in self.concepts:
            of = {look: known[c.id] for look, known in self.seen.items() if c.id in known}
            rows.append(np.mean([v for look, v in of.items() if look != leave_out] or list(of.values()), 0))
        return readers.unit(np.stack(rows))

    def own_ranks(self) -> NDArray[np.int64]:
        """How many prototypes are nearer than its own to each of the generator's pictures, whose look is left out."""
        ranks = []
        for look, known in self.seen.items():
            towards = self.towards(look)
            for i, c in enumerate(self.concepts):
                if c.id in known:
                    scores = towards @ known[c.id]
                    ranks.append(int((scores > scores[i]).sum()))
        return np.array(ranks)

    def ranks(self, pictures: Pictures) -> NDArray[np.int64]:
        """How many prototypes are nearer than its own to the picture of each concept, (N, H, W, 3) → (N,)."""
        scores = readers.unit(features(pictures)) @ self.towards().T
        return (scores > np.diagonal(scores)[:, None]).sum(1)


def prototypes(bench: Bench) -> Prototypes:
    chosen = random.Random(7).sample(SceneSampler(bench.sprites).concepts, bench.concepts)
    vectors = {}
    for look in (look.id for look in lexicon().looks):
        known = [c.id for c in chosen if (c.id, look) in bench.sprites.index]
        if known:
            seen = readers.unit(features(bench.paint([plain_scene(c, look) for c in known], 5)))
            vectors[look] = dict(zip(known, seen, strict=True))
    return Prototypes(chosen, vectors)


def prototype_rows(bench: Bench) -> Rows:
    """Mean EfficientNet-lite0 features of a concept over its looks as its prototype; which is a picture nearest to?"""
    known = prototypes(bench)
    ceiling = known.own_ranks()
    for k in (1, 5):
        yield Row(share_score(f"ceiling_prototype_top{k}", ceiling < k))
    if bench.draw is None:
        return
    for lang in ("en", "ko"):
        order = known.ranks(bench.draw([caption(plain_scene(c.id), lang) for c in known.concepts], 100))
        for k, bar in ((1, bench.bars.prototype_top1), (5, bench.bars.prototype_top5)):
            yield Row(share_score(f"prototype_top{k}_{lang}", order < k), bar)


@dataclass(frozen=True)
class SceneTest:
    """Held-out scenes and the generator's pictures of them, (N, 256, 256, 3)."""

    bench: Bench
    asked: Sequence[Scene]
    real: Pictures

    @cached_property
    def drawn(self) -> Pictures | None:
        """The model's pictures, English and Korean in turn; drawn when first wanted."""
        return self.bench.draw(prompts_of(self.asked), 500) if self.bench.draw else None

    @cached_property
    def subject(self) -> NDArray[np.bool_]:
        """Of the drawn pictures: whether the main subject's word is the nearest of all."""
        return np.zeros(0, bool) if self.drawn is None else subject_named(self.bench, self.asked, self.drawn)


def scene_test(bench: Bench) -> SceneTest:
    sampler, rng = SceneSampler(bench.sprites, held_out=True, plain=0.0), random.Random(17)
    asked = [sampler.scene(rng) for _ in range(bench.scenes)]
    return SceneTest(bench, asked, bench.paint(asked, 18))


def subject_named(bench: Bench, asked: Sequence[Scene], pictures: Pictures) -> NDArray[np.bool_]:
    """Whether the main subject's word is the nearest of all to each picture, by the judging CLIP: (N,)."""
    wanted = np.array([bench.sampler.number[s.subjects[0].concept] for s in asked])
    return (bench.judge.see(pictures) @ bench.names.T).argmax(1) == wanted


def scene_rows(bench: Bench, test: SceneTest) -> Rows:
    """Held-out combinations of concept, place and time: subject, place and time as the judging CLIP reads them."""
    ceiling = subject_named(bench, test.asked, test.real)
    yield Row(share_score("ceiling_judge_top1", ceiling))
    yield Row(share_score("ceiling_place_and_time", readers.placed_in(bench.judge, test.asked, test.real)))
    if test.drawn is None:
        return
    yield Row(share_score("judge_top1", test.subject), bench.bars.judge_of_ceiling * float(ceiling.mean()))
    for lang, hits in (("en", test.subject[::2]), ("ko", test.subject[1::2])):
        yield Row(share_score(f"judge_top1_{lang}", hits))
    ground = readers.placed_in(bench.judge, test.asked, test.drawn)
    yield Row(share_score("place_and_time", ground), bench.bars.place_and_time)
    if bench.sheet:
        sheet = test.drawn[: min(64, len(test.drawn) // 8 * 8)]
        lines = [np.concatenate(list(sheet[at : at + 8]), 1) for at in range(0, len(sheet), 8)]
        Image.fromarray(np.concatenate(lines)).save(bench.sheet, quality=88)


def language_rows(test: SceneTest) -> Rows:
    """How far Korean stays behind English, in shares of the scenes; the scenes of the two are not the same."""
    if test.drawn is not None and len(test.subject) > 1:
        score = behind_score("korean_behind_english", test.subject[::2], test.subject[1::2])
        yield Row(score, 0.05)


def distance_rows(bench: Bench, test: SceneTest) -> Rows:
    """Fréchet distance of EfficientNet-lite0 features to held-out scenes that were not asked for, at equal numbers.

    The yardstick is the distance between two disjoint halves of held-out scenes: one half is the generator's pictures
    of the captions that the model was given, the other the same for both. The bias of small samples (see
    `jogak.judge.distance`) is in both numbers, so their ratio flatters when there are few pictures; KID, which has no
    such bias and is near 0 for the two halves, stands beside it without a bar.
    """
    sampler, rng = SceneSampler(bench.sprites, held_out=True, plain=0.0), random.Random(19)
    others = features(bench.paint([sampler.scene(rng) for _ in test.asked], 20))
    ours = features(test.real)
    name = f"fd/{BACKBONE}"
    yield Row(frechet_score(ours, others).model_copy(update={"name": f"ceiling_{name}"}))
    if test.drawn is None:
        return
    drawn = features(test.drawn)
    yield Row(frechet_score(drawn, others))
    yield Row(ratio_score(f"fd_times_ceiling/{BACKBONE}", drawn, ours, others), 2.0)
    if len(drawn) >= KID_LEAST:
        yield Row(kid_score(ours, others).model_copy(update={"name": f"ceiling_kid/{BACKBONE}"}))
        yield Row(kid_score(drawn, others))


def ratio_score(
    name: str,
    drawn: NDArray[np.floating],
    ours: NDArray[np.floating],
    others: NDArray[np.floating],
    resamples: int = 100,
) -> Score:
    """Fréchet distance of `drawn` to `others` over that of `ours` to `others`, features (N, D) each; the interval
    is laid around the value as in `frechet_score`."""
    rng = np.random.default_rng(0)

    def again(rows: NDArray[np.floating]) -> NDArray[np.floating]:
        return rows[rng.integers(0, len(rows), len(rows))]

    def ratio(a: NDArray[np.floating], b: NDArray[np.floating], c: NDArray[np.floating]) -> float:
        return frechet_distance(a, c) / max(frechet_distance(b, c), 1e-9)

    value = ratio(drawn, ours, others)
    found = np.array([ratio(again(drawn), again(ours), again(others)) for _ in range(resamples)])
    low, high = np.quantile(found, widened(len(drawn))) - np.median(found) + value
    return Score(
        name=name, value=value, low=max(0.0, float(low)), high=float(high), n=len(drawn), seed=0,
        backbone=BACKBONE, better="lower",
    )  # fmt: skip
