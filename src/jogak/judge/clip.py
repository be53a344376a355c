"""The judging CLIP: a small bilingual CLIP with a seed and widths of its own; it trained no part of pocket.

A judge is a folder with a `CLIPModel` in safetensors (one file or shards), its `config.json` and a
`CLIPTokenizer`. Pictures are stretched to the square of `vision_config.image_size` and scaled to -1..1, as in
its training. Source: Radford et al. 2021, arXiv:2103.00020; clip_score as in Hessel et al. 2021,
arXiv:2104.08718, without its factor 2.5 and without clipping at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jogak.judge.features import check_images, resized
from jogak.models.clip import ClipTowers
from jogak.models.safe import folder_digest
from jogak.spec import JogakError, ModelRef

BACKBONE = "pocket-judge"
FOLDER = Path(str(files("jogak.models"))) / "weights" / BACKBONE
PROMPTS = {
    "en": ("{}", "a picture of {}", "{} on a white background"),
    "ko": ("{}", "{} 그림", "흰 배경 앞의 {}"),
}
"""How a word is said to the judge; the sentences' embeddings are averaged (Radford et al., section 3.1.4)."""


class Guess(NamedTuple):
    word: str
    share: float
    """Of the softmax over all the words, 0..1."""


class Judge(ClipTowers):
    """A loaded judging CLIP. Embeddings are unit vectors (N, D) float32."""

    def __init__(self, folder: Path, what: str = "judge") -> None:
        super().__init__(folder, what)

    def see(self, images: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
        """images (N, H, W, 3) uint8 RGB, N ≥ 1, any size."""
        check_images(images)
        parts = (images[first : first + batch] for first in range(0, len(images), batch))
        return np.concatenate([self.embed(self._prepared(part)) for part in parts])

    def _prepared(self, images: NDArray[np.uint8]) -> Tensor:
        """Stretched to the square that the network sees, -1..1."""
        return resized(images, self.side) / 127.5 - 1


@cache
def load_judge(folder: Path = FOLDER) -> Judge:
    """The judge of a folder, once per process. Raises `JogakError` when the folder holds none."""
    return Judge(folder)


def judge_ref(folder: Path = FOLDER) -> ModelRef:
    """The judge as a step sees it: its digest goes into the cache key, so another judge judges anew."""
    if not folder.is_dir():
        raise JogakError(f"{folder} is no folder; give one with a CLIPModel and its tokenizer.")
    digest = folder_digest(folder, ["."])
    return ModelRef(name=folder.name, family="clip", folder=folder, digest=digest, numeric="torch-fp32")


def clip_score(judge: Judge, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
    """100 × cosine of each picture to its text: images (N, H, W, 3) uint8, N texts → (N,), in -100..100.

    Its name is `clip_score/<judge>`; scores of different judges cannot be compared.
    """
    if len(images) != len(texts):
        raise JogakError(f"clip_score takes a text for each picture, not {len(texts)} for {len(images)}.")
    return 100 * (judge.see(images) * judge.read(texts)).sum(1)


def word_vectors(judge: Judge, words: Sequence[str], prompts: Sequence[str]) -> NDArray[np.float32]:
    """One unit vector for each word, (W, D): the mean over the prompts, in each of which `{}` is the word."""
    said = judge.read([prompt.replace("{}", word) for word in words for prompt in prompts])
    means = said.reshape(len(words), len(prompts), -1).mean(1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def classify(
    judge: Judge,
    images: NDArray[np.uint8],
    words: Sequence[str],
    prompts: Sequence[str] = PROMPTS["en"],
    k: int = 5,
) -> list[list[Guess]]:
    """Zero-shot naming: the `k` likeliest words for each picture, best first; ties keep the words' order."""
    logits = judge.scale * judge.see(images) @ word_vectors(judge, words, prompts).T
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :k]
    return [
        [Guess(words[int(i)], float(row[i])) for i in best] for row, best in zip(shares, order, strict=True)
    ]
