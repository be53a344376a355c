"""A pose is kept: joints of puppets that no training drew, and the joints that pocket's net reads from what came out.

The maps are those that `jogak image --control pose=` gives to the ControlNet (`jogak.adapters.poses.draw_pose`). The
ceiling is the generator's picture after pocket's autoencoder, the false alarm another puppet's picture.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jogak.adapters.poses import draw_pose
from jogak.judge.stats import mean_score
from jogak.models import keypoints
from jogak.models.captions import Scene
from jogak.models.keypoints import NAME, load_keypoints
from pocket.data.compose import Painter
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites
from pocket.judge.bench import SIZE, Bench, Pictures, paint_layout, prompts_of
from pocket.judge.controlled import Sweep, controlled_drawer
from pocket.judge.keypoints import Places, decoded, one_scene_each, places, scored, with_puppets
from pocket.judge.rows import Row, Unmeasured
from pocket.train.keypoints import figure

BAR = 0.85


@dataclass(frozen=True)
class Posed:
    """Scenes with one puppet each."""

    scenes: list[Scene]
    pictures: Pictures
    joints: tuple[Places, ...]
    maps: Pictures


def rows(bench: Bench) -> Iterator[Row | Unmeasured]:
    """PCK@0.1 by weight, of the puppets of which enough can be seen."""
    posed, reader = posed_cases(bench.sprites, bench.count), load_keypoints(keypoints.FOLDER)

    def pck(pictures: Pictures) -> NDArray[np.float64]:
        return np.array(scored([places(reader, picture) for picture in pictures], posed.joints)["pck"])

    yield Row(
        mean_score("false_alarm_pose_pck", pck(np.roll(posed.pictures, 1, 0)), backbone=NAME, better="lower")
    )
    yield Row(mean_score("ceiling_pose_pck", pck(decoded(posed.pictures)), backbone=NAME))
    if bench.draw is None:
        return
    draw, prompts = controlled_drawer(bench.draw), prompts_of(posed.scenes)
    yield from Sweep("pose", "pck", pck, BAR).rows(lambda weight: draw(prompts, 6400, posed.maps, weight))


def posed_cases(sprites: Sprites, count: int) -> Posed:
    """`count` held-out scenes, each with a puppet of its own that training never drew."""
    whole = with_puppets(sprites, 2 * count)  # twice as many: not every one has a held-out place
    assert whole.joints is not None
    sampler = SceneSampler(whole, held_out=True, people=1.0)
    scenes = one_scene_each(sampler, count, random.Random(821))
    layout = sampler.layout(scenes, random.Random(822), 1.0)
    joints = figure(layout, whole.joints, 1.0)
    at = np.where(joints[..., 2:] > 0, joints[..., :2] * SIZE, np.nan).astype(np.float64)
    return Posed(
        scenes, paint_layout(Painter(whole.pixels), layout), tuple(at), np.stack([*map(pose_of, at)])
    )


def pose_of(joints: Places) -> NDArray[np.uint8]:
    """The map (SIZE, SIZE, 3) of joints (18, 2) in pixels, NaN where there is none."""
    points = [None if np.isnan(point).any() else point for point in (joints / SIZE).tolist()]
    return draw_pose(points, SIZE, SIZE)
