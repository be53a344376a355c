"""The prompt language: what it means, and that no text is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jogak.image.prompt import MAX_CHUNKS, MAX_WEIGHT, at_step, changes, check, encode, weighted
from jogak.models import DiffusionModel, load, resolve
from jogak.spec import SpecError
from jogak.spec.image import MAX_PROMPT


@pytest.fixture(scope="module")
def model(pocket_like: Path) -> DiffusionModel:
    return load(resolve(pocket_like, "torch"))


# weights


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a fox", [("a fox", 1)]),
        ("a (fox)", [("a ", 1), ("fox", 1.1)]),
        ("a (fox:1.3) b", [("a ", 1), ("fox", 1.3), (" b", 1)]),
        ("(fox: .5 )", [("fox", 0.5)]),
        ("[fox]", [("fox", 1 / 1.1)]),
        ("((fox))", [("fox", 1.21)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
        ("(a:-1)", [("a", -1)]),
        ("여우 (달밤:1.4)", [("여우 ", 1), ("달밤", 1.4)]),
        (r"a \(b\) \[c\] \\ d", [(r"a (b) [c] \ d", 1)]),
        (r"\x", [(r"\x", 1)]),
        ("(a", [("a", 1.1)]),
        ("[a", [("a", 1 / 1.1)]),
        ("a) b] :", [("a) b] :", 1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a:１)", [("a:１", 1.1)]),
        ("a BREAK b", [("a", 1), None, ("b", 1)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
        ("(a BREAK b:2)", [("a", 2), None, ("b", 2)]),
        ("(a:1e9)", [("a:1e9", 1.1)]),
        ("(a:" + "9" * 500 + ")", [("a", MAX_WEIGHT)]),
        ("", []),
    ],
)
def test_weights(text: str, pieces: list) -> None:
    found = weighted(text)
    assert [piece and piece[0] for piece in found] == [piece and piece[0] for piece in pieces]
    assert [piece and piece[1] for piece in found] == pytest.approx([piece and piece[1] for piece in pieces])


# schedules


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("[a:b:0.25]", "abbb"),
        ("[a:b:1]", "abbb"),
        ("[a:b:1.0]", "aaaa"),
        ("[a:b:0]", "bbbb"),
        ("[a:b: .5 ]", "aabb"),
        ("[a:b:99]", "aaaa"),
        ("[a::3]", ["a", "a", "a", ""]),
        ("[b:0.5]", ["", "", "b", "b"]),
        ("[a|b]", "abab"),
        ("[a|b|c]", "abca"),
        ("[a|]", ["a", "", "a", ""]),
        ("x [a:[b|c]:0.5] y", ["x a y", "x a y", "x b y", "x c y"]),
        ("[(a:1.2):b:0.5]", ["(a:1.2)", "(a:1.2)", "b", "b"]),
        ("([a|b]:1.2)", ["(a:1.2)", "(b:1.2)", "(a:1.2)", "(b:1.2)"]),
        ("[a:b:c]", ["[a:b:c]"] * 4),
        ("[a:b:c:1]", ["[a:b:c:1]"] * 4),
        ("[a]", ["[a]"] * 4),
        ("[a:b", ["[a:b"] * 4),
        ("a:b|c]", ["a:b|c]"] * 4),
        (r"\[a|b\]", [r"\[a|b\]"] * 4),
        (r"[a\|b|c]", [r"a\|b", "c", r"a\|b", "c"]),
        ("[봄:겨울:0.5]", ["봄", "봄", "겨울", "겨울"]),
        ("[a:b:" + "9" * 400 + "]", "aaaa"),
    ],
)
def test_schedules(prompt: str, texts: str | list[str]) -> None:
    assert [at_step(prompt, step, 4) for step in range(4)] == list(texts)


SIGNS = st.text(alphabet="ab 여,:|()[]\\.0159-+BREAK<>\n\0\U0001f98a", max_size=200)


@given(prompt=st.one_of(SIGNS, st.text(max_size=300)), step=st.integers(0, 9))
def test_no_text_is_an_error(prompt: str, step: int) -> None:
    text = at_step(prompt, step, 10)
    assert len(text) <= len(prompt)
    if not changes(prompt):
        assert text == prompt
    for piece in weighted(text):
        assert piece is None or (piece[0] and abs(piece[1]) <= MAX_WEIGHT)


@given(text=st.text(alphabet="ab 여:|.", min_size=1, max_size=50))
def test_escaped_text_means_itself(text: str) -> None:
    wrapped = f"(a[{text}])"
    escaped = "".join(f"\\{sign}" if sign in "()[]\\" else sign for sign in wrapped)
    assert weighted(at_step(escaped, 0, 4)) == [(wrapped, 1)]


@pytest.mark.parametrize("unit", ["[", "(", "[a|", "[a:", "([", "[a:b:1]", "(a", ")", "]", "\\", ":"])
def test_the_longest_prompts_are_read_quickly(unit: str) -> None:
    prompt = (unit * MAX_PROMPT)[:MAX_PROMPT]
    weighted(at_step(prompt, 1, 4))
    changes(prompt)


# what the model sees


def test_a_plain_prompt_is_the_models_own_text(model: DiffusionModel) -> None:
    assert torch.equal(encode(model, "red fox"), model.encode_text(["red fox"]))
    assert torch.equal(encode(model, ""), model.encode_text([""]))


def test_weights_scale_their_tokens_and_nothing_else(model: DiffusionModel) -> None:
    plain, heavy = encode(model, "cat fox")[0], encode(model, "cat (fox:1.5)")[0]
    ratio = (heavy * plain).sum(1) / plain.square().sum(1)
    assert model.tokens("cat fox") == [*model.tokens("cat"), *model.tokens("fox")]
    assert len(model.tokens("cat fox")) == 2
    torch.testing.assert_close(ratio[2] / ratio[1], torch.tensor(1.5), rtol=1e-4, atol=0)
    torch.testing.assert_close(ratio[3:] / ratio[1], torch.ones(74), rtol=1e-4, atol=0)


def test_the_mean_is_what_it_was_without_weights(
    model: DiffusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = model.encode_text(["cat fox"])
    # a mean far from zero, as CLIP's is; this random encoder's is zero
    monkeypatch.setattr(model, "encode_tokens", lambda chunks: states + 0.3)
    assert encode(model, "cat (fox:1.8)").mean().item() == pytest.approx(
        (states + 0.3).mean().item(), rel=1e-5
    )


def test_a_long_prompt_goes_on_in_the_next_chunk(model: DiffusionModel) -> None:
    long = encode(model, "fox " * 80)
    assert long.shape == (1, 154, 64)
    assert torch.equal(long[:, :77], model.encode_text(["fox " * 75]))
    assert torch.equal(long[:, 77:], model.encode_text(["fox " * 5]))


def test_break_begins_a_chunk(model: DiffusionModel) -> None:
    apart = encode(model, "cat BREAK fox BREAK")
    assert torch.equal(apart[:, :77], model.encode_text(["cat"]))
    assert torch.equal(apart[:, 77:], model.encode_text(["fox"]))
    assert torch.equal(encode(model, "BREAK BREAK cat"), model.encode_text(["cat"]))


def test_a_full_chunk_is_cut_at_its_last_comma(model: DiffusionModel) -> None:
    near = encode(model, "cat " * 70 + ", " + "fox " * 10)
    assert torch.equal(near[:, :77], model.encode_text(["cat " * 70 + ","]))
    assert torch.equal(near[:, 77:], model.encode_text(["fox " * 10]))
    far = encode(model, "cat " * 40 + ", " + "fox " * 40)
    assert torch.equal(far[:, 77:], model.encode_text(["fox " * 6]))


def test_a_schedule_changes_what_the_model_sees(model: DiffusionModel) -> None:
    seen = [encode(model, "a [cat:fox:0.5]", step, 4) for step in range(4)]
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])
    assert torch.equal(seen[2], encode(model, "a fox"))


def test_what_cannot_be_drawn_is_said(model: DiffusionModel) -> None:
    check(model, "a [cat:fox:0.5] (x:1.2)", 20)
    with pytest.raises(SpecError, match=f"at most {MAX_CHUNKS}"):
        check(model, "a [cat:" + "b BREAK " * 20 + ":10]", 20)
    with pytest.raises(SpecError, match=r"<lora:ink:0\.8>.*take it out"):
        check(model, "a cat <lora:ink:0.8>", 20)


@settings(max_examples=40, deadline=None)
@given(prompt=SIGNS)
def test_any_text_is_encoded(model: DiffusionModel, prompt: str) -> None:
    states = encode(model, prompt, 1, 3)
    assert states.shape[0] == 1
    assert states.shape[1] % 77 == 0
    assert states.isfinite().all()
