"""What `jogak film` says to bad input: one line, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from jogak.cli.main import run

GOOD = "title: t\nbrief: b\nlang: en\nshots:\n- id: s1\n  prompt: a fox\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        run(["film", *arguments])
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
