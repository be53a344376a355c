"""Data falls one way: a room imports only rooms below it, and what only lists or explains needs no torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "jogak"

_MEDIA = frozenset({"adapters", "models", "store", "spec"})
_BELOW_STUDIO = _MEDIA | {"report", "image", "film", "three_d", "training", "judge", "jobs"}
BELOW: dict[str, frozenset[str]] = {
    "cli": _BELOW_STUDIO | {"studio"},
    "web": _BELOW_STUDIO | {"studio"},
    "studio": _BELOW_STUDIO,
    "report": frozenset({"store", "spec"}),
    "image": _MEDIA,
    "film": _MEDIA,
    "three_d": _MEDIA,
    "training": _MEDIA,
    "judge": _MEDIA,
    "adapters": frozenset({"models", "spec"}),
    "models": frozenset({"store", "spec"}),
    "jobs": frozenset({"store", "spec"}),
    "store": frozenset({"spec"}),
    "spec": frozenset(),
}
"""The table of the house: for each room, the rooms it may import."""


def imported(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import in a module, inside functions and `TYPE_CHECKING` as well.

    `package` is the dotted package the module lies in, for its relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def upward(package: Path) -> list[str]:
    """Every import that goes up or sideways, and every room or module the table does not know."""
    wrong: list[str] = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        room = parts[0]
        if room in ("__init__", "__main__"):
            continue
        where = path.relative_to(package)
        if room not in BELOW or len(parts) == 1:
            wrong.append(f"{where}: {room} is no room of the house")
            continue
        tree = ast.parse(path.read_bytes(), str(path))
        for line, name in imported(tree, ["jogak", *parts[:-1]]):
            head, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if head != "jogak" or target in ("", room, "__version__"):
                continue
            if target not in BELOW[room]:
                wrong.append(f"{where}:{line}: {room} imports {target}")
    return wrong


def test_no_room_imports_upward_or_sideways() -> None:
    assert upward(PACKAGE) == []


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("store", "from jogak.models import load"),
        ("spec", "import jogak.store.files"),
        ("spec", "from jogak import store"),
        ("film", "from jogak.judge import flicker"),
        ("film", "from jogak.image.prompt import parse"),
        ("adapters", "from ..store import Store"),
        ("models", "from .. import film"),
        ("report", "def late():\n    from jogak.judge import clip"),
        ("judge", "if TYPE_CHECKING:\n    from jogak.film.edit import cut"),
        ("image", "import importlib\nimportlib.import_module('jogak.studio.picture')"),
        ("cli", "from jogak.web import app"),
        ("basement", "import os"),
    ],
)
def test_a_planted_upward_import_is_found(tmp_path: Path, room: str, code: str) -> None:
    folder = tmp_path / room / "inner"
    folder.mkdir(parents=True)
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / room / "good.py").write_text("import json\nfrom jogak import __version__\n")
    assert upward(tmp_path) == [] or room == "basement"
    (tmp_path / room / "bad.py").write_text(code)
    assert [line for line in upward(tmp_path) if "bad.py" in line], code
    (tmp_path / room / "bad.py").unlink()
    (folder / "deep.py").write_text(code.replace("from ..", "from ..."))
    assert [line for line in upward(tmp_path) if "deep.py" in line], "in a folder inside the room"


def test_a_module_outside_any_room_is_found(tmp_path: Path) -> None:
    (tmp_path / "utils.py").write_text("import os")
    assert upward(tmp_path) == ["utils.py: utils is no room of the house"]


def test_what_lies_below_is_below_in_turn() -> None:
    """The table itself has no circle, so no order of imports can need one."""
    for room, below in BELOW.items():
        for lower in below:
            assert room not in BELOW[lower], f"{room} and {lower} are below each other"


def modules_after(code: str) -> set[str]:
    """The modules that are loaded once the code has run in a fresh interpreter."""
    tail = "\nimport sys as _sys\n_sys.stderr.write('\\nMODULES ' + ' '.join(_sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert "MODULES " in done.stderr, done.stderr
    return set(done.stderr.rpartition("MODULES ")[2].split())


HEAVY = {"torch", "diffusers", "transformers", "openvino", "scipy", "cv2", "matplotlib"}


@pytest.mark.parametrize("room", ["spec", "store", "cli.runs"])
def test_light_rooms_are_imported_without_torch(room: str) -> None:
    assert not HEAVY & modules_after(f"import jogak.{room}")


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "--help"], ["runs", "list"], ["--version"]])
def test_help_is_shown_without_torch(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path))
    code = f"""
import sys
sys.argv = ["jogak", *{arguments!r}]
from jogak.cli.main import run
try:
    run()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert not HEAVY & modules_after(code)
