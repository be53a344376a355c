"""`jogak dataset check` and `jogak dataset make`, as a person calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts import App

from jogak.cli.dataset import dataset_app
from jogak.spec import SpecError
from jogak.spec.dataset import Dataset, DatasetReport, DatasetRequest
from tests.training.planted import digests, figure, plant


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Nothing here touches the user's cache."""


def jogak(*words: str | Path) -> None:
    app = App(result_action="return_value")
    app.command(dataset_app)
    app(["dataset", *(str(word) for word in words)], exit_on_error=False)


def test_importing_the_commands_imports_nothing_heavy() -> None:
    heavy = [
        "torch",
        "numpy",
        "PIL",
        "cv2",
        "openvino",
        "transformers",
        "jogak.store",
        "jogak.models",
        "rich.progress",
    ]
    code = f"import sys, jogak.cli.dataset; print([m for m in {heavy!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_the_doctor_needs_no_torch(tmp_path: Path) -> None:
    plant(tmp_path / "set", count=2)
    code = (
        "import sys; from pathlib import Path; from jogak.training.dataset_doctor import check_dataset; "
        f"check_dataset(Path({str(tmp_path / 'set')!r})); "
        "print([m for m in ('torch', 'transformers', 'diffusers', 'openvino') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("check", "make"):
        jogak(command, "--help")
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert f"jogak dataset {command} my-pictures" in shown
    for name in ("size", "step", "crop", "caption", "lang"):
        assert f"[default: {DatasetRequest.model_fields[name].default}]" in shown


def test_check_says_what_where_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plant(tmp_path / "set")
    jogak("check", folder, "--size", "256", "--lang", "en")
    assert capsys.readouterr().out == (
        f'{folder}: 12 pictures, trigger "sk_style"\n0 errors, 0 warnings. It can be trained on.\n'
    )
    (folder / "LICENSE.txt").unlink()
    jogak("check", folder, "--size", "256", "--lang", "ko")
    said = capsys.readouterr().out
    assert "! 그림을 누가 만들었고" in said
    assert "→ LICENSE.txt에" in said
    assert said.endswith("오류 0개, 경고 1개. 학습할 수 있습니다.\n"), "warnings do not fail"


def test_an_error_ends_with_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plant(tmp_path / "set")
    (folder / "p03.png").write_bytes(b"x")
    with pytest.raises(SystemExit) as ended:
        jogak("check", folder, "--size", "256", "--lang", "en")
    assert ended.value.code == 2
    said = " ".join(capsys.readouterr().out.split())  # the terminal decides where lines break
    assert "✗ A picture cannot be used: " in said
    assert said.endswith("1 errors, 0 warnings.")
    with pytest.raises(SystemExit) as ended:
        jogak("check", folder, "--size", "256", "--json")
    assert ended.value.code == 2
    report = DatasetReport.parse(json.loads(capsys.readouterr().out))
    assert report.errors == 1
    assert report.findings[0].files == ("p03.png",)
    with pytest.raises(SpecError, match="is no folder"):
        jogak("check", tmp_path / "absent")


def test_make_and_check_what_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plant(tmp_path / "pictures", count=10)
    figure(30).save(folder / "새 그림.png")
    before = digests(folder)
    out = tmp_path / "set"
    asked = [
        "--trigger",
        "sk_style",
        "--class",
        "puppet",
        "--size",
        "256",
        "--caption",
        "none",
        "--repeats",
        "4",
    ]
    jogak("make", folder, "-o", out, *asked, "--licence", "CC0, by me", "--dry-run")
    said = capsys.readouterr().out
    assert "새 그림.png  320×320+0+0 → 256×256  ×4  sk_style puppet\n" in said
    assert said.endswith(f"would write 11 pictures with captions into {out}; nothing was written\n")
    assert not out.exists()

    jogak("make", folder, "-o", out, *asked, "--licence", "CC0, by me")
    said = capsys.readouterr().out
    assert f"{out}  11 pictures (256×256: 11), made in " in said
    assert "captions: 10 kept, 1 of trigger word and class alone\n" in said
    assert digests(folder) == before
    data = Dataset.parse(json.loads((out / "dataset.json").read_text(encoding="utf-8")))
    assert {image.repeats for image in data.images} == {4}
    assert data.licence == "CC0, by me"
    assert (out / "LICENSE.txt").read_text(encoding="utf-8") == "CC0, by me\n"
    assert (out / "4_sk_style puppet" / "새 그림.txt").read_text(encoding="utf-8") == "sk_style puppet\n"
    jogak("check", out, "--size", "256", "--lang", "en")
    assert "0 errors" in capsys.readouterr().out
    with pytest.raises(SpecError, match="already holds something"):
        jogak("make", folder, "-o", out, *asked)


def test_what_is_asked_wrongly_is_said(tmp_path: Path) -> None:
    folder = plant(tmp_path / "pictures", count=1)
    out = tmp_path / "set"
    for words, said in (
        (["--trigger", "two words"], "trigger"),
        (["--trigger", "sk", "--size", "32"], "size"),
        (["--trigger", "sk", "--size", "64", "--step", "128"], "step 128 is larger than the size 64"),
        (["--trigger", "sk", "--caption", "none", "--caption-model", str(folder)], "leave one of them out"),
    ):
        with pytest.raises(SpecError, match=said):
            jogak("make", folder, "-o", out, *words)
    (folder / "p00.txt").unlink()
    with pytest.raises(
        SpecError, match="--caption blip needs its weights: give their folder with --caption-model"
    ):
        jogak("make", folder, "-o", out, "--trigger", "sk", "--caption", "blip")
    assert not out.exists()
