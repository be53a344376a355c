"""A sweep over the checkpoints of a tiny training."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest

from jogak.spec import SpecError
from jogak.spec.training import SweepRequest
from jogak.store import Store
from jogak.studio.sweep import deliver, make_prompts, plan_sweep, subject_of, sweep
from jogak.studio.train import plan, train
from jogak.training.dataset import read_dataset
from tests.tiny_training import request


def test_a_sweep_recommends_one_cell_and_is_warm_afterwards(
    base: Path, pictures: Path, store: Store, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(store, plan(request(base, sample_every=0), pictures), run)
    planned = plan_sweep(SweepRequest(count=2, seeds=2, steps=2, weights=(0.5, 1.0)), run)
    assert planned.pictures == (1 + 2 * 2) * 2 * 2
    assert all("sk_fox fox" in prompt for prompt in planned.prompts)
    report = sweep(store, planned)
    assert [(cell.step, cell.weight) for cell in report.cells] == [(6, 0.5), (6, 1.0), (12, 0.5), (12, 1.0)]
    assert report.winner.n == 4
    assert report.winner.value >= max(cell.value for cell in report.cells) - 0.01
    folder = deliver(store, report, run)
    data = json.loads((folder / "sweep.json").read_text())
    assert data["best"] == report.best
    assert data["reason_ko"].endswith(".")
    with PIL.Image.open(folder / "grid.png") as grid:
        assert grid.width > 400
        assert grid.height > 400
    again = sweep(store, planned)
    assert again == report
    assert [one.name for one in store.runs()[0].records if one.state == "made"] == []
    wider = sweep(store, plan_sweep(SweepRequest(count=2, seeds=2, steps=2, weights=(0.5, 0.7, 1.0)), run))
    made = [one.name for one in store.runs()[0].records if one.state == "made"]
    assert made.count("draw_cell") == 2, "only the new weight is drawn"
    assert len(wider.cells) == 6


def test_a_cell_is_drawn_with_its_lora_and_the_model_is_left_as_it_was(
    base: Path, pictures: Path, store: Store, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(store, plan(request(base, sample_every=0, lr=0.1), pictures), run)
    report = sweep(store, plan_sweep(SweepRequest(count=2, seeds=1, steps=2, weights=(0.5, 2.0)), run))
    drawn = {
        record.args["weight"]: [picture.sha256 for picture in record.result]
        for record in store.runs()[0].records
        if record.name == "draw_cell"
        and (record.args["adapter"] is None or record.args["adapter"].name == "fox")
    }
    assert len(drawn) == 3
    assert len({tuple(pictures) for pictures in drawn.values()}) == 3, "plain, half and double differ"
    assert report.plain.weight == 0


def test_a_folder_without_a_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"train\.json"):
        plan_sweep(SweepRequest(), tmp_path)


def test_prompts_are_about_the_subject_and_scenes_the_set_says_least_of(pictures: Path) -> None:
    data = read_dataset(pictures, 64, 32)
    prompts, foils = make_prompts(data, "sk_fox", 3)
    assert len(prompts) == 3
    assert not set(prompts) & set(foils)
    assert all(prompt.startswith("sk_fox fox ") for prompt in prompts)
    assert not any("snow" in prompt for prompt in prompts), "every caption speaks of snow"
    assert subject_of(["sk_fox fox in snow", "a sk_fox fox"], "sk_fox", "") == "sk_fox fox"
    assert subject_of(["sk_fox, snow", "sk_fox"], "sk_fox", "") == "sk_fox"
    assert subject_of(["a cat"], "", "cat") == "cat"
    captioned = [one.model_copy(update={"caption": "sk_fox 여우"}) for one in data.images]
    korean = data.model_copy(update={"images": tuple(captioned)})
    assert all(prompt.endswith("에 있는 sk_fox fox") for prompt in make_prompts(korean, "sk_fox", 2)[0])
