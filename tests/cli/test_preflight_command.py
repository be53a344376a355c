"""`jogak preflight`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cyclopts import App
from safetensors.torch import save_file

from jogak.cli.preflight import preflight
from jogak.spec import SpecError
from tests.models.true_layout import make_single_file


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Nothing here touches the user's cache."""


def jogak(*words: str | Path) -> int:
    app = App(result_action="return_value")
    app.command(preflight)
    try:
        app(["preflight", *map(str, words)], exit_on_error=False)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def lora(path: Path, width: int, trigger: str = "") -> Path:
    stem = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {
        f"{stem}.lora_down.weight": torch.zeros(4, width),
        f"{stem}.lora_up.weight": torch.zeros(64, 4),
    }
    save_file(tensors, path, {"modelspec.trigger_phrase": trigger} if trigger else None)
    return path


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, jogak.cli.preflight; print([m for m in ('torch', 'numpy', 'rich.console') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_looking_needs_no_torch() -> None:
    code = """
import sys
from jogak.cli.preflight import preflight
preflight("a fox", backend="torch")
print("torch" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == "False", ran.stderr


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert jogak("a fox", "--backend", "torch") == 0
    assert capsys.readouterr().out.rstrip().endswith("It can be drawn.")
    assert jogak("여우", "--backend", "torch") == 0
    assert capsys.readouterr().out.rstrip().endswith("이대로 그릴 수 있습니다.")


def test_a_wrong_lora_ends_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, other = lora(tmp_path / "xl.safetensors", 2048), lora(tmp_path / "sd.safetensors", 768)
    assert jogak("a fox", "--backend", "torch", "--lora", wrong, "--lora", other) == 2
    told = capsys.readouterr().out
    assert "xl.safetensors is a LoRA for SDXL" in told
    assert "sd.safetensors is a LoRA for SD 1.5" in told
    assert "It cannot be drawn like this." in told
    assert jogak("a fox", "--lang", "ko", "--backend", "torch", "--lora", wrong) == 2
    assert "SDXL용 LoRA입니다" in capsys.readouterr().out


def test_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = lora(tmp_path / "xl.safetensors", 2048)
    assert jogak("a fox", "--backend", "torch", "--json", "--lora", wrong) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["works"] is False
    assert told["findings"][0]["code"] == "lora.base"
    assert told["findings"][0]["level"] == "stop"


def test_a_checkpoint_file_and_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    make_single_file(path, "sd15")
    save_file({"emb_params": torch.zeros(2, 64)}, tmp_path / "mine.safetensors")
    save_file({"emb_params": torch.zeros(2, 768)}, tmp_path / "other.safetensors")
    words = ["a fox", "--backend", "torch", "--model", path]
    assert jogak(*words, "--vae", path, "--embedding", tmp_path / "mine.safetensors", "--memory", "fp8") == 0
    capsys.readouterr()
    assert jogak(*words, "--embedding", tmp_path / "other.safetensors") == 2
    assert "for another base" in capsys.readouterr().out


def test_a_model_that_is_not_there_or_a_pickle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert jogak("a fox", "--model", tmp_path / "none.safetensors") == 2
    assert "neither in the catalogue" in capsys.readouterr().out
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02")
    assert jogak("여우", "--model", tmp_path / "old.ckpt") == 2
    assert "피클 파일입니다" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "big"], "is not width x height"),
        (["--memory", "magic"], "not known; there are attention-slices"),
    ],
)
def test_wrong_flags_are_said(flags: list[str], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        jogak("a fox", "--backend", "torch", *flags)
