"""The doctor: a set without fault gets no finding, and each planted fault gets its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFilter
import PIL.ImageOps
import pytest

from jogak.spec import SpecError
from jogak.spec.dataset import DatasetReport, DatasetRequest
from jogak.training.dataset_doctor import check_dataset
from jogak.training.dataset_layout import Found
from jogak.training.dataset_make import make_dataset, plan_dataset
from jogak.training.dataset_words import WORDS, say
from tests.training.planted import figure, plant


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return plant(tmp_path / "set")


def check(folder: Path, **asked: object) -> DatasetReport:
    return check_dataset(folder, **({"size": 256, "lang": "en"} | asked))  # type: ignore[arg-type]


def names(report: DatasetReport) -> dict[str, tuple[str, ...]]:
    return {finding.name: finding.files for finding in report.findings}


def test_a_set_without_fault_gets_no_finding(good: Path) -> None:
    report = check(good)
    assert names(report) == {}
    assert report.trigger == "sk_style", "found in the captions"
    assert len(report.pictures) == 12
    assert report.errors == 0


def _edit(name: str, change: Callable[[PIL.Image.Image], PIL.Image.Image]) -> Callable[[Path], None]:
    def plan(folder: Path) -> None:
        change(PIL.Image.open(folder / name)).save(folder / name)

    return plan


def _write(name: str, text: str | bytes) -> Callable[[Path], None]:
    return lambda folder: (
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode()) and None
    )


def _all_captions(change: Callable[[str], str]) -> Callable[[Path], None]:
    def plan(folder: Path) -> None:
        for path in folder.glob("p*.txt"):
            path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return plan


def _copy(
    source: str, target: str, change: Callable[[PIL.Image.Image], PIL.Image.Image]
) -> Callable[[Path], None]:
    def plan(folder: Path) -> None:
        change(PIL.Image.open(folder / source)).save(folder / target)
        (folder / target).with_suffix(".txt").write_text("sk_style, another one", encoding="utf-8")

    return plan


def _keep(count: int) -> Callable[[Path], None]:
    def plan(folder: Path) -> None:
        for path in sorted(folder.glob("p*"))[2 * count :]:
            path.unlink()

    return plan


def _remove_captions(folder: Path) -> None:
    for path in folder.glob("p*.txt"):
        path.unlink()


PLANTS: dict[str, tuple[Callable[[Path], object], str, str, tuple[str, ...] | None]] = {
    "few": (_keep(4), "few", "warning", ()),
    "one": (_keep(1), "one", "warning", ("p00.png",)),
    "small": (_edit("p01.png", lambda p: p.resize((100, 100))), "small", "warning", ("p01.png",)),
    "tiny": (_edit("p01.png", lambda p: p.resize((1, 1))), "tiny", "error", ("p01.png",)),
    "long": (_edit("p01.png", lambda p: p.resize((2500, 200))), "long_picture", "warning", ("p01.png",)),
    "blurred": (
        _edit("p02.png", lambda p: p.filter(PIL.ImageFilter.GaussianBlur(3.5))), "blurred", "warning", ("p02.png",),
    ),
    "enlarged": (
        _edit("p02.png", lambda p: p.resize((64, 64)).resize((512, 512), PIL.Image.Resampling.BICUBIC)),
        "blurred", "warning", ("p02.png",),
    ),
    "blank": (_edit("p03.png", lambda p: PIL.Image.new("RGB", p.size, "navy")), "blank", "error", ("p03.png",)),
    "identical": (
        lambda f: shutil.copy(f / "p04.png", f / "q.png") and _write("q.txt", "sk_style, other")(f),
        "identical", "warning", ("p04.png", "q.png"),
    ),
    "saved again": (_copy("p04.png", "q.jpg", lambda p: p), "near_duplicate", "warning", ("p04.png", "q.jpg")),
    "shrunk and cut": (
        _copy("p04.png", "q.png", lambda p: PIL.ImageOps.crop(p, 6).resize((270, 270))),
        "near_duplicate", "warning", ("p04.png", "q.png"),
    ),
    "darker": (
        _copy("p04.png", "q.png", lambda p: p.point(lambda v: int(v * 0.9))),
        "near_duplicate", "warning", ("p04.png", "q.png"),
    ),
    "mirrored": (_copy("p04.png", "q.png", PIL.ImageOps.mirror), "mirrored", "note", ("p04.png", "q.png")),
    "no captions": (_remove_captions, "no_captions", "warning", ()),
    "some captions": (lambda f: (f / "p05.txt").unlink(), "without_caption", "warning", ("p05.png",)),
    "empty": (_write("p05.txt", " \n\n"), "empty_caption", "warning", ("p05.png",)),
    "same": (_all_captions(lambda _: "sk_style, it sits"), "same_captions", "warning", None),
    "lines": (_write("p05.txt", "sk_style, it runs\nand sits"), "several_lines", "warning", ("p05.png",)),
    "long caption": (_write("p05.txt", "sk_style, " + "more, " * 60), "long_caption", "warning", ("p05.png",)),
    "cp949": (_write("p05.txt", "sk_style, 초원의 여우".encode("cp949")), "bad_caption", "error", ("p05.png",)),
    "utf-16": (_write("p05.txt", "sk_style, a fox".encode("utf-16")), "bad_caption", "error", ("p05.png",)),
    "nul": (_write("p05.txt", "sk_style\0, a fox"), "bad_caption", "error", ("p05.png",)),
    "leak": (_all_captions(lambda t: f"{t}, red scarf"), "leakage", "warning", ()),
    "korean leak": (_all_captions(lambda t: f"{t}, 빨간 목도리를 두른"), "leakage", "warning", ()),
    "trigger missing": (_write("p05.txt", "it runs"), "trigger_missing", "warning", ("p05.png",)),
    "trigger last": (_write("p05.txt", "it runs, sk_style"), "trigger_not_first", "note", ("p05.png",)),
    "no trigger": (
        _all_captions(lambda t: " ".join(reversed(t.removeprefix("sk_style, ").split()))), "no_trigger", "warning", (),
    ),
    "real word": (_all_captions(lambda t: t.replace("sk_style", "fox")), "trigger_is_word", "warning", ()),
    "korean word": (_all_captions(lambda t: t.replace("sk_style", "여우")), "trigger_is_word", "warning", ()),
    "no licence": (lambda f: (f / "LICENSE.txt").unlink(), "no_licence", "warning", ()),
    "not a picture": (_write("p06.png", "hello"), "unreadable", "error", ("p06.png",)),
    "cut short": (lambda f: os.truncate(f / "p06.png", 900), "unreadable", "error", ("p06.png",)),
    "heic": (_write("p06.heic", "x"), "unread_format", "error", ("p06.heic",)),
    "no such number": (lambda f: _group(f, "0_x"), "bad_folder_name", "error", ("0_x",)),
    "loose": (lambda f: _group(f, "10_sk_style"), "loose_pictures", "error", None),
    "skipped": (lambda f: _group(f, "more"), "folder_skipped", "error", ("more",)),
    "alone": (_write("nobody.txt", "sk_style, it waits"), "caption_alone", "warning", ("nobody.txt",)),
    "two captions": (_write("p05.caption", "sk_style"), "two_captions", "warning", ("p05.txt", "p05.caption")),
    "same stem": (lambda f: figure(77).save(f / "p05.jpg"), "same_stem", "warning", ("p05.jpg", "p05.png")),
    "link out": (lambda f: (f / "l.png").symlink_to("/etc/hostname"), "link_outside", "error", ("l.png",)),
    "dead link": (lambda f: (f / "l.png").symlink_to("nowhere.png"), "link_outside", "error", ("l.png",)),
    "folder link": (lambda f: (f / "10_l").symlink_to(f), "link_folder", "error", ("10_l",)),
    "pipe": (lambda f: os.mkfifo(f / "pipe.png"), "not_a_file", "error", ("pipe.png",)),
    "caption pipe": (lambda f: os.mkfifo(f / "pipe.txt"), "not_a_file", "error", ("pipe.txt",)),
    "odd name": (lambda f: figure(5).save(os.fsencode(f) + b"/\xff\xfe.png", "PNG"), "bad_name", "error", None),
    "line in name": (lambda f: figure(5).save(f / "a\nb.png"), "bad_name", "error", ("a�b.png",)),
    "broken record": (_write("dataset.json", "{"), "bad_dataset_file", "error", ("dataset.json",)),
}  # fmt: skip


def _group(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    figure(50).save(folder / name / "x.png")


@pytest.mark.parametrize("plan", PLANTS, ids=str)
def test_each_planted_fault_is_found(good: Path, plan: str) -> None:
    action, name, severity, files = PLANTS[plan]
    action(good)
    report = check(good)
    found = [finding for finding in report.findings if finding.name == name]
    assert found, f"only {list(names(report))}"
    assert found[0].severity == severity
    if files is not None:
        assert sorted(found[0].files) == sorted(files)
    assert (report.errors > 0) == any(one.severity == "error" for one in report.findings)
    assert not (name == "bad_caption" and "without_caption" in names(report)), "said once"
    korean = check(good, lang="ko")
    assert [one.name for one in korean.findings] == [one.name for one in report.findings]
    for one in korean.findings:
        assert any("가" <= sign <= "힣" for sign in one.what), "Korean is said in Korean"
        assert any("가" <= sign <= "힣" for sign in one.todo)


def test_every_finding_has_its_words_and_is_planted_or_tested_below() -> None:
    tested = {name for _, name, _, _ in PLANTS.values()} | {
        "backgrounds_alike", "poses_alike", "framing_alike", "no_pictures", "empty_folder", "too_many",
        "folder_without_number", "changed", "not_in_set", "trigger_not_usable",
    }  # fmt: skip
    assert tested == set(WORDS)


def test_backgrounds_alike_unless_the_captions_name_them(tmp_path: Path) -> None:
    folder = plant(tmp_path / "white", background="white")
    found = {one.name: one for one in check(folder).findings}
    assert found["backgrounds_alike"].facts["count"] == 12
    assert "white background" in found["backgrounds_alike"].todo
    _all_captions(lambda text: f"{text}, white background")(folder)
    assert names(check(folder)) == {}, "named they are no fault, and not a leak either"


def test_one_room_for_all_is_a_background_alike(tmp_path: Path) -> None:
    folder = plant(tmp_path / "room", background="white")
    rng = np.random.default_rng(1)
    room = rng.integers(0, 256, (10, 10, 3)).astype(np.uint8)
    for path in folder.glob("*.png"):
        wall = PIL.Image.fromarray(room).resize((320, 320), PIL.Image.Resampling.BICUBIC)
        figure_ = PIL.Image.open(path)
        wall.paste(figure_, mask=figure_.convert("L").point(lambda v: 255 if v < 200 else 0))
        wall.save(path)
    assert "backgrounds_alike" in names(check(folder))


def test_one_pose_is_found_and_many_poses_at_one_place_are_called_framing(tmp_path: Path) -> None:
    posed, framed = tmp_path / "posed", tmp_path / "framed"
    plant(posed, background="white")
    plant(framed, background="white", at=(0.5, 0.5, 0.6))
    for i, path in enumerate(sorted(posed.glob("*.png"))):
        drawn = np.asarray(figure(i, background="white", pose=3, at=(0.5 + 0.003 * (i % 3), 0.5, 0.6)))
        clothes = np.random.default_rng(i).integers(0, 200, 3)
        painted = np.where((drawn > 240).all(2, keepdims=True), 255, (drawn // 4 + clothes).clip(0, 230))
        PIL.Image.fromarray(painted.astype(np.uint8)).save(path)
    assert "poses_alike" in names(check(posed))
    assert "framing_alike" in names(check(framed))
    assert "poses_alike" not in names(check(framed))


def test_korean_sets_are_read_as_well_as_english_ones(good: Path) -> None:
    verbs = ("달린다", "앉아 있다", "뛴다", "손을 흔든다", "잔다")
    for i, path in enumerate(sorted(good.glob("p*.txt"))):
        path.write_text(f"sk_style, 인형이 {verbs[i % 5]}, {i}번", encoding="utf-8")
    found = {one.name: one for one in check_dataset(good, size=256).findings}
    assert set(found) == {"leakage"}
    assert found["leakage"].facts["word"] == "인형", "without its particle"
    assert names(check(good, class_name="인형")) == {}, "what it is may be in every caption"


def test_auto_is_the_terminals_language_or_the_captions(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert check(good, lang="auto").lang == "en"
    _all_captions(lambda text: "sk_style, 초원에서 달리는 인형")(good)
    assert check(good, lang="auto").lang == "ko"
    _all_captions(lambda text: "sk_style, it runs")(good)
    monkeypatch.setenv("LANG", "ko_KR.UTF-8")
    assert check(good, lang="auto").lang == "ko"


def test_a_trigger_that_is_asked_for_and_missing_is_an_error(good: Path) -> None:
    report = check(good, trigger="zz_hero")
    assert {one.name: one.severity for one in report.findings}["trigger_missing"] == "error"
    report = check(good, trigger="(zz:1.2)")
    assert {one.name: one.severity for one in report.findings}["trigger_not_usable"] == "error"


def test_a_made_set_is_held_against_its_record(good: Path, tmp_path: Path) -> None:
    request = DatasetRequest(trigger="sk_style", class_name="puppet", size=128, caption="none")
    made = tmp_path / "made"
    make_dataset(plan_dataset(good, request), made)
    report = check(made, size=128)
    assert names(report) == {}
    assert report.trigger == "sk_style"
    folder = made / "10_sk_style puppet"
    figure(99).save(folder / "p03.png")
    figure(98).save(folder / "new.png")
    (folder / "p04.png").unlink()
    found = names(check(made, size=128))
    assert found["changed"] == ("10_sk_style puppet/p03.png", "10_sk_style puppet/p04.png")
    assert found["not_in_set"] == ("10_sk_style puppet/new.png",)


def test_kohyas_layout_gives_trigger_and_class(tmp_path: Path) -> None:
    plant(tmp_path / "set" / "5_sk_style puppet")
    report = check(tmp_path / "set")
    assert names(report) == {}
    assert report.trigger == "sk_style"
    assert report.pictures[0].file == "5_sk_style puppet/p00.png"
    _all_captions(lambda text: f"{text}, a puppet")(tmp_path / "set" / "5_sk_style puppet")
    assert names(check(tmp_path / "set")) == {}, "the class that the folder names is no leak"
    (tmp_path / "set" / "3_more").mkdir()
    (tmp_path / "set" / "other").mkdir()
    figure(3).save(tmp_path / "set" / "other" / "x.png")
    found = names(check(tmp_path / "set"))
    assert found["empty_folder"] == ("3_more",)
    assert found["folder_without_number"] == ("other",)


def test_hangul_in_pieces_finds_its_caption(tmp_path: Path) -> None:
    """macOS writes names decomposed, other systems composed."""
    folder = plant(tmp_path / "set")
    (folder / "p00.png").rename(folder / "인형.png")
    (folder / "p00.txt").rename(folder / "인형.txt")
    assert names(check(folder)) == {}


def test_empty_absent_and_too_large_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    assert names(check(tmp_path / "empty")) == {"no_pictures": ()}
    with pytest.raises(SpecError, match="is no folder"):
        check(tmp_path / "absent")
    folder = plant(tmp_path / "set")
    monkeypatch.setattr("jogak.training.dataset_layout.MAX_PICTURES", 3)
    assert names(check(folder))["too_many"] == ()
    monkeypatch.setattr("jogak.training.dataset_layout.MAX_ENTRIES", 5)
    with pytest.raises(SpecError, match="holds more than 5 files"):
        check(folder)


def test_findings_are_plain_json(good: Path) -> None:
    (good / "p06.png").write_bytes(b"x")
    data = json.loads(check(good).to_json())
    assert data["findings"][0]["severity"] == "error"
    assert data["pictures"][0]["width"] == 320


def test_words_have_the_same_facts_in_both_languages() -> None:
    facts = {
        "count": 3, "of": 4, "most": 5, "least": 6, "size": 7, "factor": "8", "share": 9, "blur": 1.5, "reason": "r",
        "reason_ko": "이유", "example": "e", "overlap": 70, "caption": "c", "word": "w", "trigger": "t", "means": "m",
        "better": "b",
    }  # fmt: skip
    for name in WORDS:
        for lang in ("en", "ko"):
            finding = say(Found(name, "note", (), dict(facts)), lang)
            assert "{" not in finding.what + finding.todo
            assert finding.what.endswith((".", "”", '"', "r", "이유"))
            assert finding.todo.endswith(".")
