"""The instruments that music is played on: names, ranges, and the shipped SoundFont.

The sounds are a cut of FluidR3Mono GM (MIT, Frank Wen, Michael Cowgill and others; see
`sounds/LICENSE.md`), kept as SF3 (Ogg Vorbis samples). The synthesiser reads SF2 only, so the few presets
that a film needs are unpacked in memory.
"""

from __future__ import annotations

import difflib
import functools
import io
import struct
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import soundfile

from jogak.spec import SpecError


class Instrument(NamedTuple):
    """A General MIDI program, the keys it may play (MIDI numbers), and how its notes behave."""

    program: int
    low: int
    high: int
    sustained: bool = False
    """True for bowed, blown and sung sounds, which hold a note; False for struck and plucked ones, which
    decay."""


INSTRUMENTS: dict[str, Instrument] = {
    "piano": Instrument(0, 28, 98),
    "electric piano": Instrument(4, 36, 92),
    "celesta": Instrument(8, 60, 100),
    "glockenspiel": Instrument(9, 72, 103),
    "music box": Instrument(10, 60, 96),
    "vibraphone": Instrument(11, 53, 89),
    "marimba": Instrument(12, 45, 96),
    "tubular bells": Instrument(14, 60, 77),
    "guitar": Instrument(24, 40, 83),
    "bass": Instrument(32, 28, 60),
    "violin": Instrument(40, 55, 96, sustained=True),
    "cello": Instrument(42, 36, 75, sustained=True),
    "pizzicato strings": Instrument(45, 36, 90),
    "harp": Instrument(46, 30, 98),
    "timpani": Instrument(47, 38, 57),
    "strings": Instrument(48, 36, 91, sustained=True),
    "slow strings": Instrument(49, 36, 91, sustained=True),
    "choir": Instrument(53, 43, 81, sustained=True),
    "trumpet": Instrument(56, 54, 84, sustained=True),
    "trombone": Instrument(57, 40, 72, sustained=True),
    "french horn": Instrument(60, 41, 77, sustained=True),
    "oboe": Instrument(68, 58, 91, sustained=True),
    "clarinet": Instrument(71, 50, 91, sustained=True),
    "flute": Instrument(73, 60, 96, sustained=True),
    "bamboo flute": Instrument(77, 55, 84, sustained=True),
    "warm pad": Instrument(89, 36, 84, sustained=True),
    "glass pad": Instrument(92, 48, 84, sustained=True),
    "koto": Instrument(107, 43, 88),
    "kalimba": Instrument(108, 52, 91),
    "taiko": Instrument(116, 36, 52),
}

_ALSO_CALLED: dict[str, str] = {
    "piano": (
        "acoustic grand piano, grand piano, bright acoustic piano, 피아노, upright piano, "
        "honky-tonk piano, keyboard"
    ),
    "electric piano": "electric piano 1, electric piano 2, rhodes, 전자 피아노",
    "celesta": "첼레스타",
    "glockenspiel": "글로켄슈필, bells",
    "music box": "오르골",
    "vibraphone": "비브라폰",
    "marimba": "마림바, xylophone, 실로폰",
    "tubular bells": "church bells, 종",
    "guitar": (
        "acoustic guitar, acoustic guitar (nylon), acoustic guitar (steel), nylon guitar, "
        "classical guitar, electric guitar, 기타, ukulele, lute"
    ),
    "bass": (
        "acoustic bass, double bass, contrabass, electric bass, electric bass (finger), upright bass, "
        "synth bass, 베이스, 콘트라베이스"
    ),
    "violin": "solo violin, fiddle, 바이올린, 해금, haegeum",
    "cello": "viola, 비올라, 첼로, 아쟁, ajaeng",
    "pizzicato strings": "pizzicato, 피치카토",
    "harp": "orchestral harp, 하프",
    "timpani": "팀파니",
    "strings": "string ensemble, string ensemble 1, orchestra, string section, 현악, 현악기",
    "slow strings": "string ensemble 2, synth strings",
    "choir": "choir aahs, voice oohs, voices, voice, 합창",
    "trumpet": "트럼펫",
    "trombone": "트롬본, tuba",
    "french horn": "brass, brass section, horn, horns, 호른, 금관",
    "oboe": "오보에, english horn, 피리",
    "clarinet": "saxophone, 색소폰, bassoon, 클라리넷, accordion, 아코디언",
    "flute": "플루트, 플룻, piccolo, recorder, whistle",
    "bamboo flute": "pan flute, shakuhachi, 대금, daegeum, 단소",
    "warm pad": "pad, pad 2 (warm), synth pad, synthesizer, synth, 신시사이저, organ",
    "glass pad": "bowed glass, halo pad, pad 5 (bowed)",
    "koto": "가야금, gayageum, 거문고, shamisen",
    "kalimba": "칼림바, thumb piano",
    "taiko": "taiko drum, 북, drum, drums",
}
"""Names that people use for what the palette has, or for its nearest neighbour."""

ALIASES: dict[str, str] = {
    alias: name for name, others in _ALSO_CALLED.items() for alias in others.split(", ")
}

_SAMPLE_HEADER = "<20sIIIIIBbHH"
_SPACE = 46
"""Silent samples after each sample, as the SoundFont specification asks."""


def find(name: str) -> Instrument:
    """The instrument of a General MIDI or everyday name. Raises `SpecError` with the near names when there is
    none."""
    plain = " ".join(name.lower().replace("_", " ").split())
    plain = ALIASES.get(plain, plain)
    if plain in INSTRUMENTS:
        return INSTRUMENTS[plain]
    near = difflib.get_close_matches(plain, [*INSTRUMENTS, *ALIASES], n=3, cutoff=0.6)
    near = near or sorted(INSTRUMENTS)
    raise SpecError(
        f'music.instruments: there is no instrument "{name[:40]}". Choose among {", ".join(near)}.'
    )


@functools.lru_cache(maxsize=1)
def soundfont() -> bytes:
    """The shipped instruments as SF2 (16-bit PCM samples), ready for the synthesiser: 24 MB, made once."""
    raw = files("jogak.film").joinpath("sounds/instruments.sf3").read_bytes()
    sections = {body[:4]: body[4:] for _, body in _chunks(raw[12:])}
    hydra = dict(_chunks(sections[b"pdta"]))
    packed = dict(_chunks(sections[b"sdta"]))[b"smpl"]
    audio, headers = [], []
    at = 0
    for row in list(struct.iter_unpack(_SAMPLE_HEADER, hydra[b"shdr"]))[:-1]:
        name, start, end, loop_start, loop_end, rate, *rest = row
        wave, _ = soundfile.read(io.BytesIO(packed[start:end]), dtype="float32")
        pcm = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
        headers.append((name, at, at + len(pcm), at + loop_start, at + loop_end, rate, *rest))
        audio += [pcm, np.zeros(_SPACE, np.int16)]
        at += len(pcm) + _SPACE
    headers.append((b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0))
    hydra[b"shdr"] = b"".join(struct.pack(_SAMPLE_HEADER, *row) for row in headers)
    info = dict(_chunks(sections[b"INFO"])) | {b"ifil": struct.pack("<HH", 2, 4)}
    return _chunk(
        b"RIFF",
        b"sfbk"
        + _chunk(b"LIST", b"INFO" + b"".join(_chunk(name, body) for name, body in info.items()))
        + _chunk(b"LIST", b"sdta" + _chunk(b"smpl", np.concatenate(audio).tobytes()))
        + _chunk(b"LIST", b"pdta" + b"".join(_chunk(name, body) for name, body in hydra.items())),
    )


def _chunks(raw: bytes) -> list[tuple[bytes, bytes]]:
    """RIFF chunks of a file that the project wrote itself (every size is even)."""
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while at + 8 <= len(raw):
        size = struct.unpack_from("<I", raw, at + 4)[0]
        found.append((raw[at : at + 4], raw[at + 8 : at + 8 + size]))
        at += 8 + size
    return found


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body
