"""A training's settings out of its file, and a training that was killed: it goes on from where it was saved last."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pocket.train import clip, controlnet, depth, fast, ip_adapter, keypoints, unet, upscale, vae
from pocket.train.common import Average, Masters, adamw, load_shards
from pocket.train.nets import build_clip
from pocket.train.recipe import Resume, stages_after
from tests.pocket.untrained import TOKENIZER, killed, write_build

CONFIGS = Path("pocket/train/configs")
SCRIPTS = {
    "vae": vae,
    "clip": clip,
    "judge": clip,
    "unet": unet,
    "ip": ip_adapter,
    "control": controlnet,
    "fast": fast,
    "upscale": upscale,
    "keypoints": keypoints,
    "depth": depth,
}


def settings(module, monkeypatch: pytest.MonkeyPatch, *words: object):
    monkeypatch.setattr(sys, "argv", ["train", *map(str, words)])
    return module.arguments()


def test_every_training_has_its_file_and_every_file_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {path.stem for path in CONFIGS.iterdir()} == SCRIPTS.keys()
    for name, module in SCRIPTS.items():
        args = settings(module, monkeypatch, "--config", CONFIGS / f"{name}.yaml")
        assert args.sprites == Path("build/sprites.npz")
        assert isinstance(args.lr, float)
        if hasattr(args, "stages"):
            assert list(stages_after(args.stages, 0.0))[-1].end == 1.0


def test_the_command_line_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS / "unet.yaml"
    assert settings(unet, monkeypatch, "--config", config).lr == 5e-4
    assert settings(unet, monkeypatch, "--config", config, "--lr", "1e-5").lr == 1e-5


@pytest.mark.parametrize("line", ["leraning: 3", "lr: quick", "- lr"])
def test_a_file_that_does_not_fit_is_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "unet.yaml"
    path.write_text((CONFIGS / "unet.yaml").read_text() + line if line[0] != "-" else line)
    with pytest.raises(SystemExit) as caught:
        settings(unet, monkeypatch, "--config", path)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings(vae, monkeypatch, "--config", "nowhere.yaml")
    assert "nowhere.yaml: no such file" in capsys.readouterr().err


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(0, 0.999))
def test_what_is_left_of_the_stages_is_what_is_left_of_the_run(weights: list[int], done: float) -> None:
    text = ",".join(f"{8 * (i + 1)}x8:{w / sum(weights)}" for i, w in enumerate(weights))
    left = list(stages_after(text, done))
    assert left[0].begin == pytest.approx(done, abs=1e-6)
    assert left[-1].end == 1.0
    assert [s.number for s in left] == list(range(left[0].number, len(weights)))
    assert all(a.end == b.begin for a, b in itertools.pairwise(left))


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"add up to 1"):
        list(stages_after("8x8:0.5,16x16:0.4", 0.0))


def a_run(path: Path, seed: int = 1) -> tuple[Resume, Masters, Average]:
    torch.manual_seed(seed)
    masters = Masters(torch.nn.Linear(3, 2))
    average = Average(masters.state(), 0.9, every=1)
    optimizer = adamw(masters.weights, 1e-2, (0.9, 0.99), 0.0)
    return Resume(path, {"lr": "0.01"}, masters.state, masters.load, optimizer, average), masters, average


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    first, masters, average = a_run(tmp_path / "resume.pt")
    for weight in masters.weights:
        weight.grad = torch.ones_like(weight)
    first.optimizer.step()
    average.update(masters.state())
    first.save(0.25)
    second, again, shadow = a_run(tmp_path / "resume.pt", seed=2)
    assert second.enter(0.0, 1.0, False, torch.device("cpu")) == 0.25
    for before, after in ((masters.state(), again.state()), (average.shadow, shadow.shadow)):
        assert all(torch.equal(before[name], after[name]) for name in before)
    moments = [next(iter(run.optimizer.state.values()))["exp_avg"] for run in (first, second)]
    assert torch.equal(*moments)


def test_a_run_of_another_recipe_or_another_place_is_refused_and_a_finished_one_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu = torch.device("cpu")
    run, _, _ = a_run(tmp_path / "resume.pt")
    assert run.enter(0.0, 1.0, False, cpu) == 0.0
    run.save(0.5)
    with pytest.raises(SystemExit, match=r"starts at 0\.7"):
        run.enter(0.7, 1.0, False, cpu)
    with pytest.raises(SystemExit) as caught:
        run.enter(0.0, 0.5, False, cpu)
    assert caught.value.code == 0
    assert "trained up to 0.5 already" in capsys.readouterr().out
    run.recipe["lr"] = "0.02"
    with pytest.raises(SystemExit, match=r"--lr was 0\.01"):
        run.enter(0.5, 1.0, False, cpu)
    assert run.enter(0.5, 1.0, True, cpu) == 0.5


def test_a_frozen_text_tower_is_no_part_of_the_optimiser() -> None:
    model = build_clip()
    model.text_model.requires_grad_(False)
    names = Masters(model).names
    assert not any(name.startswith("text_model.") for name in names)
    assert {name.split(".")[0] for name in names} == {
        "vision_model", "visual_projection", "text_projection", "logit_scale",
    }  # fmt: skip


SECONDS = {"control": 8, "clip": 8}
STEERED = {"widths": "32,64,64", "layers": 1, "count": 8, "refresh": 3}
TRAINABLE = {
    "vae": {"size": 32, "chunk": 4},
    "clip": {"size": 32, "chunk": 4},
    "unet": {"stages": "32x32:0.5,32x32+64x32:0.5"} | STEERED,
    "control": {"stages": "32x32:1"} | STEERED,
}


def left_behind(config: Path) -> list[psutil.Process]:
    """Processes that still run with a config, waited for a while."""

    def found() -> list[psutil.Process]:
        running = psutil.process_iter(["cmdline", "status"])
        return [
            p for p in running if str(config) in (p.info["cmdline"] or ()) and p.info["status"] != "zombie"
        ]

    until = time.monotonic() + 20
    while found() and time.monotonic() < until:
        time.sleep(0.1)
    return found()


@pytest.mark.parametrize(
    "name",
    [
        "vae",
        "unet",
        pytest.param("clip", marks=pytest.mark.slow),
        pytest.param("control", marks=pytest.mark.slow),
    ],
)
def test_killed_training_goes_on(name: str, tmp_path: Path) -> None:
    """SIGKILL after a save, then the same command once more: it goes on from there, and ends."""
    build = write_build(tmp_path / "build")
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    config |= {
        "save-every": 0.1,
        "workers": 1,
        "batch": 4,
        "seconds": SECONDS.get(name, 2),
        **TRAINABLE[name],
    }
    config |= {
        key: value.replace("build/", f"{build}/") for key, value in config.items() if "build/" in str(value)
    }
    config |= {"tokenizer": str(TOKENIZER), "puppets": None}
    if name in ("vae", "clip"):
        del config["tokenizer" if name == "vae" else "people"]
    path, out = tmp_path / "small.yaml", Path(config["out"])
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", SCRIPTS[name].__name__, "--config", str(path)]
    state = out / ("resume-pocket.pt" if name == "clip" else "resume.pt")

    reached = killed(command, state)
    assert not left_behind(path), "workers go when their training does"

    second = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert second.returncode == 0, second.stderr
    lines = [json.loads(line) for log in out.glob("log*.jsonl") for line in log.read_text().splitlines()]
    assert [line["resumed_at"] for line in lines if "resumed_at" in line] == [0, round(reached, 4)]
    assert torch.load(state, weights_only=True)["at"] == 1.0
    part = "pocket" if name == "clip" else name
    assert all(torch.isfinite(value).all() for value in load_shards(out, part).values())
