"""The loop: batches in, a LoRA out. One process by default; under `accelerate launch` as many as it starts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from jogak.adapters.kohya import write_kohya
from jogak.models.samplers import sample_dpmpp_2m
from jogak.spec import ModelRef, SpecError
from jogak.spec.dataset import Dataset
from jogak.spec.training import UNIMPORTANT, TrainRequest
from jogak.store import Cancelled, current
from jogak.training.base import noise_levels, take_base
from jogak.training.cache import Example
from jogak.training.checkpoint import (
    STATE,
    LossLog,
    State,
    checkpoint_name,
    half,
    load_state,
    metadata,
    save_state,
    settings_digest,
)
from jogak.training.lora import for_file, inject
from jogak.training.objective import (
    draw_noise,
    generator_for,
    losses,
    noised,
    snr_weight,
    target,
)
from jogak.training.order import Entry, Order, Slot

LOSSES = "losses.jsonl"
VALIDATION_LEVELS = 4
"""Noise levels at which each held-out picture is looked at."""
VALIDATION_SEEN = 4
"""Training pictures looked at in the same way, so that the gap between seen and unseen can be read."""
PREVIEW_GUIDANCE = 4.0


@dataclass(frozen=True)
class Material:
    """What the loop learns from, all of it computed beforehand."""

    data: Dataset
    """as it goes into the file's metadata"""
    seen: tuple[Example, ...]
    held_out: tuple[Example, ...]
    prior: tuple[Example, ...]
    repeats: tuple[int, ...]
    """times each of `seen` counts in an epoch"""
    captions: Mapping[str, Tensor]
    """(N, D) states of every caption and of the empty one; none when the text encoder trains"""
    said: Mapping[str, tuple[str, ...]]
    """captions of `seen` -> what the network is told in their place, one of these each time"""
    digest: str
    """of all of this: another digest is another training"""


@dataclass(frozen=True)
class Outcome:
    """What came of a training."""

    checkpoints: tuple[Path, ...]
    """in the order of their steps, the last is the finished one"""
    done: int
    """steps in all"""
    now: int
    """steps in this process"""
    seconds: float
    """spent on them, validation and previews included"""
    last_loss: float
    """mean of the last tenth of the losses"""


def explicit_precision(wish: str) -> str:
    """`auto` as what this machine computes fast: bf16 where its processor has it, else fp32.

    Raises `SpecError` for fp16 without a GPU.
    """
    if torch.cuda.is_available():
        return ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if wish == "auto" else wish
    if wish == "fp16":
        raise SpecError("fp16 needs a CUDA GPU, and there is none here; use --precision bf16 or fp32.")
    has = torch.cpu.get_capabilities()
    fast = has.get("avx512_bf16") or has.get("amx_bf16") or has.get("bf16")
    return ("bf16" if fast else "fp32") if wish == "auto" else wish


def train(request: TrainRequest, material: Material, ref: ModelRef, folder: Path) -> Outcome:
    """Train, or go on training, in `folder`; every setting of the request is spelled out.

    Runs inside a run of the store, whose progress and cancellation it uses. Raises `SpecError` when the folder
    holds a training of other settings, and `Cancelled` after the state was saved when the person stops it.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    mode = "no" if request.precision == "fp32" else request.precision
    accelerator = Accelerator(mixed_precision=mode, cpu=not torch.cuda.is_available())
    try:
        return _Training(request, material, ref, folder, accelerator).run()
    finally:
        accelerator.free_memory()
        # the next training in this process may want another precision
        AcceleratorState._reset_state()


class _Training:
    def __init__(
        self, request: TrainRequest, material: Material, ref: ModelRef, folder: Path, accelerator: Any
    ) -> None:
        self._request, self._material, self._folder, self._accelerator = (
            request,
            material,
            folder,
            accelerator,
        )
        self._ref = ref
        half_weights = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(request.precision, torch.float32)
        # on a GPU the frozen weights are kept in half; on the CPU casting anew each step measured faster
        dtype = half_weights if accelerator.device.type == "cuda" else torch.float32
        self._base, self._dtype = take_base(ref, dtype), dtype
        self._levels = noise_levels(self._base.model)
        torch.manual_seed(request.seed)  # the adapter's first weights
        self._weights = self._inject()
        self._ema = (
            {name: weight.detach().clone() for name, weight in self._weights.items()} if request.ema else {}
        )
        self._optimizer = accelerator.prepare(self._make_optimizer())
        self._unet = accelerator.prepare(self._base.unet)
        self._encoder = accelerator.prepare(self._base.text_encoder) if request.text_encoder else None
        self._order = Order(self._entries(), request.batch, request.seed)
        self._examples = (*material.seen, *material.prior)
        self._done = self._restore()

    # building

    def _inject(self) -> dict[str, torch.nn.Parameter]:
        request = self._request
        weights = {f"unet.{name}": one for name, one in inject(self._base.unet, request).items()}
        if request.text_encoder:
            found = inject(self._base.text_encoder, request, text=True)
            weights |= {f"text.{name}": one for name, one in found.items()}
            self._base.text_encoder.train()
        self._base.unet.train()
        if request.gradient_checkpointing:
            # the UNet's alone: next to it a text encoder's activations are small
            self._base.unet.enable_gradient_checkpointing()
        return weights

    def _make_optimizer(self) -> torch.optim.Optimizer:
        request = self._request
        groups = [{"params": self._part("unet"), "lr": request.lr, "peak": request.lr}]
        if request.text_encoder:
            peak = request.text_lr or request.lr
            groups.append({"params": self._part("text"), "lr": peak, "peak": peak})
        return _OPTIMIZERS[request.optimizer](groups, request)

    def _part(self, prefix: str) -> list[torch.nn.Parameter]:
        return [weight for name, weight in self._weights.items() if name.startswith(prefix)]

    def _entries(self) -> list[Entry]:
        material, request = self._material, self._request
        own = [
            Entry((one.width, one.height), repeats, mirrors=request.flip)
            for one, repeats in zip(material.seen, material.repeats, strict=True)
        ]
        prior = [
            Entry((one.width, one.height), weight=request.prior_weight, prior=True) for one in material.prior
        ]
        return own + prior

    def _restore(self) -> int:
        """Steps done already, their state put back."""
        path = self._folder / STATE
        if not path.exists():
            return 0
        state = load_state(path)
        if state.settings != self._settings:
            raise SpecError(
                f"{self._folder} holds a training with other settings, pictures, weights or number of processes. "
                f"Choose another folder with -o, or remove {path} to begin anew there."
            )
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state.weights[name])
        self._optimizer.load_state_dict(state.optimizer)
        self._ema = {name: tensor.to(self._accelerator.device) for name, tensor in state.ema.items()}
        if self._accelerator.scaler is not None and state.scaler:
            self._accelerator.scaler.load_state_dict(dict(state.scaler))
        return state.step

    @property
    def _settings(self) -> str:
        request = self._request.model_dump(mode="json", exclude=set(UNIMPORTANT) | {"base", "prior", "name"})
        facts = [self._material.digest, self._ref.digest, self._accelerator.num_processes]
        return settings_digest([request, *facts])

    # running

    def run(self) -> Outcome:
        request, here = self._request, current()
        main = self._accelerator.is_main_process
        begun, first = time.perf_counter(), self._done
        log = LossLog(self._folder / LOSSES, self._done) if main else None
        last: list[float] = []
        if main and log and self._done == 0:
            self._look(log)
        try:
            while self._done < request.steps:
                line = self._step()
                last = [*last, line["loss"]][-max(1, request.steps // 10) :]
                if main and log:
                    log.add(line)
                    self._after_step(log)
                here.progress(self._done, request.steps, f"loss {sum(last) / len(last):.4f}")
                here.check_cancel()
        except Cancelled:
            if main:
                self._save_state()
            raise
        finally:
            if log:
                log.close()
        if main and not self._files()[-1].exists():
            self._export(last=True)
        seconds = time.perf_counter() - begun
        mean = sum(last) / len(last) if last else math.nan
        return Outcome(self._files(), self._done, self._done - first, seconds, mean)

    def _step(self) -> dict[str, Any]:
        request, accelerator = self._request, self._accelerator
        rate = self._set_rates()
        total = torch.zeros(())
        at = 0
        for micro in range(request.accumulate):
            at = (
                self._done * request.accumulate + micro
            ) * accelerator.num_processes + accelerator.process_index
            with self._unsynced() if micro + 1 < request.accumulate else nullcontext():
                loss = self._loss(self._order.batch(at), at)
                accelerator.backward(loss / request.accumulate)
            total += loss.detach().float().cpu() / request.accumulate
        norm = accelerator.clip_grad_norm_(list(self._weights.values()), request.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._done += 1
        self._average()
        if accelerator.num_processes > 1:
            total = accelerator.reduce(total.to(accelerator.device), "mean").cpu()
        if not math.isfinite(total.item()) and accelerator.scaler is None:
            raise SpecError(
                f"the loss is no number any more at step {self._done}; lower --lr (now {request.lr:g}) or use --precision "
                "fp32. The last state and checkpoints are kept."
            )
        epoch = self._order.epoch_of(at)
        return {"step": self._done, "loss": total.item(), "lr": rate, "epoch": epoch, "norm": float(norm)}

    @contextmanager
    def _unsynced(self) -> Iterator[None]:
        """Gradients of this batch stay in this process; the last batch of the step brings all together."""
        from contextlib import ExitStack

        with ExitStack() as stack:
            for module in (self._unet, self._encoder):
                if module is not None:
                    stack.enter_context(self._accelerator.no_sync(module))
            yield

    def _set_rates(self) -> float:
        factor = rate_factor(self._done, self._request)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        return self._optimizer.param_groups[0]["lr"]

    def _loss(self, slots: Sequence[Slot], number: int) -> Tensor:
        request = self._request
        generator = generator_for(request.seed, "step", number)
        examples = [self._examples[slot.index] for slot in slots]
        clean = torch.stack([_latents(one, slot) for one, slot in zip(examples, slots, strict=True)])
        times = torch.randint(len(self._levels), (len(slots),), generator=generator)
        noise = draw_noise(clean.shape, request.noise_offset, generator)
        dropped = (torch.rand(len(slots), generator=generator) < request.caption_dropout).tolist()
        captions = [
            "" if drop else self._words(one.caption, generator)
            for one, drop in zip(examples, dropped, strict=True)
        ]
        weights = torch.tensor([slot.weight for slot in slots])
        return (
            self._errors(examples, clean, noise, times, captions, slots, self._unet, train=True)
            .mul(weights.to(self._accelerator.device))
            .mean()
        )

    def _words(self, caption: str, generator: torch.Generator) -> str:
        """The caption, or one of its shortened ones."""
        said = self._material.said.get(caption, ())
        if len(said) < 2:
            return caption
        return said[int(torch.randint(len(said), (), generator=generator))]

    def _errors(
        self,
        examples: Sequence[Example],
        clean: Tensor,
        noise: Tensor,
        times: Tensor,
        captions: Sequence[str],
        slots: Sequence[Slot],
        unet: Any,
        train: bool,
    ) -> Tensor:
        """(B,) weighted errors of the network at these noise levels."""
        request, device = self._request, self._accelerator.device
        prediction = self._base.model.prediction
        sigma = self._levels[times]
        x = noised(clean, noise, sigma).to(device, self._dtype)
        arguments = self._base.unet_arguments(x, self._text(captions, train))
        said = unet(x, times.to(device), return_dict=False, **arguments)[0]
        wanted = target(clean, noise, sigma, prediction).to(device)
        weight = snr_weight(sigma, prediction, request.min_snr_gamma).to(device)
        mask = self._masks(examples, slots)
        return losses(said, wanted, weight, None if mask is None else mask.to(device))

    def _text(self, captions: Sequence[str], train: bool) -> Tensor:
        """(B, N, D); with gradients when the text encoder trains."""
        if self._request.text_encoder:
            text = self._base.trained_text(captions, self._encoder if train else self._base.text_encoder)
        else:
            text = torch.stack([self._material.captions[caption] for caption in captions])
        return text.to(self._accelerator.device, self._dtype)

    def _masks(self, examples: Sequence[Example], slots: Sequence[Slot]) -> Tensor | None:
        if not any(one.mask is not None for one in examples):
            return None
        floor = self._request.unmasked_weight
        masks: list[Tensor] = []
        for one, slot in zip(examples, slots, strict=True):
            mask = torch.ones(1, *one.latents.shape[-2:]) if one.mask is None else one.mask
            mask = mask.flip(-1) if slot.mirrored else mask
            masks.append(floor + (1 - floor) * mask)
        return torch.stack(masks)

    @torch.no_grad()
    def _average(self) -> None:
        # a young mean forgets faster, or it would stay with the first weights
        decay = min(self._request.ema, (1 + self._done) / (10 + self._done))
        for name, mean in self._ema.items():
            mean.lerp_(self._weights[name].detach(), 1 - decay)

    # looking and keeping

    def _after_step(self, log: LossLog) -> None:
        request, done = self._request, self._done
        last = done == request.steps

        def due(every: int) -> bool:
            return bool(every) and (done % every == 0 or last)

        if due(request.validate_every) or due(request.sample_every):
            self._look(log, validate=due(request.validate_every), preview=due(request.sample_every))
        if last or due(request.save_every):
            self._export(last)
        if due(request.state_every) or due(request.save_every):
            self._save_state()

    def _look(self, log: LossLog, validate: bool = True, preview: bool = True) -> None:
        request = self._request
        with self._averaged(), torch.inference_mode():
            if validate and request.validate_every:
                log.add({"step": self._done} | self.validate())
            if preview and request.sample_every:
                self._preview()

    def validate(self) -> dict[str, float | None]:
        """Mean errors on held-out pictures and on some of the seen, always with the same noise and levels."""
        material = self._material
        return {
            "held_out": self._fixed_errors(material.held_out),
            "seen": self._fixed_errors(material.seen[:VALIDATION_SEEN]),
        }

    def _fixed_errors(self, examples: Sequence[Example]) -> float | None:
        if not examples:
            return None
        found: list[Tensor] = []
        spots = (torch.arange(VALIDATION_LEVELS) + 0.5) / VALIDATION_LEVELS * len(self._levels)
        times = spots.long()
        for one in examples:
            generator = generator_for(self._request.seed, "validation", one.name)
            clean = one.latents.expand(VALIDATION_LEVELS, *one.latents.shape)
            noise = torch.randn(clean.shape, generator=generator)
            same = [one] * VALIDATION_LEVELS
            slots = [Slot(0, False, 1.0)] * VALIDATION_LEVELS
            captions = [one.caption] * VALIDATION_LEVELS
            found.append(
                self._errors(same, clean, noise, times, captions, slots, self._base.unet, train=False).cpu()
            )
        return torch.cat(found).mean().item()

    def _preview(self) -> None:
        request, model = self._request, self._base.model
        first = self._material.seen[0]
        prompts = request.sample_prompts or (first.caption or request.trigger or "a picture",)
        uncond = model.encode_text([""])
        for number, prompt in enumerate(prompts):
            cond = model.encode_text([prompt])
            shape = (1, model.latent_channels, first.height // model.factor, first.width // model.factor)
            noise = torch.randn(shape, generator=generator_for(request.seed, "preview", number))
            sigmas = model.sigmas(request.sample_steps)

            def denoise(x: Tensor, sigma: float, cond: Tensor = cond) -> Tensor:
                return model.denoise(x, sigma, cond, uncond, PREVIEW_GUIDANCE)

            latents = sample_dpmpp_2m(denoise, sigmas[0] * noise, sigmas)
            pixels = ((model.decode(latents)[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            path = self._folder / "samples" / f"step{self._done:06d}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(path)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The running mean in the place of the weights, where there is one."""
        kept = {name: self._weights[name].detach().clone() for name in self._ema}
        self._put(self._ema)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, tensor in weights.items():
            self._weights[name].copy_(tensor)

    def _export(self, last: bool) -> None:
        request = self._request
        tensors = half(for_file(dict(self._ema or self._weights), request))
        unet, text = (
            {
                name.removeprefix(f"{part}."): one
                for name, one in tensors.items()
                if name.startswith(f"{part}.")
            }
            for part in ("unet", "text")
        )
        about = metadata(
            request,
            self._material.data,
            architecture=self._base.architecture,
            version=self._base.version,
            base_name=self._ref.folder.name,
            base_digest=self._ref.digest,
            step=self._done,
            epoch=self._order.epoch_of(self._done * request.accumulate * self._accelerator.num_processes - 1)
            + 1,
            prediction=self._base.model.prediction,
            trigger=request.trigger,
        )
        path = self._folder / checkpoint_name(request.name, None if last else self._done)
        write_kohya(path, unet, text, about, request.alpha)

    def _save_state(self) -> None:
        scaler = self._accelerator.scaler
        save_state(
            self._folder / STATE,
            State(
                step=self._done,
                settings=self._settings,
                weights=self._weights,
                optimizer=self._optimizer.state_dict(),
                ema=self._ema,
                scaler={} if scaler is None else scaler.state_dict(),
            ),
        )

    def _files(self) -> tuple[Path, ...]:
        name = self._request.name
        return (*sorted(self._folder.glob(f"{name}-step*.safetensors")), self._folder / checkpoint_name(name))


def _latents(example: Example, slot: Slot) -> Tensor:
    return example.mirrored if slot.mirrored and example.mirrored is not None else example.latents


def rate_factor(step: int, request: TrainRequest) -> float:
    """The share of the peak learning rate at a step (from 0): a straight rise, then a cosine or a plain."""
    rise = round(request.warmup * request.steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    if request.scheduler == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - rise) / max(1, request.steps - rise))) / 2


def _adamw(groups: list[dict[str, Any]], request: TrainRequest) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, weight_decay=request.weight_decay)


def _adamw8bit(groups: list[dict[str, Any]], request: TrainRequest) -> torch.optim.Optimizer:
    from bitsandbytes.optim import AdamW8bit  # pyright: ignore[reportMissingImports]

    return AdamW8bit(groups, weight_decay=request.weight_decay)


def _prodigy(groups: list[dict[str, Any]], request: TrainRequest) -> torch.optim.Optimizer:
    from prodigyopt import Prodigy  # pyright: ignore[reportMissingImports]

    # the settings that its authors give for diffusion models
    return Prodigy(
        groups,
        weight_decay=request.weight_decay,
        decouple=True,
        use_bias_correction=True,
        safeguard_warmup=True,
    )


_OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], TrainRequest], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw8bit": _adamw8bit,
    "prodigy": _prodigy,
}
_PACKAGES = {"adamw8bit": "bitsandbytes", "prodigy": "prodigyopt"}


def check_optimizer(name: str) -> None:
    """Raises `SpecError` when the optimizer's package is not installed."""
    if name == "adamw8bit" and not torch.cuda.is_available():
        raise SpecError(
            "--optimizer adamw8bit needs a CUDA GPU, and there is none here; use --optimizer adamw."
        )
    package = _PACKAGES.get(name)
    if package and find_spec(package) is None:
        raise SpecError(
            f'--optimizer {name} needs the {package} package: pip install "jogak[optimizers]", or use --optimizer adamw.'
        )
