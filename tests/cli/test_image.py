"""`jogak image` and `jogak replay`, on a small model of the true layout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cyclopts import App

from jogak.cli.image import image, replay
from jogak.image.infotext import read_infotext, read_recipe
from jogak.models import resolve
from jogak.spec import ImageRequest, JogakError, SpecError
from tests.tiny_adapters import a_controlnet
from tests.tiny_keypoints import ship_keypoints, write_keypoints

FAST = ["--steps", "2", "--size", "64x72", "--backend", "torch"]


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Nothing here touches the user's store."""


def jogak(*words: str | Path) -> None:
    app = App(result_action="return_value")
    app.command(image)
    app.command(replay)
    app([str(word) for word in words], exit_on_error=False)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path), dtype=int)


def test_importing_the_commands_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "PIL", "openvino", "diffusers", "transformers", "jogak.store", "rich.progress"]
    code = f"import sys, jogak.cli.image; print([m for m in {heavy!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_help_shows_the_specifications_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    jogak("image", "--help")
    shown = "".join(capsys.readouterr().out.replace("│", " ").split())  # as one line, without its wraps
    for name in ("steps", "guidance", "sampler", "seed", "strength", "model"):
        assert f"--{name}" in shown
        assert f"[default:{ImageRequest.model_fields[name].default}" in shown
        assert "256x256forpocket" in shown


def test_a_picture_is_drawn_and_says_how(
    pocket_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new folder" / "out.png"
    jogak(
        "image", "달밤의 여우", "-o", out, "--model", pocket_like, "--negative", "cat", "--seed", "5", *FAST
    )
    assert PIL.Image.open(out).size == (64, 72)
    request = read_recipe(out).request
    assert (request.prompt, request.negative, request.seed, request.steps) == ("달밤의 여우", "cat", 5, 2)
    assert "Seed: 5" in (read_infotext(out) or "")
    assert str(out) in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]


def test_the_pose_of_a_picture_steers_and_its_reader_is_named(
    pocket_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOGAK_ANNOTATORS", str(tmp_path / "none"))
    a_controlnet(resolve(pocket_like, backend="torch")).save_pretrained(tmp_path / "control")
    noise = np.random.default_rng(1).integers(0, 256, (80, 48, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "puppet.png")
    steered = ["--control", f"pose={tmp_path / 'puppet.png'}#{tmp_path / 'control'}"]
    words = ["image", "fox", "--model", pocket_like, *FAST]

    ship_keypoints(monkeypatch, tmp_path / "none")
    with pytest.raises(JogakError, match=r"pose network: the folder of ViTPose.*name a pose"):
        jogak(*words, "-o", tmp_path / "without.png", *steered)
    ship_keypoints(monkeypatch, write_keypoints(tmp_path / "pocket-keypoints"))
    capsys.readouterr()
    for name in ("a", "b"):
        jogak(*words, "-o", tmp_path / f"{name}.png", *steered)
        said = capsys.readouterr().err
        assert "pocket-keypoints, trained on cut-out puppets; not for photographs" in said
    jogak(*words, "-o", tmp_path / "plain.png", "--control", f"pose=waving#{tmp_path / 'control'}")
    assert "puppets" not in capsys.readouterr().err, "a pose by name is read by nobody"
    assert (pixels(tmp_path / "a.png") == pixels(tmp_path / "b.png")).all()
    assert (pixels(tmp_path / "a.png") != pixels(tmp_path / "plain.png")).any()
    assert [use.kind for use in read_recipe(tmp_path / "a.png").request.controls] == ["pose"]


def test_several_pictures_count_up_names_and_seeds(pocket_like: Path, tmp_path: Path) -> None:
    jogak("image", "fox", "-o", tmp_path / "a.png", "-n", "3", "--seed", "8", "--model", pocket_like, *FAST)
    paths = [tmp_path / f"a-{i}.png" for i in (1, 2, 3)]
    assert [read_recipe(path).request.seed for path in paths] == [8, 9, 10]
    assert len({pixels(path).tobytes() for path in paths}) == 3
    jogak("image", "fox", "-o", tmp_path / "b.png", "--seed", "9", "--model", pocket_like, *FAST)
    assert np.array_equal(pixels(tmp_path / "b.png"), pixels(paths[1]))


def test_a_dry_run_writes_nothing(
    pocket_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jogak(
        "image", "fox", "-o", tmp_path / "x" / "a.png", "-n", "2", "--model", pocket_like, *FAST, "--dry-run"
    )
    said = capsys.readouterr().out
    assert "prompt: fox" in said
    assert "a-2.png" in said
    assert "torch-fp32" in said
    assert not (tmp_path / "x").exists()


def test_fast_is_pocket_in_four_steps_and_what_is_given_wins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["image", "fox", "-o", tmp_path / "a.png", "--fast", "--dry-run"]
    jogak(*words)
    said = capsys.readouterr().out
    assert all(line in said for line in ("model: pocket-fast", "steps: 4", "guidance: 1.0", "sampler: ddim"))
    jogak(*words, "--steps", "8", "--sampler", "euler")
    said = capsys.readouterr().out
    assert all(line in said for line in ("steps: 8", "guidance: 1.0", "sampler: euler"))
    with pytest.raises(JogakError, match="--fast is pocket's"):
        jogak(*words, "--model", "elsewhere")


# bad input: one sentence, nothing written


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["", "-o", "a.png"], "prompt"),
        (["  ", "-o", "a.png"], "the prompt is empty"),
        (["x" * 100_000, "-o", "a.png"], "at most 4000"),
        ([b"\xff\xfe".decode("utf-8", "surrogateescape"), "-o", "a.png"], "prompt"),
        (["fox", "-o", "a.jpg"], "does not end in .png"),
        (["fox", "-o", "folder.png"], "is a folder"),
        (["fox", "-o", "a.png", "--size", "64"], "not WIDTHxHEIGHT"),
        (["fox", "-o", "a.png", "--size", "63x64"], "multiple of 8"),
        (["fox", "-o", "a.png", "--size", "96000x64"], "2048"),
        (["fox", "-o", "a.png", "--steps", "0"], "steps"),
        (["fox", "-o", "a.png", "--guidance", "nan"], "guidance"),
        (["fox", "-o", "a.png", "--seed", "-1"], "seed"),
        (["fox", "-o", "a.png", "--seed", "4294967295", "-n", "2"], "seed"),
        (["fox", "-o", "a.png", "-n", "0"], "1 to 100"),
        (["fox", "-o", "a.png", "--strength", "1.5"], "strength"),
        (["fox", "-o", "a.png", "--model", "pockets"], 'Did you mean "pocket"'),
        (["fox", "-o", "a.png", "--init", "absent.png"], "absent.png is not a file"),
        (["fox", "-o", "a.png", "--init", "hello.png"], "not a picture"),
        (["fox <lora:ink:1>", "-o", "a.png"], 'no LoRA "ink"'),
        (["a BREAK " * 40, "-o", "a.png"], "chunks"),
        (["fox", "-o", "hello.png/a.png"], "cannot write"),
    ],
)
def test_bad_input_is_one_sentence(
    pocket_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.png").write_text("hello")
    (tmp_path / "folder.png").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    model = [] if "--model" in words else ["--model", str(pocket_like)]
    steps = [] if "--steps" in words else ["--steps", "2"]
    with pytest.raises(SpecError) as refused:
        jogak("image", *words, *model, *steps, "--backend", "torch")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_refused_before_drawing(pocket_like: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(SpecError, match="cannot write"):
        jogak("image", "fox", "-o", tmp_path / "locked" / "a.png", "--model", pocket_like, *FAST)


# img2img and replay


def test_a_picture_can_be_the_start(pocket_like: Path, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (90, 70), "navy").save(tmp_path / "start.jpg")
    begin = ["--init", tmp_path / "start.jpg", "--model", pocket_like, *FAST]
    jogak("image", "fox", "-o", tmp_path / "a.png", "--strength", "0.5", *begin)
    jogak("image", "fox", "-o", tmp_path / "b.png", "--strength", "0", *begin)
    assert not np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))
    assert np.abs(pixels(tmp_path / "b.png") - [0, 0, 128]).max() < 4
    (tmp_path / "start.jpg").unlink()
    jogak("replay", tmp_path / "a.png", "-o", tmp_path / "again.png")  # the store still has the start
    assert np.array_equal(pixels(tmp_path / "again.png"), pixels(tmp_path / "a.png"))


@pytest.fixture
def drawn(pocket_like: Path, tmp_path: Path) -> Path:
    model = shutil.copytree(pocket_like, tmp_path / "model")
    jogak("image", "[fox|cat] (red:1.2)", "-o", tmp_path / "out.png", "--model", model, *FAST)
    return tmp_path / "out.png"


def test_a_replay_is_identical_and_says_so(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    shutil.rmtree(home / "objects")  # nothing to remember it from
    jogak("replay", drawn, "-o", tmp_path / "again.png")
    assert np.array_equal(pixels(tmp_path / "again.png"), pixels(drawn))
    assert "identical" in capsys.readouterr().out
    jogak("replay", tmp_path / "again.png", "-o", tmp_path / "third.png")


def test_a_replay_with_other_weights_says_so_and_ends_with_1(
    drawn: Path, sd15_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        jogak("replay", drawn, "-o", tmp_path / "again.png", "--model", sd15_like)
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "The weights differ" in said
    assert "% of the pixels" in said
    assert (tmp_path / "again.png").is_file()


def test_a_replay_of_an_edited_picture_says_so(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = PIL.Image.open(drawn)
    info = PIL.Image.open(drawn).info
    picture.putpixel((3, 3), (1, 2, 3))
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("jogak", info["jogak"])
    picture.save(tmp_path / "edited.png", pnginfo=text)
    jogak("replay", tmp_path / "edited.png", "-o", tmp_path / "again.png")
    assert "changed after it was drawn" in capsys.readouterr().out
    assert np.array_equal(pixels(tmp_path / "again.png"), pixels(drawn))


def test_a_replay_runs_in_the_mode_of_then(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOGAK_BACKEND", "openvino")
    monkeypatch.setenv("JOGAK_THREADS", "7")
    jogak("replay", drawn, "-o", tmp_path / "again.png")
    assert "identical" in capsys.readouterr().out
    assert read_recipe(tmp_path / "again.png").numeric == read_recipe(drawn).numeric


def test_bad_replays_are_one_sentence(drawn: Path, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    out = tmp_path / "again.png"
    for words, sentence in (
        ([tmp_path / "absent.png", "-o", out], "is not a file"),
        ([tmp_path / "plain.png", "-o", out], "carries no recipe"),
        ([drawn, "-o", drawn], "is the picture itself"),
        ([drawn, "-o", tmp_path / "a.gif"], "does not end in .png"),
    ):
        with pytest.raises(SpecError, match=sentence):
            jogak("replay", *words)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(SpecError, match="nor a folder"):
        jogak("replay", drawn, "-o", out)
    assert not out.exists()


def test_a_replay_needs_the_very_picture_it_began_with(pocket_like: Path, tmp_path: Path, home: Path) -> None:
    start, other, out = (tmp_path / name for name in ("start.png", "other.png", "out.png"))
    PIL.Image.new("RGB", (64, 72), "navy").save(start)
    PIL.Image.new("RGB", (64, 72), "red").save(other)
    jogak("image", "fox", "-o", out, "--init", start, "--model", pocket_like, *FAST)
    shutil.rmtree(home / "objects")
    with pytest.raises(SpecError, match="not in the store; give it with --init"):
        jogak("replay", out, "-o", tmp_path / "again.png")
    with pytest.raises(SpecError, match="not the picture it began with"):
        jogak("replay", out, "-o", tmp_path / "again.png", "--init", other)
    jogak("replay", out, "-o", tmp_path / "again.png", "--init", start)
    assert np.array_equal(pixels(tmp_path / "again.png"), pixels(out))


def test_a_failed_write_leaves_nothing(
    pocket_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jogak.store.files.shutil.copyfile", full)
    with pytest.raises(JogakError, match="disk is full"):
        jogak("image", "fox", "-o", tmp_path / "x" / "a.png", "--model", pocket_like, *FAST)
    assert list((tmp_path / "x").iterdir()) == []
