"""Puppets: the same seed draws the same, joints lie in the body and on the right side, captions say all that is seen."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jogak.adapters.poses import JOINTS as MAP_JOINTS
from jogak.models.captions import josa
from pocket.data.puppets import (
    JOINTS,
    NAMED,
    PARTS,
    Garment,
    Pose,
    Puppet,
    mirrored,
    named_pose,
    random_pose,
    random_puppet,
    render,
)
from pocket.data.puppets import words as w
from pocket.data.puppets.__main__ import main
from pocket.data.puppets.captions import action, caption
from pocket.data.puppets.export import poses_json, puppet_sprite
from pocket.data.puppets.poses import YAW

GIRL = Puppet(
    age="child",
    sex="female",
    skin="light",
    hair="short",
    hair_colour="red",
    glasses="round",
    top=Garment("raincoat", "yellow"),
    shoes=Garment("boots", "blue"),
)
FOX = Puppet(kind="fox", fur="orange", scarf="green", top=Garment("sweater", "blue", "stripes"))
J = {name: i for i, name in enumerate(JOINTS)}


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    def drawn(seed: int) -> np.ndarray:
        rng = random.Random(seed)
        return render(random_puppet(rng), random_pose(rng), 64).rgba

    np.testing.assert_array_equal(drawn(5), drawn(5))
    assert any(not np.array_equal(drawn(5), drawn(seed)) for seed in (6, 7))
    assert random_puppet(random.Random(3)) == random_puppet(random.Random(3))
    assert random_pose(random.Random(3)) == random_pose(random.Random(3))


def test_joints_lie_in_the_drawn_body() -> None:
    rng = random.Random(1)
    for _ in range(120):
        puppet, pose = random_puppet(rng), random_pose(rng)
        picture = render(puppet, pose, 160)
        assert picture.rgba.shape == (160, 160, 4)
        for name, (x, y, seen) in zip(JOINTS, picture.keypoints, strict=True):
            if seen == 2:
                assert picture.rgba[int(y), int(x), 3] > 250, (name, puppet, pose)
        shown = {name for name, joint in zip(JOINTS, picture.keypoints, strict=True) if joint[2] == 2}
        for side in ("left", "right"):
            if f"{side}_wrist" in shown:
                x, y = picture.keypoints[J[f"{side}_wrist"], :2]
                part = PARTS[picture.parts[int(y), int(x)]]
                assert part in (f"{side}_arm", f"{side}_hand"), "a seen wrist is its own arm's"


def test_every_pixel_drawn_has_a_part_and_a_layer() -> None:
    for puppet, pose in ((GIRL, named_pose("waving")), (FOX, named_pose("running"))):
        picture = render(puppet, pose, 192)
        solid = picture.rgba[..., 3] > 250
        for look in w.LOOKS:
            again = render(replace(puppet, look=look), pose, 192)
            assert (again.parts == picture.parts).mean() > 0.995, "the look does not move the body"
        assert (picture.parts[solid] > 0).mean() > 0.98
        np.testing.assert_array_equal(picture.parts > 0, picture.layers > 0)
        assert {"head", "eye", "mouth", "left_arm", "right_arm", "top"} <= {
            PARTS[i] for i in np.unique(picture.parts)
        }
        lines = picture.lines
        assert lines.shape == (192, 192)
        assert 0.02 < (lines < 128).mean() < 0.3
        assert (lines[:, :4] == 255).all()


def test_left_and_right_are_the_puppets_own() -> None:
    def x(view: w.View, joint: str) -> float:
        return float(render(GIRL, replace(named_pose("standing"), view=view), 128).keypoints[J[joint], 0])

    assert x("front", "right_shoulder") < x("front", "left_shoulder")
    assert x("back", "right_shoulder") > x("back", "left_shoulder")
    waving = render(GIRL, named_pose("waving"), 128).keypoints
    assert waving[J["right_wrist"], 1] < waving[J["right_shoulder"], 1] < waving[J["left_wrist"], 1]
    other = render(GIRL, mirrored(named_pose("waving")), 128).keypoints
    assert other[J["left_wrist"], 1] < other[J["left_shoulder"], 1] < other[J["right_wrist"], 1]


def test_views_face_where_they_say() -> None:
    standing = named_pose("standing")
    for puppet in (GIRL, FOX):
        for view, yaw in YAW.items():
            joints = render(puppet, replace(standing, view=view), 192).keypoints
            there = {name for name, joint in zip(JOINTS, joints, strict=True) if joint[2]}
            if view == "back":
                assert not there & {"nose", "left_eye", "right_eye"}
                continue
            aside = joints[J["nose"], 0] - joints[J["neck"], 0]
            assert abs(aside) < 2 if yaw == 0 else aside * np.sign(yaw) > 6
            if view == "side_left":
                assert "left_eye" in there
                assert "right_eye" not in there
            if view == "side_right":
                assert "right_eye" in there
                assert "left_eye" not in there


def test_named_poses_differ_from_each_other() -> None:
    drawn = {name: render(GIRL, pose, 96) for name, pose in NAMED.items()}
    assert {"standing", "sitting", "walking", "running", "waving", "jumping", "back_view", "lying", "pointing",
            "dancing"} <= drawn.keys()  # fmt: skip
    names = list(drawn)
    for i, a in enumerate(names):
        for b in names[:i]:
            difference = np.abs(drawn[a].rgba.astype(int) - drawn[b].rgba.astype(int)).mean()
            assert difference > 2, (a, b)
    with pytest.raises(KeyError, match="standing"):
        named_pose("floating")


def test_a_jump_leaves_the_ground_and_an_adult_is_taller_on_a_stage() -> None:
    def rows(puppet: Puppet, pose: Pose) -> np.ndarray:
        return np.flatnonzero(render(puppet, pose, 128, fit="stage").rgba[..., 3].any(1))

    standing, jumping = rows(GIRL, named_pose("standing")), rows(GIRL, named_pose("jumping"))
    assert standing[-1] - jumping[-1] > 8
    woman = rows(replace(GIRL, age="adult"), named_pose("standing"))
    assert abs(int(woman[-1]) - int(standing[-1])) <= 1
    assert len(woman) > 1.15 * len(standing)
    for name, pose in NAMED.items():
        drawn = render(
            replace(GIRL, age="adult", hat=Garment("party_hat", "red")), pose, 128, fit="stage"
        ).rgba
        assert not drawn[0, :, 3].any(), f"{name} leaves the stage"
        assert not drawn[:, [0, -1], 3].any(), f"{name} leaves the stage"


def test_looks_expressions_and_mouths_are_seen() -> None:
    for puppet in (GIRL, replace(FOX, look="flat")):
        for change in (
            [replace(named_pose("standing"), expression=expression) for expression in w.EXPRESSIONS],
            [replace(named_pose("standing"), expression="neutral", mouth=mouth) for mouth in w.MOUTHS],
        ):
            drawn = [render(puppet, pose, 192).rgba.astype(int) for pose in change]
            for i, a in enumerate(drawn):
                for b in drawn[:i]:
                    assert (np.abs(a - b).max(-1) > 40).sum() > 6
    looks = [render(replace(GIRL, look=look), named_pose("waving"), 96).rgba.astype(int) for look in w.LOOKS]
    for i, a in enumerate(looks):
        for b in looks[:i]:
            assert np.abs(a - b).mean() > 0.8


def test_every_word_of_the_tables_changes_the_picture() -> None:
    standing, base = named_pose("standing"), replace(GIRL, glasses="", look="flat")
    top = Garment("t_shirt", "red")
    rows: list[list[Puppet]] = [
        [replace(base, hair=hair, hair_colour="" if hair == "bald" else "black") for hair in w.HAIRS],
        [base, *(replace(base, glasses=glasses) for glasses in w.GLASSES)],
        [base, *(replace(base, beard=beard, age="adult", sex="male") for beard in w.BEARDS)],
        [base, *(replace(base, hat=Garment(hat, "blue")) for hat in w.HATS)],
        [replace(base, top=Garment(kind, "green"), bottom=None) for kind in w.TOPS],
        [replace(base, top=top, bottom=Garment(kind, "green")) for kind in w.BOTTOMS],
        [base, *(replace(base, shoes=Garment(kind, "red")) for kind in w.SHOES)],
        [replace(base, top=Garment("t_shirt", "red", pattern)) for pattern in ("", *w.PATTERNS)],
        [replace(base, skin=skin) for skin in w.SKINS],
        [Puppet(kind=kind, fur=fur, look="flat") for kind in w.ANIMALS for fur in w.FURS_OF[kind]],
    ]
    for row in rows:
        drawn = [render(puppet, standing, 96).rgba.astype(int) for puppet in row]
        for i, a in enumerate(drawn):
            for b in drawn[:i]:
                assert (np.abs(a - b).max(-1) > 20).sum() > 12, row[i]
    with pytest.raises(ValueError, match="known are"):
        Puppet(kind="fox", fur="green")
    with pytest.raises(ValueError, match="known are"):
        replace(GIRL, hat=Garment("sombrero", "red"))
    with pytest.raises(ValueError, match="an animal"):
        replace(FOX, beard="long")


def test_captions_say_what_the_issue_asked_for() -> None:
    assert caption(GIRL, named_pose("waving"), "en") == (
        "a girl with light skin, short red hair and round glasses, wearing a yellow raincoat and blue boots, "
        "waving with a happy smile, soft 3D"
    )
    assert caption(GIRL, named_pose("waving"), "ko") == (
        "밝은 피부와 짧은 빨간 머리에 동그란 안경을 쓰고 노란 비옷과 파란 장화 차림으로 환하게 웃으며 "
        "손을 흔드는 여자아이, 입체 3D"
    )


def test_captions_name_every_attribute_that_is_seen() -> None:
    rng = random.Random(2)
    for _ in range(300):
        puppet, pose = random_puppet(rng), random_pose(rng)
        en, ko = caption(puppet, pose, "en"), caption(puppet, pose, "ko")
        worn = (
            (puppet.hat, w.HATS),
            (puppet.top, w.TOPS),
            (puppet.bottom, w.BOTTOMS),
            (puppet.shoes, w.SHOES),
        )
        told = 0
        for garment, table in worn:
            if garment is None:
                continue
            word, colour = table[garment.kind], w.COLOURS[garment.colour]
            told += 1
            for text, said, tint, pattern in ((en, word.en, colour.en, 0), (ko, word.ko, colour.ko, 1)):
                full = f"{tint} {w.PATTERNS[garment.pattern][pattern]}" if garment.pattern else tint
                expected = re.sub(r"\ba (?=[aeiou])", "an ", said.format(full))
                assert expected in text
        behind = pose.view == "back"
        for value, names in ((puppet.glasses, w.GLASSES), (puppet.hair, w.HAIRS), (puppet.skin, w.SKINS)):
            if value and not (behind and names is w.GLASSES):
                told += 1
                assert names[value].en.split(" {}")[0].strip("{}") in en
                assert names[value].ko.split("{} ")[-1] in ko
        if puppet.scarf:
            told += 1
            assert f"{w.COLOURS[puppet.scarf].en} scarf" in en
            assert f"{w.COLOURS[puppet.scarf].ko} 목도리를 두르고" in ko
        assert w.POSES[pose.name].en in en
        assert w.POSES[pose.name].ko in ko
        assert (w.EXPRESSIONS[pose.expression].en in en) is not behind
        assert ("glasses" in en) is (bool(puppet.glasses) and not behind)
        noun = w.PEOPLE[puppet.age, puppet.sex] if puppet.human else w.KINDS[puppet.kind]
        assert noun.en in en
        assert noun.ko in ko
        assert told >= (4 if puppet.human else 0), "with pose and face, six things and more of a person"
        for text in (en, ko):
            assert "{" not in text
            assert "  " not in text
            assert ", ," not in text
        assert not re.search(r"\ba [aeiou]", en)


def test_korean_particles_fit_the_words_before_them() -> None:
    rng = random.Random(4)
    checked = 0
    for _ in range(400):
        puppet, pose = random_puppet(rng), random_pose(rng)
        text = caption(puppet, pose, "ko", rng if rng.random() < 0.5 else None)
        for word, particle in re.findall(r"(\S+?)([을를]) (?:쓰고|달고|기르고|두르고)", text):
            assert josa(word, "을") == word + particle
            checked += 1
        for word, particle in re.findall(
            r"(피부|머리|저고리|치마|바지|셔츠|스웨터|코트|비옷|원피스|털모자|왕관|밀짚모자)([와과]) ", text
        ):
            assert josa(word, "과") == word + particle
            checked += 1
        assert not re.search(r"차림으로 \S+ (표정|눈)으로", text)
    assert checked > 300


def test_variants_are_repeatable_and_say_nothing_that_is_hidden() -> None:
    behind = replace(named_pose("standing"), view="back", expression="happy")
    texts = {caption(GIRL, behind, "en", random.Random(i)) for i in range(30)}
    assert len(texts) > 10
    assert not any("glasses" in text or "smile" in text for text in texts)
    assert all("seen from behind" in text for text in texts)
    assert caption(FOX, behind, "ko", random.Random(1)) == caption(FOX, behind, "ko", random.Random(1))


def test_a_character_set_says_poses_and_grounds_but_never_who(tmp_path: Path) -> None:
    main(["--character", str(tmp_path / "set"), "--count", "6", "--seed", "7", "--trigger", "sks_girl"])
    main(["--character", str(tmp_path / "again"), "--count", "6", "--seed", "7", "--trigger", "sks_girl"])
    pictures, texts = sorted((tmp_path / "set").glob("*.png")), sorted((tmp_path / "set").glob("*.txt"))
    assert [p.stem for p in pictures] == [p.stem for p in texts] == list("123456")
    assert sorted(p.suffix for p in (tmp_path / "set").iterdir()) == [".png"] * 6 + [".txt"] * 6
    for picture in pictures:
        assert Image.open(picture).size == (256, 256)
        assert picture.read_bytes() == (tmp_path / "again" / picture.name).read_bytes()
    for text in texts:
        said = text.read_text(encoding="utf-8")
        assert said.startswith("sks_girl, ")
        assert "background" in said
        assert not re.search(r"hair|skin|wearing|glasses|girl |shirt|dress|boots|shoes|scarf|soft 3D", said)
    assert "환하게 웃으며 손을 흔드는" in action(named_pose("waving"), "ko")


def test_exported_poses_are_those_that_ship(tmp_path: Path) -> None:
    main(["--export-poses", str(tmp_path)])
    everything = json.loads((tmp_path / "poses.json").read_text(encoding="utf-8"))
    assert everything == json.loads(json.dumps(poses_json()))
    shipped = Path(__file__).parents[2] / "src/jogak/adapters/poses.json"
    assert json.loads(shipped.read_text(encoding="utf-8")) == everything, "export the poses again"
    assert JOINTS == MAP_JOINTS
    for name, pose in everything.items():
        assert Image.open(tmp_path / f"{name}.png").size == (256, 256)
        assert json.loads((tmp_path / f"{name}.json").read_text())["points"] == pose["points"]
        for points in (pose["points"], pose["grown"]):
            assert len(points) == 18
            assert all(0 <= value <= 1 for point in points if point for value in point)
        assert pose["names"]["en"]
        assert pose["names"]["ko"]
    assert everything["back"]["points"][0] is None
    words = [word for pose in everything.values() for words in pose["names"].values() for word in words]
    assert len(words) == len(set(words)), "a name means one pose"


def test_sprites_carry_their_joints_and_captions() -> None:
    pixels, joints, en, ko, look = puppet_sprite(12)
    assert pixels.shape == (4, 192, 192)
    assert (pixels[:3] <= pixels[3:].astype(int) + 1).all(), "premultiplied"
    assert joints.shape == (18, 3)
    assert ((joints[:, :2] >= 0) & (joints[:, :2] <= 1)).all()
    assert look in w.LOOKS
    assert en
    assert look.replace("_", " ") not in en
    assert re.search("[가-힣]", ko)
