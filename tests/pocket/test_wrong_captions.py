"""Wrong captions: they differ in one thing, a CLIP learns from them, and without them all is as it was."""

from __future__ import annotations

import json
import random
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from jogak.models.captions import Scene, Subject, Telling
from jogak.models.lexicon import lexicon
from pocket.data import wrong as wrong_module
from pocket.data.compose import Painter
from pocket.data.scenes import COLOURS, SceneSampler
from pocket.data.sprites import SIZE, Sprites
from pocket.data.wrong import ATTRIBUTES, LEARNT, Attribute, changeable, right_and_wrong, wrong
from pocket.judge import text_tower
from pocket.judge.rows import Row, Unmeasured
from pocket.train import clip
from pocket.train.clip import END, Wrong, contrast, embed_image, embed_text, loss_of
from pocket.train.common import SceneFeed, load_shards, save_shards
from pocket.train.nets import VOCABULARY
from tests.pocket.untrained import TOKENIZER, killed, write_build

LOOKS = {
    "fox": ["flat", "soft_3d"],
    "balloon": ["flat", "soft_3d"],
    "kite": ["flat"],
    "cat": ["flat"],
    "dog": ["flat"],
}
PAIR = Scene(
    subjects=(Subject("fox", position="left"), Subject("balloon", position="right", colour="red")),
    place="beach",
    look="flat",
)
SEVERAL = Scene(subjects=(Subject("fox", count=3),), look="flat")
PUPPET = Scene(
    subjects=(Subject("puppet", phrase=("a girl in a red coat", "빨간 외투를 입은 여자아이")),), look="flat"
)


def drawings(count: int = 24, looks: tuple[str, ...] = ("flat", "soft_3d")) -> Sprites:
    """`count` concepts of the lexicon as discs of their own colours, in each look."""
    ids = [c.id for c in lexicon().concepts[:count]]
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    disc = (x**2 + y**2 < 0.2).astype(np.uint8)
    rng = np.random.default_rng(0)
    keys = [(concept, look) for concept in ids for look in looks]
    pixels = [np.concatenate([disc[None] * rng.integers(40, 255, (3, 1, 1)), disc[None] * 255]) for _ in keys]
    return Sprites(np.stack(pixels).astype(np.uint8), {key: row for row, key in enumerate(keys)})


@pytest.fixture(scope="module")
def sampler() -> SceneSampler:
    return SceneSampler(drawings(), pairs=0.5, painted=4, telling=Telling(0.9, 0.9))


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(TOKENIZER)


def of(scene: Scene, attribute: Attribute) -> Scene:
    """A wrong scene, which must be there."""
    found = wrong(scene, random.Random(3), attribute, LOOKS)
    assert found is not None
    return found


def test_left_and_right_change_places() -> None:
    assert [s.position for s in of(PAIR, "side").subjects] == ["right", "left"]
    alone = replace(PAIR, subjects=(Subject("fox", position="right"),))
    assert of(alone, "side").subjects[0].position == "left"
    middle = replace(PAIR, subjects=(Subject("fox", position="middle"),))
    assert wrong(middle, random.Random(1), "side", LOOKS) is None


def test_each_other_attribute_takes_another_value() -> None:
    assert of(PAIR, "colour").subjects[1].colour in set(COLOURS) - {"red"}
    assert of(PAIR, "look").look == "soft_3d"
    assert of(SEVERAL, "count").subjects[0].count in (1, 2)
    one = replace(PAIR, subjects=PAIR.subjects[:1])
    assert of(one, "subject").subjects[0].concept in LOOKS.keys() - {"fox"}


def test_another_of_two_is_at_home_where_the_first_was_and_is_not_in_the_picture() -> None:
    habitat = {c.id: c.habitat for c in lexicon().concepts}
    for seed in range(40):
        found = wrong(PAIR, random.Random(seed), "second", LOOKS)
        if found is None:  # nothing else of that habitat is drawn
            continue
        before, after = ([s.concept for s in scene.subjects] for scene in (PAIR, found))
        [(old, new)] = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert new not in before
        assert habitat[new] == habitat[old]


def test_what_cannot_change_gives_none() -> None:
    for scene in (PUPPET, Scene(subjects=(), place="beach")):
        assert changeable(scene, LOOKS) == []
    only_flat = replace(PAIR, subjects=(PAIR.subjects[0], Subject("kite")))
    assert wrong(only_flat, random.Random(1), "look", LOOKS) is None
    assert wrong(replace(SEVERAL, subjects=(Subject("fox"),)), random.Random(1), "count", LOOKS) is None


def changed(before: Scene, after: Scene) -> set[str]:
    """Names of the fields, of the scene and of its subjects, that are not alike."""
    of_scene = ("place", "background", "time", "weather", "look", "framing")
    names = {f for f in of_scene if getattr(before, f) != getattr(after, f)}
    for a, b in zip(before.subjects, after.subjects, strict=True):
        names |= {
            f for f in ("concept", "count", "position", "colour", "phrase") if getattr(a, f) != getattr(b, f)
        }
    return names


FIELD = {
    "side": "position",
    "second": "concept",
    "colour": "colour",
    "look": "look",
    "count": "count",
    "subject": "concept",
}


def test_sampled_wrong_scenes_differ_in_one_thing_and_come_back_by_their_seed(sampler: SceneSampler) -> None:
    rng, seen = random.Random(5), set()
    for seed in range(600):
        scene = sampler.scene(rng)
        for attribute in ATTRIBUTES:
            found = wrong(scene, random.Random(seed), attribute, sampler.looks)
            if found is None:
                continue
            seen.add(attribute)
            assert changed(scene, found) == {FIELD[attribute]}
            assert found == wrong(scene, random.Random(seed), attribute, sampler.looks)
            if attribute != "side":
                assert sum(a != b for a, b in zip(scene.subjects, found.subjects, strict=True)) <= 1
    assert seen == set(ATTRIBUTES)


def middle_of(right: str, other: str) -> tuple[str, str]:
    """What of two captions lies between the words that they begin and end with alike."""
    a, b = right.split(), other.split()
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return " ".join(a), " ".join(b)


def test_captions_differ_in_the_words_of_that_thing_alone(sampler: SceneSampler) -> None:
    """For the look and the colour these are one run of words: no more of them than the longest name has."""
    rng, told = random.Random(6), dict.fromkeys(LEARNT, 0)
    for _ in range(800):
        scene = sampler.scene(rng)
        for attribute in changeable(scene, sampler.looks):
            for lang in ("en", "ko"):
                right, other = right_and_wrong(scene, attribute, lang, rng, sampler)
                assert other != right
                if other is None:
                    continue
                told[attribute] += 1
                if attribute in ("look", "colour"):
                    assert max(len(part.split()) for part in middle_of(right, other)) <= 5, (right, other)
                if attribute == "side" and lang == "en":
                    assert [
                        wrong_module.OTHER_SIDE.get(word, word) for word in re.findall(r"\w+", other)
                    ] == re.findall(r"\w+", right)
    assert min(told.values()) > 20


def test_the_right_caption_tells_what_is_changed(sampler: SceneSampler) -> None:
    usual = Telling(0.1, 0.2)
    assert wrong_module.telling_of("look", usual) == Telling(1.0, 0.2)
    assert wrong_module.telling_of("side", usual) == Telling(0.1, 1.0)
    assert wrong_module.telling_of("colour", usual) == usual


# ------------------------------------------------------------------------------------------ the feed


def test_without_wrong_captions_the_feed_is_as_it_was(
    sampler: SceneSampler, tokenizer: CLIPTokenizer
) -> None:
    """The same scenes, pictures and captions as of the code before there were any, written out here."""
    rng = random.Random(9)
    layout, ids = SceneFeed(sampler, 12, 1.0, 0, TOKENIZER, 2).make(rng)
    after = rng.random()
    rng = random.Random(9)
    scenes = [sampler.scene(rng) for _ in range(12)]
    expected = sampler.layout(scenes, rng, 1.0)
    texts = []
    for scene in scenes:
        first = rng.choice(("en", "ko"))
        texts += [sampler.caption(scene, lang, rng) for lang in (first, "ko" if first == "en" else "en")]
    rows = tokenizer(texts, truncation=True, max_length=77, padding="max_length", return_tensors="pt")
    assert torch.equal(ids, rows["input_ids"].to(torch.int16).view(12, 2, 77))
    assert np.array_equal(layout.box, expected.box)
    assert after == rng.random()


def test_the_feed_gives_two_right_and_two_wrong_captions_and_padding_for_none(
    sampler: SceneSampler, tokenizer: CLIPTokenizer
) -> None:
    _, ids = SceneFeed(sampler, 64, 1.0, 0, TOKENIZER, 2, negatives=0.7).make(random.Random(4))
    assert ids.shape == (64, 4, 77)
    there = ids[:, 2:, 0] != END
    assert tokenizer.pad_token_id == END
    assert bool((ids[:, :2, 0] != END).all())
    assert 0.3 < float(there.float().mean()) < 0.95
    assert bool((ids[:, 2:][~there] == END).all())
    assert not bool((ids[:, :2] == ids[:, 2:]).all(-1).any())


# ------------------------------------------------------------------------------------------ the loss


def small_clip() -> CLIPModel:
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=77, projection_dim=32, bos_token_id=0, eos_token_id=1,
        pad_token_id=1,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=32,
        patch_size=8, projection_dim=32,
    )  # fmt: skip
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=32)
    )


def a_batch(sampler: SceneSampler, count: int, negatives: float) -> tuple[torch.Tensor, ...]:
    layout, ids = SceneFeed(sampler, count, 1.0, 0, TOKENIZER, 2, negatives).make(random.Random(2))
    ids = ids[..., :48].long()
    ids[..., -1] = END
    pixels = Painter(sampler.sprites.pixels).draw(layout, 32, 32)
    return pixels, ids, torch.from_numpy(layout.subject)


def test_without_wrong_captions_the_loss_is_exactly_as_it_was(sampler: SceneSampler) -> None:
    model = small_clip()
    head = torch.nn.Linear(32, len(sampler.concepts), bias=False)
    pixels, ids, subject = a_batch(sampler, 8, 0.0)
    with torch.no_grad():
        loss, _, _ = loss_of(model, head, pixels, ids, subject)
        image = embed_image(model, pixels)
        first, second = embed_text(model, ids.flatten(0, 1)).view(8, 2, -1).unbind(1)
        scale, target = model.logit_scale.exp().clamp(max=100), torch.arange(8)

        def before(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            logits = scale * a @ b.T
            return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

        weight = head.weight
        names = torch.stack([first, second]) @ weight.T
        expected = before(image, first) + before(image, second) + 0.3 * before(first, second)
        expected = expected + F.cross_entropy(20 * (image @ weight.T), subject)
        expected = expected + 0.3 * F.cross_entropy(20 * names.flatten(0, 1), subject.repeat(2))
    assert float(loss) == float(expected)


def test_a_wrong_caption_that_is_not_there_costs_nothing_and_one_that_is_costs() -> None:
    torch.manual_seed(0)
    a, b, other = (F.normalize(torch.randn(6, 16), dim=-1).requires_grad_() for _ in range(3))
    scale = torch.tensor(10.0)
    plain = contrast(a, b, scale)
    none = contrast(a, b, scale, Wrong(other, torch.zeros(6, dtype=torch.bool)))
    torch.testing.assert_close(none, plain)
    none.backward()
    assert other.grad is not None
    assert torch.equal(other.grad, torch.zeros_like(other))
    there = torch.tensor([True, False, True, True, False, True])
    some = contrast(a, b, scale, Wrong(other, there))
    assert float(some.detach()) > float(plain.detach())
    some.backward()
    assert torch.equal(other.grad.any(-1), there)


def test_a_small_clip_learns_from_wrong_captions(sampler: SceneSampler) -> None:
    """Of twelve pictures, by heart: the loss falls, and each picture gets nearer to its right captions."""
    model = small_clip()
    head = torch.nn.Linear(32, len(sampler.concepts), bias=False)
    pixels, ids, subject = a_batch(sampler, 12, 1.0)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=2e-3)
    losses = []
    for _ in range(60):
        loss, _, _ = loss_of(model, head, pixels, ids, subject)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    with torch.no_grad():
        image = embed_image(model, pixels)
        said = embed_text(model, ids.flatten(0, 1)).view(12, 4, -1)
    nearer = (image[:, None] * (said[:, :2] - said[:, 2:])).sum(-1) > 0
    there = ids[:, 2:, 0] != END
    assert float(nearer[there].float().mean()) > 0.9


# ------------------------------------------------------------------------------------------ the script


def trained(build: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *more: object) -> list[dict]:
    """A short run of the script; the lines of its log."""
    words = [
        "--which", "pocket", "--sprites", build / "sprites.npz", "--tokenizer", TOKENIZER, "--out", out,
        "--seconds", 0.1, "--batch", 4, "--chunk", 4, "--size", 32, "--workers", 0, "--probes", 0, *more,
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["clip", *map(str, words)])
    clip.main()
    return [json.loads(line) for line in (out / "log-pocket-0.jsonl").read_text().splitlines()]


def test_training_with_none_has_the_losses_of_a_training_that_knows_of_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = write_build(tmp_path / "build")
    monkeypatch.setattr(clip, "evaluate", lambda *_: None)
    runs = [
        trained(build, tmp_path / name, monkeypatch, *more)
        for name, more in (("a", ()), ("b", ("--negatives", 0)))
    ]
    losses = [[line["loss"] for line in run if "loss" in line] for run in runs]
    assert losses[0][0] == losses[1][0]
    runs.append(trained(build, tmp_path / "c", monkeypatch, "--negatives", 1, "--pairs", 0.5, "--probes", 2))
    assert next(line["loss"] for line in runs[2] if "loss" in line) > losses[0][0]
    [probe] = [line["probe"] for line in runs[2] if "probe" in line]
    assert any(row.startswith("distance_second") and row.endswith("n=2") for row in probe)
    assert all(torch.isfinite(value).all() for value in load_shards(tmp_path / "c", "text").values())


def test_a_killed_training_with_wrong_captions_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = write_build(tmp_path / "build")
    out = tmp_path / "out"
    words = [
        "--which", "pocket", "--sprites", build / "sprites.npz", "--tokenizer", TOKENIZER, "--out", out,
        "--batch", 4, "--chunk", 4, "--size", 32, "--workers", 1, "--save-every", 0.1, "--seconds", 6,
        "--probes", 0, "--negatives", 0.7, "--pairs", 0.5,
    ]  # fmt: skip
    reached = killed([sys.executable, "-m", "pocket.train.clip", *map(str, words)], out / "resume-pocket.pt")
    monkeypatch.setattr(clip, "evaluate", lambda *_: None)
    lines = trained(build, out, monkeypatch, *words[12:], "--workers", 0)
    assert [line["resumed_at"] for line in lines if "resumed_at" in line] == [0, round(reached, 4)]
    assert torch.load(out / "resume-pocket.pt", weights_only=True)["at"] == 1.0


# ------------------------------------------------------------------------------------------ the probe


def test_the_probe_reads_both_towers_and_says_what_it_cannot(
    tmp_path: Path, tokenizer: CLIPTokenizer
) -> None:
    sprites = drawings(60, looks=("flat",))
    rows = list(text_tower.probe_rows(small_clip().eval(), tokenizer, Painter(sprites.pixels), sprites, 3))
    names = [row.name if isinstance(row, Unmeasured) else row.score.name for row in rows]
    assert names == [f"{what}_{attribute}" for what in ("distance", "nearer") for attribute in ATTRIBUTES]
    assert {row.name for row in rows if isinstance(row, Unmeasured)} == {"distance_look", "nearer_look"}
    scores = [row.score for row in rows if isinstance(row, Row)]
    assert all(score.n == 3 for score in scores)
    assert all(score.value > 0 for score in scores if score.name.startswith("distance"))


def test_a_tower_is_read_from_shards_as_from_a_folder(tmp_path: Path, tokenizer: CLIPTokenizer) -> None:
    folder = TOKENIZER.parent / "text_encoder"
    tower = text_tower.load_tower(folder)
    inner = getattr(tower, "text_model", tower)
    save_shards(inner.state_dict(), tmp_path, "text")
    again = text_tower.load_tower(tmp_path)
    asked = text_tower.cases(SceneSampler(drawings(60)), "second", 2)
    assert len(asked.scenes) == 2
    found = [text_tower.distances(t, tokenizer, asked) for t in (tower, again)]
    np.testing.assert_allclose(*found, rtol=1e-5)
