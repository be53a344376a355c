"""Files made of puppets: contact sheets, one character's training pictures, pose maps, sprites by the thousand."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from jogak.adapters.poses import draw_pose
from jogak.models.captions import Lang
from jogak.models.lexicon import lexicon
from pocket.data.puppets.captions import action, caption
from pocket.data.puppets.draw import find_joints, render
from pocket.data.puppets.faces import FACES
from pocket.data.puppets.globe import Shape
from pocket.data.puppets.head import head_globe
from pocket.data.puppets.identity import Puppet, random_puppet
from pocket.data.puppets.poses import CHILD, GROWN, NAMED, Build, Pose, Skeleton, random_pose
from pocket.data.puppets.shapes import turned
from pocket.data.puppets.words import COLOURS, POSES, Look, Rgb
from pocket.data.workers import in_parallel

PAPER: Rgb = (240, 236, 226)
SIDE = 256
POSE_MARGIN = 0.07
"""Room around a pose in its square."""
PLACES = (
    "meadow",
    "forest",
    "beach",
    "snowfield",
    "village",
    "city",
    "garden",
    "river",
    "farm",
    "room",
    "desert",
)
TIMES = ("morning", "day", "day", "sunset", "night")
DECOR_LOOK = "flat"


def contact_sheet(seed: int, columns: int = 8, rows: int = 6, size: int = 200) -> Image.Image:
    """Random puppets, one row of each look after the other."""
    rng = random.Random(seed)
    looks: tuple[Look, ...] = ("soft_3d", "flat", "clip_art", "cutout")
    sheet = Image.new("RGB", (columns * size, rows * size), PAPER)
    for i in range(columns * rows):
        puppet, pose = random_puppet(rng, look=looks[i // columns % 4]), random_pose(rng)
        picture = Image.fromarray(render(puppet, pose, size).rgba)
        sheet.paste(picture, (i % columns * size, i // columns * size), picture)
    return sheet


# ---------------------------------------------------------------------------------------- pose maps


def named_keypoints(name: str, build: Build = CHILD) -> list[list[float] | None]:
    """The 18 joints of a named pose in shares of a square with room around the figure; None where there is none."""
    pose = NAMED[name]
    skeleton = Skeleton(build, pose)
    globe = head_globe(pose, skeleton, Shape())
    joints = find_joints(FACES["human"], skeleton, globe)
    there = joints[:, 2] > 0
    body = np.concatenate([joints[there, :2], globe.outline()])
    for side in ("left", "right"):  # hands and feet reach beyond wrists and ankles
        toe, wrist = skeleton.seen[f"{side}_toe"], skeleton.seen[f"{side}_wrist"]
        hand = wrist + (wrist - skeleton.seen[f"{side}_elbow"]) / build.arm[1] * build.hand * 2
        body = np.concatenate([body, [toe[:2] + np.array((0, build.foot_radius)), hand[:2]]])
    points, body = (turned(part, np.zeros(2), pose.roll) for part in (joints[:, :2], body))
    low, high = body.min(0), body.max(0)
    scale = (1 - 2 * POSE_MARGIN) / float((high - low).max())
    foot = np.array([(low[0] + high[0]) / 2, high[1]])
    square = (points - foot) * scale + (0.5, 1 - POSE_MARGIN)
    return [
        [round(float(x), 4), round(float(y), 4)] if seen else None
        for (x, y), seen in zip(square, there, strict=True)
    ]


def poses_json() -> dict[str, Any]:
    """What `jogak/adapters/poses.json` holds: for each pose its joints as a puppet's ("points") and as a grown
    person's of a photograph ("grown"), and its names in both languages."""
    return {
        name.removesuffix("_view"): {
            "points": named_keypoints(name),
            "grown": named_keypoints(name, GROWN),
            "names": {"en": list(POSES[name].en_names), "ko": list(POSES[name].ko_names)},
        }
        for name in NAMED
    }


def export_poses(folder: Path) -> None:
    """`<pose>.png` (256×256, OpenPose's colours) and `<pose>.json` of each named pose, and `poses.json` of all."""
    folder.mkdir(parents=True, exist_ok=True)
    everything = poses_json()
    for name, row in everything.items():
        save_picture(Image.fromarray(draw_pose(row["points"], SIDE, SIDE)), folder / f"{name}.png")
        _save_text(_compact({"points": row["points"]}), folder / f"{name}.json")
    _save_text(_compact(everything), folder / "poses.json")


def _compact(data: dict[str, Any]) -> str:
    """JSON with one line a list of points."""
    rows = []
    for key, value in data.items():
        inner = (
            "{\n"
            + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in value.items())
            + "\n }"
            if isinstance(value, dict)
            else json.dumps(value)
        )
        rows.append(f" {json.dumps(key)}: {inner}")
    return "{\n" + ",\n".join(rows) + "\n}\n"


# ---------------------------------------------------------------------------------------- one character


def make_character(
    folder: Path,
    puppet: Puppet,
    trigger: str,
    count: int,
    rng: random.Random,
    sprites: Path | None,
    lang: Lang = "en",
) -> None:
    """`count` pictures of one puppet, 256×256 PNG, each with a `.txt` that names the trigger, pose and place only.

    Poses, views, faces and framing vary. Grounds are plain or graded; with `sprites` (the file that
    `pocket.data.sprites` writes) two in three stand in painted scenes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shots = [(pose, *_ground_words(rng, sprites is not None, lang)) for pose in _poses(count, rng)]
    scenes = _painted([shot[2] for shot in shots], rng, sprites)
    width = len(str(count))
    for i, (pose, words, ground) in enumerate(shots):
        close = rng.random() < 0.25 and not pose.roll and abs(pose.lean) < 30
        scene = scenes[i]
        backdrop = _plain(ground) if scene is None else scene
        picture = _stand(puppet, pose, backdrop, close, rng)
        stem = folder / f"{i + 1:0{width}d}"
        save_picture(Image.fromarray(picture), stem.with_suffix(".png"))
        said = [trigger, action(pose, lang), words]
        if close:
            said.append("close-up" if lang == "en" else "클로즈업")
        _save_text(", ".join(said) + "\n", stem.with_suffix(".txt"))


def _poses(count: int, rng: random.Random) -> list[Pose]:
    """Every named pose in turn, each time moved otherwise."""
    names = list(NAMED)
    rng.shuffle(names)
    return [random_pose(rng, names[i % len(names)]) for i in range(count)]


Ground = tuple[str, str]
"""A place and a time, or two colours."""


def _ground_words(rng: random.Random, scenes: bool, lang: Lang) -> tuple[str, Ground]:
    if scenes and rng.random() < 0.67:
        place, time = rng.choice(PLACES), rng.choice(TIMES)
        words, when = lexicon().word("places", place), lexicon().word("times", time)
        return (f"{words.en_in} {when.en_at}" if lang == "en" else f"{when.ko_at} {words.ko_in}"), (
            place,
            time,
        )
    first, second = rng.sample([name for name in COLOURS if name not in ("black", "brown")], 2)
    if rng.random() < 0.5:
        second = first
    a, b = COLOURS[first], COLOURS[second]
    if first == second:
        return (f"on a plain {a.en} background" if lang == "en" else f"{a.ko} 배경"), (first, second)
    return (
        f"on a background fading from {a.en} to {b.en}"
        if lang == "en"
        else f"{a.ko} 빛에서 {b.ko} 빛으로 번지는 배경"
    ), (first, second)


def _plain(colours: Ground) -> np.ndarray:
    """A pale ground, (SIDE, SIDE, 3) float32 in 0..255, one colour or fading downwards into another."""
    top, foot = (np.array(COLOURS[name].rgb) * 0.55 + 255 * 0.45 for name in colours)
    down = np.linspace(0, 1, SIDE)[:, None, None]
    return np.broadcast_to(top + (foot - top) * down, (SIDE, SIDE, 3)).astype(np.float32)


def _painted(grounds: list[Ground], rng: random.Random, sprites: Path | None) -> list[np.ndarray | None]:
    """The scenes that have a place, painted with trees and the like; None for the others."""
    out: list[np.ndarray | None] = [None] * len(grounds)
    rows = [i for i, ground in enumerate(grounds) if ground[0] not in COLOURS]
    if not rows or sprites is None:
        return out
    from pocket.data import compose  # torch takes seconds to import, and only scenes need it
    from pocket.data.scenes import DECOR
    from pocket.data.sprites import load

    everything = load(sprites)
    kinds = sorted({concept for row in DECOR.values() for concept in row[0]})
    kept = [
        (kind, everything.index[kind, DECOR_LOOK]) for kind in kinds if (kind, DECOR_LOOK) in everything.index
    ]
    number = {kind: i for i, (kind, _) in enumerate(kept)}
    painter = compose.Painter(everything.pixels[[row for _, row in kept]])
    layout = compose.empty_layout(len(rows))
    layout.numbers[:] = np.random.default_rng(rng.getrandbits(63)).random(
        layout.numbers.shape, dtype=np.float32
    )
    for row, i in enumerate(rows):
        place, time = grounds[i]
        layout.place[row], layout.time[row] = compose.PLACES.index(place), compose.TIMES.index(time)
        if place not in DECOR:
            continue
        ids, most, line, low, high = DECOR[place]
        for slot in range(rng.randint(0, most)):
            kind = rng.choice(ids)
            if kind in number:
                layout.sprite[row, slot] = number[kind]
                layout.box[row, slot] = (
                    rng.random(),
                    line + rng.uniform(0, 0.05),
                    rng.uniform(low, high),
                    rng.choice((-1, 1)),
                    0,
                )
                layout.shadow[row, slot] = 0.25
    drawn = painter.draw(layout, SIDE, SIDE).permute(0, 2, 3, 1).numpy() * 255
    for row, i in enumerate(rows):
        tint = np.array(compose.SPRITE_LIGHT[compose.TIMES.index(grounds[i][1])], dtype=np.float32)
        out[i] = np.concatenate([drawn[row], np.broadcast_to(tint, (SIDE, SIDE, 3))], axis=2)
    return out


def _stand(puppet: Puppet, pose: Pose, backdrop: np.ndarray, close: bool, rng: random.Random) -> np.ndarray:
    """The puppet before a backdrop, with a shadow under its feet; close, only its upper half fits in."""
    light = backdrop[0, 0, 3:] if backdrop.shape[2] == 6 else np.ones(3, np.float32)
    canvas = backdrop[..., :3].copy()
    height = round(SIDE * (rng.uniform(1.5, 1.7) if close else rng.uniform(0.66, 0.84)))
    drawn = render(puppet, pose, height)
    rgba = drawn.rgba.astype(np.float32)
    filled = np.flatnonzero(rgba[..., 3].any(1))
    left = (SIDE - height) // 2 + (0 if close else round(rng.uniform(-0.08, 0.08) * SIDE))
    top = round(SIDE * 0.06) - int(filled[0]) if close else round(SIDE * rng.uniform(0.92, 0.97)) - height
    foot = top + height * 0.975
    if not close and not pose.rise:
        y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
        columns = np.flatnonzero(drawn.rgba[-height // 6 :, :, 3].any(0))
        centre, half = left + float(columns.mean()), max(12.0, float(np.ptp(columns)) * 0.62)
        dark = (1 - ((x - centre) / half) ** 2 - ((y - foot) / (half * 0.22)) ** 2).clip(0, 1)
        canvas *= 1 - 0.30 * dark[..., None]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(SIDE, left + height), min(SIDE, top + height)
    part = rgba[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = part[..., 3:] / 255
    canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - alpha) + part[..., :3] * light * alpha
    return (canvas + 0.5).clip(0, 255).astype(np.uint8)


# ---------------------------------------------------------------------------------------- sprites


def puppet_sprite(seed: int) -> tuple[np.ndarray, np.ndarray, str, str, str]:
    """The puppet of a seed: pixels (4, 192, 192) uint8 premultiplied, joints (18, 3) float16 with x and y in shares
    of the side, a caption in English and Korean, and its look."""
    cv2.setNumThreads(1)
    rng = random.Random(seed)
    puppet, pose = random_puppet(rng), random_pose(rng)
    drawn = render(puppet, pose, 192)
    joints = drawn.keypoints / (192, 192, 1)
    return (
        drawn.premultiplied,
        joints.astype(np.float16),
        caption(puppet, pose, "en", rng, look_too=False),
        caption(puppet, pose, "ko", rng, look_too=False),
        puppet.look,
    )


def make_sprites(path: Path, count: int, seed: int, workers: int | None = None) -> None:
    """An `.npz` of `count` puppets: `pixels`, `joints`, `en`, `ko`, `look`, row by row."""
    seeds = range(seed * 10**6, seed * 10**6 + count)
    rows = in_parallel(puppet_sprite, seeds, workers, chunksize=64)
    pixels, joints, en, ko, look = zip(*rows, strict=True)
    draft = path.with_name(path.name + ".tmp.npz")
    words = {"en": np.array(en), "ko": np.array(ko), "look": np.array(look)}
    np.savez(draft, pixels=np.stack(pixels), joints=np.stack(joints), **words)
    os.replace(draft, path)


def save_picture(picture: Image.Image, path: Path) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    picture.save(draft, format="PNG" if path.suffix == ".png" else "JPEG", quality=92)
    os.replace(draft, path)


def _save_text(text: str, path: Path) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
