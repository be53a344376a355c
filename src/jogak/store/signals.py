"""Progress out of a run and cancellation into it, across threads and (through two small files) processes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """How far a step has come. `done` of `total` equal pieces; a step that ends says 1 of 1."""

    step: str
    scope: str
    done: int
    total: int
    text: str


class Signals:
    """In the process of the run: hands progress to the callback, one at a time, and knows of cancellation."""

    def __init__(
        self, folder: Path, on_progress: Callable[[Progress], None] | None, cancel: threading.Event
    ) -> None:
        self._told, self._stop = _paths(folder)
        self._on_progress = on_progress
        self._cancel = cancel
        self._lock = threading.RLock()
        self._read = 0

    def emit(self, progress: Progress) -> None:
        if self._on_progress:
            with self._lock:
                self._on_progress(progress)

    def cancelled(self) -> bool:
        return self._cancel.is_set()

    def stop(self) -> None:
        self._cancel.set()

    def relay(self) -> None:
        """Hand on what other processes have told since the last time, and tell them of cancellation."""
        with self._lock:
            for progress in self._news():
                self.emit(progress)
        if self._cancel.is_set():
            with suppress(OSError):
                self._stop.touch()

    def _news(self) -> list[Progress]:
        try:
            with open(self._told, "rb") as file:
                file.seek(self._read)
                whole, end, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self._read += len(whole) + len(end)
        return [Progress(*json.loads(line)) for line in whole.splitlines()]


class RemoteSignals:
    """In another process of the run: writes progress down and looks whether the run was stopped."""

    def __init__(self, folder: Path) -> None:
        self._told, self._stop = _paths(folder)

    def emit(self, progress: Progress) -> None:
        # One write of one line in append mode: lines of several processes do not mix.
        with suppress(OSError):
            file = os.open(self._told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(file, json.dumps(astuple(progress)).encode() + b"\n")
            finally:
                os.close(file)

    def cancelled(self) -> bool:
        return self._stop.exists()

    def stop(self) -> None:
        with suppress(OSError):
            self._stop.touch()

    def relay(self) -> None:
        """The run's own process does that."""


def _paths(folder: Path) -> tuple[Path, Path]:
    return folder / "progress.jsonl", folder / "stopped"
