"""Shots in motion, drawn by the model that ships: repeatable, moving as asked, drawn and not panned."""

from __future__ import annotations

import threading
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from jogak.film import motion
from jogak.film.cutout import cut_out
from jogak.film.frames import read_frames
from jogak.film.motion import (
    DRAWN_FPS,
    HEIGHT,
    WIDTH,
    draw_keyframe,
    draw_shot,
    drawn_frames,
    key_of,
    picture_of,
)
from jogak.film.pose import carry, life, pose_at
from jogak.models import DiffusionModel, load, resolve
from jogak.spec import Event, Image, Line, ModelRef, Shot
from jogak.store import Cancelled, Progress, Store, current

PROMPT = "a fox in a meadow on a sunny day"


@pytest.fixture(scope="module")
def ref() -> ModelRef:
    return resolve("pocket")


@pytest.fixture(scope="module")
def model(ref: ModelRef) -> DiffusionModel:
    return load(ref)


def shot(**changes: object) -> Shot:
    return Shot.parse({"id": "s1", "prompt": PROMPT, "seconds": 1, "seed": 5, "motion": 0.4} | changes)


def scene() -> np.ndarray:
    """A drawing to move about: sky, hills, ground with flowers, and a ball that stands on it."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    picture = np.empty((HEIGHT, WIDTH, 3), dtype=np.float32)
    picture[:] = np.stack([110 + 0.6 * y, 170 + 0.4 * y, 240 - 0.1 * y], axis=-1)
    hills = y > 95 + 14 * np.sin(x / 23) + 9 * np.sin(x / 11)
    picture[hills] = (70, 120, 80)
    picture[y > 125] = (110, 180, 80)
    rng = np.random.default_rng(3)
    for _ in range(70):
        at = int(rng.integers(0, WIDTH)), int(rng.integers(130, HEIGHT))
        cv2.circle(picture, at, 2, [float(v) for v in rng.integers(120, 255, 3)], -1, cv2.LINE_AA)
    for at in ((60, 40), (210, 30), (280, 60)):
        cv2.ellipse(picture, at, (26, 9), 0, 0, 360, (250, 250, 250), -1, cv2.LINE_AA)
    cv2.circle(picture, (150, 128), 28, (225, 90, 40), -1, cv2.LINE_AA)
    cv2.circle(picture, (142, 120), 5, (30, 20, 20), -1, cv2.LINE_AA)
    return picture.round().astype(np.uint8)


def blob(x: float, y: float, radius: float) -> np.ndarray:
    at_y, at_x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.exp(-(((at_x - x) ** 2 + (at_y - y) ** 2) / radius**2)).astype(np.float32)


def flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Optical flow from a to b, (H, W, 2)."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (a, b)]
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey[0], grey[1], np.zeros(0))


# ------------------------------------------------------------------------------ what a shot depends on


def test_lines_events_and_names_leave_the_picture_alone() -> None:
    plain = shot()
    told = shot(
        id="other", size="close", light="warm", lines=[Line(text="안녕")], events=[Event(kind="bell", at=0.5)]
    )
    assert picture_of(told) == picture_of(plain)
    assert key_of(told) == key_of(plain)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "a cat"),
        ("negative", "blue"),
        ("camera", "zoom_in"),
        ("seconds", 2),
        ("seed", 6),
        ("motion", 0.5),
    ],
)
def test_everything_that_is_drawn_changes_the_picture(field: str, value: object) -> None:
    assert picture_of(shot(**{field: value})) != picture_of(shot())
    changes_key = field in ("prompt", "negative", "seed")
    assert (key_of(shot(**{field: value})) != key_of(shot())) is changes_key


@pytest.mark.parametrize(("seconds", "frames"), [(1, 12), (1.01, 13), (3.5, 42), (4.1, 50), (15, 180)])
def test_frames_cover_the_seconds(seconds: float, frames: int) -> None:
    assert DRAWN_FPS >= 8
    assert picture_of(shot(seconds=seconds)).frames == frames


# ------------------------------------------------------------------------------ camera and subject


CAMERAS = {
    "pan_right": (-1, 0, 0),
    "pan_left": (1, 0, 0),
    "tilt_down": (0, -1, 0),
    "tilt_up": (0, 1, 0),
    "zoom_in": (0, 0, 1),
    "zoom_out": (0, 0, -1),
    "still": (0, 0, 0),
}


def travel(camera: str, seconds: float = 4) -> tuple[float, float, float]:
    """How far the picture goes right and down, in pixels, and how much it grows, from first to last frame."""
    ends = [pose_at(camera, (), 0, seconds, at, 0, (WIDTH, HEIGHT))[0] for at in (0, seconds)]
    middle = np.array([[WIDTH / 2], [HEIGHT / 2]])
    (x0, y0), (x1, y1) = (carry(end, middle)[:, 0] for end in ends)
    return float(x1 - x0), float(y1 - y0), float(np.log(ends[1][0, 0] / ends[0][0, 0]))


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_camera_goes_where_it_is_told(camera: str) -> None:
    went = travel(camera)
    for way, asked, least in zip(went, CAMERAS[camera], (30, 18, 0.15), strict=True):
        if asked:
            assert way * asked > least
        else:
            assert abs(way) < 1e-3


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_camera_never_sees_beyond_the_keyframe_and_moves_steadily(camera: str) -> None:
    corners = np.array([[0, WIDTH, 0, WIDTH], [0, 0, HEIGHT, HEIGHT]])
    steps = []
    before = None
    for at in np.linspace(0, 6, 73):
        seen = carry(np.linalg.inv(pose_at(camera, (), 1, 6, at, 0, (WIDTH, HEIGHT))[0]), corners)
        assert seen.min() > -0.01
        assert seen[0].max() < WIDTH + 0.01
        assert seen[1].max() < HEIGHT + 0.01
        if before is not None:
            steps.append(np.abs(seen - before).max())
        before = seen
    assert max(steps) <= 2.2 * (sum(steps) / len(steps)) + 1e-3


def test_a_pan_is_cut_short_rather_than_lose_the_subject() -> None:
    thing = cut_out(scene(), blob(150, 128, 22))[0].stand._replace(x=250.0)
    for at in (0.0, 4.0):
        x, _ = carry(
            pose_at("pan_left", (thing,), 0, 4, at, 0, (WIDTH, HEIGHT))[1], np.array([[250.0], [150.0]])
        )[:, 0]
        assert 0 < x < WIDTH


def test_what_stands_in_the_picture_is_cut_out_cleanly() -> None:
    things = cut_out(scene(), blob(149, 126, 26))
    assert len(things) == 1
    true = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    cv2.circle(true, (150, 128), 28, 1, -1)
    found = things[0].alpha > 0.5
    assert (found & (true > 0)).sum() / (found | (true > 0)).sum() > 0.9
    assert things[0].stand.x == pytest.approx(150, abs=2)
    assert things[0].stand.y == pytest.approx(157, abs=3)


def test_nothing_is_cut_out_of_what_has_no_subject() -> None:
    assert cut_out(scene(), np.zeros((HEIGHT, WIDTH), dtype=np.float32)) == ()
    assert cut_out(scene(), np.ones((HEIGHT, WIDTH), dtype=np.float32)) == ()


def test_more_motion_moves_the_subject_more_and_none_keeps_it() -> None:
    stand = cut_out(scene(), blob(149, 126, 26))[0].stand
    head = np.array([[stand.x + 5], [stand.y - stand.height]])
    ways = []
    for amount in (0.0, 0.3, 0.6, 1.0):
        path = [carry(life(stand, amount, at, at / 4, 1.0), head)[:, 0] for at in np.linspace(0, 4, 49)]
        ways.append(max(float(np.linalg.norm(p - path[0])) for p in path))
    assert ways[0] < 1e-3
    assert ways == sorted(ways)
    assert ways[3] > 5


# ------------------------------------------------------------------------------ drawing


@pytest.fixture(scope="module")
def panned(model: DiffusionModel) -> list[np.ndarray]:
    return list(drawn_frames(model, scene(), picture_of(shot(camera="pan_right"))))


def test_frames_are_pictures_of_the_right_size(panned: list[np.ndarray]) -> None:
    assert len(panned) == DRAWN_FPS
    assert all(frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8 for frame in panned)
    assert all(frame.std() > 5 for frame in panned)


def test_drawn_frames_move_with_the_camera(panned: list[np.ndarray]) -> None:
    moved = flow(panned[0], panned[-1])
    across, down = (float(np.median(moved[30:160, 40:280, axis])) for axis in (0, 1))
    assert -18 < across < -6  # 5 % of the frame, larger by the window's share
    assert abs(down) < 3


def test_no_frame_is_a_moved_copy_of_another(model: DiffusionModel, panned: list[np.ndarray]) -> None:
    """A panned still differs from its moved self by interpolation only; a drawn frame by what was drawn."""
    guide = motion._prepare(model, scene(), picture_of(shot(camera="pan_right")))
    poses = [motion._pose(guide, picture_of(shot(camera="pan_right")), k)[0] for k in range(DRAWN_FPS)]
    for before, after, then, now in zip(panned, panned[1:], poses, poses[1:], strict=False):
        matrix = (now @ np.linalg.inv(then))[:2]
        copy = cv2.warpAffine(before, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        difference = np.abs(copy.astype(int) - after)[20:-20, 20:-20]
        assert difference.mean() > 0.2
        assert (difference > 2).mean() > 0.01


def test_the_same_shot_gives_the_same_frames_in_any_order(
    model: DiffusionModel, panned: list[np.ndarray]
) -> None:
    other = picture_of(shot(seed=77))
    elsewhere = list(
        islice(drawn_frames(model, scene(), other), 2)
    )  # another shot in between changes nothing
    again = list(islice(drawn_frames(model, scene(), picture_of(shot(camera="pan_right"))), 5))
    assert all(np.array_equal(a, b) for a, b in zip(panned, again, strict=False))
    assert not np.array_equal(elsewhere[0], panned[0])


def test_a_still_shot_without_motion_is_drawn_anew_and_does_not_flicker(model: DiffusionModel) -> None:
    frames = list(islice(drawn_frames(model, scene(), picture_of(shot(motion=0))), 6))
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in pairwise(frames)]
    assert min(steps) > 0, "a frame was repeated"
    assert max(steps) < 2.5, "grey levels a frame"  # 1 %: (255 - 2.5) / 255 in VBench's measure


def test_a_keyframe_and_its_shot_go_through_the_store(ref: ModelRef, tmp_path: Path) -> None:
    seen: list[Progress] = []
    asked = shot(camera="zoom_in")
    told = shot(camera="zoom_in", lines=[Line(text="hi")])
    with Store(tmp_path / "a").run("film", spec=asked, on_progress=seen.append):
        keyframe = draw_keyframe(key_of(asked), 0, ref)
        other = draw_keyframe(key_of(asked), 1, ref)
        clip = draw_shot(picture_of(asked), keyframe, ref)
        drawn = [p.done for p in seen if p.text == "drawing frames"]
        assert draw_shot(picture_of(told), keyframe, ref) == clip
        assert len([p for p in seen if p.text == "drawing frames"]) == len(drawn), (
            "a new line drew the shot again"
        )
    with Store(tmp_path / "b").run("film", spec=asked):
        assert draw_keyframe(key_of(asked), 0, ref).sha256 == keyframe.sha256
    assert other.sha256 != keyframe.sha256, "takes are different drawings"
    assert drawn == list(range(1, DRAWN_FPS + 1))
    assert (clip.width, clip.height, clip.frames, clip.fps) == (WIDTH, HEIGHT, DRAWN_FPS, DRAWN_FPS)
    assert len(list(read_frames(clip.path))) == clip.frames
    assert "diffusion model" in clip.method


def test_cancelling_stops_within_a_frame(ref: ModelRef, tmp_path: Path) -> None:
    cancel = threading.Event()
    done: list[int] = []

    def stop_at_two(progress: Progress) -> None:
        if progress.text == "drawing frames":
            done.append(progress.done)
            if progress.done == 2:
                cancel.set()

    def draw_and_stop() -> None:
        with Store(tmp_path).run("film", spec=shot(), on_progress=stop_at_two, cancel=cancel):
            store = current().store
            with store.new_file(".png") as tmp:
                cv2.imwrite(str(tmp), scene()[:, :, ::-1])
                keyframe = store.put(tmp, Image, width=WIDTH, height=HEIGHT)
            draw_shot(picture_of(shot(seconds=4)), keyframe, ref)

    with pytest.raises(Cancelled):
        draw_and_stop()
    assert done == [1, 2]


def test_the_forecast_grows_with_seconds_and_takes(model: DiffusionModel) -> None:
    pace = motion.measure_pace(model)
    assert 0 < pace.denoise < 5
    one = motion.shot_preview_cost(2, pace)
    assert motion.shot_preview_cost(4, pace) > 1.7 * one
    assert motion.shot_preview_cost(2, pace, takes=3) > one
