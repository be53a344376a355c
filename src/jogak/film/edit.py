"""The cut: drawn clips, the mix and the subtitles become one film of exactly `plan.seconds` x 24 frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import soundfile

from jogak.film.cards import card_notes, end_card, lay, subtitle_words, title_card
from jogak.film.enlarge import crop_to_film, enlarge
from jogak.film.frames import read_frames
from jogak.film.inbetween import resample
from jogak.film.mux import write_mp4
from jogak.film.subtitles import Cue, Subtitles
from jogak.film.timeline import Segment, segments
from jogak.spec import (
    AUDIO_RATE,
    FILM_FPS,
    FILM_HEIGHT,
    FILM_WIDTH,
    Audio,
    Clip,
    FilmPlan,
    JogakError,
    Shot,
    Video,
)
from jogak.store import current, step

DISSOLVE_FRAMES = 8
"""A third of a second."""
SOFT_MOODS = frozenset({"calm", "sad", "mysterious"})
"""Moods whose shots melt into each other; the others are cut hard."""
MIN_DRAWN_FPS = 8


@step(version="1")
def edit_film(
    plan: FilmPlan,
    clips: tuple[Clip, ...],
    mix: Audio,
    subtitles: Subtitles | None = None,
    burn_in: bool = False,
) -> Video:
    """Cut the film: title card, each clip at 24 frames a second and 1280x720, end card, sound, subtitles.

    `clips` are the shots' in the plan's order, `mix` is 48 kHz and as long as the film. With `burn_in` the
    subtitles are drawn into the picture as well. Memory holds a few pictures, whatever the film's length.
    Raises `JogakError` when a clip or the mix does not fit the plan.
    """
    check_material(plan, clips, mix)
    here = current()
    cues = subtitles.cues if subtitles else ()
    total = segments(plan)[-1].stop
    pictures = film_pictures(plan, clips)

    def report(done: int) -> None:
        here.check_cancel()
        if done % FILM_FPS == 0 or done == total:
            here.progress(done, total, "cutting")

    with here.store.new_file(".mp4") as path:
        shown = with_subtitles(pictures, cues) if burn_in else pictures
        frames = write_mp4(path, shown, mix.path, cues, plan.title, plan.lang, report)
        return here.store.put(path, Video, width=FILM_WIDTH, height=FILM_HEIGHT, frames=frames, fps=FILM_FPS)


def check_material(plan: FilmPlan, clips: Sequence[Clip], mix: Audio) -> None:
    """Raises `JogakError` unless each shot has a long enough clip, and the film its sound."""
    if len(clips) != len(plan.shots):
        raise JogakError(f"There are {len(clips)} clips for {len(plan.shots)} shots; draw each shot once.")
    for shot, clip in zip(plan.shots, clips, strict=True):
        _check_clip(shot, clip)
    try:
        sound = soundfile.info(mix.path)
    except (soundfile.LibsndfileError, OSError):
        raise JogakError(f"The film's sound {mix.path.name} cannot be read; mix it again.") from None
    if sound.samplerate != AUDIO_RATE or sound.channels > 2:
        raise JogakError(
            f"The film's sound has {sound.channels} channels at {sound.samplerate} Hz; mix 2 at 48000 Hz."
        )
    off = sound.frames / AUDIO_RATE - plan.seconds
    if abs(off) > 1 / FILM_FPS:
        raise JogakError(
            f"The film's sound is {off:+.2f} s off the film's {plan.seconds:.2f} s; mix it to its length."
        )


def _check_clip(shot: Shot, clip: Clip) -> None:
    if not clip.path.is_file():
        raise JogakError(f"The clip of shot {shot.id} is gone ({clip.path.name}); draw the shot again.")
    if clip.fps < MIN_DRAWN_FPS:
        raise JogakError(
            f"Shot {shot.id} was drawn at {clip.fps:g} frames a second; draw at least {MIN_DRAWN_FPS}."
        )
    # the last drawn frame may stand for its own time, but no longer
    if clip.seconds < shot.seconds - 1 / clip.fps - 1e-6:
        raise JogakError(
            f"Shot {shot.id} lasts {shot.seconds:g} s, its clip {clip.seconds:.2f} s; draw the shot again."
        )


def film_pictures(plan: FilmPlan, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
    """Every picture of the film in order, (720, 1280, 3) uint8 RGB."""
    title, *shots, end = segments(plan)
    first = enlarge(crop_to_film(next(read_frames(clips[0].path))))
    yield from title_card(plan, first, title.frames)
    last = first
    for index, (part, clip) in enumerate(zip(shots, clips, strict=True)):
        melting = DISSOLVE_FRAMES if dissolves(plan, index) else 0
        before = last
        for at, picture in enumerate(_shot_pictures(part, clip)):
            last = picture
            if at < melting:
                # what went before stands still while it fades, for no frame of it is drawn beyond its end
                share = (at + 1) / (melting + 1)
                picture = cv2.addWeighted(before, 1 - share, picture, share, 0)
            yield picture
    yield from end_card(plan, last, end.frames)


def _shot_pictures(part: Segment, clip: Clip) -> Iterator[np.ndarray]:
    drawn = (crop_to_film(frame) for frame in read_frames(clip.path))
    for frame in resample(drawn, clip.fps, part.frames, FILM_FPS):
        yield enlarge(frame)


def dissolves(plan: FilmPlan, index: int) -> bool:
    """Does shot `index` fade in over the one before it? The first never does: the title card pulls focus into
    it.
    """
    if index == 0 or min(plan.shots[index - 1].seconds, plan.shots[index].seconds) < 2:
        return False
    return plan.music.mood in SOFT_MOODS or plan.shots[index].size == "closing"


def with_subtitles(pictures: Iterator[np.ndarray], cues: Sequence[Cue]) -> Iterator[np.ndarray]:
    """The pictures with each cue drawn at their foot while it lasts."""
    waiting = list(cues)
    words = None
    for index, picture in enumerate(pictures):
        at = index / FILM_FPS
        while waiting and waiting[0].end <= at:
            waiting.pop(0)
            words = None
        if waiting and waiting[0].start <= at:
            words = words or subtitle_words(waiting[0].text)
        if words is not None:
            floating = picture.astype(np.float32)
            lay(floating, words)
            picture = np.clip(floating + 0.5, 0, 255).astype(np.uint8)
        yield picture


def edit_notes(plan: FilmPlan) -> tuple[str, ...]:
    """What the cut decided by itself, in the film's language, for the report."""
    melted = [shot.id for index, shot in enumerate(plan.shots) if dissolves(plan, index)]
    notes = list(card_notes(plan))
    if melted:
        into = ", ".join(melted)
        notes.append(
            f"{into} 샷은 앞 샷에서 3분의 1초 동안 겹쳐 넘어갑니다."
            if plan.lang == "ko"
            else f"The film dissolves into {into} over a third of a second."
        )
    return tuple(notes)
