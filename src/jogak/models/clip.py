"""The two towers of a CLIP in transformers' layout (Radford et al. 2021, arXiv:2103.00020), by their folder.

Who looks decides how a picture is brought to the network's size; the towers and the reading of words are the same
for the judge, for any CLIP that scores, and for the tagger.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from jogak.models.safe import read_weights
from jogak.spec import JogakError, SpecError

_LEGACY = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")
"""Buffers that older files hold and the network of today makes itself."""


class ClipTowers:
    """A `CLIPModel` in safetensors with its `config.json` and `CLIPTokenizer`. Embeddings are unit rows (N, D) float32.

    Raises `JogakError`, which calls it a `what`, when the folder holds none.
    """

    def __init__(self, folder: Path, what: str = "CLIP") -> None:
        # half of the time that a film answered from the store takes was spent importing this
        from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

        self.name = folder.name
        try:
            config = CLIPConfig.from_pretrained(folder, local_files_only=True)
            state = read_weights(folder, "model")
            self.side = int(config.to_dict()["vision_config"]["image_size"])
            """Pixels of the square that the network sees."""
            self._model = CLIPModel(config)
            self._model.load_state_dict(
                {name: tensor.float() for name, tensor in state.items() if name not in _LEGACY}
            )
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, TypeError, KeyError, SpecError) as error:
            reason = " ".join(str(error).split())[:200]
            raise JogakError(
                f"{folder} holds no {what} (CLIPModel in safetensors with its tokenizer): {reason}"
            ) from None
        self._model.eval().requires_grad_(False)

    @torch.inference_mode()
    def embed(self, pixels: Tensor) -> NDArray[np.float32]:
        """(N, 3, side, side) float32, normalised as the network expects."""
        pooled = self._model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self._model.visual_projection(pooled), dim=-1).numpy()

    @torch.inference_mode()
    def read(self, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """N ≥ 1 sentences; what lies beyond 77 tokens is not read."""
        rows = []
        for first in range(0, len(texts), batch):
            tokens = self._tokenizer(
                list(texts[first : first + batch]),
                truncation=True, max_length=77, padding="longest", return_tensors="pt",
            )  # fmt: skip
            pooled = self._model.text_model(input_ids=tokens["input_ids"]).pooler_output
            rows.append(F.normalize(self._model.text_projection(pooled), dim=-1))
        return torch.cat(rows).numpy()

    @property
    def scale(self) -> float:
        """What cosines are multiplied by before a softmax."""
        return float(self._model.logit_scale.exp())
