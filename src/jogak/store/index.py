"""The store: runs begun, listed, read back, and what no run needs any more removed."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from jogak.spec import JogakError, Spec, SpecError
from jogak.store.context import Cancelled, Context, entered
from jogak.store.files import Files, home, inside_folder, plain_errors, remove
from jogak.store.records import Record, read_record, run_records
from jogak.store.signals import Progress, Signals
from jogak.store.values import decode, encode, file_names

Status = Literal["running", "done", "failed", "cancelled", "interrupted"]

_SCHEMA = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, journey TEXT NOT NULL, spec TEXT NOT NULL, status TEXT NOT NULL,
    started REAL NOT NULL, ended REAL, output TEXT, error TEXT NOT NULL DEFAULT ''
) STRICT
"""
_COLUMNS = "id, journey, spec, status, started, ended, output, error"
_GATE_SECONDS = 60.0
"""How long a run that begins waits for a `gc` to end, and the other way round."""


@dataclass(frozen=True)
class Run:
    """One run of a journey, as the index knew it when it was asked."""

    id: str
    journey: str
    spec_data: Any
    """The spec as tagged JSON, None without one."""
    status: Status
    """`interrupted`: the process ended without a word."""
    started: float
    """Seconds since 1970."""
    ended: float | None
    output: Path | None
    """The folder the person asked for."""
    error: str
    store: Files

    @property
    def spec(self) -> Any:
        """What the person asked for. Raises one of `values.UNREADABLE` when its class is gone."""
        return decode(self.spec_data, self.store.path)

    @property
    def records(self) -> list[Record]:
        """Every step call so far, in the order in which they ended, with hit or made, seconds and parents."""
        return run_records(self.store, self.spec_data)


@dataclass(frozen=True)
class Swept:
    """What a `gc` removed, or would remove."""

    runs: tuple[str, ...]
    records: int
    files: int
    strays: int
    bytes: int
    """On disk, records and strays included."""


class Store(Files):
    """A folder of content, records and runs: `root`, else `JOGAK_HOME`, else the platform's data folder."""

    def __init__(self, root: Path | str | None = None) -> None:
        super().__init__((home() if root is None else Path(root)).expanduser().absolute())

    @contextmanager
    def run(
        self,
        journey: str,
        *,
        spec: Spec | None = None,
        output: Path | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Run]:
        """Begin a run; inside the block, steps work. Its status follows from how the block ends.

        `on_progress` is called by one thread at a time. Raises `JogakError` when the folder cannot be used.
        """
        run_id = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(3)
        files = Files(self.root, run_id)
        run = Run(run_id, journey, encode(spec, "spec"), "running", time.time(), None, output, "", files)
        signals = Signals(files.tmp, on_progress, cancel or threading.Event())
        status: Status = "failed"
        error = ""
        with ExitStack() as held:
            self._begin(run, held)
            try:
                with entered(Context(files, signals)):
                    yield run
                status = "done"
            except (Cancelled, KeyboardInterrupt):
                status = "cancelled"
                raise
            except BaseException as raised:
                error = str(raised) or type(raised).__name__
                raise
            finally:
                self._end(run, status, error)

    def _begin(self, run: Run, held: ExitStack) -> None:
        with plain_errors(self.root):
            for folder in ("objects", "records", "runs", "locks", "tmp"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            with self._gate(), closing(self._connect()) as index:
                for stray in self.strays({known.id for known in self.runs() if known.status == "running"}):
                    remove(stray)
                held.enter_context(_alive(self._life(run.id)))
                run.store.tmp.mkdir()
                spec = json.dumps(run.spec_data)
                output = None if run.output is None else str(run.output)
                row = (run.id, run.journey, spec, run.status, run.started, None, output, "")
                index.execute(f"INSERT INTO runs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _end(self, run: Run, status: Status, error: str) -> None:
        try:
            remove(run.store.tmp)
            self._set_status(run.id, status, time.time(), error)
        except (OSError, sqlite3.Error):
            # What went wrong in the block matters more; without a word here the run counts as interrupted.
            if status == "done":
                with plain_errors(self.root):
                    raise

    def runs(self) -> list[Run]:
        """Every run, the newest first. Raises `JogakError` when the index cannot be read."""
        if not self._index_path.exists():
            return []
        with plain_errors(self.root), closing(self._connect()) as index:
            rows = index.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY started DESC, id DESC").fetchall()
            return [self._seen_now(_run(self.root, row)) for row in rows]

    def run_record(self, run_id: str) -> Run:
        """The run with that id, a beginning of it that only one has, or "last". Raises `JogakError`."""
        runs = self.runs()
        if run_id == "last" and runs:
            return runs[0]
        found = [run for run in runs if run.id == run_id] or [
            run for run in runs if run.id.startswith(run_id)
        ]
        if len(found) == 1 and run_id:
            return found[0]
        known = ", ".join(run.id for run in (found or runs)[:3]) or "none yet"
        what = f"{len(found)} runs begin with" if len(found) > 1 else "There is no run"
        raise JogakError(f'{what} "{run_id}". See `jogak runs list` (the newest: {known}).')

    def gc(
        self, *, older_than_days: float | None = None, keep: int | None = None, dry_run: bool = True
    ) -> Swept:
        """Remove runs, and the records and files that no remaining run has used; with `dry_run`, only count.

        A run leaves when it ended more than `older_than_days` ago and is not among the `keep` newest; with
        neither, none does. What a living run has made or found stays. Raises `JogakError`, `SpecError`.
        """
        if (older_than_days or 0) < 0 or (keep or 0) < 0:
            raise SpecError("The days and the number of runs to keep are 0 or more.")
        if not self._index_path.exists():
            return Swept((), 0, 0, 0, 0)
        with plain_errors(self.root), self._gate(), ExitStack() as held:
            runs = self.runs()
            leaving = _leaving(runs, older_than_days, keep)
            gone = {run.id for run in leaving}
            staying = [run for run in runs if run.id not in gone]
            for run in staying:
                if run.status == "running":
                    held.enter_context(run.store.journal.alone())
            records, objects = self._unused(staying)
            strays = self.strays({run.id for run in staying if run.status == "running"})
            journals = [self.root / "runs" / f"{run.id}.jsonl" for run in leaving]
            going = [*records, *objects, *strays, *journals]
            swept = Swept(
                tuple(run.id for run in leaving),
                len(records),
                len(objects),
                len(strays),
                sum(map(_size, going)),
            )
            if not dry_run:
                with closing(self._connect()) as index:
                    index.executemany("DELETE FROM runs WHERE id = ?", [(run.id,) for run in leaving])
                # Records before files: a kill in between leaves files without a record, not the reverse.
                for path in going:
                    remove(path)
            return swept

    def _unused(self, staying: Sequence[Run]) -> tuple[list[Path], list[Path]]:
        """The records, and the objects, that no staying run has used."""
        keys: set[str] = set()
        names: set[str] = set()
        for run in staying:
            lines = run.store.journal.lines()
            keys |= {line["key"] for line in lines if "key" in line}
            names |= file_names(run.spec_data)
            if run.status == "running":
                names |= {line["put"] for line in lines if "put" in line}
        records: list[Path] = []
        for path in _two_deep(self.root / "records"):
            data = read_record(path) if path.stem in keys else None
            if data is None:
                records.append(path)
            else:
                names |= file_names([*data["args"].values(), data["result"]])
        return records, [path for path in _two_deep(self.root / "objects") if path.name not in names]

    @property
    def _index_path(self) -> Path:
        return self.root / "index.sqlite"

    def _connect(self) -> sqlite3.Connection:
        index = sqlite3.connect(self._index_path, timeout=30, isolation_level=None)
        try:
            index.execute("PRAGMA journal_mode = WAL")
            made_by = index.execute("PRAGMA user_version").fetchone()[0]
            if made_by > _SCHEMA:
                raise JogakError(
                    f"The store {self.root} was written by a newer Jogak. Update Jogak to use it."
                )
            if made_by < _SCHEMA:
                index.execute(_TABLE)
                index.execute(f"PRAGMA user_version = {_SCHEMA}")
        except BaseException:
            index.close()
            raise
        return index

    def _set_status(self, run_id: str, status: Status, ended: float, error: str) -> None:
        with closing(self._connect()) as index:
            values = (status, ended, error, run_id)
            index.execute("UPDATE runs SET status = ?, ended = ?, error = ? WHERE id = ?", values)

    def _seen_now(self, run: Run) -> Run:
        """A run that counts as running although its process is gone was interrupted."""
        if run.status != "running" or _is_alive(self._life(run.id)):
            return run
        ended = run.started
        with suppress(OSError):
            ended = (self.root / "runs" / f"{run.id}.jsonl").stat().st_mtime
        with suppress(sqlite3.Error):
            self._set_status(run.id, "interrupted", ended, "")
        return replace(run, status="interrupted", ended=ended)

    def _life(self, run_id: str) -> Path:
        return self.root / "locks" / f"run-{run_id}.lock"

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Held while a run begins and while `gc` works, so that neither happens during the other."""
        try:
            with FileLock(self.root / "locks" / "gate.lock", timeout=_GATE_SECONDS, poll_interval=0.01):
                yield
        except Timeout:
            raise JogakError(f"Another Jogak is tidying {self.root}. Try again in a moment.") from None


def _run(root: Path, row: tuple[Any, ...]) -> Run:
    run_id, journey, spec, status, started, ended, output, error = row
    place = None if output is None else Path(output)
    return Run(run_id, journey, json.loads(spec), status, started, ended, place, error, Files(root, run_id))


@contextmanager
def _alive(life: Path) -> Iterator[None]:
    """Hold the lock that says that this run's process lives; the system frees it when the process ends."""
    with FileLock(life, thread_local=False):
        try:
            yield
        finally:
            life.unlink(missing_ok=True)


def _is_alive(life: Path) -> bool:
    if not life.exists():
        return False
    try:
        with FileLock(life, blocking=False):
            return False
    except Timeout:
        return True


def _leaving(runs: Sequence[Run], older_than_days: float | None, keep: int | None) -> list[Run]:
    """Of runs, the newest first, those that may go."""
    if older_than_days is None and keep is None:
        return []
    before = time.time() - (older_than_days or 0) * 86400
    return [
        run
        for run in runs[keep or 0 :]
        if run.status != "running" and (run.started if run.ended is None else run.ended) <= before
    ]


def _two_deep(folder: Path) -> list[Path]:
    return [path for part in inside_folder(folder) for path in inside_folder(part)]


def _size(path: Path) -> int:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            return sum(_size(part) for part in path.iterdir())
        return path.lstat().st_size
    return 0
