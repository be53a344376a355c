"""CLIP's vocabulary, which follows from its merges alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jogak.models.safe import MAX_JSON_BYTES
from jogak.spec import SpecError

START, END = "<|startoftext|>", "<|endoftext|>"


def vocabulary_of(path: Path) -> dict[str, Any]:
    """The arguments `vocab` and `merges` of a CLIP tokenizer, from a file of merges, a pair a line: 256 signs
    for the bytes, the same as ends of words, one token for each merge, start and end."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise SpecError(f"{path} is {path.stat().st_size:,} bytes; at most {MAX_JSON_BYTES:,} are read.")
    lines = path.read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    if any(len(pair) != 2 for pair in merges):
        raise SpecError(f"{path} has a line that is no pair of tokens; fetch the file again.")
    # the signs that stand for bytes in a byte-level BPE: printable ones for themselves, then from U+0100 on
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    signs = [chr(code) for code in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    words = [*signs, *(f"{sign}</w>" for sign in signs), *(a + b for a, b in merges), START, END]
    return {"vocab": {word: i for i, word in enumerate(words)}, "merges": merges}
