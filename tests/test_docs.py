"""The documentation's commands are real: they parse and run, their files exist, their targets are in the Makefile.

Every `jogak` command of the README is run, in the README's order, in one empty folder and without a network: with
fewer steps and smaller pictures where `CHEAPER` and `INSTEAD` say so, and as it stands under `-m slow`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from jogak.cli.main import app, run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "pocket/README.md")]
README = PAGES[0].read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}\.venv/bin/jogak (.+)$", README, re.MULTILINE)


def test_the_first_two_commands_are_film_and_test() -> None:
    commands = re.findall(r"^ {4}(\S.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert commands[:2] == ["make film", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^film:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_jogak_command_of_the_readme_parses(command: str) -> None:
    app.parse_args(shlex.split(command), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_modules_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (page.parent / link).exists(), link
    for module in re.findall(r"python -m ((?:pocket|benchmarks)[\w.]*)", text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


# ------------------------------------------------------------------------- the commands of the README, run

CHEAPER: dict[str, tuple[str, str]] = {
    "film --plan": ("--dry-run", "a drawn film takes minutes; tests/studio/test_film_journey.py draws one"),
    'image "노을': ("--steps 4", "fewer passes of the model"),
    'image "a fox in snow"': ("--steps 2", "fewer passes; `explain` draws this picture several times more"),
    'image "a fox in a meadow"': ("--steps 2", "six pictures"),
    "train set --name girl -o runs/girl": (
        "--steps 2 --batch 1 --resolution 64 --bucket-step 32 --sample-steps 1",
        "a training of two steps on tiny pictures, in place of some minutes",
    ),
    "sweep": ("--count 1 --seeds 1 --steps 1 --weights 1 --checkpoints 1", "one cell in place of twelve"),
}
"""Commands of the README by their beginnings: the words that make one cheap, and why it needs them."""
INSTEAD: dict[str, tuple[str, str]] = {
    "explain wide.png": (
        "explain fox.png",
        "a picture is drawn again for each of its parts: a quarter of the pixels",
    ),
}
"""Beginnings of commands that are cheap on another file only: with which, and why."""
AS_IT_STANDS = ("--dry-run",)
"""A command that has one of these words already is run as it is."""
REFUSED = {"--planner openai": "JOGAK_LLM_MODEL"}
"""What asks a server, which is not there: refused with exit code 2 and a sentence that says what to set."""
PLAN = "title: t\nbrief: b\nlang: en\ntitle_seconds: 1\nend_seconds: 1\nshots:\n- {id: s1, prompt: a fox, seconds: 1}\n"


def make_a_plan() -> None:
    """As an earlier film left it."""
    Path("out/film").mkdir(parents=True)
    Path("out/film/plan.yaml").write_text(PLAN, encoding="utf-8")


def make_pictures() -> None:
    """By the README's own command, with fewer pictures."""
    command = "-m pocket.data.puppets --count 8 --seed 7 --trigger sks_girl --character"
    folder = str(Path("pictures").absolute())
    subprocess.run([sys.executable, *command.split(), folder], cwd=ROOT, check=True, capture_output=True)


def make_a_folder_of_drawings() -> None:
    """What was drawn until now."""
    for name in ("fox.png", "wide.png"):
        shutil.copy(name, Path("out") / name)


def make_the_character_of_the_example() -> None:
    """The example speaks of a LoRA and pictures that its own head says how to make; here those made before."""
    Path("docs").mkdir()
    shutil.copytree(ROOT / "docs" / "examples", "docs/examples")
    Path("out/hana").mkdir(parents=True)
    shutil.copy("runs/girl/girl.safetensors", "out/hana/hana.safetensors")
    shutil.copytree("set", "out/hana-set")


BEFORE: dict[str, Callable[[], None]] = {
    "film --plan": make_a_plan,
    "dataset check": make_pictures,
    "eval": make_a_folder_of_drawings,
    "sheet": make_the_character_of_the_example,
}
"""What must be there when a command of the README begins, by the command's beginning."""


def cheaper(command: str) -> str:
    """The command with the words of `CHEAPER` and the file of `INSTEAD`, where it has any."""
    for start, (other, _) in INSTEAD.items():
        command = other + command.removeprefix(start) if command.startswith(start) else command
    words = [words for start, (words, _) in CHEAPER.items() if command.startswith(start)]
    as_it_stands = any(word in shlex.split(command) for word in AS_IT_STANDS)
    return command if as_it_stands else " ".join([command, *words])


def said_to_be_written(command: str) -> Path | None:
    """The file or folder that a command names with -o; a dry run writes none."""
    words = shlex.split(command)
    return Path(words[words.index("-o") + 1]) if "-o" in words and "--dry-run" not in words else None


def outcome(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with how a command ended; empty when nothing is."""
    try:
        run(shlex.split(command))
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    said = capsys.readouterr()
    expected = next((sentence for flag, sentence in REFUSED.items() if flag in command), None)
    if expected is not None:
        return "" if code == 2 and expected in said.err else f"not refused for {expected}: {code}, {said.err}"
    written = said_to_be_written(command)
    if code != 0:
        return f"exit code {code}: {said.err[-500:]}"
    return "" if written is None or written.exists() else f"{written} was not written"


def run_all(commands: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run commands one after the other, as a reader does; the complaints."""
    complaints: list[str] = []
    for command in commands:
        for prepare in [make for start, make in BEFORE.items() if command.startswith(start)]:
            prepare()
        if complaint := outcome(command, capsys):
            complaints.append(f"jogak {command}\n    {complaint}")
    return complaints


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, an empty store, no language model, and no way out of the machine."""

    def refused(self: socket.socket, address: object) -> NoReturn:
        raise OSError(f"a command of the README reached for {address}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JOGAK_LLM_MODEL", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refused)


def test_what_makes_a_command_cheaper_belongs_to_one() -> None:
    for start in (*CHEAPER, *INSTEAD, *BEFORE):
        assert any(command.startswith(start) for command in COMMANDS), f"no command begins with {start}"
    for flag in REFUSED:
        assert any(flag in command for command in COMMANDS), f"no command has {flag}"


def test_every_jogak_command_of_the_readme_runs(offline: None, capsys: pytest.CaptureFixture[str]) -> None:
    complaints = run_all([cheaper(command) for command in COMMANDS], capsys)
    assert not complaints, "\n".join(complaints)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_jogak_command_of_the_readme_runs_as_it_stands(
    offline: None, capsys: pytest.CaptureFixture[str]
) -> None:
    complaints = run_all(COMMANDS, capsys)
    assert not complaints, "\n".join(complaints)
