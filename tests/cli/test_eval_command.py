"""`jogak eval` and `jogak report`, from pictures in a folder to a page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cyclopts import App

from jogak.adapters.poses import pose_map
from jogak.cli.eval import evaluate
from jogak.cli.report import report
from jogak.spec import JogakError, SpecError
from jogak.spec.picture_scores import PictureScores
from tests.judge.drawings import drawings
from tests.tiny_depth import ship_depth
from tests.tiny_keypoints import ship_keypoints, write_keypoints


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Nothing here touches the user's store."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    pictures = drawings()
    for name, part in (("out", pictures[:4]), ("reference", pictures[10:16])):
        (place / name).mkdir()
        for i, pixels in enumerate(part):
            PIL.Image.fromarray(pixels).save(place / name / f"{i}.png")
            (place / name / f"{i}.txt").write_text(f"그림 {i}", encoding="utf-8")
    (place / "maps").mkdir()
    PIL.Image.fromarray(np.zeros((173, 173), np.uint8)).save(place / "maps" / "0.png")
    return place


def jogak(*words: str | Path) -> None:
    app = App(result_action="return_value")
    app.command(evaluate, name="eval")
    app.command(report)
    app([str(word) for word in words], exit_on_error=False)


def test_importing_the_commands_imports_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "PIL", "transformers", "typst", "jogak.store", "rich.progress"]
    code = f"import sys, jogak.cli.eval, jogak.cli.report; print([m for m in {heavy!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_from_a_folder_to_scores_and_pages(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jogak(
        "eval", folders / "out", "--reference", folders / "reference", "-o", tmp_path / "new" / "scores.json"
    )
    said = capsys.readouterr().out
    for words in (
        "clip_score/pocket-judge",
        "identity/efficientnet-lite0",
        "95 % interval",
        "not measured: lpips",
    ):
        assert words in said
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["scores.json"]
    scores = PictureScores.model_validate_json((tmp_path / "new" / "scores.json").read_text(encoding="utf-8"))
    assert (scores.pictures, scores.references) == (4, 6)
    jogak("report", "last", "-o", tmp_path / "report.pdf")
    jogak("report", "last", "-o", tmp_path / "report.html", "--lang", "en")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "Evaluation of out" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_json_is_nothing_but_json(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jogak("eval", folders / "out", "--json")
    assert json.loads(capsys.readouterr().out)["pictures"] == 4


def test_a_dry_run_measures_nothing(folders: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jogak("eval", folders / "out", "--maps", f"canny={folders / 'maps'}", "--dry-run")
    said = capsys.readouterr().out
    assert "pictures: 4" in said
    assert "prompts: 4" in said
    assert "1 canny" in said
    assert not (home / "runs").exists()


def test_a_map_whose_network_is_not_here_is_a_row_of_the_table(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOGAK_ANNOTATORS", str(tmp_path / "none"))
    ship_depth(monkeypatch, tmp_path / "none")
    maps = [word for kind in ("depth", "canny") for word in ("--maps", f"{kind}={folders / 'maps'}")]
    jogak("eval", folders / "out", *maps, "--dry-run")
    assert "not measured: control_fidelity/depth" in capsys.readouterr().out
    jogak("eval", folders / "out", *maps)
    said = " ".join(capsys.readouterr().out.split())
    assert "edge_f1/canny" in said
    assert "not measured: control_fidelity/depth (its weights are not here: DPT / Depth Anything" in said
    for kind in ("en", "ko"):
        jogak("report", "last", "-o", tmp_path / "report.html", "--lang", kind)
        assert "control_fidelity/" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_read_the_poses_is_told(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOGAK_ANNOTATORS", str(tmp_path / "none"))
    (tmp_path / "maps").mkdir()
    PIL.Image.fromarray(pose_map("waving", 173, 173)).save(tmp_path / "maps" / "0.png")
    words = ["eval", folders / "out", "--maps", f"pose={tmp_path / 'maps'}"]
    ship_keypoints(monkeypatch, tmp_path / "absent")
    jogak(*words)
    said = " ".join(capsys.readouterr().out.split())
    assert "not measured: control_fidelity/pose (its weights are not here: ViTPose" in said
    assert "pck/pose" not in said
    ship_keypoints(monkeypatch, write_keypoints(tmp_path / "pocket-keypoints"))
    jogak(*words, "-o", tmp_path / "scores.json")
    said = " ".join(capsys.readouterr().out.split())
    assert "pck/pose" in said
    assert "oks/pose" in said
    assert "pocket-keypoints, trained on cut-out puppets; not for photographs" in said
    scores = PictureScores.model_validate_json((tmp_path / "scores.json").read_text(encoding="utf-8"))
    readers = {score.name: score.backbone for score in scores.whole if score.name.endswith("/pose")}
    assert readers == {"pck/pose": "pocket-keypoints", "oks/pose": "pocket-keypoints"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{out}", "--maps", "sketch=x"], "KIND=FOLDER"),
        (["{out}", "--maps", "canny"], "KIND=FOLDER"),
        (["{out}", "--maps", "none={maps}"], "what kind of map"),
        (["{out}", "-o", "{tmp}/scores.txt"], r"\.json"),
        (["{out}", "--reference", "{tmp}/absent"], "no folder"),
        (["{out}", "--clip", "{maps}"], "no|CLIP"),
        (["{out}", "--inception", "{tmp}/absent.safetensors"], "readable"),
        (["{tmp}"], "no picture"),
    ],
)
def test_what_cannot_be_measured_is_refused_first(
    folders: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    places = {"out": folders / "out", "maps": folders / "maps", "tmp": tmp_path}
    with pytest.raises(JogakError, match=said):
        jogak("eval", *(word.format(**places) for word in words))


def test_a_report_needs_a_run_and_a_known_ending(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"\.pdf nor \.html"):
        jogak("report", "last", "-o", tmp_path / "report.doc")
    with pytest.raises(JogakError, match="no run"):
        jogak("report", "last", "-o", tmp_path / "report.pdf")
