"""Specifications: exact round trips, kind refusals, and nothing hostile gets further than a sentence."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jogak.spec import (
    Clip,
    Document,
    Event,
    FilmBrief,
    FilmPlan,
    ImageRequest,
    Line,
    ModelRef,
    Music,
    Shot,
    Spec,
    SpecError,
)

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
events = st.builds(
    Event, kind=st.sampled_from(["rain", "bell"]), at=st.floats(0, 1), gain_db=st.floats(-40, 12)
)
lines = st.builds(Line, text=texts, at=st.floats(0, 1))
shots = st.builds(
    Shot,
    id=st.just("s0"),
    prompt=texts,
    light=texts,
    seconds=st.floats(1, 2),
    seed=st.integers(0, 2**32 - 1),
    lines=st.lists(lines, max_size=2).map(tuple),
    events=st.lists(events, max_size=2).map(tuple),
)
plans = st.builds(
    FilmPlan,
    title=texts,
    brief=texts,
    lang=st.sampled_from(["ko", "en"]),
    shots=st.lists(shots, min_size=1, max_size=3).map(
        lambda made: tuple(shot.model_copy(update={"id": f"s{at}"}) for at, shot in enumerate(made))
    ),
    music=st.builds(Music, key=st.sampled_from(["C major", "F# minor"]), tempo=st.integers(40, 200)),
    notes=st.lists(texts, max_size=2).map(tuple),
)
briefs = st.builds(FilmBrief, text=texts, seconds=st.floats(15, 30), model=texts)
requests = st.builds(ImageRequest, prompt=texts.filter(str.strip), guidance=st.floats(0, 30))

PLAN = FilmPlan(title="여우", brief="비 오는 숲의 여우", lang="ko", shots=(Shot(id="s1", prompt="a fox"),))


SHOT = {"id": "s1", "prompt": "a fox"}


def refused(path: Path, kind: type[Spec] = FilmPlan) -> str:
    with pytest.raises(SpecError) as caught:
        kind.read(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(plans, briefs, requests))
def test_yaml_and_json_come_back_the_same(tmp_path: Path, spec: Spec) -> None:
    for name, text in (
        ("spec.yaml", spec.to_yaml()),
        ("spec.yml", spec.to_yaml()),
        ("spec.json", spec.to_json()),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert type(spec).read(tmp_path / name) == spec


def test_yaml_is_readable_korean_in_the_order_of_the_fields() -> None:
    text = PLAN.to_yaml()
    assert "title: 여우\n" in text
    assert text.index("title:") < text.index("shots:") < text.index("music:")
    assert "!!" not in text


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (PLAN, "title"), (PLAN.shots[0], "prompt"), (FilmBrief(text="a fox"), "seed"),
        (ImageRequest(prompt="a fox"), "steps"), (Line(text="안녕"), "at"),
        (Document(sha256="ab" * 32, suffix=".txt", path=Path("x.txt")), "path"),
    ],
)  # fmt: skip
def test_a_spec_does_not_change(spec: Spec, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(spec, field, getattr(spec, field))
    with pytest.raises(ValidationError, match="frozen"):
        delattr(spec, field)


@pytest.mark.parametrize(
    ("kind", "data", "wrong", "near"),
    [
        (ImageRequest, {"prompt": "a fox", "guidence": 5}, "guidence", "guidance"),
        (FilmBrief, {"text": "a fox", "second": 20}, "second", "seconds"),
        (FilmBrief, {"text": "a fox", "modle": "pocket"}, "modle", "model"),
        (FilmPlan, PLAN.model_dump() | {"titel": "x"}, "titel", "title"),
        (FilmPlan, PLAN.model_dump() | {"shots": [SHOT, SHOT | {"camara": ""}]}, "shots.1.camara", "camera"),
        (FilmPlan, PLAN.model_dump() | {"music": {"tempoo": 90}}, "music.tempoo", "tempo"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_the_nearest_name(
    kind: type[Spec], data: dict[str, Any], wrong: str, near: str
) -> None:
    with pytest.raises(SpecError) as caught:
        kind.parse(data, where="plan.yaml")
    assert str(caught.value) == f'plan.yaml: "{wrong}" is not a known field. Did you mean "{near}"?'


def test_an_unknown_key_unlike_any_gets_no_guess() -> None:
    with pytest.raises(SpecError) as caught:
        FilmBrief.parse({"text": "a fox", "xyzzyx": 1})
    assert str(caught.value) == '"xyzzyx" is not a known field.'


@pytest.mark.parametrize(
    ("kind", "change", "place"),
    [
        (FilmBrief, {"text": ""}, "text"),
        (FilmBrief, {"text": "x" * 100_000}, "text"),
        (FilmBrief, {"seconds": 31}, "seconds"),
        (FilmBrief, {"seconds": math.nan}, "seconds"),
        (FilmBrief, {"seed": -1}, "seed"),
        (ImageRequest, {"prompt": "   "}, "the whole"),
        (ImageRequest, {"width": 2056}, "width"),
        (ImageRequest, {"height": 250}, "height"),
        (ImageRequest, {"steps": 10**9}, "steps"),
        (ImageRequest, {"init": "../../etc/passwd"}, "init"),
        (Shot, {"id": "../s1"}, "id"),
        (Shot, {"id": "s1\n"}, "id"),
        (Shot, {"seconds": -1}, "seconds"),
        (Shot, {"lines": [{"text": "x"}] * 5}, "lines"),
        (Shot, {"seconds": 2, "events": [{"kind": "bell", "at": 3}]}, "the whole"),
        (FilmPlan, {"shots": []}, "shots"),
        (FilmPlan, {"shots": [{"id": "s1", "prompt": "x"}] * 13}, "shots"),
        (FilmPlan, {"shots": [{"id": "s1", "prompt": "x"}] * 2}, "the whole"),
        (FilmPlan, {"shots": [{"id": f"s{n}", "prompt": "x", "seconds": 15} for n in range(3)]}, "the whole"),
        (Music, {"key": "H major"}, "key"),
    ],
)
def test_what_is_out_of_range_is_refused_by_its_place(
    kind: type[Spec], change: dict[str, Any], place: str
) -> None:
    good: dict[type[Spec], dict[str, Any]] = {
        FilmBrief: {"text": "a fox"},
        ImageRequest: {"prompt": "a fox"},
        Shot: {"id": "s1", "prompt": "a fox"},
        FilmPlan: PLAN.model_dump(),
        Music: {},
    }
    assert kind.parse(good[kind])
    with pytest.raises(SpecError) as caught:
        kind.parse(good[kind] | change, where="it")
    assert str(caught.value).startswith(f"it: {place}: ")
    assert len(str(caught.value)) < 300


def test_a_plan_knows_its_length_and_where_its_shots_start() -> None:
    plan = PLAN.model_copy(
        update={"shots": (Shot(id="a", prompt="x", seconds=3), Shot(id="b", prompt="x", seconds=4.5))}
    )
    assert plan.starts == (2.0, 5.0)
    assert plan.seconds == 2.0 + 3 + 4.5 + 1.5
    clip = Clip(sha256="ab" * 32, suffix=".mp4", path=Path("x"), width=8, height=8, frames=36, fps=24)
    assert clip.seconds == 1.5


def test_handles_refuse_what_is_no_digest_and_no_ending() -> None:
    for change in (
        {"sha256": "AB" * 32},
        {"sha256": "ab"},
        {"suffix": "txt"},
        {"suffix": "./../x"},
        {"suffix": ".T"},
        {"suffix": ".txt\n"},
    ):
        with pytest.raises(SpecError):
            Document.parse({"sha256": "ab" * 32, "suffix": ".txt", "path": "x"} | change)
    with pytest.raises(SpecError):
        ModelRef.parse({"name": "x", "family": "x", "folder": "x", "digest": "no", "numeric": "x"})


# --- Hostile files --------------------------------------------------------------------------------------


def test_a_tag_that_would_run_code_does_not(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    trace = tmp_path / "ran"
    for tag in (
        "object/apply:os.system",
        "object/new:subprocess.Popen",
        "name:os.system",
        "module:antigravity",
    ):
        path.write_text(f"title: !!python/{tag} ['touch {trace}']")
        assert "not readable" in refused(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.yaml", "[" * 100_000),
        ("deep.yaml", "\n".join(" " * depth + "a:" for depth in range(1200))),
        ("deep.json", "[" * 400_000),
        ("deep.json", '{"a":' * 150_000),
        ("long.json", '{"title": ' + "9" * 500_000 + "}"),
        ("long.yaml", "title: " + "9" * 500_000),
        ("half.json", '{"title": "x"'),
        ("empty.json", ""),
        ("list.yaml", "- a\n- b\n"),
        ("empty.yaml", ""),
        ("control.yaml", "title: \x07"),
    ],
)
def test_files_that_are_no_specification_get_a_sentence(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    began = time.monotonic()
    refused(tmp_path / name)
    assert time.monotonic() - began < 10


def test_a_few_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    """The billion laughs: nine lists of nine, nine deep. In a process of its own, with 1 GB."""
    letters = "abcdefghi"
    text = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
    for below, here in pairwise(letters):
        text += f"{here}: &{here} [{', '.join([f'*{below}'] * 9)}]\n"
    (tmp_path / "laugh.yaml").write_text(text + "title: *i\n")
    code = f"""
        import resource
        from pathlib import Path
        from jogak.spec import FilmPlan, SpecError
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        try:
            FilmPlan.read(Path({str(tmp_path / "laugh.yaml")!r}))
        except SpecError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.startswith("laugh.yaml: title: Input should be a valid string (got [[")
    assert len(done.stdout) < 300


def test_two_megabytes_are_refused_before_they_are_parsed(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text("x" * 2_000_000)
    assert refused(path) == "big.yaml is 2,000,000 bytes; a specification has at most 1,000,000."


def test_files_that_cannot_be_read_get_a_sentence(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "absent.yaml")
    assert "Is a directory" in refused(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    assert "UTF-8" in refused(tmp_path / "binary.yaml")
    (tmp_path / "latin.json").write_bytes('{"title": "é"}'.encode("latin-1"))
    assert "UTF-8" in refused(tmp_path / "latin.json")


def test_the_room_is_imported_without_torch() -> None:
    code = "import sys, jogak.spec; assert not {'torch', 'numpy', 'diffusers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
