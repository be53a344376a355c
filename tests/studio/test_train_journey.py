"""A whole training on a tiny model: from a folder of pictures to a LoRA."""

from __future__ import annotations

import json
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import jogak.models.diffusion
from jogak.adapters.lora import read_lora
from jogak.models.safe import read_header
from jogak.spec import JogakError, SpecError
from jogak.spec.training import TrainRecord, TrainRequest
from jogak.store import Progress, Store
from jogak.studio.train import Plan, afterwards, estimate, plan, train
from jogak.training.loop import _PACKAGES, check_optimizer
from tests.tiny_training import TINY, losses, request


def test_a_folder_becomes_a_lora(base: Path, pictures: Path, store: Store, tmp_path: Path) -> None:
    told: list[Progress] = []
    planned = plan(request(base), pictures)
    done = train(store, planned, tmp_path / "run", on_progress=told.append)
    run = tmp_path / "run"
    assert [path.name for path in done.checkpoints] == ["fox-step00000006.safetensors", "fox.safetensors"]
    assert (done.done, done.now) == (12, 12)
    lines = losses(run)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    checks = [line for line in lines if "held_out" in line]
    assert [line["step"] for line in checks] == [0, 6, 12]
    assert checks[-1]["seen"] < checks[0]["seen"], "it learns"
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        "step000000-0.png", "step000006-0.png", "step000012-0.png",
    ]  # fmt: skip
    facts = read_header(run / "fox.safetensors").metadata
    assert (facts["ss_steps"], facts["ss_epoch"], facts["ss_output_name"]) == ("12", "3", "fox")
    assert facts["modelspec.trigger_phrase"] == "sk_fox"
    assert len(facts["sshs_model_hash"]) == 64
    assert read_lora(run / "fox.safetensors").rank == 2
    record = TrainRecord.read(run / "train.json")
    assert record.request == planned.request
    assert record.held_out == planned.held_out
    assert any(one.text.startswith("loss ") and (one.done, one.total) == (12, 12) for one in told)

    again = train(store, planned, run)
    assert again.now == 0, "the same command once more does nothing"
    assert losses(run) == lines


def test_one_picture_is_enough_and_none_is_not(
    base: Path, pictures: Path, store: Store, tmp_path: Path
) -> None:
    one = tmp_path / "one"
    one.mkdir()
    with pytest.raises(SpecError, match="picture"):
        plan(request(base), one)
    (one / "a.png").write_bytes((pictures / "2_sk_fox fox" / "0.png").read_bytes())
    planned = plan(request(base, steps=2), one)
    assert planned.held_out == ()
    assert planned.data.images[0].caption == "sk_fox", "the trigger word stands for a caption"
    done = train(store, planned, tmp_path / "run")
    assert done.checkpoints[-1].is_file()
    assert [line["held_out"] for line in losses(tmp_path / "run") if "seen" in line] == [None, None]


def test_the_cache_is_warm_the_second_time_and_follows_the_content(
    base: Path, pictures: Path, store: Store, tmp_path: Path
) -> None:
    def made(planned: Plan, run: str) -> list[str]:
        train(store, planned, tmp_path / run)
        return [record.name for record in store.runs()[0].records if record.state == "made"]

    first = made(plan(request(base, steps=1), pictures), "a")
    assert first.count("encode_latents") == 6
    assert first.count("encode_caption") == 7, "six captions and the empty one"
    assert made(plan(request(base, steps=1, rank=4, lr=1e-3), pictures), "b") == []
    changed = tmp_path / "changed"
    inside = changed / "2_sk_fox fox"
    inside.mkdir(parents=True)
    for path in (pictures / "2_sk_fox fox").iterdir():
        (inside / path.name).write_bytes(path.read_bytes())
    (inside / "0.txt").write_text("sk_fox fox, another caption")
    assert made(plan(request(base, steps=1), changed), "c") == ["encode_caption"]


def test_prior_and_masks_are_learned_from(base: Path, pictures: Path, store: Store, tmp_path: Path) -> None:
    prior, masks = tmp_path / "prior", tmp_path / "masks"
    for folder in (prior, masks):
        folder.mkdir()
    rng = np.random.default_rng(5)
    for i in range(3):
        PIL.Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(prior / f"p{i}.png")
        (prior / f"p{i}.txt").write_text("a fox")
    planned = plan(request(base, steps=3, prior=str(prior), masks=str(masks)), pictures)
    with pytest.raises(JogakError, match=r"no mask for .*0\.png"):
        train(store, planned, tmp_path / "run")

    def curve(run: str, **changes: Any) -> list[float]:
        train(store, plan(request(base, steps=3, **changes), pictures), tmp_path / run)
        return [line["loss"] for line in losses(tmp_path / run) if "loss" in line]

    for i in range(6):
        PIL.Image.new("L", (96, 64) if i == 5 else (64, 64), 255).save(masks / f"{i}.png")
    white = curve("white", masks=str(masks))
    plain = curve("plain")
    assert white == pytest.approx(plain), "a white mask is none"
    assert curve("prior", prior=str(prior)) != plain
    for i in range(6):
        mask = PIL.Image.new("L", (96, 64) if i == 5 else (64, 64), 0)
        mask.paste(255, (0, 0, 32, 32))
        mask.save(masks / f"{i}.png")
    assert curve("corner", masks=str(masks)) != plain


def test_what_cannot_be_had_is_said_before_anything_is_done(base: Path, pictures: Path) -> None:
    for changes, sentence in (
        ({"optimizer": "prodigy"}, "prodigyopt"),
        ({"optimizer": "adamw8bit"}, "GPU"),
        ({"precision": "fp16"}, "GPU"),
        ({"base": "pockett"}, "pocket"),
    ):
        if (torch.cuda.is_available() and sentence == "GPU") or (
            sentence == "prodigyopt" and find_spec(sentence)
        ):
            continue
        with pytest.raises(SpecError, match=sentence):
            plan(TrainRequest.parse(TINY | {"base": str(base)} | changes), pictures)


def test_a_missing_optimizer_names_the_extra_that_has_it() -> None:
    root = Path(__file__).parents[2]
    extra = " ".join(
        tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["optimizers"]
    )
    pinned = (root / "constraints.txt").read_text().splitlines()
    for package in _PACKAGES.values():
        assert package in extra
        assert any(line.startswith(f"{package}==") for line in pinned)
    if find_spec("prodigyopt") is None:
        with pytest.raises(SpecError, match=r'prodigyopt.*"jogak\[optimizers\]"'):
            check_optimizer("prodigy")


def test_the_price_is_told_without_reading_a_weight(
    base: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(request(base), pictures)

    def refuse(*_: Any) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(jogak.models.diffusion, "build_unet", refuse)
    cost = estimate(planned)
    small = estimate(plan(request(base, rank=1, alpha=1), pictures))
    assert cost.parameters == 2 * small.parameters
    assert 0 < cost.seconds_per_step < 60
    assert estimate(plan(request(base, accumulate=4), pictures)).step_flops == 4 * cost.step_flops


def test_defaults_follow_the_family_and_what_was_asked_stays() -> None:
    plain = TrainRequest()
    assert (plain.rank, plain.alpha, plain.lr, plain.min_snr_gamma) == (32, 16, 1e-4, 5)
    pocket = plain.for_family("pocket")
    assert (pocket.resolution, pocket.batch) == (256, 4)
    assert pocket.text_lr == pocket.lr / 2
    assert TrainRequest(rank=32).for_family("pocket").rank == 32
    assert TrainRequest().for_family("sdxl").resolution == 1024
    prodigy = TrainRequest(optimizer="prodigy").for_family("sd15")
    assert (prodigy.lr, prodigy.text_lr) == (1.0, 1.0)
    assert TrainRequest(optimizer="prodigy", lr=0.5).for_family("pocket").lr == 0.5
    with pytest.raises(SpecError, match="one learning rate"):
        TrainRequest.parse({"optimizer": "prodigy", "lr": 1.0, "text_lr": 0.1})
    assert pocket.for_family("pocket") == pocket


def test_losses_are_read_back_in_words(tmp_path: Path) -> None:
    def said(*checks: tuple[int, float, float | None]) -> str:
        lines = [json.dumps({"step": step, "seen": seen, "held_out": held}) for step, seen, held in checks]
        (tmp_path / "losses.jsonl").write_text("\n".join(lines))
        return " ".join(afterwards(tmp_path))

    assert said((0, 1.0, 1.0), (10, 0.8, 0.9)) == ""
    assert said((0, 1.0, None), (10, 0.8, None)) == ""
    assert said((0, 1.0, 1.0)) == ""
    assert "diverged" in said((0, 1.0, 1.0), (10, 1.2, 1.3))
    assert "lowest at step 10" in said((0, 1.0, 1.0), (10, 0.8, 0.8), (20, 0.6, 0.95))
