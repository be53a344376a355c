from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.PngImagePlugin import PngInfo

from jogak.spec import SpecError
from jogak.spec.picture_scores import EvalRequest
from jogak.store import Store
from jogak.studio.eval import GROUP, evaluate, find_pictures, plain_words, prepare
from tests.judge.drawings import copied, drawings

PROMPT = "a (red:1.3) fox, <lora:sk:0.8> [dawn:dusk:0.5]"
INFOTEXT = f"{PROMPT}\nSteps: 4, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 references, 6 other drawings of which one is a planted copy, control maps for two of them."""
    place = tmp_path_factory.mktemp("eval")
    pictures = drawings()
    for name in ("reference", "out/more", "maps"):
        (place / name).mkdir(parents=True)
    for i in range(12):
        PIL.Image.fromarray(pictures[i]).save(place / "reference" / f"{i:02}.png")
    for i in range(12, 17):
        text = PngInfo()
        text.add_text("parameters", INFOTEXT.replace("fox", f"fox {i}"))
        PIL.Image.fromarray(pictures[i]).save(place / "out" / f"{i}.png", pnginfo=text)
    PIL.Image.fromarray(copied(pictures[3], 0.06, 60, True)).save(
        place / "out" / "more" / "copy.jpg", quality=80
    )
    (place / "out" / "more" / "copy.txt").write_text("눈밭의 토끼", encoding="utf-8")
    return place


def asked(place: Path, **more) -> EvalRequest:
    return EvalRequest.parse({"folder": str(place / "out"), "reference": str(place / "reference")} | more)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_folder_is_scored_and_a_copy_is_found(folders: Path, store: Store) -> None:
    prepared = prepare(asked(folders), store)
    assert prepared.pictures.names == ("12.png", "13.png", "14.png", "15.png", "16.png", "more/copy.jpg")
    assert prepared.prompts[0] == "a red fox 12, dusk"
    assert prepared.prompts[5] == "눈밭의 토끼"
    made = evaluate(store, prepared)
    scores = made.scores
    assert (scores.pictures, scores.references) == (6, 12)
    assert scores.alarm is not None
    assert [(copy.picture, copy.reference) for copy in scores.alarm.copies] == [("more/copy.jpg", "03.png")]
    assert scores.alarm.copies[0].mirrored
    clip = scores.get("clip_score")
    assert clip is not None
    assert (clip.name, clip.n) == ("clip_score/pocket-judge", 6)
    written = type(scores).model_validate_json(made.document.path.read_text(encoding="utf-8"))
    assert written == scores
    assert str(folders) not in made.document.path.read_text(encoding="utf-8")
    assert store.run_record("last").status == "done"


def test_a_second_look_is_from_the_store_and_equal(folders: Path, store: Store) -> None:
    first = evaluate(store, prepare(asked(folders), store))
    again = evaluate(store, prepare(asked(folders), store))
    assert again.document.sha256 == first.document.sha256
    assert all(record.hit for record in store.run_record("last").records)


def test_pictures_stay_where_they_are(folders: Path, store: Store) -> None:
    before = {path: path.read_bytes() for path in folders.rglob("*") if path.is_file()}
    evaluate(store, prepare(asked(folders), store))
    assert {path: path.read_bytes() for path in folders.rglob("*") if path.is_file()} == before
    kept = {path.name[:64] for path in (store.root / "objects").rglob("*") if path.is_file()}
    assert not kept & {image.sha256 for image in find_pictures(folders / "out", 99).images}


def test_maps_are_held_against_the_pictures(folders: Path, store: Store) -> None:
    from jogak.adapters.maps import make_map

    for name in ("12", "13"):
        pixels = np.asarray(PIL.Image.open(folders / "out" / f"{name}.png").convert("RGB"))
        map_ = make_map("canny", pixels)
        PIL.Image.fromarray(np.roll(map_, 7, 1) if name == "13" else map_).save(
            folders / "maps" / f"{name}.png"
        )
    made = evaluate(store, prepare(asked(folders, maps={"canny": str(folders / "maps")}), store))
    by_name = {item.picture: item.get("edge_f1") for item in made.scores.items}
    kept, shifted = by_name["12.png"], by_name["13.png"]
    assert kept is not None
    assert shifted is not None
    assert kept.value == 1
    assert shifted.value < 0.8
    assert by_name["14.png"] is None
    assert [bar.name for bar in made.scores.bars if bar.part == "control"] == ["edge_f1"]
    pairs = [record.result for record in store.run_record("last").records if record.name == "kept_map"]
    assert {pair.picture for pair in pairs} == {"12.png", "13.png"}
    assert all(store.verify(handle) for pair in pairs for handle in (pair.wanted, pair.found, pair.shown))


def test_a_list_of_prompts_comes_first(folders: Path, store: Store, tmp_path: Path) -> None:
    listed = tmp_path / "prompts.tsv"
    listed.write_text("# FILE, tab, PROMPT\n12.png\ta blue cat\ncopy.jpg\ta rabbit\n", encoding="utf-8")
    prepared = prepare(asked(folders, prompts=str(listed)), store)
    assert prepared.prompts[0] == "a blue cat"
    assert prepared.prompts[5] == "a rabbit"
    assert prepared.prompts[1] == "a red fox 13, dusk"
    listed.write_text("12.png a blue cat\n", encoding="utf-8")
    with pytest.raises(SpecError, match="tab"):
        prepare(asked(folders, prompts=str(listed)), store)


def test_hostile_and_damaged_files_are_named_and_the_rest_is_scored(
    folders: Path, store: Store, tmp_path: Path
) -> None:
    place = tmp_path / "mixed"
    place.mkdir()
    good = (folders / "out" / "12.png").read_bytes()
    (place / "a.png").write_bytes(good)
    (place / "b.png").write_bytes((folders / "out" / "13.png").read_bytes())
    (place / "cut.png").write_bytes(good[: len(good) // 2])
    (place / "text.png").write_text("no picture")
    PIL.Image.new("1", (30_000, 30_000)).save(place / "bomb.png")
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(place / "moves.gif", save_all=True, append_images=frames[1:])
    (place / ".hidden.png").write_bytes(good)
    os.symlink(place, place / "loop")
    os.mkfifo(place / "pipe.png")
    PIL.Image.new("CMYK", (40, 30), (0, 90, 90, 0)).save(place / "ink.jpg")
    PIL.Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(place / "deep.png")
    PIL.Image.new("LA", (1, 1), (10, 0)).save(place / "dot.png")
    prepared = prepare(EvalRequest(folder=str(place)), store)
    assert prepared.pictures.names == ("a.png", "b.png", "cut.png", "deep.png", "dot.png", "ink.jpg")
    assert len(prepared.pictures.unreadable) == 3
    made = evaluate(store, prepared)
    assert made.scores.pictures == 5
    assert [item.picture for item in made.scores.items] == [
        "a.png",
        "b.png",
        "deep.png",
        "dot.png",
        "ink.jpg",
    ]
    notes = " ".join(made.scores.notes)
    for name in ("text.png", "bomb.png", "moves.gif", "cut.png"):
        assert name in notes


def test_a_picture_that_changed_meanwhile_is_not_scored(folders: Path, store: Store, tmp_path: Path) -> None:
    place = tmp_path / "changing"
    place.mkdir()
    for name in ("12.png", "13.png"):
        (place / name).write_bytes((folders / "out" / name).read_bytes())
    prepared = prepare(EvalRequest(folder=str(place)), store)
    (place / "12.png").write_bytes((folders / "out" / "14.png").read_bytes())
    made = evaluate(store, prepared)
    assert [item.picture for item in made.scores.items] == ["13.png"]
    assert "changed" in " ".join(made.scores.notes)


@pytest.mark.parametrize("what", ["absent", "empty", "many", "none readable"])
def test_folders_that_cannot_be_scored_are_refused_in_a_sentence(
    store: Store, tmp_path: Path, what: str
) -> None:
    place = tmp_path / "place"
    if what != "absent":
        place.mkdir()
    if what == "many":
        for i in range(4):
            PIL.Image.new("RGB", (8, 8)).save(place / f"{i}.png")
    if what == "none readable":
        (place / "a.png").write_text("no")
    with pytest.raises(SpecError) as caught:
        prepare(EvalRequest(folder=str(place), limit=3), store)
    assert "\n" not in str(caught.value)


def test_work_is_done_in_groups_so_that_little_is_lost(folders: Path, store: Store, tmp_path: Path) -> None:
    place = tmp_path / "many"
    place.mkdir()
    for i in range(GROUP + 3):
        PIL.Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(place / f"{i:03}.png")
    told: list[tuple[str, int, int]] = []
    made = evaluate(
        store, prepare(EvalRequest(folder=str(place)), store),
        on_progress=lambda one: told.append((one.step, one.done, one.total)),
    )  # fmt: skip
    assert made.scores.pictures == GROUP + 3
    assert ("looked", 1, 3) in told
    looked = [record for record in store.run_record("last").records if record.name == "looked"]
    assert [len(record.result.rows) for record in looked] == [GROUP, 3]


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("a fox", "a fox"),
        ("a ((red)) [fox]", "a red fox"),
        ("<lora:name:0.8> 눈밭의 (여우:1.4) <hypernet:x>", "눈밭의 여우"),
        ("day BREAK night", "day, night"),
        (r"a \(real\) bracket", "a (real) bracket"),
        ("[dawn:dusk:0.25] light", "dusk light"),
        ("<lora:x:1>", ""),
    ],
)  # fmt: skip
def test_prompts_as_sentences(prompt: str, plain: str) -> None:
    assert plain_words(prompt) == plain
