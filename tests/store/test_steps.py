"""The graph engine: nothing stale, nothing made twice, order kept, failures that name their shot."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jogak.spec import Document, JogakError, SpecError
from jogak.store import SPEC, Cancelled, Pool, Progress, Run, StepError, Store, current, each, scope, step
from tests.store import toyfilm
from tests.store.toyfilm import ToyMusic, ToyPlan, ToyShot, make_film

PLAN = ToyPlan(shots=tuple(ToyShot(id=f"s{number}", prompt=f"fox {number}") for number in range(1, 5)))


def processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("fork"))


@pytest.fixture(params=["inline", "threads", "one thread", "processes"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool | None]:
    made: dict[str, Callable[[], Executor]] = {
        "threads": lambda: ThreadPoolExecutor(3),
        "one thread": lambda: ThreadPoolExecutor(1),
        "processes": lambda: processes(2),
    }
    if request.param == "inline":
        yield None
        return
    with made[request.param]() as executor:
        yield executor


def read(handle: Document) -> str:
    return handle.path.read_text(encoding="utf-8")


def states(run: Run) -> list[str]:
    return [f"{record.name} {record.state}" for record in run.records]


# --- Nothing stale, nothing made twice ------------------------------------------------------------------

words = st.sampled_from(["a fox", "a hare", "여우", "a fox in the rain"])
shots = st.builds(ToyShot, id=st.just("s0"), prompt=words, seed=st.integers(0, 2))


def renamed(shots: list[ToyShot]) -> tuple[ToyShot, ...]:
    return tuple(shot.model_copy(update={"id": f"s{at}"}) for at, shot in enumerate(shots))


plans = st.builds(
    ToyPlan,
    shots=st.lists(shots, min_size=1, max_size=4).map(renamed),
    music=st.builds(ToyMusic, tempo=st.sampled_from([80, 90])),
    takes=st.integers(1, 3),
)


@st.composite
def edited(draw: st.DrawFn, plan: ToyPlan) -> ToyPlan:
    """The plan after one edit of the kind a person makes."""
    old = list(plan.shots)
    kind = draw(st.sampled_from(["prompt", "seed", "order", "add", "drop", "tempo", "takes", "nothing"]))
    at = draw(st.integers(0, len(old) - 1))
    if kind == "prompt":
        old[at] = old[at].model_copy(update={"prompt": draw(words)})
    elif kind == "seed":
        old[at] = old[at].model_copy(update={"seed": draw(st.integers(0, 2))})
    elif kind == "order":
        old = draw(st.permutations(old))
    elif kind == "add" and len(old) < 5:
        old.insert(at, draw(shots))
    elif kind == "drop" and len(old) > 1:
        del old[at]
    elif kind == "tempo":
        return plan.model_copy(update={"music": ToyMusic(tempo=draw(st.integers(60, 63)))})
    elif kind == "takes":
        return plan.model_copy(update={"takes": draw(st.integers(1, 3))})
    return plan.model_copy(update={"shots": tuple(old) if kind == "order" else renamed(old)})


def damage(root: Path, seed: int) -> bool:
    """Change, cut, empty or remove one file of the store, as a bad disk or a curious person would."""
    rng = random.Random(seed)
    victims = sorted(path for part in ("objects", "records") for path in (root / part).glob("*/*"))
    if not victims:
        return False
    victim = rng.choice(victims)
    content = bytearray(victim.read_bytes())
    how = rng.choice(["change", "cut", "empty", "remove"])
    if how == "remove":
        victim.unlink()
    elif how == "change" and content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        victim.write_bytes(content)
    else:
        victim.write_bytes(content[: len(content) // 2] if how == "cut" else b"")
    return True


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), plans)
def test_after_any_edits_the_film_is_that_of_a_clean_rebuild(data: st.DataObject, plan: ToyPlan) -> None:
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as threads:
        store = Store(Path(name) / "kept")
        made_before: set[str] = set()
        damaged = False
        for _ in range(data.draw(st.integers(1, 4), "edits")):
            if data.draw(st.integers(0, 2), "damage") == 2:
                damaged |= damage(store.root, data.draw(st.integers(0, 99)))
            pool = data.draw(st.sampled_from([None, threads]))
            with store.run("toy", spec=plan) as run:
                assert read(make_film(plan, pool)) == toyfilm.expected_film(plan)
                made = [record.key for record in run.records if record.state == "made"]
                assert len(made) == len(set(made)), "a step was made twice in one run"
                assert damaged or not made_before & set(made), "a step was made again without need"
                made_before |= set(made)
            plan = data.draw(edited(plan), "plan")
        clean = Store(Path(name) / "clean")
        with store.run("toy", spec=plan), scope("kept"):
            kept = make_film(plan, None)
        with clean.run("toy", spec=plan) as run:
            rebuilt = make_film(plan, None)
            assert not any(record.hit and record.name in ("checked_plan", "film") for record in run.records)
        assert kept == rebuilt.model_copy(update={"path": kept.path})
        assert kept.path.read_bytes() == rebuilt.path.read_bytes()


def test_one_changed_shot_makes_that_shot_and_what_depends_on_it(tmp_path: Path, pool: Pool | None) -> None:
    store = Store(tmp_path)
    with store.run("toy"):
        make_film(PLAN, pool)
    with store.run("toy") as run:
        make_film(PLAN, pool)
        assert all(record.hit for record in run.records)
    changed = PLAN.model_copy(
        update={"shots": (PLAN.shots[0], ToyShot(id="s2", prompt="an owl"), *PLAN.shots[2:])}
    )
    with store.run("toy") as run:
        assert read(make_film(changed, pool)) == toyfilm.expected_film(changed)
        made = [(record.name, record.scope) for record in run.records if not record.hit]
    assert sorted(made) == [
        ("best", "s2"), ("checked_plan", ""), ("film", ""), ("score", ""), ("take", "s2"), ("take", "s2"),
    ]  # fmt: skip


def test_the_order_of_the_items_is_kept(tmp_path: Path, pool: Pool | None) -> None:
    with Store(tmp_path).run("toy"):
        for seed in range(3):
            shots = random.Random(seed).sample(PLAN.shots, 4)
            assert each(pool, toyfilm.picky, shots) == [shot.prompt.upper() for shot in shots]


def test_another_version_and_another_function_are_other_steps(tmp_path: Path) -> None:
    def version(number: str, factor: int) -> Callable[[int], int]:
        def scaled(value: int) -> int:
            return value * factor

        return step(version=number)(scaled)

    with Store(tmp_path).run("toy"):
        assert version("1", 2)(21) == 42
        assert version("1", 3)(21) == 42, "the version is what says that the code changed"
        assert version("2", 3)(21) == 63


def test_defaults_and_the_way_of_passing_do_not_matter(tmp_path: Path) -> None:
    @step(version="1")
    def joined(first: str, second: str = "b", *rest: str, last: str = "z") -> str:
        return first + second + "".join(rest) + last

    with Store(tmp_path).run("toy") as run:
        results = [joined("a"), joined("a", "b"), joined(second="b", first="a"), joined("a", last="z")]
        assert results == ["abz"] * 4
        assert joined("a", "b", "c", "d") == "abcdz"
        assert [record.state for record in run.records] == ["made", "hit", "hit", "hit", "made"]


def test_a_first_run_and_a_repeated_one_return_the_same_types(tmp_path: Path) -> None:
    @step(version="1")
    def odd() -> dict[str, Any]:
        return {"b": (1, 2.0, [True, None]), "a": float("inf"), "$": PLAN, "": -0.0}

    with Store(tmp_path).run("toy"):
        first, again = odd(), odd()
    assert repr(first) == repr(again)
    assert list(first) == ["b", "a", "$", ""]
    assert isinstance(again["$"], ToyPlan)


# --- What a step takes and returns ----------------------------------------------------------------------


def test_tensors_paths_and_other_things_are_refused_at_the_border(tmp_path: Path) -> None:
    @step(version="1")
    def brightness(picture: Any) -> Any:
        return np.float32(0.5)

    with Store(tmp_path).run("toy"):
        with pytest.raises(TypeError, match=r"brightness: picture is a numpy.ndarray; a step takes"):
            brightness(np.zeros((2, 2)))
        with pytest.raises(TypeError, match=r"brightness: picture\['at'\] is a pathlib"):
            brightness({"at": tmp_path})
        with pytest.raises(TypeError, match=r"brightness: the result is a numpy\.float32"):
            brightness(1)


def test_a_result_must_lie_in_this_store(tmp_path: Path) -> None:
    with Store(tmp_path / "other").run("toy"):
        foreign = toyfilm.take(PLAN.shots[0], 0)
    with Store(tmp_path / "store").run("toy"), pytest.raises(TypeError, match="not in the store"):
        toyfilm.best([foreign])


def test_steps_need_a_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="inside a run"):
        toyfilm.picky(PLAN.shots[0])
    with Store(tmp_path).run("toy"):
        assert current().scope == ""
    with pytest.raises(RuntimeError):
        current()


def test_a_step_that_calls_itself_with_the_same_arguments_is_told(tmp_path: Path) -> None:
    @step(version="1")
    def again(number: int) -> int:
        return again(number)

    with Store(tmp_path).run("toy"), pytest.raises(StepError, match="calls itself"):
        again(1)


def test_type_hints_and_documentation_survive() -> None:
    assert toyfilm.slow.__name__ == "slow"
    assert toyfilm.slow.__doc__ == "Takes a while, and notes down that it ran."
    assert pickle.loads(pickle.dumps(toyfilm.slow)) is toyfilm.slow


# --- Records --------------------------------------------------------------------------------------------


def test_records_tell_what_depended_on_what_and_what_it_cost(tmp_path: Path, pool: Pool | None) -> None:
    store = Store(tmp_path)
    for turn in ("made", "hit"):
        with store.run("toy", spec=PLAN) as run:
            make_film(PLAN, pool)
        records = store.run_record(run.id).records
        assert {record.state for record in records} == {turn}
        by_key = {record.key: record for record in records}
        edges = {
            (by_key[parent].name if parent != SPEC else SPEC, record.name)
            for record in records
            for parent in record.parents
        }
        assert edges == {
            (SPEC, "checked_plan"), ("checked_plan", "take"), ("checked_plan", "music"), ("take", "best"),
            ("best", "score"), ("best", "film"), ("music", "film"), ("score", "film"),
        }  # fmt: skip
        drawn = [record for record in records if record.name == "take"]
        assert len(drawn) == 8
        assert {record.scope for record in drawn} == {"s1", "s2", "s3", "s4"}
        for record in records:
            assert record.version == "1"
            assert 0 <= record.seconds < 60
            assert record.peak_bytes > 1_000_000
            assert abs(record.started - time.time()) < 600
        film = records[-1]
        assert film.name == "film"
        assert len(film.inputs) == 5
        assert film.result.sha256 == film.outputs[0]
        assert film.args["clips"][0].path.is_file()


def test_a_hit_keeps_the_time_of_its_making(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        with store.run("toy") as run:
            toyfilm.slow(3, str(tmp_path / "log"))
    record = run.records[0]
    assert record.hit
    assert record.seconds >= 0.3 > record.run_seconds


def test_steps_inside_a_step_say_so(tmp_path: Path) -> None:
    @step(version="1")
    def scene(shot: ToyShot) -> list[Document]:
        return [toyfilm.take(shot, number) for number in range(2)]

    with Store(tmp_path).run("toy") as run:
        scene(PLAN.shots[0])
        inner, second, outer = run.records
    assert (inner.name, second.name, outer.name) == ("take", "take", "scene")
    assert inner.outer == second.outer == outer.key
    assert outer.outer == ""


# --- Failure, cancellation, progress --------------------------------------------------------------------


def test_when_a_shot_fails_the_others_finish_first(tmp_path: Path, pool: Pool | None) -> None:
    bad = [
        PLAN.shots[0],
        ToyShot(id="s2", prompt="bad"),
        PLAN.shots[2],
        ToyShot(id="s4", prompt="bad", seed=1),
    ]
    store = Store(tmp_path)
    with pytest.raises(StepError) as caught, store.run("toy") as run:
        each(pool, toyfilm.picky, bad)
    error = caught.value
    assert isinstance(error, JogakError)
    assert (error.step, error.version, error.scope, error.others) == ("picky", "1", "s2", ("s4",))
    assert isinstance(error.cause, ValueError)
    assert str(error) == "picky (version 1), s2: ValueError: no such colour. It also failed for s4."
    assert sorted(states(run)) == ["picky failed"] * 2 + ["picky made"] * 2
    listed = store.run_record(run.id)
    assert (listed.status, listed.error) == ("failed", str(error))


def test_the_innermost_step_is_named_and_the_cause_kept(tmp_path: Path) -> None:
    @step(version="7")
    def wrapped(shot: ToyShot) -> str:
        return toyfilm.picky(shot)

    with Store(tmp_path).run("toy"), scope("s9"), pytest.raises(StepError) as caught:
        wrapped(ToyShot(id="x", prompt="bad"))
    assert (caught.value.step, caught.value.scope) == ("picky", "s9")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_step_error_travels_between_processes() -> None:
    class Local(Exception):
        pass

    for cause, kind in ((SpecError("The plan is empty."), SpecError), (Local("a\nb"), RuntimeError)):
        error = StepError("draw", "2", "s1", cause)
        error.others = ("s2",)
        again = pickle.loads(pickle.dumps(error))
        assert (again.step, again.version, again.scope, again.others) == ("draw", "2", "s1", ("s2",))
        assert isinstance(again.cause, kind)
        assert "\n" not in str(again)
    assert str(StepError("draw", "2", "", SpecError("Empty."))) == "draw (version 2): Empty."


def test_a_failure_outside_any_step_passes_unchanged(tmp_path: Path, pool: Pool | None) -> None:
    with Store(tmp_path).run("toy"), pytest.raises(AttributeError) as caught:
        each(pool, _lower, [ToyShot(id="s5")])
    assert "s5" in caught.value.__notes__[0]


def _lower(shot: ToyShot) -> str:
    return shot.lower()  # type: ignore[attr-defined]


def test_cancelling_stops_between_pieces_and_a_rerun_finishes(tmp_path: Path, pool: Pool | None) -> None:
    store = Store(tmp_path)
    stop = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.done >= 5 and progress.total == 100:
            stop.set()

    count = partial(toyfilm.counted, pieces=100)
    with pytest.raises(Cancelled), store.run("toy", on_progress=watch, cancel=stop) as run:
        each(pool, count, PLAN.shots[:2])
    assert store.run_record(run.id).status == "cancelled"
    assert run.records == [], "a shot takes a second, and was stopped before"
    with store.run("toy"):
        assert each(pool, count, PLAN.shots[:2]) == ["s1", "s2"]
    with pytest.raises(Cancelled), store.run("toy", cancel=stop):
        toyfilm.picky(PLAN.shots[0])


def test_items_that_have_not_begun_do_not_begin_after_cancelling(tmp_path: Path) -> None:
    stop = threading.Event()
    begun: list[int] = []

    def item(number: int) -> None:
        begun.append(number)
        stop.set()
        time.sleep(0.3)

    for pool in (None, ThreadPoolExecutor(1)):
        begun.clear()
        stop.clear()
        with pytest.raises(Cancelled), Store(tmp_path).run("toy", cancel=stop):
            each(pool, item, range(9))
        assert begun == [0]


def test_progress_names_the_step_and_the_shot(tmp_path: Path, pool: Pool | None) -> None:
    seen: list[Progress] = []
    with Store(tmp_path).run("toy", on_progress=seen.append):
        each(pool, toyfilm.counted, PLAN.shots[:2])
    for shot in ("s1", "s2"):
        mine = [progress for progress in seen if progress.scope == shot]
        assert [progress.done for progress in mine] == [*range(1, 51), 1]
        assert mine[6] == Progress("counted", shot, 7, 50, "counting")
        assert mine[-1] == Progress("counted", shot, 1, 1, "made")


def test_ctrl_c_stops_the_shots_and_counts_as_cancelled(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def interrupt(progress: Progress) -> None:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    began = time.monotonic()
    with (
        processes(2) as pool,
        pytest.raises(KeyboardInterrupt),
        store.run("toy", on_progress=interrupt) as run,
    ):
        each(pool, toyfilm.counted, PLAN.shots * 4)
    assert time.monotonic() - began < 3
    assert store.run_record(run.id).status == "cancelled"


# --- Pools ----------------------------------------------------------------------------------------------


@pytest.mark.timeout(30)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_fan_outs_inside_fan_outs_on_one_pool_do_not_block(tmp_path: Path, workers: int) -> None:
    def scenes(pool: Pool, depth: int, number: int) -> int:
        if depth == 0:
            return number
        return sum(each(pool, partial(scenes, pool, depth - 1), [number, number + 1, number + 2]))

    with ThreadPoolExecutor(workers) as pool, Store(tmp_path).run("toy"):
        assert scenes(pool, 4, 0) == 3**4 * 4
        assert scenes(pool, 3, 5) == 3**3 * 8


class Meeting:
    """A step that fans out on a pool whose only worker waits for that very step."""

    def __init__(self, pool: Pool) -> None:
        self.begun = threading.Event()

        @step(version="1")
        def shared(number: int) -> list[str]:
            self.begun.set()
            time.sleep(0.3)
            return each(pool, toyfilm.picky, PLAN.shots[:number])

        self.shared = shared


@pytest.mark.timeout(30)
def test_two_runs_that_share_a_pool_and_a_step_do_not_block(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        meeting = Meeting(pool)

        def second() -> None:
            meeting.begun.wait()
            with Store(tmp_path).run("second"):
                assert each(pool, meeting.shared, [2]) == [["FOX 1", "FOX 2"]]

        other = threading.Thread(target=second)
        other.start()
        with Store(tmp_path).run("first") as run:
            assert meeting.shared(2) == ["FOX 1", "FOX 2"]
        other.join()
        assert sum(record.state == "made" for record in run.records) == 3


def test_a_pool_may_be_kept_between_runs(tmp_path: Path, pool: Pool | None) -> None:
    for name in ("one", "two"):
        with Store(tmp_path / name).run("toy"):
            assert read(make_film(PLAN, pool)) == toyfilm.expected_film(PLAN)


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_workers_that_start_afresh_work_as_well(tmp_path: Path, start: str) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context(start)) as pool, Store(tmp_path).run("toy") as run:
        assert read(make_film(PLAN, pool)) == toyfilm.expected_film(PLAN)
    assert {record.state for record in run.records} == {"made"}


@pytest.mark.timeout(60)
def test_a_killed_worker_is_an_error_and_a_rerun_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    trap = tmp_path / "trap"
    trap.touch()
    draw = partial(toyfilm.deadly, trap=str(trap))
    with processes(2) as pool, pytest.raises(StepError) as caught, store.run("toy") as run:
        each(pool, draw, PLAN.shots)
    assert (caught.value.step, caught.value.version) == ("deadly", "1")
    assert caught.value.scope == "s2"
    assert "killed, or ran out of memory" in str(caught.value)
    assert store.run_record(run.id).status == "failed"
    finished = {record.scope for record in run.records}
    assert "s1" in finished
    trap.unlink()
    with processes(2) as pool, store.run("toy") as run:
        assert each(pool, draw, PLAN.shots) == [shot.prompt.upper() for shot in PLAN.shots]
    assert {record.scope for record in run.records if record.hit} == finished


def test_a_pool_that_is_already_broken_is_an_error_too(tmp_path: Path) -> None:
    with processes(1) as pool, Store(tmp_path).run("toy"):
        with pytest.raises(StepError):
            each(pool, _kill_worker, [1])
        with pytest.raises(StepError) as caught:
            each(pool, toyfilm.picky, PLAN.shots[:2])
    assert (caught.value.scope, caught.value.others) == ("s1", ("s2",))


def _kill_worker(number: int) -> None:
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_twins_wait_and_then_find(tmp_path: Path, kind: str) -> None:
    log = tmp_path / "log"
    store = Store(tmp_path / "store")
    with ThreadPoolExecutor(4) if kind == "threads" else processes(4) as pool, store.run("toy") as run:
        assert each(pool, partial(toyfilm.slow, log=str(log)), [7, 7, 7, 8]) == [49, 49, 49, 64]
    assert sorted(line.split()[0] for line in log.read_text().splitlines()) == ["7", "8"]
    assert sorted(states(run)) == ["slow hit"] * 2 + ["slow made"] * 2
    assert [path.name for path in (store.root / "locks").iterdir()] == ["gate.lock"]


def test_the_same_step_in_two_runs_at_once_is_made_once(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def one_run() -> None:
        with Store(tmp_path / "store").run("toy"):
            assert toyfilm.slow(5, str(log)) == 25

    twins = [get_context("fork").Process(target=one_run) for _ in range(2)]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join()
    assert [twin.exitcode for twin in twins] == [0, 0]
    assert len(log.read_text().splitlines()) == 1


def test_a_twin_that_waits_can_be_stopped(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    stop = threading.Event()
    holder = threading.Event()
    release = threading.Event()

    @step(version="1")
    def held() -> int:
        holder.set()
        assert release.wait(20)
        return 1

    def first() -> None:
        with store.run("first"):
            held()

    thread = threading.Thread(target=first)
    thread.start()
    assert holder.wait(20)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Cancelled), store.run("second", cancel=stop):
        held()
    release.set()
    thread.join()
    shutil.rmtree(store.root)
