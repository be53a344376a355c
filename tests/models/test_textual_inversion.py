"""Words that a text encoder was taught, in the three layouts of the field."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from jogak.image.prompt import encode
from jogak.models import load, resolve
from jogak.spec import SpecError
from tests.models.true_layout import make_folder

VECTORS = torch.randn(3, 64, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("ti") / "sd15", "sd15")


@pytest.fixture(autouse=True)
def _own_home(home: Path) -> None:
    """Sets go into a cache of the test's own."""


def word(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("key", ["emb_params", "<sk-fox>"])
def test_a_word_stands_for_its_vectors(sd15: Path, key: str, tmp_path: Path) -> None:
    """The text encoder sees just what it would see were the vectors in its vocabulary."""
    file = word(tmp_path / "sk-fox.safetensors", {key: VECTORS})
    plain, model = load(resolve(sd15, "torch")), load(resolve(sd15, "torch", embeddings=[file]))
    assert model.tokens("a SK-Fox, sk-foxes") == [
        *plain.tokens("a"), 49408, 49409, 49410, *plain.tokens(","), *plain.tokens("sk-foxes"),
    ]  # fmt: skip
    table = plain.networks.text_encoder.embeddings.token_embedding.weight  # type: ignore[attr-defined]
    three = plain.tokens("red green blue")
    known = table[three].clone()
    expected = model.encode_text(["a sk-fox"])
    table[three] = VECTORS
    try:
        assert torch.equal(plain.encode_text(["a red green blue"]), expected)
    finally:
        table[three] = known
    assert not torch.equal(plain.encode_text(["a sk-fox"]), expected)


def test_taught_words_take_weights_and_change_the_digest(sd15: Path, tmp_path: Path) -> None:
    file = word(tmp_path / "sk.safetensors", {"emb_params": VECTORS})
    ref = resolve(sd15, "torch", embeddings=[file])
    assert ref.digest != resolve(sd15, "torch").digest
    model = load(ref)
    assert encode(model, "a (sk:1.4) fox").shape == (1, 77, 64)
    assert not torch.equal(encode(model, "a (sk:1.4) fox"), encode(model, "a sk fox"))
    word(file, {"emb_params": VECTORS + 1})
    assert resolve(sd15, "torch", embeddings=[file]).digest != ref.digest


def test_several_words_and_a_korean_one(sd15: Path, tmp_path: Path) -> None:
    files = [
        word(tmp_path / "easynegative.safetensors", {"emb_params": VECTORS}),
        word(tmp_path / "easy.safetensors", {"emb_params": VECTORS[:1]}),
        word(tmp_path / "달빛.safetensors", {"emb_params": VECTORS[0]}),
    ]
    model = load(resolve(sd15, "torch", embeddings=files))
    assert model.tokens("easynegative") == [49408, 49409, 49410]
    assert model.tokens("easy") == [49411]
    assert model.tokens("달빛") == [49412]
    assert model.tokens("easynegative easy 달빛") == [49408, 49409, 49410, 49411, 49412]
    table = model.networks.text_encoder.embeddings.token_embedding.weight  # type: ignore[attr-defined]
    assert torch.equal(table[49408:], torch.cat([VECTORS, VECTORS[:1], VECTORS[:1]]))


def test_sdxl_learns_with_both_encoders(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "sdxl", "sdxl")
    both = {"clip_l": VECTORS[:2], "clip_g": torch.randn(2, 128, generator=torch.Generator().manual_seed(5))}
    file = word(tmp_path / "sk.safetensors", both)
    model = load(resolve(folder, "torch", embeddings=[file]))
    assert model.tokens("sk") == [49408, 49409]
    networks = model.networks
    assert torch.equal(networks.text_encoder.embeddings.token_embedding.weight[49408:], both["clip_l"])  # type: ignore[attr-defined]
    second = networks.text_encoder_2.text_model.embeddings.token_embedding.weight  # type: ignore[attr-defined]
    assert torch.equal(second[49408:], both["clip_g"])
    # both encoders, and the summary at the text's end, see what they would see were the vectors in the vocabulary
    plain = load(resolve(folder, "torch"))
    two = plain.tokens("red green")
    ours = plain.networks.text_encoder, plain.networks.text_encoder_2.text_model  # type: ignore[attr-defined]
    for encoder, vectors in zip(ours, both.values(), strict=True):
        encoder.embeddings.token_embedding.weight[two] = vectors
    torch.testing.assert_close(
        model.encode_text(["a sk fox"]), plain.encode_text(["a red green fox"]), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (
            {"emb_params": torch.zeros(2, 768)},
            "for another base: its vectors have 768 numbers, this model's 64",
        ),
        ({"clip_l": torch.zeros(2, 64), "clip_g": torch.zeros(2, 128)}, "for another base"),
        ({"emb_params": torch.zeros(76, 64)}, "a word has 1 to 75"),
        ({"a.b": torch.zeros(2, 64)}, "is no textual inversion"),
    ],
)
def test_what_is_no_word_of_this_base_is_refused(
    sd15: Path, tensors: dict[str, Tensor], words: str, tmp_path: Path
) -> None:
    file = word(tmp_path / "x.safetensors", tensors)
    with pytest.raises(SpecError, match=words):
        load(resolve(sd15, "torch", embeddings=[file]))


def test_two_words_of_one_name_are_refused(sd15: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [
        word(folder / name, {"emb_params": VECTORS})
        for folder, name in ((tmp_path, "Sk.safetensors"), (tmp_path / "other", "sk.safetensors"))
    ]
    with pytest.raises(SpecError, match="two textual inversions are called"):
        load(resolve(sd15, "torch", embeddings=files))
