"""A child process that speaks one text with espeak-ng: JSON in on standard input, 16-bit mono samples out.

The library keeps global state that changes from one text to the next, so each text gets a process of its
own: calls from several threads cannot meet, the same text gives the same samples, and a crash in the
library costs one line. Run as `python -m jogak.film.espeak`; `jogak.film.voice` does.
"""

from __future__ import annotations

import ctypes
import json
import sys

RATE = 22_050
"""Samples a second of espeak-ng's own synthesiser."""

_SYNCHRONOUS, _DONT_EXIT, _UTF8, _POSITION_CHARACTER = 2, 0x8000, 1, 1
_PARAMETERS = {"rate": 1, "pitch": 3, "range": 4, "word_gap": 7}
"""espeak_PARAMETER numbers: words a minute, base pitch (0..100), its liveliness (0..100), gap in 10 ms."""


def speak(text: str, voice: str, parameters: dict[str, int]) -> bytes:
    """Samples of one text. Raises `RuntimeError` with espeak-ng's own status when it refuses."""
    import espeakng_loader  # here, so that a missing wheel is this process's one error

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = str(espeakng_loader.get_data_path()).encode()
    if library.espeak_Initialize(_SYNCHRONOUS, 0, ctypes.c_char_p(data), _DONT_EXIT) != RATE:
        raise RuntimeError("espeak-ng did not start")
    spoken = bytearray()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def collect(wave: int | None, count: int, _events: int | None) -> int:
        if wave and count > 0:
            spoken.extend(ctypes.string_at(wave, 2 * count))
        return 0

    library.espeak_SetSynthCallback(collect)
    if library.espeak_SetVoiceByName(voice.encode()):
        raise RuntimeError(f"espeak-ng has no voice {voice}")
    for name, value in parameters.items():
        library.espeak_SetParameter(_PARAMETERS[name], value, 0)
    raw = text.encode()
    status = library.espeak_Synth(
        ctypes.c_char_p(raw), ctypes.c_size_t(len(raw) + 1), 0, _POSITION_CHARACTER, 0, _UTF8, None, None
    )
    if status:
        raise RuntimeError(f"espeak-ng refused the text (status {status})")
    return bytes(spoken)


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    sys.stdout.buffer.write(speak(asked["text"], asked["voice"], asked["parameters"]))
