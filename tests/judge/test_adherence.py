from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil, CLIPModel

from jogak.judge.adherence import adherence_scores, load_clip, margins
from jogak.spec import JogakError

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 48, 80, 3), np.uint8)
SIGHT = {
    "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "resample": 3,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip


@pytest.fixture
def openai_like(judge_folder: Path, tmp_path: Path) -> Path:
    """A CLIP folder as it is published: one file, its preprocessor beside it, position ids saved."""
    folder = tmp_path / "CLIP ViT-tiny"
    model = CLIPModel.from_pretrained(judge_folder)
    shutil.copytree(judge_folder, folder)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    ids = {"text_model": torch.arange(77)[None], "vision_model": torch.arange(17)[None]}
    save_file(
        weights | {f"{name}.embeddings.position_ids": tensor for name, tensor in ids.items()},
        folder / "model.safetensors",
    )
    (folder / "preprocessor_config.json").write_text(json.dumps(SIGHT))
    return folder


def test_a_published_folder_sees_as_its_preprocessor_says(openai_like: Path, judge_folder: Path) -> None:
    model = CLIPModel.from_pretrained(openai_like).eval()
    pixels = CLIPImageProcessorPil(**SIGHT)(images=list(PICTURES), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        pooled = model.vision_model(pixel_values=pixels).pooler_output
        expected = torch.nn.functional.normalize(model.visual_projection(pooled), dim=-1).numpy()
    seen = load_clip(openai_like).see(PICTURES)
    # Pillow rounds to bytes between scaling and normalising, torch does not
    assert (seen * expected).sum(1).min() > 0.999
    # the same weights looked through as pocket's judge looks would have seen something else
    assert (load_clip(judge_folder).see(PICTURES) * expected).sum(1).max() < 0.99


def test_a_folder_without_preprocessor_is_read_as_pockets_judge(judge_folder: Path) -> None:
    found = load_clip(judge_folder)
    assert type(found).__name__ == "Judge"


@pytest.mark.parametrize(
    "wrong",
    ["[]", "{}", "{", json.dumps(SIGHT | {"crop_size": 16}), json.dumps(SIGHT | {"image_std": [0, 1, 1]})],
)
def test_a_preprocessor_that_makes_no_sense_is_refused_in_a_sentence(openai_like: Path, wrong: str) -> None:
    (openai_like / "preprocessor_config.json").write_text(wrong)
    with pytest.raises(JogakError, match="holds no CLIP") as caught:
        load_clip(openai_like)
    assert "\n" not in str(caught.value)


def test_margins_by_hand() -> None:
    seen, read = np.eye(3), np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    np.testing.assert_allclose(margins(seen, read, ["a", "b", "c"]), [100, 100, 100])
    np.testing.assert_allclose(margins(seen, np.roll(read, 1, 0), ["a", "b", "c"]), [-50, -50, -50])


def test_prompts_that_read_the_same_count_once() -> None:
    seen = np.array([[1.0, 0], [0, 1.0], [0.6, 0.8]])
    read = np.array([[1.0, 0], [0, 1.0], [1.0, 0]])
    np.testing.assert_allclose(margins(seen, read, ["a", "b", "a"]), [100, 100, -20])
    with pytest.raises(JogakError, match="two different"):
        margins(seen, read, ["a", "a", "a"])


def test_margin_of_pictures_that_have_nothing_to_do_with_their_words_is_zero() -> None:
    rng = np.random.default_rng(1)
    seen, read = (rng.normal(size=(400, 8)) for _ in range(2))
    seen, read = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (seen, read))
    scores = adherence_scores(seen, read, [str(i) for i in range(400)], "eye")
    assert [score.name for score in scores] == ["clip_score/eye", "clip_margin/eye"]
    low, high = scores[1].low, scores[1].high
    assert low is not None
    assert high is not None
    assert low < 0 < high
    right = adherence_scores(seen, seen, [str(i) for i in range(400)], "eye")
    assert right[0].value == pytest.approx(100)
    assert right[1].low is not None
    assert right[1].low > 95


def test_a_picture_without_its_prompt_is_refused() -> None:
    with pytest.raises(JogakError, match="a prompt for each"):
        adherence_scores(np.eye(3), np.eye(3), ["a", "b"], "eye")
