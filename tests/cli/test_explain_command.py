"""`jogak explain` and `jogak image --grid`, on a small model of the true layout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from cyclopts import App

from jogak.cli.explain import explain
from jogak.cli.image import image
from jogak.image.infotext import read_recipe
from jogak.spec import SpecError

FAST = ["--steps", "2", "--size", "64x64", "--backend", "torch"]


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Nothing here touches the user's store."""


def jogak(*words: str | Path) -> None:
    app = App(result_action="return_value")
    app.command(image)
    app.command(explain)
    app([str(word) for word in words], exit_on_error=False)


def test_importing_the_command_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "PIL", "diffusers", "jogak.store", "rich.progress"]
    code = f"import sys, jogak.cli.explain; print([m for m in {heavy!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_a_grid_with_its_cells(pocket_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "grid.png"
    jogak(
        "image",
        "red fox",
        "-o",
        out,
        "--grid",
        "guidance:1,4 x seed:5..6",
        "--cells",
        "--model",
        pocket_like,
        *FAST,
    )
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["grid-x1-y1.png", "grid-x1-y2.png", "grid-x2-y1.png", "grid-x2-y2.png", "grid.png"]
    request = read_recipe(out.with_name("grid-x2-y1.png")).request
    assert (request.guidance, request.seed) == (4, 5)
    assert "4 pictures" in capsys.readouterr().out


def test_a_dry_grid_counts_and_writes_nothing(
    pocket_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid.png"
    jogak(
        "image",
        "fox",
        "-o",
        out,
        "--grid",
        "seed:1..9 x steps:2,3",
        "--dry-run",
        "--model",
        pocket_like,
        *FAST,
    )
    assert "18 pictures (9 × 2), about" in capsys.readouterr().out
    assert list(tmp_path.glob("*.png")) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [(["--grid", "seeds:1"], "Fields"), (["--grid", "seed:1", "-n", "2"], "leave -n away"),
     (["--grid", "prompt:dog,cat"], "does not contain"), (["--grid", "steps:0"], "steps")],
)  # fmt: skip
def test_a_wrong_grid_is_refused(pocket_like: Path, tmp_path: Path, more: list[str], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        jogak("image", "fox", "-o", tmp_path / "g.png", "--model", pocket_like, *FAST, *more)
    assert list(tmp_path.glob("*.png")) == []


def test_a_picture_is_explained(
    pocket_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jogak("image", "빨간 여우", "-o", tmp_path / "out.png", "--model", pocket_like, *FAST)
    jogak("explain", tmp_path / "out.png", "-o", tmp_path / "why", "--dry-run", "--process")
    assert "6 drawings, about" in capsys.readouterr().out
    assert not (tmp_path / "why").exists()
    jogak("explain", tmp_path / "out.png", "-o", tmp_path / "why", "--process", "--words")
    shown = capsys.readouterr().out
    assert "guidance 4" in shown
    assert "note:" not in shown
    for name in ("explain.png", "process.png", "words.png"):
        assert PIL.Image.open(tmp_path / "why" / name).width == 1240
    assert (tmp_path / "why" / "explain.json").is_file()
    assert (tmp_path / "why" / "pictures" / "whole.png").is_file()


def test_what_cannot_be_explained_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is not a file"):
        jogak("explain", tmp_path / "absent.png", "-o", tmp_path / "why")
    PIL.Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    with pytest.raises(SpecError, match="carries no recipe"):
        jogak("explain", tmp_path / "plain.png", "-o", tmp_path / "why")
    with pytest.raises(SpecError, match="name a folder"):
        jogak("explain", tmp_path / "plain.png", "-o", tmp_path / "plain.png")
