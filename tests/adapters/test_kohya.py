"""Kohya's names and files, held against what diffusers and safetensors make of them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from safetensors.torch import load_file

from jogak.adapters.kohya import (
    dotted,
    flatten,
    from_sgm,
    kohya_module,
    lora_hash,
    sshs_hashes,
    to_sgm,
    write_kohya,
)
from jogak.adapters.lora_files import read_lora
from jogak.models.safe import read_header
from jogak.spec import SpecError
from tests.lora_layouts import BASES, METADATA, kohya_layers, peft_factors, true_kohya

SMALL = {"mid_block.attentions.0.proj_in": (6, 6), "down_blocks.0.resnets.1.conv2": (4, 6, 3, 3)}


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_every_name_goes_and_comes_back(base: str) -> None:
    for target, shapes in kohya_layers(base, conv=True).items():
        for path in shapes:
            assert dotted(flatten(path)) == path
            if target == "unet" and base == "sdxl":
                assert from_sgm(to_sgm(flatten(path))) == flatten(path)


def test_sgm_names_are_those_that_diffusers_maps_back() -> None:
    """All 722 modules that kohya trains in SDXL's UNet, and its resnets and resizers."""
    paths = kohya_layers("sdxl", conv=True)["unet"]
    names = {path: kohya_module("unet", flatten(path), sdxl=True) for path in paths}
    assert len(set(names.values())) == len(names) > 722
    state = {f"{name}.lora_down.weight": torch.zeros(1, 1) for name in names.values()}
    state |= {f"{name}.lora_up.weight": torch.zeros(1, 1) for name in names.values()}
    state = _maybe_map_sgm_blocks_to_diffusers(state, SimpleNamespace(layers_per_block=2))
    theirs, _ = _convert_non_diffusers_lora_to_diffusers(state)
    got = {
        name.replace(".processor", "").replace("to_out_lora", "to_out.0_lora").replace("_lora.", ".lora.")
        for name in theirs
        if name.endswith("down.weight")
    }
    assert got == {f"unet.{path}.lora.down.weight" for path in paths}


def test_some_sgm_names_as_published_files_have_them() -> None:
    for theirs, ours in {
        "input_blocks_1_0_in_layers_2": "down_blocks_0_resnets_0_conv1",
        "input_blocks_3_0_op": "down_blocks_0_downsamplers_0_conv",
        "input_blocks_4_0_skip_connection": "down_blocks_1_resnets_0_conv_shortcut",
        "input_blocks_8_1_transformer_blocks_9_ff_net_0_proj": "down_blocks_2_attentions_1_transformer_blocks_9_ff_net_0_proj",
        "middle_block_1_proj_in": "mid_block_attentions_0_proj_in",
        "middle_block_2_emb_layers_1": "mid_block_resnets_1_time_emb_proj",
        "output_blocks_0_1_transformer_blocks_0_attn2_to_k": "up_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
        "output_blocks_2_2_conv": "up_blocks_0_upsamplers_0_conv",
        "output_blocks_8_0_out_layers_3": "up_blocks_2_resnets_2_conv2",
        "label_emb_0_2": "add_embedding_linear_2",
    }.items():
        assert from_sgm(theirs) == ours
        assert to_sgm(ours) == theirs
    # SD 1.5's first up block has no attention, so its upsampler is the second of its parts
    assert from_sgm("output_blocks_2_1_conv") == "up_blocks_0_upsamplers_0_conv"


def test_a_name_of_another_network_has_no_path() -> None:
    with pytest.raises(SpecError, match="no module of a UNet"):
        dotted("double_blocks_0_img_attn_qkv")


def test_the_file_is_kohyas(tmp_path: Path) -> None:
    text = {f"text_model.{name}": t for name, t in peft_factors({"encoder.layers.0.mlp.fc1": (8, 4)}).items()}
    metadata = {"ss_output_name": "인형", "modelspec.title": "puppet"}
    path = write_kohya(tmp_path / "a.safetensors", peft_factors(SMALL), text, metadata, alpha=0.1)
    stored = load_file(path)
    assert sorted(stored) == sorted(
        f"{module}.{tail}"
        for module in (
            "lora_unet_mid_block_attentions_0_proj_in",
            "lora_unet_down_blocks_0_resnets_1_conv2",
            "lora_te_text_model_encoder_layers_0_mlp_fc1",
        )
        for tail in ("lora_down.weight", "lora_up.weight", "alpha")
    )
    assert {t.dtype for name, t in stored.items() if not name.endswith("alpha")} == {torch.float16}
    assert all(t.item() == torch.tensor(0.1) for name, t in stored.items() if name.endswith("alpha"))
    told = read_header(path).metadata
    assert told["ss_output_name"] == "인형"
    assert (told["ss_network_dim"], told["ss_network_alpha"]) == ("4", "0.1")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"], "no temporary file is left"


def test_the_same_lora_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_kohya(tmp_path / f"{name}.safetensors", peft_factors(SMALL), {}, METADATA, 2.0)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_bytes_are_those_of_safetensors(tmp_path: Path) -> None:
    tensors = {f"x{i}": torch.ones(3, i + 1, dtype=dtype) for i, dtype in enumerate(
        (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8))}  # fmt: skip
    from jogak.adapters.kohya import _serialised

    assert b"".join(_serialised(tensors, {"one": "하나\n\"'"})) == safetensors.torch.save(
        tensors, {"one": "하나\n\"'"}
    )


def kohya_hashes(tensors: dict, metadata: dict) -> tuple[str, str]:
    """The two hashes by their definition, over a file that safetensors itself lays out."""
    told = {name: value for name, value in metadata.items() if name.startswith("ss_")}
    file = io.BytesIO(safetensors.torch.save(tensors, told))
    file.seek(0x100000)
    legacy = hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    file.seek(0)
    file.seek(int.from_bytes(file.read(8), "little") + 8)
    return hashlib.sha256(file.read()).hexdigest(), legacy


@pytest.mark.parametrize("numbers", [10, 600_000])
def test_hashes_are_those_of_kohya(tmp_path: Path, numbers: int) -> None:
    tensors = {"b": torch.arange(numbers) % 251, "a": torch.rand(numbers).half(), "c": torch.rand(5)}
    assert sshs_hashes(tensors, METADATA) == kohya_hashes(tensors, METADATA)


def test_the_hashes_are_in_the_file(tmp_path: Path) -> None:
    path = true_kohya(tmp_path / "a.safetensors", "sd15")
    told = read_header(path).metadata
    stored = load_file(path)
    assert (told["sshs_model_hash"], told["sshs_legacy_hash"]) == kohya_hashes(stored, told)
    assert lora_hash(path) == told["sshs_model_hash"]


def test_sdxl_gets_its_own_names(tmp_path: Path) -> None:
    text = peft_factors({"encoder.layers.0.mlp.fc1": (8, 4)})
    text2 = peft_factors({"encoder.layers.0.mlp.fc1": (8, 4), "text_projection": (4, 4)})
    path = write_kohya(tmp_path / "a.safetensors", peft_factors(SMALL), text, {}, 4.0, text2=text2)
    modules = {name.split(".")[0] for name in load_file(path)}
    assert modules == {
        "lora_unet_middle_block_1_proj_in",
        "lora_unet_input_blocks_2_0_out_layers_3",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "lora_te2_text_model_encoder_layers_0_mlp_fc1",
        "lora_te2_text_projection",
    }
    by_metadata = write_kohya(tmp_path / "b.safetensors", peft_factors(SMALL), text, BASES["sdxl"], 4.0)
    assert {name.split(".")[0] for name in load_file(by_metadata)} == {m for m in modules if "te2" not in m}
    assert {(p.target, p.name) for p in read_lora(path).parts} >= {
        ("unet", "mid_block_attentions_0_proj_in"), ("text2", "text_projection")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"x.lora_A.weight": torch.tensor([[float("nan")]])}, "NaN or infinity"),
        ({"x.lora_A.weight": torch.tensor([[1e6]])}, "too large for torch.float16"),
        ({"x.weight": torch.ones(1, 1)}, "no tensor of a LoRA"),
        ({}, "nothing to write"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(tmp_path: Path, bad: dict, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        write_kohya(tmp_path / "a.safetensors", bad, {}, {}, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_kohya(tmp_path / "a.safetensors", peft_factors(SMALL), {}, {}, 1.0)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(SpecError, match="No space left"):
        write_kohya(path, peft_factors(SMALL, seed=9), {}, {}, 1.0)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_loha_and_lokr_are_written_as_they_are(tmp_path: Path) -> None:
    path = "mid_block.attentions.0.proj_in"
    tensors = {
        f"{path}.lokr_w1": torch.rand(2, 2),
        f"{path}.lokr_w2_a": torch.rand(3, 2),
        f"{path}.lokr_w2_b": torch.rand(2, 3),
    }
    file = write_kohya(tmp_path / "a.safetensors", tensors, {}, {}, 4.0, dtype=None)
    weights = read_lora(file)
    assert (weights.kind, weights.rank) == ("lokr", 2)
    assert torch.equal(
        load_file(file)["lora_unet_mid_block_attentions_0_proj_in.lokr_w1"], tensors[f"{path}.lokr_w1"]
    )
