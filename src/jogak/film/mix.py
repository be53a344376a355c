"""Stems to the film's sound: the bed ducks under speech, the whole is as loud as the web asks, and no peak
clips.

Loudness is ITU-R BS.1770-4 (integrated, gated), true peak its four-times oversampled measure. Everything
that is reported is measured again on the 16-bit samples that leave here, and after AAC; a film that misses
a bar is an error.
"""

from __future__ import annotations

import io

import av
import numpy as np
import pyloudnorm
import soundfile
from scipy import ndimage, signal

from jogak.film.audio import Sound, amplitude, decibels, loudest, read, samples, through
from jogak.spec import AUDIO_RATE, Audio, JogakError, Spec
from jogak.store import current, step

TARGET, TOLERANCE = -14.0, 0.5
"""Integrated loudness in LUFS, and how far from it a film may be."""
HIGHEST_PEAK = -1.0
"""dBTP. The limiter works to `_CEILING`, so that what a lossy codec adds stays under it."""
LEAST_DIALOGUE = 6.0
"""dB that every spoken passage must stand over the bed."""
_CEILING = -2.2
AAC_BIT_RATE = 256_000
"""Bits a second of the sound in the film's MP4."""
_DIALOGUE = 9.0
"""dB that ducking aims for."""
_LEAST_DUCK, _MOST_DUCK = 3.0, 30.0
_ATTACK, _RELEASE = 0.2, 0.6
"""Seconds over which the bed goes down before speech, and comes back after it."""
_JOIN = 0.8
"""Pauses shorter than this stay ducked."""
_VOICE_GAIN = 3.0
_BLOCK = 48
"""Samples (1 ms) between the limiter's decisions."""
_RECOVERY = 0.12
"""dB a millisecond that the limiter lets go."""


class LoudnessReport(Spec):
    """What was measured on the finished mix."""

    integrated: float
    """LUFS."""
    true_peak: float
    """dBTP."""
    encoded_integrated: float
    """LUFS after AAC at `AAC_BIT_RATE`."""
    encoded_true_peak: float
    """dBTP after AAC at `AAC_BIT_RATE`."""
    dialogue_over_bed_db: float | None
    """The least favourable spoken passage, K-weighted, voice against everything else; None without speech."""
    ducked_db: float
    """The most that the bed went down under speech."""
    limited_db: float
    """The most that the limiter took off a peak."""


@step(version="1")
def mix(music: Audio, effects: Audio, voice: Audio) -> tuple[Audio, LoudnessReport]:
    """Mix three stems of equal length into 16-bit stereo at −14 LUFS, and measure it.

    Raises `JogakError` when the stems differ in length, when all are silent, or when the mix misses −14 ±
    0.5 LUFS, −1 dBTP or 6 dB of dialogue over the bed.
    """
    sound, report = mixed(read(music), read(effects), read(voice))
    files = current().store
    with files.new_file(".wav") as path:
        soundfile.write(path, (sound * 32768).astype(np.int16), AUDIO_RATE, subtype="PCM_16", format="WAV")
        made = files.put(path, Audio, rate=AUDIO_RATE, channels=2, samples=len(sound))
    return made, report


def mixed(music: Sound, effects: Sound, voice: Sound) -> tuple[Sound, LoudnessReport]:
    """`mix` on arrays of shape (samples, 2); the result's values are exact 16-bit steps."""
    if not len(music) == len(effects) == len(voice):
        lengths = ", ".join(f"{len(stem) / AUDIO_RATE:.3f} s" for stem in (music, effects, voice))
        raise JogakError(
            f"The stems differ in length (music, effects, voice: {lengths}); render the film again."
        )
    voice = voice * amplitude(_VOICE_GAIN)
    speech = speech_passages(voice)
    ducking, ducked = _ducking(voice, music + effects, speech)
    bed = (music + effects) * (10 ** (ducking / 20))[:, None]
    gain, limited, sound, heard = _mastered(voice + bed)
    report = LoudnessReport(
        integrated=round(integrated_loudness(sound), 2),
        true_peak=round(true_peak(sound), 2),
        encoded_integrated=round(integrated_loudness(heard), 2),
        encoded_true_peak=round(true_peak(heard), 2),
        dialogue_over_bed_db=_dialogue_over_bed(voice * gain[:, None], bed * gain[:, None], speech),
        ducked_db=round(ducked, 1),
        limited_db=round(limited, 1),
    )
    hold_to_the_bars(report)
    return sound, report


def hold_to_the_bars(report: LoudnessReport) -> None:
    """Raise `JogakError`, naming the figure, when a film may not leave like this."""
    if abs(report.integrated - TARGET) > TOLERANCE:
        raise JogakError(
            f"The mix has {report.integrated} LUFS, not {TARGET} ± {TOLERANCE}; "
            "lower gain_db of the loudest events in plan.yaml and run it again."
        )
    peak = max(report.true_peak, report.encoded_true_peak)
    if peak > HIGHEST_PEAK:
        raise JogakError(
            f"The mix peaks at {peak} dBTP, over {HIGHEST_PEAK}; lower gain_db of the loudest events."
        )
    if report.dialogue_over_bed_db is not None and report.dialogue_over_bed_db < LEAST_DIALOGUE:
        raise JogakError(
            f"The voice is only {report.dialogue_over_bed_db} dB over music and effects, not "
            f"{LEAST_DIALOGUE}; lower gain_db of the events that sound during the lines."
        )


# --- measures -------------------------------------------------------------------------------------


def integrated_loudness(sound: Sound) -> float:
    """LUFS by BS.1770-4; −70 for a sound under the gate or shorter than 0.4 s."""
    if len(sound) < samples(0.4):
        return -70.0
    return max(-70.0, float(pyloudnorm.Meter(AUDIO_RATE).integrated_loudness(sound)))


def true_peak(sound: Sound) -> float:
    """dBTP: the highest of the four-times oversampled samples (BS.1770-4, annex 2)."""
    return decibels(loudest(signal.resample_poly(sound, 4, 1, axis=0)))


def speech_passages(voice: Sound) -> list[tuple[int, int]]:
    """Where there is speech, in samples: passages within 40 dB of the loudest, joined over pauses under 0.8
    s."""
    block = samples(0.02)
    count = len(voice) // block
    level = np.sqrt(np.mean(voice[: count * block].reshape(count, -1) ** 2, axis=1)) if count else np.zeros(0)
    if not level.size or level.max() < amplitude(-60):
        return []
    heard = np.flatnonzero(level > level.max() * amplitude(-40))
    breaks = np.flatnonzero(np.diff(heard) > _JOIN / 0.02)
    starts, ends = [heard[0], *heard[breaks + 1]], [*heard[breaks], heard[-1]]
    return [(int(start) * block, (int(end) + 1) * block) for start, end in zip(starts, ends, strict=True)]


def _dialogue_over_bed(voice: Sound, bed: Sound, speech: list[tuple[int, int]]) -> float | None:
    """The lowest ratio of K-weighted power among the passages, in dB, at most 60."""
    if not speech:
        return None
    loud_voice, loud_bed = _k_weighted(voice), _k_weighted(bed)
    return round(min(_ratio(loud_voice[a:b], loud_bed[a:b]) for a, b in speech), 1)


def _ratio(voice: Sound, bed: Sound) -> float:
    return min(60.0, 10 * float(np.log10(np.mean(voice**2) / max(float(np.mean(bed**2)), 1e-12))))


def _k_weighted(sound: Sound) -> Sound:
    """BS.1770-4's two filters at 48 kHz: a head's shelf and a high-pass."""
    shelf = (1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585)
    highpass = (1, -2, 1, 1, -1.99004745483398, 0.99007225036621)
    return through(np.array([shelf, highpass]), sound)


# --- ducking and mastering ------------------------------------------------------------------------


def _ducking(voice: Sound, bed: Sound, speech: list[tuple[int, int]]) -> tuple[Sound, float]:
    """The bed's gain in dB, one value a sample, and its deepest: under each passage as low as needed."""
    curve = np.zeros(len(bed))
    loud_voice, loud_bed = _k_weighted(voice), _k_weighted(bed)
    for start, end in speech:
        depth = _DIALOGUE - _ratio(loud_voice[start:end], loud_bed[start:end])
        depth = float(np.clip(depth, _LEAST_DUCK, _MOST_DUCK))
        first, last = max(0, start - samples(_ATTACK)), min(len(bed), end + samples(_RELEASE))
        dip = np.full(last - first, -depth)
        curve[first:last] = np.minimum(curve[first:last], _eased(dip, start - first, last - end))
    return curve, abs(float(curve.min(initial=0)))


def _eased(dip: Sound, attack: int, release: int) -> Sound:
    """Ramps into and out of a dip, outside the passage itself."""
    shaped = dip.copy()
    for ramp, part in ((attack, slice(None)), (release, slice(None, None, -1))):
        if ramp:
            shaped[part][:ramp] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(ramp) / ramp)
    return shaped


def _mastered(sound: Sound) -> tuple[Sound, float, Sound, Sound]:
    """Every sample's gain, the limiter's deepest dB, the 16-bit sound, and the same after AAC.

    A lossy encoder moves peaks, sometimes by 2 dB, so the ceiling comes down until the decoded sound keeps
    the bar.
    """
    peaks = _true_peaks(sound)
    ceiling, tries = _CEILING, 4
    while True:
        gain, limited = _master(sound, peaks, ceiling)
        finished = _sixteen_bit(sound * gain[:, None])
        heard = through_aac(finished)
        over = true_peak(heard) - HIGHEST_PEAK
        tries -= 1
        if over < 0 or not tries:
            return gain, limited, finished, heard
        ceiling -= over + 0.2


def _master(sound: Sound, peaks: Sound, ceiling: float) -> tuple[Sound, float]:
    """The gain of every sample that brings a sound to the target under a ceiling, and the limiter's deepest
    dB.

    Limiting lowers the loudness a little, so the gain before it is corrected until the measured loudness
    stands.
    """
    loudness = integrated_loudness(sound)
    if loudness <= -70:
        raise JogakError("The film has no sound at all: give plan.yaml music, a line or an event.")
    drive, tries = TARGET - loudness, 8
    while True:
        curve, reduction = _limited(peaks, drive, ceiling)
        gain = curve[: len(sound)]
        miss = TARGET - integrated_loudness(sound * gain[:, None])
        tries -= 1
        if abs(miss) < 0.05 or not tries:
            return gain, reduction
        drive += float(np.clip(1.3 * miss, -6, 6))


def through_aac(sound: Sound) -> Sound:
    """Stereo sound encoded as AAC at `AAC_BIT_RATE` and decoded again; the encoder's delay is still in it."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=AUDIO_RATE)
        stream.bit_rate, stream.layout = AAC_BIT_RATE, "stereo"
        for start in range(0, len(sound), 1024):
            planes = np.ascontiguousarray(sound[start : start + 1024].T, np.float32)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = AUDIO_RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as finished:
        decoded = [frame.to_ndarray() for frame in finished.decode(finished.streams.audio[0])]
    return np.concatenate(decoded, axis=1).T.astype(np.float64)


def _true_peaks(sound: Sound) -> Sound:
    """The highest four-times oversampled value of each millisecond over both channels."""
    over = np.abs(signal.resample_poly(sound, 4, 1, axis=0)).max(axis=1)
    count = -(-len(sound) // _BLOCK)
    padded = np.zeros(count * _BLOCK * 4)
    padded[: len(over)] = over
    return padded.reshape(count, -1).max(axis=1)


def _limited(peaks: Sound, drive: float, ceiling: float) -> tuple[Sound, float]:
    """Gain of each sample for a drive in dB: a look-ahead limiter that comes down within 5 ms and lets go
    slowly."""
    wanted = np.minimum(0.0, ceiling - drive - 20 * np.log10(np.maximum(peaks, 1e-9)))
    held = wanted.copy()
    for index in range(1, len(held)):  # recovery is a running minimum with a slope
        held[index] = min(held[index], held[index - 1] + _RECOVERY)
    ahead = ndimage.minimum_filter1d(held, 9, mode="nearest")
    smooth = ndimage.uniform_filter1d(ahead, 7, mode="nearest")
    centres = (np.arange(len(peaks)) + 0.5) * _BLOCK
    curve = np.interp(np.arange(len(peaks) * _BLOCK), centres, smooth)
    return 10 ** ((curve + drive) / 20), abs(float(smooth.min()))


def _sixteen_bit(sound: Sound) -> Sound:
    """Rounded to 16 bits with triangular dither, which turns rounding into a faint even hiss."""
    dither = np.random.default_rng(16).triangular(-1, 0, 1, sound.shape)
    return np.clip(np.round(sound * 32768 + dither), -32768, 32767) / 32768
