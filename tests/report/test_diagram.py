from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from jogak.report.diagram import as_made, nodes, pipeline_svg, write_diagram
from jogak.spec import Document, FilmBrief
from jogak.store import SPEC, Record, Store, current, each, step

SVG = "{http://www.w3.org/2000/svg}"


def kept(text: str) -> Document:
    with current().store.new_file(".txt") as path:
        path.write_text(text)
        return current().store.put(path, Document)


@step(version="1")
def plan_film(brief: FilmBrief) -> list[Document]:
    return [kept(f"{brief.text} {i}") for i in range(3)]


@step(version="1")
def draw_keyframe(shot: Document) -> Document:
    return kept("key" + shot.sha256)


@step(version="1")
def draw_shot(shot: Document) -> Document:
    return kept("shot" + draw_keyframe(shot).sha256)


@step(version="1")
def make_music(shots: list[Document]) -> Document:
    return kept("music" + shots[0].sha256)


@step(version="1")
def edit_film(clips: list[Document], music: Document) -> Document:
    return kept("film" + music.sha256)


def journey(store: Store, text: str = "눈밭의 여우") -> list[Record]:
    brief = FilmBrief(text=text)
    with store.run("film", spec=brief) as run:
        shots = plan_film(brief)
        clips = each(None, draw_shot, shots)
        edit_film(clips, make_music(shots))
        return run.records


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    return journey(Store(tmp_path / "store"))


def texts(svg: str) -> list[str]:
    return [found.text or "" for found in ET.fromstring(svg).iter(f"{SVG}text")]


def test_the_graph_is_the_run(records: Sequence[Record]) -> None:
    graph = {node.name: node for node in nodes(records)}
    assert list(graph) == [SPEC, "plan_film", "draw_keyframe", "draw_shot", "make_music", "edit_film"]
    assert graph[SPEC].feeds == {"plan_film"}
    assert graph["plan_film"].feeds == {"draw_shot", "draw_keyframe", "make_music"}
    assert graph["draw_keyframe"].within == {"draw_shot"}
    assert graph["draw_shot"].feeds == {"edit_film"}
    assert graph["draw_shot"].calls == 3
    assert graph["draw_shot"].hits == 0


def test_time_inside_a_step_is_counted_once(records: Sequence[Record]) -> None:
    slow = [
        replace(record, seconds={"draw_shot": 5.0, "draw_keyframe": 3.0}.get(record.name, 1.0))
        for record in records
    ]
    graph = {node.name: node for node in nodes(slow)}
    assert graph["draw_shot"].seconds == pytest.approx(3 * 2.0)
    assert graph["draw_keyframe"].seconds == pytest.approx(3 * 3.0)
    # the same call asked for again in the same run costs nothing more
    again = [*slow, replace(slow[0], state="hit")]
    found = nodes(again)[1]
    assert (found.calls, found.hits, found.seconds) == (2, 1, pytest.approx(slow[0].seconds))


def test_a_second_run_is_drawn_as_hits(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    journey(store)
    graph = {node.name: node for node in nodes(journey(store))}
    assert graph["draw_shot"].hits == graph["draw_shot"].calls == 3
    # what a hit did inside of itself did not happen in this run
    assert "draw_keyframe" not in graph


def test_a_second_run_as_it_was_made_is_drawn_like_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second = (pipeline_svg(as_made(journey(store))) for _ in range(2))
    assert first == second
    assert "draw shot" in first
    assert "stored" not in first


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_svg_shows_every_step_and_line(records: Sequence[Record], lang: str) -> None:
    svg = pipeline_svg(records, lang)  # pyright: ignore[reportArgumentType]
    shown = texts(svg)
    for name in ("plan film", "draw keyframe", "draw shot", "make music", "edit film"):
        assert name in shown
    assert any(text.startswith("×3") for text in shown)
    lines = [path for path in ET.fromstring(svg).iter(f"{SVG}path") if "edge" in path.get("class", "")]
    # 1 from the brief, 3 from the plan, shot and music into the edit, keyframe in shot, 2 in the legend
    assert len(lines) == 1 + 3 + 2 + 1 + 2
    assert sum("inside" in path.get("class", "") for path in lines) == 2


def test_equal_records_give_equal_text(records: Sequence[Record]) -> None:
    assert pipeline_svg(records) == pipeline_svg(list(records))


def test_a_run_without_records_is_still_a_picture() -> None:
    assert ET.fromstring(pipeline_svg([])).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    "name",
    [
        '</text><script>alert("1")</script>', "a&b<c>'\"", "\x00\x07\ud800x", "여우" * 200, "]]>", "", "‮מילה",
        "&#x0;", "🦊" * 40,
    ],
)  # fmt: skip
def test_hostile_names_stay_text(records: Sequence[Record], name: str) -> None:
    svg = pipeline_svg([replace(record, name=name, error=name) for record in records])
    root = ET.fromstring(svg.encode())
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "style", "rect", "text", "path", "g"}
    assert max(len(text) for text in texts(svg)) < 120


def test_a_failure_is_named(records: Sequence[Record]) -> None:
    svg = pipeline_svg([*records[:-1], replace(records[-1], state="failed")])
    assert any("1 failed" in text for text in texts(svg))


def _rules(style: str) -> dict[str, str]:
    """class → fill."""
    found: dict[str, str] = {}
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        fill = re.search(r"(?:^|[ ;])fill: (#\w{6})", body)
        if fill:
            found |= dict.fromkeys(re.findall(r"\.([\w-]+)", selectors), fill[1])
    return found


def _brightness(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(a: str, b: str) -> float:
    low, high = sorted((_brightness(a), _brightness(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_letters_stand_out_on_light_and_dark_ground(records: Sequence[Record], dark: bool) -> None:
    """WCAG asks for 4.5 to 1."""
    style = re.search(r"<style>(.*?)</style>", pipeline_svg(records), re.S)
    assert style
    light, _, night = style[1].partition("@media (prefers-color-scheme: dark) {")
    rules = _rules(light) | (_rules(night) if dark else {})
    for letters, ground in (
        ("title", "paper"), ("more", "paper"), ("name", "box"), ("more", "box"), ("bad", "box"),
        ("start-name", "start"), ("start-more", "start"),
    ):  # fmt: skip
        assert _contrast(rules[letters], rules[ground]) >= 4.5, (letters, ground)


def test_the_diagram_goes_into_the_store(tmp_path: Path) -> None:
    with Store(tmp_path / "store").run("film"):
        document = write_diagram("<svg/>")
    assert document.suffix == ".svg"
    assert document.path.read_text("utf-8") == "<svg/>"
