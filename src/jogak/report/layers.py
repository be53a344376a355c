"""A layered drawing of a graph: boxes in rows from top to bottom, lines that pass between them.

After Sugiyama et al. 1981, doi:10.1109/TSMC.1981.4308636: rows by the longest way from a source, order within
a row by barycentres, places by least squares. A line over several rows gets a narrow stop in each row that it
passes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

GAP_X, GAP_Y, STOP = 26.0, 48.0, 14.0
"""Pixels between boxes, between rows, and the width of a stop."""
PORT = 16.0
"""Pixels between two lines that end at one box."""

Line = tuple[str, str]
_Spot = tuple[str, str, int]
"""A box (name, "", 0), or a stop of a line (from, to, row)."""


class Point(NamedTuple):
    x: float
    y: float


@dataclass(frozen=True)
class Layout:
    width: float
    height: float
    places: dict[str, Point]
    """The middle of each box's upper edge."""
    ways: dict[Line, tuple[Point, ...]]
    """From the lower edge of its first box to the upper edge of its last; upwards if it closes a circle."""


def lay_out(widths: Mapping[str, float], height: float, lines: Sequence[Line]) -> Layout:
    """Boxes of these widths and one height, one or more, in the order in which they should be met.

    A line from a box to itself is not drawn.
    """
    real = [line for line in dict.fromkeys(lines) if line[0] != line[1]]
    closing = _closing(widths, real)
    downwards = {line: (line[1], line[0]) if line in closing else line for line in real}
    rows = _rows(widths, list(downwards.values()))
    chains = {line: _chain(line, down, rows) for line, down in downwards.items()}
    order = _ordered(widths, rows, chains)
    x = _placed(order, chains, widths)
    left = min(x[spot] - _width(spot, widths) / 2 for spot in x)
    right = max(x[spot] + _width(spot, widths) / 2 for spot in x)
    x = {spot: place - left for spot, place in x.items()}
    deep = height + GAP_Y
    places = {name: Point(x[name, "", 0], rows[name] * deep) for name in widths}
    ports = _ports(chains, x, widths)
    ways: dict[Line, tuple[Point, ...]] = {}
    for line, chain in chains.items():
        first, last = places[chain[0][0]], places[chain[-1][0]]
        way = [Point(first.x + ports[line][0], first.y + height)]
        for spot in chain[1:-1]:
            way += [Point(x[spot], spot[2] * deep), Point(x[spot], spot[2] * deep + height)]
        way.append(Point(last.x + ports[line][1], last.y))
        ways[line] = tuple(reversed(way)) if line in closing else tuple(way)
    return Layout(right - left, max(rows.values()) * deep + height, places, ways)


def _width(spot: _Spot, widths: Mapping[str, float]) -> float:
    return STOP if spot[1] else widths[spot[0]]


def _closing(names: Iterable[str], lines: Sequence[Line]) -> set[Line]:
    """The lines that close a circle, met in depth-first order."""
    after: defaultdict[str, list[str]] = defaultdict(list)
    for a, b in lines:
        after[a].append(b)
    open_: set[str] = set()
    done: set[str] = set()
    closing: set[Line] = set()

    def visit(name: str) -> None:
        open_.add(name)
        for other in after[name]:
            if other in open_:
                closing.add((name, other))
            elif other not in done:
                visit(other)
        open_.discard(name)
        done.add(name)

    for name in names:
        if name not in done:
            visit(name)
    return closing


def _rows(names: Iterable[str], lines: Sequence[Line]) -> dict[str, int]:
    """The row of each box, from 0: below every box before it. The first box is alone if it can be."""
    rows = {name: int(at > 0) for at, name in enumerate(names)}
    for _ in rows:
        for a, b in lines:
            rows[b] = max(rows[b], rows[a] + 1)
    used = {row: at for at, row in enumerate(sorted(set(rows.values())))}
    return {name: used[row] for name, row in rows.items()}


def _chain(line: Line, down: Line, rows: Mapping[str, int]) -> list[_Spot]:
    upper, lower = down
    stops = [(*line, row) for row in range(rows[upper] + 1, rows[lower])]
    return [(upper, "", 0), *stops, (lower, "", 0)]


def _ordered(
    names: Iterable[str], rows: Mapping[str, int], chains: Mapping[Line, Sequence[_Spot]]
) -> list[list[_Spot]]:
    """The spots of each row from left to right, with few crossings."""
    order: list[list[_Spot]] = [[] for _ in range(max(rows.values()) + 1)]
    for name in names:
        order[rows[name]].append((name, "", 0))
    for chain in chains.values():
        for spot in chain[1:-1]:
            order[spot[2]].append(spot)
    above, below = _neighbours(chains)
    best, fewest = order, _crossings(order, below)
    for sweep in range(12):
        order = [list(row) for row in order]
        downwards = sweep % 2 == 0
        for at in range(1, len(order)) if downwards else range(len(order) - 2, -1, -1):
            beside = {spot: i for i, spot in enumerate(order[at - 1 if downwards else at + 1])}
            near = above if downwards else below
            middles = {
                spot: _mean([beside[other] for other in near[spot]], i) for i, spot in enumerate(order[at])
            }
            order[at].sort(key=middles.__getitem__)
        crossings = _crossings(order, below)
        if crossings < fewest:
            best, fewest = order, crossings
    return best


def _neighbours(
    chains: Mapping[Line, Sequence[_Spot]],
) -> tuple[dict[_Spot, list[_Spot]], dict[_Spot, list[_Spot]]]:
    above: defaultdict[_Spot, list[_Spot]] = defaultdict(list)
    below: defaultdict[_Spot, list[_Spot]] = defaultdict(list)
    for chain in chains.values():
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    return above, below


def _mean(values: Sequence[float], without: float) -> float:
    return sum(values) / len(values) if values else without


def _crossings(order: Sequence[Sequence[_Spot]], below: Mapping[_Spot, Sequence[_Spot]]) -> int:
    total = 0
    for upper, lower in pairwise(order):
        place = {spot: i for i, spot in enumerate(lower)}
        ends = [sorted(place[other] for other in below[spot]) for spot in upper]
        flat = [end for row in ends for end in row]
        total += sum(a > b for i, a in enumerate(flat) for b in flat[i + 1 :])
    return total


def _placed(
    order: Sequence[Sequence[_Spot]], chains: Mapping[Line, Sequence[_Spot]], widths: Mapping[str, float]
) -> dict[_Spot, float]:
    """The middle of every spot: as near to its neighbours' as the row allows."""
    above, below = _neighbours(chains)
    x: dict[_Spot, float] = {}
    gaps: list[list[float]] = []
    for row in order:
        gap = [
            (_width(a, widths) + _width(b, widths)) / 2 + (GAP_X if not (a[1] or b[1]) else GAP_X / 2)
            for a, b in pairwise(row)
        ]
        gaps.append(gap)
        place = -sum(gap) / 2
        for spot, step in zip(row, [0.0, *gap], strict=True):
            place += step
            x[spot] = place
    for sweep in range(40):
        rows = range(len(order)) if sweep % 2 == 0 else range(len(order) - 1, -1, -1)
        for at in rows:
            wanted = [
                _mean([x[other] for other in (*above[spot], *below[spot])], x[spot]) for spot in order[at]
            ]
            # a straight line matters more than a centred box
            weights = [8.0 if spot[1] else 1.0 for spot in order[at]]
            for spot, place in zip(order[at], _apart(wanted, weights, gaps[at]), strict=True):
                x[spot] = place
    return x


def _apart(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The nearest places to the wanted ones (weighted squares) in order and apart, by pooling violators."""
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, float, int]] = []
    for place, weight, offset in zip(wanted, weights, offsets, strict=True):
        middle, mass, count = place - offset, weight, 1
        while pools and pools[-1][0] > middle:
            other, more, members = pools.pop()
            middle = (middle * mass + other * more) / (mass + more)
            mass, count = mass + more, count + members
        pools.append((middle, mass, count))
    middles = [middle for middle, _, count in pools for _ in range(count)]
    return [middle + offset for middle, offset in zip(middles, offsets, strict=True)]


def _ports(
    chains: Mapping[Line, Sequence[_Spot]], x: Mapping[_Spot, float], widths: Mapping[str, float]
) -> dict[Line, list[float]]:
    """How far from the middles of its first and last box each line ends, so that lines do not meet there."""
    ports: defaultdict[Line, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for end, next_spot in ((0, 1), (1, -2)):
        lines: defaultdict[str, list[Line]] = defaultdict(list)
        for line, chain in chains.items():
            lines[chain[-end][0]].append(line)
        for name, group in lines.items():
            group.sort(key=lambda line: x[chains[line][next_spot]])
            step = min(PORT, 0.7 * widths[name] / len(group))
            for i, line in enumerate(group):
                ports[line][end] = (i - (len(group) - 1) / 2) * step
    return ports
