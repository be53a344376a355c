"""What the training scripts share: a feed of scenes, an average of weights, a schedule, a log with its throughput."""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from transformers import CLIPTokenizer

from jogak.models.captions import Lang, Scene, Telling
from pocket.data import wrong
from pocket.data.compose import Layout
from pocket.data.scenes import SceneSampler
from pocket.train.nets import TEXT_LENGTH

H100_BF16_FLOPS = 790e12
"""Measured on a large matrix product; model FLOP utilisation is given against this."""


class SceneFeed(IterableDataset):
    """Endless batches of (layout, token ids) for one aspect; every worker has its own seed.

    Token ids are (B, languages, 77) int16: the first caption in either language, the second in the other.
    With `negatives`, the share of scenes that get wrong captions where they can (pocket.data.wrong), they are
    (B, 2 * languages, 77): the right ones, then the wrong ones in the same languages. A row of nothing but
    padding stands where there is no wrong caption.
    """

    def __init__(
        self,
        sampler: SceneSampler,
        batch: int,
        aspect: float,
        seed: int,
        tokenizer: Path | None,
        languages: int,
        negatives: float = 0.0,
    ) -> None:
        self.sampler, self.batch, self.aspect, self.seed = sampler, batch, aspect, seed
        self.negatives = negatives
        self.languages = languages if tokenizer else 0
        self.tokenizer = CLIPTokenizer.from_pretrained(tokenizer) if tokenizer else None

    def __iter__(self) -> Iterator[tuple[Layout, Tensor]]:
        info = torch.utils.data.get_worker_info()
        rng = random.Random(self.seed * 1000 + (info.id if info else 0))
        while True:
            yield self.make(rng)

    def make(self, rng: random.Random) -> tuple[Layout, Tensor]:
        scenes: list[Scene] = [self.sampler.scene(rng) for _ in range(self.batch)]
        layout = self.sampler.layout(scenes, rng, self.aspect)
        texts = [text for scene in scenes for text in self.captions(scene, rng)]
        if self.tokenizer is None:
            return layout, torch.zeros(self.batch, 0, TEXT_LENGTH, dtype=torch.int16)
        ids = ids_of(self.tokenizer, [text or "" for text in texts])
        ids[[text is None for text in texts]] = self.tokenizer.pad_token_id
        return layout, ids.view(self.batch, -1, TEXT_LENGTH)

    def captions(self, scene: Scene, rng: random.Random) -> Sequence[str | None]:
        first: Lang = rng.choice(("en", "ko"))
        order: tuple[Lang, ...] = (first, "ko" if first == "en" else "en")[: self.languages]
        if self.negatives:
            return wrong.captions(scene, order, rng, self.sampler, self.negatives)
        return [self.sampler.caption(scene, lang, rng) for lang in order]


def add_scene_arguments(parser: argparse.ArgumentParser) -> None:
    """Which scenes are drawn and what their captions tell, alike for all that learns from captions."""
    parser.add_argument(
        "--pairs", type=float, default=0.0,
        help="share of pictures made of two different things of a good size; of the others a quarter has two by chance",
    )  # fmt: skip
    parser.add_argument(
        "--painted",
        type=float,
        default=1.0,
        help="how many times as often as usual a thing has a named colour",
    )
    parser.add_argument("--look-told", type=float, default=0.5, help="share of captions that tell the look")
    parser.add_argument(
        "--position-told",
        type=float,
        default=0.7,
        help="share of captions that tell positions, tags not counted",
    )


def scenes_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `add_scene_arguments` asked for, as `SceneSampler` takes it."""
    telling = Telling(args.look_told, args.position_told)
    return {"pairs": args.pairs, "painted": args.painted, "telling": telling}


def ids_of(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """(B, 77) int16; END pads, as the model expects."""
    rows = tokenizer(
        texts, truncation=True, max_length=TEXT_LENGTH, padding="max_length", return_tensors="pt"
    )
    return rows["input_ids"].to(torch.int16)


def feed(
    sampler: SceneSampler,
    batch: int,
    aspect: float,
    seed: int,
    workers: int,
    tokenizer: Path | None = None,
    languages: int = 2,
    negatives: float = 0.0,
) -> Iterator[tuple[Layout, Tensor]]:
    """`SceneFeed`, made by worker processes."""
    dataset = SceneFeed(sampler, batch, aspect, seed, tokenizer, languages, negatives)
    return iter(
        DataLoader(
            dataset,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_end_with_parent,
        )
    )


def _end_with_parent(_: int) -> None:
    """A killed training must not leave its workers: they would wait for ever to hand on what they drew."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class GraphedStep:
    """A training step captured as one CUDA graph and replayed: launching its thousands of kernels one by one took
    longer than running them. On a CPU, or where capture fails, the step simply runs.

    `step(*inputs)` must do the whole step (zero gradients, forward, backward, clip, optimiser) and return tensors;
    the optimiser needs `capturable=True` and a learning rate that is a tensor.
    """

    def __init__(self, step: Callable[..., tuple[Tensor, ...]], example: Sequence[Tensor], log: Log) -> None:
        self.step, self.graph = step, None
        self.inputs = [tensor.clone() for tensor in example]
        if not self.inputs[0].is_cuda:
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                warm = step(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        if not all(torch.isfinite(value).all() for value in warm):
            raise RuntimeError("the step gave numbers that are not finite before it was captured")
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.outputs = step(*self.inputs)
            self.graph = graph
        except RuntimeError as error:
            log.note(graph="capture failed, running eagerly", reason=str(error)[:300])

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.graph is None:
            return self.step(*inputs)
        for static, value in zip(self.inputs, inputs, strict=True):
            static.copy_(value)
        self.graph.replay()
        return self.outputs


def join() -> torch.device:
    """This process's device. Started by torchrun, the processes join and share their gradients."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # cuDNN's attention gives NaN gradients where a row's scores are all very negative and the length is an odd
    # multiple of 64 (pytorch/pytorch#196678): the likeliest cause of the runs that ended in NaN (adr 0003)
    torch.backends.cuda.enable_cudnn_sdp(False)
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        torch.distributed.init_process_group("nccl", device_id=device)
    return device


def leave() -> None:
    """Ends this process when its work is saved. Started by torchrun, it waits for the others and then goes without
    taking NCCL down: behind captured steps that waited without end, until the whole run was killed."""
    if not torch.distributed.is_initialized():
        return
    torch.distributed.barrier()
    torch.cuda.synchronize()
    sys.stdout.flush()
    os._exit(0)


def rank() -> int:
    return int(os.environ.get("RANK", 0))


def agreed(value: float, device: torch.device) -> float:
    """The first process's value, for all: clocks differ, and a schedule must not."""
    if not torch.distributed.is_initialized():
        return value
    shared = torch.tensor(value, device=device, dtype=torch.float64)
    torch.distributed.broadcast(shared, 0)
    return float(shared)


class Masters:
    """fp32 copies of the weights that a model trains, for the optimiser; the model itself computes in bf16 on CUDA.

    One copy a step in each direction, instead of a cast of every weight in every pass. Started by torchrun, `collect`
    also averages the gradients over the processes, as one message; a captured step replays all of it.
    """

    def __init__(self, model: nn.Module) -> None:
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in trained]
        self.working = [p for _, p in trained]
        self.weights = [nn.Parameter(p.detach().clone()) for p in self.working]
        for weight in self.weights:
            weight.grad = torch.zeros_like(weight)
        if self.weights[0].is_cuda:
            model.bfloat16()
        self.message = torch.empty(
            sum(p.numel() for p in self.working), device=self.working[0].device, dtype=self.working[0].dtype
        )
        starts = np.cumsum([0, *(p.numel() for p in self.working)])
        self.parts = [  # of the message, each laid out as its weight is, so that copies are plain
            self.message.as_strided(p.shape, p.stride(), int(at))
            for p, at in zip(self.working, starts[:-1], strict=True)
        ]

    def state(self) -> dict[str, Tensor]:
        return dict(zip(self.names, (weight.detach() for weight in self.weights), strict=True))

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        for name, weight in zip(self.names, self.weights, strict=True):
            weight.copy_(state[name])
        self.publish()

    def collect(self, limit: float = 1.0) -> Tensor:
        """Gradients of the working weights -> `.grad` of the fp32 ones, at most `limit` long together; the working
        ones are cleared. Returns how long they were. A gradient that is not finite is taken as none: one bad batch
        must not end a run."""
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.working]
        targets = [weight.grad for weight in self.weights]
        torch._foreach_copy_(self.parts, gradients)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.message, torch.distributed.ReduceOp.AVG)
        norm = torch.linalg.vector_norm(self.message, dtype=torch.float32)
        finite = torch.isfinite(norm)
        self.message.copy_(torch.where(finite, self.message, 0))
        torch._foreach_copy_(targets, self.parts)
        torch._foreach_mul_(targets, torch.where(finite, (limit / (norm + 1e-6)).clamp(max=1), 0))
        for parameter in self.working:
            parameter.grad = None
        return norm

    @torch.no_grad()
    def publish(self) -> None:
        """The fp32 weights -> the working ones."""
        torch._foreach_copy_(self.working, self.weights)


def adamw(
    parameters: list[nn.Parameter], lr: float, betas: tuple[float, float], decay: float
) -> torch.optim.AdamW:
    """AdamW whose rate is a tensor on the device, so that a captured step follows the schedule."""
    device = parameters[0].device
    cuda = device.type == "cuda"
    rate = torch.tensor(lr, device=device)
    return torch.optim.AdamW(
        parameters, lr=rate, betas=betas, weight_decay=decay, fused=cuda, capturable=cuda
    )


class Average:
    """Exponential moving average of a model's weights, with a warm-up so that early steps do not linger."""

    def __init__(self, state: dict[str, Tensor], decay: float, every: int = 8) -> None:
        self.decay, self.every, self.steps = decay, every, 0
        self.shadow = {k: v.detach().clone().float() for k, v in state.items()}

    @torch.no_grad()
    def update(self, state: dict[str, Tensor]) -> None:
        self.steps += 1
        if self.steps % self.every:
            return
        decay = min(self.decay**self.every, self.steps / (80 + self.steps))
        floating = [k for k, v in self.shadow.items() if v.is_floating_point()]
        torch._foreach_lerp_(
            [self.shadow[k] for k in floating], [state[k].float() for k in floating], 1 - decay
        )


def schedule(step: int, total: int, warmup: int, hold: float = 0.0) -> float:
    """Linear warm-up, flat until `hold` of the run, then a cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    start = max(warmup, int(total * hold))
    if step < start:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - start) / max(1, total - start))))


class Log:
    """One JSON line each `every` steps: loss, pictures a second, what remains."""

    def __init__(
        self, path: Path, flops_per_picture: float = 0.0, every: int = 50, loud: bool = True
    ) -> None:
        self.file, self.loud = path.open("a", buffering=1), loud
        self.flops, self.every = flops_per_picture, every
        self.start = self.last = time.perf_counter()
        self.pictures, self.waited = 0, 0.0

    def next(self, batches: Iterator) -> Any:
        """The next batch; the time spent waiting for it is logged, to show when the processors limit a run."""
        began = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - began
        return batch

    def note(self, **facts: object) -> None:
        line = json.dumps({"t": round(time.perf_counter() - self.start, 1), **facts})
        self.file.write(line + "\n")
        if self.loud:
            print(line, flush=True)

    def step(self, step: int, pictures: int, **losses: Tensor) -> None:
        self.pictures += pictures
        if step % self.every:
            return
        values = {name: round(float(loss.detach()), 5) for name, loss in losses.items()}
        now = time.perf_counter()
        rate = self.pictures / (now - self.last)
        facts: dict[str, object] = {
            "step": step,
            **values,
            "per_s": round(rate),
            "wait": round(self.waited / (now - self.last), 2),
        }
        if self.flops:
            facts["mfu"] = round(rate * self.flops / H100_BF16_FLOPS, 3)
        self.note(**facts)
        self.last, self.pictures, self.waited = now, 0, 0.0


def save_state(state: dict[str, Tensor], path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Atomically, so that a kill leaves the last good file."""
    temporary = path.with_suffix(".tmp")
    save_file(
        {
            k: v.detach().to("cpu", dtype if v.is_floating_point() else v.dtype).contiguous()
            for k, v in state.items()
        },
        temporary,
    )
    temporary.replace(path)


def save_shards(state: dict[str, Tensor], folder: Path, name: str, limit: int = 15 * 2**20) -> None:
    """fp16 files of at most `limit` bytes: `name-0.safetensors`, `name-1.safetensors` …"""
    part: dict[str, Tensor] = {}
    size = number = 0
    for key, value in state.items():
        value = (
            value.detach().to("cpu", torch.float16 if value.is_floating_point() else value.dtype).contiguous()
        )
        if part and size + value.nbytes > limit:
            _save_shard(part, folder / f"{name}-{number}.safetensors")
            part, size, number = {}, 0, number + 1
        part[key] = value
        size += value.nbytes
    _save_shard(part, folder / f"{name}-{number}.safetensors")


def _save_shard(part: dict[str, Tensor], path: Path) -> None:
    save_file(part, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def load_shards(folder: Path, name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for path in sorted(folder.glob(f"{name}-*.safetensors")):
        state |= load_file(path)
    if not state:
        raise FileNotFoundError(f"{folder}/{name}-*.safetensors: train that part first")
    return state


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
