"""A WD14 tagger of the published layout, small enough for a test: an ONNX file written byte by byte, since no ONNX
writer is among the dependencies. Field numbers are those of onnx.proto3."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def _varint(number: int) -> bytes:
    out = bytearray()
    while True:
        out.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(out)


def _int(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_int(1, size) for size in values.shape)
    return dims + _int(2, 1) + _bytes(8, name) + _bytes(9, values.astype("<f4").tobytes())


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, size) if isinstance(size, str) else _int(1, size)) for size in shape)
    tensor = _int(1, 1) + _bytes(2, dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _node(kind: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    return b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, kind) + attributes


def _ints(name: str, values: Sequence[int]) -> bytes:
    return _bytes(5, _bytes(1, name) + b"".join(_int(8, value) for value in values) + _int(20, 7))


def _one(name: str, value: int) -> bytes:
    return _bytes(5, _bytes(1, name) + _int(3, value) + _int(20, 2))


def write_tagger(
    folder: Path, tags: Sequence[tuple[str, str]], weights: np.ndarray, bias: np.ndarray, side: int = 448
) -> Path:
    """`input` (batch, side, side, 3) → mean over places → weights (3, T), bias (T,) → sigmoid → `output` (batch, T).
    `tags` are (name, category) in the order of the outputs."""
    count = weights.shape[1]
    graph = (
        _bytes(1, _node("ReduceMean", ["input"], "mean", _ints("axes", [1, 2]) + _one("keepdims", 0)))
        + _bytes(1, _node("MatMul", ["mean", "w"], "times"))
        + _bytes(1, _node("Add", ["times", "b"], "plus"))
        + _bytes(1, _node("Sigmoid", ["plus"], "output"))
        + _bytes(2, "tagger")
        + _bytes(5, _tensor("w", weights))
        + _bytes(5, _tensor("b", bias))
        + _bytes(11, _value("input", ["batch_size", side, side, 3]))
        + _bytes(12, _value("output", ["batch_size", count]))
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = _int(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _int(2, 13))
    (folder / "model.onnx").write_bytes(model)
    with open(folder / "selected_tags.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["tag_id", "name", "category", "count"])
        rows.writerows([i, name, category, 1000] for i, (name, category) in enumerate(tags))
    return folder
