"""Reading parts of models, and damage of every kind: a sentence, never a crash."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from jogak.models import describe
from jogak.models.place import open_place
from jogak.models.recognise import recognise
from jogak.models.safe import (
    UnsafeWeights,
    file_digest,
    read_header,
    read_part_headers,
    read_tensors,
    read_weights,
)
from jogak.spec import SpecError
from tests.models.true_layout import make_single_file, published, write_hole


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Digests go into a cache of the test's own."""


def test_the_headers_of_a_part_in_several_files(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3), "old": torch.zeros(9)}, tmp_path / "m-1.safetensors")
    save_file({"b": torch.zeros(4, dtype=torch.float16)}, tmp_path / "m-2.safetensors")
    index = {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    facts = read_part_headers(tmp_path, "model")
    assert {name: (f.dtype, f.shape) for name, f in facts.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("F16", (4,)),
    }
    assert read_weights(tmp_path, "model").keys() == {"a", "b"}


def test_only_the_tensors_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.ones(2), "b": torch.zeros(2)}, path)
    assert read_tensors(path, ["a"])["a"].tolist() == [1, 1]
    assert read_tensors(path, []) == {}
    with pytest.raises(UnsafeWeights, match="lacks c"):
        read_tensors(path, ["a", "c"])


def test_the_digest_of_one_file_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"one")
    first = file_digest(path)
    assert file_digest(path) == first
    path.write_bytes(b"other")
    assert file_digest(path) != first


def test_a_checkpoint_of_gigabytes_is_described_without_reading_it(tmp_path: Path) -> None:
    """7 GB of hole: only the header is touched."""
    path = write_hole(tmp_path / "xl.safetensors", published("sdxl"))
    assert path.stat().st_size > 6.9e9
    assert path.stat().st_blocks * 512 < 1e6
    assert open_place(path).pipeline == "StableDiffusionXLPipeline"


# damage


def mutated(header: dict, rng: random.Random) -> dict:
    """A header with a few entries dropped, renamed, reshaped or exchanged."""
    header = dict(header)
    names = sorted(name for name in header if name != "__metadata__")
    telling = [
        n for n in names if "input_blocks.0.0" in n or "out.2" in n or "embedding" in n or "conv1" in n
    ]
    for _ in range(rng.randint(1, 6)):
        name = rng.choice(telling if rng.random() < 0.6 else names)
        if name not in header:
            continue
        entry = header.pop(name)
        kind = rng.randrange(5)
        if kind == 1:
            header[
                rng.choice(
                    ["x", name + ".y", name.replace(".", "_"), "emb_params", "lora_unet_a.lora_down.weight"]
                )
            ] = entry
        elif kind == 2:
            header[name] = entry | {"shape": [rng.choice([0, 1, 3, 9, 64]) for _ in range(rng.randrange(6))]}
        elif kind == 3:
            other = rng.choice(names)
            if other in header:
                header[name] = entry | {"shape": header[other]["shape"]}
        elif kind == 4:
            prefix = name.split(".")[0]
            header = {n: e for n, e in header.items() if n == "__metadata__" or not n.startswith(prefix)}
    return header


def packed(header: dict) -> bytes:
    """The header with the places of its tensors made right again, and a buffer of zeros."""
    at = 0
    for entry in header.values():
        size = 8 if entry.get("dtype") == "I64" else 2
        count = 1
        for side in entry["shape"]:
            count *= side
        entry["data_offsets"] = [at, at + count * size]
        at += count * size
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(at)


def narrow_header(path: Path, family: str) -> dict:
    make_single_file(path, family)
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    header.pop("__metadata__", None)
    # the buffer is of no interest: matrices of two rows keep the file small
    return header


@pytest.mark.parametrize(
    ("family", "rounds"), [("sd15", 150), pytest.param("sdxl", 1500, marks=pytest.mark.slow)]
)
def test_a_damaged_checkpoint_is_a_sentence(family: str, rounds: int, tmp_path: Path) -> None:
    """Headers with entries missing, renamed, of other shapes: described, or refused in words."""
    rng = random.Random(7)
    header = narrow_header(tmp_path / "whole.safetensors", family)
    path, told = tmp_path / "odd.safetensors", list[str]()
    for _ in range(rounds):
        raw = packed({name: dict(entry) for name, entry in mutated(header, rng).items()})
        path.write_bytes(raw)
        try:
            describe(path)
        except SpecError as error:
            told.append(str(error))
    assert len(told) > rounds // 4
    assert [text for text in told if not text.startswith(str(path))] == []


def test_recognising_never_fails(tmp_path: Path) -> None:
    rng = random.Random(3)
    names = [
        "emb_params", "clip_l", "clip_g", "a", "a.lora_down.weight", "lora_unet_x_attn2_to_k.lora_down.weight",
        "lora_unet_x_attn2_to_k.lokr_w1", "lora_unet_x_attn2_to_k.lokr_w2", "x.attn2.to_k.weight", "image_proj.proj.weight",
        "image_proj.proj.0.weight", "ip_adapter.1.to_k_ip.weight", "control_model.input_blocks.0.0.weight",
        "model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight", "conv_in.weight",
        "down_blocks.0.x", "decoder.conv_in.weight", "encoder.conv_in.weight", "controlnet_cond_embedding.conv_in.weight",
        "unet.a.attn2.to_k.lora_A.weight", "unet.a.attn2.to_k.lora_A.default.weight", "lora_te2_x.alpha",
    ]  # fmt: skip
    path = tmp_path / "x.safetensors"
    kinds = set()
    for _ in range(1500):
        chosen = rng.sample(names, rng.randint(0, 4))
        header = {
            name: {"dtype": "F16", "shape": [rng.choice([0, 1, 4, 8]) for _ in range(rng.randrange(5))]}
            for name in chosen
        }
        path.write_bytes(packed(header))
        kinds.add(recognise(read_header(path)).kind)
    assert kinds >= {"checkpoint", "vae", "lora", "control", "ip", "embedding", "unknown"}
