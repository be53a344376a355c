"""The film journey, whole: a brief becomes a plan, moving shots, sound, an MP4, scores and a report.

Every line of `make_film` is a step that the store remembers, so a second run makes only what changed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jogak
from jogak.film.edit import edit_film, edit_notes
from jogak.film.effects import event_errors, make_effects
from jogak.film.mix import LoudnessReport, mix
from jogak.film.motion import (
    HEIGHT,
    WIDTH,
    Pace,
    draw_keyframe,
    draw_shot,
    drawing_method,
    frames_cost,
    key_of,
    keyframe_cost,
    measure_pace,
    picture_of,
)
from jogak.film.music import make_music
from jogak.film.plan import make_plan
from jogak.film.subtitles import make_subtitles, subtitle_files
from jogak.film.timeline import timeline
from jogak.film.voice import fit_lines, line_spans, make_voice
from jogak.judge.clip import judge_ref
from jogak.judge.film import best_keyframe, judge_film, judge_shot, write_scores
from jogak.models import CATALOGUE, describe, load, resolve
from jogak.models.estimate import estimate as memory_need
from jogak.models.place import open_place
from jogak.models.preflight import preflight
from jogak.report.contact import contact_sheet
from jogak.report.diagram import as_made, pipeline_svg, write_diagram
from jogak.report.film_report import FilmFacts, make_report, stages
from jogak.spec import (
    BEDS,
    Audio,
    Clip,
    Document,
    FilmBrief,
    FilmPlan,
    Handle,
    Image,
    ImageRequest,
    ModelRef,
    Shot,
    SpecError,
)
from jogak.spec.film import Lang
from jogak.spec.preflight import Finding
from jogak.spec.scores import EventError, FilmScores, SoundFacts
from jogak.store import Progress, Store, current, each, step
from jogak.studio.whole import Part

TAKES = 3
"""Keyframes drawn of each shot; the judging CLIP chooses one."""


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


def shoot(shot: Shot, model: ModelRef, judge: ModelRef) -> tuple[Image, Clip]:
    """One shot: the best of some keyframes, then every frame of it drawn by the model."""
    takes = tuple(draw_keyframe(key_of(shot), take, model) for take in range(TAKES))
    keyframe = best_keyframe(takes, shot.prompt, judge)
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
    model = resolve(asked.model)  # a model that is not there is said before anything is planned
    with store.run("film", spec=asked, on_progress=on_progress, cancel=cancel) as run:
        plan = planned(asked) if isinstance(asked, FilmBrief) else asked
        plan, adjusted = fit_lines(plan)
        judge = judge_ref()

        takes = each(None, partial(shoot, model=model, judge=judge), plan.shots)
        keyframes, clips = tuple(take[0] for take in takes), tuple(take[1] for take in takes)

        music, effects, voice = make_music(plan), make_effects(plan), make_voice(plan)
        sound, loudness = mix(music, effects, voice)

        subtitles = make_subtitles([span[1:] for span in line_spans(plan)], plan.lang, plan.seconds)
        film = edit_film(plan, clips, sound, subtitles)

        pairs = list(zip(clips, plan.shots, strict=True))
        shot_scores = each(None, partial(_judged, judge=judge), pairs, label=lambda pair: pair[1].id)
        scores = judge_film(tuple(shot_scores), sound_facts(plan, effects, loudness), in_words(model))

        contact = contact_sheet(film, plan)
        srt, vtt = subtitle_files(subtitles)
        otio = timeline(plan, subtitles)
        made = as_made(run.records)
        diagram = write_diagram(pipeline_svg(made, plan.lang))
        # frames do not depend on the film's language, so a clip tells in English how it was drawn
        told = tuple(clip.model_copy(update={"method": drawing_method(plan.lang)}) for clip in clips)
        facts = FilmFacts(
            plan=plan, scores=scores, pictures=keyframes, poster=keyframes[0], contact=contact, clips=told, film=film,
            models=(model, judge), stages=stages(made), diagram=diagram,
            adjusted=(*adjusted, *subtitles.notes, *edit_notes(plan), take_note(plan.lang), *region_notes(plan)), version=jogak.__version__,
        )  # fmt: skip
        files = {
            "film.mp4": film, "film.srt": srt, "film.vtt": vtt, "film.otio": otio, "plan.yaml": written_plan(plan),
            "stems/music.wav": music, "stems/effects.wav": effects, "stems/voice.wav": voice,
            "contact.jpg": contact, "scores.json": write_scores(scores), "pipeline.svg": diagram,
            "report.pdf": make_report(facts),
        }  # fmt: skip
        return Film(plan, scores, files)


def in_words(model: ModelRef) -> str:
    """What drew a film, for who reads its scores."""
    return f"{model.name} ({model.family}, {model.numeric}, sha256 {model.digest[:16]})"


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
    parts: tuple[Part, ...]
    """what is done one after the other, each with its seconds if none of it is in the store"""
    gigabytes: float
    findings: tuple[Finding, ...]
    """what could go better with this model, as of a picture"""

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)


SOUND_SECONDS, EDIT_SECONDS, JUDGE_SECONDS = 0.3, 0.9, 0.6
"""For each second of film, on two cores."""
LOADING_SECONDS, REPORT_SECONDS = 8.0, 4.0
"""Loading and compiling the model, which the first keyframe waits for; the report."""
PEAK_GIGABYTES = 2.2
"""Measured peak of the process with pocket: the models, one shot's frames and the edit's window."""

PART_NAMES: dict[Lang, dict[str, str]] = {
    "en": {
        "draw_keyframe": "{}: drawing keyframe {} of {}", "draw_shot": "{}: drawing the frames",
        "mix": "making the sound", "edit_film": "cutting the film", "judge_shot": "{}: judging",
        "make_report": "writing the report",
    },
    "ko": {
        "draw_keyframe": "{}: 키프레임 {}/{} 그리는 중", "draw_shot": "{}: 프레임 그리는 중",
        "mix": "소리 만드는 중", "edit_film": "편집하는 중", "judge_shot": "{}: 평가하는 중",
        "make_report": "보고서 쓰는 중",
    },
}  # fmt: skip
"""What a person reads while a part is made, by the step that ends it."""


def estimate(store: Store, asked: FilmBrief | FilmPlan, *, remember: bool = False) -> Estimate:
    """The plan and its price, measured with a few passes of the model on this machine; nothing is drawn.

    With `remember`, passes that were once measured are believed, so that no model is loaded for a film that is made
    already. Raises `SpecError` for a model that is not there, or cannot draw a film here.
    """
    model = resolve(asked.model)
    with store.run("film-estimate", spec=asked):
        plan = planned(asked) if isinstance(asked, FilmBrief) else asked
        plan, _ = fit_lines(plan)
        findings = tuple(film_findings(plan, model))
        if stop := next((finding for finding in findings if finding.level == "stop"), None):
            raise SpecError(stop.ko if plan.lang == "ko" else stop.en)  # before the weights are read
        pace = Pace(*remembered_pace(model)) if remember else measure_pace(load(model))
    return Estimate(plan, film_parts(plan, pace), _gigabytes(model), findings)


def film_findings(plan: FilmPlan, model: ModelRef) -> Iterator[Finding]:
    """What preflight says of a picture of the film. Of its size, only what a film can do: it has no `--size`."""
    usual = describe(model.folder).size
    picture = ImageRequest(prompt=plan.shots[0].prompt, model=plan.model, width=WIDTH, height=HEIGHT)
    for finding in preflight(picture, model):
        if finding.level == "warn" and finding.code.startswith("size."):
            yield Finding(
                level="warn", code=finding.code, about=finding.about,
                en=f"A film is drawn at {WIDTH}×{HEIGHT}, and {plan.model} was made for {usual}×{usual}: expect crude or "
                "doubled subjects. Pocket was made for a film's size.",
                ko=f"영화는 {WIDTH}×{HEIGHT}로 그리는데 {plan.model}은(는) {usual}×{usual}로 배웠습니다. 대상이 거칠거나 둘씩 "
                "그려지기 쉽습니다. pocket은 영화의 크기로 배웠습니다.",
            )  # fmt: skip
        else:
            yield finding
    yield from (left for shot in plan.shots if (left := _left_behind(shot)))


def _left_behind(shot: Shot) -> Finding | None:
    """An edited prompt whose regions still say what it was: they would draw it."""
    strange = [
        word
        for region in shot.regions
        for word in re.findall(r"\w+", region.prompt)
        if word.lower() not in shot.prompt.lower()
    ]
    if not strange:
        return None
    return Finding(
        level="warn", code="film.regions", about=shot.id,
        en=f'{shot.id}: a region says "{strange[0]}", which the prompt does not, and it will be drawn. Edit both in '
        "plan.yaml, or take the shot's regions out.",
        ko=f"{shot.id}: 지시문에 없는 “{strange[0]}”이(가) regions에 있어 그대로 그려집니다. plan.yaml에서 둘 다 고치거나, "
        "그 샷의 regions를 지우세요.",
    )  # fmt: skip


def region_notes(plan: FilmPlan) -> tuple[str, ...]:
    """For the report: which keyframes were drawn part by part."""
    shots = ", ".join(shot.id for shot in plan.shots if shot.regions)
    if not shots:
        return ()
    if plan.lang == "ko":
        return (
            f"{shots}: 여럿이 함께 나오므로, 키프레임의 부분마다 제 지시문을 따로 주어 그렸습니다(regions).",
        )
    return (
        f"{shots}: several are in the picture, so that each part of the keyframe was drawn from words of its own (regions).",
    )


def take_note(lang: Lang) -> str:
    """For the report: a score by the judge that has chosen flatters."""
    if lang == "ko":
        return f"샷마다 키프레임을 {TAKES}장 그리고 평가용 CLIP이 지시문에 가장 가까운 하나를 골랐습니다. 그래서 CLIP 점수는 조금 후합니다."
    return (
        f"Of {TAKES} keyframes drawn for each shot, the judging CLIP chose the one nearest to its prompt: its own "
        "scores are a little flattered by that."
    )


@step(version="1")
def remembered_pace(model: ModelRef) -> list[float]:
    """The numbers of a `Pace`, as they were when this model was first measured here."""
    return list(measure_pace(load(model)))


def film_parts(plan: FilmPlan, pace: Pace) -> tuple[Part, ...]:
    """What `make_film` does, in its order, each with its price."""

    def part(step: str, seconds: float, shot: str = "", take: int = 0) -> Part:
        return Part(PART_NAMES[plan.lang][step].format(shot, take, TAKES), step, shot, seconds)

    drawn: list[Part] = []
    for at, shot in enumerate(plan.shots):
        loading = LOADING_SECONDS if at == 0 else 0.0
        drawn += [
            *(
                part(
                    "draw_keyframe",
                    (0 if take else loading) + keyframe_cost(pace, len(shot.regions)),
                    shot.id,
                    take + 1,
                )
                for take in range(TAKES)
            ),
            part("draw_shot", frames_cost(shot.seconds, pace), shot.id),
        ]
    return (
        *drawn,
        part("mix", SOUND_SECONDS * plan.seconds),
        part("edit_film", EDIT_SECONDS * plan.seconds),
        *(part("judge_shot", JUDGE_SECONDS * shot.seconds, shot.id) for shot in plan.shots),
        part("make_report", REPORT_SECONDS),
    )


def _gigabytes(model: ModelRef) -> float:
    """The measured peak, and what a larger model than pocket needs beyond it."""
    own = CATALOGUE["pocket"].folder
    needs = [
        memory_need(open_place(folder), model.numeric, WIDTH, HEIGHT, guided=True).ram_mb
        for folder in (model.folder, own)
    ]
    return PEAK_GIGABYTES + max(0.0, needs[0] - needs[1]) / 1000
