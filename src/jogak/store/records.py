"""The record of a finished step call: what was asked, what came of it, and what it cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jogak.store.files import Files, Stamp
from jogak.store.values import UNREADABLE, decode, digest, file_names, inside, parts, to_bytes

SPEC = "spec"
"""Stands among `Record.parents` for what the person asked for, the run's own spec."""


@dataclass(frozen=True)
class Record:
    """A step call as it was made, and, when it comes from `Run.records`, its part in that run."""

    key: str
    name: str
    version: str
    module: str
    scope: str
    """Which part of the journey, as in "s2" or "s2/take1"; "" for the whole."""
    started: float
    """When it was made, in seconds since 1970; for a hit, that was in an earlier run or call."""
    seconds: float
    """How long it took to make, the steps inside it included."""
    peak_bytes: int
    """The largest memory the process had used by the end of the step (`getrusage`), in bytes."""
    data: dict[str, Any]
    """The record as it lies in the store: `args`, `result` and `files`. Empty when the step failed."""
    place: Files
    state: Literal["made", "hit", "failed"] = "made"
    run_seconds: float = 0.0
    """How long the call took in this run; a hit takes next to nothing."""
    outer: str = ""
    """The key of the step call this one was made inside of, or ""."""
    parents: tuple[str, ...] = ()
    """The keys of the calls of this run whose results were arguments here; `SPEC` for the run's spec."""
    error: str = ""

    @property
    def hit(self) -> bool:
        return self.state == "hit"

    @property
    def args(self) -> dict[str, Any]:
        """The arguments, by parameter name. Raises one of `values.UNREADABLE` when a class is gone."""
        return {name: decode(part, self.place.path) for name, part in self.data.get("args", {}).items()}

    @property
    def result(self) -> Any:
        """What the step returned; None when it failed. Raises one of `values.UNREADABLE` like `args`."""
        return decode(self.data.get("result"), self.place.path)

    @property
    def inputs(self) -> tuple[str, ...]:
        """sha256 of every file among the arguments."""
        return tuple(sorted(name[:64] for name in file_names(list(self.data.get("args", {}).values()))))

    @property
    def outputs(self) -> tuple[str, ...]:
        """sha256 of every file in the result."""
        return tuple(sorted(name[:64] for name in file_names(self.data.get("result"))))


def write_record(files: Files, data: dict[str, Any]) -> None:
    """Write it whole, under a checksum of its own. Raises `OSError`."""
    body = to_bytes(data)
    files.write_record(data["key"], hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def read_record(path: Path) -> dict[str, Any] | None:
    """The record in the file, or None when it is absent or not exactly what was written for that key."""
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        return None
    data = json.loads(body)
    return data if data["key"] == path.stem else None


def find_result(files: Files, key: str) -> tuple[dict[str, Any], Any] | None:
    """The record of a call and its result, if both it and every file of the result are there and sound."""
    data = read_record(files.record_path(key))
    if data is None:
        return None
    looked: dict[str, Sequence[int]] = data["files"]
    if any(files.sound(name, _stamp(seen)) is None for name, seen in looked.items()):
        return None
    try:
        return data, decode(data["result"], files.path)
    except UNREADABLE:
        return None


def _stamp(seen: Sequence[int]) -> Stamp:
    return seen[0], seen[1], seen[2]


def run_records(files: Files, spec: Any) -> list[Record]:
    """What a run did, in the order in which it ended, each with its parents. `spec` is tagged JSON."""
    found: list[Record] = []
    made_by: dict[str, str] = {}
    _remember(made_by, spec, SPEC)
    for line in files.journal.lines():
        if "key" not in line:
            continue
        data = read_record(files.record_path(line["key"])) or {}
        record = _record(files, line, data)
        found.append(replace(record, parents=_parents(made_by, data.get("args", {}))))
        _remember(made_by, data.get("result"), record.key)
    return found


def _record(files: Files, line: dict[str, Any], data: dict[str, Any]) -> Record:
    return Record(
        key=line["key"],
        name=line["name"],
        version=line["version"],
        module=line["module"],
        scope=line["scope"],
        started=data.get("started", line["at"]),
        seconds=data.get("seconds", line["seconds"]),
        peak_bytes=data.get("peak_bytes", 0),
        data=data,
        place=files,
        state=line["state"],
        run_seconds=line["seconds"],
        outer=line["outer"],
        error=line.get("error", ""),
    )


def _remember(made_by: dict[str, str], result: Any, key: str) -> None:
    """Note who made each thing inside a result. A thing handed on unchanged counts as its last maker's."""
    for part in parts(result):
        if _tells(part):
            made_by[digest(part)] = key


def _parents(made_by: dict[str, str], args: dict[str, Any]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    todo = list(args.values())
    while todo:
        part = todo.pop(0)
        key = made_by.get(digest(part)) if _tells(part) else None
        if key:
            found[key] = None
        else:
            todo += inside(part)
    return tuple(found)


def _tells(part: Any) -> bool:
    """Is this enough of a thing to say where it came from? A round number, a word or an empty list is not."""
    if isinstance(part, (str, float)):
        return len(str(part)) >= 12
    return bool(part) and isinstance(part, (dict, list))
