"""`jogak train` and `jogak sweep` as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jogak.cli.main import run
from tests.tiny_training import TINY, losses, make_pictures

FLAGS = [
    part
    for name, value in (TINY | {"steps": 6}).items()
    for part in (f"--{name.replace('_', '-')}", str(value))
]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "set")


def jogak(*arguments: object) -> int:
    try:
        run([str(one) for one in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_dry_run_prints_every_setting_and_the_price(
    pictures: Path, pocket_like: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert jogak("train", pictures, "-o", tmp_path / "run", *FLAGS, "--base", pocket_like, "--dry-run") == 0
    told = capsys.readouterr().out
    for line in ("rank: 2", "min_snr_gamma: 5.0", "precision: fp32", "text_lr: 0.005", "seed: 0"):
        assert line in told
    assert "6 pictures" in told
    assert "minutes" in told
    assert "GB of memory" in told
    assert not (tmp_path / "run").exists()


def test_train_and_sweep(
    pictures: Path, pocket_like: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ["train", pictures, "-o", out, *FLAGS, "--base", pocket_like]
    assert jogak(*command) == 0
    told = capsys.readouterr()
    assert "fox.safetensors" in told.out
    assert f"jogak sweep {out}" in told.out
    assert len([line for line in losses(out) if "loss" in line]) == 6
    assert jogak(*command) == 0
    assert "already trained" in capsys.readouterr().out
    assert jogak("sweep", out, "--dry-run", "--count", 2, "--seeds", 1, "--steps", 1) == 0
    assert "8 pictures" in capsys.readouterr().out
    assert jogak("sweep", out, "--count", 2, "--seeds", 1, "--steps", 1, "--weights", 1.0) == 0
    told = capsys.readouterr().out
    assert told.count("<- recommended") == 1
    assert "스텝, 세기 1" in told
    assert (out / "sweep" / "grid.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rank", "0"], "rank"),
        (["--optimizer", "sgd"], "optimizer"),
        (["--base", "nowhere"], "nowhere"),
        (["--precision", "fp16"], "fp16"),
    ],
)
def test_wrong_wishes_end_with_one_sentence_and_code_2(
    arguments: list[str],
    sentence: str,
    pictures: Path,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert jogak("train", pictures, "-o", tmp_path / "run", *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_an_empty_folder_and_a_folder_without_training_are_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert jogak("train", tmp_path / "empty", "-o", tmp_path / "run") == 2
    assert "picture" in capsys.readouterr().err
    assert jogak("sweep", tmp_path / "empty") == 2
    assert "train.json" in capsys.readouterr().err
