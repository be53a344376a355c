from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.PngImagePlugin import PngInfo

from jogak.models.keypoints import FOLDER
from jogak.spec import SpecError
from jogak.spec.picture_scores import EvalRequest
from jogak.store import Store
from jogak.studio.eval import GROUP, evaluate, find_pictures, plain_words, prepare
from tests.judge.drawings import copied, drawings
from tests.tiny_depth import ship_depth
from tests.tiny_keypoints import ship_keypoints, write_keypoints

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


# control maps that need a network


@pytest.fixture
def annotators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "annotators"
    folder.mkdir()
    monkeypatch.setenv("JOGAK_ANNOTATORS", str(folder))
    ship_keypoints(monkeypatch, tmp_path / "none")
    ship_depth(monkeypatch, tmp_path / "none")
    return folder


def maps_of(place: Path, kind: str, folder: Path) -> str:
    """A map of this kind for two of the pictures: a drawn pose, else their brightness."""
    folder.mkdir()
    for i, name in enumerate(("12", "13")):
        picture = PIL.Image.open(place / "out" / f"{name}.png")
        if kind == "pose":
            from jogak.adapters.poses import pose_map

            map_ = PIL.Image.fromarray(pose_map(("standing", "waving")[i], *picture.size))
        else:
            map_ = picture.convert("L")
        map_.save(folder / f"{name}.png")
    return str(folder)


def test_a_network_that_is_not_here_is_a_row_and_no_end(
    folders: Path, store: Store, tmp_path: Path, annotators: Path
) -> None:
    kinds = ("canny", "depth", "hed", "pose")
    maps = {kind: maps_of(folders, kind, tmp_path / kind) for kind in kinds}
    prepared = prepare(asked(folders, maps=maps), store)
    assert {one.kind for one in prepared.wanted} == {"canny"}
    made = evaluate(store, prepared)
    assert made.scores.get("edge_f1") is not None
    assert made.scores.get("clip_score") is not None
    lacking = {one.name: (one.why, one.detail) for one in made.scores.missing if "control" in one.name}
    assert lacking.keys() == {f"control_fidelity/{kind}" for kind in kinds[1:]}
    assert all(why == "no_weights" for why, _ in lacking.values())
    for kind, needed in (("depth", "Depth Anything"), ("hed", "hed.safetensors"), ("pose", "ViTPose")):
        assert needed in lacking[f"control_fidelity/{kind}"][1]
    assert store.run_record("last").status == "done"


def test_depth_is_measured_once_its_network_is_here_and_anew_by_another(
    folders: Path, store: Store, tmp_path: Path, annotators: Path
) -> None:
    import torch
    from transformers import DPTConfig, DPTForDepthEstimation

    def measured() -> list[str]:
        made = evaluate(store, prepare(asked(folders, maps=maps), store))
        score = made.scores.get("depth_rmse")
        assert score is not None
        assert (score.name, score.n) == ("depth_rmse/depth", 2)
        assert "control_fidelity/depth" not in {one.name for one in made.scores.missing}
        return [one.state for one in store.run_record("last").records if one.name == "kept_map"]

    maps = {"depth": maps_of(folders, "depth", tmp_path / "maps")}
    config = DPTConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=32, patch_size=8,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8, is_hybrid=False,
        reassemble_factors=[4, 2, 1, 0.5],
    )  # fmt: skip
    for seed in (2, 3):
        torch.manual_seed(seed)
        DPTForDepthEstimation(config).save_pretrained(annotators / "depth")
        (annotators / "depth" / "preprocessor_config.json").write_text(
            '{"size": {"height": 32, "width": 32}}', encoding="utf-8"
        )
        assert measured() == ["made", "made"]
    assert measured() == ["hit", "hit"]


def test_a_pose_is_held_against_the_one_found_again(
    folders: Path, store: Store, tmp_path: Path, annotators: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import VitPoseConfig, VitPoseForPoseEstimation
    from transformers.models.vitpose_backbone.configuration_vitpose_backbone import VitPoseBackboneConfig

    torch.manual_seed(2)
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        mlp_ratio=1, out_indices=[1], part_features=8, num_experts=1,  # pyright: ignore[reportCallIssue]
    )  # fmt: skip
    config = VitPoseConfig(backbone_config=backbone, num_labels=17, use_simple_decoder=True)  # pyright: ignore[reportCallIssue]
    VitPoseForPoseEstimation(config).save_pretrained(annotators / "pose")
    place = tmp_path / "maps"
    maps = {"pose": maps_of(folders, "pose", place)}
    made = evaluate(store, prepare(asked(folders, maps=maps), store))
    pck, oks = made.scores.get("pck"), made.scores.get("oks")
    assert pck is not None
    assert oks is not None
    assert (pck.name, pck.n, oks.name, oks.n) == ("pck/pose", 2, "oks/pose", 2)
    assert pck.backbone == oks.backbone == "vitpose"
    assert not any("puppets" in note for note in made.scores.notes)
    assert 0 <= pck.value < 0.5  # an untrained network finds nobody, or somebody elsewhere
    pairs = [record.result for record in store.run_record("last").records if record.name == "kept_map"]
    wanted = np.asarray(PIL.Image.open(pairs[0].wanted.path))
    drawn = np.asarray(PIL.Image.open(place / "12.png"))
    assert (
        np.abs(wanted.astype(int) - drawn).max(-1) > 60
    ).mean() < 0.01  # the pose was read from its colours

    monkeypatch.setattr("jogak.adapters.annotators.SURE", -100.0)  # an untrained network says anything
    from jogak.adapters.annotators import body_points
    from jogak.adapters.poses import draw_pose

    pixels = np.asarray(PIL.Image.open(folders / "out" / "12.png").convert("RGB"))
    width, height = pixels.shape[1], pixels.shape[0]
    own = draw_pose(body_points(annotators / "pose", pixels), width, height)
    PIL.Image.fromarray(own).save(place / "12.png")
    PIL.Image.new("RGB", (width, height)).save(place / "13.png")
    made = evaluate(store, prepare(asked(folders, maps=maps), store))
    pck = made.scores.get("pck")
    assert pck is not None
    assert (pck.n, pck.value) == (1, pytest.approx(1, abs=0.2))
    assert any("13.png" in note and "joints" in note for note in made.scores.notes)
    PIL.Image.new("RGB", (width, height)).save(place / "12.png")
    made = evaluate(store, prepare(asked(folders, maps=maps), store))
    assert ("control_fidelity/pose", "no_maps") in {(one.name, one.why) for one in made.scores.missing}


def test_poses_are_read_by_pockets_own_net_where_nothing_else_is(
    folders: Path, store: Store, tmp_path: Path, annotators: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = {"pose": maps_of(folders, "pose", tmp_path / "maps")}
    found = {}
    for seed in (0, 1, 0):
        folder = write_keypoints(tmp_path / f"net-{seed}", seed=seed)
        ship_keypoints(monkeypatch, folder)
        prepared = prepare(asked(folders, maps=maps), store)
        assert (len(prepared.wanted), prepared.lacking) == (2, ())
        scores = evaluate(store, prepared).scores
        pck, oks = scores.get("pck"), scores.get("oks")
        assert pck is not None
        assert oks is not None
        assert (pck.name, pck.n, oks.name, oks.n) == ("pck/pose", 2, "oks/pose", 2)
        assert pck.backbone == oks.backbone == "pocket-keypoints"
        assert any("trained on cut-out puppets; not for photographs" in note for note in scores.notes)
        assert "control_fidelity/pose" not in {one.name for one in scores.missing}
        states = [one.state for one in store.run_record("last").records if one.name == "kept_map"]
        assert states == (["hit", "hit"] if seed in found else ["made", "made"]), "another net measures anew"
        assert found.setdefault(seed, (pck.value, oks.value)) == (pck.value, oks.value)
    assert found[0] != found[1]


def test_the_shipped_net_finds_the_pose_of_a_drawn_puppet_again(
    store: Store, tmp_path: Path, annotators: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import random

    from jogak.adapters.poses import draw_pose
    from pocket.data.puppets import named_pose, random_puppet, render

    ship_keypoints(monkeypatch, FOLDER)
    for folder in ("out", "maps"):
        (tmp_path / folder).mkdir()
    for number, pose in enumerate(("waving", "running")):
        drawn = render(random_puppet(random.Random(number)), named_pose(pose), 256)
        rgba = PIL.Image.fromarray(drawn.rgba)
        ground = PIL.Image.new("RGB", rgba.size, (200, 225, 240))
        ground.paste(rgba, (0, 0), rgba)
        ground.save(tmp_path / "out" / f"{pose}.png")
        points = [(x / 256, y / 256) if there else None for x, y, there in drawn.keypoints.tolist()]
        PIL.Image.fromarray(draw_pose(points, 256, 256)).save(tmp_path / "maps" / f"{pose}.png")
    request = EvalRequest(folder=str(tmp_path / "out"), maps={"pose": str(tmp_path / "maps")})
    pck = evaluate(store, prepare(request, store)).scores.get("pck")
    assert pck is not None
    assert pck.n == 2
    assert pck.value > 0.85


def test_the_pose_a_picture_was_drawn_to_is_known_from_its_recipe(
    store: Store, tmp_path: Path, annotators: Path
) -> None:
    from jogak.image.infotext import Recipe, png_text
    from jogak.image.steer import named_pose
    from jogak.spec import ImageRequest, ModelRef
    from jogak.spec.image import ControlUse

    with store.run("image", spec=ImageRequest(prompt="fox")):
        pose = named_pose("standing", 64, 64)
    use = ControlUse(kind="none", shows="pose", image=pose.sha256)
    request = ImageRequest(prompt="fox", width=64, height=64, controls=(use,))
    model = ModelRef(name="x", family="pocket", folder=tmp_path, digest="ab" * 32, numeric="torch-fp32-t1")
    recipe = Recipe(
        request=request, weights=model.digest, family="pocket", numeric="x", versions={}, pixels="0" * 64
    )
    place = tmp_path / "drawn"
    place.mkdir()
    PIL.Image.fromarray(drawings()[0]).save(place / "a.png", pnginfo=png_text(request, model, recipe))
    prepared = prepare(EvalRequest(folder=str(place)), store)
    assert [(kind, why) for kind, why, _ in prepared.lacking] == [("pose", "no_weights")]
    (annotators / "pose").mkdir()
    (annotators / "pose" / "config.json").write_text("{}", encoding="utf-8")
    (wanted,) = prepare(EvalRequest(folder=str(place)), store).wanted
    assert (wanted.kind, wanted.ready, wanted.image.sha256) == ("pose", True, pose.sha256)
