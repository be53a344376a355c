"""From a brief to a plan: what is understood, which shots, which words, which sounds and music."""

from __future__ import annotations

import random

from jogak.film.plan.grammar import END_SECONDS, TITLE_SECONDS, Story, lay_out, shot_seed, sounds, tell
from jogak.film.plan.music import make_music
from jogak.film.plan.read import clean, language, read
from jogak.film.plan.write import write_lines, write_title
from jogak.models.captions import caption
from jogak.models.regions import regions_of
from jogak.spec import FilmBrief, FilmPlan, Line, Shot
from jogak.spec.film import Lang

__all__ = ["make_plan"]

LINE_AT = 0.4
"""Seconds from a shot's start to its line."""


def make_plan(brief: FilmBrief) -> FilmPlan:
    """Plan a film by `brief.planner`: by rules, offline, or by a language model's server.

    The same brief gives the same plan (of a language model, as far as its server keeps its seed). Raises
    `SpecError` for a brief that is no text, `JogakError` when a language model fails.
    """
    text = clean(brief.text)
    lang: Lang = language(text) if brief.lang == "auto" else brief.lang
    if brief.planner == "openai":
        from jogak.film.plan.openai_planner import openai_plan

        return openai_plan(brief, lang)
    return _plan_by_rules(brief, text, lang)


def _plan_by_rules(brief: FilmBrief, text: str, lang: Lang) -> FilmPlan:
    rng = random.Random(f"{brief.seed}/{text}")
    story = tell(read(text, lang), rng)
    beats = lay_out(story, brief.seconds, rng)
    told = write_lines(story, beats, brief.seconds - TITLE_SECONDS - END_SECONDS, rng)
    shots = tuple(
        Shot(
            id=f"shot_{number + 1}",
            size=beat.size,
            prompt=caption(beat.scene, lang),
            camera=beat.camera,
            light=beat.light,
            seconds=words.seconds,
            seed=shot_seed(brief.seed, number),
            motion=beat.motion,
            regions=regions_of(beat.scene, lang),
            lines=(Line(text=words.line, at=LINE_AT),) if words.line else (),
            events=sounds(beat, story, words.seconds),
        )
        for number, (beat, words) in enumerate(zip(beats, told, strict=True))
    )
    return FilmPlan(
        title=write_title(story, beats, rng),
        brief=brief.text,
        lang=lang,
        planner="rules",
        seed=brief.seed,
        title_seconds=TITLE_SECONDS,
        end_seconds=END_SECONDS,
        shots=shots,
        music=make_music(story.mood, story.reading.music, rng, _played(story)),
        model=brief.model,
        notes=story.notes,
    )


_PLAYED = {
    "guitar": "guitar", "banjo": "guitar", "piano": "piano", "violin": "violin", "trumpet": "trumpet",
    "saxophone": "clarinet", "accordion": "clarinet", "flute": "flute", "post_horn": "french horn",
    "bell": "tubular bells",
}  # fmt: skip


def _played(story: Story) -> str | None:
    """The instrument that somebody in the film plays, if any."""
    return next((_PLAYED[m.concept] for m in story.reading.mentions if m.concept in _PLAYED), None)
