"""Subtitles a person can read: broken into lines and cues, timed, checked, written as SubRip and WebVTT.

The rules: at most 42 Latin or 16 Hangul characters a line (spaces counted), two lines, 20 or 12 characters a
second, 0.83 to 7 seconds on screen, and two film frames between cues. A cue with any wide character (Hangul,
Hanja, kana) is held to the Hangul limits. Cues lie on film frames, written in whole milliseconds inside them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from jogak.spec import FILM_FPS, Document, JogakError, Spec
from jogak.spec.film import Lang
from jogak.store import current, step

MIN_FRAMES = math.ceil(0.83 * FILM_FPS)
MAX_FRAMES = 7 * FILM_FPS
GAP_FRAMES = 2
MAX_LINES = 2

Span = tuple[float, float, str]
"""When a sentence is spoken: start and end in seconds of the film, and its text."""


class Cue(Spec):
    """One block of text on the screen; `text` carries its line breaks."""

    start: float = Field(ge=0, description="seconds of the film")
    end: float = Field(ge=0, description="seconds of the film")
    text: str


class Subtitles(Spec):
    """All cues of a film, in order, and what had to give."""

    lang: Lang
    cues: tuple[Cue, ...] = ()
    notes: tuple[str, ...] = ()


class Limits(NamedTuple):
    line: int
    """Characters a line."""
    rate: int
    """Characters a second."""


LATIN, HANGUL = Limits(42, 20), Limits(16, 12)


@step(version="1")
def subtitle_files(subtitles: Subtitles) -> tuple[Document, Document]:
    """The cues as SubRip (`.srt`) and as WebVTT (`.vtt`), UTF-8."""
    return _document(to_srt(subtitles.cues), ".srt"), _document(to_vtt(subtitles.cues), ".vtt")


def _document(text: str, suffix: str) -> Document:
    with current().store.new_file(suffix) as path:
        path.write_bytes(text.encode("utf-8"))
        return current().store.put(path, Document)


def make_subtitles(spans: Sequence[Span], lang: Lang, seconds: float) -> Subtitles:
    """Break and time spoken sentences for a film of `seconds`; anything that cannot be kept is said in
    `notes`.

    Long sentences become several cues, cut at clauses first and never inside a word that fits a line. A
    cue stays long enough to be read where the next one leaves room. Raises `JogakError` when the film is
    too short to show every cue for 0.83 s.
    """
    total = round(seconds * FILM_FPS)
    pieces = [piece for span in _in_order(spans, lang, total) for piece in span]
    _place(pieces, total)
    cues = tuple(Cue(start=_ms(p.first, up=True), end=_ms(p.last, up=False), text=p.text) for p in pieces)
    notes = tuple(note for piece in pieces for note in _notes(piece, lang))
    return Subtitles(lang=lang, cues=cues, notes=notes)


def check_cues(cues: Sequence[Cue], lang: Lang) -> list[str]:
    """Every broken rule, one sentence each; an empty list is a clean set."""
    problems: list[str] = []
    before: Cue | None = None
    for number, cue in enumerate(cues, 1):
        limit = limits(cue.text, lang)
        lines = cue.text.split("\n")
        duration = round(cue.end - cue.start, 3)
        if not all(line.strip() for line in lines):
            problems.append(f"cue {number} has an empty line")
        if any(unicodedata.category(c) in ("Cc", "Cs") for line in lines for c in line):
            problems.append(f"cue {number} has a control character")
        if len(lines) > MAX_LINES:
            problems.append(f"cue {number} has {len(lines)} lines, at most {MAX_LINES}")
        if max(map(len, lines)) > limit.line:
            problems.append(f"cue {number} has a line of {max(map(len, lines))}, at most {limit.line}")
        if not 0.83 <= duration <= 7:
            problems.append(f"cue {number} stays {duration} s, not 0.83 to 7")
        elif len(cue.text) > limit.rate * duration:
            rate = len(cue.text) / duration
            problems.append(f"cue {number} runs at {rate:.1f} characters a second, at most {limit.rate}")
        if before is not None and round(cue.start - before.end, 3) < GAP_FRAMES / FILM_FPS:
            problems.append(f"cue {number} follows after {cue.start - before.end:.3f} s, at least 2 frames")
        before = cue
    return problems


def limits(text: str, lang: Lang) -> Limits:
    """The limits that hold for a text in a film of that language."""
    wide = lang == "ko" or any(unicodedata.east_asian_width(c) in "WF" for c in text)
    return HANGUL if wide else LATIN


def to_srt(cues: Sequence[Cue]) -> str:
    """SubRip. It has no escapes, so what a player would take for markup is replaced by its look-alike."""
    blocks = [
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_srt_text(cue.text)}\n"
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def to_vtt(cues: Sequence[Cue]) -> str:
    """WebVTT, with `&`, `<` and `>` (hence `-->`) escaped."""
    blocks = [
        f"{number}\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_vtt_text(cue.text)}\n"
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _srt_text(text: str) -> str:
    text = text.replace("-->", "→").replace("<", "‹")
    return text.replace("{\\", "(\\")  # {\an8} and its kin move the text in many players


def _vtt_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


def _ms(frame: int, up: bool) -> float:
    """Seconds of a frame's border in whole milliseconds, rounded into the cue so that gaps never shrink."""
    return (math.ceil if up else math.floor)(frame * 1000 / FILM_FPS) / 1000


# --- breaking ---

_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
_CLAUSE_END = re.compile(
    r"([,;:—、，][\"'”’)\]]*|[가-힣](고|며|면|서|지만|는데|은데|니|니까|도록|려고|다가|자))$"
)
_WEAK_END = re.compile(
    r"(a|an|the|of|to|in|on|at|and|or|but|for|with|from|by|as|is|are|was|were|my|your|his|her|its|our|their"
    r"|그|이|저|한|두|세|네|안|못|더|참|꼭|또|및)",
    re.IGNORECASE,
)
"""Words that lean on the next one: a line does not end after them if it can be helped."""
_LEANS_BACK = re.compile(r"^(것|거|수|때|줄|뿐|듯|만큼|있|없|않)")
"""Korean bound nouns and helping verbs lean on the word before."""
_OPENS_CLAUSE = re.compile(
    r"(and|but|or|that|which|who|when|while|because|until|before|after|if|so|then|as)", re.IGNORECASE
)


def clean(text: str) -> str:
    """NFC, one line, single spaces, without control and direction-changing characters."""
    text = unicodedata.normalize("NFC", text)
    kept = (" " if c.isspace() else c for c in text if c.isspace() or _printable(c))
    return " ".join("".join(kept).split())


def _printable(character: str) -> bool:
    if character in "\u200c\u200d":  # joiners belong to their word
        return True
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def break_text(text: str, lang: Lang) -> list[str]:
    """The texts of the cues that a sentence takes, each of one or two lines; all words, in order."""
    text = clean(text)
    if not text:
        return []
    limit = limits(text, lang).line
    words = [part for word in text.split() for part in _parts(word, limit)]

    # from the end backwards: the cheapest way to show words[start:], as (cost, cues)
    best: list[tuple[float, list[str]]] = [(0, [])] * (len(words) + 1)
    for start in reversed(range(len(words))):
        options: list[tuple[float, list[str]]] = []
        for stop in range(start + 1, len(words) + 1):
            lines = _lines(words[start:stop], limit)
            if lines is None:
                break
            cost, rest = best[stop]
            cut = _break_cost(words, stop) if stop < len(words) else 0
            options.append((cost + 100 + cut, ["\n".join(lines), *rest]))
        best[start] = min(options, key=lambda option: option[0])
    return best[0][1]


def _parts(word: str, limit: int) -> list[str]:
    """A word in pieces of at most `limit` characters, a mark kept with its letter."""
    parts: list[str] = []
    while len(word) > limit:
        cut = limit
        while cut > 1 and (unicodedata.combining(word[cut]) or word[cut] in "\u200c\u200d\ufe0f"):
            cut -= 1
        parts.append(word[:cut])
        word = word[cut:]
    return [*parts, word]


def _lines(words: list[str], limit: int) -> list[str] | None:
    """One line if it fits, else the best two, else None."""
    whole = " ".join(words)
    if len(whole) <= limit:
        return [whole]
    options: list[tuple[float, list[str]]] = []
    for cut in range(1, len(words)):
        upper, lower = " ".join(words[:cut]), " ".join(words[cut:])
        if len(upper) <= limit and len(lower) <= limit:
            options.append((abs(len(upper) - len(lower)) + _break_cost(words, cut), [upper, lower]))
    return min(options)[1] if options else None


def _break_cost(words: list[str], cut: int) -> float:
    """How much it hurts to break before words[cut]; 0 after a sentence, more inside a phrase."""
    before, after = words[cut - 1], words[cut]
    if _SENTENCE_END.search(before):
        return 0
    if _CLAUSE_END.search(before):
        return 4
    if _WEAK_END.fullmatch(before) or _LEANS_BACK.match(after):
        return 24
    return 8 if _OPENS_CLAUSE.fullmatch(after) else 14


# --- timing, in film frames ---


class _Piece:
    """A cue on its way: where it should lie, and where it does."""

    def __init__(self, text: str, lang: Lang) -> None:
        self.text = text
        # two milliseconds more than the rate asks for, since cues shrink to whole milliseconds
        self.need = max(MIN_FRAMES, math.ceil((len(text) / limits(text, lang).rate + 0.002) * FILM_FPS))
        self.wanted = self.first = self.last = 0


def _in_order(spans: Sequence[Span], lang: Lang, total: int) -> list[list[_Piece]]:
    """The pieces of each span, by time, each with the frames it would like."""
    spoken = sorted((span for span in spans if clean(span[2])), key=lambda span: span[0])
    starts = [min(max(0, round(start * FILM_FPS)), total) for start, _, _ in spoken]
    result: list[list[_Piece]] = []
    for index, (_, end, text) in enumerate(spoken):
        pieces = [_Piece(part, lang) for part in break_text(text, lang)]
        stop = starts[index + 1] - GAP_FRAMES if index + 1 < len(spoken) else total
        _share_out(pieces, starts[index], round(end * FILM_FPS), stop)
        result.append(pieces)
    return result


def _share_out(pieces: list[_Piece], first: int, spoken_until: int, stop: int) -> None:
    """Give the pieces of one span their frames: what each needs, the rest of the speech by its length."""
    gaps = GAP_FRAMES * (len(pieces) - 1)
    need = sum(piece.need for piece in pieces)
    room = min(max(spoken_until - first, need + gaps), stop - first) - gaps
    characters = sum(len(piece.text) for piece in pieces)
    at = first
    for piece in pieces:
        share = len(piece.text) / characters
        frames = piece.need + (room - need) * share if room >= need else max(room, 0) * share
        piece.wanted = piece.first = at
        piece.last = at + min(MAX_FRAMES, math.floor(frames))
        at = piece.last + GAP_FRAMES


def _place(pieces: list[_Piece], total: int) -> None:
    """Settle the frames so that every piece has its minimum and its gap, then let each stay as long as it
    needs.
    """
    step = MIN_FRAMES + GAP_FRAMES
    if len(pieces) * step - GAP_FRAMES > total:
        raise JogakError(
            f"A film of {total / FILM_FPS:.1f} s is too short for {len(pieces)} subtitles of 0.83 s each; "
            "take out some lines or make the shots longer."
        )
    earliest = 0
    for index, piece in enumerate(pieces):
        latest = total - (len(pieces) - index) * step + GAP_FRAMES
        piece.first = min(max(piece.first, earliest), latest)
        earliest = piece.first + step
    for index, piece in enumerate(pieces):
        stop = pieces[index + 1].first - GAP_FRAMES if index + 1 < len(pieces) else total
        piece.last = min(max(piece.last, piece.first + piece.need), piece.first + MAX_FRAMES, stop)


def _notes(piece: _Piece, lang: Lang) -> list[str]:
    """What a viewer would notice about this cue."""
    notes: list[str] = []
    duration = round(
        _ms(piece.last, up=False) - _ms(piece.first, up=True), 3
    )  # as the cue is written and checked
    moved = (piece.first - piece.wanted) / FILM_FPS
    limit = limits(piece.text, lang).rate
    rate = len(piece.text) / duration
    text = piece.text.replace("\n", " ")
    if len(piece.text) > limit * duration:
        notes.append(
            f"자막 “{text}”: 초당 {rate:.0f}자로 빠릅니다(권장 {limit}자). 대사를 줄이거나 샷을 늘리세요."
            if lang == "ko"
            else f"Subtitle “{text}”: {rate:.0f} characters a second, and {limit} are easy to read; shorten "
            "the line or lengthen its shot."
        )
    if abs(moved) > 0.2:
        notes.append(
            f"자막 “{text}”: 다른 자막과 겹치지 않게 {moved:+.1f}초 옮겼습니다."
            if lang == "ko"
            else f"Subtitle “{text}” was moved by {moved:+.1f} s to keep clear of the others."
        )
    return notes
