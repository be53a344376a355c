"""Reading weights without trusting them: safetensors only, and the header is checked before any weight is
read.

A safetensors file is eight bytes of little-endian length, a JSON header of that length, and one buffer. The
header gives each tensor's type, shape and place in the buffer
(https://github.com/huggingface/safetensors#format). Pickles (`.bin`, `.ckpt`, `.pt`, `.pth`) can run code
when opened and are refused with the way to convert them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from jogak.spec import SpecError
from jogak.store.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER_BYTES = 25_000_000
"""The largest header that is read; a file of a hundred thousand tensors stays below it."""
MAX_JSON_BYTES = 32_000_000
"""The largest configuration, index or vocabulary file that is read."""
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 8

_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip
_PICKLES = (".bin", ".ckpt", ".pt", ".pth")
_WEIGHT_FILES = (".safetensors",)
_CONFIG_FILES = (".json", ".txt")


class UnsafeWeights(SpecError):
    """A weight file that is damaged, of another format, or not safe to open."""


@dataclass(frozen=True)
class TensorFacts:
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """first byte, counted from the beginning of the buffer"""
    end: int
    """one past the last byte"""


@dataclass(frozen=True)
class Header:
    """A checked safetensors header."""

    tensors: Mapping[str, TensorFacts]
    metadata: Mapping[str, str]

    @property
    def parameters(self) -> int:
        """Numbers in all tensors together."""
        return sum(math.prod(facts.shape) for facts in self.tensors.values())


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file; no weight is read.

    Raises `UnsafeWeights` when the file is a pickle, is cut short, has a header above 25 MB, or describes
    tensors that leave the file, overlap, leave holes, or whose size disagrees with their type and shape.
    """
    if path.suffix.lower() in _PICKLES:
        raise UnsafeWeights(_how_to_convert(path))
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length < 2 or 8 + length > size:
                if start[:1] == b"\x80" or start[:4] == b"PK\x03\x04":
                    raise UnsafeWeights(_how_to_convert(path))
                raise UnsafeWeights(f"{path} is cut short or is not a safetensors file; fetch it again.")
            if length > MAX_HEADER_BYTES:
                raise UnsafeWeights(
                    f"{path}: its header claims {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read."
                )
            raw = file.read(length)
    except OSError as error:
        raise UnsafeWeights(f"{path}: {error.strerror or error}. Give the path of a readable file.") from None
    try:
        return _check_header(json.loads(raw, object_pairs_hook=_unique), size - 8 - length)
    except (ValueError, RecursionError) as error:
        raise UnsafeWeights(f"{path} has a bad safetensors header: {error}. Fetch the file again.") from None


def read_weights(folder: Path, stem: str) -> dict[str, Tensor]:
    """All tensors of one part of a model, on the CPU, in the type they are stored in.

    `stem` is the file name without its ending, as in `diffusion_pytorch_model`; a sharded set is found by its
    index (`<stem>.safetensors.index.json`), a half-precision set by `.fp16`. Every header is checked before
    its weights.
    """
    tensors: dict[str, Tensor] = {}
    for path, names in _parts(folder, stem):
        tensors |= read_tensors(path, names or read_header(path).tensors.keys())
    return tensors


def read_part_headers(folder: Path, stem: str) -> dict[str, TensorFacts]:
    """What the headers say of one part of a model, found as `read_weights` finds it; no weight is read."""
    found: dict[str, TensorFacts] = {}
    for path, names in _parts(folder, stem):
        tensors = read_header(path).tensors
        found |= {name: facts for name, facts in tensors.items() if not names or name in names}
    return found


def read_tensors(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    """These tensors of a safetensors file, on the CPU, in the type they are stored in; its header is checked
    first. Raises `UnsafeWeights` for a name the file lacks."""
    from safetensors import SafetensorError, safe_open

    absent = set(names) - read_header(path).tensors.keys()
    if absent:
        raise UnsafeWeights(f"{path} lacks {min(absent)}, which its index places there; fetch the set again.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UnsafeWeights(f"{path} could not be read: {error}. Fetch the file again.") from None


def read_json(path: Path) -> Any:
    """Read a small JSON file that came from outside. Raises `UnsafeWeights` when absent, too large or
    unparsable."""
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise UnsafeWeights(f"{path} is {size:,} bytes; at most {MAX_JSON_BYTES:,} are read.")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnsafeWeights(
            f"{path}: {error.strerror or error}. The folder of weights is incomplete."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UnsafeWeights(
            f"{path} is not readable as JSON: {str(error)[:200]}. Fetch the file again."
        ) from None


def folder_digest(folder: Path, parts: Iterable[str]) -> str:
    """sha256 (hex) over names and contents of the weight and configuration files in `folder/<part>` for each
    part.

    A file's own digest is kept in the user's cache folder and is taken from there while the file's size and
    time of change stay the same, so that only the first call reads the weights.
    """
    known = _Digests.read()
    total = hashlib.sha256()
    for part in sorted(parts):
        for path in sorted((folder / part).iterdir()):
            if path.suffix in (*_WEIGHT_FILES, *_CONFIG_FILES) and path.is_file():
                total.update(f"{part}/{path.name}\0{known.of(path)}\n".encode())
    known.write()
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (hex) of one file, remembered as `folder_digest` remembers it."""
    known = _Digests.read()
    digest = known.of(path)
    known.write()
    return digest


def cache_folder() -> Path:
    """Where things lie that can be made again: `$JOGAK_HOME/cache`, else the platform's cache folder."""
    if home := os.environ.get("JOGAK_HOME", "").strip():
        return Path(home).expanduser() / "cache"
    return Path(platformdirs.user_cache_dir("jogak", appauthor=False))


class _Digests:
    """Digests of files by path, size and time of change."""

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known
        self._new: dict[str, str] = {}

    @classmethod
    def read(cls) -> _Digests:
        try:
            known = json.loads((cache_folder() / "digests.json").read_text(encoding="utf-8"))
            return cls({key: value for key, value in known.items() if len(value) == 64})
        except (OSError, ValueError, AttributeError, TypeError):
            return cls({})

    def of(self, path: Path) -> str:
        facts = path.stat()
        key = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
        if key not in self._known:
            with path.open("rb") as file:
                self._known[key] = self._new[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._known[key]

    def write(self) -> None:
        """Add what was computed. A cache that cannot be written only costs time, so that is no error."""
        if not self._new:
            return
        # Older entries of the same files are dropped; twins that write at once only lose each other's
        # entries.
        paths = {key.split("|")[0] for key in self._new}
        kept = {key: value for key, value in self._known.items() if key.split("|")[0] not in paths}
        folder = cache_folder()
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            data = json.dumps(kept | self._new, indent=0).encode()
            write_whole(folder / "digests.json", folder / f".digests.{uuid.uuid4().hex}.tmp", data)


def _parts(folder: Path, stem: str) -> list[tuple[Path, set[str]]]:
    """The files of one part and the tensors to take from each; an empty set means all of them."""
    for single in (folder / f"{stem}.safetensors", folder / f"{stem}.fp16.safetensors"):
        if single.is_file():
            return [(single, set())]
    for index in (folder / f"{stem}.safetensors.index.json", folder / f"{stem}.safetensors.index.fp16.json"):
        if index.is_file():
            return _shards(index)
    pickles = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in _PICKLES]
    if pickles:
        raise UnsafeWeights(_how_to_convert(pickles[0]))
    raise UnsafeWeights(f"{folder} has no {stem}.safetensors; the folder of weights is incomplete.")


def _shards(index: Path) -> list[tuple[Path, set[str]]]:
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise UnsafeWeights(f"{index} has no weight_map; fetch the file again.")
    shards: dict[str, set[str]] = {}
    for tensor, file in places.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise UnsafeWeights(f"{index} names {file!r}, which is no safetensors file of the same folder.")
        shards.setdefault(file, set()).add(tensor)
    return [(index.parent / file, names) for file, names in sorted(shards.items())]


def _check_header(header: Any, buffer: int) -> Header:
    """The header as facts. Raises `ValueError` that says what is wrong. `buffer` is the buffer's size in
    bytes."""
    if not isinstance(header, dict):
        raise ValueError("it is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata is not text")
    if len(header) > MAX_TENSORS:
        raise ValueError(f"it lists {len(header):,} tensors, at most {MAX_TENSORS:,} are read")
    tensors = {name: _check_tensor(name, facts) for name, facts in header.items()}
    at = 0
    for name, facts in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if facts.start != at:
            raise ValueError(f"{name} {'overlaps another tensor' if facts.start < at else 'follows a hole'}")
        at = facts.end
    if at != buffer:
        raise ValueError(f"its tensors take {at:,} bytes, but the file holds {buffer:,}")
    return Header(tensors, metadata)


def _check_tensor(name: str, facts: Any) -> TensorFacts:
    if not isinstance(facts, dict) or facts.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} lacks dtype, shape or data_offsets")
    dtype, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    if dtype not in _BITS:
        raise ValueError(f"{name} has the unknown type {str(dtype)[:20]!r}")
    if not _naturals(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{name} has no proper shape")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{name} has no proper place")
    if math.prod(shape) * _BITS[dtype] != 8 * (offsets[1] - offsets[0]):
        raise ValueError(f"{name} has {offsets[1] - offsets[0]:,} bytes, which its type and shape contradict")
    return TensorFacts(dtype, tuple(shape), offsets[0], offsets[1])


def _naturals(value: Any) -> bool:
    # `type(...) is int` and not isinstance: true and false are integers to Python, but not here
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**63 for number in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _how_to_convert(path: Path) -> str:
    target = (
        f"{path.stem}-converted.safetensors" if path.suffix == ".safetensors" else f"{path.stem}.safetensors"
    )
    return (
        f"{path} is a pickle, which can run code when it is opened, so it is not read. "
        "If you trust it, convert it: python -c "
        f'"import torch, safetensors.torch as s; d = torch.load({path.name!r}, weights_only=True); '
        f"s.save_file({{k: v.clone() for k, v in d.get('state_dict', d).items()}}, {target!r})\""
    )
