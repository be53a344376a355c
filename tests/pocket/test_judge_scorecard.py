"""The scorecard: its readers say what the generator painted and not what it did not, and every member has its rows."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from jogak.judge.clip import FOLDER, Judge
from jogak.judge.stats import mean_score, share_score
from jogak.models.captions import Scene, Subject
from jogak.models.lexicon import lexicon
from pocket.data.compose import Painter
from pocket.data.scenes import DECOR, SceneSampler, held_out
from pocket.data.sprites import OUTLINED, SIZE, Sprites
from pocket.judge import base, cases, keypoints, readers
from pocket.judge.__main__ import read_arguments
from pocket.judge.attributes import first_words, look_rows, storybook
from pocket.judge.bench import FAMILY, Bench, Box, Pictures, paint, paint_layout, plain_scene, readable
from pocket.judge.inpaint import kept_outside, seam_score
from pocket.judge.members import MEMBERS, Member, scorecard
from pocket.judge.rows import Row, Unmeasured, behind_score
from tests.tiny_keypoints import ship_keypoints, write_keypoints

LOOKS = ("soft_3d", "flat", "clip_art", "cutout")
HOLE: Box = (0.25, 0.25, 0.75, 0.75)


def drawing(number: int, look: str) -> NDArray[np.uint8]:
    """A disc, a square or a diamond in a colour of its own; the look is its shading or its outline. (4, SIZE, SIZE)"""
    y, x = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE - 0.5
    away = (np.hypot(x, y), np.maximum(abs(x), abs(y)), (abs(x) + abs(y)) / 1.1)[number % 3]
    colour = np.random.default_rng(number).integers(60, 256, (3, 1, 1)) / 255
    shade = {"soft_3d": 1.1 - np.hypot(x + 0.15, y + 0.15)}.get(look, np.ones_like(x))
    pixels = np.clip(colour * shade, 0, 1) if look != OUTLINED else np.ones((3, SIZE, SIZE))
    rim = (away > 0.36) & np.isin(look, ("clip_art", "cutout", OUTLINED))
    pixels = np.where(rim, 0.97 if look == "cutout" else 0.1, pixels)
    return (np.concatenate([pixels, np.ones((1, SIZE, SIZE))]) * (away < 0.45) * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def sprites() -> Sprites:
    """Some twenty things in four looks, among them all trees that stand behind, and nine held out on plain ground."""
    decor = {name for row in DECOR.values() for name in row[0]}
    ids = [c.id for c in lexicon().concepts]
    plain = [name for name in ids if held_out(name, None, "day")]
    chosen = dict.fromkeys([*(name for name in ids if name in decor), *plain[:9], *ids[:10], "balloon"])
    keys = [(name, look) for name in chosen for look in LOOKS]
    pixels = np.stack([drawing(list(chosen).index(name), look) for name, look in keys])
    return Sprites(pixels, {key: i for i, key in enumerate(keys)})


@pytest.fixture(scope="module")
def bench(sprites: Sprites) -> Bench:
    return Bench(
        sprites=sprites,
        painter=Painter(sprites.pixels),
        judge=Judge(FOLDER),
        concepts=2,
        scenes=2,
        count=3,
        bars=FAMILY,
    )


# ------------------------------------------------------------------------------------------ rows


def test_a_bar_is_met_from_its_own_side() -> None:
    high = share_score("a", [True] * 9 + [False])
    assert Row(high).met is None
    assert Row(high, 0.9).met
    assert not Row(high, 0.91).met
    low = mean_score("b", [1.0, 1.2, 1.4], better="lower")
    assert Row(low, 1.2).met
    assert not Row(low, 1.1).met
    assert "MISSED" in str(Row(low, 1.1))


def test_a_sure_bar_wants_the_whole_interval() -> None:
    rarely = mean_score("removes", [1] + [0] * 9)
    always = mean_score("removes", [1] * 8 + [0] * 2)
    assert rarely.value > 0
    assert not Row(rarely, 0.0, sure=True).met
    assert Row(always, 0.0, sure=True).met


def test_how_far_one_share_stays_behind_another() -> None:
    score = behind_score("behind", [True] * 60 + [False] * 40, [True] * 50 + [False] * 50)
    assert score.value == pytest.approx(0.1)
    # Newcombe's table: 60/100 against 50/100
    assert (score.low, score.high) == (pytest.approx(-0.037, abs=0.002), pytest.approx(0.231, abs=0.003))


# ------------------------------------------------------------------------------------------ cases


def test_cases_are_held_out_and_pairs_on_both_sides(sprites: Sprites) -> None:
    for scene in cases.pairs(sprites, 6, 1):
        assert all(held_out(s.concept, scene.place, scene.time or "day") for s in scene.subjects)
        assert {s.position for s in scene.subjects} == {"left", "right"}
    for scenes in (
        cases.colours(sprites, 5, 2),
        cases.in_places(sprites, 5, 3),
        cases.looks(sprites, 5, 4, LOOKS),
    ):
        assert all(held_out(s.subjects[0].concept, s.place, s.time or "day") for s in scenes)
        assert len(scenes) == 5
    assert [s.subjects[0].count for s in cases.counts(sprites, 5, 5)] == [1, 2, 3, 1, 2]


def test_what_cannot_be_drawn_is_refused(sprites: Sprites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "TRIES", 50)
    with pytest.raises(ValueError, match="50 scenes held 0 of the 2"):
        cases.draw_scenes(sprites, 2, 0, lambda _: False)


def test_a_subject_can_be_taken_out_of_its_scene(sprites: Sprites, bench: Bench) -> None:
    held = cases.Removable.of(bench.sampler, cases.in_places(sprites, 4, 6), 7)
    boxes = held.boxes(0, 0.3)
    real, bare = (paint_layout(bench.painter, layout) for layout in (held.layout, held.without(0)))
    assert (real != bare).any((1, 2, 3)).all()
    assert kept_outside(bare, real, boxes).all()


# ------------------------------------------------------------------------------------------ readers


def on_plain(count: int) -> list[Scene]:
    """Things on a white ground, one, two and three of each in turn."""
    ids = [c.id for c in lexicon().concepts if held_out(c.id, None, "day")][:count]
    return [
        Scene(subjects=(Subject(name, count=1 + i % 3),), look=LOOKS[i % 4]) for i, name in enumerate(ids)
    ]


def test_things_in_a_row_are_counted(bench: Bench) -> None:
    scenes = on_plain(9)
    pictures = bench.paint(scenes, 8)
    drawings = [bench.paint([plain_scene(s.subjects[0].concept, look) for look in LOOKS], 9) for s in scenes]
    found = readers.counted(bench.judge, pictures, drawings)
    true = np.array([s.subjects[0].count for s in scenes])
    assert (found == true).mean() > 0.85
    assert (found == true % 3 + 1).mean() < 0.15


def test_on_an_empty_ground_nothing_is_counted(bench: Bench) -> None:
    white = np.full((1, 64, 64, 3), 255, np.uint8)
    assert readers.counted(bench.judge, white, [bench.paint([plain_scene("balloon", "flat")], 1)]) == [0]
    assert readers.pieces(white[0], 2) is None


def test_a_colour_is_read_and_another_is_not(bench: Bench) -> None:
    names = ("red", "yellow", "green", "blue", "purple", "pink")
    scenes = [Scene(subjects=(Subject("balloon", colour=name),), look="flat") for name in names]
    pictures = bench.paint(scenes, 10)
    assert readers.chosen(bench.judge, pictures, [scenes] * 6).tolist() == list(range(6))
    assert readers.chosen(bench.judge, np.roll(pictures, 1, 0), [scenes] * 6).tolist() == [5, 0, 1, 2, 3, 4]


def test_a_look_is_read_and_another_is_not(bench: Bench) -> None:
    scenes = [
        replace(plain_scene(s.subjects[0].concept, look), background="yellow")
        for s in on_plain(3)
        for look in LOOKS
    ]
    alone = [plain_scene(s.subjects[0].concept, look) for s in scenes for look in LOOKS]
    drawings = bench.paint(alone, 11)
    found = readers.look_of(bench.judge, bench.paint(scenes, 12), drawings, scenes, LOOKS)
    true = np.arange(12) % 4
    assert (found == true).mean() > 0.6  # the captions know nothing of looks made up here; chance is 0.25
    assert (found == (true + 1) % 4).mean() < 0.3


def pair(left: str, right: str) -> Scene:
    return Scene(subjects=(Subject(left, position="left"), Subject(right, position="right")), look="flat")


def test_named_things_are_seen_where_they_stand(bench: Bench) -> None:
    concepts = [c.id for c in bench.sampler.concepts]
    # these drawings have no words: a thing's name is what the judge sees of it alone
    alone = bench.paint([plain_scene(name, "flat") for name in concepts], 13)
    names = bench.judge.see(np.concatenate([readers.pieces(picture, 1) for picture in alone]))
    there = [(0, 7), (8, 13), (18, 2), (11, 10)]
    pictures = bench.paint([pair(concepts[a], concepts[b]) for a, b in there], 14)
    half = np.array([[0, 1]] * len(there))

    def found(wanted: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
        return readers.ranks_in_halves(bench.judge, names, pictures, np.array(wanted))

    own = found(there)
    assert readers.seen(own).mean() > 0.8
    assert readers.seen(found([(a + 3, b + 3) for a, b in there])).mean() < 0.3
    assert readers.in_place(own, half).mean() > 0.7
    assert not readers.in_place(own, 1 - half).any()


def test_a_picture_without_the_things_is_no_lucky_guess() -> None:
    nothing = np.full((1, 2, 2), 0.5)
    assert not readers.in_place(nothing, np.array([[0, 1]])).any()
    only_first = np.array([[[0.0, 0.5], [0.5, 0.5]]])
    assert readers.in_place(only_first, np.array([[0, 1]])).all()
    assert not readers.in_place(only_first, np.array([[1, 0]])).any()


def test_a_seam_shows_beside_the_pictures_own_noise() -> None:
    before = np.random.default_rng(0).integers(100, 110, (3, 64, 64, 3), dtype=np.uint8)
    after, holes = before.copy(), [HOLE] * 3
    assert seam_score("seam", after, before, holes, readers.EDGE).value == pytest.approx(1)
    after[:, 16:48, 16:48] += 20
    assert seam_score("seam", after, before, holes, readers.EDGE).value > 3
    # a tone that fades in passes the edge and not the tone
    after[:, 16:48, 16:48] = before[:, 16:48, 16:48]
    after[:, 24:40, 24:40] += 20
    assert seam_score("seam", after, before, holes, readers.EDGE).value == pytest.approx(1)
    assert seam_score("seam", after, before, holes, readers.TONE).value > 1.5


def test_one_changed_pixel_outside_is_found() -> None:
    before = np.zeros((2, 64, 64, 3), np.uint8)
    after = before.copy()
    after[:, 16:48, 16:48] = 9
    after[1, 48, 20, 2] = 1
    assert kept_outside(before, after, [HOLE] * 2).tolist() == [True, False]


# ------------------------------------------------------------------------------------------ the scorecard


def test_negative_prompts_are_in_the_prompts_language() -> None:
    assert first_words([pair("fox", "apple"), pair("fox", "apple")]) == ["a fox", "여우"]


def test_the_looks_other_word_is_put_in() -> None:
    assert storybook("a fox on a white background, clip art").endswith("storybook")
    assert storybook("하얀 배경의 여우, 클립아트").endswith("동화책풍")


def test_a_look_is_measured_where_there_are_drawings_of_it(sprites: Sprites, bench: Bench) -> None:
    without = list(look_rows(bench))
    assert [row.name for row in without if isinstance(row, Unmeasured)] == ["look_outlined"]
    ids = list(dict.fromkeys(name for name, _ in sprites.index))
    outlined = {(name, OUTLINED): len(sprites.index) + i for i, name in enumerate(ids)}
    pixels = np.concatenate([sprites.pixels, np.stack([drawing(i, OUTLINED) for i in range(len(ids))])])
    every = Sprites(pixels, sprites.index | outlined)
    assert readable(every).index == sprites.index
    full = replace(bench, sprites=readable(every), every_look=every, painter=Painter(pixels), count=5)
    rows = list(look_rows(full))
    names = [row.score.name for row in rows if isinstance(row, Row)]
    assert len(names) == len(rows)
    assert names == ["ceiling_look", *(f"ceiling_look_{look}" for look in (*LOOKS, OUTLINED))]
    assert [row.score.n for row in rows if isinstance(row, Row)] == [5, 1, 1, 1, 1, 1]


def test_base_and_inpaint_have_every_row(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a tiny count, with scribbles in place of a model; all 717 words twice would take most of the time."""
    monkeypatch.setattr(base, "word_rows", lambda: iter(()))

    def scribble(
        prompts: Sequence[str], seed: int, negatives: object = None, regions: object = None
    ) -> Pictures:
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (len(prompts), 64, 64, 3), dtype=np.uint8)

    def mend(pictures: Pictures, holes: Sequence[Box], prompts: Sequence[str], seed: int) -> Pictures:
        return np.where(pictures > 128, pictures, pictures + 1)

    tiny = replace(bench, draw=scribble, mend=mend)
    vars(tiny)["known"] = bench.known
    lines = list(scorecard(tiny, MEMBERS[:2]))
    assert [line for line in lines if isinstance(line, str)] == ["[base]", "[inpaint]"]
    rows = {line.score.name: line for line in lines if isinstance(line, Row)}
    wanted = {
        "two_subjects": 0.7, "colour": 0.75, "count": 0.75, "left_right": 0.75, "look": 0.85, "negative_removes": 0.0,
        "fd_times_ceiling/efficientnet-lite0": 2.0, "korean_behind_english": 0.05, "prototype_top1_en": 0.7,
        "prototype_top5_ko": 0.88, "vae_psnr_db": 30.0, "inpaint_outside_identical": 1.0, "inpaint_seam_tone": 1.2,
        "inpaint_subject": 0.7,
    }  # fmt: skip
    assert {name: rows[name].bar for name in wanted} == wanted
    assert {"colour", "count", "look", "two_subjects", "left_right", "inpaint_subject"} <= {
        name.removeprefix("ceiling_") for name in rows if name.startswith("ceiling_")
    }
    assert not rows["inpaint_outside_identical"].met
    assert not rows["two_subjects"].met


def test_without_a_model_the_ceilings_alone_are_measured(bench: Bench) -> None:
    names = [line.score.name for line in scorecard(bench, MEMBERS[1:2]) if isinstance(line, Row)]
    assert names
    assert all(name.startswith(("ceiling_", "false_alarm_")) for name in names)


def test_a_member_without_weights_has_a_row_without_a_number(bench: Bench, tmp_path: Path) -> None:
    names = [member.name for member in MEMBERS]
    assert names[2:] == [
        "fast", "controlnet-lines", "controlnet-depth", "controlnet-pose", "ip-adapter", "composed",
        "upscale", "keypoints",
    ]  # fmt: skip
    lines = [line for name in names for line in scorecard(bench, (Member(name, tmp_path),))]
    assert lines == [line for name in names for line in (f"[{name}]", Unmeasured(name, "not trained"))]


def test_a_trained_member_without_a_measure_says_so(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert [str(line).split(maxsplit=1) for line in Member("nobody", tmp_path).rows(bench)] == [
        ["nobody", "trained, and nothing here measures it yet"]
    ]


def test_the_keypoint_net_has_its_rows(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ship_keypoints(monkeypatch, write_keypoints(tmp_path / "pocket-keypoints"))
    rows = [row for row in Member("keypoints", folder).rows(bench) if isinstance(row, Row)]
    assert [(row.score.name, row.bar, row.score.n) for row in rows] == [
        ("keypoints_pck", 0.8, 2), ("keypoints_oks", None, 2), ("keypoints_there", None, 2),
        ("keypoints_pck_decoded", 0.8, 2), ("false_alarm_keypoints", None, 2),
    ]  # fmt: skip
    assert not rows[0].met, "it was never trained"
    assert rows[-1].score.value == 1, "it sees somebody everywhere"


def test_joints_are_held_against_those_that_were_drawn(bench: Bench) -> None:
    cases = keypoints.puppet_cases(bench.sprites, 3)
    assert cases.pictures.shape == (3, 256, 256, 3)
    assert len({joints.tobytes() for joints in cases.joints}) == 3
    values = keypoints.scored(list(cases.joints), cases.joints)
    assert values == {"pck": [1.0] * 3, "oks": [1.0] * 3}
    nothing = [np.full((18, 2), np.nan)] * 3
    assert keypoints.scored(nothing, cases.joints) == {"pck": [0.0] * 3, "oks": [0.0] * 3}
    half = [np.where(np.arange(18)[:, None] % 2, joints, np.nan) for joints in cases.joints]
    assert all(0.2 < value < 0.8 for value in keypoints.scored(half, cases.joints)["pck"])


def test_the_command_keeps_its_flags() -> None:
    args = read_arguments(["--sprites", "s.npz", "--steps", "12", "--concepts", "5", "--sheet", "a.jpg"])
    assert (args.all, args.steps, args.concepts, args.scenes, args.sampler) == (
        False,
        12,
        5,
        None,
        "dpmpp_2m",
    )
    assert read_arguments(["--all", "--sprites", "s.npz", "--only", "inpaint"]).only == ["inpaint"]


def test_pictures_of_scenes_repeat(bench: Bench) -> None:
    sampler, rng = SceneSampler(bench.sprites, held_out=True), random.Random(3)
    scenes = [sampler.scene(rng) for _ in range(3)]
    pictures = paint(bench.painter, sampler, scenes, 5)
    assert pictures.shape == (3, 256, 256, 3)
    assert (pictures == bench.paint(scenes, 5)).all()
