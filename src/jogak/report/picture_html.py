"""The picture report as one HTML page: no script, no other host, pictures as data; on paper it breaks well.

Every string of a prompt, a file name or a setting goes through `escape`, so that none is read as markup.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from jogak.report.typeset import fonts

_STYLE = """
:root { --ink: #221e19; --soft: #6f675d; --faint: #b9b0a3; --line: #ddd6ca; --paper: #f6f3ed; --page: #fffdfa;
  --clay: #b4532a; --clay-soft: #e3b9a5; --good: #2f7d5b; --bad: #b3261e; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --ink: #f2ece2; --soft: #b3a99b; --faint: #6d645a; --line: #3a352f;
  --paper: #26231f; --page: #1b1916; --clay: #e08a5f; --clay-soft: #7c4c35; --good: #6cc39a; --bad: #f2786f } }
* { box-sizing: border-box }
html { background: var(--page) }
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem 1.5rem 4rem; color: var(--ink); background: var(--page);
  font: 15px/1.55 "Jogak", "NanumGothic", "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", system-ui, sans-serif;
  word-break: keep-all; overflow-wrap: anywhere }
h1 { font-size: 2.1rem; line-height: 1.2; margin: .3rem 0 .8rem } h2 { font-size: 1.35rem; margin: 2.8rem 0 .8rem }
h2 small { font-size: .85rem; font-weight: 400; color: var(--soft); margin-left: .6rem }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem }
.brand { display: flex; justify-content: space-between; gap: 1rem; color: var(--soft); font-size: .85rem }
.brand b { color: var(--clay); letter-spacing: .12em; white-space: nowrap }
.brief { border-left: 3px solid var(--clay); padding: .1rem 0 .1rem .9rem; color: var(--soft); margin: 0 0 1.6rem }
.soft, td small, figcaption small { color: var(--soft); font-size: .85em }
.hero { display: grid; gap: .5rem; grid-template-columns: repeat(var(--columns), 1fr); margin: 1.2rem 0 }
.hero img { width: 100%; border-radius: 6px; display: block; aspect-ratio: var(--aspect); object-fit: cover }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .9rem 1.2rem; margin: 1.6rem 0 }
dl.facts dt { font-size: .8rem; color: var(--soft) } dl.facts dd { margin: 0; font-weight: 700 }
.rubric { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem }
.part { background: var(--paper); border-radius: 10px; padding: 1rem 1.2rem }
.part b.points { font-size: 1.9rem; line-height: 1.1 } .part .soft { display: block }
.meter { height: .5rem; border-radius: .25rem; background: var(--line); margin: .5rem 0 .4rem; overflow: hidden }
.meter i { display: block; height: 100%; background: var(--good) }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1.2rem; margin: 1.4rem 0 }
.headline div { border-top: 2px solid var(--clay); padding-top: .5rem } .headline b { display: block; font-size: 1.4rem }
.headline small { color: var(--soft) }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 } th { font-weight: 400; color: var(--soft); font-size: .85rem }
th, td { text-align: left; padding: .5rem .9rem .5rem 0; vertical-align: top } td { border-top: 1px solid var(--line) }
th:last-child, td:last-child { padding-right: 0 } td.number, th.number { text-align: right; white-space: nowrap }
tr.chosen td { background: var(--paper) }
.scroll { overflow-x: auto }
.axis { display: block; position: relative; height: 1rem; min-width: 6rem; margin-top: .25rem }
.axis::before { content: ""; position: absolute; inset: .48rem 0 auto; border-top: 1px solid var(--line) }
.axis u { position: absolute; top: .36rem; height: .28rem; background: var(--clay-soft); border-radius: .14rem }
.axis i { position: absolute; top: .2rem; width: .6rem; height: .6rem; margin-left: -.3rem; border-radius: 50%; background: var(--clay) }
.ends { display: flex; justify-content: space-between; font-size: .7rem; color: var(--soft) }
.tag { display: inline-block; border-radius: 4px; padding: 0 .45rem; font-size: .78rem; font-weight: 700; white-space: nowrap }
.met { color: var(--good); background: color-mix(in srgb, var(--good) 14%, transparent) }
.missed { color: var(--bad); background: color-mix(in srgb, var(--bad) 14%, transparent) }
.pick { color: var(--clay); background: color-mix(in srgb, var(--clay) 14%, transparent) }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1.1rem }
figure { margin: 0; break-inside: avoid } figure img { width: 100%; border-radius: 6px; display: block; background: var(--paper) }
figcaption { font-size: .88rem; margin-top: .35rem } figcaption b { display: block }
.pair { display: grid; grid-template-columns: repeat(2, 1fr); gap: .3rem } .three { display: grid; grid-template-columns: repeat(3, 1fr); gap: .3rem }
.wide { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1.2rem }
.why { background: var(--paper); border-radius: 10px; padding: .9rem 1.2rem; margin: .8rem 0 }
.columns { columns: 2; column-gap: 2.4rem } .columns div { break-inside: avoid; border-top: 1px solid var(--line); padding: .35rem 0;
  display: grid; grid-template-columns: 9rem 1fr; gap: .6rem; font-size: .9rem } .columns span { color: var(--soft) }
ul { padding-left: 1.1rem } li { margin: .3rem 0 } li::marker { color: var(--clay) }
.bar { background: var(--clay-soft); height: .7rem; border-radius: 2px; min-width: 1px }
img.way { width: 4.2rem; border-radius: 4px; display: block }
@media (max-width: 40rem) { .columns { columns: 1 } body { padding: 1.2rem 1rem 3rem } }
@media print { @page { size: A4; margin: 16mm 15mm } :root { --ink: #221e19; --soft: #6f675d; --line: #ddd6ca; --paper: #f6f3ed;
  --page: #fff; --clay: #b4532a; --clay-soft: #e3b9a5; --good: #2f7d5b; --bad: #b3261e; color-scheme: light }
  h2.fresh { break-before: page; margin-top: 0 } body { padding: 0; max-width: none; font-size: 10.2pt } h2, h3 { break-after: avoid } tr, .part, .why { break-inside: avoid }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact } .grid { grid-template-columns: repeat(4, 1fr) }
  .rubric { grid-template-columns: repeat(3, 1fr) } .wide { grid-template-columns: repeat(2, 1fr) } dl.facts { grid-template-columns: repeat(4, 1fr) } }
"""


def page(data: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page of `report_data`; `pictures` are JPEGs by the names that the data uses."""
    words: Mapping[str, str] = data["words"]

    def image(name: str | None, alt: str, kind: str = "") -> str:
        if not name or name not in pictures:
            return ""
        content = base64.b64encode(pictures[name]).decode()
        return f'<img{kind} alt="{_text(alt)}" src="data:image/jpeg;base64,{content}">'

    body = "".join(
        (
            _cover(data, words, image),
            _rubric(data, words),
            _part(data, words, "quality", _quality(data, words, image)),
            _part(data, words, "control", _control(data, words, image)),
            _reasoning(data, words, image),
            _gallery(data, words, image),
            _making(data, words),
        )
    )
    letters = frozenset("".join((body, *map(str, words.values()))))
    # the policy keeps even a mistake here from reaching another host or running a script
    policy = "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="{_text(data["lang"])}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(data['title'])} · Jogak</title>\n<style>{_faces(letters)}{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _faces(letters: frozenset[str]) -> str:
    """The report's own font, cut down to the letters of this page, so that Hangul shows on any machine."""
    return "".join(
        f'@font-face {{ font-family: "Jogak"; font-weight: {weight}; src: url(data:font/woff;base64,{_cut(name, letters)}) }}\n'
        for weight, name in ((400, "NanumGothic"), (700, "NanumGothicBold"))
    )


def _cut(name: str, letters: frozenset[str]) -> str:
    # no glyph names, hints or layout tables: they are most of the size, and Hangul syllables need none of them
    options = Options(hinting=False, layout_features=[], glyph_names=False, notdef_outline=True)
    options.drop_tables = [*options.drop_tables, "TSI0", "TSI1", "TSI2", "TSI3", "TSI5"]
    with TTFont(fonts() / f"{name}.ttf", lazy=True, recalcTimestamp=False) as font:
        cutter = Subsetter(options)
        cutter.populate(unicodes=[ord(letter) for letter in letters])
        cutter.subset(font)
        font.flavor = "woff"
        kept = io.BytesIO()
        font.save(kept)
    return base64.b64encode(kept.getvalue()).decode()


Image = Callable[..., str]
Words = Mapping[str, str]


def _text(words: Any) -> str:
    # U+200B, where a long word may break, means the same to a browser
    return escape(str(words), quote=True)


def _tag(passed: bool, words: Words) -> str:
    return f'<span class="tag {"met" if passed else "missed"}">{_text(words["pass" if passed else "fail"])}</span>'


def _alarm_tag(quiet: bool, words: Words) -> str:
    return f'<span class="tag {"met" if quiet else "missed"}">{_text(words["alarm_off" if quiet else "alarm_on"])}</span>'


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    classes: Sequence[str] = (),
    chosen: Sequence[bool] = (),
) -> str:
    """Cells are markup already."""

    def of(at: int) -> str:
        return f' class="{classes[at]}"' if at < len(classes) and classes[at] else ""

    lines = (
        ["<tr>" + "".join(f"<th{of(at)}>{cell}</th>" for at, cell in enumerate(head)) + "</tr>"]
        if head
        else []
    )
    for number, row in enumerate(rows):
        mark = ' class="chosen"' if number < len(chosen) and chosen[number] else ""
        lines.append(
            f"<tr{mark}>" + "".join(f"<td{of(at)}>{cell}</td>" for at, cell in enumerate(row)) + "</tr>"
        )
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _cover(data: Mapping[str, Any], words: Words, image: Image) -> str:
    hero = "".join(image(name, data["title"]) for name in data["hero"])
    count = len(data["hero"])
    columns = count if count <= 4 else 4
    facts = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in data["facts"]
    )
    brief = f'<p class="brief">{_text(data["brief"])}</p>' if data["brief"] else ""
    aspect = "auto" if count == 1 else "1"
    return (
        f'<p class="brand"><b>JOGAK 조각</b><span>{_text(data["stamp"])}</span></p><h1>{_text(data["title"])}</h1>{brief}'
        + (f'<div class="hero" style="--columns: {columns}; --aspect: {aspect}">{hero}</div>' if hero else "")
        + f'<dl class="facts">{facts}</dl>'
    )


def _rubric(data: Mapping[str, Any], words: Words) -> str:
    parts = ""
    for part in data["rubric"]:
        meter = (
            f'<div class="meter"><i style="width: {part["share"] * 100:.1f}%"></i></div>' if part["share"] is not None
            else '<div class="meter"></div>'
        )  # fmt: skip
        parts += (
            f'<div class="part"><div>{_text(part["name"])}</div><b class="points">{_text(part["points"])}</b> '
            f'<span style="color: var(--soft)">{_text(words["of"])} {part["weight"]}</span>{meter}'
            f'<span class="soft">{_text(part["said"])}</span></div>'
        )
    return f'<h2>{_text(words["rubric"])}<small>{_text(words["rubric_more"])}</small></h2><div class="rubric">{parts}</div>{_headline(data)}'


def _headline(data: Mapping[str, Any]) -> str:
    figures = "".join(
        f"<div><small>{_text(one['name'])}</small><b>{_text(one['value'])}</b><small>{_text(one['range'])}</small></div>"
        for one in data["headline"]
    )
    return f'<div class="headline">{figures}</div>' if figures else ""


def _axis(cell: Mapping[str, Any]) -> str:
    span = ""
    if cell["low"] is not None and cell["high"] is not None:
        span = f'<u style="left: {cell["low"] * 100:.2f}%; width: {(cell["high"] - cell["low"]) * 100:.2f}%"></u>'
    return f'<span class="axis">{span}<i style="left: {cell["at"] * 100:.2f}%"></i></span>'


def _scores(rows: Sequence[Mapping[str, Any]], words: Words) -> str:
    if not rows:
        return ""
    cells = []
    for row in rows:
        lead = f' <span class="tag pick">{_text(words["lead"])}</span>' if row["lead"] else ""
        ends = f'<span class="ends"><span>{_text(row["axis"][0])}</span><span>{_text(row["axis"][1])}</span></span>'
        name = f"<b>{_text(row['name'])}</b>{lead}<br><small>{_text(row['what'])}</small>"
        cells.append(
            (name, f"<b>{_text(row['value'])}</b>", _text(row["range"]), _text(row["n"]), _axis(row) + ends)
        )
    head = [_text(words["score"]), _text(words["value"]), _text(words["interval"]), "n", ""]
    return _table(head, cells, ("", "number", "number", "number", ""))


def _bars(bars: Sequence[Mapping[str, Any]], words: Words, title: str) -> str:
    if not bars:
        return ""
    rows = [
        (_text(bar["name"]), f"<b>{_text(bar['value'])}</b>", _text(bar["asked"]), _tag(bar["passed"], words))
        for bar in bars
    ]
    return f"<h3>{_text(title)}</h3>" + _table((), rows, ("", "number", "number", "number"))


def _part(data: Mapping[str, Any], words: Words, part: str, more: str) -> str:
    rows, bars = data[part]["rows"], data[part]["bars"]
    shown = _scores(rows, words) + _bars(bars, words, words["bars"]) + more
    fresh = ' class="fresh"' if part == "quality" else ""
    title = (
        f"<h2{fresh}>{_text(words[part])}<small>{_text(words['scores_more']) if rows else ''}</small></h2>"
    )
    return title + (shown or f'<p class="soft">{_text(words["nothing"])}</p>')


def _quality(data: Mapping[str, Any], words: Words, image: Image) -> str:
    found = ""
    if alarm := data["alarm"]:
        pairs = "".join(
            f'<figure><div class="pair">{image(pair["left"], words["picture"])}{image(pair["right"], words["original"])}</div>'
            f"<figcaption><b>{_text(pair['caption'])}</b><small>{_text(pair['more'])}</small></figcaption></figure>"
            for pair in alarm["pairs"]
        )
        found += (
            f"<h3>{_text(words['alarm'])}</h3><p>{_alarm_tag(alarm['quiet'], words)} {_text(alarm['said'])} "
            f'<span class="soft">{_text(alarm["how"])}</span></p>'
        ) + (f'<div class="wide">{pairs}</div>' if pairs else "")
    return _curve(data, image) + found + _missing(data["missing"]["quality"], words)


def _missing(rows: Sequence[Sequence[str]], words: Words) -> str:
    if not rows:
        return ""
    cells = [(_text(name), f"<small>{_text(why)}</small>") for name, why in rows]
    return f"<h3>{_text(words['missing'])}</h3>" + _table((), cells)


def _curve(data: Mapping[str, Any], image: Image) -> str:
    training = data["training"]
    if not training or not training["curve"]:
        return ""
    return (
        f"<h3>{_text(training['curve_title'])}</h3><figure>{image(training['curve'], training['curve_said'])}"
        f"<figcaption>{_text(training['curve_said'])}</figcaption></figure>"
    )


def _control(data: Mapping[str, Any], words: Words, image: Image) -> str:
    return _maps(data, words, image) + _missing(data["missing"]["control"], words)


def _maps(data: Mapping[str, Any], words: Words, image: Image) -> str:
    if not data["maps"]:
        return ""
    figures = "".join(
        f'<figure><div class="three">{image(one["wanted"], words["wanted"])}{image(one["shown"], words["picture"])}'
        f"{image(one['found'], words['found'])}</div><figcaption><b>{_text(one['value'])}</b>"
        f"<small>{_text(one['caption'])}</small></figcaption></figure>"
        for one in data["maps"]
    )
    order = " · ".join((words["wanted"], words["picture"], words["found"]))
    return f'<h3>{_text(words["maps"])} <span class="soft">{_text(order)}</span></h3><div class="wide">{figures}</div>'


def _reasoning(data: Mapping[str, Any], words: Words, image: Image) -> str:
    ways = data["alternatives"]
    found = f"<h2>{_text(words['reasoning'])}</h2>"
    if data["reason"]:
        found += f'<div class="why"><b>{_text(words["why"])}</b><br>{_text(data["reason"])}</div>'
    if ways["rows"]:
        shows = any(row["picture"] for row in ways["rows"])
        head = [
            *([""] if shows else []),
            _text(words["way"]),
            *map(_text, ways["columns"]),
            _text(words["verdict"]),
        ]
        rows = []
        for row in ways["rows"]:
            tag = f'<span class="tag pick">{_text(words["chosen"])}</span> ' if row["chosen"] else ""
            cells = [
                f"<b>{_text(cell['text'])}</b> <small>{_text(cell['range'])}</small>{_axis(cell)}"
                if cell
                else "–"
                for cell in row["cells"]
            ]
            name = f"<b>{_text(row['name'])}</b><br><small>{_text(row['settings'])}</small>"
            picture = [image(row["picture"], row["name"], ' class="way"')] if shows else []
            rows.append((*picture, name, *cells, f"{tag}<small>{_text(row['reason'])}</small>"))
        found += f"<h3>{_text(words['alternatives'])}</h3>" + _table(
            head, rows, (), [row["chosen"] for row in ways["rows"]]
        )
        if ways["more"] > 0:
            found += f'<p class="soft">… +{ways["more"]}</p>'
    else:
        found += f'<p class="soft">{_text(words["no_choice" if len(data["gallery"]) > 1 else "no_alternatives"])}</p>'
    return found + _setting_reasons(data, words) + _bars(data["checks"], words, words["checks"])


def _setting_reasons(data: Mapping[str, Any], words: Words) -> str:
    if not data["training"] or not data["training"]["reasons"]:
        return ""
    rows = [
        (f"<b>{_text(name)}</b>", _text(value), f"<small>{_text(why)}</small>")
        for name, value, why in data["training"]["reasons"]
    ]
    return f"<h3>{_text(words['setting_reasons'])}</h3>" + _table((), rows)


def _gallery(data: Mapping[str, Any], words: Words, image: Image) -> str:
    found = ""
    for one in data["pages"]:
        found += f'<figure style="margin: 1rem 0">{image(one["picture"], one["caption"])}<figcaption>{_text(one["caption"])}</figcaption></figure>'
    if data["gallery"]:
        figures = "".join(
            f"<figure>{image(one['picture'], one['prompt'] or one['label'])}<figcaption><b>{_text(one['label'])}</b>"
            + (f"{_text(one['prompt'])}<br>" if one["prompt"] else "")
            + f"<small>{_text(one['more'])}</small></figcaption></figure>"
            for one in data["gallery"]
        )
        found += f'<div class="grid">{figures}</div>'
    return f"<h2>{_text(words['gallery'])}</h2>{found}" if found else ""


def _settings(title: str, pairs: Sequence[Sequence[str]], tag: str = "h2") -> str:
    if not pairs:
        return ""
    rows = "".join(f"<div><span>{_text(name)}</span>{_text(value)}</div>" for name, value in pairs)
    return f'<{tag}>{_text(title)}</{tag}><div class="columns">{rows}</div>'


def _making(data: Mapping[str, Any], words: Words) -> str:
    found = _settings(words["settings"], data["settings"])
    found += _settings(words["drawing"], data["drawing"], "h3") + _settings(
        words["models"], data["models"], "h3"
    )
    if data["stages"]:
        rows = [
            (
                f"<b>{_text(stage['name'])}</b>", _text(stage["calls"]), _text(stage["stored"]), _text(stage["time"]),
                f'<div class="bar" style="width: {max(stage["share"], 0.004) * 100:.1f}%"></div>', _text(stage["memory"]),
            )
            for stage in data["stages"]
        ]  # fmt: skip
        head = [_text(words[key]) for key in ("stage", "calls", "stored", "time", "share", "memory")]
        found += f"<h2>{_text(words['stages'])}</h2>" + _table(
            head, rows, ("", "number", "number", "number", "", "number")
        )
    for key in ("notes", "limits"):
        if data[key]:
            found += (
                f"<h2>{_text(words[key])}</h2><ul>"
                + "".join(f"<li>{_text(one)}</li>" for one in data[key])
                + "</ul>"
            )
    return found
