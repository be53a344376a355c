"""Where running code stands: its run, its part of the journey, the steps around it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from jogak.spec import JogakError
from jogak.store.files import Files
from jogak.store.signals import Progress, RemoteSignals, Signals


class Cancelled(JogakError):
    """The person stopped the run. Finished steps are kept."""

    def __init__(
        self, sentence: str = "Stopped. What was finished is kept; the same command goes on from there."
    ):
        super().__init__(sentence)


class StepError(JogakError):
    """A step failed: which, at which version, for which part of the journey (`scope`), and why (`cause`)."""

    def __init__(self, step: str, version: str, scope: str, cause: BaseException) -> None:
        super().__init__(step, version, scope, cause)
        self.step = step
        self.version = version
        self.scope = scope
        self.cause = cause
        self.others: tuple[str, ...] = ()
        """The scopes of what failed beside it in the same `each`."""

    def __str__(self) -> str:
        reason = str(self.cause) if isinstance(self.cause, JogakError) else _in_short(self.cause)
        place = f"{self.step} (version {self.version})" + (f", {self.scope}" if self.scope else "")
        others = f" It also failed for {', '.join(self.others)}." if self.others else ""
        return f"{place}: {reason}{'' if reason.endswith(('.', '!', '?')) else '.'}{others}"

    def __reduce__(self) -> Any:
        return _rebuilt, (self.step, self.version, self.scope, _portable(self.cause), self.others)


def _rebuilt(step: str, version: str, scope: str, cause: BaseException, others: tuple[str, ...]) -> StepError:
    error = StepError(step, version, scope, cause)
    error.others = others
    return error


def _portable(cause: BaseException) -> BaseException:
    """The cause itself if it survives the way between processes, else its words."""
    try:
        pickle.loads(pickle.dumps(cause))
    except Exception:
        return RuntimeError(_in_short(cause))
    return cause


def _in_short(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:300]}" if words else type(error).__name__


class Pool(Protocol):
    """Anything that runs functions later and answers with `concurrent.futures` futures."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]: ...


@dataclass(frozen=True)
class Context:
    """Where the running code stands: its store, its run, the part of the journey, the steps around it."""

    store: Files
    signals: Signals | RemoteSignals
    scopes: tuple[str, ...] = ()
    step: str = ""
    outer: tuple[str, ...] = ()
    """The keys of the step calls around this code, outermost first."""
    pools: tuple[Pool, ...] = ()
    """The pools whose worker runs this code."""

    @property
    def run_id(self) -> str:
        return self.store.run_id

    @property
    def scope(self) -> str:
        return "/".join(self.scopes)

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Say how far the step has come: `done` of `total` equal pieces. The person sees it."""
        self.signals.emit(Progress(self.step, self.scope, done, total, text))

    def check_cancel(self) -> None:
        """Raises `Cancelled` when the person stopped the run. Long steps call it between pieces."""
        if self.signals.cancelled():
            raise Cancelled

    def __reduce__(self) -> Any:
        # In another process: the same place, with progress and cancellation through the run's folder.
        return _arrived, (self.store.root, self.run_id, self.scopes, self.step, self.outer)


def _arrived(root: Path, run_id: str, scopes: tuple[str, ...], step: str, outer: tuple[str, ...]) -> Context:
    files = Files(root, run_id)
    return Context(files, RemoteSignals(files.tmp), scopes, step, outer)


_context: ContextVar[Context] = ContextVar("jogak run")


def current() -> Context:
    """The context of the running step, or of the run itself. Raises `RuntimeError` outside a run."""
    try:
        return _context.get()
    except LookupError:
        raise RuntimeError("steps run inside a run: `with Store().run(…):`") from None


@contextmanager
def entered(context: Context) -> Iterator[Context]:
    token = _context.set(context)
    try:
        yield context
    finally:
        _context.reset(token)


@contextmanager
def scope(name: str) -> Iterator[Context]:
    """Name a part of the journey, as in `with scope("s2"):`; its progress, errors and records say so."""
    here = current()
    with entered(replace(here, scopes=(*here.scopes, name))) as context:
        yield context
