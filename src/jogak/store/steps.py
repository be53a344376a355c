"""`@step`: a function that remembers what it made. With `each`, that is the graph engine.

A step's parameters are what it needs and its name is what it makes. It takes and returns plain data, Specs
and Handles, so that its arguments are its cache key and its result is a record that the next run, or a twin
in another process, finds. Nothing here keeps state between runs: a run's place, progress and cancellation
travel in a context.
"""

from __future__ import annotations

import functools
import inspect
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from jogak.store.context import Cancelled, Context, StepError, current, entered
from jogak.store.files import plain_errors
from jogak.store.records import find_result, write_record
from jogak.store.signals import Progress
from jogak.store.values import decode, digest, encode, file_names

P = ParamSpec("P")
R = TypeVar("R")


def step(*, version: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step: called again with equal arguments, it answers from the store.

    Give another `version` when its code changes in a way that changes its result. The key is the function,
    the version and the arguments (defaults included): a Handle counts by class, content and facts, a
    ModelRef by digest, family and numeric mode. A call raises `TypeError` when an argument or the result is
    not plain data, a Spec or a Handle, `StepError` when the function fails, `Cancelled` when the person
    stopped the run.
    """
    if not version:
        raise TypeError("a step has a version, as in @step(version='1')")

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        about = Step(fn, fn.__name__, version, inspect.signature(fn))

        @functools.wraps(fn)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return about.call(args, kwargs)

        call.__dict__["step"] = about
        return call

    return decorate


@dataclass(frozen=True)
class Step:
    """What `@step` knows of its function; the function carries it as its attribute `step`."""

    fn: Callable[..., Any]
    name: str
    version: str
    signature: inspect.Signature

    @property
    def module(self) -> str:
        return "__main__" if self.fn.__module__ == "__mp_main__" else self.fn.__module__

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        here = current()
        here.check_cancel()
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {name: encode(value, f"{self.name}: {name}") for name, value in bound.arguments.items()}
        key = digest([self.module, self.fn.__qualname__, self.version, given])
        if key in here.outer:
            raise RuntimeError(f"{self.name} calls itself with the same arguments")
        call = _Call(self, key, given, here)
        if found := call.look_up():
            return found[0]
        with call.lock():
            # A twin may have made it while this one waited.
            if found := call.look_up():
                return found[0]
            return call.make(bound)


@dataclass(frozen=True)
class _Call:
    """One call of a step, known by its key."""

    about: Step
    key: str
    given: dict[str, Any]
    here: Context

    def look_up(self) -> tuple[Any] | None:
        """The result, in a tuple of its own, if the store has it."""
        begun = time.perf_counter()
        with plain_errors(self.here.store.root), self.here.store.journal.shared() as note:
            found = find_result(self.here.store, self.key)
            if found is None:
                return None
            note(self._line("hit", time.perf_counter() - begun))
        self._tell("already made")
        return (found[1],)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one who makes it; cancellation ends the waiting of the others."""
        path = self.here.store.root / "locks" / f"{self.key}.lock"
        with plain_errors(self.here.store.root):
            lock = FileLock(path, thread_local=False)
            while not lock.is_locked:
                try:
                    lock.acquire(timeout=0.5, poll_interval=0.02)
                except Timeout:
                    self.here.check_cancel()
        try:
            yield
        finally:
            # Removed while held, so the folder does not fill up; who waits for it notices and starts over.
            path.unlink(missing_ok=True)
            lock.release()

    def make(self, bound: inspect.BoundArguments) -> Any:
        inner = replace(self.here, step=self.about.name, outer=(*self.here.outer, self.key))
        started, begun = time.time(), time.perf_counter()
        try:
            with entered(inner):
                result = self.about.fn(*bound.args, **bound.kwargs)
        except Cancelled:
            raise
        except StepError as error:
            # A step inside failed; its error already says where.
            self._note_failure(error, time.perf_counter() - begun)
            raise
        except Exception as error:
            failure = StepError(self.about.name, self.about.version, self.here.scope, error)
            self._note_failure(failure, time.perf_counter() - begun)
            raise failure from error
        encoded = encode(result, f"{self.about.name}: the result")
        self._keep(encoded, started, time.perf_counter() - begun)
        self._tell("made")
        # Decoded again, so that a first run and a repeated one go on with the very same thing.
        return decode(encoded, self.here.store.path)

    def _note_failure(self, failure: StepError, seconds: float) -> None:
        # On a full disk the note is lost; the error itself matters more.
        with suppress(OSError), self.here.store.journal.shared() as note:
            note(self._line("failed", seconds) | {"error": str(failure)})

    def _keep(self, result: Any, started: float, seconds: float) -> None:
        store = self.here.store
        with plain_errors(store.root), store.journal.shared() as note:
            looks = {name: store.sound(name) for name in sorted(file_names(result))}
            if None in looks.values():
                raise TypeError(
                    f"{self.about.name}: a file of the result is not in the store; use current().store.put"
                )
            line = self._line("made", seconds)
            about = {name: line[name] for name in ("key", "name", "version", "module", "scope", "seconds")}
            write_record(
                store,
                about
                | {"started": started, "peak_bytes": _peak_bytes(), "run": store.run_id}
                | {"args": self.given, "result": result, "files": looks},
            )
            note(line)

    def _line(self, state: str, seconds: float) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": self.about.name,
            "version": self.about.version,
            "module": self.about.module,
            "scope": self.here.scope,
            "outer": self.here.outer[-1] if self.here.outer else "",
            "state": state,
            "seconds": round(seconds, 6),
            "at": time.time(),
        }

    def _tell(self, text: str) -> None:
        self.here.signals.emit(Progress(self.about.name, self.here.scope, 1, 1, text))


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
