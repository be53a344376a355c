"""`jogak sheet`: one command from YAML to a folder, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest
import yaml
from cyclopts import App

from jogak.cli.sheet import sheet
from jogak.spec import SpecError
from tests.judge.drawings import drawings


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Nothing here touches the user's store."""


@pytest.fixture
def character(pocket_like: Path, tmp_path: Path) -> Path:
    """A character of four reference pictures on a tiny model, and its YAML."""
    (tmp_path / "set").mkdir()
    for i, pixels in enumerate(drawings()[:4]):
        PIL.Image.fromarray(pixels).save(tmp_path / "set" / f"{i}.png")
    who = {
        "name": "하나",
        "references": ["set"],
        "model": str(pocket_like),
        "width": 64,
        "height": 64,
        "steps": 1,
    }
    panels = [
        {"pose": "waving", "scene": "in a meadow", "caption": "안녕"},
        {"pose": "running", "scene": "on a beach"},
        {"pose": "sitting", "scene": "in a room"},
    ]
    path = tmp_path / "character.yaml"
    path.write_text(
        yaml.safe_dump({"character": who, "panels": panels}, allow_unicode=True), encoding="utf-8"
    )
    return path


def run(*arguments: str | Path) -> None:
    app = App()
    app.command(sheet, name="sheet")
    app(["sheet", *map(str, arguments)], exit_on_error=False, result_action="return_value")


def test_a_sheet_from_the_command_line(
    character: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(character, "-o", tmp_path / "out", "--tries", "1", "--bar", "0.99")
    said = capsys.readouterr().out
    assert "panel 1  consistency" in said
    assert "기준 미만" in said
    assert "안녕" in said
    assert "정체성: 프롬프트의 말로만" in said
    assert "0 of 3 panels pass (bar 0.990), 4 takes" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "sheet.png", "sheet.pdf", "scores.json", "poses", "panel-1.png", "panel-2.png", "panel-3.png",
    }  # fmt: skip


def test_a_dry_run_says_everything_and_draws_nothing(
    character: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(character, "-o", tmp_path / "out", "--dry-run", "--budget", "60")
    said = capsys.readouterr().out
    assert "# panel 2: running, on a beach" in said
    assert "# references: 4 pictures" in said
    assert "budget: 60.0" in said
    assert "nothing was drawn" in said
    assert not (tmp_path / "out").exists()


def test_wrong_words_are_refused_before_anything_is_loaded(character: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="give one of them"):
        run(character, "-o", tmp_path / "out", "--budget", "60", "--tries", "2")
    with pytest.raises(SpecError, match="is a file"):
        run(character, "-o", character)
    with pytest.raises(SpecError, match=r"nowhere\.yaml"):
        run(tmp_path / "nowhere.yaml", "-o", tmp_path / "out")
    character.write_text(character.read_text(encoding="utf-8").replace("scene", "szene"), encoding="utf-8")
    with pytest.raises(SpecError, match='Did you mean "scene"'):
        run(character, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tries_on_the_command_line_take_the_place_of_a_budget_in_the_file(
    character: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with character.open("a", encoding="utf-8") as file:
        file.write("budget: 50\n")
    run(character, "-o", tmp_path / "out", "--dry-run", "--tries", "2")
    said = capsys.readouterr().out
    assert "budget: null" in said
    assert "tries: 2" in said
