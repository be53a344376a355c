"""`jogak lora` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jogak.adapters.kohya import write_kohya
from jogak.adapters.lora import read_lora
from jogak.cli.lora import lora_app
from jogak.spec import SpecError
from tests.lora_layouts import BASES, METADATA, peft_factors, true_kohya

UNET = {
    "mid_block.attentions.0.proj_in": (8, 8),
    "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (8, 768),
}


@pytest.fixture
def loras(home: Path) -> Path:
    for seed, name in enumerate(("puppet", "ink")):
        about = METADATA | BASES["sd15"] | {"ss_output_name": f"{name}_v1"}
        write_kohya(home / "loras" / f"{name}.safetensors", peft_factors(UNET, 4, seed), {}, about, 2.0)
    return home / "loras"


def run(*arguments: str) -> None:
    lora_app(list(arguments), exit_on_error=False, result_action="return_value")


def test_info_in_words(loras: Path, capsys: pytest.CaptureFixture) -> None:
    run("info", "puppet")
    said = capsys.readouterr().out
    for words in (
        "lora, rank 4, alpha 2",
        "SD 1.5 (base.safetensors)",
        "sk_puppet",
        "인형 9",
        "pictures",
        "mid",
        "█",
    ):
        assert words in said


def test_info_as_json(loras: Path, capsys: pytest.CaptureFixture) -> None:
    run("info", "puppet_v1", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["ranks"] == [{"rank": 4, "modules": 2}]
    assert told["base"] == "sd15"
    assert set(told["norms"]) == {"mid", "up.1"}


def test_merge_resize_and_convert(loras: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    both, small, other = (tmp_path / f"{name}.safetensors" for name in ("both", "small", "other"))
    run("merge", "puppet:0.8", "ink:-0.5", "-o", str(both))
    assert "2 modules, rank (modules) 8 (2)" in capsys.readouterr().out
    run("resize", str(both), "--rank", "2", "-o", str(small), "--dtype", "fp32")
    assert "of the change kept" in capsys.readouterr().out
    assert read_lora(small).rank == 2
    run("convert", str(small), "--to", "diffusers", "-o", str(other))
    assert read_lora(other).rank == 2
    run("convert", str(small), "--to", "peft", "-o", str(tmp_path / "peft"))
    assert (tmp_path / "peft" / "unet" / "adapter_config.json").is_file()


def test_extract(home: Path, sd15_like: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="do not differ"):
        run("extract", str(sd15_like), "--base", str(sd15_like), "-o", str(tmp_path / "x.safetensors"))


def test_a_file_is_not_replaced_unasked(loras: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("mine")
    with pytest.raises(SpecError, match="--overwrite"):
        run("resize", "puppet", "--rank", "2", "-o", str(out))
    assert out.read_text() == "mine"
    run("resize", "puppet", "--rank", "2", "-o", str(out), "--overwrite")
    assert read_lora(out).rank == 2


def test_wrong_names_are_said(loras: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="Near names: puppet"):
        run("info", "pupet")
    (tmp_path / "x.bin").write_bytes(b"\x80\x02")
    with pytest.raises(SpecError, match="is a pickle"):
        run("info", str(tmp_path / "x.bin"))


@pytest.mark.parametrize("base", ["sd15", "sdxl"])
def test_info_of_a_whole_published_layout(
    home: Path, tmp_path: Path, base: str, capsys: pytest.CaptureFixture
) -> None:
    run("info", str(true_kohya(tmp_path / "true.safetensors", base)), "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["base"] == base
    assert sum(told["modules"].values()) == {"sd15": 264, "sdxl": 986}[base]
    blocks = {"sd15": ["down.0", "down.1", "down.2", "mid", "up.1", "up.2", "up.3", "text"],
              "sdxl": ["down.1", "down.2", "mid", "up.0", "up.1", "text", "text2"]}  # fmt: skip
    assert list(told["norms"]) == blocks[base]
