"""A puppet's head, placed and turned."""

from __future__ import annotations

import math

from pocket.data.puppets.animals import AnimalHead
from pocket.data.puppets.faces import FACES
from pocket.data.puppets.globe import Globe, Shape
from pocket.data.puppets.identity import Puppet
from pocket.data.puppets.people import PersonHead
from pocket.data.puppets.poses import CAMERA_PITCH, Pose, Skeleton
from pocket.data.puppets.raster import Piece


def head_globe(pose: Pose, skeleton: Skeleton, shape: Shape) -> Globe:
    """Where the head is and how it is turned."""
    seen, build = skeleton.seen, skeleton.build
    spine = seen["head"][:2] - seen["hip"][:2]
    bowed = abs(pose.lean) >= 30
    aside = pose.lean * 0.25 * math.sin(math.radians(pose.yaw))
    tilt = aside if bowed else math.degrees(math.atan2(spine[0], -spine[1])) * 0.35
    pitch = CAMERA_PITCH * 0.7 + pose.nod + max(0.0, pose.lean) * 0.2
    yaw = pose.yaw + pose.head_turn
    return Globe(seen["head"][:2], build.head[0], build.head[1], yaw, pitch, tilt + pose.head_tilt, shape)


def head_pieces(puppet: Puppet, pose: Pose, skeleton: Skeleton) -> tuple[list[Piece], Globe]:
    """All layers of the head, and the globe they are on."""
    face = FACES[puppet.kind]
    shape = face.shape
    if puppet.human and puppet.age != "child":
        shape = Shape(0.80, 0.17 if puppet.sex == "male" else 0.22, 0.03)
    globe = head_globe(pose, skeleton, shape)
    drawer = PersonHead(puppet, pose, globe, face) if puppet.human else AnimalHead(puppet, pose, globe, face)
    return drawer.pieces(), globe
