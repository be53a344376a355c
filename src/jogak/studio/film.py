"""The film journey, whole: a brief becomes a plan, moving shots, sound, an MP4, scores and a report.

Every line of `make_film` is a step that the store remembers, so a second run makes only what changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jogak
from jogak.film.edit import edit_film, edit_notes
from jogak.film.effects import event_errors, make_effects
from jogak.film.mix import LoudnessReport, mix
from jogak.film.motion import draw_keyframe, draw_shot, key_of, measure_pace, picture_of, shot_preview_cost
from jogak.film.music import make_music
from jogak.film.plan import make_plan
from jogak.film.subtitles import make_subtitles, subtitle_files
from jogak.film.timeline import timeline
from jogak.film.voice import fit_lines, line_spans, make_voice
from jogak.judge.clip import judge_ref
from jogak.judge.film import judge_film, judge_shot, write_scores
from jogak.models import load, resolve
from jogak.report.contact import contact_sheet
from jogak.report.diagram import as_made, pipeline_svg, write_diagram
from jogak.report.film_report import FilmFacts, make_report, stages
from jogak.spec import BEDS, Audio, Clip, Document, FilmBrief, FilmPlan, Handle, Image, ModelRef, Shot
from jogak.spec.scores import EventError, FilmScores, SoundFacts
from jogak.store import Progress, Store, current, each, step

TAKE = 0
"""One keyframe a shot; further takes would be numbered from here."""


@dataclass(frozen=True)
class Film:
    """A finished film and what came with it; `files` are the names that a film's folder has."""

    plan: FilmPlan
    scores: FilmScores
    files: dict[str, Handle]


@step(version="1")
def written_plan(plan: FilmPlan) -> Document:
    """`plan.yaml`: the plan as it was filmed, to be read, edited and fed back."""
    ctx = current()
    with ctx.store.new_file(".yaml") as path:
        path.write_text(plan.to_yaml(), encoding="utf-8")
        return ctx.store.put(path, Document)


@step(version="1")
def planned(brief: FilmBrief) -> FilmPlan:
    """The plan for a brief, by rules or by a language model, as the brief says."""
    return make_plan(brief)


def shoot(shot: Shot, model: ModelRef) -> tuple[Image, Clip]:
    """One shot: its keyframe, then every frame of it drawn by the model."""
    keyframe = draw_keyframe(key_of(shot), TAKE, model)
    return keyframe, draw_shot(picture_of(shot), keyframe, model)


def make_film(
    store: Store,
    asked: FilmBrief | FilmPlan,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Film:
    """Make a film from a brief, or from a plan that somebody edited.

    Raises `SpecError` for what cannot be made, `StepError` naming the step and shot that failed. What was made until
    then stays in the store, and the next run goes on from it.
    """
    with store.run("film", spec=asked, on_progress=on_progress, cancel=cancel) as run:
        plan = planned(asked) if isinstance(asked, FilmBrief) else asked
        plan, adjusted = fit_lines(plan)
        model, judge = resolve(plan.model), judge_ref()

        takes = each(None, partial(shoot, model=model), plan.shots)
        keyframes, clips = tuple(take[0] for take in takes), tuple(take[1] for take in takes)

        music, effects, voice = make_music(plan), make_effects(plan), make_voice(plan)
        sound, loudness = mix(music, effects, voice)

        subtitles = make_subtitles([span[1:] for span in line_spans(plan)], plan.lang, plan.seconds)
        film = edit_film(plan, clips, sound, subtitles)

        pairs = list(zip(clips, plan.shots, strict=True))
        shot_scores = each(None, partial(_judged, judge=judge), pairs, label=lambda pair: pair[1].id)
        scores = judge_film(tuple(shot_scores), sound_facts(plan, effects, loudness))

        contact = contact_sheet(film, plan)
        srt, vtt = subtitle_files(subtitles)
        otio = timeline(plan, subtitles)
        made = as_made(run.records)
        diagram = write_diagram(pipeline_svg(made, plan.lang))
        facts = FilmFacts(
            plan=plan, scores=scores, pictures=keyframes, poster=keyframes[0], contact=contact, clips=clips, film=film,
            models=(model, judge), stages=stages(made), diagram=diagram,
            adjusted=(*adjusted, *subtitles.notes, *edit_notes(plan)), version=jogak.__version__,
        )  # fmt: skip
        files = {
            "film.mp4": film, "film.srt": srt, "film.vtt": vtt, "film.otio": otio, "plan.yaml": written_plan(plan),
            "stems/music.wav": music, "stems/effects.wav": effects, "stems/voice.wav": voice,
            "contact.jpg": contact, "scores.json": write_scores(scores), "pipeline.svg": diagram,
            "report.pdf": make_report(facts),
        }  # fmt: skip
        return Film(plan, scores, files)


def _judged(pair: tuple[Clip, Shot], judge: ModelRef):
    clip, shot = pair
    return judge_shot(clip, shot, judge)


@step(version="1")
def sound_facts(plan: FilmPlan, effects: Audio, loudness: LoudnessReport) -> SoundFacts:
    """What the report and the gates need to know of the sound: the worse of before and after AAC."""
    moments = [
        (shot, event, start + event.at)
        for shot, start in zip(plan.shots, plan.starts, strict=True)
        for event in shot.events
        if event.kind not in BEDS
    ]
    errors = event_errors(effects, plan)
    return SoundFacts(
        integrated_lufs=loudness.integrated,
        true_peak_dbtp=max(loudness.true_peak, loudness.encoded_true_peak),
        dialogue_over_bed_db=loudness.dialogue_over_bed_db,
        events=tuple(
            EventError(shot=shot.id, kind=event.kind, at=at, error_ms=error)
            for (shot, event, at), error in zip(moments, errors, strict=True)
        ),
    )


def deliver(store: Store, film: Film, folder: Path) -> list[Path]:
    """Copy a film's files into `folder`, each written beside its place and renamed."""
    targets = []
    for name, handle in film.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        store.export(handle, target)
        targets.append(target)
    return targets


@dataclass(frozen=True)
class Estimate:
    """What a film will cost here."""

    plan: FilmPlan
    seconds: float
    gigabytes: float


SOUND_SECONDS, EDIT_SECONDS, JUDGE_SECONDS = 0.3, 0.9, 0.6
"""For each second of film, on two cores."""
FIXED_SECONDS = 12.0
"""Loading, compiling, the report."""
PEAK_GIGABYTES = 2.2
"""Measured peak of the process: the models, one shot's frames and the edit's window."""


def estimate(store: Store, asked: FilmBrief | FilmPlan) -> Estimate:
    """The plan and its price, measured with a few passes of the model on this machine; nothing is drawn."""
    with store.run("film-estimate", spec=asked):
        plan = planned(asked) if isinstance(asked, FilmBrief) else asked
        plan, _ = fit_lines(plan)
    pace = measure_pace(load(resolve(plan.model)))
    shots = sum(shot_preview_cost(shot.seconds, pace) for shot in plan.shots)
    rest = FIXED_SECONDS + (SOUND_SECONDS + EDIT_SECONDS + JUDGE_SECONDS) * plan.seconds
    return Estimate(plan, shots + rest, PEAK_GIGABYTES)
