"""A grid of pictures over one to three fields of a request, as it is written and as it is shown.

    lora:0.5,1.0 x seed:1..4          two columns, four rows
    guidance:2..8..2 x sampler:euler,dpmpp_2m x prompt:fox,rabbit

Axes are separated by ` x `; the first goes to the right, the second down, the third from block to block. Values are a
list with commas, ranges `1..4` or `0.2..1.0..0.2` (with their step), or both. A value with a comma stands in quotes.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import PIL.Image
import PIL.ImageDraw
from pydantic import Field

from jogak.image.infotext import infotext
from jogak.image.page import CLAY, GAP, INK, LINE, MARGIN, PAPER, SOFT, font, keep, shortened, shown, wrapped
from jogak.spec import Image, ImageRequest, ModelRef, Spec, SpecError
from jogak.store import step

MAX_AXES, MAX_CELLS = 3, 200
MAX_TEXT = 4000
MAX_SIDE = 6000
"""Pixels of the grid's longer side; where it would be larger, its cells are shown smaller."""

FIELDS: Mapping[str, str] = MappingProxyType({
    "seed": "seed", "steps": "steps", "guidance": "guidance", "sampler": "sampler", "strength": "strength",
    "hires": "hires", "model": "model", "negative": "negative", "size": "width, height",
    "prompt": "words of the prompt, the first replaced by each", "lora": "weight of all LoRAs, or lora.NAME of one",
    "control": "weight of all controls, or control.KIND of one", "ip": "weight of all references, or ip.2 of the second",
})  # fmt: skip
"""What an axis may be called, and what it sets."""
_WEIGHTS = {"lora": "loras", "control": "controls", "ip": "ips"}
_NUMBERS = ("seed", "steps", "guidance", "strength", "hires", *_WEIGHTS)


class Axis(Spec):
    """One field, and the values that it takes, as they are written."""

    field: str
    which: str = Field(default="", description="which LoRA, control or reference, when not all")
    values: tuple[str, ...] = Field(min_length=1, max_length=MAX_CELLS)

    @property
    def name(self) -> str:
        return f"{self.field}.{self.which}" if self.which else self.field


class Grid(Spec):
    """Axes and the text that they were read from."""

    text: str
    axes: tuple[Axis, ...] = Field(min_length=1, max_length=MAX_AXES)

    @property
    def cells(self) -> list[tuple[int, ...]]:
        """The place on each axis, for each cell: the first axis runs fastest."""
        places = product(*(range(len(axis.values)) for axis in reversed(self.axes)))
        return [place[::-1] for place in places]


# reading


def parse_grid(text: str) -> Grid:
    """The axes that a text names. Raises `SpecError` with the way to write it."""
    if len(text) > MAX_TEXT:
        raise SpecError(f"the grid is {len(text):,} characters long; at most {MAX_TEXT:,} are read.")
    names = "|".join(FIELDS)
    # only before the name of a field: a prompt's words may hold an x of their own
    parts = re.split(rf"\s+[x×]\s+(?=(?:{names})(?:\.[^:]*)?\s*:)", text.strip())
    axes = tuple(_axis(part) for part in parts)
    if len(axes) > MAX_AXES:
        raise SpecError(f"the grid has {len(axes)} axes; at most {MAX_AXES} can be shown.")
    names_found = [axis.name for axis in axes]
    if len(set(names_found)) < len(axes):
        raise SpecError(
            f"the grid names {max(names_found, key=names_found.count)} twice; write all its values once."
        )
    grid = Grid(text=text.strip(), axes=axes)
    if (count := len(grid.cells)) > MAX_CELLS:
        raise SpecError(
            f"the grid has {count} cells; at most {MAX_CELLS} are drawn at once. Take fewer values."
        )
    return grid


def _axis(text: str) -> Axis:
    name, colon, values = text.partition(":")
    field, _, which = name.strip().partition(".")
    if not colon or field not in FIELDS:
        raise SpecError(
            f'grid: "{text[:60]}" is not FIELD:VALUES; write for example "lora:0.5,1.0 x seed:1..4". '
            f"Fields: {', '.join(FIELDS)}."
        )
    if which and field not in _WEIGHTS:
        raise SpecError(f'grid: "{name.strip()[:60]}": only lora, control and ip have a name after the dot.')
    found = [
        value for part in _listed(values) for value in (_range(field, part) if field in _NUMBERS else [part])
    ]
    if not found or (field == "prompt" and len(found) < 2):
        more = " and what replaces them: prompt:fox,rabbit" if field == "prompt" else ""
        raise SpecError(f'grid: "{text[:60]}" has no values; write them after the colon{more}.')
    if len(found) > MAX_CELLS:
        raise SpecError(f'grid: "{text[:60]}" has more than {MAX_CELLS} values.')
    return Axis(field=field, which=which, values=tuple(found))


def _listed(text: str) -> list[str]:
    try:
        row = next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error:
        raise SpecError(f'grid: a quote in "{text[:60]}" is not closed.') from None
    return [part.strip() for part in row if part.strip()]


def _range(field: str, text: str) -> list[str]:
    """`1..4` and `0.2..1.0..0.2` as their values, both ends included; a single number as it is."""
    parts = text.split("..")
    try:
        numbers = [Decimal(part) for part in parts]
    except InvalidOperation:
        numbers = []
    if not 1 <= len(numbers) <= 3 or not all(
        number.is_finite() and abs(number) < 10**10 for number in numbers
    ):
        raise SpecError(
            f'grid: {field}: "{text[:40]}" is neither a number nor a range such as 1..4 or 0.2..1.0..0.2.'
        )
    if len(numbers) == 1:
        return [text]
    first, last = numbers[:2]
    by = abs(numbers[2]) if len(numbers) == 3 else Decimal(1)
    if len(numbers) == 2 and first % 1 + last % 1 != 0:
        raise SpecError(f'grid: {field}: "{text[:40]}" needs its step, as in {first}..{last}..0.1.')
    if by == 0 or abs(last - first) / by > MAX_CELLS:
        raise SpecError(f'grid: {field}: "{text[:40]}" has more than {MAX_CELLS} values.')
    count = int(abs(last - first) / by) + 1
    return [f"{(first + by * i * (1 if last >= first else -1)).normalize():f}" for i in range(count)]


# what a cell asks for


def plain_cell(grid: Grid, cell: Sequence[int], request: ImageRequest) -> ImageRequest:
    """The request of a cell, but for weights of adapters. Raises `SpecError` for values that a field cannot take."""
    data = request.model_dump()
    for axis, at in zip(grid.axes, cell, strict=True):
        value = axis.values[at]
        if axis.field == "prompt":
            data |= _replaced(axis, value, data)
        elif axis.field == "size":
            width, _, height = re.sub("[X×]", "x", value).partition("x")
            data |= {"width": width, "height": height}
        elif axis.field not in _WEIGHTS:
            data[axis.field] = value
    return ImageRequest.parse(data, where="grid")


def _replaced(axis: Axis, value: str, data: Mapping[str, Any]) -> dict[str, Any]:
    wanted = axis.values[0]
    if wanted not in data["prompt"] and wanted not in data["negative"]:
        raise SpecError(
            f'grid: the prompt does not contain "{wanted[:60]}", the first value of prompt:, which the others replace.'
        )
    said = {name: data[name].replace(wanted, value) for name in ("prompt", "negative")}
    regions = [one | {"prompt": one["prompt"].replace(wanted, value)} for one in data["regions"]]
    return said | {"regions": regions}


def weighted_cell(grid: Grid, cell: Sequence[int], request: ImageRequest) -> ImageRequest:
    """The request, its adapters in it, with a cell's weights. Raises `SpecError` when it has no such adapter."""
    data = request.model_dump()
    for axis, at in zip(grid.axes, cell, strict=True):
        if axis.field in _WEIGHTS:
            uses = data[_WEIGHTS[axis.field]]
            chosen = [i for i, use in enumerate(uses) if _meant(axis, i, use)]
            if not chosen:
                raise SpecError(f"grid: the picture has no {axis.name}; give it with --{axis.field}.")
            for i in chosen:
                uses[i]["weight"] = axis.values[at]
                if axis.field == "lora":
                    uses[i]["text_weight"] = None  # both networks
    return ImageRequest.parse(data, where="grid")


def _meant(axis: Axis, index: int, use: Mapping[str, Any]) -> bool:
    if axis.field == "lora":
        names = {use["name"], Path(use["name"]).stem}
    elif axis.field == "control":
        names = {use["kind"], use["shows"], str(index + 1)}
    else:
        names = {str(index + 1)}
    return not axis.which or axis.which in names


# showing


@step(version="1")
def grid_picture(cells: tuple[Image, ...], grid: Grid, request: ImageRequest, model: ModelRef) -> Image:
    """All cells on one page, labelled; its PNG info says the grid and the request that it varies."""
    page = _page(cells, grid, request)
    text = json.dumps(grid.text, ensure_ascii=False)
    recipe = {
        "grid": grid.text,
        "request": request.model_dump(mode="json"),
        "cells": [cell.sha256 for cell in cells],
    }
    return keep(
        page,
        {
            "parameters": f"{infotext(request, model)}, Script: Grid, Grid: {text}",
            "jogak-grid": json.dumps(recipe, ensure_ascii=True, separators=(",", ":")),
        },
    )


def _page(cells: Sequence[Image], grid: Grid, request: ImageRequest) -> PIL.Image.Image:
    labels = [[_label(axis, at) for at in range(len(axis.values))] for axis in grid.axes]
    across_labels, down_labels, block_labels = (*labels, *[[""]] * (MAX_AXES - len(labels)))
    columns, rows, blocks = len(across_labels), len(down_labels), len(block_labels)
    bold = font(17, "Bold")
    widest = max(cell.width for cell in cells), max(cell.height for cell in cells)
    across, down = (MAX_SIDE - 400) / (columns * widest[0]), (MAX_SIDE - 400) / (rows * blocks * widest[1])
    scale = min(1.0, across, down)
    tile = max(48, round(widest[0] * scale)), max(48, round(widest[1] * scale))
    side = _label_width(down_labels)
    header = 30 if len(grid.axes) == 1 else 34
    block = (34 if blocks > 1 else 0) + header + rows * (tile[1] + GAP) + 12
    wide = max(2 * MARGIN + side + columns * (tile[0] + GAP) - GAP, 520)
    title = wrapped(request.prompt, font(22, "Bold"), wide - 2 * MARGIN, 3)
    facts = wrapped(_facts(grid, request), font(15), wide - 2 * MARGIN, 3)
    top = MARGIN + 29 * len(title) + 21 * len(facts) + 44
    page = PIL.Image.new("RGB", (wide, top + blocks * block + MARGIN - 12), PAPER)
    pen = PIL.ImageDraw.Draw(page)
    y = MARGIN - 4
    for line in title:
        pen.text((MARGIN, y), line, font=font(22, "Bold"), fill=INK)
        y += 29
    for line in facts:
        pen.text((MARGIN, y + 4), line, font=font(15), fill=SOFT)
        y += 21
    pen.text((MARGIN, y + 8), shortened(grid.text, bold, wide - 2 * MARGIN), font=bold, fill=CLAY)
    for place, cell in zip(grid.cells, cells, strict=True):
        column, row, number = (*place, *[0] * (MAX_AXES - len(place)))
        left, above = MARGIN + side + column * (tile[0] + GAP), top + number * block + block - 12
        above -= (rows - row) * (tile[1] + GAP)
        picture = shown(cell, *tile)
        page.paste(picture, (left + (tile[0] - picture.width) // 2, above + (tile[1] - picture.height) // 2))
        if row == 0:
            text = shortened(across_labels[column], bold, tile[0])
            pen.text((left + tile[0] / 2, above - 8), text, font=bold, fill=INK, anchor="ms")
        if column == 0:
            text = shortened(down_labels[row], bold, side - 16)
            pen.text((left - 14, above + tile[1] / 2), text, font=bold, fill=INK, anchor="rm")
        if blocks > 1 and column == row == 0:
            y = top + number * block
            pen.line((MARGIN, y - 2, wide - MARGIN, y - 2), fill=LINE, width=2)
            pen.text((MARGIN, y + 6), block_labels[number], font=font(19, "Bold"), fill=CLAY)
    return page


def _label(axis: Axis, at: int) -> str:
    return axis.values[at] if axis.field == "prompt" else f"{axis.name} {axis.values[at]}"


def _label_width(labels: Sequence[str]) -> int:
    widest = max(map(font(17, "Bold").getlength, labels))
    return min(round(widest), 220) + 16 if widest else 0


def _facts(grid: Grid, request: ImageRequest) -> str:
    """What all cells share, in one line."""
    varied = {axis.field for axis in grid.axes}
    return " · ".join(_shared(request, varied))


def _shared(request: ImageRequest, varied: set[str]) -> Iterator[str]:
    if request.negative and "negative" not in varied:
        yield f"− {request.negative[:80]}"
    if "model" not in varied:
        yield Path(request.model).name
    if "size" not in varied:
        yield f"{request.width}×{request.height}"
    for name in ("steps", "sampler", "guidance", "seed"):
        if name not in varied:
            value = getattr(request, name)
            yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
    if request.init and "strength" not in varied:
        yield f"strength {request.strength:g}"
    for use in request.loras:
        yield f"lora {Path(use.name).stem}" + ("" if "lora" in varied else f" {use.weight:g}")
    for use in request.controls:
        yield f"control {use.shows or use.kind}" + ("" if "control" in varied else f" {use.weight:g}")
    for use in request.ips:
        yield f"ip {use.mode}" + ("" if "ip" in varied else f" {use.weight:g}")
