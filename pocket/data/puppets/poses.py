"""How a puppet stands: directions of its limbs, the side it shows, its face; and the skeleton they make.

Lengths are in heads (an ordinary head is one high). In the puppet's own axes x points to its left, y down,
z forward; on the picture x points right, y down, and z towards the viewer. Angles are in degrees.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from pocket.data.puppets.words import MOUTHS, Expression, Hand, Mouth, View

YAW: dict[View, float] = {
    "front": 0.0,
    "three_quarter_left": -38.0,
    "three_quarter_right": 38.0,
    "side_left": -90.0,
    "side_right": 90.0,
    "back": 180.0,
}
"""Which way it faces: 90 is the picture's right."""
CAMERA_PITCH = 9.0
"""The camera looks down a little, so that what is nearer stands lower."""

Direction = tuple[float, float]
"""(lift, around): lift 0 hangs down, 90 is level, 180 points up; around 0 is outward, 90 forward, 180 inward,
-90 back."""


class Limb(NamedTuple):
    """Directions of an upper arm and forearm, or of a thigh and shin."""

    upper: Direction
    lower: Direction


ARM_DOWN = Limb((17, 5), (9, 70))
LEG_DOWN = Limb((4, 0), (1, 0))


@dataclass(frozen=True, slots=True)
class Pose:
    """Limbs, the way it faces, and its face. Left and right are the puppet's own."""

    name: str = "standing"
    left_arm: Limb = ARM_DOWN
    right_arm: Limb = ARM_DOWN
    left_leg: Limb = LEG_DOWN
    right_leg: Limb = LEG_DOWN
    left_hand: Hand = "rest"
    right_hand: Hand = "rest"
    lean: float = 0.0
    """Forward tilt of the trunk."""
    sway: float = 0.0
    """Tilt of the trunk towards its left."""
    rise: float = 0.0
    """How high the feet are above the ground, in heads."""
    roll: float = 0.0
    """The whole figure turned clockwise: 90 lies down."""
    head_turn: float = 0.0
    head_tilt: float = 0.0
    """Clockwise on the picture."""
    nod: float = 0.0
    """The chin towards the chest."""
    view: View = "front"
    turn: float = 0.0
    """Added to the view's angle."""
    expression: Expression = "neutral"
    mouth: Mouth = "rest"
    """For lip sync; "rest" leaves it to the expression."""

    @property
    def yaw(self) -> float:
        return YAW[self.view] + self.turn


_UP = Limb((120, 0), (146, 4))
NAMED: dict[str, Pose] = {
    pose.name: pose
    for pose in (
        Pose("standing", expression="happy"),
        Pose("back_view", view="back"),
        Pose(
            "walking",
            left_arm=Limb((34, 82), (52, 92)), right_arm=Limb((34, -78), (14, -60)),
            left_leg=Limb((30, -90), (52, -90)), right_leg=Limb((34, 88), (12, 80)),
            view="three_quarter_right", turn=14, expression="happy",
        ),
        Pose(
            "running",
            left_arm=Limb((48, 74), (118, 96)), right_arm=Limb((74, -76), (30, 40)),
            left_leg=Limb((34, -88), (88, -90)), right_leg=Limb((66, 86), (12, -85)),
            lean=14, rise=0.06, view="side_right", expression="happy",
        ),
        Pose(
            "waving",
            right_arm=Limb((94, 0), (142, 6)), right_hand="open", head_tilt=4, expression="happy",
        ),
        Pose(
            "sitting",
            left_arm=Limb((24, 20), (26, 60)), right_arm=Limb((24, 20), (26, 60)),
            left_leg=Limb((80, 68), (82, 76)), right_leg=Limb((80, 68), (82, 76)),
            lean=-4, expression="happy",
        ),
        Pose(
            "jumping",
            left_arm=Limb((112, 0), (128, 4)), right_arm=Limb((112, 0), (128, 4)),
            left_leg=Limb((40, 30), (52, -70)), right_leg=Limb((40, 30), (52, -70)),
            left_hand="open", right_hand="open", rise=0.42, expression="happy",
        ),
        Pose(
            "lying",
            left_arm=Limb((30, 70), (78, 150)), right_arm=Limb((22, 60), (60, 150)),
            left_leg=Limb((14, 40), (10, -50)), right_leg=Limb((8, 20), (6, -40)),
            roll=-84, view="three_quarter_left", turn=8, expression="sleepy",
        ),
        Pose(
            "pointing",
            left_arm=Limb((88, 12), (90, 12)), left_hand="point", head_turn=14, expression="neutral",
        ),
        Pose(
            "dancing",
            left_arm=Limb((108, 0), (142, 0)), right_arm=Limb((66, 0), (96, 20)),
            left_leg=Limb((6, 0), (4, 0)), right_leg=Limb((58, 30), (14, -150)),
            left_hand="open", right_hand="open", sway=-7, head_tilt=-8, turn=8, expression="happy",
        ),
        Pose(
            "cheering",
            left_arm=_UP, right_arm=_UP, left_hand="open", right_hand="open", expression="happy",
            left_leg=Limb((10, 0), (6, 0)), right_leg=Limb((10, 0), (6, 0)),
        ),
        Pose(
            "hands_on_hips",
            left_arm=Limb((52, -12), (46, 166)), right_arm=Limb((52, -12), (46, 166)),
            left_leg=Limb((9, 0), (6, 0)), right_leg=Limb((9, 0), (6, 0)), expression="neutral",
        ),
        Pose(
            "thinking",
            right_arm=Limb((48, 58), (152, 150)), left_arm=Limb((20, 50), (68, 158)),
            head_tilt=7, turn=12, expression="neutral",
        ),
        Pose(
            "open_arms",
            left_arm=Limb((76, 22), (92, 34)), right_arm=Limb((76, 22), (92, 34)),
            left_hand="open", right_hand="open", expression="happy",
        ),
        Pose(
            "bowing",
            left_arm=Limb((22, 60), (50, 140)), right_arm=Limb((22, 60), (50, 140)),
            lean=46, nod=16, view="three_quarter_right", turn=18, expression="neutral",
        ),
    )
}  # fmt: skip
ALL_ROUND = frozenset(
    {
        "standing",
        "walking",
        "running",
        "waving",
        "jumping",
        "dancing",
        "cheering",
        "open_arms",
        "sitting",
        "hands_on_hips",
    }
)
"""Poses that read from every side."""


def named_pose(name: str) -> Pose:
    """One of the named poses. Raises `KeyError`, naming all, for another name."""
    if name not in NAMED:
        raise KeyError(f"{name!r} is no pose; known are {', '.join(NAMED)}")
    return NAMED[name]


def random_pose(rng: random.Random, name: str | None = None) -> Pose:
    """A named pose (any, or the one given) with its limbs a little moved, a view it reads from, and a face."""
    if name is None:
        name = rng.choices(list(NAMED), [4 if name == "standing" else 2 for name in NAMED])[0]
    pose = NAMED[name]
    view = pose.view
    if name in ALL_ROUND:
        views: tuple[View, ...] = (
            "front", "three_quarter_left", "three_quarter_right", "side_left", "side_right", "back",
        )  # fmt: skip
        view = rng.choices(views, (0.36, 0.17, 0.17, 0.11, 0.11, 0.08))[0]
    elif view.endswith("right") and rng.random() < 0.5:
        view = "three_quarter_left" if view == "three_quarter_right" else "side_left"
        pose = mirrored(pose)
    if view.startswith("side"):
        pose = replace(pose, left_arm=_ahead(pose.left_arm), right_arm=_ahead(pose.right_arm))
    expressions: tuple[Expression, ...] = ("neutral", "happy", "sad", "angry", "surprised", "sleepy")
    expression = rng.choices(expressions, (0.2, 0.4, 0.1, 0.1, 0.12, 0.08))[0]
    pose = replace(
        moved(pose, rng, 6.0),
        view=view,
        turn=pose.turn + rng.uniform(-7, 7),
        expression=expression,
        head_turn=pose.head_turn + rng.uniform(-12, 12),
        head_tilt=pose.head_tilt + rng.uniform(-5, 5),
        mouth=rng.choice(MOUTHS) if expression == "neutral" and rng.random() < 0.4 else "rest",
    )
    if name in ("waving", "pointing", "dancing", "thinking") and rng.random() < 0.5:
        pose = mirrored(pose, keep_view=True)
    return pose


def _ahead(limb: Limb) -> Limb:
    """An arm that reaches sideways reaches forward instead: seen from the side it would hide the face."""

    def turned(direction: Direction) -> Direction:
        lift, around = direction
        return (lift, around + 74) if lift > 40 and -30 < around < 50 else direction

    return Limb(turned(limb.upper), turned(limb.lower))


def moved(pose: Pose, rng: random.Random, degrees: float) -> Pose:
    """The pose with every limb turned at random, by `degrees` as standard deviation."""

    def shaken(limb: Limb) -> Limb:
        lift = rng.gauss(0, degrees)
        return Limb(
            (limb.upper[0] + lift, limb.upper[1] + rng.gauss(0, degrees)),
            (limb.lower[0] + lift + rng.gauss(0, degrees), limb.lower[1] + rng.gauss(0, degrees)),
        )

    legs_free = pose.name not in ("standing", "back_view", "sitting", "bowing", "waving")
    return replace(
        pose,
        left_arm=shaken(pose.left_arm),
        right_arm=shaken(pose.right_arm),
        left_leg=shaken(pose.left_leg) if legs_free else pose.left_leg,
        right_leg=shaken(pose.right_leg) if legs_free else pose.right_leg,
    )


_MIRROR_VIEW: dict[View, View] = {
    "front": "front", "back": "back", "three_quarter_left": "three_quarter_right",
    "three_quarter_right": "three_quarter_left", "side_left": "side_right", "side_right": "side_left",
}  # fmt: skip


def mirrored(pose: Pose, keep_view: bool = False) -> Pose:
    """The pose as seen in a mirror: left limbs do what right limbs did."""
    return replace(
        pose,
        left_arm=pose.right_arm, right_arm=pose.left_arm, left_leg=pose.right_leg, right_leg=pose.left_leg,
        left_hand=pose.right_hand, right_hand=pose.left_hand, sway=-pose.sway, roll=-pose.roll,
        head_turn=-pose.head_turn, head_tilt=-pose.head_tilt,
        turn=pose.turn if keep_view else -pose.turn,
        view=pose.view if keep_view else _MIRROR_VIEW[pose.view],
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Build:
    """Lengths of a body, in heads."""

    head: tuple[float, float]
    """Half width and half height."""
    neck: float
    trunk: float
    shoulder: float
    """Half the distance between the shoulder joints."""
    hip: float
    chest: tuple[float, float]
    """Half width and half depth."""
    belly: tuple[float, float]
    seat: tuple[float, float]
    arm: tuple[float, float]
    """Upper arm, forearm."""
    arm_radius: tuple[float, float]
    hand: float
    leg: tuple[float, float]
    leg_radius: tuple[float, float]
    foot: float
    foot_radius: float


CHILD = Build(
    head=(0.545, 0.51), neck=0.02, trunk=0.66, shoulder=0.215, hip=0.125,
    chest=(0.235, 0.20), belly=(0.255, 0.235), seat=(0.26, 0.23),
    arm=(0.33, 0.30), arm_radius=(0.09, 0.072), hand=0.098,
    leg=(0.40, 0.37), leg_radius=(0.125, 0.095), foot=0.16, foot_radius=0.095,
)  # fmt: skip
WOMAN = Build(
    head=(0.50, 0.50), neck=0.07, trunk=0.86, shoulder=0.245, hip=0.14,
    chest=(0.25, 0.18), belly=(0.205, 0.165), seat=(0.275, 0.20),
    arm=(0.42, 0.40), arm_radius=(0.085, 0.065), hand=0.095,
    leg=(0.62, 0.58), leg_radius=(0.135, 0.09), foot=0.18, foot_radius=0.09,
)  # fmt: skip
MAN = Build(
    head=(0.50, 0.51), neck=0.07, trunk=0.90, shoulder=0.30, hip=0.14,
    chest=(0.32, 0.20), belly=(0.275, 0.20), seat=(0.265, 0.20),
    arm=(0.43, 0.41), arm_radius=(0.10, 0.08), hand=0.11,
    leg=(0.62, 0.58), leg_radius=(0.14, 0.105), foot=0.20, foot_radius=0.10,
)  # fmt: skip
ELDER = replace(
    WOMAN,
    head=(0.53, 0.51),
    trunk=0.80,
    belly=(0.27, 0.235),
    seat=(0.28, 0.23),
    leg=(0.46, 0.43),
    arm=(0.38, 0.36),
)
CUB = Build(
    head=(0.58, 0.51), neck=0.0, trunk=0.66, shoulder=0.21, hip=0.135,
    chest=(0.22, 0.19), belly=(0.275, 0.25), seat=(0.285, 0.25),
    arm=(0.33, 0.29), arm_radius=(0.10, 0.09), hand=0.108,
    leg=(0.35, 0.31), leg_radius=(0.14, 0.11), foot=0.18, foot_radius=0.11,
)  # fmt: skip
BEAST = Build(
    head=(0.57, 0.51), neck=0.02, trunk=0.84, shoulder=0.245, hip=0.15,
    chest=(0.26, 0.20), belly=(0.285, 0.25), seat=(0.29, 0.25),
    arm=(0.38, 0.36), arm_radius=(0.11, 0.09), hand=0.115,
    leg=(0.50, 0.46), leg_radius=(0.15, 0.115), foot=0.20, foot_radius=0.115,
)  # fmt: skip
GROWN = Build(
    head=(0.36, 0.50), neck=0.28, trunk=2.15, shoulder=0.80, hip=0.36,
    chest=(0.8, 0.4), belly=(0.65, 0.38), seat=(0.7, 0.4),
    arm=(1.30, 1.12), arm_radius=(0.2, 0.15), hand=0.3,
    leg=(1.80, 1.75), leg_radius=(0.3, 0.2), foot=0.5, foot_radius=0.15,
)  # fmt: skip
"""A photograph's proportions, for the pose maps of models that draw people: seven and a half heads."""


def limb_direction(direction: Direction, side: int) -> np.ndarray:
    """Unit vector in the puppet's axes; `side` is +1 for its left, -1 for its right."""
    lift, around = math.radians(direction[0]), math.radians(direction[1])
    return np.array(
        [side * math.sin(lift) * math.cos(around), math.cos(lift), math.sin(lift) * math.sin(around)]
    )


@dataclass(slots=True)
class Skeleton:
    """Joints on the picture: x and y in heads from the hips, and z towards the viewer.

    `own` keeps them in the puppet's axes. Names: hip, neck, head; and with left_ or right_ before them
    shoulder, elbow, wrist, thigh (its joint with the trunk), knee, ankle, toe.
    """

    build: Build
    pose: Pose
    own: dict[str, np.ndarray] = field(default_factory=dict)
    seen: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        yaw, pitch = math.radians(self.pose.yaw), math.radians(CAMERA_PITCH)
        cos, sin, level, fall = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
        turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        look = np.array([[1, 0, 0], [0, level, -fall], [0, fall, level]])
        self.matrix = turn @ look
        self._joints()
        names = list(self.own)
        seen = np.stack([self.own[name] for name in names]) @ self.matrix
        self.seen = dict(zip(names, seen, strict=True))

    matrix: np.ndarray = field(default_factory=lambda: np.eye(3))

    def _joints(self) -> None:
        build, pose, own = self.build, self.pose, self.own
        lean, sway = math.radians(pose.lean), math.radians(pose.sway)
        up = np.array([math.sin(sway), -math.cos(lean) * math.cos(sway), math.sin(lean)])
        across = np.array([math.cos(sway), math.sin(sway), 0.0])
        own["hip"] = np.zeros(3)
        own["neck"] = up * build.trunk
        head_up = up + np.array([0, -0.6, 0.25 * math.sin(lean)])
        head_up /= np.linalg.norm(head_up)
        own["head"] = own["neck"] + head_up * (build.neck + build.head[1] * 0.9)
        for name, side in (("left", 1), ("right", -1)):
            arm: Limb = getattr(pose, f"{name}_arm")
            leg: Limb = getattr(pose, f"{name}_leg")
            shoulder = own["neck"] - up * build.arm_radius[0] * 1.15 + across * side * build.shoulder
            elbow = shoulder + build.arm[0] * limb_direction(arm.upper, side)
            wrist = elbow + build.arm[1] * limb_direction(arm.lower, side)
            thigh = across * side * build.hip
            knee = thigh + build.leg[0] * limb_direction(leg.upper, side)
            shin = limb_direction(leg.lower, side)
            ankle = knee + build.leg[1] * shin
            toe = ankle + build.foot * self._foot(shin, side)
            own |= {
                f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_wrist": wrist,
                f"{name}_thigh": thigh, f"{name}_knee": knee, f"{name}_ankle": ankle, f"{name}_toe": toe,
            }  # fmt: skip

    @staticmethod
    def _foot(shin: np.ndarray, side: int) -> np.ndarray:
        """Forward and a little outward, square to the shin."""
        forward = np.array([0.24 * side, 0.0, 1.0])
        forward -= shin * (forward @ shin)
        length = np.linalg.norm(forward)
        if length < 0.35:  # the shin itself points forward: the toes point up
            forward = np.array([0.24 * side, -1.0, 0.0])
            forward -= shin * (forward @ shin)
            length = np.linalg.norm(forward)
        return forward / length

    def place(self, own: np.ndarray) -> np.ndarray:
        """Points in the puppet's axes as seen on the picture."""
        return own @ self.matrix
