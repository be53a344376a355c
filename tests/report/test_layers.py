from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jogak.report.layers import GAP_X, GAP_Y, lay_out

HEIGHT = 50.0


def test_a_chain_stands_straight() -> None:
    layout = lay_out({"a": 100, "b": 60, "c": 100}, HEIGHT, [("a", "b"), ("b", "c")])
    assert len({round(place.x, 6) for place in layout.places.values()}) == 1
    assert [place.y for place in layout.places.values()] == [0, HEIGHT + GAP_Y, 2 * (HEIGHT + GAP_Y)]
    assert layout.width == pytest.approx(100)
    assert layout.ways["a", "b"][0].y == HEIGHT


def test_a_needless_crossing_is_undone() -> None:
    boxes = dict.fromkeys("rabxy", 80.0)
    layout = lay_out(boxes, HEIGHT, [("r", "a"), ("r", "b"), ("a", "y"), ("b", "x")])
    places = layout.places
    assert (places["a"].x < places["b"].x) == (places["y"].x < places["x"].x)


def test_a_long_line_passes_between_boxes() -> None:
    boxes = {"plan": 120.0, "draw": 120.0, "edit": 120.0}
    layout = lay_out(boxes, HEIGHT, [("plan", "draw"), ("draw", "edit"), ("plan", "edit")])
    way = layout.ways["plan", "edit"]
    passing = [point.x for point in way if HEIGHT < point.y < way[-1].y]
    assert passing
    assert all(abs(x - layout.places["draw"].x) >= 60 for x in passing)


def test_lines_end_apart_at_a_box() -> None:
    layout = lay_out(dict.fromkeys("abcd", 90.0), HEIGHT, [("a", "d"), ("b", "d"), ("c", "d")])
    ends = sorted(layout.ways[name, "d"][-1].x for name in "abc")
    assert ends[1] - ends[0] > 5
    assert ends[2] - ends[1] > 5


def test_circles_and_loops_are_drawn_or_left_out() -> None:
    layout = lay_out({"a": 80.0, "b": 80.0}, HEIGHT, [("a", "b"), ("b", "a"), ("a", "a")])
    assert set(layout.ways) == {("a", "b"), ("b", "a")}
    upwards = layout.ways["b", "a"]
    assert upwards[0].y > upwards[-1].y


NAMES = [f"n{i}" for i in range(9)]
GRAPHS = st.tuples(
    st.lists(st.floats(20, 260), min_size=1, max_size=9),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=24),
)


@settings(max_examples=150, deadline=None)
@given(GRAPHS)
def test_no_two_boxes_meet_and_every_line_is_there(graph: tuple[list[float], list[tuple[int, int]]]) -> None:
    widths, pairs = graph
    boxes = dict(zip(NAMES, widths, strict=False))
    lines = [(NAMES[a], NAMES[b]) for a, b in pairs if max(a, b) < len(widths)]
    layout = lay_out(boxes, HEIGHT, lines)
    assert set(layout.ways) == {(a, b) for a, b in lines if a != b}
    rows: dict[float, list[tuple[float, float]]] = {}
    for name, place in layout.places.items():
        rows.setdefault(place.y, []).append((place.x, boxes[name]))
        assert place.x - boxes[name] / 2 >= -1e-6
        assert place.x + boxes[name] / 2 <= layout.width + 1e-6
    for row in rows.values():
        for (x, width), (other, other_width) in pairwise(sorted(row)):
            assert other - x >= (width + other_width) / 2 + GAP_X - 1e-6
    for (a, b), way in layout.ways.items():
        upper, lower = (way[0], way[-1]) if way[0].y < way[-1].y else (way[-1], way[0])
        assert lower.y > upper.y
        assert {way[0].y, way[-1].y} & {layout.places[a].y, layout.places[a].y + HEIGHT}
        assert abs(way[-1].x - layout.places[b].x) <= boxes[b] / 2
    assert lay_out(boxes, HEIGHT, lines) == layout
