"""The run index: what ran, how it ended, and what may go."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from jogak.spec import FilmBrief, JogakError, SpecError
from jogak.store import Cancelled, Run, StepError, Store, step
from tests.store import toyfilm
from tests.store.toyfilm import ToyPlan, ToyShot, make_film, write_text

PLAN = ToyPlan(shots=(ToyShot(id="s1"), ToyShot(id="s2", prompt="an owl")))
OTHER = PLAN.model_copy(update={"shots": (PLAN.shots[0], ToyShot(id="s2", prompt="a hare"))})


def film_run(store: Store, plan: ToyPlan) -> Run:
    with store.run("film", spec=plan) as run:
        make_film(plan, None)
    return run


def contents(store: Store) -> set[Path]:
    return {path for part in ("objects", "records", "runs") for path in (store.root / part).rglob("*.*")}


def test_a_run_is_listed_with_what_was_asked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    brief = FilmBrief(text="비 오는 숲의 여우")
    with store.run("film", spec=brief, output=tmp_path / "out") as run:
        now = store.run_record(run.id)
        assert (now.status, now.ended) == ("running", None)
    known = store.run_record(run.id)
    assert (known.journey, known.status, known.output) == ("film", "done", tmp_path / "out")
    assert known.spec == brief
    assert known.ended is not None
    assert known.started <= known.ended <= time.time()


def test_how_a_run_ended(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def ended_by(error: BaseException) -> Run:
        with pytest.raises(type(error)), store.run("toy") as run:
            raise error
        return store.run_record(run.id)

    assert ended_by(Cancelled()).status == ended_by(KeyboardInterrupt()).status == "cancelled"
    failed = ended_by(JogakError("The plan is empty."))
    assert (failed.status, failed.error) == ("failed", "The plan is empty.")
    assert ended_by(SystemExit(1)).status == "failed"


def in_other_process(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def test_a_run_whose_process_died_was_interrupted(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def killed() -> None:
        with store.run("toy"):
            toyfilm.take(PLAN.shots[0], 0)
            os.kill(os.getpid(), signal.SIGKILL)

    child = in_other_process(killed)
    os.waitpid(child, 0)
    run = store.runs()[0]
    assert run.status == "interrupted"
    assert run.ended is not None
    life = store.root / "locks" / f"run-{run.id}.lock"
    assert life.exists()
    with store.run("first"), store.run("second"):
        assert not life.exists()
        assert len(list(store.root.glob("locks/run-*.lock"))) == 2
    assert [record.name for record in run.records] == ["take"]
    assert store.run_record(run.id).ended == run.ended


def test_runs_are_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.runs() == []
    with pytest.raises(JogakError, match="none yet"):
        store.run_record("last")
    first, second = film_run(store, PLAN), film_run(store, OTHER)
    assert [run.id for run in store.runs()] == [second.id, first.id]
    assert store.run_record("last").id == second.id
    assert store.run_record(first.id[:-1]).id == first.id
    with pytest.raises(JogakError, match="2 runs begin with"):
        store.run_record(first.id[:8])
    for wrong in ("nothing", ""):
        with pytest.raises(JogakError, match="jogak runs list"):
            store.run_record(wrong)


def test_gc_keeps_what_the_remaining_runs_used(tmp_path: Path) -> None:
    store = Store(tmp_path)
    film_run(store, PLAN)
    kept = film_run(store, OTHER)
    before = contents(store)
    counted = store.gc(keep=1)
    assert contents(store) == before, "a dry run removes nothing"
    assert len(counted.runs) == 1
    assert counted.records == 6, "the plan, the owl's two takes, its best, its score and the film"
    assert counted.files == 3, "the owl's two takes and the film"
    removed = sum(path.stat().st_size for path in before)
    assert store.gc(keep=1, dry_run=False) == counted
    removed -= sum(path.stat().st_size for path in contents(store))
    assert removed == counted.bytes
    assert [run.id for run in store.runs()] == [kept.id]
    with store.run("film", spec=OTHER) as run:
        make_film(OTHER, None)
        assert all(record.hit for record in run.records)
    with store.run("film", spec=PLAN) as run:
        assert make_film(PLAN, None).path.read_text() == toyfilm.expected_film(PLAN)


def test_gc_by_age(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = film_run(store, PLAN), film_run(store, OTHER)
    with closing(sqlite3.connect(store.root / "index.sqlite", isolation_level=None)) as index:
        index.execute("UPDATE runs SET ended = ended - 10 * 86400 WHERE id = ?", (old.id,))
    assert store.gc(older_than_days=11).runs == ()
    assert store.gc(older_than_days=9).runs == (old.id,)
    assert store.gc(older_than_days=9, keep=2).runs == ()
    assert set(store.gc(older_than_days=0).runs) == {old.id, new.id}
    assert store.gc().runs == ()
    for wrong in ({"keep": -1}, {"older_than_days": -0.5}):
        with pytest.raises(SpecError):
            store.gc(**wrong)  # type: ignore[arg-type]


def test_gc_of_everything_leaves_an_empty_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.gc(keep=0, dry_run=False).bytes == 0
    assert list(tmp_path.iterdir()) == [], "looking does not make a store"
    film_run(store, PLAN)
    with store.new_file(".txt") as path:
        path.write_text("unowned")
        store.put(path, toyfilm.Document)
    assert store.gc(dry_run=False).files == 1, "what no run used goes even when no run does"
    store.gc(keep=0, dry_run=False)
    assert contents(store) == set()


def test_gc_spares_all_that_a_living_run_made_or_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    film_run(store, PLAN)
    with store.run("film", spec=PLAN) as run:
        loose = write_text("taken in, and not yet used by any step")
        taken = toyfilm.take(PLAN.shots[0], 0)
        swept = Store(tmp_path).gc(keep=0, dry_run=False)
        assert len(swept.runs) == 1, "the finished one"
        assert store.run_record(run.id).status == "running"
        assert run.store.get(loose).path.read_text().startswith("taken in")
        assert run.store.verify(taken)
        assert toyfilm.take(PLAN.shots[0], 0) == taken
        assert make_film(PLAN, None).path.read_text() == toyfilm.expected_film(PLAN)
        assert [record.state for record in run.records[:2]] == ["hit", "hit"]


def test_gc_keeps_the_pictures_a_remaining_run_was_given(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.run("toy") as run:
        given = write_text("a picture from outside")
        toyfilm.score(given)
    store.gc(dry_run=False)
    assert store.verify(run.records[0].args["clip"])
    assert run.records[0].inputs == (given.sha256,)
    store.gc(keep=0, dry_run=False)
    assert not store.verify(given)


@step(version="1")
def read_again(clips: list[toyfilm.Document]) -> int:
    return sum(len(clip.path.read_text(encoding="utf-8")) for clip in clips)


def test_gc_in_a_loop_beside_a_run_takes_nothing_from_it(tmp_path: Path) -> None:
    """One process runs films, finding and using what earlier runs made; another removes all it may."""
    store = Store(tmp_path)

    def films() -> None:
        deadline = time.monotonic() + 3
        turn = hits = 0
        while time.monotonic() < deadline or turn < 5:
            turn += 1
            with store.run("film") as run:
                clips = [toyfilm.take(PLAN.shots[turn // 3 % 2], number) for number in range(8)]
                read_again(clips)
                toyfilm.best(clips)
            hits += sum(record.hit for record in run.records)
        assert hits > turn, "the runs found too little for this to mean anything"

    rng = random.Random(1)
    child = in_other_process(films)
    removed = 0
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        removed += store.gc(keep=1, dry_run=False).files
        time.sleep(rng.uniform(0, 0.02))
    assert ended[1] == 0, "a run missed what it had found or made"
    assert removed > 8


def test_a_step_that_failed_for_want_of_disk_leaves_the_run_failed(tmp_path: Path) -> None:
    @step(version="1")
    def doomed() -> int:
        raise OSError(28, "No space left on device")

    store = Store(tmp_path)
    with pytest.raises(StepError), store.run("toy") as run:
        doomed()
    assert store.run_record(run.id).status == "failed"
    assert run.records[0].state == "failed"
    assert "No space left" in run.records[0].error
    assert run.records[0].result is None


def test_an_index_that_cannot_be_used_is_said_in_plain_words(tmp_path: Path) -> None:
    store = Store(tmp_path)
    film_run(store, PLAN)
    with closing(sqlite3.connect(store.root / "index.sqlite")) as index:
        index.execute("PRAGMA user_version = 99")
    with pytest.raises(JogakError, match="newer Jogak"):
        store.runs()
    (store.root / "index.sqlite").write_bytes(b"not a database, but long enough to look like a file" * 20)
    with pytest.raises(JogakError, match=r"index\.sqlite cannot be used"):
        store.runs()
    with pytest.raises(JogakError, match="Move that file away"), store.run("toy"):
        pass
    for path in store.root.glob("index.sqlite*"):
        path.unlink()
    with store.run("film", spec=PLAN) as run:
        make_film(PLAN, None)
        assert all(record.hit for record in run.records), "records do not need the index"


def test_what_was_begun_outside_a_run_is_swept_after_a_day(tmp_path: Path) -> None:
    store = Store(tmp_path)
    loose = store.root / "tmp" / "loose"
    loose.mkdir(parents=True)
    for name, age in (("old.wav", 2 * 86400), ("new.wav", 60)):
        (loose / name).write_bytes(b"x")
        os.utime(loose / name, (time.time() - age,) * 2)
    with store.run("toy"):
        assert [path.name for path in loose.iterdir()] == ["new.wav"]
