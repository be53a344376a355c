"""Play the composed score on real instrument samples, to the film's exact length."""

from __future__ import annotations

import io

import midirenderer
import numpy as np
import pretty_midi
import soundfile

from jogak.film.audio import (
    Sound,
    active_rms,
    amplitude,
    faded,
    filtered,
    loudest,
    reverberated,
    silence,
    stored,
)
from jogak.film.instruments import find, soundfont
from jogak.film.score import Arrangement, Part, Role, arrange, compose
from jogak.spec import Audio, FilmPlan, Music
from jogak.spec.film import Mood, ShotSize
from jogak.store import step

_LEVEL: dict[Role, float] = {
    "melody": -19.0, "pattern": -24.0, "pad": -25.5, "bass": -23.0, "counter": -26.0, "hits": -23.0,
    "kit": -24.0,
}  # fmt: skip
"""Loudness of each role, in dB of its active RMS."""
_PAN: dict[Role, float] = {
    "melody": 0.05, "pattern": -0.3, "pad": 0.25, "bass": 0.0, "counter": 0.4, "hits": -0.1, "kit": 0.0,
}  # fmt: skip
_WET: dict[Role, float] = {
    "melody": 0.3, "pattern": 0.25, "pad": 0.35, "bass": 0.06, "counter": 0.35, "hits": 0.25, "kit": 0.12,
}  # fmt: skip
_ROOM: dict[Mood, float] = {
    "calm": 1.9, "happy": 1.2, "sad": 2.2, "tense": 1.6, "epic": 2.4, "mysterious": 2.8, "playful": 1.0,
}  # fmt: skip
"""Seconds that the room rings."""
_JITTER: dict[Role, float] = {"kit": 0.003, "hits": 0.003}
"""Standard deviation of the players' timing in seconds; 0.007 for the others."""
_VOLUME, _PAN_CONTROL, _EXPRESSION, _REVERB, _CHORUS = 7, 10, 11, 91, 93
"""MIDI controllers. The synthesiser's own reverb and chorus stay off: the whole band plays in one room."""
_FADE = 1.2
"""Seconds over which the last chord is faded, as it rings."""


def make_music(plan: FilmPlan) -> Audio:
    """The music stem: 48 kHz stereo, exactly as long as the film. Changes only with the music, the cuts and
    the seed. Raises `SpecError` for an instrument that the palette lacks.
    """
    for name in plan.music.instruments:
        find(name)  # an unknown one is the person's to mend, before any step begins
    sizes: tuple[ShotSize, ...] = tuple(shot.size for shot in plan.shots)
    return music_stem(
        plan.music, plan.seed, plan.starts, sizes, plan.seconds - plan.end_seconds, plan.seconds
    )


@step(version="1")
def music_stem(
    music: Music,
    seed: int,
    starts: tuple[float, ...],
    sizes: tuple[ShotSize, ...],
    ending: float,
    seconds: float,
) -> Audio:
    """`render_music`, kept in the store."""
    return stored(render_music(music, seed, starts, sizes, ending, seconds))


def render_music(
    music: Music,
    seed: int,
    starts: tuple[float, ...],
    sizes: tuple[ShotSize, ...],
    ending: float,
    seconds: float,
) -> Sound:
    """The film's music, (samples, 2) at 48 kHz, exactly `seconds` long: −20 dB active RMS, peak ≤ −3 dB.

    `starts` and `sizes` are the shots', `ending` is where the end card starts. Raises `SpecError` for an
    instrument that the palette lacks.
    """
    plan = arrange(music, starts, sizes, ending, seconds)
    stem, room = silence(seconds), silence(seconds)
    for number, part in enumerate(compose(plan, music, seed)):
        played = _play(part, plan, seconds, np.random.default_rng([seed, number, 7]))
        played *= amplitude(_LEVEL[part.role]) / max(active_rms(played), 1e-9)
        stem += played
        room += played * _WET[part.role]
    mixed = filtered(stem + reverberated(room, _ROOM[music.mood]), low=28)
    mixed *= min(amplitude(-20) / max(active_rms(mixed), 1e-9), amplitude(-3) / max(loudest(mixed), 1e-9))
    return faded(mixed, 0.01, min(_FADE, 0.4 * seconds))


def _play(part: Part, plan: Arrangement, seconds: float, rng: np.random.Generator) -> Sound:
    """One part through the synthesiser, dry."""
    midi = pretty_midi.PrettyMIDI(resolution=960)
    kit = part.instrument is None
    player = pretty_midi.Instrument(part.instrument.program if part.instrument else 0, is_drum=kit)
    spread = _JITTER.get(part.role, 0.007)
    for note in part.notes:
        late = float(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread))
        start = max(0.0, plan.second_of(note.beat) + late)
        end = max(start + 0.05, plan.second_of(note.beat + note.beats) + late)
        velocity = int(np.clip(note.velocity + rng.normal(0, 3.5), 15, 124))
        player.notes.append(pretty_midi.Note(velocity, note.pitch, start, end))
    player.control_changes += [
        pretty_midi.ControlChange(number, value, 0)
        for number, value in ((_VOLUME, 127), (_PAN_CONTROL, _pan(part.role)), (_REVERB, 0), (_CHORUS, 0))
    ]
    if part.instrument is not None and part.instrument.sustained:
        player.control_changes += _swells(plan)
    # the synthesiser stops at the last event: one more, past the end, lets the last chord ring out
    player.control_changes.append(pretty_midi.ControlChange(_VOLUME, 127, seconds + 0.2))
    midi.instruments.append(player)
    file = io.BytesIO()
    midi.write(file)
    wave = midirenderer.render_wave_from(soundfont(), file.getvalue())
    heard, _ = soundfile.read(io.BytesIO(wave), dtype="float64", always_2d=True)
    played = silence(seconds)
    played[: len(heard)] = heard[: len(played)]
    return played


def _pan(role: Role) -> int:
    return round(64 + 63 * _PAN[role])


def _swells(plan: Arrangement) -> list[pretty_midi.ControlChange]:
    """Expression of held notes: each section breathes towards the loudness of the next."""
    edges = [section.second for section in plan.sections] + [plan.ending]
    levels = [0.62 + 0.36 * section.intensity for section in plan.sections] + [0.85]
    times = np.arange(0, plan.ending + 0.1, 0.1)
    values = np.interp(times, edges, levels)
    return [
        pretty_midi.ControlChange(_EXPRESSION, int(np.clip(127 * value, 1, 127)), float(time))
        for time, value in zip(times, values, strict=True)
    ]
