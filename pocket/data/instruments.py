"""Cut the film's instruments out of FluidR3Mono (MIT), so that music needs neither a download nor a system
package.

    python -m pocket.data.instruments FluidR3Mono_GM.sf3 src/jogak/film/sounds/instruments.sf3

The source is Debian's `fluidr3mono-gm-soundfont` (2.315-7). Samples are copied as they are (Ogg Vorbis
inside an SF3); presets, zones and sample headers are renumbered. The drum kit keeps only the drums that
the composer plays.
"""

from __future__ import annotations

import argparse
import itertools
import struct
from pathlib import Path
from typing import NamedTuple

from jogak.film.instruments import INSTRUMENTS

RANGES = {kind.program: (kind.low, kind.high) for kind in INSTRUMENTS.values()}
"""General MIDI programs to keep, and the keys that the composer plays on each."""
DRUM_BANK, DRUM_KIT = 128, 0
DRUMS = (36, 37, 38, 42, 46, 49, 51, 54, 70)
"""Kick, side stick, snare, closed and open hi-hat, crash, ride, tambourine, maracas."""
INSTRUMENT, SAMPLE, KEY_RANGE = 41, 53, 43
"""SoundFont generators: the instrument of a preset's zone, the sample of an instrument's zone, its keys."""


class Zone(NamedTuple):
    generators: list[tuple[int, int]]
    modulators: list[bytes]


class Bank(NamedTuple):
    """A SoundFont, taken apart. Sample headers: name, start, end, loop start, loop end, rate, key, cents,
    link, type."""

    info: bytes
    data: bytes
    presets: list[tuple[bytes, int, int, list[Zone]]]
    instruments: list[tuple[bytes, list[Zone]]]
    samples: list[tuple]


def read(path: Path) -> Bank:
    raw = path.read_bytes()
    chunks: dict[bytes, bytes] = {}
    for name, body in _chunks(raw[12:]):
        if name != b"LIST":
            raise SystemExit(f"{path.name}: an unexpected {name!r} chunk; is this an SF3?")
        if body[:4] == b"INFO":
            chunks[b"INFO"] = body[4:]
        else:
            chunks |= dict(_chunks(body[4:]))
    presets, instruments = _rows(chunks[b"phdr"], "<20sHHHIII"), _rows(chunks[b"inst"], "<20sH")
    preset_zones = _zones(chunks[b"pbag"], chunks[b"pgen"], chunks[b"pmod"])
    instrument_zones = _zones(chunks[b"ibag"], chunks[b"igen"], chunks[b"imod"])
    return Bank(
        chunks[b"INFO"],
        chunks[b"smpl"],
        [(a[0], a[1], a[2], preset_zones[a[3] : b[3]]) for a, b in itertools.pairwise(presets)],
        [(a[0], instrument_zones[a[1] : b[1]]) for a, b in itertools.pairwise(instruments)],
        _rows(chunks[b"shdr"], "<20sIIIIIBbHH")[:-1],
    )


def subset(bank: Bank) -> Bank:
    """The wanted presets, with only the instruments and samples that they play."""
    instruments: dict[int, int] = {}
    samples: dict[int, int] = {}
    presets = []
    for name, program, number, zones in bank.presets:
        if (number, program) != (DRUM_BANK, DRUM_KIT) and not (number == 0 and program in RANGES):
            continue
        presets.append((name, program, number, [_renumber(zone, INSTRUMENT, instruments) for zone in zones]))
    keys = _keys_played(bank)
    new_instruments = []
    for old in instruments:  # in the order they were met, which is their new number
        name, zones = bank.instruments[old]
        kept = [zone for zone in zones if _sounds(zone, keys[old])]
        new_instruments.append((name, [_renumber(zone, SAMPLE, samples) for zone in kept]))
    data, headers = bytearray(), []
    for old in samples:
        name, start, end, *rest = bank.samples[old]
        headers.append((name, len(data), len(data) + end - start, *rest[:-2], 0, 1))  # mono: linked to none
        data += bank.data[start:end]
    return Bank(bank.info, bytes(data), presets, new_instruments, headers)


def write(bank: Bank, path: Path) -> None:
    presets, preset_zones = [], []
    for name, program, number, zones in bank.presets:
        presets.append(struct.pack("<20sHHHIII", name, program, number, len(preset_zones), 0, 0, 0))
        preset_zones += zones
    presets.append(struct.pack("<20sHHHIII", b"EOP", 0, 0, len(preset_zones), 0, 0, 0))
    instruments, instrument_zones = [], []
    for name, zones in bank.instruments:
        instruments.append(struct.pack("<20sH", name, len(instrument_zones)))
        instrument_zones += zones
    instruments.append(struct.pack("<20sH", b"EOI", len(instrument_zones)))
    headers = [struct.pack("<20sIIIIIBbHH", *row) for row in bank.samples]
    headers.append(struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0))
    pbag, pgen, pmod = _bags(preset_zones)
    ibag, igen, imod = _bags(instrument_zones)
    hydra = {
        b"phdr": b"".join(presets), b"pbag": pbag, b"pmod": pmod, b"pgen": pgen,
        b"inst": b"".join(instruments), b"ibag": ibag, b"imod": imod, b"igen": igen,
        b"shdr": b"".join(headers),
    }  # fmt: skip
    body = b"sfbk" + _chunk(b"LIST", b"INFO" + bank.info)
    body += _chunk(b"LIST", b"sdta" + _chunk(b"smpl", bank.data + b"\0" * (len(bank.data) % 2)))
    body += _chunk(b"LIST", b"pdta" + b"".join(_chunk(name, part) for name, part in hydra.items()))
    path.write_bytes(_chunk(b"RIFF", body))


def _chunks(raw: bytes) -> list[tuple[bytes, bytes]]:
    """RIFF chunks, unpadded as MuseScore's SF3 writer leaves them."""
    found, at = [], 0
    while at + 8 <= len(raw):
        size = struct.unpack_from("<I", raw, at + 4)[0]
        found.append((raw[at : at + 4], raw[at + 8 : at + 8 + size]))
        at += 8 + size
    return found


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


def _rows(raw: bytes, form: str) -> list[tuple]:
    return list(struct.iter_unpack(form, raw))


def _zones(bag: bytes, generators: bytes, modulators: bytes) -> list[Zone]:
    bounds, gens = _rows(bag, "<HH"), _rows(generators, "<HH")
    mods = [modulators[at : at + 10] for at in range(0, len(modulators), 10)]
    return [Zone(gens[a[0] : b[0]], mods[a[1] : b[1]]) for a, b in itertools.pairwise(bounds)]


def _bags(zones: list[Zone]) -> tuple[bytes, bytes, bytes]:
    bags, generators, modulators = [], [], []
    for zone in zones:
        bags.append(struct.pack("<HH", len(generators), len(modulators)))
        generators += [struct.pack("<HH", *pair) for pair in zone.generators]
        modulators += zone.modulators
    bags.append(struct.pack("<HH", len(generators), len(modulators)))
    return b"".join(bags), b"".join([*generators, b"\0" * 4]), b"".join([*modulators, b"\0" * 10])


def _renumber(zone: Zone, kind: int, numbers: dict[int, int]) -> Zone:
    """A zone that points at new numbers; an old number met for the first time gets the next one."""
    return Zone(
        [(k, numbers.setdefault(v, len(numbers)) if k == kind else v) for k, v in zone.generators],
        zone.modulators,
    )


def _keys_played(bank: Bank) -> dict[int, set[int]]:
    """For each instrument, the keys that the kept presets play on it."""
    keys: dict[int, set[int]] = {}
    for _, program, number, zones in bank.presets:
        if number == DRUM_BANK:
            wanted = set(DRUMS) if program == DRUM_KIT else set()
        else:
            low, high = RANGES.get(program, (0, -1)) if number == 0 else (0, -1)
            wanted = set(range(low, high + 1))
        for zone in zones:
            for kind, value in zone.generators:
                if kind == INSTRUMENT:
                    keys.setdefault(value, set()).update(wanted)
    return keys


def _sounds(zone: Zone, keys: set[int]) -> bool:
    """Whether a zone is heard: a global zone always, another when its key range meets the keys played."""
    found = dict(zone.generators).get(KEY_RANGE)
    return found is None or any(found & 0xFF <= key <= found >> 8 for key in keys)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    asked = parser.parse_args()
    bank = subset(read(asked.source))
    write(bank, asked.target)
    print(f"{len(bank.presets)} presets, {len(bank.samples)} samples, {asked.target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
