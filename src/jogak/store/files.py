"""Files known by their content: written beside, flushed, then renamed into place, so a name never lies.

<root>/objects/ab/abcdef….wav   content, named by its sha256
<root>/records/ab/abcdef….json  one finished step call each (records.py)
<root>/runs/<id>.jsonl          what a run did, in order (journal.py)
<root>/locks/                   one lock for a step call that is being made, one for each run that is alive
<root>/tmp/<run id>/            what is being written; swept once the run is over
<root>/index.sqlite             the runs (index.py)
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from jogak.spec import Handle, JogakError
from jogak.store.journal import Journal

H = TypeVar("H", bound=Handle)
Stamp = tuple[int, int, int]
"""Size in bytes, times of change and inode change in nanoseconds: no write leaves all three as they were."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOOSE_SECONDS = 24 * 3600.0
"""What was begun outside any run is swept after a day."""


def home() -> Path:
    """The store's folder: `JOGAK_HOME`, else the platform's data folder."""
    if given := os.environ.get("JOGAK_HOME", "").strip():
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("jogak", appauthor=False))


@contextmanager
def plain_errors(root: Path) -> Iterator[None]:
    """Turn a full disk, an unwritable folder or an unreadable index into a sentence that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise JogakError(_index_sentence(root, error)) from error
    except OSError as error:
        if error.errno in _FULL:
            raise JogakError(_full_sentence(root)) from error
        place = Path(str(error.filename)) if error.filename else None
        if place is None or not (place == root or root in place.parents or place in root.parents):
            raise
        raise JogakError(
            f"Cannot use the store {root}: {error.strerror or error}. "
            "Make that folder writable, or set JOGAK_HOME to one that is."
        ) from error


def _full_sentence(root: Path) -> str:
    return (
        f"The disk that holds {root} is full (or its quota is used up). Free some space, for example with "
        "`jogak runs gc --delete`, or set JOGAK_HOME to a folder on another disk; what was finished is kept."
    )


def _index_sentence(root: Path, error: sqlite3.Error) -> str:
    said = str(error)
    if "full" in said or (isinstance(error, sqlite3.OperationalError) and _no_space(root)):
        return _full_sentence(root)
    if "readonly" in said or "unable to open" in said:
        return (
            f"Cannot write in the store {root}. Make that folder writable, or set JOGAK_HOME to one that is."
        )
    if "locked" in said:
        return f"The run index in {root} is busy: another program holds it. Try again in a moment."
    return (
        f"The run index {root / 'index.sqlite'} cannot be used ({said}). Move that file away and try again."
    )


def _no_space(root: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(root).free < 1 << 16
    return False


def write_whole(path: Path, tmp: Path, data: bytes) -> None:
    """Write `data` to `path` so that the file is there whole or not at all. `tmp` is on the same disk."""
    try:
        with open(tmp, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _move(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


def _move(tmp: Path, path: Path) -> None:
    # The content is flushed, not the folder: a name lost in a power cut is a miss, and that is harmless.
    try:
        os.replace(tmp, path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(tmp, path)


def stamp(path: Path) -> Stamp:
    """Raises `OSError` when the file is not there."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Files:
    """The content side of a store, as one run sees it (`run_id`), or as nobody in particular does ("")."""

    def __init__(self, root: Path, run_id: str = "") -> None:
        self.root = root
        self.run_id = run_id
        self.tmp = root / "tmp" / (run_id or "loose")
        self.journal = Journal(root / "runs" / f"{run_id}.jsonl" if run_id else None)
        self._seen: dict[str, Stamp] = {}
        """Files whose content was hashed and found right, and how they looked then."""

    def path(self, name: str) -> Path:
        """Where the file `<sha256><suffix>` lies."""
        return self.root / "objects" / name[:2] / name

    @contextmanager
    def new_file(self, suffix: str) -> Iterator[Path]:
        """A path to write to; `put` it before the block ends, or it is thrown away.

        Raises `JogakError` when the disk is full or the folder cannot be written, in the block as well.
        """
        path = self._new_path(suffix)
        try:
            with plain_errors(self.root):
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    yield path
                except JogakError:
                    raise
                except Exception as error:
                    # Encoders wrap or swallow errno, so the disk itself is asked.
                    if _no_space(self.root):
                        raise JogakError(_full_sentence(self.root)) from error
                    raise
        finally:
            with suppress(OSError):
                path.unlink()

    def put(self, path: Path, kind: type[H], **facts: Any) -> H:
        """Take a finished file in and return its handle.

        A path from `new_file` is moved, any other file is copied. Raises `JogakError` when the disk is full
        or the folder cannot be written.
        """
        with plain_errors(self.root):
            if path.parent != self.tmp:
                with self.new_file(path.suffix.lower()) as copy:
                    shutil.copyfile(path, copy)
                    return self.put(copy, kind, **facts)
            if not path.is_file():
                raise JogakError(
                    f"Nothing was written to {path}; write the file before it is put in the store."
                )
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            suffix = "".join(path.suffixes)
            name = content + suffix
            with self.journal.shared() as note:
                note({"put": name})
                if self.sound(name) is None:
                    _move(path, self.path(name))
                    self._seen[name] = stamp(self.path(name))
            return kind(sha256=content, suffix=suffix, path=self.path(name), **facts)

    def sound(self, name: str, looked: Stamp | None = None) -> Stamp | None:
        """How the file looks now if its content is right, else None.

        A file that looks as it did when last found right (`looked`, or earlier in this process) is not read.
        """
        path = self.path(name)
        try:
            now = stamp(path)
            if now in (looked, self._seen.get(name)):
                return now
            if sha256(path) != name[:64]:
                return None
        except OSError:
            return None
        self._seen[name] = now
        return now

    def verify(self, handle: Handle) -> bool:
        """Is the handle's file in this store, with the content its name promises?"""
        return self.sound(handle.sha256 + handle.suffix) is not None

    def get(self, handle: H) -> H:
        """The same handle with its place in this store. Raises `JogakError` when the file is not sound."""
        name = handle.sha256 + handle.suffix
        if self.sound(name) is None:
            raise JogakError(
                f"{self.path(name)} is absent or damaged. Run the command that made it again to make it anew."
            )
        return handle.model_copy(update={"path": self.path(name)})

    def export(self, handle: Handle, target: Path) -> Path:
        """Copy a handle's file out of the store to `target`, which is there whole or not at all.

        Raises `JogakError` when the file is damaged, or the target's folder full or not writable.
        """
        source = self.get(handle).path
        tmp = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, tmp)
            with open(tmp, "rb") as file:
                os.fsync(file.fileno())
            os.replace(tmp, target)
        except OSError as error:
            reason = "the disk is full" if error.errno in _FULL else error.strerror or str(error)
            raise JogakError(f"Cannot write {target}: {reason}. Choose another place with -o.") from error
        finally:
            with suppress(OSError):
                tmp.unlink()
        return target

    def write_record(self, key: str, data: bytes) -> None:
        write_whole(self.record_path(key), self._new_path(".json"), data)

    def record_path(self, key: str) -> Path:
        return self.root / "records" / key[:2] / f"{key}.json"

    def _new_path(self, suffix: str) -> Path:
        return self.tmp / f"{uuid.uuid4().hex}{suffix}"

    def strays(self, alive: set[str]) -> list[Path]:
        """What runs that are over left behind: their unfinished files, and locks nobody can hold any more."""
        found: list[Path] = []
        too_old = time.time() - _LOOSE_SECONDS
        for folder in inside_folder(self.root / "tmp"):
            if folder.name == "loose":
                found += [path for path in inside_folder(folder) if path.lstat().st_mtime < too_old]
            elif folder.name not in alive:
                found.append(folder)
        for path in inside_folder(self.root / "locks"):
            owner = path.stem.removeprefix("run-")
            if path.name != "gate.lock" and (owner not in alive if owner != path.stem else not alive):
                found.append(path)
        return found


def inside_folder(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing when there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []


def remove(path: Path) -> None:
    """Remove a file or a folder; what is gone already is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
