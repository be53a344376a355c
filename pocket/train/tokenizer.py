"""A byte-level BPE of CLIP's kind, trained on our own Korean and English captions.

python -m pocket.train.tokenizer build/sources build/tokenizer
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from jogak.models.captions import caption
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites, load_sources
from pocket.train.nets import TEXT_LENGTH, VOCABULARY

START, END = "<|startoftext|>", "<|endoftext|>"
PATTERN = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def train(captions: Iterable[str], folder: Path, size: int = VOCABULARY) -> None:
    """Write `vocab.json` and `merges.txt` (and what CLIPTokenizer adds) into `folder`. START is id 0, END id 1."""
    bpe = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 256,
        special_tokens=[START, END],
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    model = json.loads(bpe.to_str())["model"]
    vocab: dict[str, int] = model["vocab"]
    # every byte must also stand alone at a word's end, or a rare letter becomes END and cuts the prompt
    for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
        if f"{byte}</w>" not in vocab:
            vocab[f"{byte}</w>"] = len(vocab)
    if len(vocab) > size:
        raise ValueError(
            f"the vocabulary has {len(vocab)} entries, the model {size}: train with a smaller size"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    merges = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    CLIPTokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=TEXT_LENGTH,
    ).save_pretrained(folder)


def sample_captions(sources: Path, count: int) -> Iterable[str]:
    """Captions of random scenes, half of them Korean."""
    rows = load_sources(sources)
    nothing = Sprites(
        np.zeros((0, 4, 1, 1), np.uint8), {(concept, look): i for i, (concept, look, _) in enumerate(rows)}
    )
    sampler, rng = SceneSampler(nothing), random.Random(1)
    for i in range(count):
        yield caption(sampler.scene(rng), "ko" if i % 2 else "en", rng)


if __name__ == "__main__":
    train(sample_captions(Path(sys.argv[1]), 200_000), Path(sys.argv[2]))
