"""BLIP and WD14 taggers, read from small folders of the true layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from jogak.models.captioners import Blip, Wd14
from jogak.spec import JogakError, SpecError
from tests.models.tiny_onnx import write_tagger

TAGS = [
    ("general", "9"),
    ("some_hero_(film)", "4"),
    ("red_scarf", "0"),
    ("blue_sky", "0"),
    (">_<", "0"),
    ("rare", "0"),
]


@pytest.fixture(scope="module")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration

    folder = tmp_path_factory.mktemp("blip")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fox", "arafed", "in", "meadow", "[DEC]"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(3)
    text = {
        "vocab_size": len(words), "hidden_size": 32, "encoder_hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "bos_token_id": 10, "sep_token_id": 3, "eos_token_id": 3,
        "pad_token_id": 0, "max_position_embeddings": 64,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 64, "patch_size": 16,
    }  # fmt: skip
    model = BlipForConditionalGeneration(
        BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    )
    model.save_pretrained(folder)
    prepared = {
        "image_processor_type": "BlipImageProcessor", "size": {"height": 64, "width": 64}, "resample": 3,
        "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_convert_rgb": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    return folder


@pytest.fixture
def picture() -> np.ndarray:
    small = np.random.default_rng(5).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    return np.asarray(PIL.Image.fromarray(small).resize((150, 100), PIL.Image.Resampling.BICUBIC))


def test_blip_sees_and_says_what_transformers_own_parts_do(blip_folder: Path, picture: np.ndarray) -> None:
    from transformers import BertTokenizer, BlipForConditionalGeneration
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    blip = Blip(blip_folder)
    theirs = BlipImageProcessorPil.from_pretrained(blip_folder, local_files_only=True)
    pixels = theirs(images=PIL.Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    assert torch.allclose(blip.pixels(picture), pixels, atol=1e-5)

    model = BlipForConditionalGeneration.from_pretrained(blip_folder, local_files_only=True).eval()
    ids = model.generate(pixel_values=pixels, num_beams=3, max_new_tokens=40, do_sample=False)
    said = BertTokenizer.from_pretrained(blip_folder).decode(ids[0], skip_special_tokens=True)
    assert blip.caption(picture) == " ".join(said.replace("arafed", "").split())
    assert blip.caption(picture) == blip.caption(picture)
    assert "arafed" not in blip.caption(picture)


def test_blip_folders_that_are_none_are_refused(blip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(JogakError, match="is no folder"):
        Blip(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="has no safetensors"):
        Blip(tmp_path / "empty")
    folder = tmp_path / "blip"
    shutil.copytree(blip_folder, folder)
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 9999999, "width": 1}}')
    with pytest.raises(SpecError, match="holds no BLIP"):
        Blip(folder)
    shutil.copy(blip_folder / "preprocessor_config.json", folder)
    (folder / "model.safetensors").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(SpecError, match="is a pickle"):
        Blip(folder)


@pytest.fixture
def tagger_folder(tmp_path: Path) -> Path:
    # BGR in 0..255: the scarf looks at the last channel (red), the sky at the first (blue)
    weights = np.zeros((3, len(TAGS)), np.float32)
    weights[2, 2], weights[0, 3] = 0.1, 0.1
    bias = np.array([5, 5, -12, -12, 0.5, -5], np.float32)
    return write_tagger(tmp_path / "wd", TAGS, weights, bias)


def test_wd14_sees_bgr_and_says_general_tags_above_its_bar(tagger_folder: Path) -> None:
    tagger = Wd14(tagger_folder)
    red = np.zeros((448, 448, 3), np.uint8)
    red[..., 0] = 200
    said = tagger.tags(red)
    assert [tag.tag for tag in said] == ["red scarf", ">_<"], (
        "neither a rating nor a character, and no rare tag"
    )
    assert said[0].share == pytest.approx(1 / (1 + np.exp(-8)), abs=0.01)
    assert said[1].share == pytest.approx(1 / (1 + np.exp(-0.5)), abs=0.01)
    assert [tag.tag for tag in tagger.tags(red[..., ::-1].copy())] == ["blue sky", ">_<"]
    assert [tag.tag for tag in tagger.tags(red, bar=0.9)] == ["red scarf"]


def test_wd14_pads_square_with_white_and_keeps_the_whole_picture(tagger_folder: Path) -> None:
    pixels = Wd14(tagger_folder).pixels(np.zeros((100, 200, 3), np.uint8))
    assert pixels.shape == (1, 448, 448, 3)
    assert pixels.dtype == np.float32
    assert (pixels[0, 0] == 255).all()
    assert (pixels[0, 224] == 0).all()
    assert pixels[0, :, 100, 0].mean() == pytest.approx(127.5, abs=2), "half of it is padding"


def test_wd14_folders_that_are_none_are_refused(tagger_folder: Path, tmp_path: Path) -> None:
    table = tagger_folder / "selected_tags.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(rows[:-1]))
    with pytest.raises(SpecError, match=r"gives 6 tags and selected_tags\.csv lists 5"):
        Wd14(tagger_folder)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(SpecError, match="not the table of a WD14 tagger"):
        Wd14(tagger_folder)
    table.write_text("\n".join(rows))
    (tagger_folder / "model.onnx").write_bytes(b"hello")
    with pytest.raises(SpecError, match=r"model\.onnx cannot be run"):
        Wd14(tagger_folder)
    (tagger_folder / "model.onnx").unlink()
    (tagger_folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(SpecError, match=r"no model\.onnx \(its safetensors need the timm library\)"):
        Wd14(tagger_folder)
