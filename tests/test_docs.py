"""The documentation's commands are real: they parse, their files exist, their targets are in the Makefile."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from jogak.cli.main import app

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
