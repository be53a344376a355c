"""A latent-diffusion model behind one small surface, whatever runs it.

Everything speaks the sigma scale of k-diffusion: `x = clean + sigma * noise`. What the network was trained on
(epsilon or v, which timesteps, which scale of latents) stays in here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from jogak.models.catalogue import PARTS
from jogak.models.safe import folder_digest, read_json, read_weights
from jogak.spec import ModelRef, SpecError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Schedule = Literal["trailing", "karras"]

SMALLEST_ALPHA_BAR = 5e-8
"""Stands for the zero of a zero terminal SNR: sigma is then 4472, finite, and the picture in the noise
invisible."""
KARRAS_TOP = 14.6
"""Where Karras' spacing starts at the latest: the largest sigma of SD 1.5. Above it there is only noise, see
`sigmas`."""


class Networks(Protocol):
    """The four networks of a model. Tensors come and go on the CPU in float32; B is the batch."""

    def text(self, ids: Tensor) -> Tensor:
        """(B, T) token ids -> (B, T, D) last hidden states."""
        ...

    def unet(self, x: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
        """(B, C, h, w) scaled noisy latents, (B,) timesteps, (B, N, D) text -> (B, C, h, w) prediction."""
        ...

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) pixels in [-1, 1] -> (B, C, h, w) mean latents, not scaled."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) latents, not scaled -> (B, 3, H, W) pixels."""
        ...


class DiffusionModel:
    """A loaded model. Made by `load`; safe to use from several threads."""

    def __init__(self, ref: ModelRef, networks: Networks) -> None:
        self.ref = ref
        self.networks = networks
        vae = read_json(ref.folder / "vae" / "config.json")
        scheduler = read_json(ref.folder / "scheduler" / "scheduler_config.json")
        self.latent_channels: int = vae["latent_channels"]
        self.factor: int = 2 ** (len(vae["block_out_channels"]) - 1)
        """pixels of a side per latent"""
        self.text_length: int = _text_config(ref.folder).get("max_position_embeddings", 77)
        """tokens in one chunk, start and end included"""
        self.prediction: str = scheduler.get("prediction_type", "epsilon")
        self._scale: float = vae.get("scaling_factor") or 0.18215
        self._shift: float = vae.get("shift_factor") or 0.0
        self._alpha_bar = _alpha_bar(scheduler)
        self._log_sigmas = ((1 - self._alpha_bar) / self._alpha_bar).log() / 2
        self._tokenizer = _tokenizer(ref.folder / "tokenizer")
        self._start, self._end, self._pad = _special_tokens(ref.folder / "tokenizer", self._tokenizer)
        if self.prediction not in ("epsilon", "v_prediction", "sample"):
            raise SpecError(f'{ref.folder}: the prediction type "{self.prediction}" is not known.')

    # text

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text of any length, without start, end or padding."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def chunk(self, tokens: Sequence[int]) -> list[int]:
        """At most `text_length - 2` tokens as one chunk: start, tokens, end, padding to `text_length`."""
        if len(tokens) > self.text_length - 2:
            raise ValueError(f"{len(tokens)} tokens do not fit a chunk of {self.text_length - 2}")
        chunk = [self._start, *tokens, self._end]
        return chunk + [self._pad] * (self.text_length - len(chunk))

    def encode_tokens(self, chunks: Sequence[Sequence[int]]) -> Tensor:
        """Chunks as made by `chunk` -> (B, text_length, D)."""
        return self.networks.text(torch.tensor(chunks, dtype=torch.int64))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Plain texts -> (B, text_length, D); what does not fit one chunk is cut. Weights, `BREAK` and long
        prompts are the business of `jogak.image.prompt`."""
        return self.encode_tokens([self.chunk(self.tokens(text)[: self.text_length - 2]) for text in texts])

    # pixels

    def encode(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) pixels in [-1, 1], sides multiples of `factor` -> (B, C, H/f, W/f) scaled latents (the
        mean)."""
        return (self.networks.encode(pixels.float()) - self._shift) * self._scale

    def decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) scaled latents -> (B, 3, h·f, w·f) pixels in [-1, 1]."""
        return self.networks.decode(latents.float() / self._scale + self._shift).clamp(-1, 1)

    # noise

    @property
    def sigma_min(self) -> float:
        return math.exp(self._log_sigmas[0].item())

    @property
    def sigma_max(self) -> float:
        return math.exp(self._log_sigmas[-1].item())

    def sigmas(self, steps: int, schedule: Schedule = "trailing") -> Tensor:
        """A descending (steps + 1,) float32 tensor from `sigma_max` to 0.

        `trailing` spaces the timesteps evenly and starts at the last one (Lin et al., arXiv 2305.08891).
        `karras` (Karras et al., eq. 5, rho 7) crowds them towards the picture. A model with zero terminal SNR
        starts at a sigma of thousands, where nothing but noise is left and Karras' spacing would spend half
        its steps; so the first step jumps from there to `KARRAS_TOP`, or to where `trailing` would jump when
        that is lower.
        """
        if steps < 1:
            raise ValueError("a schedule has at least one step")
        count = len(self._log_sigmas)
        times = torch.arange(count, 0, -count / steps, dtype=torch.float64)[:steps].round() - 1
        trailing = self._log_sigmas[times.clamp(min=0).long()].exp()
        if schedule == "trailing":
            sigmas = trailing
        elif self.sigma_max < 2 * KARRAS_TOP or steps == 1:
            sigmas = _karras(self.sigma_max, self.sigma_min, steps)
        else:
            after_jump = _karras(min(KARRAS_TOP, trailing[1].item()), self.sigma_min, steps - 1)
            sigmas = torch.cat([trailing[:1], after_jump])
        return torch.cat([sigmas, torch.zeros(1)]).float()

    def time_of(self, sigma: Tensor) -> Tensor:
        """Timestep, fractional, at each sigma of a tensor; outside the trained range the nearest end of
        it."""
        logs = sigma.double().log()
        high = torch.searchsorted(self._log_sigmas, logs).clamp(1, len(self._log_sigmas) - 1)
        below, above = self._log_sigmas[high - 1], self._log_sigmas[high]
        return (high - 1 + ((logs - below) / (above - below)).clamp(0, 1)).float()

    # the network

    def denoise(
        self,
        x: Tensor,
        sigma: float | Tensor,
        cond: Tensor,
        uncond: Tensor | None = None,
        guidance: float = 1.0,
    ) -> Tensor:
        """The clean latents that the model sees in `x = clean + sigma * noise`; float32, shape of `x`.

        `x` is (B, C, h, w); `sigma` a number or a (B,) tensor; `cond` and `uncond` are (B or 1, N, D), N a
        multiple of `text_length`. With `uncond` and a guidance other than 1 both run in one batch and the
        result is `uncond + guidance * (cond - uncond)` (classifier-free guidance).
        """
        batch = x.shape[0]
        sigmas = torch.as_tensor(sigma, dtype=torch.float32).expand(batch)
        if uncond is None or guidance == 1.0:
            return self._clean(x, sigmas, cond.expand(batch, -1, -1))
        cond, uncond = _same_length(cond, uncond, self.text_length)
        both = torch.cat([uncond.expand(batch, -1, -1), cond.expand(batch, -1, -1)])
        without, given = self._clean(torch.cat([x, x]), torch.cat([sigmas, sigmas]), both).chunk(2)
        return without + guidance * (given - without)

    def _clean(self, x: Tensor, sigmas: Tensor, cond: Tensor) -> Tensor:
        x = x.float()
        sigma = sigmas.view(-1, 1, 1, 1)
        size = (sigma**2 + 1).sqrt()
        out = self.networks.unet(x / size, self.time_of(sigmas), cond)
        if self.prediction == "v_prediction":
            return x / size**2 - out * (sigma / size)
        if self.prediction == "epsilon":
            return x - out * sigma
        return out


def _karras(top: float, bottom: float, steps: int) -> Tensor:
    """Karras et al., eq. 5, rho 7: (steps,) float64 sigmas from top to bottom."""
    return torch.linspace(top ** (1 / 7), bottom ** (1 / 7), steps, dtype=torch.float64) ** 7


def load(ref: ModelRef) -> DiffusionModel:
    """The model that `ref` names, warm: loaded once per process, the last two are kept.

    Raises `SpecError` when the weights are not those that `ref` was made from, or are damaged or incomplete.
    """
    if folder_digest(ref.folder, PARTS) != ref.digest:
        raise SpecError(
            f"the weights in {ref.folder} changed after they were looked up; run the command again."
        )
    with _loading:
        return _load(ref.to_json())


_loading = threading.Lock()


@lru_cache(maxsize=2)
def _load(ref_json: str) -> DiffusionModel:
    ref = ModelRef.model_validate_json(ref_json)
    if ref.numeric.startswith("openvino-"):
        from jogak.models.openvino_backend import OpenVinoNetworks

        return DiffusionModel(ref, OpenVinoNetworks(ref))
    if ref.numeric.startswith("torch-cuda"):
        return DiffusionModel(ref, TorchNetworks(ref.folder, "cuda"))
    torch.set_num_threads(int(ref.numeric.rpartition("-t")[2]))
    return DiffusionModel(ref, TorchNetworks(ref.folder, "cpu"))


Condition = Callable[[Tensor, Tensor, Tensor], dict[str, Any]]
"""(x, timesteps, cond) as the UNet gets them -> further keyword arguments of its call: how adapters reach it."""


class TorchNetworks:
    """The networks as torch modules: float32 on the CPU; on CUDA float16, the autoencoder float32.

    `conditions` are asked before each pass of the UNet; adapters add themselves and take themselves out again.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.text_encoder, self.unet_module, self.vae = (
            build(folder).to(self.device) for build in (build_text_encoder, build_unet, build_vae)
        )
        if self.device.type == "cuda":
            self.text_encoder, self.unet_module = self.text_encoder.half(), self.unet_module.half()
        self._dtype: torch.dtype = self.unet_module.dtype
        self.conditions: list[Condition] = []

    @torch.inference_mode()
    def text(self, ids: Tensor) -> Tensor:
        return self.text_encoder(input_ids=ids.to(self.device), return_dict=False)[0].float().cpu()

    @torch.inference_mode()
    def unet(self, x: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
        x, cond = x.to(self.device, self._dtype), cond.to(self.device, self._dtype)
        timesteps = timesteps.to(self.device)
        more = _merged(condition(x, timesteps, cond) for condition in self.conditions)
        return self.unet_module(x, timesteps, cond, return_dict=False, **more)[0].float().cpu()

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        return self.vae.encode(pixels.to(self.device), return_dict=False)[0].mean.cpu()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents.to(self.device), return_dict=False)[0].cpu()


def _merged(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Keyword arguments of several adapters as one: residuals of several ControlNets add up."""
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if name not in merged:
                merged[name] = value
            elif isinstance(value, Tensor):
                merged[name] = merged[name] + value
            elif isinstance(value, dict):
                merged[name] = merged[name] | value
            else:
                merged[name] = [a + b for a, b in zip(merged[name], value, strict=True)]
    return merged


# Classes are imported by their own modules, and only when something is built: `from diffusers import *`
# breaks once onnxruntime is installed, and diffusers and transformers together take four seconds to import.


def build_unet(folder: Path) -> Any:
    """The `UNet2DConditionModel` of a model folder, float32, in evaluation mode."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config = read_json(folder / "unet" / "config.json")
    weights = read_weights(folder / "unet", "diffusion_pytorch_model")
    return _fill(lambda: _from_config(UNet2DConditionModel, config), weights, folder / "unet")


def build_vae(folder: Path) -> Any:
    """The `AutoencoderKL` of a model folder, float32, in evaluation mode."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config = read_json(folder / "vae" / "config.json")
    weights = read_weights(folder / "vae", "diffusion_pytorch_model")
    return _fill(lambda: _from_config(AutoencoderKL, config), _modern_attention(weights), folder / "vae")


def build_text_encoder(folder: Path) -> Any:
    """The `CLIPTextModel` of a model folder, float32, in evaluation mode."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    config = _text_config(folder)
    # files carry the prefix `text_model.`; transformers 5 dropped it in memory, and never saved the position
    # ids since
    weights = {
        name.removeprefix("text_model."): tensor
        for name, tensor in read_weights(folder / "text_encoder", "model").items()
        if not name.endswith("position_ids")
    }

    def make() -> nn.Module:
        model = CLIPTextModel(CLIPTextConfig(**config))
        return getattr(model, "text_model", model)

    return _fill(make, weights, folder / "text_encoder")


def _from_config(kind: Any, config: Mapping[str, Any]) -> nn.Module:
    return kind.from_config({key: value for key, value in config.items() if not key.startswith("_")})


def _fill(make: Callable[[], nn.Module], weights: dict[str, Tensor], where: Path) -> nn.Module:
    """A module made by `make` with exactly these weights, float32, in evaluation mode."""
    try:
        module = make()
    except (TypeError, ValueError, KeyError) as error:
        raise SpecError(
            f"{where}/config.json describes no network that can be built: {str(error)[:200]}"
        ) from None
    wanted = module.state_dict()
    odd = sorted(wanted.keys() ^ weights.keys())
    if odd:
        verb = "lack" if odd[0] in wanted else "have an unknown"
        raise SpecError(f"the weights in {where} {verb} {odd[0]} ({len(odd)} names differ from config.json).")
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            raise SpecError(
                f"the weights in {where}: {name} is {tuple(tensor.shape)}, "
                f"config.json wants {tuple(wanted[name].shape)}."
            )
    module.load_state_dict(weights)
    return module.float().eval().requires_grad_(False)


def _modern_attention(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of an old autoencoder's attention (SD 1.5 files keep them) as diffusers names them today."""
    new = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        *path, last = name.split(".")
        if ".attentions." in name and path[-1] in new:
            # the oldest files hold these linear layers as 1×1 convolutions
            name, tensor = (
                ".".join((*path[:-1], new[path[-1]], last)),
                tensor.flatten(1) if tensor.ndim == 4 else tensor,
            )
        renamed[name] = tensor
    return renamed


def _text_config(folder: Path) -> dict[str, Any]:
    return read_json(folder / "text_encoder" / "config.json")


def _alpha_bar(config: Mapping[str, Any]) -> Tensor:
    """The (timesteps,) float64 share of signal variance at each timestep, never quite 0."""
    count, start, end = (config.get(key) for key in ("num_train_timesteps", "beta_start", "beta_end"))
    kind = config.get("beta_schedule")
    if config.get("trained_betas") is not None or kind not in ("linear", "scaled_linear"):
        raise SpecError(f'the noise schedule "{kind}" is not known; linear and scaled_linear are.')
    if not (isinstance(count, int) and count > 1 and isinstance(start, float) and isinstance(end, float)):
        raise SpecError("scheduler_config.json lacks num_train_timesteps, beta_start or beta_end.")
    power = 2 if kind == "scaled_linear" else 1
    betas = torch.linspace(start ** (1 / power), end ** (1 / power), count, dtype=torch.float64) ** power
    signal = (1 - betas).cumprod(0).sqrt()
    if config.get("rescale_betas_zero_snr"):
        # Lin et al., arXiv 2305.08891, algorithm 1: shift the last to 0, scale so that the first stays
        signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    return (signal**2).clamp(min=SMALLEST_ALPHA_BAR)


def _tokenizer(folder: Path) -> Tokenizer:
    """The CLIP tokenizer of a model folder. `tokenizer.json` needs no transformers, which takes seconds to
    import."""
    from tokenizers import Tokenizer

    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        else:
            from transformers.models.clip.tokenization_clip import CLIPTokenizer

            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    except Exception as error:  # the library raises a bare Exception for a bad file
        raise SpecError(f"{folder} holds no readable CLIP tokenizer: {str(error)[:200]}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _special_tokens(folder: Path, tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Ids of the tokens that start, end and fill a chunk."""
    config = (
        read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    )
    ids: list[int] = []
    for key, usual in (
        ("bos_token", "<|startoftext|>"),
        ("eos_token", "<|endoftext|>"),
        ("pad_token", "<|endoftext|>"),
    ):
        value = config.get(key) or usual
        token = value.get("content", usual) if isinstance(value, dict) else str(value)
        number = tokenizer.token_to_id(token)
        if number is None:
            raise SpecError(f"{folder}: the vocabulary lacks {token!r}, its {key}.")
        ids.append(number)
    return ids[0], ids[1], ids[2]


def _same_length(cond: Tensor, uncond: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Both with as many tokens: each repeated whole. Attention over k copies of all its keys is the same
    attention, so nothing but the length changes."""
    length = math.lcm(cond.shape[1] // chunk, uncond.shape[1] // chunk) * chunk
    return cond.repeat(1, length // cond.shape[1], 1), uncond.repeat(1, length // uncond.shape[1], 1)
