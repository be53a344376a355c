"""LoRA tags in prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jogak.image.lora_tags import lora_folders, split_loras
from jogak.spec import SpecError
from jogak.spec.image import LoraUse


@pytest.mark.parametrize(
    ("prompt", "rest", "uses"),
    [
        ("a fox", "a fox", ()),
        ("a  fox ", "a  fox ", ()),
        ("a fox <lora:ink:0.8> in snow", "a fox in snow", (LoraUse(name="ink", weight=0.8),)),
        ("<lora:ink>", "", (LoraUse(name="ink"),)),
        ("여우 <lora:먹물 화풍:-0.5>", "여우", (LoraUse(name="먹물 화풍", weight=-0.5),)),
        ("x<lora:a:0.5:0.8>", "x", (LoraUse(name="a", weight=0.8, text_weight=0.5),)),
        ("x<lora:a:te=0.5>", "x", (LoraUse(name="a", weight=0.5),)),
        ("x<lora:a:unet=0.5>", "x", (LoraUse(name="a", weight=0.5, text_weight=1.0),)),
        ("x<lora:a:te=0:unet=0.5>", "x", (LoraUse(name="a", weight=0.5, text_weight=0.0),)),
        ("x<lora:a:1:unet=0.5>", "x", (LoraUse(name="a", weight=0.5, text_weight=1.0),)),
        ("x <LORA:a:.7:mid=0:up.1=.5>", "x", (LoraUse(name="a", weight=0.7, blocks={"mid": 0, "up.1": 0.5}),)),
        ("<lora:a:1> x <lora:a:1>", "x", (LoraUse(name="a"), LoraUse(name="a"))),
        ("<lora:b:1> (x:1.2) <lora:a:2>", "(x:1.2)", (LoraUse(name="b"), LoraUse(name="a", weight=2))),
    ],
)  # fmt: skip
def test_tags_are_taken_out_and_read(prompt: str, rest: str, uses: tuple[LoraUse, ...]) -> None:
    assert split_loras(prompt) == (rest, uses)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a <lora:ink:0.8", "is not closed"),
        ("a <lora:>", "names no LoRA"),
        ("a <lora:ink:much>", '"much" is no number'),
        ("a <lora:ink:nan>", "is no number"),
        ("a <lora:ink:1:1:1>", "has 3 weights"),
        ("a <lora:ink:1:lbw=1>", 'unknown "lbw="'),
        ("a <lora:ink:9>", "weight: Input should be less than"),
        ("<lora:a>" * 9, "names 9 LoRAs"),
    ],
)
def test_a_wrong_tag_is_said(prompt: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        split_loras(prompt)


@given(st.text(max_size=60).filter(lambda text: "<lora:" not in text.lower()))
def test_a_prompt_without_tags_is_left_alone(prompt: str) -> None:
    assert split_loras(prompt) == (prompt, ())


def test_folders(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert lora_folders()[:2] == (home / "loras", tmp_path)
    assert lora_folders()[2].name == "pocket-fast"
