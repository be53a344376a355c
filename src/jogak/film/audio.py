"""What every sound step needs: 48 kHz stereo arrays, filters, a room, and the way to and from the store.

A sound is a float array of shape (samples, 2) at `AUDIO_RATE`, full scale ±1; a mono one has shape
(samples,).
"""

from __future__ import annotations

import functools

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

from jogak.spec import AUDIO_RATE, Audio, JogakError
from jogak.store import current

Sound = NDArray[np.float64]

MAX_SECONDS = 600
"""A longer sound is refused before it is read: a film lasts 40 s at most."""


def samples(seconds: float) -> int:
    return round(seconds * AUDIO_RATE)


def silence(seconds: float) -> Sound:
    return np.zeros((samples(seconds), 2))


def place(stem: Sound, sound: Sound, start: int) -> None:
    """Add a sound to a stem in place; what falls outside the stem is dropped."""
    first, last = max(start, 0), min(start + len(sound), len(stem))
    if last > first:
        stem[first:last] += sound[first - start : last - start]


def filtered(sound: Sound, low: float = 0, high: float = 0, order: int = 2) -> Sound:
    """Butterworth band-pass between `low` and `high` Hz; either may be 0, which leaves that side open."""
    if low and high:
        kind, edge = "bandpass", [low, high]
    elif low:
        kind, edge = "highpass", low
    else:
        kind, edge = "lowpass", high
    return through(np.asarray(signal.butter(order, edge, kind, fs=AUDIO_RATE, output="sos")), sound)


def through(sections: Sound, sound: Sound) -> Sound:
    """A sound through second-order sections, (sections, 6)."""
    return np.asarray(signal.sosfilt(sections, sound, axis=0))


def faded(sound: Sound, fade_in: float, fade_out: float) -> Sound:
    """Raised-cosine edges, in seconds; the edges never overlap."""
    shaped = sound.copy()
    for seconds, part in ((fade_in, slice(None)), (fade_out, slice(None, None, -1))):
        count = min(samples(seconds), len(sound) // 2)
        if count:
            ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
            view = shaped[part][:count]
            view *= ramp.reshape(-1, *([1] * (sound.ndim - 1)))
    return shaped


def panned(mono: Sound, position: float) -> Sound:
    """Equal-power pan: −1 left, 0 centre, 1 right."""
    angle = (position + 1) * np.pi / 4
    return np.stack([mono * np.cos(angle), mono * np.sin(angle)], axis=1)


@functools.lru_cache(maxsize=8)
def _impulse(seconds: float, brightness: float) -> Sound:
    """A room's answer: noise that dies away, the treble first, after a few distinct early echoes."""
    rng = np.random.default_rng(0)
    count = samples(seconds)
    time = np.arange(count) / AUDIO_RATE
    tail = np.zeros((count, 2))
    for low, high, share in ((150, 800, 1.0), (800, 3000, 0.75), (3000, 9000, 0.4 * brightness)):
        band = filtered(rng.standard_normal((count, 2)), low, high)
        tail += band * 10 ** (-3 * time / (seconds * share))[:, None]
    tail *= np.minimum(time / 0.02, 1)[:, None]
    for delay, left, right in ((0.011, 0.5, 0.2), (0.019, 0.2, 0.5), (0.027, 0.4, 0.3), (0.037, 0.25, 0.35)):
        if samples(delay) < count:
            tail[samples(delay)] += np.array([left, right]) * 3
    return tail / np.sqrt(np.sum(tail**2, axis=0))


def reverberated(sound: Sound, seconds: float, brightness: float = 1.0) -> Sound:
    """What a room answers to a stereo sound; its tail falls by 60 dB in `seconds`. Same length and about as
    loud."""
    return signal.fftconvolve(sound, _impulse(seconds, brightness), axes=0)[: len(sound)]


def loudest(sound: Sound) -> float:
    return float(np.max(np.abs(sound))) if sound.size else 0.0


def active_rms(sound: Sound) -> float:
    """Root mean square of the 50 ms blocks that are within 30 dB of the loudest block; 0 for silence."""
    block = samples(0.05)
    whole = sound[: len(sound) // block * block]
    if not whole.size:
        return float(np.sqrt(np.mean(sound**2))) if sound.size else 0.0
    power = np.mean(whole.reshape(-1, block * (sound.shape[1] if sound.ndim == 2 else 1)) ** 2, axis=1)
    heard = power[power > power.max() * 1e-3]
    return float(np.sqrt(heard.mean())) if heard.size else 0.0


def decibels(ratio: float) -> float:
    return 20 * float(np.log10(max(ratio, 1e-9)))


def amplitude(decibel: float) -> float:
    return 10 ** (decibel / 20)


def stored(sound: Sound) -> Audio:
    """Put a sound into the store as a 24-bit WAV. Works inside a step. What exceeds full scale is clipped."""
    files = current().store
    with files.new_file(".wav") as path:
        # 24-bit, not float: libsndfile stamps the time into a float WAV, and equal sounds would differ
        soundfile.write(path, np.clip(sound, -1, 1), AUDIO_RATE, subtype="PCM_24", format="WAV")
        return files.put(path, Audio, rate=AUDIO_RATE, channels=sound.ndim, samples=len(sound))


def read(audio: Audio) -> Sound:
    """The samples of a 48 kHz sound, (n, channels), or (n,) when it is mono.

    Raises `JogakError` for another rate, for more than `MAX_SECONDS`, and for a file that is not a sound.
    """
    if audio.rate != AUDIO_RATE or audio.seconds > MAX_SECONDS:
        raise JogakError(
            f"A sound of {audio.rate} Hz and {audio.seconds:.0f} s: a film takes {AUDIO_RATE} Hz and at most "
            f"{MAX_SECONDS} s."
        )
    try:
        sound, _ = soundfile.read(audio.path, dtype="float64", frames=audio.samples)
    except (OSError, RuntimeError) as error:
        raise JogakError(
            f"{audio.path.name} is not readable as sound ({error}). Render the film again."
        ) from None
    return np.asarray(sound, np.float64)
