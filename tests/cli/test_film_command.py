"""What `jogak film` says to bad input: one line, exit code 2, nothing written; which model it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from jogak.cli.main import run
from jogak.spec import FilmPlan
from jogak.store import Store

GOOD = "title: t\nbrief: b\nlang: en\nshots:\n- id: s1\n  prompt: a fox\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, command: str = "film") -> str:
    with pytest.raises(SystemExit) as end:
        run([command, *arguments])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert len(said.strip().splitlines()) == 1
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("brief", ["", "   ", "\x00\x01\x02", "a" * 100_000, "!!! ... ???"])
def test_a_brief_that_says_nothing_is_refused(
    brief: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    refusal(capsys, brief, "-o", str(out), "--dry-run")
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "  camra: still\n", "camera"),
        (GOOD + "  seconds: -3\n", "seconds"),
        (GOOD.replace("id: s1", "id: ../s1"), "id"),
        (GOOD + "  prompt: [", "readable"),
        ("[" * 10_000, "readable"),
        ("!!python/object/apply:os.system ['true']", "readable"),
    ],
)
def test_a_bad_plan_is_refused(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(text)
    assert said in refusal(capsys, "--plan", str(plan), "-o", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_neither_brief_nor_plan_both_and_absent_plans_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert "brief" in refusal(capsys, "-o", out)
    assert "brief" in refusal(capsys, "a fox", "--plan", "x.yaml", "-o", out)
    assert "x.yaml" in refusal(capsys, "--plan", str(tmp_path / "x.yaml"), "-o", out)


def test_a_file_in_place_of_the_folder_and_a_length_out_of_range_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert "file" in refusal(capsys, "a fox", "-o", str(tmp_path / "file"))
    assert "seconds" in refusal(capsys, "a fox", "-o", str(tmp_path / "out"), "--seconds", "400")


def test_an_unknown_model_is_refused_as_image_refuses_it_before_anything_is_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown, out = ("--model", "pokcet"), str(tmp_path / "out")
    plan = tmp_path / "plan.yaml"
    plan.write_text(GOOD + "model: pokcet\n")
    said = refusal(capsys, "a fox", *unknown, "-o", str(tmp_path / "x.png"), command="image")
    assert 'Did you mean "pocket"?' in said
    assert refusal(capsys, "a fox", *unknown, "-o", out) == said
    assert refusal(capsys, "a fox", *unknown, "-o", out, "--dry-run") == said
    assert refusal(capsys, "--plan", str(plan), "-o", out) == said
    assert not (tmp_path / "out").exists()
    assert Store().runs() == []


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[FilmPlan, str, str]:
    """(the plan that is shown, everything on the output, everything on the error stream)"""
    with pytest.raises(SystemExit) as end:
        run(["film", *arguments, "-o", "out", "--dry-run"])
    assert not end.value.code
    said = capsys.readouterr()
    return FilmPlan.parse(yaml.safe_load(said.out)), said.out, said.err


def test_the_model_of_a_brief_is_the_plans_and_a_flag_takes_the_place_of_a_plans(
    pocket_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOGAK_BACKEND", "torch")
    plan, out, err = dry_run(capsys, "a fox by the sea", "--model", str(pocket_like))
    assert plan.model == str(pocket_like)
    assert "GB of memory" in out
    assert "A film is drawn at 320×192" in err, "made for 64×64"
    file = tmp_path / "plan.yaml"
    file.write_text(GOOD + "model: nowhere\n")
    assert dry_run(capsys, "--plan", str(file), "--model", str(pocket_like))[0].model == str(pocket_like)


def test_regions_that_an_edited_prompt_left_behind_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    brief = "A fox finds a balloon on the beach at sunset"
    plan = dry_run(capsys, brief, "--seconds", "15")[0]
    assert any(shot.regions for shot in plan.shots)
    (tmp_path / "plan.yaml").write_text(plan.to_yaml(), encoding="utf-8")
    assert "region" not in dry_run(capsys, "--plan", str(tmp_path / "plan.yaml"))[2]
    shots = [shot.model_copy(update={"prompt": shot.prompt.replace("fox", "cat")}) for shot in plan.shots]
    edited = plan.model_copy(update={"shots": tuple(shots)})
    (tmp_path / "plan.yaml").write_text(edited.to_yaml(), encoding="utf-8")
    assert 'a region says "fox"' in dry_run(capsys, "--plan", str(tmp_path / "plan.yaml"))[2]
