"""Reading weights without trusting them."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from jogak.models import safe
from jogak.models.safe import UnsafeWeights, folder_digest, read_header, read_weights

TENSORS = {"a": torch.arange(6, dtype=torch.float16).reshape(2, 3), "b": torch.ones(4)}


def write(path: Path, header: object, buffer: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + buffer)
    return path


def entry(start: int, end: int, dtype: str = "U8", shape: object = None) -> dict:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


def test_a_good_file_is_described_and_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"made": "here"})
    header = read_header(tmp_path / "model.safetensors")
    assert header.metadata == {"made": "here"}
    assert header.parameters == 10
    assert (header.tensors["a"].dtype, header.tensors["a"].shape) == ("F16", (2, 3))
    read = read_weights(tmp_path, "model")
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize(
    ("header", "buffer", "words"),
    [
        ({"a": entry(0, 4), "b": entry(2, 6)}, 6, "overlaps"),
        ({"a": entry(0, 4), "b": entry(6, 8)}, 8, "follows a hole"),
        ({"a": entry(4, 8)}, 8, "follows a hole"),
        ({"a": entry(0, 8)}, 6, "8 bytes, but the file holds 6"),
        ({"a": entry(0, 4)}, 6, "4 bytes, but the file holds 6"),
        ({"a": entry(0, 8, "F32", [3])}, 8, "contradict"),
        ({"a": entry(0, 8, "F32", [2**62, 2**62])}, 8, "contradict"),
        ({"a": entry(0, 8, "F32", [-2])}, 8, "no proper shape"),
        ({"a": entry(0, 1, "U8", [True])}, 1, "no proper shape"),
        ({"a": entry(0, 1, "U8", [1] * 9)}, 1, "no proper shape"),
        ({"a": entry(0, 1, "U8", "x")}, 1, "no proper shape"),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 0]}}, 4, "no proper place"),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0.0, 4.0]}}, 4, "no proper place"),
        ({"a": entry(0, 4, "OBJECT")}, 4, "unknown type"),
        ({"a": {"dtype": "U8"}}, 0, "lacks dtype"),
        ({"a": 3}, 0, "lacks dtype"),
        ({"__metadata__": {"a": 1}}, 0, "metadata is not text"),
        ([], 0, "no JSON object"),
        (b"{not json", 0, "bad safetensors header"),
        (b'{"a":' + b"[" * 100_000, 0, "bad safetensors header"),
        (b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}', 0, "occurs twice"),
    ],
)
def test_a_bad_header_is_refused_in_words(tmp_path: Path, header: object, buffer: int, words: str) -> None:
    path = write(tmp_path / "m.safetensors", header, bytes(buffer))
    with pytest.raises(UnsafeWeights, match=words):
        read_header(path)


def test_a_header_that_claims_too_much_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 25_000_001))
        file.truncate(30_000_000)
    with pytest.raises(UnsafeWeights, match="at most 25,000,000"):
        read_header(path)


@given(cut=st.integers(0, 400))
def test_no_cut_of_a_file_is_taken_for_the_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    save_file(TENSORS, folder / "whole.safetensors")
    whole = (folder / "whole.safetensors").read_bytes()
    path = folder / "m.safetensors"
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    with pytest.raises(UnsafeWeights):
        read_header(path)


@given(junk=st.binary(max_size=300))
def test_junk_is_refused_and_never_crashes(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(junk)) + junk)
    with pytest.raises(UnsafeWeights):
        read_header(path)


class Bomb:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", ["model.bin", "model.ckpt", "model.pt", "model.pth", "model.safetensors"])
def test_a_pickle_is_refused_unopened_with_the_way_to_convert_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UnsafeWeights, match=r"is a pickle.*torch\.load.*weights_only=True.*save_file"):
        read_weights(tmp_path, "model")
    assert not (tmp_path / "exploded").exists()


def test_the_advice_for_a_pickle_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": TENSORS}, tmp_path / "model.ckpt")
    with pytest.raises(UnsafeWeights) as refused:
        read_weights(tmp_path, "model")
    exec(str(refused.value).partition('python -c "')[2].removesuffix('"'), {})
    assert torch.equal(read_weights(tmp_path, "model")["a"], TENSORS["a"])


def test_shards_are_read_through_their_index(tmp_path: Path) -> None:
    save_file({"a": TENSORS["a"]}, tmp_path / "m-1.safetensors")
    save_file({"b": TENSORS["b"]}, tmp_path / "m-2.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}))
    assert read_weights(tmp_path, "m").keys() == {"a", "b"}
    index.write_text(json.dumps({"weight_map": {"a": "m-1.safetensors", "c": "m-2.safetensors"}}))
    with pytest.raises(UnsafeWeights, match="lacks c"):
        read_weights(tmp_path, "m")


@pytest.mark.parametrize("file", ["../m.safetensors", "/etc/passwd", "m.bin", 7])
def test_an_index_cannot_point_elsewhere(tmp_path: Path, file: object) -> None:
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(UnsafeWeights, match="same folder"):
        read_weights(tmp_path, "m")


def test_a_digest_follows_content_and_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOGAK_HOME", str(tmp_path / "home"))
    part = tmp_path / "model" / "unet"
    part.mkdir(parents=True)
    (part / "config.json").write_text("{}")
    save_file(TENSORS, part / "w.safetensors")
    (part / "notes.md").write_text("no part of it")
    first = folder_digest(tmp_path / "model", ["unet"])

    with monkeypatch.context() as patch:
        patch.setattr(safe.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
        assert folder_digest(tmp_path / "model", ["unet"]) == first
    (part / "notes.md").write_text("changed")
    assert folder_digest(tmp_path / "model", ["unet"]) == first
    save_file(TENSORS | {"c": torch.zeros(1)}, part / "w.safetensors")
    assert folder_digest(tmp_path / "model", ["unet"]) != first
    (tmp_path / "home" / "cache" / "digests.json").write_text('{"x": 3, [')
    assert folder_digest(tmp_path / "model", ["unet"]) != first
