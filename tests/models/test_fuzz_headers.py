"""Mutated safetensors files: whatever they hold, they are read or refused in a sentence, at once and in little
memory."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

SECONDS = 2
"""The longest that one file may take, of the processor: a busy machine is no hang."""
ROOM = 512 * 2**20
"""Bytes that may be taken on top of what the libraries themselves take: a file that asks for more ends in a
MemoryError, which is a crash."""


@pytest.mark.parametrize(
    "count", [2_000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_mutated_files_are_read_or_refused(count: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(count), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=3600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["files"] == count
    assert told["refused"] > 0.5 * count
    assert told["read"] > 0.001 * count, "mutations that change little must pass, or nothing behind is tested"
    assert len(told["reasons"]) > 25, "the mutations must reach many different refusals"
    print(done.stdout)


# the child


def seeds(folder: Path) -> list[bytes]:
    """Small files of every layout."""
    import torch
    from safetensors.torch import save

    from tests.lora_layouts import METADATA, peft_factors, write_layout

    unet = peft_factors(
        {"mid_block.attentions.0.proj_in": (4, 4), "down_blocks.0.resnets.0.conv1": (4, 4, 3, 3)}, 2
    )
    text = peft_factors({"encoder.layers.0.self_attn.q_proj": (4, 4)}, 2)
    layouts = ("kohya", "locon", "diffusers", "diffusers_processor", "full")
    files = [write_layout(folder, layout, unet, text, 2.0).read_bytes() for layout in layouts]
    name = "lora_unet_mid_block_attentions_0_proj_in"
    loha = {f"{name}.hada_{n}": torch.ones(s) for n, s in
            (("w1_a", (4, 2)), ("w1_b", (2, 4)), ("w2_a", (4, 2)), ("w2_b", (2, 4)))}  # fmt: skip
    lokr = {
        f"{name}.lokr_w1": torch.ones(2, 2),
        f"{name}.lokr_w2_a": torch.ones(2, 1),
        f"{name}.lokr_w2_b": torch.ones(1, 2),
    }
    dora = {
        f"{name}.lora_up.weight": torch.ones(4, 2),
        f"{name}.lora_down.weight": torch.ones(2, 4),
        f"{name}.dora_scale": torch.ones(4, 1),
    }
    half = {key: tensor.half() for key, tensor in dora.items()}
    return files + [save(tensors, METADATA) for tensors in (loha, lokr, dora, half)]


ODD_NUMBERS = (
    0,
    1,
    2,
    3,
    -1,
    4,
    8,
    9,
    2**31,
    2**32,
    2**62,
    2**63,
    2**64,
    10**30,
    1.0,
    1e308,
    True,
    None,
    "4",
    [],
    {},
)
ODD_TEXTS = (
    "",
    "\x00",
    "é",
    "가" * 50,
    "a" * 100_000,
    "__metadata__",
    "..",
    "lora_unet_.alpha",
    "x.lora_A.weight",
    "\ud800",
)
TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "I8", "BOOL", "U64", "F4", "", None)


def mutated(seed: bytes, dice: random.Random) -> bytes:
    """One file with one to three faults: in the bytes, or in what the header says."""
    data = bytearray(seed)
    for _ in range(dice.randint(1, 3)):
        data = bytearray(dice.choice(FAULTS)(bytes(data), dice))
    return bytes(data)


def flip(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8))):
        if changed:
            changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def splice(data: bytes, dice: random.Random) -> bytes:
    at, end = dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)
    return data[:at] + data[end : end + dice.randrange(64)] + data[at:]


def relength(data: bytes, dice: random.Random) -> bytes:
    length = dice.choice(
        (0, 1, 2, len(data), 25_000_000, 25_000_001, 2**31, 2**63, 2**64 - 1, dice.randrange(4096))
    )
    return length.to_bytes(8, "little") + data[8:]


def nest(data: bytes, dice: random.Random) -> bytes:
    depth = dice.choice((10, 1_000, 50_000))
    raw = b'{"a":' * depth if dice.random() < 0.5 else b"[" * depth
    return len(raw).to_bytes(8, "little") + raw + data[-64:]


def header_fault(data: bytes, dice: random.Random) -> bytes:
    """One change in the header, its length kept right."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return flip(data, dice)
    names = list(header) if isinstance(header, dict) else []
    if not names:
        return flip(data, dice)
    name = dice.choice(names)
    facts = header[name]
    kind = dice.randrange(9)
    if kind == 0:
        del header[name]
    elif kind == 1:
        header[dice.choice(ODD_TEXTS)] = header.pop(name)
    elif kind == 2:
        header[dice.choice(names)] = facts
    elif kind == 3:
        header[name] = dice.choice(ODD_NUMBERS)
    elif kind == 4:
        # one tensor under another's ending: kinds mixed, or twice the same
        other = dice.choice(names)
        header[name.split(".")[0] + "." + ".".join(other.split(".")[-2:])] = header.pop(name)
    elif isinstance(facts, dict) and facts.keys() >= {"shape", "data_offsets"}:
        numbers = facts[dice.choice(("shape", "shape", "data_offsets"))]
        if kind == 5 and isinstance(numbers, list) and numbers:
            numbers[dice.randrange(len(numbers))] = dice.choice(ODD_NUMBERS)
        elif kind == 6:
            facts["dtype"] = dice.choice(TYPES)
        elif kind == 7 and isinstance(facts["shape"], list):
            dice.shuffle(facts["shape"])
        elif isinstance(facts["shape"], list):
            # the same count in other dimensions passes the first check and meets the next
            count = 1
            for number in facts["shape"]:
                count *= number if type(number) is int else 1
            facts["shape"] = dice.choice(([count], [1, count], [count, 1], [1, 1, count, 1], [1] * 9))
    elif isinstance(facts, dict):
        facts[dice.choice(ODD_TEXTS)] = dice.choice(
            ("", "{", "[" * 2000, '{"unet.lora_alpha": 1e999}', 3, None)
        )
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data[8 + length :]


FAULTS = (flip, cut, splice, relength, nest, *[header_fault] * 8)


def main(count: int, folder: Path) -> None:
    import numpy  # noqa: F401  (before the limit, as everything that maps large libraries)
    import torch  # noqa: F401

    from jogak.adapters.lora_files import read_lora
    from jogak.models.safe import read_header
    from jogak.spec import SpecError

    files = seeds(folder)
    for seed in files:
        (folder / "seed.safetensors").write_bytes(seed)
        assert list(read_lora(folder / "seed.safetensors").changes())
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, lambda *_: (_ for _ in ()).throw(TimeoutError("one file took too long")))
    dice = random.Random(20)
    path = folder / "mutated.safetensors"
    told: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    slowest, begun = 0.0, time.perf_counter()
    for number in range(count):
        path.write_bytes(mutated(dice.choice(files), dice))
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            read_header(path)
            for change in read_lora(path).changes():
                change.delta()
            told["read"] += 1
        except SpecError as error:
            told["refused"] += 1
            words = str(error).replace(str(path), "").split(": ")[-1]
            reasons["".join(c for c in words if c.isalpha() or c == " ")[-40:]] += 1
        except BaseException:
            path.rename(folder / f"crash-{number}.safetensors")
            print(f"file {number} in {folder}", file=sys.stderr)
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - start)
    result = {"files": count, **told, "reasons": [words for words, _ in reasons.most_common(60)]}
    result["slowest_ms"] = round(slowest * 1000, 1)
    result["seconds"] = round(time.perf_counter() - begun, 1)
    # not ru_maxrss: a child begins with the peak of the process that started it
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert peak
    result["peak_mb"] = int(peak[1]) // 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
