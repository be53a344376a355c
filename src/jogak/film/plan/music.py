"""The music of a plan: what its mood asks for, and what the brief wishes instead."""

from __future__ import annotations

import functools
import random
import re
from dataclasses import dataclass
from typing import NamedTuple

from jogak.film.instruments import ALIASES, INSTRUMENTS
from jogak.spec import Music
from jogak.spec.film import Mood


class _Palette(NamedTuple):
    keys: tuple[str, ...]
    slowest: int
    fastest: int
    ensembles: tuple[tuple[str, ...], ...]
    """Melody first, then what carries it."""
    drums: bool = False


_PALETTES: dict[Mood, _Palette] = {
    "calm": _Palette(
        ("C major", "F major", "Eb major", "G major"), 66, 84,
        (("piano", "strings"), ("harp", "flute", "slow strings"), ("guitar", "flute", "warm pad")),
    ),
    "happy": _Palette(
        ("G major", "D major", "C major", "A major"), 104, 126,
        (("flute", "guitar", "pizzicato strings"), ("clarinet", "piano"), ("glockenspiel", "guitar")),
    ),
    "sad": _Palette(
        ("A minor", "D minor", "C minor", "E minor"), 58, 74,
        (("cello", "piano"), ("violin", "piano", "slow strings"), ("oboe", "harp", "strings")),
    ),
    "tense": _Palette(
        ("E minor", "C minor", "F# minor"), 112, 138,
        (("strings", "cello", "timpani"), ("pizzicato strings", "trombone"), ("violin", "strings")),
        drums=True,
    ),
    "epic": _Palette(
        ("D minor", "C minor", "D major", "E minor"), 96, 120,
        (("french horn", "strings", "timpani", "choir"), ("trumpet", "strings", "trombone", "taiko")),
        drums=True,
    ),
    "mysterious": _Palette(
        ("B minor", "E minor", "F# minor", "D minor"), 64, 84,
        (("celesta", "glass pad"), ("bamboo flute", "warm pad", "harp"), ("music box", "slow strings")),
    ),
    "playful": _Palette(
        ("F major", "G major", "Bb major", "C major"), 112, 136,
        (("clarinet", "pizzicato strings", "bass"), ("marimba", "pizzicato strings"), ("kalimba", "guitar")),
    ),
}  # fmt: skip


class _Genre(NamedTuple):
    words: str
    instruments: tuple[str, ...]
    tempo: int
    drums: bool


_GENRES = (
    _Genre(r"\bjazz|재즈", ("clarinet", "piano", "bass"), 116, True),
    _Genre(r"lullab|자장가", ("music box", "harp"), 66, False),
    _Genre(r"\bwaltz|왈츠", ("violin", "piano", "strings"), 96, False),
    _Genre(
        r"\brock(?:'n'roll| music| song| band)|록 음악|락 음악|로큰롤", ("guitar", "bass", "piano"), 128, True
    ),
    _Genre(
        r"classical|orchestra|클래식|오케스트라|교향곡",
        ("violin", "strings", "french horn", "oboe"),
        92,
        False,
    ),
    _Genre(r"gugak|국악|전통 음악", ("koto", "bamboo flute", "taiko"), 80, False),
    _Genre(r"\bmarch\b(?! to)|행진곡", ("trumpet", "trombone", "strings"), 112, True),
    _Genre(r"lo-?fi|로파이", ("electric piano", "vibraphone", "bass"), 80, True),
    _Genre(
        r"electronic|techno|\bedm\b|일렉트로닉|전자 음악|테크노",
        ("warm pad", "electric piano", "bass"),
        122,
        True,
    ),
    _Genre(r"\bfolk|포크 음악|컨트리", ("guitar", "violin", "flute"), 96, False),
    _Genre(r"ambient|앰비언트", ("glass pad", "warm pad", "harp"), 60, False),
)
_MUSIC = (
    r"음악|배경음악|배경 음악|곡(?=[이으은을,. ]|$)|선율|멜로디|반주|사운드트랙|bgm|연주곡"
    r"|\bmusic\b|soundtrack|\bscore\b|\btune\b|melody|accompaniment"
)
_FAST = r"빠른|빠르|신나는|경쾌한|힘찬|발랄한|\bfast\b|\bquick\b|up-?tempo|upbeat|lively|energetic|driving"
_SLOW = r"느린|느리|천천|잔잔한|조용한|차분한|\bslow\b|\bgentle\b|\bsoft\b|\bquiet\b|relaxed"
_BEAT = r"드럼|북소리|비트|타악기|\bdrums?\b|drumbeat|percussion|\bbeats?\b"
_TEMPO = r"템포|박자|리듬|\btempo\b|\brhythm\b|\bpace\b"
_NO_DRUMS = r"(?:\bno|without(?: any)?) (?:drums?|percussion)|(?:드럼|북|타악기)(?:은|는|을|를)? ?(?:없|빼)"
_KO_TONICS = {"다": "C", "라": "D", "마": "E", "바": "F", "사": "G", "가": "A", "나": "B"}
_KEYS = frozenset(
    f"{tonic} {mode}"
    for tonic in (
        "C",
        "C#",
        "Db",
        "D",
        "D#",
        "Eb",
        "E",
        "F",
        "F#",
        "Gb",
        "G",
        "G#",
        "Ab",
        "A",
        "A#",
        "Bb",
        "B",
    )
    for mode in ("major", "minor")
)


@dataclass(frozen=True)
class MusicWish:
    """What a brief asks of its music; None and empty where it is silent."""

    instruments: tuple[str, ...] = ()
    tempo: int | None = None
    pace: int = 0
    """1 fast, -1 slow, 0 unsaid."""
    key: str | None = None
    drums: bool | None = None
    spans: tuple[tuple[int, int], ...] = ()
    """Where in the brief the instruments of the wish stand: they are no things of the story."""


def read_music(text: str) -> MusicWish:
    """What `text` wishes: "피아노 음악", "fast drums", "jazz", "120 bpm", "in A minor"."""
    low = text.lower()
    instruments: list[str] = []
    spans: list[tuple[int, int]] = []
    pace, tempo, drums = 0, None, None
    for genre in _GENRES:
        if re.search(genre.words, low):
            instruments, tempo, drums = list(genre.instruments), genre.tempo, genre.drums
            break
    for start, end in _musical_clauses(low):
        named = _instruments(low, start, end)
        spans += [span for _, span in named]
        instruments = [name for name, _ in named] or instruments
        pace = _pace(low[start:end]) or pace
    for found in re.finditer(rf"(?:{_FAST}|{_SLOW}) (?:{_BEAT}|{_TEMPO})", low):
        pace = _pace(found.group()) or pace
        spans.append(found.span())
    without = re.search(_NO_DRUMS, low)
    if without:
        drums = False
        spans.append(without.span())
    elif re.search(_BEAT, low):
        drums = True
    bpm = re.search(r"(?<!\d)(\d{2,3}) ?(?:bpm|비피엠)", low)
    return MusicWish(
        tuple(dict.fromkeys(instruments)),
        min(200, max(40, int(bpm.group(1)))) if bpm else tempo,
        pace,
        _key(text),
        drums,
        tuple(spans),
    )


def make_music(mood: Mood, wish: MusicWish, rng: random.Random, played: str | None = None) -> Music:
    """Music for a mood, with the brief's wishes in place of the mood's habits.

    `played` is an instrument that somebody plays in the film: it takes the melody unless others are wished.
    """
    palette = _PALETTES[mood]
    ensemble = rng.choice(palette.ensembles)
    tempo = rng.randint(palette.slowest, palette.fastest)
    key = rng.choice(palette.keys)
    if played:
        ensemble = (played, *(name for name in ensemble[1:] if name != played))
    if wish.tempo is not None:
        tempo = wish.tempo
    elif wish.pace:
        tempo = max(tempo, 124) if wish.pace > 0 else min(tempo, 68)
    return Music(
        key=wish.key or key,
        tempo=tempo,
        mood=mood,
        instruments=wish.instruments[:6] or ensemble,
        drums=palette.drums if wish.drums is None else wish.drums,
    )


def _musical_clauses(low: str) -> list[tuple[int, int]]:
    """Where the parts of a brief stand that talk about its music."""
    return [
        found.span()
        for found in re.finditer(r"[^,.;:!?\n。、]+", low)
        if re.search(_MUSIC, found.group()) or _only_instruments().fullmatch(found.group().strip())
    ]


def _instruments(low: str, start: int, end: int) -> list[tuple[str, tuple[int, int]]]:
    """Palette names of the instruments said near a word for music, and where each stands."""
    anchors = [found.span() for found in re.finditer(_MUSIC, low[start:end])]
    anchors = [(start + a, start + b) for a, b in anchors] or [(start, start)]
    named: list[tuple[str, tuple[int, int]]] = []
    for found in _instrument_pattern().finditer(low, start, end):
        if any(-24 <= found.start() - a <= 40 for a, _ in anchors):
            name = found.group()
            named.append((ALIASES.get(name, name), found.span()))
    return named


@functools.cache
def _only_instruments() -> re.Pattern[str]:
    """A pace and instruments are a wish even without a word for music: "잔잔한 피아노", "soft piano and strings"."""
    name, pace = rf"{_instrument_pattern().pattern}|{_BEAT}", f"(?:{_FAST}|{_SLOW})"
    return re.compile(rf"(?:{pace}\s*)+(?:{name})(?:\s*(?:와|과|and|&)\s*(?:{name}))*")


@functools.cache
def _instrument_pattern() -> re.Pattern[str]:
    drums = {"북", "drum", "drums"}  # they are a wish of their own
    names = sorted({*INSTRUMENTS, *ALIASES} - drums, key=len, reverse=True)
    latin = "|".join(re.escape(name) for name in names if name.isascii())
    hangul = "|".join(re.escape(name) for name in names if not name.isascii() and len(name) > 1)
    return re.compile(rf"\b(?:{latin})\b|(?<![가-힣])(?:{hangul})")


def _pace(words: str) -> int:
    if re.search(_FAST, words):
        return 1
    return -1 if re.search(_SLOW, words) else 0


def _key(text: str) -> str | None:
    """A key named in English ("F# minor", "b-flat major") or Korean (다장조, 올림바단조)."""
    # "a minor problem" is no key: a lone A must be a capital
    found = re.search(r"\b([A-Gb-g])(#|♯|b|♭|[ -]?[Ss]harp|[ -]?[Ff]lat)?[ -]([Mm]ajor|[Mm]inor)\b", text)
    if found:
        sign = (found.group(2) or "").strip(" -").lower()
        sign = {"♯": "#", "sharp": "#", "♭": "b", "flat": "b"}.get(sign, sign)
        key = f"{found.group(1).upper()}{sign} {found.group(3).lower()}"
        return key if key in _KEYS else None
    found = re.search(r"(?<![가-힣])(올림|내림)?([가나다라마바사]) ?(장조|단조)", text)
    if not found:
        return None
    sign = {"올림": "#", "내림": "b"}.get(found.group(1) or "", "")
    key = f"{_KO_TONICS[found.group(2)]}{sign} {'major' if found.group(3) == '장조' else 'minor'}"
    return key if key in _KEYS else None
