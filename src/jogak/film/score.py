"""Compose the film's music by rule: notes only, no sound (that is `music`).

The film is laid out in bars first (`arrange`): each shot's cut becomes the start of a section, the tempo
bends by at most 6 % so that bars meet the cuts, and the last chord falls on the end card. Then `compose`
writes the parts: chords by mood and by voice-leading, one motif that returns varied, bass, accompaniment,
drums when asked, and a cadence. Everything is measured in beats until it is played.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal, NamedTuple

import numpy as np

from jogak.film.instruments import Instrument, find
from jogak.spec import FilmPlan, Music, Spec
from jogak.spec.film import Lang, Mood, ShotSize

SectionKind = Literal["intro", "wide", "medium", "close", "action", "closing"]
Role = Literal["melody", "pattern", "pad", "bass", "counter", "hits", "kit"]
Chord = tuple[int, ...]
"""Scale degrees from the root up (0 is the tonic): a triad, or four notes with the seventh or the ninth."""

MAX_BEND = 0.06
"""How far the tempo may leave the planned one."""
MAX_LEAD_IN = 0.6
"""Seconds of silence that may stand before the first bar, so that a bar meets the first cut."""
_SHORTEST_RING = 1.3
"""Seconds that the last chord rings before the film is over."""
_INTENSITY: dict[SectionKind, float] = {
    "intro": 0.3, "wide": 0.5, "medium": 0.6, "close": 0.45, "action": 0.95, "closing": 0.6,
}  # fmt: skip


class Section(Spec):
    """The music under one shot (or under the title), in whole and half bars."""

    kind: SectionKind
    beat: float
    """Where it starts, in beats of the film."""
    beats: int
    second: float
    """The same in seconds."""
    cut: float
    """The cut that it was meant for, in seconds."""
    intensity: float


class Arrangement(Spec):
    """How the music is laid over the film."""

    planned_tempo: float
    tempo: float
    meter: int
    """Beats in a bar."""
    sections: tuple[Section, ...]
    lead_in: float
    """Seconds of silence before the first beat."""
    last_beat: float
    """The beat of the last chord."""
    slowing: float
    """Seconds that the ritardando adds before the last chord."""
    ending: float
    """When the last chord sounds, in seconds."""

    def second_of(self, beat: float) -> float:
        """When a beat sounds; the last bar slows down into the last chord."""
        start = max(0.0, self.last_beat - self.meter)
        eased = max(0.0, beat - start) / max(self.last_beat - start, 1e-9)
        return self.lead_in + beat * 60 / self.tempo + self.slowing * min(eased, 1.0) ** 2

    def sentence(self, lang: Lang) -> str:
        """What was chosen, for the report."""
        late = max((abs(section.second - section.cut) for section in self.sections[1:]), default=0.0)
        if lang == "ko":
            return (
                f"음악: 빠르기 {self.planned_tempo:.0f} → {self.tempo:.1f} BPM, {self.meter}박자, 마지막 "
                f"화음 {self.ending:.2f}초. 장면 전환과 가장 크게 어긋난 마디가 {late:.2f}초입니다."
            )
        return (
            f"Music: tempo {self.planned_tempo:.0f} → {self.tempo:.1f} BPM, {self.meter} beats a bar, last "
            f"chord at {self.ending:.2f} s; the bar furthest from its cut is {late:.2f} s away."
        )


class Note(NamedTuple):
    beat: float
    beats: float
    pitch: int
    velocity: float


class Part(NamedTuple):
    """One player: an instrument, or the drum kit when `instrument` is None."""

    role: Role
    instrument: Instrument | None
    notes: list[Note]


class Bar(NamedTuple):
    """One bar of the plan that every part follows."""

    beat: float
    beats: int
    chord: Chord
    section: Section
    number: int
    """Its place within the section."""
    phrase: int
    """Its place within the four-bar phrase. The phrase runs on across cuts; action and closing begin a new
    one."""
    last: bool
    """Whether it is the section's last."""
    final: bool
    """Whether the last chord of the piece follows it."""


def arrange(
    music: Music, starts: tuple[float, ...], sizes: tuple[ShotSize, ...], ending: float, seconds: float
) -> Arrangement:
    """Lay bars over the film.

    `starts` are the shots' cuts, `ending` the end card's and `seconds` the film's length, all in seconds.
    Of the tempos within `MAX_BEND` of the planned one, and lead-ins of at most `MAX_LEAD_IN`, it takes the
    pair whose half bars lie nearest to the cuts, and whose last chord lies nearest to the end card.
    """
    grid = _grid(music)
    aim = max(min(ending, seconds - _SHORTEST_RING), 0.3 * seconds)
    bends, lead_ins = np.linspace(-MAX_BEND, MAX_BEND, 49), np.linspace(0, min(MAX_LEAD_IN, aim / 4), 12)
    _, tempo, lead_in, last_beat, slowing = min(
        _fit(music.tempo * (1 + float(bend)), float(lead_in), grid, starts, aim, abs(float(bend)))
        for bend, lead_in in itertools.product(bends, lead_ins)
    )
    draft = Arrangement(
        planned_tempo=music.tempo, tempo=tempo, meter=_meter(music), sections=(), lead_in=lead_in,
        last_beat=last_beat, slowing=slowing, ending=lead_in + last_beat * 60 / tempo + slowing,
    )  # fmt: skip
    return draft.model_copy(update={"sections": _sections(draft, grid, starts, sizes)})


def arrangement(plan: FilmPlan) -> Arrangement:
    """`arrange` for a whole plan."""
    sizes: tuple[ShotSize, ...] = tuple(shot.size for shot in plan.shots)
    return arrange(plan.music, plan.starts, sizes, plan.seconds - plan.end_seconds, plan.seconds)


def _grid(music: Music) -> int:
    """Beats between the places where a section may start: half bars, or single beats when those would be far
    apart."""
    return 2 if _meter(music) == 4 and music.tempo >= 80 else 1


def _meter(music: Music) -> int:
    return 3 if music.mood == "sad" else 4


def _fit(
    tempo: float, lead_in: float, grid: int, starts: tuple[float, ...], aim: float, bend: float
) -> tuple[float, float, float, float, float]:
    """Cost of one tempo and lead-in, then both, the beat of the last chord and the ritardando's seconds."""
    beat = 60 / tempo
    slowing = 0.3 * beat
    last = round((aim - lead_in - slowing) / beat / grid) * grid
    if last < grid:  # a film shorter than half a bar: count single beats
        last = max(1, math.floor((aim - lead_in) / beat))
        slowing = 0.0
    end_error = abs(lead_in + last * beat + slowing - aim)
    unit = grid * beat
    misses = [abs(start - lead_in - round((start - lead_in) / unit) * unit) for start in starts]
    cost = 2 * end_error + float(np.mean(misses)) + bend + 0.1 * lead_in
    return cost, tempo, lead_in, float(last), slowing


def _sections(
    draft: Arrangement, grid: int, starts: tuple[float, ...], sizes: tuple[ShotSize, ...]
) -> tuple[Section, ...]:
    beat = 60 / draft.tempo
    wanted: list[tuple[float, SectionKind]] = [(0.0, "intro"), *zip(starts, sizes, strict=True)]
    placed: dict[float, tuple[float, SectionKind]] = {}
    for cut, kind in wanted:
        place = max(0.0, float(round((cut - draft.lead_in) / beat / grid) * grid))
        if place < draft.last_beat:
            placed[place] = (cut, kind)  # of two cuts within one half bar, the later one names the section
    bounds = [*placed, draft.last_beat]
    return tuple(
        Section(
            kind=kind, beat=start, beats=int(end - start), second=draft.second_of(start), cut=cut,
            intensity=_INTENSITY[kind],
        )
        for (start, (cut, kind)), end in zip(placed.items(), bounds[1:], strict=True)
    )  # fmt: skip


# --- harmony --------------------------------------------------------------------------------------

_PROGRESSIONS: dict[tuple[Mood, bool], tuple[tuple[int, ...], ...]] = {
    ("calm", False): ((0, 4, 5, 3), (0, 2, 3, 0), (0, 3, 0, 4), (5, 3, 0, 4)),
    ("calm", True): ((0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 4)),
    ("happy", False): ((0, 3, 4, 0), (0, 4, 5, 3), (0, 5, 3, 4), (3, 4, 2, 5)),
    ("happy", True): ((0, 6, 5, 6), (0, 3, 6, 2), (0, 5, 6, 0)),
    ("sad", False): ((0, 2, 5, 3), (5, 3, 0, 4), (0, 5, 1, 4)),
    ("sad", True): ((0, 5, 3, 4), (0, 6, 5, 4), (0, 3, 0, 4), (0, 5, 2, 4)),
    ("tense", False): ((5, 3, 1, 4), (5, 5, 3, 4), (1, 5, 1, 4)),
    ("tense", True): ((0, 0, 5, 4), (0, 1, 0, 4), (0, 5, 1, 4)),
    ("epic", False): ((0, 4, 5, 3), (5, 3, 0, 4), (0, 3, 5, 4)),
    ("epic", True): ((0, 5, 2, 6), (5, 6, 0, 0), (0, 6, 5, 6)),
    ("mysterious", False): ((0, 1, 0, 5), (5, 2, 3, 2), (0, 2, 1, 3)),
    ("mysterious", True): ((0, 5, 0, 3), (0, 1, 5, 4), (0, 2, 5, 3)),
    ("playful", False): ((0, 4, 0, 4), (0, 1, 4, 0), (0, 5, 1, 4)),
    ("playful", True): ((0, 4, 0, 4), (0, 3, 4, 0), (0, 6, 0, 4)),
}
"""Scale degrees of the chords, by mood and whether the key is minor."""

_COLOUR: dict[Mood, float] = {
    "calm": 0.5, "happy": 0.1, "sad": 0.35, "tense": 0.2, "epic": 0.1, "mysterious": 0.6, "playful": 0.1,
}  # fmt: skip
"""How often a chord that is not the dominant carries its seventh or ninth."""

_TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


class Key(NamedTuple):
    tonic: int
    """Pitch class, 0 is C."""
    minor: bool

    def pitch(self, degree: int, chord: Chord = ()) -> int:
        """MIDI number of a scale degree; degree 0 is the tonic nearest to middle C. Over the dominant of a
        minor key the seventh degree is raised, as the ear expects."""
        octave, step = divmod(degree, 7)
        scale = _MINOR if self.minor else _MAJOR
        raised = int(self.minor and step == 6 and bool(chord) and chord[0] == 4)
        base = 60 + (self.tonic if self.tonic <= 6 else self.tonic - 12)
        return base + 12 * octave + scale[step] + raised


def parse_key(name: str) -> Key:
    """`C major`, `F# minor`, `Bb major` … as `Music.key` allows them."""
    note, mode = name.split(" ")
    shift = {"#": 1, "b": -1}.get(note[1:], 0)
    return Key((_TONICS[note[0]] + shift) % 12, mode == "minor")


def _bars(plan: Arrangement, music: Music, key: Key, rng: np.random.Generator) -> list[Bar]:
    """Cut every section into bars and give each its chord; the piece ends on the dominant before the last
    chord."""
    choices = _PROGRESSIONS[music.mood, key.minor]
    theme, contrast = (choices[i] for i in rng.permutation(len(choices))[:2])
    bars: list[Bar] = []
    running = 0
    for section in plan.sections:
        if section.kind in ("action", "closing") or (bars and bars[-1].section.kind == "intro"):
            running = 0
        roots = contrast if section.kind == "action" else theme
        lengths = _bar_lengths(section.beats, plan.meter)
        count = len(lengths)
        for index, beats in enumerate(lengths):
            beat = section.beat + index * plan.meter
            root = 0 if section.kind == "intro" and index == 0 else roots[running % len(roots)]
            if index == count - 1 and count > 1 and section.kind == "intro":
                root = 4  # lead into the first shot
            chord = _coloured(root, music.mood, rng)
            bars.append(Bar(beat, beats, chord, section, index, running % 4, index == count - 1, False))
            running += 1
    if len(bars) > 2:
        bars[-2] = bars[-2]._replace(chord=_triad(3 if rng.random() < 0.6 else 1))
    if len(bars) > 1:
        bars[-1] = bars[-1]._replace(chord=_triad(4))
    bars[-1] = bars[-1]._replace(final=True)
    return bars


def _bar_lengths(beats: int, meter: int) -> list[int]:
    """Whole bars, then a short one; a single beat left over is added to the bar before it."""
    whole, rest = divmod(beats, meter)
    if rest == 1 and whole:
        return [meter] * (whole - 1) + [meter + 1]
    return [meter] * whole + [rest] * (rest > 0)


def _triad(root: int) -> Chord:
    return (root, root + 2, root + 4)


def _coloured(root: int, mood: Mood, rng: np.random.Generator) -> Chord:
    if rng.random() >= _COLOUR[mood]:
        return _triad(root)
    if root == 4 or mood == "tense":
        return (*_triad(root), root + 6)
    return (*_triad(root), root + int(rng.choice((6, 8) if mood != "mysterious" else (8,))))


def _voicing(key: Key, chord: Chord, low: int, high: int, previous: tuple[int, ...]) -> tuple[int, ...]:
    """Close-position pitches within a range that move least from the previous voicing (parallel jumps cost
    most)."""
    classes = {key.pitch(degree, chord) % 12 for degree in chord}
    centre = previous or ((low + high) // 2,) * len(classes)
    options = []
    for bottom in range(low, high + 1):
        if bottom % 12 in classes:
            above = sorted((pitch_class - bottom) % 12 for pitch_class in classes)
            options.append(tuple(bottom + interval for interval in above))
    fitting = [option for option in options if option[-1] <= high] or options[:1]
    return min(fitting, key=lambda option: _movement(centre, option))


def _movement(before: tuple[int, ...], after: tuple[int, ...]) -> float:
    pairs = itertools.zip_longest(before, after, fillvalue=before[-1])
    return sum(abs(b - a) + 0.05 * (b - a) ** 2 for a, b in pairs)


# --- melody ---------------------------------------------------------------------------------------

_CELLS: dict[Mood, tuple[tuple[float, ...], ...]] = {
    "calm": ((2, 1, 1), (1.5, 0.5, 2), (1, 1, 2), (3, 1)),
    "happy": ((1, 0.5, 0.5, 1, 1), (0.5, 0.5, 1, 0.5, 0.5, 1), (1.5, 0.5, 1, 1), (1, 1, 0.5, 0.5, 1)),
    "sad": ((2, 1), (1.5, 0.5, 1), (1, 2), (1, 1, 1)),
    "tense": ((3, 0.5, 0.5), (-1, 1, 2), (2, -0.5, 0.5, 1), (1, -1, 1, 1)),
    "epic": ((2, 1, 1), (1.5, 0.5, 1, 1), (3, 0.5, 0.5), (2, 2)),
    "mysterious": ((-1, 1, 2), (3, -1), (-0.5, 0.5, 1, 2), (1.5, 0.5, -1, 1)),
    "playful": ((0.5, 0.5, 0.5, 0.5, 1, -1), (0.75, 0.25, 0.75, 0.25, 1, 1), (1, 0.5, 0.5, 0.5, 0.5, 1),
    (0.5, -0.5, 0.5, -0.5, 1, 1)),
}  # fmt: skip
"""Rhythms of one bar; a negative number is a rest."""
_ARC = (0, 1, 3, 1)
"""How far (in scale steps) each bar of a phrase starts above the first."""


class _Motif(NamedTuple):
    cell: tuple[float, ...]
    answer: tuple[float, ...]
    steps: tuple[int, ...]


def _motif(mood: Mood, rng: np.random.Generator) -> _Motif:
    cells = _CELLS[mood]
    first, second = (cells[i] for i in rng.permutation(len(cells))[:2])
    steps: list[int] = []
    for _ in range(6):
        if steps and abs(steps[-1]) > 2:
            steps.append(-int(np.sign(steps[-1])))  # a leap is answered by a step back
        else:
            steps.append(
                int(
                    rng.choice(
                        (-2, -1, -1, 1, 1, 2, 3, 4), p=(0.14, 0.16, 0.16, 0.16, 0.16, 0.12, 0.06, 0.04)
                    )
                )
            )
    return _Motif(first, second, tuple(steps))


def _cut(cell: tuple[float, ...], beats: int) -> list[float]:
    """A rhythm fitted to a bar of another length: its tail cut, or its last note held."""
    fitted: list[float] = []
    left = float(beats)
    for length in cell:
        if left <= 0:
            break
        fitted.append(math.copysign(min(abs(length), left), length))
        left -= min(abs(length), left)
    if left > 0:
        fitted[-1] += math.copysign(left, fitted[-1])
    return fitted


def _melody(bars: list[Bar], key: Key, motif: _Motif, instrument: Instrument) -> list[Note]:
    """The tune: the motif, its sequence, a variation and a close in every phrase; chord tones on the strong
    beats."""
    centre_pitch = min(max((instrument.low + instrument.high) // 2 + 3, 67), 79)
    centre_pitch = min(centre_pitch, instrument.high - 7)
    home = round((centre_pitch - key.pitch(0)) * 7 / 12)
    notes: list[Note] = []
    at = home
    for bar in bars:
        if bar.section.kind == "intro":
            continue
        place = bar.phrase
        closing = bar.final or place == 3
        lift = 2 if bar.section.kind == "action" else 0
        cell, steps = _variation(motif, place, closing, bar)
        target = home + lift + _ARC[place]
        degree = _nearest(target if place == 0 else (at + target) // 2, bar.chord, at)
        beat = bar.beat
        for number, length in enumerate(_cut(cell, bar.beats)):
            if length > 0:
                if number:
                    step = steps[(number - 1) % len(steps)]
                    if abs(at + step - home) > 6:
                        step = -step
                    degree = at + step
                    strong = (beat - bar.beat) % 2 == 0 or length >= 1.5
                    if strong:
                        degree = _nearest(degree, bar.chord, at)
                accent = 8 if beat == bar.beat else 3 if (beat - bar.beat) % 2 == 0 else 0
                velocity = 66 + 34 * bar.section.intensity + accent + 2 * _ARC[place]
                notes.append(Note(beat, length * 0.96, key.pitch(degree, bar.chord), velocity))
                at = degree
            beat += abs(length)
    return _to_range(_close(notes, bars, key), instrument)


def _variation(
    motif: _Motif, place: int, closing: bool, bar: Bar
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if bar.section.kind == "close" and not closing:
        return tuple(2 * length for length in motif.cell), motif.steps  # the motif in long notes
    if closing:
        return (1, 1, bar.beats), tuple(-abs(step) if abs(step) < 3 else -1 for step in motif.steps)
    if place == 2:
        return motif.answer, tuple(-step for step in motif.steps)  # the answer, upside down
    return motif.cell, motif.steps


def _nearest(degree: int, chord: Chord, before: int) -> int:
    """The chord tone nearest to a degree; of two as near, the one that is not the note just heard."""
    tones = {tone % 7 for tone in chord[:3]}
    options = [d for d in range(degree - 4, degree + 5) if d % 7 in tones]
    return min(options, key=lambda d: (abs(d - degree) + 0.6 * (d == before), d))


def _close(notes: list[Note], bars: list[Bar], key: Key) -> list[Note]:
    """Bring the tune home: its last note steps onto the tonic of the last chord."""
    end = bars[-1].beat + bars[-1].beats
    tonic = key.pitch(0) % 12
    if not notes:
        return [Note(end, 4, key.pitch(7), 84)]
    last = notes[-1]
    home = min(
        (p for p in range(last.pitch - 6, last.pitch + 7) if p % 12 == tonic),
        key=lambda p: abs(p - last.pitch),
    )
    if len(notes) > 1 and home != last.pitch:
        above, below = home + (2 if key.pitch(1) - key.pitch(0) == 2 else 1), home - 1
        notes[-1] = last._replace(
            pitch=above if abs(above - last.pitch) <= abs(below - last.pitch) else below
        )
    return [*notes, Note(end, 4, home, 84)]


def _to_range(notes: list[Note], instrument: Instrument) -> list[Note]:
    """Every note on the instrument, by octaves."""
    return [note._replace(pitch=_octave(note.pitch, instrument.low, instrument.high)) for note in notes]


def _octave(pitch: int, low: int, high: int) -> int:
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch


# --- accompaniment --------------------------------------------------------------------------------

_PATTERNS: dict[Mood, tuple[tuple[float, float, tuple[int, ...]], ...]] = {
    "calm": tuple((i / 2, 1.5, ((0, 1, 2, 3, 2, 1, 2, 1)[i],)) for i in range(8)),
    "happy": ((0, 0.9, (0,)), (0.5, 0.4, (1, 2)), (1, 0.45, (1, 2, 3)), (2, 0.9, (0,)),
    (2.5, 0.4, (1, 2)), (3, 0.45, (1, 2, 3)), (3.5, 0.4, (1, 2))),
    "sad": ((0, 2.2, (0,)), (0, 3, (1,)), (1, 2.0, (2,)), (2, 1.0, (1,))),
    "tense": tuple((i / 2, 0.35, ((0, 0, 1, 0, 0, 2, 1, 0)[i],)) for i in range(8)),
    "epic": tuple((i / 2, 0.4, ((0, 2, 1, 2, 3, 2, 1, 2)[i],)) for i in range(8)),
    "mysterious": ((0, 3.5, (0,)), (0.5, 3, (2,)), (1.5, 2.5, (3,)), (2.5, 1.5, (1,)), (3, 1, (2,))),
    "playful": ((0, 0.35, (0,)), (1, 0.3, (1, 2, 3)), (2, 0.35, (0,)), (3, 0.3, (1, 2, 3)),
    (3.5, 0.25, (1, 2))),
}  # fmt: skip
"""Struck and plucked accompaniment: (beat in the bar, length, voices of the chord from the bottom)."""
_HAMMERED: frozenset[Mood] = frozenset({"tense", "epic"})
"""Moods whose bowed chords are repeated in short notes when the picture is in action."""


def _pattern(bars: list[Bar], key: Key, mood: Mood, instrument: Instrument, with_bass: bool) -> list[Note]:
    """Broken or struck chords; with the bass note below when nobody else plays it."""
    low = max(instrument.low, 48)
    notes: list[Note] = []
    voicing: tuple[int, ...] = ()
    for bar in bars:
        voicing = _voicing(key, bar.chord, low, min(low + 22, instrument.high), voicing)
        voices = (*voicing, _octave(voicing[0] + 12, instrument.low, instrument.high))
        level = 46 + 30 * bar.section.intensity
        if with_bass:
            notes.append(
                Note(bar.beat, bar.beats * 0.95, _bass_pitch(key, bar.chord, 0, instrument), level + 8)
            )
        sparse = bar.section.intensity < 0.4
        for beat, length, chosen in _PATTERNS[mood]:
            if beat >= bar.beats or (sparse and beat % 1):
                continue
            accent = 7 if beat == 0 else 0
            held = min(length * (2 if sparse else 1), bar.beats - beat)
            notes += [
                Note(bar.beat + beat, held, voices[min(v, len(voices) - 1)], level + accent) for v in chosen
            ]
    return notes


def _pad(bars: list[Bar], key: Key, mood: Mood, instrument: Instrument) -> list[Note]:
    """Held chords; hammered in eighths under action when the mood asks for it."""
    low = max(instrument.low, 52)
    notes: list[Note] = []
    voicing: tuple[int, ...] = ()
    for bar in bars:
        voicing = _voicing(key, bar.chord, low, min(low + 20, instrument.high), voicing)
        level = 44 + 38 * bar.section.intensity
        if mood in _HAMMERED and bar.section.kind == "action":
            for eighth in range(bar.beats * 2):
                accent = 12 if eighth % 4 == 0 else 0
                notes += [Note(bar.beat + eighth / 2, 0.4, pitch, level + accent) for pitch in voicing]
        else:
            notes += [Note(bar.beat, bar.beats * 1.02, pitch, level) for pitch in voicing]
    return notes


def _bass(bars: list[Bar], key: Key, mood: Mood, instrument: Instrument) -> list[Note]:
    notes: list[Note] = []
    for number, bar in enumerate(bars):
        level = 58 + 32 * bar.section.intensity
        root = _bass_pitch(key, bar.chord, 0, instrument)
        if mood in _HAMMERED and bar.section.intensity > 0.5:
            notes += [
                Note(bar.beat + i / 2, 0.42, root, level + (8 if i % 4 == 0 else 0))
                for i in range(bar.beats * 2)
            ]
        elif mood in ("happy", "playful") and bar.beats >= 2:
            fifth = _bass_pitch(key, bar.chord, 2, instrument)
            notes.append(Note(bar.beat, 0.9, root, level + 5))
            if bar.beats >= 3:
                notes.append(Note(bar.beat + 2, 0.9, fifth, level))
            if bar.beats == 4 and number + 1 < len(bars):
                goal = _bass_pitch(key, bars[number + 1].chord, 0, instrument)
                degrees = [key.pitch(d) for d in range(-28, 15)]
                approach = min(
                    (p for p in degrees if p != goal), key=lambda p: (abs(p - goal), abs(p - fifth))
                )
                notes.append(
                    Note(bar.beat + 3.5, 0.45, _octave(approach, instrument.low, instrument.high), level - 6)
                )
        else:
            notes.append(Note(bar.beat, bar.beats * 0.97, root, level))
    return notes


def _bass_pitch(key: Key, chord: Chord, voice: int, instrument: Instrument) -> int:
    """The root (voice 0), third or fifth of a chord in the instrument's lowest comfortable octave."""
    low = max(instrument.low, 31)
    return low + (key.pitch(chord[voice], chord) - low) % 12


def _counter(bars: list[Bar], key: Key, instrument: Instrument) -> list[Note]:
    """A slow second voice: thirds and fifths of the chords by step, silent in the intro and close shots."""
    notes: list[Note] = []
    centre = min(max(64, instrument.low + 5), instrument.high - 5)
    before = centre
    for bar in bars:
        if bar.section.kind in ("intro", "close"):
            continue
        options = [
            pitch
            for degree in bar.chord[1:3]
            for octave in range(-21, 22, 7)
            if instrument.low <= (pitch := key.pitch(degree + octave, bar.chord)) <= instrument.high
        ]
        before = min(options, key=lambda pitch: (abs(pitch - before) + 0.4 * abs(pitch - centre), pitch))
        notes.append(Note(bar.beat, bar.beats * 0.98, before, 46 + 36 * bar.section.intensity))
    return notes


def _hits(bars: list[Bar], key: Key, mood: Mood, instrument: Instrument) -> list[Note]:
    """Timpani or taiko: every section's first beat, driving quarters under action, a roll before the end."""
    notes: list[Note] = []
    for bar in bars:
        pitch = _octave(_bass_pitch(key, bar.chord, 0, instrument), instrument.low, instrument.high)
        if bar.section.kind == "action" and mood in ("epic", "tense", "happy"):
            notes += [Note(bar.beat + i, 0.9, pitch, 96 if i % 2 == 0 else 78) for i in range(bar.beats)]
        elif bar.number == 0 and bar.section.kind != "close":
            notes.append(Note(bar.beat, 2, pitch, 66 + 30 * bar.section.intensity))
        if bar.final and mood in ("epic", "happy"):
            count = bar.beats * 4
            notes += [
                Note(bar.beat + i / 4, 0.3, pitch, 40 + 50 * i / count) for i in range(count // 2, count)
            ]
    return notes


_KICK, _STICK, _SNARE, _CLOSED, _OPEN, _CRASH, _RIDE, _TAMBOURINE, _SHAKER = (
    36,
    37,
    38,
    42,
    46,
    49,
    51,
    54,
    70,
)
_BEATS: dict[Mood, tuple[tuple[int, tuple[float, ...], float], ...]] = {
    "calm": ((_KICK, (0,), 58), (_STICK, (2,), 46), (_SHAKER, (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5), 42)),
    "happy": ((_KICK, (0, 2, 2.5), 88), (_SNARE, (1, 3), 84),
    (_CLOSED, (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5), 58), (_TAMBOURINE, (1, 3), 56)),
    "sad": ((_KICK, (0,), 54), (_RIDE, (0, 1, 2), 44)),
    "tense": ((_KICK, (0, 0.5, 2, 2.5), 82), (_CLOSED, (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5), 52),
    (_STICK, (3,), 66)),
    "epic": ((_KICK, (0, 1.5, 2), 98), (_SNARE, (1, 3, 3.5), 84), (_RIDE, (0, 1, 2, 3), 60)),
    "mysterious": ((_SHAKER, (0, 1, 2, 2.5, 3), 40), (_STICK, (1.5,), 40)),
    "playful": ((_KICK, (0, 2), 74), (_STICK, (1, 3), 64), (_TAMBOURINE, (1, 1.5, 3), 52),
    (_CLOSED, (0.5, 2.5, 3.5), 46)),
}  # fmt: skip
"""One bar of the kit: drum, beats, velocity."""


def _kit(bars: list[Bar], mood: Mood, end: float) -> list[Note]:
    notes: list[Note] = []
    for bar in bars:
        if bar.section.kind in ("intro", "close"):
            continue
        gain = 0.8 + 0.3 * bar.section.intensity
        for drum, beats, velocity in _BEATS[mood]:
            notes += [
                Note(bar.beat + b, 0.2, drum, velocity * gain - (4 if b % 1 else 0))
                for b in beats
                if b < bar.beats
            ]
        if bar.number == 0 and bar.section.kind == "action" and mood not in ("calm", "sad", "mysterious"):
            notes.append(Note(bar.beat, 2, _CRASH, 84))
        if (
            bar.last
            and bar.section.intensity > 0.5
            and bar.beats >= 2
            and mood in ("happy", "epic", "tense", "playful")
        ):
            edge = bar.beat + bar.beats - 1
            notes += [Note(edge + i / 4, 0.2, _SNARE, 58 + 9 * i) for i in range(4)]
    loud = mood in ("epic", "happy", "tense")
    return [*notes, Note(end, 2, _CRASH if loud else _RIDE, 78 if loud else 48), Note(end, 1, _KICK, 76)]


# --- the whole ------------------------------------------------------------------------------------


def compose(plan: Arrangement, music: Music, seed: int) -> list[Part]:
    """Write every part: the same arguments, the same notes. Raises `SpecError` for an unknown instrument."""
    rng = np.random.default_rng([seed, 0x5C0E])
    key = parse_key(music.key)
    bars = _bars(plan, music, key, rng)
    motif = _motif(music.mood, rng)
    lead, *others = [find(name) for name in music.instruments]
    parts = [Part("melody", lead, _melody(bars, key, motif, lead))]
    bass = next((player for player in others if player.program in (32, 42)), None)
    pattern = next(
        (p for p in others if not p.sustained and p is not bass and p.program not in (47, 116)), None
    )
    pad = next((player for player in others if player.sustained and player is not bass), None)
    if pattern is None and pad is None and not (lead.sustained and lead.program not in (48, 49, 53, 89, 92)):
        pattern, pad = (None, lead) if lead.sustained else (lead, None)  # one player, both hands
    for player in (pattern, pad, bass):
        if player is None:
            continue
        if player is bass:
            parts.append(Part("bass", player, _bass(bars, key, music.mood, player)))
        elif player is pattern:
            parts.append(Part("pattern", player, _pattern(bars, key, music.mood, player, bass is None)))
        else:
            notes = _pad(bars, key, music.mood, player)
            if bass is None and pattern is None:
                notes += _bass(bars, key, "calm", player)
            parts.append(Part("pad", player, notes))
    for player in others:
        if player.program in (47, 116):
            parts.append(Part("hits", player, _hits(bars, key, music.mood, player)))
        elif all(player is not part.instrument for part in parts):
            parts.append(Part("counter", player, _counter(bars, key, player)))
    if music.drums:
        parts.append(Part("kit", None, _kit(bars, music.mood, plan.last_beat)))
    return [_with_last_chord(part, key, plan) for part in parts]


def _with_last_chord(part: Part, key: Key, plan: Arrangement) -> Part:
    """Add the tonic chord on the last beat, held until it has died away."""
    player, end, held = part.instrument, plan.last_beat, 4 * plan.tempo / 60
    if player is None or part.role == "melody":
        return part
    if part.role in ("bass", "hits"):
        pitches = (_octave(_bass_pitch(key, _triad(0), 0, player), player.low, player.high),)
    else:
        low = max(player.low, 48)
        pitches = _voicing(key, _triad(0), low, min(low + 22, player.high), ())
    spread = 0.06 * plan.tempo / 60 if part.role == "pattern" else 0.0
    last = [Note(end + i * spread, held, pitch, 72 - 3 * i) for i, pitch in enumerate(pitches)]
    if part.role == "pattern" and player.low <= 43:
        last.append(Note(end, held, _bass_pitch(key, _triad(0), 0, player), 76))
    return part._replace(notes=[note for note in part.notes if note.beat < end] + last)
