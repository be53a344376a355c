"""10,000 mutated pictures: each is read or refused with a sentence, in bounded time and memory.

    python -m pytest -m slow tests/training/test_fuzz_pictures.py

They run in a child process, so that a decoder that dies (a signal) or takes too much memory is seen and named.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

COUNT = 10_000
BATCHES = 10
SECONDS = 20
"""For one picture."""
KILOBYTES = 1_500_000
"""Resident memory of the child, torch not among it; 50 megapixels with transparency take 0.7 GB."""

CHILD = """
import io, random, re, signal, sys, time
from pathlib import Path
import numpy as np, PIL.Image
from jogak.spec import SpecError
from jogak.store.pictures import UnusableFile, read_picture
from jogak.training.dataset_measure import measure

def seeds():
    rng = np.random.default_rng(0)
    noise = PIL.Image.fromarray(rng.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    smooth = noise.resize((7, 5)).resize((64, 48), PIL.Image.Resampling.BICUBIC)
    clear = smooth.convert("RGBA")
    clear.putalpha(noise.convert("L"))
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    wide = PIL.Image.fromarray(rng.integers(0, 65536, (20, 20)).astype(np.uint16))
    for picture, kind, options in (
        (smooth, "PNG", {}), (clear, "PNG", {}), (smooth.quantize(7), "PNG", {"transparency": 2}), (wide, "PNG", {}),
        (smooth, "JPEG", {"exif": exif}), (smooth, "JPEG", {"progressive": True}), (smooth.convert("CMYK"), "JPEG", {}),
        (smooth, "MPO", {"save_all": True, "append_images": [noise]}),
        (smooth, "WEBP", {}), (clear, "WEBP", {"lossless": True}), (smooth, "GIF", {}),
        (smooth, "GIF", {"save_all": True, "append_images": [noise]}), (smooth, "PNG", {"save_all": True, "append_images": [noise]}),
        (smooth, "BMP", {}), (smooth, "TIFF", {}), (smooth, "TIFF", {"compression": "tiff_lzw"}), (wide, "TIFF", {}),
    ):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        yield file.getvalue()

def mutated(rng, data, other):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(64, len(data)))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at:at + 4] = rng.choice((b"\\xff\\xff\\xff\\xff", b"\\0\\0\\0\\0", b"\\x7f\\xff\\xff\\xff", b"\\0\\0\\x20\\0", b"\\xff\\x7f\\0\\0"))
        elif kind == 3:
            del data[at:at + rng.randrange(1, 40)]
        elif kind == 4:
            data[at:at] = data[at:at + rng.randrange(1, 200)] * rng.choice((1, 1, 50))
        elif kind == 5:
            data[at:at] = other[rng.randrange(len(other)):][:rng.randrange(1, 100)]
        else:
            del data[max(at, 8):]
        if not data:
            data = bytearray(b"x")
    return bytes(data)

def late(*_):
    raise SystemExit(f"picture {at} took too long")

signal.signal(signal.SIGALRM, late)
path, first, count, seconds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
valid = list(seeds())
read = slowest = 0
for at in range(first, first + count):
    rng = random.Random(at)
    path.write_bytes(mutated(rng, rng.choice(valid), rng.choice(valid)))
    signal.alarm(seconds)
    begun = time.perf_counter()
    try:
        measure(read_picture(path), 256)
        read += 1
    except UnusableFile as error:
        said = str(error)
        assert said.startswith(str(path)) and said.endswith(".") and "\\n" not in said and len(said) < 500, said
        assert error.korean.startswith(str(path))
    signal.alarm(0)
    slowest = max(slowest, time.perf_counter() - begun)
# not ru_maxrss: a child begins with the peak of the process that started it, tests that hold torch
peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())
print(read, slowest, peak[1])
"""


def run(folder: Path, first: int, count: int) -> tuple[int, float, int]:
    path = folder / "picture"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        textwrap.dedent(CHILD),
        str(path),
        str(first),
        str(count),
        str(SECONDS),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=3600, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, f"ended with {done.returncode}; the picture is {path}\n{done.stderr[-2000:]}"
    read, slowest, memory = done.stdout.split()
    return int(read), float(slowest), int(memory)


def check(folder: Path, first: int, count: int) -> int:
    read, slowest, memory = run(folder, first, count)
    assert slowest < SECONDS
    assert memory < KILOBYTES
    print(
        f"{count} mutated pictures from {first}: {read} read, slowest {slowest:.2f} s, {memory / 1e6:.2f} GB"
    )
    return read


def test_some_mutated_pictures(tmp_path: Path) -> None:
    read = check(tmp_path, random.Random(0).randrange(COUNT, 2 * COUNT), 150)
    assert 10 < read < 140, "mutations both harm and spare"


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_ten_thousand_mutated_pictures(tmp_path: Path, batch: int) -> None:
    size = COUNT // BATCHES
    assert 0 < check(tmp_path, batch * size, size) < size
