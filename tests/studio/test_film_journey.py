"""The film journey whole, on a tiny random model of pocket's layout: what is made, made again, and made after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from jogak.film.motion import draw_keyframe, key_of
from jogak.models import resolve
from jogak.spec import FilmPlan
from jogak.store import Store
from tests.models.true_layout import make_folder, make_zimage_folder
from tests.tiny_models import make_pocket_like, make_sd15_like

NAMES = {
    "film.mp4", "film.srt", "film.vtt", "film.otio", "plan.yaml", "contact.jpg", "scores.json", "report.pdf",
    "pipeline.svg", "stems/music.wav", "stems/effects.wav", "stems/voice.wav",
}  # fmt: skip


def make_plan(model: Path, second_prompt: str = "숲속의 여우") -> FilmPlan:
    return FilmPlan.parse(
        {
            "title": "여우의 밤", "brief": "숲속의 여우", "lang": "ko", "seed": 3, "model": str(model),
            "title_seconds": 1, "end_seconds": 1,
            "shots": [
                {"id": "s1", "prompt": "노을 지는 바닷가의 여우", "camera": "zoom_in", "seconds": 2, "seed": 1,
                 "lines": [{"text": "여우예요.", "at": 0.2}], "events": [{"kind": "bell", "at": 1.0}]},
                {"id": "s2", "prompt": second_prompt, "camera": "pan_left", "seconds": 1.5, "seed": 2},
            ],
        }
    )  # fmt: skip


def command(plan: Path, out: Path, *more: str) -> list[str]:
    code = "from jogak.cli.main import run; run()"
    return [sys.executable, "-c", code, "film", "--plan", str(plan), "-o", str(out), *more]


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"JOGAK_HOME": str(home), "JOGAK_BACKEND": "torch", "OMP_NUM_THREADS": "1"}


def film(plan: Path, out: Path, home: Path, *more: str) -> None:
    done = subprocess.run(
        command(plan, out, *more), env=environment(home), capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(folder with the film, plan.yaml that was filmed, home). The model was a flag; the plan asked for another one."""
    base = tmp_path_factory.mktemp("film")
    model = make_pocket_like(base / "model")
    plan, other = base / "asked.yaml", base / "other.yaml"
    plan.write_text(make_plan(model).to_yaml(), encoding="utf-8")
    other.write_text(make_plan(Path("nowhere")).to_yaml(), encoding="utf-8")
    film(other, base / "out", base / "home", "--model", str(model))
    return base / "out", plan, base / "home"


def test_everything_that_belongs_to_a_film_is_written(made: tuple[Path, Path, Path]) -> None:
    out = made[0]
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == NAMES
    plan = FilmPlan.read(out / "plan.yaml")
    with av.open(str(out / "film.mp4")) as container:
        picture, sound, words = (
            container.streams.video[0],
            container.streams.audio[0],
            container.streams.subtitles[0],
        )
        assert (picture.width, picture.height, picture.average_rate) == (1280, 720, 24)
        assert picture.frames == round(plan.seconds * 24)
        assert (sound.codec_context.name, words.codec_context.name) == ("aac", "mov_text")
    scores = json.loads((out / "scores.json").read_text())
    assert scores["checks"]
    model = resolve(plan.model, "torch")
    assert model.folder == made[1].with_name("model")
    assert scores["model"].startswith(f"{model.folder} (latent, torch-")
    assert model.digest[:16] in scores["model"]
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "여우예요." in (out / "film.srt").read_text(encoding="utf-8")


def made_steps(home: Path) -> set[tuple[str, str]]:
    """(step, scope) of what the newest run made rather than found."""
    run = Store(home).run_record("last")
    return {(record.name, record.scope) for record in run.records if record.state == "made"}


def test_an_unchanged_film_is_found_and_an_edited_shot_is_the_only_one_drawn(
    made: tuple[Path, Path, Path],
) -> None:
    out, plan, home = made
    before = (out / "film.mp4").read_bytes()
    film(plan, out, home)
    assert not made_steps(home)
    assert (out / "film.mp4").read_bytes() == before
    model = Path(FilmPlan.read(plan).model)
    edited = plan.with_name("edited.yaml")
    edited.write_text(make_plan(model, "눈밭의 토끼").to_yaml(), encoding="utf-8")
    film(edited, out.with_name("edited"), home)
    steps = made_steps(home)
    assert {scope for name, scope in steps if name in {"draw_keyframe", "draw_shot"}} == {"s2"}
    assert not {"music_stem", "effects_stem", "voice_stem", "mix", "say"} & {name for name, _ in steps}


def test_another_model_draws_another_picture_and_the_same_one_none(tmp_path: Path) -> None:
    """`make_film` hands the model to every shot; here the keyframe alone, which is quick."""
    models = [resolve(make(tmp_path / make.__name__), "torch") for make in (make_pocket_like, make_sd15_like)]
    shot = make_plan(models[0].folder).shots[0]
    with Store(tmp_path / "home").run("film") as run:
        first, other, again = (draw_keyframe(key_of(shot), 0, model) for model in (*models, models[0]))
    assert [record.state for record in run.records] == ["made", "made", "hit"]
    assert first.sha256 == again.sha256 != other.sha256


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd15", "sdxl", "zimage"])
def test_every_family_films(family: str, tmp_path: Path) -> None:
    folder = tmp_path / family
    model = make_zimage_folder(folder) if family == "zimage" else make_folder(folder, family)
    plan, out = tmp_path / "plan.yaml", tmp_path / "out"
    plan.write_text(make_plan(model).to_yaml(), encoding="utf-8")
    film(plan, out, tmp_path / "home")
    said = json.loads((out / "scores.json").read_text())["model"]
    ref = resolve(model, "torch")
    assert said.startswith(f"{model} ({ref.family}, torch-")
    assert ref.digest[:16] in said


def test_a_killed_film_goes_on_to_the_same_film(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out, plan, _ = made
    home, again = tmp_path / "home", tmp_path / "out"
    process = subprocess.Popen(
        command(plan, again), env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(home.glob("**/*.mkv")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not again.exists() or not list(again.rglob("*")), "nothing half-written beside the store"
    film(plan, again, home)
    assert (again / "film.mp4").read_bytes() == (out / "film.mp4").read_bytes()
