"""`each`: ordered fan-out over any pool, with progress, cancellation and failures that name their shot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from jogak.spec import JogakError, Spec
from jogak.store.context import Cancelled, Context, Pool, StepError, current, entered
from jogak.store.steps import Step

R = TypeVar("R")
T = TypeVar("T")

_TICK = 0.1
"""How often, in seconds, a waiting `each` looks at progress from other processes and at cancellation."""


def each(
    pool: Pool | None,
    fn: Callable[[T], R],
    items: Iterable[T],
    *,
    label: Callable[[T], str] | None = None,
) -> list[R]:
    """`fn` of every item, in the order of the items, on the pool (None: here, one after the other).

    `label` names each item's part of the journey in progress, records and errors; without it, a Spec's `id`
    does. When an item fails the others still finish, then the first failure is raised. When a worker process
    is killed, its items fail with `StepError`; a rerun goes on from what was finished. Inside a worker of the
    same pool the items are done in place, and a step never waits for work that nobody has begun, so a bounded
    pool cannot block itself. A process pool cannot travel into its own workers: give None there.
    """
    here = current()
    jobs = [_Job(_placed(here, (label or _id)(item), pool), fn, item) for item in items]
    if pool is None or any(known is pool for known in here.pools):
        futures = [job.now() for job in jobs]
    else:
        futures = [job.submitted(pool) for job in jobs]
        _settle(here, jobs, futures)
    return _harvest(here, jobs, futures)


def _id(item: Any) -> str:
    found = getattr(item, "id", "") if isinstance(item, Spec) else ""
    return found if isinstance(found, str) else ""


def _placed(here: Context, name: str, pool: Pool | None) -> Context:
    scopes = (*here.scopes, name) if name else here.scopes
    return replace(here, scopes=scopes, pools=here.pools if pool is None else (*here.pools, pool))


@dataclass(frozen=True)
class _Job:
    """One item of an `each`."""

    context: Context
    fn: Callable[[Any], Any]
    item: Any

    def now(self) -> Future[Any]:
        future: Future[Any] = Future()
        if self.context.signals.cancelled():
            future.cancel()
            return future
        try:
            future.set_result(_in_context(self.context, self.fn, self.item))
        except Exception as error:
            future.set_exception(error)
        return future

    def submitted(self, pool: Pool) -> Future[Any]:
        try:
            return pool.submit(_in_context, self.context, self.fn, self.item)
        except BrokenExecutor as error:
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    def killed(self) -> StepError:
        about = getattr(getattr(self.fn, "func", self.fn), "step", None)
        name = getattr(self.fn, "__name__", type(self.fn).__name__)
        reason = JogakError(
            "a worker process was killed, or ran out of memory. What was finished is kept: run the same "
            "command again, with fewer workers if it happens again."
        )
        step_name, version = (about.name, about.version) if isinstance(about, Step) else (name, "")
        return StepError(step_name, version, self.context.scope, reason)


def _in_context(context: Context, fn: Callable[[Any], Any], item: Any) -> Any:
    with entered(context):
        return fn(item)


def _settle(here: Context, jobs: list[_Job], futures: list[Future[Any]]) -> None:
    """Wait until every future is done; on the way, hand on progress and cancellation."""
    inside_something = bool(here.outer or here.pools)
    try:
        while left := [at for at, future in enumerate(futures) if not future.done()]:
            done = wait([futures[at] for at in left], timeout=_TICK).done
            here.signals.relay()
            if here.signals.cancelled():
                for at in left:
                    futures[at].cancel()
                continue
            starved = inside_something and not done and not any(futures[at].running() for at in left)
            # The pool is busy, perhaps with somebody who waits for us: do one ourselves.
            if starved and futures[left[0]].cancel():
                futures[left[0]] = jobs[left[0]].now()
    except BaseException:
        here.signals.stop()
        here.signals.relay()
        for future in futures:
            future.cancel()
        raise
    here.signals.relay()


def _harvest(here: Context, jobs: list[_Job], futures: list[Future[Any]]) -> list[Any]:
    results: list[Any] = []
    failures: list[tuple[_Job, Exception]] = []
    for job, future in zip(jobs, futures, strict=True):
        try:
            results.append(future.result())
        except BrokenExecutor as error:
            killed = job.killed()
            killed.__cause__ = error
            failures.append((job, killed))
        except (CancelledError, Cancelled):
            failures.append((job, Cancelled()))
        except Exception as error:
            failures.append((job, error))
    if not failures:
        return results
    if any(isinstance(error, Cancelled) for _, error in failures):
        raise Cancelled
    first = failures[0][1]
    if isinstance(first, StepError):
        first.others = tuple(job.context.scope or "another item" for job, _ in failures[1:])
    elif scope := failures[0][0].context.scope:
        first.add_note(f"This happened in {scope}.")
    raise first
