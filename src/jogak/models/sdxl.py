"""SDXL: a UNet told by two text encoders, the second one's summary of the whole text, and the picture's size
(Podell et al., arXiv 2307.01952).

To the rest of the house it is a model like another. What its UNet hears beside the tokens travels in the same
tensor: behind the rows of a chunk's tokens stands one more, which holds the summary; `unpack` takes it out again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jogak.models.diffusion import (
    DiffusionModel,
    TorchNetworks,
    fill,
    read_tokenizer,
    special_tokens,
)
from jogak.models.memory import at_work
from jogak.models.place import open_place
from jogak.models.safe import read_json
from jogak.models.textual_inversion import learnt_words, teach
from jogak.spec import ModelRef
from jogak.spec.memory import Memory


def make(ref: ModelRef, device: str, memory: Memory) -> DiffusionModel:
    """A model of SDXL's build, on torch."""
    return DiffusionModel(ref, SdxlNetworks(ref.folder, device, memory))


class SdxlNetworks(TorchNetworks):
    """SDXL's networks; see `TorchNetworks`. `text_encoder_2` is the larger encoder, with its projection."""

    extra_rows: int = 1

    def __init__(self, folder: Path, device: str = "cpu", memory: Memory | None = None) -> None:
        super().__init__(folder, device, memory)
        self.text_encoder_2 = self._text_encoder(build_text_encoder_2, folder)
        place = open_place(folder)
        self._factor = 2 ** (len(place.config("vae")["block_out_channels"]) - 1)
        first, second = place.tokenizer("tokenizer"), place.tokenizer("tokenizer_2")
        self._start, self._end, self._pad = special_tokens(first, read_tokenizer(first))
        self._pad_2 = special_tokens(second, read_tokenizer(second))[2] if second != first else 0
        self._empty_is_zero = _empty_is_zero(place.path)

    @torch.inference_mode()
    def text(self, ids: Tensor) -> Tensor:
        """(B, T) token ids -> (B, T + 1, D): the last but one hidden states of both encoders side by side, and
        in the last row the summary, filled with zeros. A chunk without a word is all zeros, as in training."""
        with at_work(self.text_encoder, self.device, self.memory):
            first, _ = _hidden(self.text_encoder, ids.to(self.device))
        others = self._as_second(ids)
        with at_work(self.text_encoder_2, self.device, self.memory):
            second, last = _hidden(self.text_encoder_2.text_model, others.to(self.device))
            # the summary stands where the text ends; taught words have higher ids than the end, so no argmax
            ends = (ids == self._end).int().argmax(dim=1).to(self.device)
            summary = self.text_encoder_2.text_projection(last[torch.arange(len(ids)), ends])
        tokens = torch.cat([first, second], dim=-1)
        row = nn.functional.pad(summary, (0, tokens.shape[-1] - summary.shape[-1]))
        states = torch.cat([tokens, row[:, None]], dim=1).float().cpu()
        if self._empty_is_zero:
            states[ids[:, 1] == self._end] = 0
        return states

    def _as_second(self, ids: Tensor) -> Tensor:
        """The same chunks with the second encoder's padding."""
        behind = torch.arange(ids.shape[1]) > (ids == self._end).int().argmax(dim=1, keepdim=True)
        return ids.masked_fill(behind, self._pad_2)

    def unpack(self, x: Tensor, cond: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """`cond` (B, 78·chunks, D) -> (B, 77·chunks, D) text; the first chunk's summary and the picture's size
        (whole, not cut out of a larger one) as the keyword argument `added_cond_kwargs`."""
        length = self.text_encoder.config.max_position_embeddings
        chunks = cond.unflatten(1, (-1, length + 1))
        summary = chunks[:, 0, -1, : self.text_encoder_2.config.projection_dim]
        height, width = x.shape[2] * self._factor, x.shape[3] * self._factor
        sizes = torch.tensor([height, width, 0, 0, height, width], device=cond.device, dtype=cond.dtype)
        added = {"text_embeds": summary, "time_ids": sizes.expand(len(cond), -1)}
        return chunks[:, :, :-1].flatten(1, 2), {"added_cond_kwargs": added}


def build_text_encoder_2(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The `CLIPTextModelWithProjection` of a model, on the CPU, in evaluation mode, with the words it was
    taught."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

    place = open_place(folder)
    config = CLIPTextConfig(**place.config("text_encoder_2"))
    weights = {n: t for n, t in place.weights("text_encoder_2").items() if not n.endswith("position_ids")}
    module: Any = fill(
        lambda: CLIPTextModelWithProjection(config), weights, place.path / "text_encoder_2", dtype
    )
    teach(module.text_model.embeddings, learnt_words(place).vectors("clip_g"))
    return module


def _hidden(encoder: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T) ids -> the last but one and, after the final norm, the last hidden states, (B, T, D) each."""
    out = encoder(input_ids=ids, output_hidden_states=True, return_dict=True)
    return out.hidden_states[-2], out.last_hidden_state


def _empty_is_zero(path: Path) -> bool:
    """`force_zeros_for_empty_prompt` of model_index.json; a single file has none, SDXL's own says yes."""
    index = path / "model_index.json"
    return bool(read_json(index).get("force_zeros_for_empty_prompt", True)) if index.is_file() else True
