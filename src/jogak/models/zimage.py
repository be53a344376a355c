"""Z-Image: a transformer that reads the picture and the text in one sequence, trained by flow matching.

A family of another kind than SD's costs this file and one entry in the catalogue. Two conventions are
translated here, so that samplers, guidance, img2img and the rest stay as they are:

- Noise. Flow matching mixes `z = (1 - t)·clean + t·noise` and predicts `noise - clean`. With
  `x = clean + sigma·noise` and `t = sigma / (1 + sigma)` it is the same picture, `z = x / (1 + sigma)`, and
  `clean = z - t·prediction`. At t = 1 sigma is infinite: `MOST_NOISE` stands for it.
- Text. Qwen3 reads a chat whose only message is the prompt, up to 512 tokens; its last but one hidden states, without
  those of the padding, are what the transformer attends to. Here a chunk's rows are zero where there is padding, and
  turned in a circle so that the prompt's own tokens begin at row 1, as in a chunk of CLIP.

Guidance counts as in the house (1 is none); the papers' and diffusers' number is one less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jogak.models.diffusion import DiffusionModel, TorchAutoencoder, build_part, fill, read_tokenizer
from jogak.models.memory import at_work, loading_type, place_denoiser, place_text_encoder
from jogak.models.place import Place, open_place
from jogak.models.textual_inversion import learnt_words
from jogak.spec import ModelRef, SpecError
from jogak.spec.memory import Memory

LONGEST = 512
"""Tokens of a whole chat that the model was trained with."""
BEFORE, AFTER, PADDING = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|>"
"""What Qwen3's chat template writes around a message."""
MOST_NOISE = 4472.0
"""Stands for the infinite sigma of t = 1; the picture in such noise is invisible, as in models of zero SNR."""


def make(ref: ModelRef, device: str, memory: Memory) -> DiffusionModel:
    """A model of Z-Image's build, on torch."""
    return ZImage(ref, ZImageNetworks(ref.folder, device, memory))


class ZImage(DiffusionModel):
    """Z-Image behind the surface of `DiffusionModel`."""

    def _read_noise(self, place: Place, scheduler: Mapping[str, Any]) -> Tensor:
        if scheduler.get("use_dynamic_shifting"):
            raise SpecError(
                f"{place.path} shifts its noise with the picture's size (use_dynamic_shifting), which is not done yet."
            )
        self.prediction = "flow"
        count, shift = int(scheduler.get("num_train_timesteps", 1000)), float(scheduler.get("shift", 1.0))
        times = torch.arange(1, count + 1, dtype=torch.float64) / count
        times = shift * times / (1 + (shift - 1) * times)
        return (times / (1 - times)).clamp(max=MOST_NOISE).log()

    def _read_words(self, place: Place) -> None:
        if place.embeddings:
            raise SpecError(f"{place.path}: textual inversions are for CLIP's text encoders; leave them out.")
        self._tokenizer = read_tokenizer(place.tokenizer("tokenizer"))
        self._words = learnt_words(place)
        self._before, self._after, padding = (self._special(text) for text in (BEFORE, AFTER, PADDING))
        self._pad = padding[0]
        # counted as in CLIP's chunks: the prompt's tokens, and two more
        self.text_length = LONGEST - len(self._before) - len(self._after) + 2

    def _special(self, text: str) -> list[int]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        marks = [mark for mark in ("<|im_start|>", "<|im_end|>", PADDING) if mark in text]
        if not ids or any(self._tokenizer.token_to_id(mark) is None for mark in marks):
            raise SpecError(
                f"{self.ref.folder}: its tokenizer has no {marks[0]}; copy the whole model again."
            )
        return ids

    def chunk(self, tokens: Sequence[int]) -> list[int]:
        if len(tokens) > self.text_length - 2:
            raise ValueError(f"{len(tokens)} tokens do not fit a chunk of {self.text_length - 2}")
        chunk = [*self._before, *tokens, *self._after]
        return chunk + [self._pad] * (LONGEST - len(chunk))

    def encode_tokens(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """Chunks as made by `chunk` -> (B, 512, D)."""
        states = super().encode_tokens(chunks)
        return states.roll(1 - len(self._before), dims=1)

    def _same_length(self, cond: Tensor, uncond: Tensor) -> tuple[Tensor, Tensor]:
        """Filled with rows of zeros, which count as padding: this attention knows places, so no copies."""
        length = max(cond.shape[1], uncond.shape[1])
        cond, uncond = (nn.functional.pad(rows, (0, 0, 0, length - rows.shape[1])) for rows in (cond, uncond))
        return cond, uncond

    def _clean(self, x: Tensor, sigmas: Tensor, cond: Tensor) -> Tensor:
        size = (1 + sigmas).view(-1, 1, 1, 1)
        rows = cond.unflatten(1, (-1, LONGEST)).roll(len(self._before) - 1, dims=2).flatten(1, 2)
        z, t = x.float() / size, sigmas / (1 + sigmas)
        return z - t.view(-1, 1, 1, 1) * self.networks.unet(z, t, rows)


class ZImageNetworks(TorchAutoencoder):
    """Z-Image's networks: float32 on the CPU, bfloat16 on CUDA (its activations overflow float16)."""

    extra_rows: int = 0

    def __init__(self, folder: Path, device: str = "cpu", memory: Memory | None = None) -> None:
        super().__init__(folder, device, memory)
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        text = build_qwen(folder, loading_type(self.dtype, self.memory.text == "int8"))
        self.text_encoder = place_text_encoder(text, self.device, self.dtype, self.memory)
        transformer = build_transformer(folder, loading_type(self.dtype, self.memory.weights == "fp8"))
        self.transformer = place_denoiser(transformer, self.device, self.dtype, self.memory)
        tokenizer = read_tokenizer(open_place(folder).tokenizer("tokenizer"))
        self._pad = tokenizer.token_to_id(PADDING)

    @torch.inference_mode()
    def text(self, ids: Tensor) -> Tensor:
        real = ids != self._pad
        with at_work(self.text_encoder, self.device, self.memory):
            out = self.text_encoder(
                input_ids=ids.to(self.device), attention_mask=real.to(self.device), output_hidden_states=True
            )
        return out.hidden_states[-2].float().cpu() * real[..., None]

    @torch.inference_mode()
    def unet(self, x: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
        """(B, C, h, w) latents `z`, (B,) times t of the flow, (B, N, D) text -> (B, C, h, w) noise - clean."""
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise SpecError(
                "the sides of a picture by Z-Image are multiples of 16 pixels; choose another --size."
            )
        x, cond = x.to(self.device, self.dtype), cond.to(self.device, self.dtype)
        words = [rows[rows.any(dim=1)] for rows in cond]
        with at_work(self.transformer, self.device, self.memory):
            # its own clock runs from noise to picture, and its prediction points that way
            out = self.transformer(
                list(x[:, :, None]), (1 - timesteps).to(self.device, self.dtype), words, return_dict=False
            )[0]
        return -torch.stack([picture[:, 0] for picture in out]).float().cpu()


def build_transformer(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The `ZImageTransformer2DModel` of a model, on the CPU, in evaluation mode."""
    from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel

    return build_part(ZImageTransformer2DModel, open_place(folder), "transformer", dtype)


def build_qwen(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The `Qwen3Model` of a model, on the CPU, in evaluation mode."""
    from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
    from transformers.models.qwen3.modeling_qwen3 import Qwen3Model

    place = open_place(folder)
    config = Qwen3Config(**place.config("text_encoder"))
    # saved as the whole language model, or as what is below its head
    weights = {
        name.removeprefix("model."): tensor
        for name, tensor in place.weights("text_encoder").items()
        if not name.startswith("lm_head.")
    }
    return fill(lambda: Qwen3Model(config), weights, place.path / "text_encoder", dtype)
