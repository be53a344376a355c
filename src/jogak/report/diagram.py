"""The pipeline of one run, drawn from the records of the run itself: which step fed which, how long, hit or
made.

Calls of one step are one box. A solid line says that results of one step were arguments of the other, a
dashed one that the other called it inside of itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import pairwise
from unicodedata import category, east_asian_width

from jogak.report.layers import Layout, Point, lay_out
from jogak.report.words import Lang, duration, memory
from jogak.spec import Document
from jogak.store import SPEC, Record, current, step

BOX_HEIGHT, MARGIN, HEAD, FOOT = 58, 28, 84, 44
"""Pixels."""
MAX_NAME = 26
"""Letters of a step's name that are shown."""

WORDS = {
    "en": {
        "title": "How this film was made",
        "brief": "The brief",
        "asked": "what was asked for",
        "summary": "{calls} step calls, {hits} answered from the store · {seconds} of work, {peak} at most",
        "hit": "stored",
        "failed": "failed",
        "feeds": "result handed on",
        "inside": "called inside",
        "rooms": {"film": "picture, sound", "judge": "judged", "report": "reported", "": "other"},
    },
    "ko": {
        "title": "이 영화가 만들어진 길",
        "brief": "브리프",
        "asked": "요청한 내용",
        "summary": "단계 호출 {calls}번, 그중 {hits}번은 저장된 결과 · 작업 {seconds}, 메모리 {peak}까지",
        "hit": "저장됨",
        "failed": "실패",
        "feeds": "결과를 건넴",
        "inside": "안에서 호출",
        "rooms": {"film": "그림과 소리", "judge": "평가", "report": "보고", "": "그 밖"},
    },
}

# No custom properties: the PDF's renderer misreads `var()`; it skips `@media`, and so keeps to light.
_STYLE = """
text { font-family: NanumGothic, "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif }
.paper { fill: #faf8f4 } .box { fill: #ffffff; stroke: #d3cbbf; stroke-width: 1 }
.title, .name { fill: #221e19; font-weight: bold } .title { font-size: 20px } .name { font-size: 14.5px }
.more { fill: #6f675d; font-size: 12px } .bad { fill: #b3261e; font-size: 12px }
.start { fill: #221e19 } .start-name { fill: #faf8f4; font-weight: bold; font-size: 14.5px }
.start-more { fill: #d9d2c6; font-size: 12px }
.edge { fill: none; stroke: #a89e90; stroke-width: 1.4 } .inside { stroke-dasharray: 4 4 }
.tip { fill: #a89e90 }
.film { fill: #b4532a } .judge { fill: #33658a }
.report { fill: #7a5c99 } .other { fill: #8a8175 }
@media (prefers-color-scheme: dark) {
.paper { fill: #1b1916 } .box { fill: #27241f; stroke: #4d463d }
.title, .name { fill: #f2ece2 } .more { fill: #b3a99b } .bad { fill: #f2786f }
.start { fill: #f2ece2 } .start-name { fill: #1b1916 } .start-more { fill: #4d463d }
.edge { stroke: #857b6d } .tip { fill: #857b6d }
.film { fill: #e08a5f } .judge { fill: #7fb2d8 }
.report { fill: #b79ad6 } .other { fill: #b3a99b }
}"""


@dataclass
class Node:
    """All calls of one step in one run, or what the person asked for (`name` is `SPEC`)."""

    name: str
    room: str = ""
    """film, judge or report; "" for another."""
    calls: int = 0
    hits: int = 0
    failed: int = 0
    seconds: float = 0.0
    """What it took to make the results, steps inside not counted; for hits, back when they were made."""
    peak_bytes: int = 0
    """The most memory that the process had used by the end of any call."""
    feeds: set[str] = field(default_factory=set)
    """Names of the nodes that took its results."""
    within: set[str] = field(default_factory=set)
    """Names of the nodes whose calls called it."""


def nodes(records: Sequence[Record]) -> list[Node]:
    """The run's graph: a node for each step name, in the order in which they first ended, after `SPEC`."""
    graph = {SPEC: Node(SPEC)}
    # a call that was made and then asked for again has two records, but its work was done once
    calls = {record.key: record for record in reversed(records)}
    inner: defaultdict[str, float] = defaultdict(float)
    for record in calls.values():
        inner[record.outer] += record.seconds
    for record in records:
        node = graph.setdefault(record.name, Node(record.name, _room(record.module)))
        node.calls += 1
        node.hits += record.hit
        node.failed += record.state == "failed"
        node.peak_bytes = max(node.peak_bytes, record.peak_bytes)
        if calls[record.key] is record:
            # steps of a pool overlap, so those inside may together have taken longer than the one around them
            node.seconds += max(0.0, record.seconds - inner[record.key])
    for record in records:
        if record.outer in calls:
            graph[record.name].within.add(calls[record.outer].name)
        for parent in record.parents:
            giver = SPEC if parent == SPEC else calls[parent].name
            graph[giver].feeds.add(record.name)
    return [node for node in graph.values() if node.calls or node.feeds or len(graph) == 1]


def as_made(records: Sequence[Record]) -> list[Record]:
    """The calls of a journey itself, those that the store answered told as they were when they were made.

    Drawn from these, a film that is made again from the store has the diagram and the report that it had, and they
    need not be made again either.
    """
    own = {record.key for record in records if not record.outer} | {SPEC}
    return [
        replace(
            record,
            state="made" if record.hit else record.state,
            parents=tuple(parent for parent in record.parents if parent in own),
        )
        for record in records
        if not record.outer
    ]


def _room(module: str) -> str:
    room = module.removeprefix("jogak.").split(".")[0]
    return room if room in ("film", "judge", "report") else ""


@step(version="1")
def write_diagram(svg: str) -> Document:
    """`pipeline.svg` in the store."""
    store = current().store
    with store.new_file(".svg") as path:
        path.write_text(svg, encoding="utf-8")
        return store.put(path, Document)


def pipeline_svg(records: Sequence[Record], lang: Lang = "en") -> str:
    """The run as SVG for light and dark ground. Equal records give equal text; names are escaped."""
    graph, words = nodes(records), WORDS[lang]
    layout = _layout(graph, lang)
    width, height = max(layout.width, 520) + 2 * MARGIN, layout.height + HEAD + FOOT
    left = (width - layout.width) / 2
    summary = words["summary"].format(
        calls=sum(node.calls for node in graph),
        hits=sum(node.hits for node in graph),
        seconds=duration(sum(node.seconds for node in graph), lang),
        peak=memory(max(node.peak_bytes for node in graph)),
    )
    size = f'width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{_safe(words['title'])}</title>",
        f"<style>{_STYLE}\n</style>",
        f'<rect class="paper" {size} rx="10"/>',
        _text("title", MARGIN, 40, words["title"]),
        _text("more", MARGIN, 62, summary),
        f'<g transform="translate({left:.0f} {HEAD})">',
        *(_edge(way, (a, b) in _inside(graph)) for (a, b), way in layout.ways.items()),
        *(_box(node, layout.places[node.name], lang) for node in graph),
        "</g>",
        _legend(graph, height - FOOT / 2, lang),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _inside(graph: Sequence[Node]) -> set[tuple[str, str]]:
    """The lines that are dashed: called inside, and not fed as well."""
    return {(node.name, outer) for node in graph for outer in node.within - node.feeds}


def _layout(graph: Sequence[Node], lang: Lang) -> Layout:
    boxes = {node.name: _width(node, lang) for node in graph}
    lines = [(node.name, other) for node in graph for other in boxes if other in node.feeds | node.within]
    return lay_out(boxes, BOX_HEIGHT, lines)


def _width(node: Node, lang: Lang) -> float:
    name, more, bad = _words(node, lang)
    return max(124, 34 + max(14.5 * _ems(name), 12 * _ems(f"{more}{bad}")))


def _ems(text: str) -> float:
    """About how wide a line of sans-serif letters is, in its font size."""
    return sum(1.0 if east_asian_width(letter) in "WF" else 0.56 for letter in text)


def _words(node: Node, lang: Lang) -> tuple[str, str, str]:
    """What stands in a box: its name, its numbers, and what is wrong."""
    words = WORDS[lang]
    if node.name == SPEC:
        return words["brief"], words["asked"], ""
    name = " ".join(node.name.replace("_", " ").split())
    name = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
    facts = [f"×{node.calls}", duration(node.seconds, lang)]
    if node.hits:
        facts.append(f"{node.hits} {words['hit']}")
    bad = f" · {node.failed} {words['failed']}" if node.failed else ""
    return name, " · ".join(facts), bad


def _box(node: Node, at: Point, lang: Lang) -> str:
    name, more, bad = _words(node, lang)
    width = _width(node, lang)
    x, y = at.x - width / 2, at.y
    start = "start-" if node.name == SPEC else ""
    shape = f'<rect class="{"start" if start else "box"}" x="{x:.1f}" y="{y:.1f}" '
    shape += f'width="{width:.1f}" height="{BOX_HEIGHT}" rx="9"/>'
    mark = _mark(node.room, x + 8, y + 12, 34)
    lines = _text(f"{start}name", x + 20, y + 26, name) + _text(f"{start}more", x + 20, y + 44, more)
    if bad:
        lines += _text("bad", x + 20 + 12 * _ems(more), y + 44, bad)
    return f"<g>{shape}{'' if start else mark}{lines}</g>"


def _edge(way: Sequence[Point], dashed: bool) -> str:
    """A smooth line through the points, upright where it leaves, passes and arrives, with a tip."""
    path = [f"M{way[0].x:.1f} {way[0].y:.1f}"]
    for a, b in pairwise(way):
        middle = (a.y + b.y) / 2
        straight = abs(a.x - b.x) < 0.05
        curve = f"C{a.x:.1f} {middle:.1f} {b.x:.1f} {middle:.1f} {b.x:.1f} {b.y:.1f}"
        path.append(f"L{b.x:.1f} {b.y:.1f}" if straight else curve)
    end = way[-1]
    back = -7 if end.y > way[-2].y else 7
    tip = f"M{end.x:.1f} {end.y:.1f}l-4 {back}h8z"
    line = f'<path class="edge{" inside" if dashed else ""}" d="{"".join(path)}"/>'
    return f'{line}<path class="tip" d="{tip}"/>'


def _legend(graph: Sequence[Node], y: float, lang: Lang) -> str:
    words = WORDS[lang]
    x, parts = float(MARGIN), []
    for room, name in words["rooms"].items():
        if any(node.room == room for node in graph if node.name != SPEC):
            parts.append(_mark(room, x, y - 9, 12))
            parts.append(_text("more", x + 9, y + 1, name))
            x += 9 + 12 * _ems(name) + 22
    for style, name in (("edge", words["feeds"]), ("edge inside", words["inside"])):
        if style == "edge" or _inside(graph):
            parts.append(f'<path class="{style}" d="M{x:.1f} {y - 3:.1f}h26"/>')
            parts.append(_text("more", x + 34, y + 1, name))
            x += 34 + 12 * _ems(name) + 22
    return "".join(parts)


def _mark(room: str, x: float, y: float, height: int) -> str:
    """The upright stroke whose colour says the room."""
    return f'<rect class="{room or "other"}" x="{x:.1f}" y="{y:.1f}" width="3" height="{height}" rx="1.5"/>'


def _text(style: str, x: float, y: float, text: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" xml:space="preserve">{_safe(text)}</text>'


def _safe(text: str) -> str:
    """Text for XML: escaped, without the control characters and lone surrogates that XML cannot hold."""
    return escape("".join(letter for letter in text if category(letter) not in ("Cc", "Cs", "Cn")))
