"""`character.yaml`: what it may say, and what it is told when it says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jogak.spec import SpecError
from jogak.spec.sheet import SheetRequest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "character.yaml"


def asked(**changes: Any) -> dict[str, Any]:
    return {
        "character": {"name": "Hana", "references": ["set"]},
        "panels": [{"pose": "waving"}, {"scene": "in a forest"}, {"action": "reading a book"}],
    } | changes


def test_the_shipped_example_is_one_and_survives_the_way_to_yaml_and_back(tmp_path: Path) -> None:
    request = SheetRequest.read(EXAMPLE)
    assert (len(request.panels), request.language) == (5, "ko")
    assert request.panels[0].caption.text("en") == "Hi, I am Hana!"
    (tmp_path / "again.yaml").write_text(request.to_yaml(), encoding="utf-8")
    assert SheetRequest.read(tmp_path / "again.yaml") == request


def test_a_caption_may_be_one_text() -> None:
    panels = [
        {"pose": "waving", "caption": "Hi"},
        {"pose": "running"},
        {"pose": "sitting", "caption": {"ko": "쉼"}},
    ]
    request = SheetRequest.parse(asked(panels=panels))
    assert [panel.caption.text("ko") for panel in request.panels] == ["Hi", "", "쉼"]
    assert [panel.caption.text("en") for panel in request.panels] == ["Hi", "", "쉼"]


@pytest.mark.parametrize(
    ("changes", "language"),
    [
        ({}, "en"),
        ({"title": "하나의 하루"}, "ko"),
        ({"title": "하나의 하루", "lang": "en"}, "en"),
        ({"lang": "ko"}, "ko"),
        ({"panels": [{"pose": "달리기"}] * 3}, "en"),
    ],
)
def test_the_page_speaks_the_language_of_what_stands_on_it(changes: dict[str, Any], language: str) -> None:
    assert SheetRequest.parse(asked(**changes)).language == language


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"panel": []}, 'Did you mean "panels"?'),
        ({"panels": [{"pose": "waving", "expresion": "happy"}] * 3}, 'Did you mean "expression"?'),
        ({"character": {"name": "Hana", "references": ["a"], "triger": "x"}}, 'Did you mean "trigger"?'),
        ({"character": {"name": "Hana"}}, "nothing says who it is"),
        ({"panels": [{"pose": "waving"}] * 2}, "at least 3 items"),
        ({"panels": [{"pose": "waving"}] * 13}, "at most 12 items"),
        (
            {"panels": [{"pose": "waving"}, {"caption": "x"}, {"pose": "sitting"}]},
            "panels.1: the panel says nothing",
        ),
        ({"bar": 1.5}, "bar"),
        ({"budget": 0}, "budget"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as error:
        SheetRequest.parse(asked(**changes))
    assert said in str(error.value)
