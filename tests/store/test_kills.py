"""Killed at any moment, a run leaves nothing that is half true, and the next run goes on from there."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import pytest

from jogak.store import Store, each
from jogak.store.records import find_result, read_record
from tests.store import toyfilm

COUNT = 6


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def was_killed(child: int) -> bool:
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run failed"
    return os.WIFSIGNALED(status)


def heavy_run(root: Path) -> None:
    with Store(root).run("toy"):
        toyfilm.heavy_journey(COUNT)


def check_every_record(store: Store) -> int:
    """Whatever has a record's name is whole, and its files are too."""
    paths = list(store.root.glob("records/*/*.json"))
    for path in paths:
        assert read_record(path) is not None, path
        assert find_result(store, path.stem) is not None, path
    return len(paths)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> str:
    with Store(tmp_path_factory.mktemp("clean")).run("toy"):
        return toyfilm.heavy_journey(COUNT)


def finish(store: Store, result: str) -> None:
    """The next run sweeps what the killed ones left, makes what is missing, and gives the same result."""
    with store.run("toy") as run:
        assert toyfilm.heavy_journey(COUNT) == result
        assert [path.name for path in (store.root / "tmp").iterdir()] == [run.id]
        assert len(list((store.root / "locks").iterdir())) == 2, "only the gate and this run"
    assert list((store.root / "tmp").iterdir()) == []
    assert {known.status for known in store.runs()[1:]} <= {"interrupted", "done"}
    assert check_every_record(store) == COUNT + 1


def test_kills_at_random_moments(tmp_path: Path, result: str) -> None:
    """`JOGAK_KILLS=400 pytest -s -k random_moments tests/store` kills more often and says what it saw."""
    wanted = int(os.environ.get("JOGAK_KILLS", "25"))
    rng = random.Random(1)
    kills = inside_a_write = records = rounds = 0
    while kills < wanted or inside_a_write < 4:
        rounds += 1
        assert rounds < 60 + wanted, f"only {inside_a_write} of {kills} kills fell into a write"
        store = Store(tmp_path / str(rounds))
        killed = True
        longest = 0.02
        while killed:
            # Longer each time, so that a slow machine gets to the end as well.
            longest += 0.01
            child = forked(partial(heavy_run, store.root))
            time.sleep(rng.uniform(0.003, longest))
            os.kill(child, signal.SIGKILL)
            killed = was_killed(child)
            kills += killed
            inside_a_write += killed and any(store.root.glob("tmp/*/*.*"))
            records += check_every_record(store)
        finish(store, result)
    print(f"{kills} kills, {inside_a_write} inside a write; {records} records checked, none damaged")


class DeadlySystem:
    """Kills this process at the n-th of the calls that bring something to the disk, before or after it."""

    def __init__(self, moment: int, after: bool) -> None:
        self.left = moment
        self.after = after
        for name in ("fsync", "replace", "write", "unlink", "open", "mkdir"):
            setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            now = self.left == 0
            if now and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*args, **kwargs)
            finally:
                if now:
                    os.kill(os.getpid(), signal.SIGKILL)

        return watched


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_kills_at_every_single_call_that_writes(tmp_path: Path, after: bool) -> None:
    def small_run(root: Path, moment: int) -> None:
        DeadlySystem(moment, after)
        with Store(root).run("toy"):
            toyfilm.take(toyfilm.ToyShot(id="s1"), 0)

    moment = 0
    while True:
        moment += 1
        store = Store(tmp_path / str(moment))
        if not was_killed(forked(partial(small_run, store.root, moment))):
            break
        check_every_record(store)
        with store.run("toy") as run:
            handle = toyfilm.take(toyfilm.ToyShot(id="s1"), 0)
            assert handle.path.read_text() == "a fox/0/0"
            assert [path.name for path in (store.root / "tmp").iterdir()] == [run.id]
        swept = store.gc(keep=0, dry_run=False)
        assert list(store.root.glob("objects/*/*")) == [], "a killed run left an unowned file"
        assert swept.strays == 0
    assert moment > 15


def test_a_name_appears_only_by_renaming_what_is_on_the_disk(tmp_path: Path) -> None:
    """Nothing is opened for writing under its final name, and what is renamed there was flushed before."""

    def watched_run() -> None:
        flushed: set[int] = set()
        arrived: list[str] = []
        really_flush = os.fsync

        def fsync(file: int) -> None:
            flushed.add(os.fstat(file).st_ino)
            really_flush(file)

        def watch(event: str, args: tuple[Any, ...]) -> None:
            if event == "open" and isinstance(args[0], str) and args[2] & os.O_ACCMODE != os.O_RDONLY:
                assert f"{tmp_path}/objects" not in args[0], args
                assert f"{tmp_path}/records" not in args[0], args
            elif event == "os.rename" and Path(args[1]).parent.exists():
                assert os.stat(args[0]).st_ino in flushed, args
                arrived.append(Path(args[1]).suffix)

        os.fsync = fsync
        sys.addaudithook(watch)
        heavy_run(tmp_path)
        assert sorted(arrived) == [".bin"] * COUNT + [".json"] * (COUNT + 1)

    assert not was_killed(forked(watched_run))


def test_a_half_written_record_is_a_miss(tmp_path: Path) -> None:
    """As after a power cut on a disk that loses the end of a renamed file."""
    store = Store(tmp_path)
    with store.run("toy"):
        toyfilm.heavy(3)
    path = next(store.root.glob("records/*/*.json"))
    whole = path.read_bytes()
    for length in (0, 1, 64, 65, 66, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with store.run("toy") as run:
            toyfilm.heavy(3)
            assert [record.state for record in run.records] == ["made"]
        path.write_bytes(whole[:length] + bytes(len(whole) - length))
        with store.run("toy") as run:
            toyfilm.heavy(3)
            assert [record.state for record in run.records] == ["made"]


def test_a_record_under_a_foreign_name_is_a_miss(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.run("toy"):
        assert toyfilm.picky(toyfilm.ToyShot(id="a", prompt="a fox")) == "A FOX"
        fox = next(store.root.glob("records/*/*.json")).read_bytes()
        assert toyfilm.picky(toyfilm.ToyShot(id="b", prompt="an owl")) == "AN OWL"
        for path in store.root.glob("records/*/*.json"):
            path.write_bytes(fox)
        assert toyfilm.picky(toyfilm.ToyShot(id="b", prompt="an owl")) == "AN OWL"


def pooled_run(root: Path, log: str) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool, Store(root).run("toy"):
        each(pool, partial(toyfilm.slow, log=log), [1, 2, 3, 4])


@pytest.mark.timeout(60)
def test_workers_that_outlive_a_killed_run_hold_nobody_up(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    log = tmp_path / "log"
    child = forked(partial(pooled_run, store.root, str(log)))
    while not log.exists():
        time.sleep(0.01)
    workers = psutil.Process(child).children(recursive=True)  # one that got no work yet is among them
    os.kill(child, signal.SIGKILL)
    assert was_killed(child)
    try:
        assert store.runs()[0].status == "interrupted", "a forked worker keeps the run's lock"
        with store.run("toy"):
            assert each(None, partial(toyfilm.slow, log=str(log)), [1, 2, 3, 4]) == [1, 4, 9, 16]
    finally:
        for worker in workers:
            worker.kill()
