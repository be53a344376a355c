"""Judge the keypoint net: puppets it never saw, in held-out scenes, read as `jogak eval` reads them.

    python -m pocket.judge.keypoints --sprites build/sprites.npz [--scenes 256] [--weights FOLDER]

Each scene, 256×256, has a puppet of its own, drawn from seeds far from those of training. Printed are PCK@0.1 and OKS
of the joints inside the picture (one that is left out counts as missed), how often the net is right that a joint is
there, the same PCK after a way through pocket's autoencoder, and in how many scenes without a puppet it sees somebody.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray

from jogak.judge.control_fidelity import FEWEST_JOINTS, pose_fidelity
from jogak.judge.stats import mean_score, share_score
from jogak.models import keypoints
from jogak.models.captions import Scene
from jogak.models.keypoints import FEWEST, NAME, JointReader, load_keypoints
from pocket.data.compose import Painter
from pocket.data.puppets.export import puppet_sprite
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites
from pocket.data.sprites import load as load_sprites
from pocket.judge.bench import SIZE, WEIGHTS, Bench, Pictures, paint, paint_layout
from pocket.judge.rows import Row, Unmeasured, say
from pocket.train.keypoints import figure

PUPPETS = 99_000_000
"""First seed of the puppets here; training counts from 0."""
MOST = 256
"""Scenes at most."""
DECODED = 128
"""Of these, sent through the autoencoder."""
BAR = 0.8
"""PCK@0.1 below which the net is not shipped."""
Places = NDArray[np.float64]
"""(18, 2) pixels, NaN for a joint that is not there."""


@dataclass(frozen=True)
class Cases:
    """Pictures of scenes with one puppet each, and where its joints are in each."""

    pictures: Pictures
    joints: tuple[Places, ...]


def rows(bench: Bench) -> Iterator[Row | Unmeasured]:
    """What the scorecard says of the shipped net."""
    yield from reader_rows(load_keypoints(keypoints.FOLDER), bench.sprites, min(bench.scenes, MOST))


def reader_rows(reader: JointReader, sprites: Sprites, count: int) -> Iterator[Row]:
    cases = puppet_cases(sprites, count)
    found = [places(reader, picture) for picture in cases.pictures]
    values = scored(found, cases.joints)
    yield Row(mean_score("keypoints_pck", values["pck"], backbone=NAME, seed=0), BAR)
    yield Row(mean_score("keypoints_oks", values["oks"], backbone=NAME, seed=0))
    # joints of one puppet are no independent cases, so the share is taken of each picture
    right = [float((there(a) == there(b)).mean()) for a, b in zip(found, cases.joints, strict=True)]
    yield Row(mean_score("keypoints_there", right, backbone=NAME, seed=0))
    again = [places(reader, picture) for picture in decoded(cases.pictures[:DECODED])]
    values = scored(again, cases.joints[:DECODED])
    yield Row(mean_score("keypoints_pck_decoded", values["pck"], backbone=NAME, seed=0), BAR)
    nobody = without_puppets(sprites, count)
    seen = [there(places(reader, picture)).sum() >= FEWEST for picture in nobody]
    yield Row(share_score("false_alarm_keypoints", np.array(seen), better="lower"))


def places(reader: JointReader, picture: NDArray[np.uint8]) -> Places:
    height, width = picture.shape[:2]
    return np.array([point or (np.nan, np.nan) for point in reader(picture)], np.float64) * (width, height)


def there(joints: Places) -> NDArray[np.bool_]:
    """(18,): which joints have a place."""
    return np.isfinite(joints).all(1)


def scored(found: list[Places], wanted: tuple[Places, ...]) -> dict[str, list[float]]:
    """PCK@0.1 and OKS of each picture in which enough joints can be seen."""
    values: dict[str, list[float]] = {"pck": [], "oks": []}
    for one, other in zip(found, wanted, strict=True):
        if there(other).sum() >= FEWEST_JOINTS:
            for name, value in pose_fidelity(one, other).items():
                values[name].append(value)
    return values


def puppet_cases(sprites: Sprites, count: int) -> Cases:
    """`count` held-out scenes, each with a puppet of its own that training never drew."""
    whole = with_puppets(sprites, 2 * count)  # twice as many: not every one has a held-out place
    assert whole.joints is not None
    sampler = SceneSampler(whole, held_out=True, people=1.0)
    scenes = one_scene_each(sampler, count, random.Random(71))
    layout = sampler.layout(scenes, random.Random(72), 1.0)
    joints = figure(layout, whole.joints, 1.0)
    at = np.where(joints[..., 2:] > 0, joints[..., :2] * SIZE, np.nan).astype(np.float64)
    return Cases(paint_layout(Painter(whole.pixels), layout), tuple(at))


def with_puppets(sprites: Sprites, count: int) -> Sprites:
    """The drawings, and puppets of seeds that no training uses."""
    made = [puppet_sprite(PUPPETS + row) for row in range(count)]
    keys = [(f"puppet-{PUPPETS + row}", look) for row, (*_, look) in enumerate(made)]
    first = len(sprites.pixels)
    return Sprites(
        np.concatenate([sprites.pixels, np.stack([pixels for pixels, *_ in made])]),
        sprites.index | {key: first + row for row, key in enumerate(keys)},
        keys,
        [(en, ko) for _, _, en, ko, _ in made],
        np.concatenate([np.zeros((first, 18, 3), np.float16), np.stack([joints for _, joints, *_ in made])]),
    )


def one_scene_each(sampler: SceneSampler, count: int, rng: random.Random) -> list[Scene]:
    """Scenes with different puppets, so that they are independent cases."""
    found: dict[str, Scene] = {}
    while len(found) < count:
        scene = sampler.scene(rng)
        found.setdefault(scene.subjects[0].concept, scene)
    return list(found.values())


def without_puppets(sprites: Sprites, count: int) -> Pictures:
    """Held-out scenes of drawings whose subject has no body: people and animals of the drawings may be seen."""
    sampler, rng = SceneSampler(sprites, held_out=True), random.Random(73)
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sampler.scene(rng)
        if not any(sampler.by_id[one.concept].kind in ("person", "animal") for one in scene.subjects):
            scenes.append(scene)
    return paint(Painter(sprites.pixels), sampler, scenes, 74)


@torch.inference_mode()
def decoded(pictures: Pictures) -> Pictures:
    """Pictures after a way through pocket's autoencoder, as the generator's are."""
    vae = AutoencoderKL.from_pretrained(WEIGHTS / "vae").eval()
    parts = []
    for picture in pictures:
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        back = vae.decode(vae.encode(pixels).latent_dist.mode()).sample[0]  # pyright: ignore
        parts.append(((back.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    return np.stack(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=keypoints.FOLDER, help="folder of the net")
    parser.add_argument("--scenes", type=int, default=MOST)
    args = parser.parse_args()
    for row in reader_rows(load_keypoints(args.weights), load_sprites(args.sprites), args.scenes):
        say(row)


if __name__ == "__main__":
    main()
