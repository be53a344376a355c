"""What a film is worth: each shot by itself, never across a cut, then the whole with its sound.

Scores of a shot (VBench's, re-implemented; see `judge.motion` for what differs):

| name | what | observations | |---|---|---| | clip_score/pocket-judge | each frame against the shot's prompt,
in the prompt's own language | frames | | subject_consistency/efficientnet-lite0 | each frame's features
against the one before and the first | frames − 1 | | background_consistency/pocket-judge | the same on the
judging CLIP's embeddings | frames − 1 | | temporal_flicker | likeness of neighbours; only where camera and
picture rest | pairs | | temporal_flicker_compensated/dis-flow | the same after motion is undone, for every
shot | pairs | | motion_smoothness/dis-flow | dropped frames made again from their neighbours | dropped frames
| | motion_amount/dis-flow | speed of the fastest 5 % of the pixels | pairs at ~8 fps |

Judge the frames as they were drawn: frames in-between made for 24 fps are smooth by construction. Intervals
say how sure the mean over this shot's frames is; for the film, over its shots. They say nothing of other
films.
"""

from __future__ import annotations

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from jogak.judge import clip as judging_clip
from jogak.judge import features, motion
from jogak.judge.motion import Frames
from jogak.judge.stats import mean_score, share_score
from jogak.spec import Clip, Document, Image, JogakError, ModelRef, Shot
from jogak.spec.scores import Check, FilmScores, Score, ShotScores, SoundFacts
from jogak.store import current, step
from jogak.store.pictures import open_picture

SIDE = 512
"""Pixels; larger frames are made smaller before they are judged."""
MAX_PIXELS = 40 * 60 * 1280 * 720
"""Of all the frames of a clip together; more is refused before anything is decoded."""
LOUDNESS_LUFS, LOUDNESS_TOLERANCE = -14.0, 0.5
TRUE_PEAK_DBTP = -1.0
DIALOGUE_OVER_BED_DB = 6.0
EVENT_ERROR_MS = 40.0


@step(version="1")
def best_keyframe(keyframes: tuple[Image, ...], prompt: str, judge: ModelRef) -> Image:
    """The one of several pictures of one size that the judging CLIP finds nearest to the prompt."""
    eye = judging_clip.load_judge(judge.folder)
    seen = eye.see(
        np.stack([np.asarray(open_picture(keyframe.path).convert("RGB")) for keyframe in keyframes])
    )
    return keyframes[int(np.argmax(seen @ eye.read([prompt])[0]))]


@step(version="1")
def judge_shot(clip: Clip, shot: Shot, judge: ModelRef) -> ShotScores:
    """Score one shot's frames. A score that the shot is too short for (2 or 3 frames) is left out."""
    frames = read_clip(clip)
    current().check_cancel()
    return ShotScores(shot=shot.id, scores=tuple(score_frames(frames, clip.fps, shot, judge)))


def read_clip(clip: Clip) -> Frames:
    """The frames of a clip's video file, (N, H, W, 3) uint8 RGB, with the longer side at most `SIDE` pixels.

    Raises `JogakError` when the file cannot be read, or holds other frames than the handle says.
    """
    if clip.frames * clip.width * clip.height > MAX_PIXELS:
        raise JogakError(f"{clip.path.name} is too long or too large to be judged; make the shot shorter.")
    scale = min(1.0, SIDE / max(clip.width, clip.height))
    size = round(clip.width * scale), round(clip.height * scale)
    frames: list[NDArray[np.uint8]] = []
    try:
        with av.open(clip.path) as container:
            for picture in container.decode(video=0):
                if (picture.width, picture.height) != (clip.width, clip.height) or len(frames) == clip.frames:
                    raise JogakError(
                        f"{clip.path.name} holds other frames than it should; draw the shot again."
                    )
                frame = picture.to_ndarray(format="rgb24")
                frames.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.uint8))
    except (av.error.FFmpegError, IndexError) as error:
        raise JogakError(
            f"{clip.path.name} cannot be read as a clip ({error}); draw the shot again."
        ) from None
    if len(frames) < clip.frames:
        raise JogakError(
            f"{clip.path.name} holds {len(frames)} of {clip.frames} frames; draw the shot again."
        )
    return np.stack(frames)


def score_frames(frames: Frames, fps: float, shot: Shot, judge: ModelRef) -> list[Score]:
    """frames (N, H, W, 3) uint8 RGB, N ≥ 1, of one shot."""
    eye = judging_clip.load_judge(judge.folder)
    seen = eye.see(frames)
    # neighbours are alike: blocks of some √N frames keep that in the interval
    block = round(len(frames) ** 0.5)
    scores = [
        mean_score(
            f"clip_score/{judge.name}", 100 * seen @ eye.read([shot.prompt])[0],
            backbone=judge.name, unit="cos×100", block=block,
        )
    ]  # fmt: skip
    if len(frames) < 2:
        return scores
    for name, vectors, backbone in (
        ("subject_consistency", features.features(frames), features.BACKBONE),
        ("background_consistency", seen, judge.name),
    ):
        scores.append(mean_score(f"{name}/{backbone}", consistency(vectors), backbone=backbone, block=block))
    return scores + _motion_scores(frames, fps, shot, block)


def consistency(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """VBench's consistency for each frame but the first: vectors (N, D) → (N − 1,), in 0..1."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    before = (units[1:] * units[:-1]).sum(1)
    first = units[1:] @ units[0]
    # rounding may leave the cosine of two equal vectors a hair above 1
    return (before.clip(0, 1) + first.clip(0, 1)).astype(np.float64) / 2


def _motion_scores(frames: Frames, fps: float, shot: Shot, block: int) -> list[Score]:
    flow = motion.BACKBONE
    scores = []
    speed = motion.speeds(frames, fps)
    if len(speed):
        if shot.camera == "still" and motion.rests(speed[:, 1]):
            scores.append(mean_score("temporal_flicker", motion.steadiness(frames), block=block))
        moving = float(motion.moves(speed[:, 0]))
        scores += [
            mean_score(
                f"motion_amount/{flow}", speed[:, 0], backbone=flow, unit=motion.SPEED_UNIT, block=block
            ),
            Score(name=f"dynamic_degree/{flow}", value=moving, n=1, backbone=flow),
        ]
    steady = motion.compensated(frames)
    scores.append(mean_score(f"temporal_flicker_compensated/{flow}", steady, backbone=flow, block=block))
    if len(frames) >= 3:
        again = motion.smoothness(frames)
        scores.append(mean_score(f"motion_smoothness/{flow}", again, backbone=flow, block=block))
    return scores


@step(version="1")
def judge_film(shots: tuple[ShotScores, ...], sound: SoundFacts, model: str = "") -> FilmScores:
    """The film's own numbers, from its shots' (in the plan's order) and what was measured on its sound; `model` says
    in words what drew it, so that the numbers are never taken for another model's."""
    names = dict.fromkeys(score.name for shot in shots for score in shot.scores)
    film = []
    for name in names:
        found = [score for shot in shots if (score := shot.get(name))]
        values, like = [score.value for score in found], found[0]
        if name.startswith("dynamic_degree/"):
            film.append(share_score(name, np.array(values) > 0.5, backbone=like.backbone))
        else:
            film.append(mean_score(name, values, backbone=like.backbone, unit=like.unit, better=like.better))
    return FilmScores(film=tuple(film), shots=shots, checks=tuple(checks(sound)), sound=sound, model=model)


def checks(sound: SoundFacts) -> list[Check]:
    """The film's gates. A film without speech has no dialogue gate, one without moments no event gate."""
    found = [
        Check(
            name="integrated_loudness", value=sound.integrated_lufs, unit="LUFS",
            at_least=LOUDNESS_LUFS - LOUDNESS_TOLERANCE, at_most=LOUDNESS_LUFS + LOUDNESS_TOLERANCE,
        ),
        Check(name="true_peak", value=sound.true_peak_dbtp, at_most=TRUE_PEAK_DBTP, unit="dBTP"),
    ]  # fmt: skip
    if sound.dialogue_over_bed_db is not None:
        found.append(
            Check(
                name="dialogue_over_bed",
                value=sound.dialogue_over_bed_db,
                at_least=DIALOGUE_OVER_BED_DB,
                unit="dB",
            )
        )
    if sound.events:
        worst = max(abs(event.error_ms) for event in sound.events)
        found.append(
            Check(name="event_error", value=worst, at_most=EVENT_ERROR_MS, n=len(sound.events), unit="ms")
        )
    return found


@step(version="1")
def write_scores(scores: FilmScores) -> Document:
    """`scores.json`, of the shape that `jogak.spec.scores` writes down."""
    store = current().store
    with store.new_file(".json") as path:
        path.write_text(scores.to_json() + "\n", encoding="utf-8")
        return store.put(path, Document)
