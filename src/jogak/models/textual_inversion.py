"""Textual inversions: words that a text encoder was taught, each a file of a few vectors (Gal et al., arXiv
2208.01618).

In a prompt the file's stem is the word; case does not count. Read are `emb_params` (AUTOMATIC1111's layout),
one tensor under the word itself (diffusers'), and `clip_l` with `clip_g` (SDXL).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jogak.models.place import Place
from jogak.models.recognise import recognise
from jogak.models.safe import read_header, read_tensors
from jogak.spec import SpecError

if TYPE_CHECKING:
    from torch import Tensor

MAX_VECTORS = 75
"""More would not fit into one chunk of a prompt."""


@dataclass(frozen=True)
class _Word:
    file: Path
    tensors: dict[str, str]
    """the file's names for `clip_l` and, where there is one, `clip_g`"""
    first: int
    """token id of its first vector"""
    count: int


class Words:
    """The words that a model was taught, with the token ids they stand for."""

    def __init__(self, words: list[_Word]) -> None:
        self._words = {word.file.stem.casefold(): word for word in words}
        names = sorted(map(re.escape, self._words), key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)({'|'.join(names)})(?!\w)", re.IGNORECASE)

    def __bool__(self) -> bool:
        return bool(self._words)

    def split(self, text: str) -> list[str]:
        """The text in pieces, each of them either a taught word or free of them."""
        return self._pattern.split(text)

    def tokens(self, piece: str) -> list[int]:
        """The ids of a taught word; [] for another piece."""
        word = self._words.get(piece.casefold())
        return list(range(word.first, word.first + word.count)) if word else []

    def vectors(self, encoder: str) -> Tensor | None:
        """(n, D) vectors of all words in the order of their ids, for the encoder `clip_l` or `clip_g`."""
        import torch

        parts = [read_tensors(w.file, [w.tensors[encoder]])[w.tensors[encoder]] for w in self._words.values()]
        return torch.cat([part.float().reshape(-1, part.shape[-1]) for part in parts]) if parts else None


def learnt_words(place: Place) -> Words:
    """The words that go with a model; only headers are read. Raises `SpecError` for a file that is no textual
    inversion, or one for another base."""
    if not place.embeddings:
        return Words([])
    widths = {"clip_l": place.config("text_encoder")["hidden_size"]}
    if not place.absent(["text_encoder_2"]) and "XL" in place.pipeline:
        widths["clip_g"] = place.config("text_encoder_2")["hidden_size"]
    first = place.config("text_encoder")["vocab_size"]
    words: list[_Word] = []
    for file in place.embeddings:
        word = _read(file, widths, first)
        if any(file.stem.casefold() == other.file.stem.casefold() for other in words):
            raise SpecError(f'two textual inversions are called "{file.stem}"; rename one of the files.')
        first += word.count
        words.append(word)
    return Words(words)


def teach(embeddings: Any, vectors: Tensor | None) -> None:
    """Put vectors behind those of a CLIP text encoder's `embeddings`."""
    import torch

    if vectors is not None:
        known = embeddings.token_embedding.weight
        longer = torch.cat([known, vectors.to(known)])
        embeddings.token_embedding = torch.nn.Embedding.from_pretrained(longer, freeze=True)


def _read(file: Path, widths: dict[str, int], first: int) -> _Word:
    header = read_header(file)
    if recognise(header).kind != "embedding":
        raise SpecError(f"{file} is no textual inversion; give it as what it is, or leave it out.")
    both = {"clip_l": "clip_l", "clip_g": "clip_g"}
    names = both if "clip_g" in header.tensors else {"clip_l": next(iter(header.tensors))}
    found = {encoder: header.tensors[name].shape for encoder, name in names.items()}
    has = {encoder: shape[-1] for encoder, shape in found.items()}
    if has != widths:
        theirs, ours = (" and ".join(map(str, numbers.values())) for numbers in (has, widths))
        raise SpecError(
            f"the textual inversion {file} is for another base: its vectors have {theirs} numbers, this model's {ours}."
        )
    counts = {shape[0] if len(shape) == 2 else 1 for shape in found.values()}
    if len(counts) != 1 or not 1 <= max(counts) <= MAX_VECTORS:
        raise SpecError(f"{file} has {sorted(counts)} vectors; a word has 1 to {MAX_VECTORS}.")
    return _Word(file, names, first, counts.pop())
