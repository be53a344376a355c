"""Making a data set, and reading it (or any folder) back for training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from jogak.spec import JogakError, SpecError
from jogak.spec.dataset import Dataset, DatasetRequest
from jogak.store import Progress
from jogak.training.dataset import read_dataset, read_dataset_file, read_pixels
from jogak.training.dataset_make import make_dataset, plan_dataset
from tests.models.tiny_onnx import write_tagger
from tests.training.planted import digests, figure, plant

NAME = "10_sk_style puppet"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    folder = plant(tmp_path / "originals", count=5)
    figure(20, (500, 300)).save(folder / "wide.png")
    return folder


def request(**given: object) -> DatasetRequest:
    data = {"trigger": "sk_style", "class_name": "puppet", "size": 128, "caption": "none"} | given
    return DatasetRequest.parse(data)


def make(folder: Path, output: Path, **given: object) -> Dataset:
    return make_dataset(plan_dataset(folder, request(**given)), output)


def test_a_set_is_made_and_the_originals_stay_as_they_are(originals: Path, tmp_path: Path) -> None:
    before = digests(originals)
    told: list[Progress] = []
    plan = plan_dataset(originals, request(), on_progress=told.append)
    data = make_dataset(plan, tmp_path / "new" / "set", on_progress=told.append)
    assert digests(originals) == before, "content and time of change"
    output = tmp_path / "new" / "set"
    assert sorted(path.name for path in output.iterdir()) == [
        NAME,
        "LICENSE.txt",
        "contact.jpg",
        "dataset.json",
    ]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["set"], "nothing is left beside it"
    assert len(told) == 12
    assert told[-1].done == told[-1].total == 6

    assert read_dataset_file(output / "dataset.json") == data
    assert data.licence == "CC0, drawn by a test"
    assert data.made_with == request()
    assert data.buckets == {(128, 128): 5, (192, 64): 1} or sum(data.buckets.values()) == 6
    for image in data.images:
        file = output / image.file
        assert PIL.Image.open(file).size == (image.width, image.height)
        assert file.with_suffix(".txt").read_text(encoding="utf-8") == image.caption + "\n"
        assert image.caption.startswith("sk_style puppet")
        assert image.source_sha256 is not None
        assert image.repeats == 10
    assert data.images[0].caption == "sk_style puppet, it runs in the meadow", "its own caption is kept"
    assert data.images[0].caption_by == "file"
    assert data.images[5].caption == "sk_style puppet"
    assert data.images[5].caption_by == "none"
    sheet = PIL.Image.open(output / "contact.jpg")
    assert sheet.width > 1000
    assert np.asarray(sheet).std() > 20


def test_made_pictures_are_what_the_record_says_was_cut(originals: Path, tmp_path: Path) -> None:
    data = make(originals, tmp_path / "set")
    for image in data.images:
        assert image.source_crop is not None
        cut = PIL.Image.open(originals / image.source).convert("RGB").resize(
            (image.width, image.height), PIL.Image.Resampling.LANCZOS, box=image.source_crop
        )  # fmt: skip
        assert np.array_equal(read_pixels(tmp_path / "set", image), np.asarray(cut))


def test_what_was_made_is_read_back(originals: Path, tmp_path: Path) -> None:
    data = make(originals, tmp_path / "set")
    assert read_dataset(tmp_path / "set", 128) == data
    again = read_dataset(tmp_path / "set", 64, 8)
    assert {(image.width, image.height) for image in again.images} != set(data.buckets)
    assert all(image.width * image.height <= 64 * 64 for image in again.images), "put into buckets again"

    text = tmp_path / "set" / data.images[0].file
    text.with_suffix(".txt").write_text("sk_style, 새로 쓴 캡션", encoding="utf-8")
    edited = read_dataset(tmp_path / "set", 128).images[0]
    assert edited.caption == "sk_style, 새로 쓴 캡션", "what a person writes beside the picture counts"
    assert edited.caption_by == "file"

    figure(9).save(tmp_path / "set" / NAME / "added.png")
    with pytest.raises(SpecError, match=r"added after dataset.json .*added\.png"):
        read_dataset(tmp_path / "set", 128)
    (tmp_path / "set" / NAME / "added.png").unlink()
    figure(9).save(text)
    with pytest.raises(SpecError, match=r"is not the picture that dataset\.json names"):
        read_dataset(tmp_path / "set", 128)


def test_folders_without_a_record_are_read_as_they_lie(tmp_path: Path) -> None:
    plant(tmp_path / "kohya" / "3_sk_style puppet", count=4)
    plant(tmp_path / "kohya" / "7_sk_style puppet", count=2)
    figure(8).save(tmp_path / "kohya" / "7_sk_style puppet" / "uncaptioned.png")
    before = digests(tmp_path / "kohya")
    data = read_dataset(tmp_path / "kohya", 128)
    assert digests(tmp_path / "kohya") == before
    assert (data.trigger, data.class_name) == ("sk_style", "puppet")
    assert [image.repeats for image in data.images] == [3, 3, 3, 3, 7, 7, 7]
    assert data.images[-1].caption == "sk_style puppet", "as kohya does"
    assert data.made_with is None
    assert read_pixels(tmp_path / "kohya", data.images[0]).shape == (128, 128, 3)

    flat = plant(tmp_path / "flat", count=4)
    assert read_dataset(flat, 128).trigger == "sk_style"
    (flat / "p00.png").write_bytes(b"x")
    with pytest.raises(SpecError, match=r"p00\.png is not a picture"):
        read_dataset(flat, 128)


def test_repeats_of_folders_are_kept_unless_others_are_asked_for(tmp_path: Path) -> None:
    plant(tmp_path / "in" / "3_sk_style fox", count=2)
    plant(tmp_path / "in" / "8_sk_style fox", count=2)
    kept = make(tmp_path / "in", tmp_path / "kept", class_name="")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir() if p.is_dir()) == [
        "3_sk_style fox",
        "8_sk_style fox",
    ]
    assert [image.repeats for image in kept.images] == [3, 3, 8, 8]
    assert kept.class_name == "fox", "as the folders say"
    other = make(tmp_path / "in", tmp_path / "other", repeats=5)
    files = [Path(image.file).name for image in other.images]
    assert files == ["p00.png", "p01.png", "p00-2.png", "p01-2.png"], "of equal names none is lost"
    assert {image.repeats for image in other.images} == {5}


def test_masks_go_along_and_transparency_becomes_one(tmp_path: Path) -> None:
    folder = plant(tmp_path / "in", count=2)
    mask = np.zeros((320, 320), np.uint8)
    mask[:, 160:] = 255
    PIL.Image.fromarray(mask).save(folder / "p00-masklabel.png")
    see_through = figure(1).convert("RGBA")
    see_through.putalpha(PIL.Image.fromarray(mask))
    see_through.save(folder / "p01.png")
    data = make(folder, tmp_path / "set", crop="center")
    assert len(data.images) == 2, "a mask is no picture"
    for name in ("p00", "p01"):
        made = np.asarray(PIL.Image.open(tmp_path / "set" / NAME / f"{name}-masklabel.png"))
        assert made.shape == (128, 128)
        assert made[:, :60].max() == 0
        assert made[:, 68:].min() == 255
    assert read_dataset(tmp_path / "set", 128) == data
    PIL.Image.new("L", (10, 10)).save(folder / "p00-masklabel.png")
    with pytest.raises(SpecError, match="make the mask as large as the picture"):
        make(folder, tmp_path / "other")


def test_turned_alpha_cmyk_and_16_bit_pictures_become_upright_rgb(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    figure(1, (300, 200), "white", at=(0.8, 0.5, 0.6)).save(folder / "turned.jpg", exif=exif, quality=95)
    figure(2).convert("CMYK").save(folder / "cmyk.jpg")
    grey = np.asarray(figure(3).convert("L")).astype(np.uint16) * 257
    PIL.Image.fromarray(grey).save(folder / "grey.png")
    data = make(folder, tmp_path / "set", crop="none")
    sizes = {image.source: (image.width, image.height) for image in data.images}
    assert sizes["turned.jpg"][0] < sizes["turned.jpg"][1], "upright"
    for image in data.images:
        assert PIL.Image.open(tmp_path / "set" / image.file).mode == "RGB"
    seen = read_pixels(tmp_path / "set", next(image for image in data.images if image.source == "grey.png"))
    assert 30 < seen.mean() < 250, "16 bits are scaled, not clipped"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "p01.png").write_bytes(b"x"), r"p01\.png is not a picture"),
        (lambda f: figure(1, (10, 10)).save(f / "p01.png"), r"p01\.png has 10×10 pixels; no side may be below 64"),
        (lambda f: (f / "p01.txt").write_bytes("여우다".encode("cp949")), r"p01\.txt is not UTF-8 .*CP949"),
        (lambda f: (f / "p01.txt").write_text("x" * 1995), r"p01\.png: caption: .*at most 2000"),
        (lambda f: (f / "l.png").symlink_to("/etc/hostname"), r"lead out of the folder.*l\.png"),
        (lambda f: (f / "more").mkdir() or figure(1).save(f / "more" / "x.png"), r"would be skipped\. \(more\)"),
        (lambda f: (f / "x.heic").write_bytes(b"x"), r"format that is not read.*x\.heic"),
        (lambda f: [path.unlink() for path in f.glob("*.png")], "no picture in the folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_stops_it_before_anything_is_written(
    originals: Path, tmp_path: Path, spoil: object, said: str
) -> None:
    spoil(originals)  # type: ignore[operator]
    with pytest.raises(SpecError, match=said):
        make(originals, tmp_path / "out" / "set")
    assert not (tmp_path / "out").exists()


def test_one_picture_is_enough_and_a_long_one_is_cut(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    figure(1, (5000, 70)).save(folder / "long.png")
    assert len(make(folder, tmp_path / "set").images) == 1
    with pytest.raises(SpecError, match=r"long\.png: a picture of 5000×70 is too long to be trained whole"):
        make(folder, tmp_path / "whole", crop="none")


def test_where_a_set_cannot_go(originals: Path, tmp_path: Path) -> None:
    plan = plan_dataset(originals, request())
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpecError, match="is a file; name a new folder"):
        make_dataset(plan, tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(SpecError, match="already holds something"):
        make_dataset(plan, tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    for inside in (originals, originals / "set"):
        with pytest.raises(SpecError, match=r"lies among the originals|already holds something"):
            make_dataset(plan, inside)
    (tmp_path / "link").symlink_to(originals)
    with pytest.raises(SpecError, match="lies among the originals"):
        make_dataset(plan, tmp_path / "link" / "set")
    (tmp_path / "empty").mkdir()
    make_dataset(plan, tmp_path / "empty")
    assert (tmp_path / "empty" / "dataset.json").is_file(), "an empty folder may be filled"


def test_a_failure_half_way_leaves_nothing(originals: Path, tmp_path: Path) -> None:
    plan = plan_dataset(originals, request())
    figure(44).save(originals / "p03.png")
    with pytest.raises(SpecError, match=r"p03\.png changed while the data set was made"):
        make_dataset(plan, tmp_path / "out" / "set")
    assert list((tmp_path / "out").iterdir()) == []

    def stop(told: Progress) -> None:
        if told.done == 3:
            raise KeyboardInterrupt

    plan = plan_dataset(originals, request())
    with pytest.raises(KeyboardInterrupt):
        make_dataset(plan, tmp_path / "out" / "set", on_progress=stop)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(
    os.geteuid() == 0 and not os.path.exists("/dev/full"), reason="needs a place that refuses"
)
def test_a_place_that_cannot_be_written_is_named(originals: Path) -> None:
    plan = plan_dataset(originals, request())
    with pytest.raises(JogakError, match=r"could not be written .*choose another place"):
        make_dataset(plan, Path("/proc/nowhere/set"))


KILLED = """
import sys, time
from pathlib import Path
from jogak.spec.dataset import DatasetRequest
from jogak.training.dataset_make import make_dataset, plan_dataset
def slow(told):
    if told.done == int(sys.argv[3]):
        print("now", flush=True)
        time.sleep(60)
request = DatasetRequest(trigger="sk_style", class_name="puppet", size=128, caption="none")
plan = plan_dataset(Path(sys.argv[1]), request)
make_dataset(plan, Path(sys.argv[2]), on_progress=slow)
"""


def test_a_kill_leaves_no_half_written_set_and_the_next_run_sweeps(originals: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "a [set]*"
    command = [sys.executable, "-c", KILLED, str(originals), str(output)]
    for at in (1, 6):
        with subprocess.Popen([*command, str(at)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "now\n"
            child.send_signal(signal.SIGKILL)
        assert not output.exists()
        left = list(output.parent.iterdir())
        assert len(left) == 1, "what the kill left; the one before was swept"
        assert left[0].name.startswith(".a [set]*.")
    make(originals, output)
    assert [p.name for p in output.parent.iterdir()] == [output.name]
    assert json.loads((output / "dataset.json").read_text(encoding="utf-8"))["trigger"] == "sk_style"


def test_two_at_once_do_not_tread_on_each_other(originals: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "set"
    command = [sys.executable, "-c", KILLED, str(originals), str(output), "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        begun = time.perf_counter()
        with pytest.raises(SpecError, match="another jogak dataset make is writing"):
            make(originals, output)
        assert time.perf_counter() - begun < 10
        child.kill()


def test_pockets_tagger_writes_only_what_is_missing(tmp_path: Path) -> None:
    folder = plant(tmp_path / "in", count=3, background="white")
    (folder / "p01.txt").unlink()
    (folder / "p02.txt").write_text("\n")
    english = make(folder, tmp_path / "en", caption="pocket")
    assert [image.caption_by for image in english.images] == ["file", "pocket", "pocket"]
    assert english.images[1].caption == "sk_style puppet, white background"
    known = make(folder, tmp_path / "ko", caption="pocket", lang="ko", class_name="fox")
    assert known.images[1].caption == "sk_style, 하얀 배경의 여우", "the class is the sentence's subject"


def test_blip_and_wd14_ask_for_their_folder(originals: Path, tmp_path: Path) -> None:
    for caption in ("blip", "wd14"):
        with pytest.raises(SpecError, match=f"--caption {caption} needs its weights: give their folder"):
            plan_dataset(originals, request(caption=caption))


def test_tags_that_all_pictures_share_are_left_to_the_trigger_word(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(6):
        PIL.Image.new("RGB", (80, 80), ["red", "blue"][i % 2]).save(folder / f"{i}.png")
    tags = [
        ("fluffy", "0"),
        ("white_background", "0"),
        ("red_scarf", "0"),
        ("blue_sky", "0"),
        ("a_hero", "4"),
    ]
    weights = np.zeros((3, 5), np.float32)
    weights[2, 2], weights[0, 3] = 0.1, 0.1
    model = write_tagger(tmp_path / "wd", tags, weights, np.array([2, 2, -12, -12, 5], np.float32), side=64)
    plan = plan_dataset(folder, request(caption="wd14", class_name=""), model=model)
    data = make_dataset(plan, tmp_path / "set")
    assert [image.caption for image in data.images[:2]] == [
        "sk_style, red scarf, white background", "sk_style, blue sky, white background",
    ]  # fmt: skip
    assert data.images[0].caption_by == "wd14"
    assert "fluffy" in data.notes[0], "and it is said what was left out"


def test_names_that_meet_or_mislead_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    figure(1).save(folder / "A.png")
    figure(2).save(folder / "a.jpg")
    figure(3).save(folder / "a-masklabel.jpg")
    figure(4).save(folder / f"{'가' * 80}.png")
    data = make(folder, tmp_path / "set")
    names = [Path(image.file).name for image in data.images]
    assert names[:3] == ["A.png", "a-masklabel_.png", "a-2.png"]
    assert len(names[3].encode()) < 220
    assert read_dataset(tmp_path / "set", 128) == data


def test_a_trigger_must_be_one_word_that_prompts_can_carry() -> None:
    for bad in ("", "two words", "a,b", "<lora:x>", "(x)", "a/b", "x" * 41, "a*"):
        with pytest.raises(SpecError, match="trigger"):
            request(trigger=bad)
    assert request(trigger="나만의_인형").trigger == "나만의_인형"


def test_a_record_cannot_lead_out_of_its_folder(originals: Path, tmp_path: Path) -> None:
    make(originals, tmp_path / "set")
    file = tmp_path / "set" / "dataset.json"
    text = file.read_text(encoding="utf-8")
    for bad in ("../../originals/p00.png", "/etc/hostname", f"{NAME}/./p00.png", "a\\\\b.png"):
        file.write_text(text.replace(f"{NAME}/p00.png", bad), encoding="utf-8")
        with pytest.raises(SpecError, match="leaves the data set's folder"):
            read_dataset(tmp_path / "set", 128)
    file.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(SpecError, match="not readable as JSON"):
        read_dataset(tmp_path / "set", 128)
