"""`jogak runs`: what a person reads, and what a program reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jogak.cli.runs import runs_app
from jogak.spec import FilmBrief, JogakError
from jogak.store import StepError, Store
from tests.store import toyfilm
from tests.store.toyfilm import ToyPlan, ToyShot

PLAN = ToyPlan(shots=(ToyShot(id="s1"), ToyShot(id="s2", prompt="an owl")))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "140")
    return Store()


def say(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    runs_app(list(words), result_action="return_value")
    return capsys.readouterr().out


def film(store: Store) -> str:
    with store.run("film", spec=FilmBrief(text="비 오는 숲의\n여우"), output=Path("/films/fox")) as run:
        toyfilm.make_film(PLAN, None)
    return run.id


def test_list(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "list") == "No runs yet.\n"
    first, second = film(store), film(store)
    out = say(capsys, "list")
    lines = out.splitlines()
    assert lines[1].startswith(second)
    assert lines[2].startswith(first)
    assert all("film" in line and "done" in line and "비 오는 숲의 여우" in line for line in lines[1:])
    assert "1 older runs are not shown" in say(capsys, "list", "--limit", "1")
    data = json.loads(say(capsys, "list", "--json"))
    assert [run["id"] for run in data] == [second, first]
    assert data[0]["output"] == "/films/fox"
    assert data[0]["spec"]["is"]["text"] == "비 오는 숲의\n여우"


def test_show(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    film(store)
    film(store)
    out = say(capsys, "show", "last")
    assert "output: /films/fox" in out
    assert "11 steps, 11 of them found in the store." in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("best")] == [
        ["best", "s1"],
        ["best", "s2"],
    ]
    steps = json.loads(say(capsys, "show", "last", "--json"))["steps"]
    assert {step["state"] for step in steps} == {"hit"}
    keys = {step["key"] for step in steps}
    assert all(parent in keys for parent in steps[-1]["parents"])
    with pytest.raises(JogakError, match="There is no run"):
        say(capsys, "show", "yesterday")


def test_show_tells_why_a_run_failed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepError), store.run("film", spec=PLAN):
        toyfilm.picky(ToyShot(id="s1", prompt="bad"))
    out = say(capsys, "show", "last")
    assert "error: picky (version 1): ValueError: no such colour." in out
    assert "failed" in out.splitlines()[-2]


def test_gc_counts_first_and_removes_when_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    film(store)
    out = say(capsys, "gc", "--keep", "0")
    assert out.startswith("Would remove 1 runs, 11 records, 6 files and 0 leftovers: ")
    assert "Add --delete" in out
    assert len(store.runs()) == 1
    assert say(capsys, "gc", "--older-than", "1").startswith("Would remove 0 runs")
    told = out.splitlines()[0].removeprefix("Would remove ")
    assert say(capsys, "gc", "--keep", "0", "--delete") == f"Removed {told}\n"
    assert store.runs() == []
    assert not list(store.root.glob("objects/*/*"))
