from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPModel, CLIPTokenizer

from jogak.judge import clip
from jogak.judge.clip import Judge, classify, clip_score, judge_ref, load_judge, word_vectors
from jogak.spec import JogakError

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 24, 40, 3), np.uint8)
TEXTS = ["a fox in the snow", "눈밭의 여우", "🦊", "x" * 400]


def test_scores_are_those_of_the_stock_model(judge: Judge, judge_folder: Path) -> None:
    model = CLIPModel.from_pretrained(judge_folder, local_files_only=True).eval()
    tokens = CLIPTokenizer.from_pretrained(judge_folder)(
        TEXTS, padding="longest", truncation=True, max_length=77, return_tensors="pt"
    )
    pixels = torch.tensor(PICTURES).permute(0, 3, 1, 2).float() / 127.5 - 1
    pixels = F.interpolate(pixels, (32, 32), mode="bilinear", antialias=True)
    with torch.inference_mode():
        out = model(input_ids=tokens["input_ids"], pixel_values=pixels)
        expected = 100 * (out.image_embeds * out.text_embeds).sum(1).numpy()
    np.testing.assert_allclose(clip_score(judge, PICTURES, TEXTS), expected, atol=1e-3)


def test_embeddings_are_unit_vectors_whatever_the_batch(judge: Judge) -> None:
    seen, read = judge.see(PICTURES, batch=3), judge.read(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(seen, judge.see(PICTURES), atol=1e-5)
    # padding to the longest of a batch must not be seen
    np.testing.assert_allclose(read[0], judge.read(TEXTS[:1])[0], atol=1e-5)


def test_classify_names_the_nearest_word_first(judge: Judge) -> None:
    words = ["fox", "여우", "ship", "moon"]
    found = classify(judge, PICTURES, words, clip.PROMPTS["ko"], k=3)
    cosines = judge.see(PICTURES) @ word_vectors(judge, words, clip.PROMPTS["ko"]).T
    assert [best[0].word for best in found] == [words[i] for i in cosines.argmax(1)]
    assert all(len(best) == 3 and best[0].share >= best[1].share >= best[2].share for best in found)
    everything = classify(judge, PICTURES, words, k=4)
    assert all(sum(guess.share for guess in best) == pytest.approx(1, abs=1e-5) for best in everything)


def test_braces_in_a_word_are_just_braces(judge: Judge) -> None:
    assert word_vectors(judge, ["{0.__class__}"], ["{}", "a {}"]).shape == (1, 16)


def test_another_number_of_texts_is_refused(judge: Judge) -> None:
    with pytest.raises(JogakError, match="a text for each picture"):
        clip_score(judge, PICTURES, ["one"])


def test_a_folder_without_safetensors_is_refused(judge_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(judge_folder, folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    torch.save(CLIPModel.from_pretrained(judge_folder).state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(JogakError, match="safetensors"):
        Judge(folder)
    with pytest.raises(JogakError, match="absent"):
        Judge(tmp_path / "absent")


def test_a_damaged_file_is_refused_in_one_sentence(judge_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(judge_folder, folder)
    path = sorted(folder.glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(JogakError) as caught:
        Judge(folder)
    assert "\n" not in str(caught.value)


def test_the_reference_follows_the_weights_not_the_place(judge_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(judge_folder, copy)
    assert judge_ref(copy).digest == judge_ref(judge_folder).digest
    path = sorted(copy.glob("*.safetensors"))[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert judge_ref(copy).digest != judge_ref(judge_folder).digest
    with pytest.raises(JogakError, match="no folder"):
        judge_ref(tmp_path / "absent")


def test_the_shipped_judge_loads_and_reads_both_languages() -> None:
    shipped = load_judge()
    vectors = shipped.read(["a fox", "여우", "a ship"])
    assert vectors.shape[0] == 3
    assert np.isfinite(vectors).all()
    assert shipped.scale > 0
