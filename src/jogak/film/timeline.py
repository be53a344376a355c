"""Where everything lies in the film, frame by frame, and the same as OpenTimelineIO or EDL."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import opentimelineio as otio
from opentimelineio.opentime import RationalTime, TimeRange

from jogak.film.subtitles import Cue, Subtitles
from jogak.spec import AUDIO_RATE, FILM_FPS, Document, FilmPlan, Shot
from jogak.store import current, step

FILM_NAME = "film.mp4"
STEMS = ("music", "effects", "voice")
"""Sound tracks, each `stems/<name>.wav` beside the film."""


class Segment(NamedTuple):
    """A stretch of the film: the title card, a shot, or the end card: frames first … stop-1."""

    name: str
    first: int
    stop: int
    shot: Shot | None

    @property
    def frames(self) -> int:
        return self.stop - self.first


def segments(plan: FilmPlan) -> tuple[Segment, ...]:
    """The film in order, without a gap; the last segment stops at the film's `plan.seconds` x 24 frames."""
    borders = [0, *(round(start * FILM_FPS) for start in plan.starts)]
    borders += [round((plan.seconds - plan.end_seconds) * FILM_FPS), round(plan.seconds * FILM_FPS)]
    parts: list[tuple[str, Shot | None]] = [("title", None), *((s.id, s) for s in plan.shots), ("end", None)]
    return tuple(
        Segment(name, first, stop, shot)
        for (name, shot), (first, stop) in zip(parts, pairwise(borders), strict=True)
    )


@step(version="1")
def timeline(plan: FilmPlan, subtitles: Subtitles | None = None, stems: tuple[str, ...] = STEMS) -> Document:
    """The film as an OpenTimelineIO file, to lie beside `film.mp4` and `stems/`."""
    with current().store.new_file(".otio") as path:
        path.write_bytes(to_otio(plan, subtitles.cues if subtitles else (), stems).encode("utf-8"))
        return current().store.put(path, Document)


@step(version="1")
def edit_decision_list(plan: FilmPlan) -> Document:
    """The cut as a CMX 3600 `.edl`, for editors that read nothing else."""
    with current().store.new_file(".edl") as path:
        path.write_bytes(to_edl(plan).encode("ascii"))
        return current().store.put(path, Document)


def to_otio(plan: FilmPlan, cues: Sequence[Cue] = (), stems: Sequence[str] = STEMS) -> str:
    """The film as `.otio` text: a picture track, a track for each stem, markers for events and lines.

    Media are named relative to the film's folder. Without `cues` a line is marked where it starts.
    """
    parts = segments(plan)
    total = parts[-1].stop
    film = otio.schema.Timeline(plan.title, global_start_time=RationalTime(0, FILM_FPS))
    film.metadata["jogak"] = {
        "brief": plan.brief,
        "lang": plan.lang,
        "model": plan.model,
        "seed": plan.seed,
    }
    picture = otio.schema.Track("Picture", kind=otio.schema.TrackKind.Video)
    for part in parts:
        picture.append(_picture_clip(part, total, cues))
    film.tracks.append(picture)
    for stem in stems:
        track = otio.schema.Track(stem.capitalize(), kind=otio.schema.TrackKind.Audio)
        samples = total * AUDIO_RATE // FILM_FPS
        heard = TimeRange(RationalTime(0, AUDIO_RATE), RationalTime(samples, AUDIO_RATE))
        media = otio.schema.ExternalReference(f"stems/{stem}.wav", available_range=heard)
        track.append(otio.schema.Clip(stem, media_reference=media, source_range=_frames(0, total)))
        film.tracks.append(track)
    return otio.adapters.write_to_string(film, "otio_json")


def to_edl(plan: FilmPlan) -> str:
    """The cut as a CMX 3600 edit decision list, non-drop, with the finished film as its one reel."""
    title = "".join(c for c in plan.title.upper() if c.isascii() and c.isprintable()).strip()
    parts = segments(plan)
    lines = [f"TITLE: {title or 'JOGAK'}", "FCM: NON-DROP FRAME", ""]
    for number, part in enumerate(parts, 1):
        lines.append(_edl_event(number, "V", part.first, part.stop))
        lines.append(f"* FROM CLIP NAME: {part.name.upper()}")
        for event in part.shot.events if part.shot else ():
            at = part.first + round(event.at * FILM_FPS)
            lines.append(f"* LOC: {_timecode(at)} RED     {event.kind.upper()}")
    lines.append(_edl_event(len(parts) + 1, "AA", 0, parts[-1].stop))
    lines.append(f"* FROM CLIP NAME: {FILM_NAME.upper()}")
    return "\n".join(lines) + "\n"


def _frames(first: int, count: int) -> TimeRange:
    return TimeRange(RationalTime(first, FILM_FPS), RationalTime(count, FILM_FPS))


def _picture_clip(part: Segment, total: int, cues: Sequence[Cue]) -> otio.schema.Clip:
    media = otio.schema.ExternalReference(FILM_NAME, available_range=_frames(0, total))
    clip = otio.schema.Clip(part.name, media_reference=media, source_range=_frames(part.first, part.frames))
    shot = part.shot
    if shot is None:
        return clip
    clip.metadata["jogak"] = shot.model_dump(mode="json", exclude={"id", "lines", "events", "seconds"})
    for event in shot.events:
        where = _frames(part.first + round(event.at * FILM_FPS), 0)
        clip.markers.append(_marker(event.kind, where, otio.schema.MarkerColor.ORANGE, "event"))
    spoken = [cue for cue in cues if part.first <= round(cue.start * FILM_FPS) < part.stop]
    for cue in spoken:
        where = _frames(round(cue.start * FILM_FPS), round((cue.end - cue.start) * FILM_FPS))
        text = cue.text.replace("\n", " ")
        clip.markers.append(_marker(text, where, otio.schema.MarkerColor.GREEN, "line"))
    for line in () if cues else shot.lines:
        where = _frames(part.first + round(line.at * FILM_FPS), 0)
        clip.markers.append(_marker(line.text, where, otio.schema.MarkerColor.GREEN, "line"))
    return clip


def _marker(name: str, where: TimeRange, color: str, kind: str) -> otio.schema.Marker:
    return otio.schema.Marker(name, marked_range=where, color=color, metadata={"jogak": {"kind": kind}})


def _edl_event(number: int, channel: str, first: int, stop: int) -> str:
    span = f"{_timecode(first)} {_timecode(stop)}"
    return f"{number:03}  FILM     {channel:<5} C        {span} {span}"


def _timecode(frame: int) -> str:
    seconds, frames = divmod(frame, FILM_FPS)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"
