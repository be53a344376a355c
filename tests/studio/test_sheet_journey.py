"""The sheet from its YAML to the page, on tiny models: what steers, what does not, what is drawn again, what is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from jogak.adapters.kohya import write_kohya
from jogak.adapters.poses import pose_points
from jogak.image.infotext import read_recipe
from jogak.image.steer import adapter_ref, named_pose
from jogak.models import load, resolve
from jogak.report.picture_facts import gather, read_scores
from jogak.spec import Image, SpecError
from jogak.spec.sheet import SheetRequest
from jogak.store import Cancelled, Progress, Store
from jogak.studio import sheet_judge
from jogak.studio.sheet import Sheet, deliver, make_sheet
from jogak.studio.sheet_judge import joints_kept
from jogak.studio.sheet_plan import Prepared, drawings, prepare, seconds_each
from tests.judge.drawings import drawings as some_drawings
from tests.lora_layouts import layers, peft_factors
from tests.tiny_adapters import a_controlnet, save_adapter, save_tower
from tests.tiny_keypoints import ship_keypoints, write_keypoints
from tests.tiny_models import make_pocket_like


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tiny model, a LoRA, reference pictures, a tone picture, a pose map, a ControlNet, an IP-Adapter."""
    folder = tmp_path_factory.mktemp("sheet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOGAK_HOME", str(folder / "home"))
        patch.setenv("JOGAK_THREADS", "1")
        ship_keypoints(patch, folder / "none")
        ref = resolve(make_pocket_like(folder / "tiny"), backend="torch")
        shapes = dict(layers(load(ref).networks.unet_module))
        some = {name: shape for name, shape in shapes.items() if name.endswith((".to_q", ".to_v"))}
        write_kohya(folder / "hana.safetensors", peft_factors(some), {}, {}, 4.0, dtype=None)
        (folder / "set").mkdir()
        for i, pixels in enumerate(some_drawings()[:6]):
            PIL.Image.fromarray(pixels).save(folder / "set" / f"{i}.png")
        PIL.Image.fromarray(some_drawings()[9]).save(folder / "set" / "contact.jpg")
        PIL.Image.fromarray(some_drawings()[7]).save(folder / "tone.png")
        pose = np.zeros((64, 64, 3), np.uint8)
        pose[10:50, 30:34] = 255
        PIL.Image.fromarray(pose).save(folder / "pose.png")
        a_controlnet(ref).save_pretrained(folder / "control")
        save_tower(folder / "ip" / "image_encoder")
        save_adapter(folder / "ip" / "ip.safetensors", ref)
        yield folder


def asked(place: Path, character: dict[str, Any] | None = None, **changes: Any) -> SheetRequest:
    who = {
        "name": "Hana", "trigger": "sks_girl", "loras": [{"name": "hana.safetensors", "weight": 0.8}],
        "references": ["set"], "model": str(place / "tiny"), "width": 64, "height": 64, "steps": 2, "seed": 5,
    }  # fmt: skip
    panels = [
        {"pose": "waving", "scene": "in a meadow by day", "caption": "Hi!"},
        {"pose": "달리기", "scene": "on a beach at sunset"},
        {"pose": "pose.png", "action": "reading", "scene": "in a room"},
    ]
    return SheetRequest.parse({"character": who | (character or {}), "panels": panels, "tries": 2} | changes)


@pytest.fixture(scope="module")
def prepared(place: Path) -> Prepared:
    return prepare(asked(place, bar=0.99), place)


@dataclass(frozen=True)
class Made:
    sheet: Sheet
    store: Store
    told: list[Progress]


@pytest.fixture(scope="module")
def first(place: Path, prepared: Prepared) -> Made:
    """A sheet of three panels, two drawn again."""
    told: list[Progress] = []
    store = Store(place / "store")
    return Made(make_sheet(store, prepared, on_progress=told.append), store, told)


def test_a_sheet_is_drawn_scored_and_set(place: Path, first: Made, tmp_path: Path) -> None:
    made, store, told = first.sheet, first.store, first.told
    deliver(store, made, tmp_path / "out")
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert names == sorted(
        ["sheet.png", "sheet.pdf", "scores.json"]
        + [f"{where}panel-{at}.png" for at in (1, 2, 3) for where in ("", "poses/")]
    )
    with PIL.Image.open(tmp_path / "out" / "poses" / "panel-3.png") as pose:
        assert np.array_equal(np.asarray(pose), np.asarray(PIL.Image.open(place / "pose.png")))

    scores = read_scores(tmp_path / "out" / "scores.json")
    assert scores == made.scores
    assert (scores.pictures, scores.references, scores.lead) == (3, 6, "consistency/efficientnet-lite0")
    own = [item.scores[0].value for item in scores.items]
    assert [panel.consistency for panel in made.panels] == pytest.approx(own)
    assert scores.whole[0].value == pytest.approx(np.mean(own))
    assert scores.bars[0].value == pytest.approx(min(own))
    assert not scores.bars[0].passed
    assert {"clip_score/pocket-judge", "identity/efficientnet-lite0"} <= {
        score.name for score in scores.whole
    }
    # every try is there with a reason, and the two that were asked for were made
    tries = [one for one in scores.alternatives if one.name.startswith("panel ")]
    assert len(tries) == sum(panel.takes for panel in made.panels) == 5
    assert all(one.reason and one.picture for one in tries)
    assert len({one.settings["seed"] for one in tries}) == 5
    assert [one.name for one in scores.alternatives if one.chosen] == ["this sheet"]
    assert scores.alternatives[0].picture == made.files["sheet.png"].sha256

    main = [one for one in told if not one.step]
    assert [one.done for one in main] == [0, 1, 2, 3, 4, 1]
    assert {one.total for one in main[:-1]} == {5}


def test_what_could_not_steer_is_said(prepared: Prepared, first: Made) -> None:
    made = first.sheet
    identity, pose, tone = prepared.steered
    assert identity.on
    assert "hana × 0.8" in identity.how
    assert not pose.on
    assert "no pose ControlNet" in pose.how
    assert not tone.on
    assert tone.how == "not asked for"
    assert any("no ControlNet read them" in note for note in made.scores.notes)
    assert ("control_fidelity/pose", "no_detector") in {(one.name, one.why) for one in made.scores.missing}
    recipe = read_recipe(made.panels[0].picture.path)
    assert recipe.request.prompt == "sks_girl, waving, in a meadow by day"
    assert recipe.request.controls == recipe.request.ips == ()
    assert [use.weight for use in recipe.request.loras] == [pytest.approx(0.8, abs=0.1)]


def test_a_sheet_is_found_again_whole(prepared: Prepared, first: Made) -> None:
    again = make_sheet(first.store, prepared)
    assert {name: file.sha256 for name, file in first.sheet.files.items()} == {
        name: file.sha256 for name, file in again.files.items()
    }
    records = first.store.run_record("last").records
    assert {record.hit for record in records} == {True}


def test_a_stopped_sheet_goes_on_and_comes_out_the_same(
    prepared: Prepared, first: Made, tmp_path: Path
) -> None:
    whole = first.sheet
    store, cancel = Store(tmp_path / "stopped"), threading.Event()

    def stop(told: Progress) -> None:
        if not told.step and told.done == 4:
            cancel.set()

    with pytest.raises(Cancelled):
        make_sheet(store, prepared, on_progress=stop, cancel=cancel)
    made = make_sheet(store, prepared)
    assert [panel.picture.sha256 for panel in made.panels] == [panel.picture.sha256 for panel in whole.panels]
    assert made.files["sheet.png"].sha256 == whole.files["sheet.png"].sha256
    drawn = [record for record in store.run_record("last").records if record.name == "draw_take"]
    assert [record.hit for record in drawn] == [True] * 4 + [False]


def test_without_tries_every_panel_is_drawn_once(place: Path, store: Store) -> None:
    made = make_sheet(store, prepare(asked(place, bar=0.99, tries=0), place))
    assert [(panel.take, panel.takes) for panel in made.panels] == [(1, 1)] * 3
    assert not any("used up" in note for note in made.scores.notes)


def test_a_budget_counts_what_drawing_cost(place: Path, store: Store) -> None:
    request = asked(place, bar=0.99, budget=1e-3)
    made = make_sheet(store, prepare(request, place))
    assert sum(panel.takes for panel in made.panels) == 3
    assert any("0.001 seconds" in note for note in made.scores.notes)
    assert drawings(asked(place, budget=100), 5.0) == 20
    assert drawings(asked(place, tries=7), 5.0) == 10


def test_with_a_controlnet_and_an_ip_adapter_pose_and_tone_are_held(
    place: Path, first: Made, store: Store
) -> None:
    more = {"control": "control", "ip": "ip/ip.safetensors", "tone": "tone.png", "tone_mode": "all"}
    prepared = prepare(asked(place, more, tries=0, lang="ko"), place)
    assert [one.on for one in prepared.steered] == [True] * 3
    made = make_sheet(store, prepared)
    plain = {one.picture for one in first.sheet.scores.alternatives}
    for panel in made.panels:
        recipe = read_recipe(panel.picture.path)
        assert panel.pose
        (control,), (eye,) = recipe.request.controls, recipe.request.ips
        assert (control.kind, control.shows, control.image) == ("none", "pose", panel.pose.sha256)
        assert (eye.weight, eye.mode) == (0.5, "all")
        assert set(recipe.inputs) == {"lora 1", "map 1", "control 1", "reference 1", "ip 1"}
        assert panel.picture.sha256 not in plain
    assert not any("ControlNet은 없습니다" in note for note in made.scores.notes)


def test_without_a_lora_the_references_are_looked_at(place: Path, store: Store) -> None:
    prepared = prepare(asked(place, {"loras": [], "ip": "ip/ip.safetensors"}, tries=1, bar=0.99), place)
    assert prepared.steered[0].on
    assert "2 reference pictures" in prepared.steered[0].how
    made = make_sheet(store, prepared)
    recipes = [
        read_recipe(store.path(f"{one.picture}.png"))
        for one in made.scores.alternatives
        if "seed" in one.settings
    ]
    weights = sorted(recipe.request.ips[0].weight for recipe in recipes)
    assert all(len(recipe.request.ips) == 2 for recipe in recipes)
    assert weights == [0.6, 0.6, 0.6, pytest.approx(0.66)]


def test_with_neither_it_is_words_alone(place: Path) -> None:
    prepared = prepare(asked(place, {"loras": [], "tone": "tone.png"}), place)
    assert [one.on for one in prepared.steered] == [False] * 3
    assert "prompt words alone" in prepared.steered[0].how
    assert "no words for the look" in prepared.steered[2].how
    with_look = prepare(asked(place, {"loras": [], "tone": "tone.png", "look": "soft 3d"}), place)
    assert with_look.steered[2].how.startswith("prompt words alone")


def test_the_training_set_stands_in_for_references(place: Path, tmp_path: Path) -> None:
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "hana.safetensors").write_bytes((place / "hana.safetensors").read_bytes())
    ref = resolve(place / "tiny", backend="torch")
    record = {"request": {}, "pictures": str(place / "set"), "trigger": "sks_girl", "family": ref.family,
              "base_digest": ref.digest, "data_digest": "0" * 64, "held_out": []}  # fmt: skip
    (trained / "train.json").write_text(json.dumps(record))
    lora = [{"name": str(trained / "hana.safetensors")}]
    prepared = prepare(asked(place, {"loras": lora, "references": []}), place)
    assert prepared.trained
    assert prepared.references
    assert prepared.references.names == tuple(f"{i}.png" for i in range(6))
    assert prepare(asked(place, {"references": []}), place).references is None


def test_without_references_the_panels_are_held_against_each_other(place: Path, store: Store) -> None:
    made = make_sheet(store, prepare(asked(place, {"references": []}, tries=0), place))
    assert made.bar == 0.6
    assert made.scores.get("identity") is None
    assert sum("No reference pictures are known" in note for note in made.scores.notes) == 1
    assert all(-1 <= panel.consistency <= 1 for panel in made.panels)


@pytest.mark.parametrize(
    ("character", "panel", "said"),
    [
        ({"loras": [{"name": "nobody"}]}, {}, "nobody"),
        ({"references": ["nowhere.png"]}, {}, "a reference"),
        ({"references": ["control"]}, {}, "holds no picture"),
        ({"tone": "nowhere.png"}, {}, "the tone picture"),
        ({"control": "nowhere"}, {}, "neither a file nor a folder"),
        ({"ip": "nowhere", "tone": "tone.png"}, {}, "neither a file nor a folder"),
        ({"model": "pockett"}, {}, "pocket"),
        ({}, {"pose": "wavin"}, "panels.1.pose"),
    ],
)
def test_what_is_not_there_is_named_before_anything_is_drawn(
    place: Path, character: dict[str, Any], panel: dict[str, Any], said: str
) -> None:
    panels = [{"pose": "waving"}, {"pose": "running"} | panel, {"pose": "sitting"}]
    with pytest.raises(SpecError) as error:
        prepare(asked(place, character, panels=panels), place)
    assert said in str(error.value)


def test_the_report_tells_the_sheet(first: Made) -> None:
    made = first.sheet
    facts = gather(first.store.run_record(made.run_id))
    assert (facts.journey, facts.title) == ("sheet", "Hana")
    assert [picture.sha256 for picture in facts.pictures if picture.role == "page"] == [
        made.files["sheet.png"].sha256
    ]
    assert {panel.picture.sha256 for panel in made.panels} <= {picture.sha256 for picture in facts.pictures}
    assert facts.drawn == facts.recorded == 5
    assert facts.reason == made.scores.alternatives[0].reason


def test_the_price_is_told(prepared: Prepared) -> None:
    seconds = seconds_each(prepared)
    assert seconds is not None
    assert 1 < seconds < 60


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "trained on cut-out puppets; not for photographs"), ("ko", "사진에는 맞지 않습니다")],
)
def test_poses_are_scored_by_pockets_own_net_where_nothing_else_is(
    place: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, said: str
) -> None:
    ship_keypoints(monkeypatch, write_keypoints(tmp_path / "pocket-keypoints"))
    request = asked(place, tries=0, lang=language)
    scores = make_sheet(store, prepare(request, place)).scores
    pck = scores.get("pck")
    assert pck is not None
    assert (pck.name, pck.backbone, pck.n) == ("pck/pocket-keypoints", "pocket-keypoints", 2), (
        "two poses by name"
    )
    assert any(said in note for note in scores.notes)
    assert not [one for one in scores.missing if one.name.startswith("control_fidelity")]


def test_joints_are_compared_where_a_network_sees_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text("{}")
    net = adapter_ref(tmp_path / "net", "pose")
    side, width = 64, 96

    def points_of(name: str) -> list[tuple[float, float] | None]:
        return [
            None if at is None else ((at[0] * side + (width - side) / 2) / width, at[1])
            for at in pose_points(name)
        ]

    def joints(pose: str, seen: Any) -> float:
        monkeypatch.setattr(sheet_judge, "body_points", seen)
        with Store(tmp_path / f"store-{pose}").run("sheet"):
            picture: Image = named_pose("waving", width, side)
            return joints_kept(picture, pose, net)

    assert joints("waving", lambda *_: points_of("waving")) == 1
    assert joints("lying", lambda *_: points_of("waving")) < 0.5

    def nobody(*_: object) -> None:
        raise SpecError("nobody is seen in the picture")

    assert joints("running", nobody) == 0
