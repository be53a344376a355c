"""Sound effects made by rule: beds that fill a shot, and moments whose peak falls on their event.

Everything is synthesised (filtered noise, grains, struck modes, voiced sources through formants), seeded
by the shot and the event, so the same plan gives the same samples. A moment's peak is the loudest 10 ms of
its own sound, measured after synthesis and before it is placed; `event_errors` finds each one again in the
finished stem.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import signal

from jogak.film.audio import (
    Sound,
    active_rms,
    amplitude,
    faded,
    filtered,
    loudest,
    panned,
    place,
    read,
    reverberated,
    samples,
    silence,
    stored,
)
from jogak.spec import AUDIO_RATE, BEDS, Audio, FilmPlan, JogakError, Spec
from jogak.spec.film import EffectKind
from jogak.store import step

Rng = np.random.Generator

_OVERLAP = 0.15
"""Seconds that a bed reaches over each of its shot's cuts, so that the same bed runs on without a dip."""
_PEAK_WINDOW = 0.01
"""Seconds of the sliding window whose loudest place is a moment's peak."""
_SEARCH = 0.25
"""Seconds around an event in which its sound is looked for."""


class Cue(Spec):
    """One effect, placed in the film."""

    kind: EffectKind
    at: float
    """Seconds of the film: where a bed starts, or where a moment peaks."""
    seconds: float
    """A bed's length; a moment is as long as it sounds."""
    gain_db: float
    seed: tuple[int, int]
    """The shot's seed and the event's number in the shot."""


def cues(plan: FilmPlan) -> tuple[Cue, ...]:
    """Every event of the plan, in the film's time. A bed fills its shot whatever its `at`."""
    return tuple(
        Cue(
            kind=event.kind,
            at=start if event.kind in BEDS else start + event.at,
            seconds=shot.seconds if event.kind in BEDS else 0,
            gain_db=event.gain_db,
            seed=(shot.seed, number),
        )
        for start, shot in zip(plan.starts, plan.shots, strict=True)
        for number, event in enumerate(shot.events)
    )


def make_effects(plan: FilmPlan) -> Audio:
    """The effects stem: 48 kHz stereo, exactly as long as the film. Changes only with the events and their
    times."""
    return effects_stem(cues(plan), plan.seconds)


@step(version="1")
def effects_stem(effects: tuple[Cue, ...], seconds: float) -> Audio:
    """`render_effects`, kept in the store."""
    return stored(render_effects(effects, seconds))


def event_errors(effects: Audio, plan: FilmPlan) -> list[float]:
    """`measure_errors` of a finished stem, for the plan's moments in their order."""
    return measure_errors(read(effects), cues(plan))


def render_effects(effects: tuple[Cue, ...], seconds: float) -> Sound:
    """The effects stem, (samples, 2) at 48 kHz, exactly `seconds` long, peak ≤ −1 dB."""
    stem = silence(seconds)
    for cue in effects:
        sound, start = _render(cue)
        place(stem, sound, start)
    return stem * min(1.0, amplitude(-1) / max(loudest(stem), 1e-9))


def measure_errors(stem: Sound, effects: tuple[Cue, ...]) -> list[float]:
    """Milliseconds by which each moment's peak misses its event in a finished stem, in the order of the cues.

    Sounds overlap, so each moment is found in the stem by cross-correlation with its own sound alone; the
    peak is that sound's loudest 10 ms. Raises `JogakError` when a moment is not in the stem at all.
    """
    mono = stem.mean(axis=1)
    errors: list[float] = []
    for cue in effects:
        if cue.kind in BEDS:
            continue
        sound, start = _render(cue)
        alone = sound.mean(axis=1)
        reach = samples(_SEARCH)
        heard = np.zeros(len(alone) + 2 * reach)
        first, last = max(start - reach, 0), min(start + len(alone) + reach, len(mono))
        heard[first - start + reach : last - start + reach] = mono[first:last]
        match = signal.correlate(heard, alone, mode="valid")
        best = int(np.argmax(match))
        if match[best] < 0.1 * float(np.dot(alone, alone)):
            raise JogakError(
                f"The {cue.kind} at {cue.at:.2f} s is not in the effects stem; render the film again."
            )
        peak = start + _peak(sound) + best - reach
        errors.append(1000 * (peak / AUDIO_RATE - cue.at))
    return errors


def _render(cue: Cue) -> tuple[Sound, int]:
    """A cue's sound and the sample of the film at which it starts (before the film, for a moment with a long
    head)."""
    # the place of the kind in the list keeps two kinds on one seed from sharing their noise
    rng = np.random.default_rng([*cue.seed, list(_LEVEL).index(cue.kind)])
    gain = amplitude(_LEVEL[cue.kind] + cue.gain_db)
    if cue.kind in BEDS:
        sound = _BEDS[cue.kind](rng, samples(cue.seconds + 2 * _OVERLAP))
        sound = faded(filtered(sound, low=30), 2 * _OVERLAP, 2 * _OVERLAP)
        return sound * gain / max(active_rms(sound), 1e-9), samples(cue.at - _OVERLAP)
    mono = faded(_MOMENTS[cue.kind](rng), 0.002, 0.05)
    room, wet = _ROOM[cue.kind]
    stereo = panned(np.concatenate([mono, np.zeros(samples(0.8 * room))]), float(rng.uniform(-0.25, 0.25)))
    sound = faded(filtered(stereo + wet * reverberated(stereo, room), low=25), 0, 0.1)
    return sound * gain / max(loudest(sound), 1e-9), samples(cue.at) - _peak(sound)


def _peak(sound: Sound) -> int:
    """The middle of the loudest 10 ms, in samples."""
    power = np.sum(sound**2, axis=1)
    window = samples(_PEAK_WINDOW)
    sums = np.cumsum(np.concatenate([np.zeros(window // 2), power, np.zeros(window - window // 2)]))
    return int(np.argmax(sums[window:] - sums[:-window]))


# --- building blocks ------------------------------------------------------------------------------


def _white(rng: Rng, count: int, channels: int = 1) -> Sound:
    noise = rng.standard_normal((count, channels))
    return noise[:, 0] if channels == 1 else noise


def _coloured(rng: Rng, count: int, slope: float, channels: int = 1) -> Sound:
    """Noise whose power falls by `slope` × 3 dB an octave (1 pink, 2 brown), at unit RMS; nothing under 20
    Hz."""
    spectrum = np.fft.rfft(rng.standard_normal((count, channels)), axis=0)
    frequency = np.fft.rfftfreq(count, 1 / AUDIO_RATE)
    shape = np.where(frequency < 20, 0, np.maximum(frequency, 20) ** (-slope / 2))
    noise = np.fft.irfft(spectrum * shape[:, None], count, axis=0)
    noise /= np.sqrt(np.mean(noise**2))
    return noise[:, 0] if channels == 1 else noise


def _wander(rng: Rng, count: int, every: float, low: float, high: float) -> Sound:
    """A smooth random curve with a new goal each `every` seconds."""
    goals = rng.uniform(low, high, max(4, int(count / AUDIO_RATE / every) + 4))
    places = np.arange(len(goals)) * every * AUDIO_RATE
    at = np.arange(count) + rng.uniform(0, every) * AUDIO_RATE
    left = np.clip((at // (every * AUDIO_RATE)).astype(int), 0, len(goals) - 2)
    eased = 0.5 - 0.5 * np.cos(np.pi * np.clip((at - places[left]) / (every * AUDIO_RATE), 0, 1))
    return goals[left] * (1 - eased) + goals[left + 1] * eased


def _time(seconds: float) -> Sound:
    return np.arange(samples(seconds)) / AUDIO_RATE


def _modes(frequencies: Sound, levels: Sound, decays: Sound, seconds: float, rng: Rng) -> Sound:
    """Struck modes: sines that die away (`decays` are the seconds to −60 dB), with a 1 ms attack against
    clicks."""
    time = _time(seconds)
    phases = rng.uniform(0, 2 * np.pi, len(frequencies))
    kept = [i for i, frequency in enumerate(frequencies) if frequency < 18_000]
    sound = np.zeros(len(time))
    for i in kept:
        sound += (
            levels[i] * np.sin(2 * np.pi * frequencies[i] * time + phases[i]) * 10 ** (-3 * time / decays[i])
        )
    return sound * np.minimum(time / 0.001, 1)


def _bump(time: Sound, centre: float, rise: float, fall: float) -> Sound:
    """An envelope of height 1 at `centre`, Gaussian on both sides."""
    distance = time - centre
    return np.exp(-0.5 * (distance / np.where(distance < 0, rise, fall)) ** 2)


def _swept(noise: Sound, centre: Sound, octaves: float) -> Sound:
    """Noise through a band-pass whose centre (Hz, one value a sample) moves; `octaves` is its half-width."""
    sound = np.zeros_like(noise)
    for band in np.geomspace(120, 9000, 14):
        weight = np.exp(-0.5 * (np.log2(centre / band) / octaves) ** 2)
        if weight.max() > 0.01:
            sound += weight * filtered(noise, band / 1.18, band * 1.18, order=1)
    return sound


def _voiced(pitch: Sound, rng: Rng, breath: float, top: float = 12_000) -> Sound:
    """A buzzing source that follows a pitch curve (Hz, one value a sample): harmonics up to `top` Hz, and
    breath."""
    turn = np.exp(2j * np.pi * np.cumsum(pitch) / AUDIO_RATE)
    harmonic = np.ones_like(turn)
    source = np.zeros(len(pitch))
    for number in range(1, int(top / pitch.min()) + 1):
        harmonic *= turn
        inside = np.clip((top - number * pitch) / (0.15 * top), 0, 1)
        source += inside * np.imag(harmonic) / number
    return source + breath * _white(rng, len(pitch))


def _levelled(sound: Sound, seconds: float) -> Sound:
    """A sound of even loudness, so that the envelope put on it afterwards decides where its peak is."""
    smooth = signal.butter(1, 1 / seconds, fs=AUDIO_RATE, output="sos")
    level = np.sqrt(np.maximum(signal.sosfiltfilt(smooth, sound**2), 0))
    return sound / (level + 0.05 * level.max())


def _formants(source: Sound, vowels: list[tuple[float, ...]], weights: Sound) -> Sound:
    """A source through vowels (formant frequencies in Hz) that cross-fade by `weights`, (vowels, samples)."""
    sound = np.zeros_like(source)
    for vowel, weight in zip(vowels, weights, strict=True):
        for number, frequency in enumerate(vowel):
            width = 0.12 * frequency + 40
            b, a = signal.iirpeak(frequency, frequency / width, fs=AUDIO_RATE)
            sound += weight * signal.lfilter(b, a, source) * (1.0, 0.7, 0.35)[number]
    return sound


def _crossfade(count: int, at: tuple[float, ...]) -> Sound:
    """Weights of the keyframes `at` (fractions of the length), one row each, summing to 1 everywhere."""
    time = np.linspace(0, 1, count)
    return np.stack([np.interp(time, at, np.eye(len(at))[row]) for row in range(len(at))])


def _scatter(rng: Rng, count: int, rate: float, grains: list[Sound], levels: tuple[float, float]) -> Sound:
    """Short grains in stereo, `rate` a second, at random times, places and levels (log-uniform)."""
    hits = int(rng.poisson(rate * count / AUDIO_RATE))
    starts, which = rng.integers(0, count, hits), rng.integers(0, len(grains), hits)
    gains = np.exp(rng.uniform(np.log(levels[0]), np.log(levels[1]), hits))
    angles = rng.uniform(0.15, 0.85, hits) * np.pi / 2
    sound = np.zeros((count, 2))
    for number, grain in enumerate(grains):
        impulses = np.zeros((count, 2))
        mine = which == number
        np.add.at(impulses[:, 0], starts[mine], gains[mine] * np.cos(angles[mine]))
        np.add.at(impulses[:, 1], starts[mine], gains[mine] * np.sin(angles[mine]))
        sound += signal.fftconvolve(impulses, grain[:, None], axes=0)[:count]
    return sound


def _joined(*layers: tuple[float, Sound]) -> Sound:
    """Mono layers, each starting at its second."""
    count = max(samples(start) + len(sound) for start, sound in layers)
    whole = np.zeros(count)
    for start, sound in layers:
        whole[samples(start) : samples(start) + len(sound)] += sound
    return whole


# --- beds: (samples, 2) ---------------------------------------------------------------------------


def _rain(rng: Rng, count: int) -> Sound:
    wash = filtered(_coloured(rng, count, 0.6, 2), 900, 11_000, order=1) * 0.5
    body = filtered(_coloured(rng, count, 1, 2), 180, 900) * 0.25
    drops = [
        _modes(np.array([f, f * 1.7]), np.array([1.0, 0.4]), np.array([0.012, 0.006]), 0.02, rng)
        for f in np.geomspace(1400, 6500, 10)
    ]
    swell = _wander(rng, count, 1.7, 0.8, 1.1)[:, None]
    return (wash + body + _scatter(rng, count, 150, drops, (0.1, 3.0))) * swell


def _wind(rng: Rng, count: int) -> Sound:
    noise = _coloured(rng, count, 1, 2)
    centre = 2 ** _wander(rng, count, 1.1, np.log2(220), np.log2(750))
    howl = np.stack([_swept(noise[:, 0], centre, 0.6), _swept(noise[:, 1], centre * 1.12, 0.6)], axis=1)
    rush = filtered(noise, 700, 5000, order=1) * 0.18
    gust = _wander(rng, count, 1.4, 0.35, 1.0)[:, None]
    return (1.6 * howl + rush) * gust


def _waves(rng: Rng, count: int) -> Sound:
    time = np.arange(count) / AUDIO_RATE
    period = float(rng.uniform(5.0, 6.2))
    crests = np.arange(0.4 * min(period, time[-1]), time[-1] + period, period)
    swell, foam = np.zeros(count), np.zeros(count)
    for crest in crests:
        swell += _bump(time, crest, 1.1, 1.2)
        foam += _bump(time, crest + 0.35, 0.3, 1.0)
    deep = filtered(_coloured(rng, count, 1.6, 2), 40, 600) * (0.25 + swell)[:, None]
    bright = filtered(_coloured(rng, count, 0.7, 2), 600, 9000, order=1) * (0.08 + 0.55 * foam)[:, None]
    return 0.7 * deep + bright


def _fire(rng: Rng, count: int) -> Sound:
    roar = filtered(_coloured(rng, count, 1.5, 2), 50, 420) * _wander(rng, count, 0.25, 0.3, 1.0)[:, None]
    hiss = filtered(_coloured(rng, count, 0.5, 2), 2500, 9000, order=1) * 0.05
    crackles = []
    for centre in np.geomspace(900, 5200, 8):
        snap = filtered(_white(rng, samples(0.03)), centre * 0.6, centre * 1.5, order=1)
        crackles.append(snap * np.exp(-_time(0.03) * rng.uniform(180, 500)))
    return 0.5 * roar + hiss + _scatter(rng, count, 22, crackles, (0.25, 3.2))


def _birds(rng: Rng, count: int) -> Sound:
    air = filtered(_coloured(rng, count, 1, 2), 300, 4000, order=1) * 0.012
    sound = air
    for _ in range(4):
        song = _song(rng)
        side, distance = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0.25, 1.0))
        at = float(rng.uniform(0.0, 0.9))
        while at < count / AUDIO_RATE:
            place(sound, panned(song * distance * rng.uniform(0.7, 1.0), side), samples(at))
            at += len(song) / AUDIO_RATE + float(rng.uniform(0.7, 2.6))
    return sound + 0.12 * reverberated(sound, 1.1, 0.8)


def _song(rng: Rng) -> Sound:
    """One bird's phrase: a motif of whistled glides, some of them trilled."""
    base = float(rng.uniform(2300, 4800))
    notes: list[tuple[float, Sound]] = []
    at = 0.0
    for _ in range(int(rng.integers(2, 5))):
        length = float(rng.uniform(0.05, 0.16))
        start = base * float(rng.uniform(0.85, 1.2))
        end = start * 2 ** float(rng.uniform(-0.55, 0.55))
        for _ in range(int(rng.choice((1, 1, 2, 4)))):
            time = _time(length)
            bend = start + (end - start) * (time / length) ** rng.uniform(0.6, 1.6)
            wobble = 1 + 0.02 * np.sin(2 * np.pi * rng.uniform(18, 40) * time)
            tone = np.sin(2 * np.pi * np.cumsum(bend * wobble) / AUDIO_RATE)
            notes.append((at, tone * np.sin(np.pi * time / length) ** 0.8))
            at += length * 1.15
        at += float(rng.uniform(0.02, 0.1))
    return _joined(*notes)


def _insects(rng: Rng, count: int) -> Sound:
    time = np.arange(count) / AUDIO_RATE
    sound = np.zeros((count, 2))
    for _ in range(5):
        carrier, rate = float(rng.uniform(3900, 5000)), float(rng.uniform(1.7, 2.6))
        phase = (time * rate + rng.uniform()) % 1  # place within one chirp
        pulses = np.where(phase < 0.42, np.sin(np.pi * (phase / 0.14 % 1)) ** 2, 0)
        level = float(rng.uniform(0.25, 1)) * _wander(rng, count, 1.5, 0.6, 1.0)
        tone = np.sin(2 * np.pi * carrier * time) + 0.12 * np.sin(4 * np.pi * carrier * time)
        sound += panned(tone * pulses * level, float(rng.uniform(-0.9, 0.9)))
    night = filtered(_coloured(rng, count, 0.8, 2), 2500, 7000, order=1) * 0.05
    return sound + night + 0.2 * reverberated(sound, 1.0, 0.8)


def _stream(rng: Rng, count: int) -> Sound:
    bubbles = []
    for frequency in np.geomspace(420, 2600, 14):
        time = _time(0.06)
        rising = frequency * (1 + 6 * time * rng.uniform(0.3, 1))
        decay = np.exp(-time * 0.18 * frequency**0.8)
        bubbles.append(
            np.sin(2 * np.pi * np.cumsum(rising) / AUDIO_RATE) * decay * np.minimum(time / 0.002, 1)
        )
    flow = (
        filtered(_coloured(rng, count, 0.9, 2), 350, 5000, order=1)
        * _wander(rng, count, 0.6, 0.7, 1.0)[:, None]
    )
    return 0.22 * flow + _scatter(rng, count, 130, bubbles, (0.05, 0.9))


_VOWELS: list[tuple[float, ...]] = [
    (730, 1090, 2440),
    (530, 1840, 2480),
    (570, 840, 2410),
    (300, 2200, 2900),
    (440, 1020, 2240),
]
"""Formants of a, e, o, i, u-like vowels, in Hz."""


def _crowd(rng: Rng, count: int) -> Sound:
    sound = np.zeros((count, 2))
    for _ in range(10):
        base = float(rng.choice((115, 195))) * float(rng.uniform(0.85, 1.2))
        pitch = base * 2 ** _wander(rng, count, 0.28, -0.25, 0.25)
        talk = np.clip(_wander(rng, count, 0.11, -0.5, 1.0), 0, None) * (
            _wander(rng, count, 1.3, -0.6, 1.0) > 0
        )
        talk = signal.sosfiltfilt(signal.butter(1, 25, fs=AUDIO_RATE, output="sos"), talk)
        mouths = np.stack([_wander(rng, count, 0.16, 0, 1) ** 3 for _ in _VOWELS])
        voice = _formants(_voiced(pitch, rng, 0.15, top=4500), _VOWELS, mouths) * talk
        sound += panned(voice * rng.uniform(0.4, 1), float(rng.uniform(-0.9, 0.9)))
    murmur = filtered(_coloured(rng, count, 1.2, 2), 150, 900) * 0.03
    return filtered(sound + 0.8 * reverberated(sound, 1.3, 0.7), 120, 3600, order=1) + murmur


# --- moments: mono --------------------------------------------------------------------------------


def _thunder(rng: Rng) -> Sound:
    time = _time(4.2)
    crack = np.zeros(len(time))
    for delay, level in zip(
        np.sort(rng.uniform(0.0, 0.22, 7)), (1.0, 0.7, 0.5, 0.55, 0.4, 0.3, 0.3), strict=True
    ):
        crack += level * np.where(time >= delay, np.exp(-(time - delay) * 38), 0)
    bright = _swept(_white(rng, len(time)), 300 + 3200 * np.exp(-time * 7), 1.3) * crack
    rolls = _wander(rng, len(time), 0.22, 0.1, 1.0) * np.exp(-time * 0.65) * np.minimum(time / 0.08, 1)
    rumble = filtered(_coloured(rng, len(time), 1.8), 30, 220) * rolls
    return np.tanh(3 * bright / loudest(bright)) + 0.6 * rumble / loudest(rumble)


def _steps(rng: Rng) -> Sound:
    steps: list[tuple[float, Sound]] = []
    at = 0.0
    for level in (1.0, 0.72, 0.8, 0.66):
        time = _time(0.25)
        tone = float(rng.uniform(85, 120))
        heel = np.sin(2 * np.pi * tone * time * (1 + 0.3 * np.exp(-time * 60))) * np.exp(-time * 45)
        scuff = filtered(_white(rng, len(time)), 700, float(rng.uniform(3200, 5200)), order=1)
        edge = np.exp(-time * 90) + 0.35 * _bump(time, float(rng.uniform(0.085, 0.11)), 0.008, 0.02)
        steps.append((at, level * (heel + 0.35 * scuff * edge) * np.minimum(time / 0.002, 1)))
        at += float(rng.uniform(0.5, 0.56))
    return _joined(*steps)


def _whoosh(rng: Rng) -> Sound:
    time = _time(1.1)
    peak = 0.5
    centre = 250 + 2300 * _bump(time, peak, 0.16, 0.2)
    return _levelled(_swept(_coloured(rng, len(time), 0.6), centre, 0.7), 0.03) * _bump(
        time, peak, 0.09, 0.13
    )


def _impact(rng: Rng) -> Sound:
    time = _time(1.3)
    pitch = 42 + 90 * np.exp(-time * 22)
    boom = np.sin(2 * np.pi * np.cumsum(pitch) / AUDIO_RATE) * np.exp(-time * 6.5)
    hit = filtered(_white(rng, len(time)), 90, 2600, order=1) * np.exp(-time * 55)
    debris = (
        filtered(_coloured(rng, len(time), 1), 300, 4500)
        * np.exp(-time * 7)
        * _wander(rng, len(time), 0.05, 0, 1)
    )
    return (boom + 0.9 * hit + 0.12 * debris) * np.minimum(time / 0.0015, 1)


def _bell(rng: Rng) -> Sound:
    strike = float(rng.uniform(420, 560))
    ratios = np.array([0.5, 1, 1.183, 1.506, 2, 2.514, 2.662, 3.011, 4.166, 5.433, 6.796])
    levels = np.array([0.45, 0.7, 0.6, 0.3, 1.0, 0.25, 0.35, 0.3, 0.28, 0.18, 0.1])
    decays = np.array([7.5, 5.5, 4.6, 3.6, 3.4, 2.4, 2.2, 1.9, 1.4, 0.9, 0.6])
    pair = np.concatenate(
        [ratios, ratios * 1.0016]
    )  # two nearly equal modes each: the slow beating of a cast bell
    tone = _modes(pair * strike, np.tile(levels, 2), np.tile(decays, 2), 4.5, rng)
    clapper = filtered(_white(rng, len(tone)), 1500, 7000, order=1) * np.exp(-_time(4.5) * 160)
    return tone * (1 + 0.7 * np.exp(-_time(4.5) * 14)) + 0.6 * clapper


def _splash(rng: Rng) -> Sound:
    time = _time(1.6)
    burst = filtered(_coloured(rng, len(time), 0.5), 350, 9000, order=1)
    body = burst * (np.exp(-time * 11) + 0.12 * np.exp(-time * 2.5)) * np.minimum(time / 0.006, 1)
    plunge = np.sin(2 * np.pi * np.cumsum(180 + 260 * np.minimum(time / 0.15, 1)) / AUDIO_RATE) * np.exp(
        -time * 22
    )
    droplets = _stream(rng, len(time)).mean(axis=1) * np.clip(time / 0.12, 0, 1) * np.exp(-time * 2.4)
    return body + 0.7 * plunge + 0.6 * droplets


def _chime(rng: Rng) -> Sound:
    scale = 1150 * 2 ** (np.array([0, 2, 4, 7, 9, 12, 14]) / 12) * float(rng.uniform(0.92, 1.08))
    hits: list[tuple[float, Sound]] = []
    at = 0.0
    for number, tube in enumerate(rng.permutation(len(scale))):
        ratios = np.array([1, 1.001, 2.756, 5.404])
        ring = _modes(
            scale[tube] * ratios, np.array([1, 0.7, 0.4, 0.15]), np.array([3.2, 3.0, 1.3, 0.5]), 2.6, rng
        )
        ring *= 1 + np.exp(-_time(2.6) * 18)
        hits.append((at, ring * (1.0 if number == 0 else float(rng.uniform(0.18, 0.4)))))
        at += float(rng.uniform(0.09, 0.28))
    return _joined(*hits)


def _engine(rng: Rng) -> Sound:
    time = _time(3.2)
    rev = _bump(time, 1.3, 0.5, 0.8)
    firing = 30 + 55 * rev + 0.8 * _wander(rng, len(time), 0.06, -1, 1)
    source = _voiced(firing, rng, 0.25)
    block = _formants(source, [(95, 240, 620), (180, 520, 1500)], np.stack([1 - 0.7 * rev, 0.3 + 0.7 * rev]))
    return (
        _levelled(block, 0.06)
        * (0.2 + 0.45 * rev + 0.35 * _bump(time, 1.3, 0.08, 0.12))
        * np.minimum(time / 0.25, 1)
        * np.clip((3.2 - time) / 0.6, 0, 1)
    )


def _door(rng: Rng) -> Sound:
    time = _time(0.7)
    wood = np.array([92, 148, 226, 341, 512, 870, 1340]) * rng.uniform(0.95, 1.05, 7)
    levels = np.array([1, 0.8, 0.6, 0.4, 0.3, 0.2, 0.12])
    thud = _modes(wood, levels, np.array([0.32, 0.28, 0.22, 0.16, 0.12, 0.08, 0.05]), 0.7, rng)
    slap = filtered(_white(rng, len(time)), 200, 3500, order=1) * np.exp(-time * 70)
    latch = filtered(_white(rng, samples(0.03)), 1800, 6500, order=1) * np.exp(-_time(0.03) * 260)
    return _joined((0.0, 0.25 * latch), (0.085, thud + 0.8 * slap), (0.21, 0.3 * latch))


def _bark(rng: Rng) -> Sound:
    barks: list[tuple[float, Sound]] = []
    base = float(rng.uniform(270, 340))
    for at, level in ((0.0, 1.0), (0.36, 0.8)):
        time = _time(0.24)
        pitch = base * (0.8 + 0.75 * _bump(time, 0.05, 0.03, 0.09))
        source = _voiced(pitch, rng, 0.5)
        weights = _crossfade(len(time), (0.0, 0.3, 1.0))
        mouth = _formants(source, [(450, 900, 2300), (900, 1500, 2700), (420, 800, 2200)], weights)
        rough = 1 + 0.25 * np.sign(np.sin(2 * np.pi * 38 * time)) * np.exp(-time * 20)
        barks.append(
            (at, level * np.tanh(2.5 * mouth / loudest(mouth)) * _bump(time, 0.055, 0.016, 0.05) * rough)
        )
    return filtered(_joined(*barks), 150, 7000, order=1)


def _meow(rng: Rng) -> Sound:
    time = _time(0.95)
    base = float(rng.uniform(480, 600))
    pitch = base * (0.85 + 0.5 * _bump(time, 0.35, 0.16, 0.3)) * (1 + 0.012 * np.sin(2 * np.pi * 6.5 * time))
    weights = _crossfade(len(time), (0.0, 0.15, 0.42, 0.75, 1.0))
    vowels: list[tuple[float, ...]] = [
        (320, 1300, 2600), (520, 2300, 3200), (1050, 1750, 3000), (650, 1150, 2700), (380, 850, 2400),
    ]  # fmt: skip
    cry = _formants(_voiced(pitch, rng, 0.06), vowels, weights)
    swell = 0.7 * _bump(time, 0.36, 0.1, 0.2) + 0.3 * _bump(time, 0.36, 0.04, 0.06)
    return _levelled(cry, 0.03) * swell * np.minimum(time / 0.03, 1)


def _magic(rng: Rng) -> Sound:
    root = 620 * float(rng.uniform(0.94, 1.06))
    ladder = root * 2 ** (np.array([0, 2, 4, 7, 9, 12, 14, 16, 19, 21, 24]) / 12)
    sparks: list[tuple[float, Sound]] = []
    ratios, levels = np.array([1, 2.0, 3.01, 4.1]), np.array([1, 0.35, 0.18, 0.08])
    decays = np.array([1.6, 1.1, 0.6, 0.4])
    rise = 0.55
    for number, pitch in enumerate(ladder):
        share = number / len(ladder)
        sparks.append(
            (rise * share**0.8, (0.12 + 0.22 * share) * _modes(pitch * ratios, levels, decays, 1.8, rng))
        )
    for pitch in ladder[[5, 7, 8, 10]]:
        ring = _modes(pitch * ratios, levels, decays * 1.6, 2.4, rng)
        sparks.append((rise, 0.7 * ring * (1 + np.exp(-_time(2.4) * 18))))
    time = _time(2.4)
    dust = filtered(_white(rng, len(time)), 5500, 12_000, order=1) * _bump(time, rise, 0.25, 0.5)
    twinkle = dust * (0.5 + 0.5 * _wander(rng, len(time), 0.04, 0, 1))
    return _joined((0.0, 0.06 * twinkle), *sparks)


_BEDS: dict[EffectKind, Callable[[Rng, int], Sound]] = {
    "rain": _rain, "wind": _wind, "waves": _waves, "fire": _fire, "birds": _birds, "insects": _insects,
    "stream": _stream, "crowd": _crowd,
}  # fmt: skip
_MOMENTS: dict[EffectKind, Callable[[Rng], Sound]] = {
    "thunder": _thunder, "steps": _steps, "whoosh": _whoosh, "impact": _impact, "bell": _bell,
    "splash": _splash,
    "chime": _chime, "engine": _engine, "door": _door, "bark": _bark, "meow": _meow, "magic": _magic,
}  # fmt: skip
_LEVEL: dict[EffectKind, float] = {
    "rain": -29, "wind": -29, "waves": -28, "fire": -29, "birds": -31, "insects": -34, "stream": -31,
    "crowd": -31,
    "thunder": -6, "steps": -15, "whoosh": -12, "impact": -7, "bell": -12, "splash": -10, "chime": -15,
    "engine": -11, "door": -11, "bark": -11, "meow": -13, "magic": -13,
}  # fmt: skip
"""Loudness before the event's own gain: a bed's active RMS, a moment's highest sample, in dBFS."""
_ROOM: dict[EffectKind, tuple[float, float]] = {
    "thunder": (2.2, 0.3), "steps": (0.5, 0.12), "whoosh": (0.9, 0.2), "impact": (1.4, 0.25),
    "bell": (2.0, 0.25),
    "splash": (0.8, 0.12), "chime": (1.6, 0.25), "engine": (0.5, 0.1), "door": (0.6, 0.18),
    "bark": (0.8, 0.15),
    "meow": (0.6, 0.12), "magic": (2.2, 0.45),
}  # fmt: skip
"""The room around each moment: seconds of tail, and its share."""
