"""A latent-diffusion model behind one small surface, whatever runs it.

Everything speaks the sigma scale of k-diffusion: `x = clean + sigma * noise`. What the network was trained on
(epsilon or v, which timesteps, which scale of latents) stays in here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from jogak.models.catalogue import family_of, memory_of
from jogak.models.memory import at_work, loading_type, place_denoiser, place_text_encoder, place_vae
from jogak.models.place import Place, open_place
from jogak.models.safe import read_json
from jogak.models.textual_inversion import learnt_words, teach
from jogak.models.vocabulary import vocabulary_of
from jogak.spec import ModelRef, SpecError
from jogak.spec.memory import Memory

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Schedule = Literal["trailing", "karras", "lcm"]

SMALLEST_ALPHA_BAR = 5e-8
"""Stands for the zero of a zero terminal SNR: sigma is then 4472, finite, and the picture in the noise
invisible."""
KARRAS_TOP = 14.6
"""Where Karras' spacing starts at the latest: the largest sigma of SD 1.5. Above it there is only noise, see
`sigmas`."""


class Networks(Protocol):
    """The four networks of a model. Tensors come and go on the CPU in float32; B is the batch."""

    extra_rows: int
    """Rows that `text` puts behind those of a chunk's tokens, for what a family tells the UNet besides them."""

    def text(self, ids: Tensor) -> Tensor:
        """(B, T) token ids -> (B, T + extra_rows, D) what the UNet attends to."""
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
        place = open_place(ref.folder)
        vae = place.config("vae")
        self.latent_channels: int = vae["latent_channels"]
        self.factor: int = 2 ** (len(vae["block_out_channels"]) - 1)
        """pixels of a side per latent"""
        self._scale: float = vae.get("scaling_factor") or 0.18215
        self._shift: float = vae.get("shift_factor") or 0.0
        self._log_sigmas = self._read_noise(place, place.config("scheduler"))
        self._read_words(place)

    def _read_noise(self, place: Place, scheduler: Mapping[str, Any]) -> Tensor:
        """The (timesteps,) float64 logarithms of sigma, ascending."""
        self.prediction: str = scheduler.get("prediction_type", "epsilon")
        if self.prediction not in ("epsilon", "v_prediction", "sample"):
            raise SpecError(f'{place.path}: the prediction type "{self.prediction}" is not known.')
        alpha_bar = _alpha_bar(scheduler)
        return ((1 - alpha_bar) / alpha_bar).log() / 2

    def _read_words(self, place: Place) -> None:
        """Tokenizer, special tokens, and how long a chunk is."""
        folder = place.tokenizer("tokenizer")
        self.text_length: int = place.config("text_encoder").get("max_position_embeddings", 77)
        """tokens in one chunk, start and end included"""
        self._tokenizer = read_tokenizer(folder)
        self._start, self._end, self._pad = special_tokens(folder, self._tokenizer)
        self._words = learnt_words(place)

    # text

    def tokens(self, text: str) -> list[int]:
        """Token ids of a text of any length, without start, end or padding. The words that textual inversions
        taught the model stand for as many tokens as they have vectors."""
        if not self._words:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        ids: list[int] = []
        for part in self._words.split(text):
            learnt = self._words.tokens(part)
            ids += learnt or self._tokenizer.encode(part, add_special_tokens=False).ids
        return ids

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

        `trailing` spaces the timesteps evenly and starts at the last one (Lin et al., arXiv 2305.08891); models
        that were distilled to few steps (Lightning, Turbo, Hyper) were taught at these. `lcm` takes only
        timesteps that a consistency model was distilled at (Luo et al., arXiv 2310.04378).
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
        elif schedule == "lcm":
            sigmas = self._log_sigmas[_lcm_times(count, steps)].exp()
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
        cond, uncond = self._same_length(cond, uncond)
        both = torch.cat([uncond.expand(batch, -1, -1), cond.expand(batch, -1, -1)])
        without, given = self._clean(torch.cat([x, x]), torch.cat([sigmas, sigmas]), both).chunk(2)
        return without + guidance * (given - without)

    def _same_length(self, cond: Tensor, uncond: Tensor) -> tuple[Tensor, Tensor]:
        """Both with as many rows: each repeated whole. Attention over k copies of all its keys is the same
        attention, so nothing but the length changes."""
        chunk = self.text_length + self.networks.extra_rows
        length = math.lcm(cond.shape[1] // chunk, uncond.shape[1] // chunk) * chunk
        return cond.repeat(1, length // cond.shape[1], 1), uncond.repeat(1, length // uncond.shape[1], 1)

    def _clean(self, x: Tensor, sigmas: Tensor, cond: Tensor) -> Tensor:
        """The prediction of the clean latents for (B, C, h, w), (B,) float32 and (B, N, D)."""
        x = x.float()
        sigma = sigmas.view(-1, 1, 1, 1)
        size = (sigma**2 + 1).sqrt()
        out = self.networks.unet(x / size, self.time_of(sigmas), cond)
        if self.prediction == "v_prediction":
            return x / size**2 - out * (sigma / size)
        if self.prediction == "epsilon":
            return x - out * sigma
        return out


LCM_STEPS = 50
"""The DDIM steps that latent consistency models are distilled from."""


def _lcm_times(count: int, steps: int) -> Tensor:
    """Timesteps of a consistency model, descending: `steps` of the `LCM_STEPS` that it was distilled at, evenly
    from the last one on, as diffusers' LCMScheduler takes them; all `trailing` ones when more are asked for."""
    taught = max(LCM_STEPS, steps)
    chosen = torch.arange(steps, dtype=torch.float64) * taught / steps
    return (count * (taught - chosen.floor()) / taught).long() - 1


def _karras(top: float, bottom: float, steps: int) -> Tensor:
    """Karras et al., eq. 5, rho 7: (steps,) float64 sigmas from top to bottom."""
    return torch.linspace(top ** (1 / 7), bottom ** (1 / 7), steps, dtype=torch.float64) ** 7


def load(ref: ModelRef) -> DiffusionModel:
    """The model that `ref` names, warm: loaded once per process, the last two are kept.

    Raises `SpecError` when the weights are not those that `ref` was made from, or are damaged or incomplete.
    """
    place = open_place(ref.folder)
    if place.digest(family_of(place).parts) != ref.digest:
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
    family = import_module(family_of(open_place(ref.folder)).module)
    if ref.numeric.startswith("torch-cuda"):
        return family.make(ref, "cuda", memory_of(ref.numeric))
    torch.set_num_threads(int(ref.numeric.rpartition("-t")[2]))
    return family.make(ref, "cpu", memory_of(ref.numeric))


def make(ref: ModelRef, device: str, memory: Memory) -> DiffusionModel:
    """A model of SD 1.5's build, pocket among them, on torch."""
    return DiffusionModel(ref, TorchNetworks(ref.folder, device, memory))


Condition = Callable[[Tensor, Tensor, Tensor], dict[str, Any]]
"""(x, timesteps, cond) as the UNet gets them -> further keyword arguments of its call: how adapters reach it."""


class TorchAutoencoder:
    """The autoencoder as a torch module, float32: what all families share."""

    def __init__(self, folder: Path, device: str = "cpu", memory: Memory | None = None) -> None:
        self.device = torch.device(device)
        self.memory = memory or Memory()
        self.vae = place_vae(build_vae(folder), self.device, self.memory)

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        with at_work(self.vae, self.device, self.memory):
            return self.vae.encode(pixels.to(self.device), return_dict=False)[0].mean.cpu()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        with at_work(self.vae, self.device, self.memory):
            return self.vae.decode(latents.to(self.device), return_dict=False)[0].cpu()


class TorchNetworks(TorchAutoencoder):
    """The networks as torch modules: float32 on the CPU; on CUDA float16, the autoencoder float32.

    `conditions` are asked before each pass of the UNet; adapters add themselves and take themselves out again.
    """

    extra_rows: int = 0

    def __init__(self, folder: Path, device: str = "cpu", memory: Memory | None = None) -> None:
        super().__init__(folder, device, memory)
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        """of the UNet's and the text encoder's arithmetic"""
        self.text_encoder = self._text_encoder(build_text_encoder, folder)
        unet = build_unet(folder, loading_type(self.dtype, self.memory.weights == "fp8"))
        self.unet_module = place_denoiser(unet, self.device, self.dtype, self.memory)
        self.conditions: list[Condition] = []

    def _text_encoder(self, build: Callable[[Path, torch.dtype], Any], folder: Path) -> Any:
        module = build(folder, loading_type(self.dtype, self.memory.text == "int8"))
        return place_text_encoder(module, self.device, self.dtype, self.memory)

    def unpack(self, x: Tensor, cond: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """`cond` as the UNet, or a ControlNet of its family, takes it: (B, N, D) text, and further keyword
        arguments. `x` (B, C, h, w) are the latents of the pass."""
        return cond, {}

    @torch.inference_mode()
    def text(self, ids: Tensor) -> Tensor:
        with at_work(self.text_encoder, self.device, self.memory):
            return self.text_encoder(input_ids=ids.to(self.device), return_dict=False)[0].float().cpu()

    @torch.inference_mode()
    def unet(self, x: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
        x, cond = x.to(self.device, self.dtype), cond.to(self.device, self.dtype)
        timesteps = timesteps.to(self.device)
        text, own = self.unpack(x, cond)
        more = _merged([own, *(condition(x, timesteps, cond) for condition in self.conditions)])
        with at_work(self.unet_module, self.device, self.memory):
            return self.unet_module(x, timesteps, text, return_dict=False, **more)[0].float().cpu()


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


def build_unet(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The `UNet2DConditionModel` of a model, on the CPU, in evaluation mode. `folder` is a model's place, a
    checkpoint file too."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return build_part(UNet2DConditionModel, open_place(folder), "unet", dtype)


def build_vae(folder: Path) -> Any:
    """The `AutoencoderKL` of a model, float32, in evaluation mode."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return build_part(AutoencoderKL, open_place(folder), "vae", rename=_modern_attention)


def build_part(
    kind: Any,
    place: Place,
    part: str,
    dtype: torch.dtype = torch.float32,
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda weights: weights,
) -> Any:
    """A network of diffusers' class `kind` from one part of a model, on the CPU, in evaluation mode."""
    config = {key: value for key, value in place.config(part).items() if not key.startswith("_")}
    return fill(lambda: kind.from_config(config), rename(place.weights(part)), place.path / part, dtype)


def build_text_encoder(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The `CLIPTextModel` of a model, on the CPU, in evaluation mode, with the words it was taught."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    place = open_place(folder)
    config = place.config("text_encoder")
    # files carry the prefix `text_model.`; transformers 5 dropped it in memory, and never saved the position
    # ids since
    weights = {
        name.removeprefix("text_model."): tensor
        for name, tensor in place.weights("text_encoder").items()
        if not name.endswith("position_ids")
    }

    def make() -> nn.Module:
        model = CLIPTextModel(CLIPTextConfig(**config))
        return getattr(model, "text_model", model)

    module = fill(make, weights, place.path / "text_encoder", dtype)
    teach(module.embeddings, learnt_words(place).vectors("clip_l"))
    return module


class _Skeleton(TorchFunctionMode):
    """While it is entered, what torch would make empty, to be filled, takes no memory and no time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.empty, torch.ones, torch.zeros):
            kwargs = (kwargs or {}) | {"device": "meta"}
        return func(*args, **(kwargs or {}))


def fill(
    make: Callable[[], nn.Module],
    weights: dict[str, Tensor],
    where: Path,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """A module made by `make` with exactly these weights, in `dtype`, in evaluation mode."""
    try:
        with _Skeleton():
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
    # a copy of its own in any case: a file that is only mapped may change while it is used
    module.load_state_dict(
        {name: tensor.to(dtype, copy=True) for name, tensor in weights.items()}, assign=True
    )
    return module.eval().requires_grad_(False)


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


def read_tokenizer(folder: Path) -> Tokenizer:
    """The CLIP tokenizer of a model folder. `tokenizer.json` needs no transformers, which takes seconds to
    import."""
    from tokenizers import Tokenizer

    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        else:
            from transformers.models.clip.tokenization_clip import CLIPTokenizer

            tokenizer = (
                CLIPTokenizer(**vocabulary_of(folder / "merges.txt"))
                if (folder / "merges.txt").is_file() and not (folder / "vocab.json").is_file()
                else CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            ).backend_tokenizer
    except Exception as error:  # the library raises a bare Exception for a bad file
        raise SpecError(f"{folder} holds no readable CLIP tokenizer: {str(error)[:200]}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def special_tokens(folder: Path, tokenizer: Tokenizer) -> tuple[int, int, int]:
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
