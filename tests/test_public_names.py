"""The names that each room shows the others are pinned in `public_names.json`.

A name that appears, disappears or is misspelt fails here before it surprises a neighbour. When it is meant:

    JOGAK_PIN_NAMES=1 python -m pytest tests/test_public_names.py

writes the file anew; look at the difference, and commit it with the change.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "jogak"
PINNED = Path(__file__).with_name("public_names.json")
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def public_names(room: str) -> list[str]:
    """`__all__` of the room, read without importing it; empty when the room shows its modules only."""
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, ast.Assign)
            return sorted(ast.literal_eval(node.value))
    return []


def test_public_names_are_the_pinned_ones() -> None:
    now = {room: public_names(room) for room in ROOMS}
    if os.environ.get("JOGAK_PIN_NAMES"):
        PINNED.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    changed = [
        f"{room}: {sign}{name}"
        for room in sorted({*now, *pinned})
        for sign, left, right in (("+", now, pinned), ("-", pinned, now))
        for name in sorted({*left.get(room, [])} - {*right.get(room, [])})
    ]
    assert now == pinned, f"meant? see the head of {Path(__file__).name}: {', '.join(changed)}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there(room: str) -> None:
    module = importlib.import_module(f"jogak.{room}")
    missing = [name for name in public_names(room) if not hasattr(module, name)]
    assert missing == []
