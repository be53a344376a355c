"""A run's journal: a line of JSON for each step call and each file taken in, whoever does it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Note = Callable[[dict[str, Any]], None]


class Journal:
    """Lines in the order they happened, from every thread and process of the run.

    What a run finds or makes is noted under a shared lock, before it is used; `gc` reads the journals of
    living runs under the exclusive one, and so never removes what a run has just been given.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @contextmanager
    def shared(self) -> Iterator[Note]:
        """Look up or finish something, and note it. Without a run, notes go nowhere."""
        if self.path is None:
            yield lambda line: None
            return
        with _locked(self.path, os.O_WRONLY | os.O_APPEND, fcntl.LOCK_SH) as file:
            # One write of one line in append mode: lines of several processes do not mix.
            yield lambda line: _append(file, line)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody notes anything meanwhile."""
        assert self.path is not None
        with _locked(self.path, os.O_RDONLY, fcntl.LOCK_EX):
            yield

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line; one that a kill or a full disk cut off is left out."""
        try:
            raw = self.path.read_bytes() if self.path else b""
        except FileNotFoundError:
            return []
        found: list[dict[str, Any]] = []
        for line in raw.splitlines():
            try:
                data = json.loads(line)
            except ValueError:
                continue
            if isinstance(data, dict):
                found.append(data)
        return found


def _append(file: int, line: dict[str, Any]) -> None:
    # A line break first as well: what comes after a line that was cut off stays readable.
    data = b"\n" + json.dumps(line).encode() + b"\n"
    if os.write(file, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _locked(path: Path, flags: int, kind: int) -> Iterator[int]:
    file = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, kind)
        yield file
    finally:
        # Unlocked by name, not by closing: a pool's worker forked in between holds a copy of the descriptor.
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)
