"""A puppet in a pose as a picture, with everything known about each pixel and joint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from pocket.data.puppets.body import body_pieces
from pocket.data.puppets.faces import FACES, Face
from pocket.data.puppets.globe import Globe
from pocket.data.puppets.head import head_pieces
from pocket.data.puppets.identity import Puppet
from pocket.data.puppets.poses import BEAST, CHILD, CUB, ELDER, MAN, WOMAN, Build, Pose, Skeleton
from pocket.data.puppets.raster import PART, Frame, Piece, line_art, paint
from pocket.data.puppets.shapes import turned

JOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
"""OpenPose's eighteen, in its order."""
STAGE = 4.9
"""Height of a picture in heads when figures keep their size."""
MARGIN = 0.02


@dataclass(frozen=True)
class PuppetPicture:
    """A drawn puppet.

    `rgba` (size, size, 4) uint8, straight alpha. `keypoints` (18, 3) float32: x, y in pixels (centres at .5) and
    0 absent (a face's far side), 1 hidden behind another part, 2 seen. `parts` (size, size) uint8 numbers of
    `PARTS`. `layers` (size, size) uint8: the topmost layer's rank, from 0 for nothing to 255 for the nearest.
    """

    rgba: np.ndarray
    keypoints: np.ndarray
    parts: np.ndarray
    layers: np.ndarray
    frame: Frame
    pieces: tuple[Piece, ...]

    @cached_property
    def lines(self) -> np.ndarray:
        """Line art, (size, size) uint8: black on white."""
        return line_art(self.pieces, self.frame)

    @property
    def premultiplied(self) -> np.ndarray:
        """(4, size, size) uint8, colour times alpha: a sprite as the scene painter takes it."""
        rgba = self.rgba.astype(np.float32)
        rgba[..., :3] *= rgba[..., 3:] / 255
        return (rgba + 0.5).astype(np.uint8).transpose(2, 0, 1)


def build_of(puppet: Puppet) -> Build:
    if not puppet.human:
        return CUB if puppet.age == "child" else BEAST
    if puppet.age == "child":
        return CHILD
    if puppet.age == "elder":
        return ELDER
    return WOMAN if puppet.sex == "female" else MAN


def render(
    puppet: Puppet, pose: Pose, size: int = 192, fit: Literal["box", "stage"] = "box"
) -> PuppetPicture:
    """Draw a puppet on a square picture of `size` pixels with a clear ground.

    `fit` "box" fills the picture and stands at its bottom, as sprites do; "stage" keeps one scale for all poses
    and puppets (an adult is taller than a child, a jump leaves the ground).
    """
    skeleton = Skeleton(build_of(puppet), pose)
    head, globe = head_pieces(puppet, pose, skeleton)
    pieces = body_pieces(puppet, pose, skeleton) + head
    joints = find_joints(FACES[puppet.kind], skeleton, globe)
    if pose.roll:
        origin = np.zeros(2)
        for piece in pieces:
            piece.shapes = [turned(shape, origin, pose.roll) for shape in piece.shapes]
            piece.decals = [
                decal._replace(shape=turned(decal.shape, origin, pose.roll)) for decal in piece.decals
            ]
        joints[:, :2] = turned(joints[:, :2], origin, pose.roll)
    frame = _frame(pieces, pose, size, fit)
    painted = paint(pieces, frame, puppet.look)
    joints[:, :2] = frame.pixels(joints[:, :2])
    _mark_hidden(joints, painted.parts)
    return PuppetPicture(
        painted.rgba, joints.astype(np.float32), painted.parts, painted.layers, frame, tuple(pieces)
    )


def _frame(pieces: list[Piece], pose: Pose, size: int, fit: str) -> Frame:
    shapes = [shape for piece in pieces for shape in piece.shapes]
    low = np.min([shape.min(0) for shape in shapes], axis=0)
    high = np.max([shape.max(0) for shape in shapes], axis=0)
    if fit == "box":
        scale = size * (1 - 2 * MARGIN) / float(max(high - low))
        return Frame(
            scale,
            size / 2 - scale * float(low[0] + high[0]) / 2,
            size * (1 - MARGIN) - scale * float(high[1]),
            size,
        )
    scale = size / STAGE
    x = size / 2 - scale * (float(low[0] + high[0]) / 2 if pose.roll else 0.0)
    return Frame(scale, x, size * 0.96 - scale * (float(high[1]) + pose.rise), size)


def find_joints(face: Face, skeleton: Skeleton, globe: Globe) -> np.ndarray:
    """The eighteen joints in heads, (18, 3), the last number 2 where there is one."""
    seen = skeleton.seen
    out = np.zeros((18, 3))
    body = {"hip": "thigh"}
    for i, joint in enumerate(JOINTS[1:14], 1):
        name = (
            joint
            if joint == "neck"
            else f"{joint.split('_')[0]}_{body.get(joint.split('_')[1], joint.split('_')[1])}"
        )
        out[i] = (*seen[name][:2], 2)
    tip = face.muzzle[3] if face.muzzle else 1.0
    for i, (lon, lat, k, least) in {
        0: (0.0, face.nose_lat, tip * 0.97, -0.3),
        14: (-face.eye_lon, face.eye_lat, 1.0, 0.10),
        15: (face.eye_lon, face.eye_lat, 1.0, 0.10),
        16: (-86.0, -6.0, 0.94, -0.35),
        17: (86.0, -6.0, 0.94, -0.35),
    }.items():
        spot, z = globe.pin(lon, lat, k)
        if z > least:
            out[i] = (*spot, 2)
    return out


_HEAD = {PART[name] for name in ("head", "face", "eye", "brow", "nose", "mouth", "beard", "glasses")}
_TORSO = {PART[name] for name in ("trunk", "top", "bottom", "neck", "scarf")}
_SHOWN: list[set[int]] = [_HEAD, _TORSO]
for _side in ("right", "left"):
    _SHOWN += [
        {PART[f"{_side}_arm"]}
        | ({PART["top"], PART["trunk"]} if k == 0 else {PART[f"{_side}_hand"]} if k == 2 else set())
        for k in range(3)
    ]
for _side in ("right", "left"):
    _leg = {PART[f"{_side}_leg"]}
    _SHOWN += [_leg | _TORSO, _leg | {PART["top"], PART["bottom"]}, _leg | {PART[f"{_side}_foot"]}]
_SHOWN += [_HEAD, _HEAD, _HEAD | {PART["ear"], PART["hair"]}, _HEAD | {PART["ear"], PART["hair"]}]


def _mark_hidden(joints: np.ndarray, parts: np.ndarray) -> None:
    size = len(parts)
    for joint, shown in zip(joints, _SHOWN, strict=True):
        if joint[2]:
            x, y = int(joint[0]), int(joint[1])
            inside = 0 <= x < size and 0 <= y < size
            joint[2] = 2 if inside and int(parts[y, x]) in shown else 1
