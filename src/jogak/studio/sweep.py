"""The sweep: every checkpoint of a training at several weights draws the same pictures, and one is recommended."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from jogak.adapters.lora import lora, read_lora
from jogak.image.prompt import encode
from jogak.judge.clip import judge_ref, load_judge
from jogak.judge.features import features
from jogak.judge.memorisation import Looks, thumb
from jogak.models import load, resolve
from jogak.models.safe import read_header
from jogak.models.samplers import sample_dpmpp_2m
from jogak.spec import Adapter, Document, Image, ModelRef, SpecError
from jogak.spec.dataset import Dataset
from jogak.spec.training import SweepReport, SweepRequest, Tensors, TrainRecord
from jogak.store import Files, Progress, Store, current, step
from jogak.store.pictures import read_picture
from jogak.studio.sweep_grid import draw_grid
from jogak.studio.sweep_scores import Cell, Ruler, Seen, choose, reasons, verdict, weigh
from jogak.studio.train import RECORD
from jogak.training.cache import read_tensors
from jogak.training.checkpoint import checkpoint_name, write_text
from jogak.training.dataset import read_dataset

REPORT, GRID = "sweep.json", "grid.png"
FIRST_SEED = 1000
"""Previews of the training use other noise."""
MOST_REFERENCES = 200
"""Training pictures that the cells are compared with."""
PIXELS_AT_ONCE = 8 * 256 * 256

OnProgress = Callable[[Progress], None]
Box = tuple[int, int, int, int]

_SCENES = {
    "en": (
        "on a beach at sunset", "in a snowy field at night", "in a city on a rainy day", "in a forest in the morning",
        "in a desert on a sunny day", "in a room", "on a mountain under a clear sky", "in a garden full of flowers",
        "by a river on a cloudy day", "on a farm at dawn", "in a village in the fog", "on a white background",
    ),
    "ko": (
        "노을 지는 해변에 있는", "밤 눈밭에 있는", "비 오는 도시에 있는", "아침 숲속에 있는", "햇살 가득한 사막에 있는",
        "방 안에 있는", "맑은 하늘 아래 산에 있는", "꽃이 가득한 정원에 있는", "흐린 날 강가에 있는",
        "새벽 농장에 있는", "안개 낀 마을에 있는", "흰 배경 앞의",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class SweepPlan:
    """A sweep before anything is drawn."""

    request: SweepRequest
    record: TrainRecord
    ref: ModelRef
    data: Dataset
    checkpoints: tuple[tuple[int, Path], ...]
    """(step, file), ascending"""
    prompts: tuple[str, ...]
    foils: tuple[str, ...]
    """prompts that nobody draws: what the own prompt is told from"""
    size: tuple[int, int]

    @property
    def pictures(self) -> int:
        """that will be drawn at most, the plain model's included"""
        return (
            (1 + len(self.checkpoints) * len(self.request.weights)) * len(self.prompts) * self.request.seeds
        )


def plan_sweep(request: SweepRequest, run: Path) -> SweepPlan:
    """Raises `SpecError` when the folder holds no training, no checkpoint, or its pictures or base are gone."""
    if not (run / RECORD).is_file():
        raise SpecError(f"{run} holds no {RECORD}; give the folder that jogak train wrote (its -o).")
    record = TrainRecord.read(run / RECORD)
    asked = record.request
    ref = resolve(asked.base, backend="torch")
    if ref.digest != record.base_digest:
        raise SpecError(
            f"the base {asked.base} is not the one {run} was trained for; its weights have changed since."
        )
    data = read_dataset(Path(record.pictures), asked.resolution, asked.bucket_step)
    (width, height), _ = next(iter(data.buckets.items()))
    made, foils = make_prompts(data, record.trigger, request.count)
    return SweepPlan(
        request=request,
        record=record,
        ref=ref,
        data=data,
        checkpoints=_spread(_checkpoints(run, asked.name), request.checkpoints),
        prompts=request.prompts or made,
        foils=foils,
        size=(width, height),
    )


def _checkpoints(run: Path, name: str) -> list[tuple[int, Path]]:
    """(step, file) of every checkpoint, ascending; a last one that repeats a step counts once."""
    paths = [*sorted(run.glob(f"{name}-step*.safetensors")), run / checkpoint_name(name)]
    found: dict[int, Path] = {}
    for path in paths:
        if path.is_file():
            told = read_header(path).metadata.get("ss_steps", "")
            found[int(told) if told.isdecimal() else len(found)] = path
    if not found:
        raise SpecError(f"{run} holds no checkpoint of {name} yet; let jogak train come to the first one.")
    return sorted(found.items())


def _spread(found: Sequence[tuple[int, Path]], most: int) -> tuple[tuple[int, Path], ...]:
    """At most so many, evenly spaced, the last included."""
    if len(found) <= most:
        return tuple(found)
    places = {round((i + 1) * len(found) / most) - 1 for i in range(most)}
    return tuple(found[i] for i in sorted(places))


def make_prompts(data: Dataset, trigger: str, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(prompts, foils): the subject in scenes, those first that the captions say least of; then the other scenes."""
    captions = [image.caption for image in data.images]
    korean = sum(any("가" <= sign <= "힣" for sign in text) for text in captions) * 2 > len(captions)
    subject = subject_of(captions, trigger, data.class_name)
    words = Counter(word for text in captions for word in set(text.lower().replace(",", " ").split()))
    scenes = sorted(
        _SCENES["ko" if korean else "en"], key=lambda scene: sum(words[word] for word in scene.split())
    )
    said = [f"{scene} {subject}" if korean else f"{subject} {scene}" for scene in scenes]
    return tuple(said[:count]), tuple(said[count:])


def subject_of(captions: Sequence[str], trigger: str, class_name: str) -> str:
    """The trigger word and what it stands for: the class, or the word that follows it in most captions."""
    if not trigger:
        return class_name or "a picture"
    if class_name:
        return f"{trigger} {class_name}"
    following = Counter(
        rest.split()[0].strip(".,")
        for text in captions
        if (rest := text.partition(trigger)[2]).startswith(" ") and rest.split()
    )
    word, times = following.most_common(1)[0] if following else ("", 0)
    return f"{trigger} {word}" if word.isalpha() and times * 2 > len(captions) else trigger


# steps


@step(version="2")
def draw_cell(
    adapter: Adapter | None,
    weight: float,
    prompts: tuple[str, ...],
    seeds: int,
    steps: int,
    guidance: float,
    size: tuple[int, int],
    model: ModelRef,
) -> list[Image]:
    """Every prompt with every seed, prompt after prompt; the same noise for a seed whatever the adapter."""
    here, loaded = current(), load(model)
    what = "the plain model" if adapter is None else f"{adapter.name} at {weight:g}"
    shape = (loaded.latent_channels, size[1] // loaded.factor, size[0] // loaded.factor)
    noises = [
        torch.randn(shape, generator=torch.Generator("cpu").manual_seed(FIRST_SEED + seed))
        for seed in range(seeds)
    ]
    todo = [(prompt, noise) for prompt in prompts for noise in noises]
    at_once = max(1, PIXELS_AT_ONCE // (size[0] * size[1]))
    pictures: list[Image] = []
    sigmas = loaded.sigmas(steps)
    total = -(-len(todo) // at_once) * steps

    def draw(part: list[tuple[str, Tensor]], before: int) -> None:
        cond = torch.cat([encode(loaded, prompt) for prompt, _ in part])
        uncond = encode(loaded, "")

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return loaded.denoise(x, sigma, cond, uncond, guidance)

        def on_step(done: int, _: Tensor) -> None:
            here.progress(before + done, total, f"drawing {what}")
            here.check_cancel()

        latents = sample_dpmpp_2m(
            denoise, sigmas[0] * torch.stack([noise for _, noise in part]), sigmas, None, on_step
        )
        for pixels in ((loaded.decode(latents) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8):
            with here.store.new_file(".png") as file:
                PIL.Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(file)
                pictures.append(here.store.put(file, Image, width=size[0], height=size[1]))

    def draw_all() -> None:
        for first in range(0, len(todo), at_once):
            draw(todo[first : first + at_once], first // at_once * steps)

    if adapter is None:
        draw_all()
    else:
        with lora(loaded, read_lora(adapter.path), weight):
            draw_all()
    return pictures


@step(version="1")
def look_at(pictures: list[Image], boxes: list[Box], mirrored: bool, judge: ModelRef) -> Tensors:
    """What the judges see in pictures: `features`, `clip`, `thumbs`, with `mirrored` those of the mirror images too.

    `boxes` says what part of each counts (left, top, right, bottom); none of them: the whole.
    """
    here, clip = current(), load_judge(judge.folder)
    rows: dict[str, list[NDArray]] = {"features": [], "clip": [], "thumbs": []} | (
        {"mirrored": []} if mirrored else {}
    )
    for at, picture in enumerate(pictures):
        opened = read_picture(picture.path)
        if opened.sha256 != picture.sha256:
            raise SpecError(f"{picture.path} changed while it was being read; run the command again.")
        pixels = np.asarray(opened.rgb.crop(boxes[at]) if boxes else opened.rgb)
        rows["features"].append(features(pixels[None])[0])
        rows["clip"].append(clip.see(pixels[None])[0])
        rows["thumbs"].append(thumb(pixels))
        if mirrored:
            rows["mirrored"].append(features(np.ascontiguousarray(pixels[None, :, ::-1]))[0])
        here.progress(at + 1, len(pictures), "looking")
        here.check_cancel()
    with here.store.new_file(".safetensors") as file:
        save_file({name: torch.from_numpy(np.stack(row)) for name, row in rows.items()}, file)
        return here.store.put(file, Tensors)


def _seen(handle: Tensors) -> Seen:
    rows = {name: tensor.numpy() for name, tensor in read_tensors(handle).items()}
    return Seen(Looks(rows["features"], rows.get("mirrored"), rows["thumbs"]), rows["clip"])


# the journey


def sweep(
    store: Store,
    plan: SweepPlan,
    *,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> SweepReport:
    """Draw, look, weigh, recommend. What was drawn and seen before is not drawn and seen again."""
    request = plan.request
    judge = judge_ref()
    with store.run("sweep", spec=request, on_progress=on_progress, cancel=cancel):
        training = _seen(_look_at_training(plan, judge))
        plain_pictures = _draw(plan, None, 0.0)
        plain = Cell("", 0, 0.0, _seen(look_at(plain_pictures, [], False, judge)))
        cells: list[Cell] = []
        drawn: list[list[Image]] = []
        for number, path in plan.checkpoints:
            adapter = store_adapter(current().store, path)
            for weight in request.weights:
                drawn.append(_draw(plan, adapter, weight))
                cells.append(Cell(path.name, number, weight, _seen(look_at(drawn[-1], [], False, judge))))
        scores, nothing = weigh(cells, plain, _ruler(plan, training, judge))
        best = choose(scores, nothing)
        english, korean = reasons(scores, best, nothing)
        grid = draw_grid(scores, best, nothing, drawn, plain_pictures, request.seeds, plan.prompts)
    return SweepReport(
        request=request,
        prompts=plan.prompts,
        plain=nothing,
        cells=tuple(scores),
        best=best,
        verdict=verdict(scores, best, nothing),
        reason_en=english,
        reason_ko=korean,
        grid=grid,
    )


def _draw(plan: SweepPlan, adapter: Adapter | None, weight: float) -> list[Image]:
    request = plan.request
    return draw_cell(
        adapter, weight, plan.prompts, request.seeds, request.steps, request.guidance, plan.size, plan.ref
    )


def store_adapter(store: Files, path: Path) -> Adapter:
    """A LoRA file in the store; its name is the file's stem."""
    kept = store.put(path, Document)
    return Adapter(sha256=kept.sha256, suffix=kept.suffix, path=kept.path, name=path.stem, kind="lora")


def _look_at_training(plan: SweepPlan, judge: ModelRef) -> Tensors:
    images = plan.data.images
    chosen = [
        images[i * len(images) // min(len(images), MOST_REFERENCES)]
        for i in range(min(len(images), MOST_REFERENCES))
    ]
    folder = Path(plan.record.pictures)
    handles = [
        Image(
            sha256=one.sha256, suffix=Path(one.file).suffix.lower(), path=folder / one.file, width=1, height=1
        )
        for one in chosen
    ]
    return look_at(handles, [one.crop for one in chosen], True, judge)


def _ruler(plan: SweepPlan, training: Seen, judge: ModelRef) -> Ruler:
    trigger = plan.record.trigger
    unique = list(dict.fromkeys(plan.prompts))
    foils = [text for text in plan.foils if text not in unique]
    said = [_without(text, trigger) for text in (*unique, *foils)]
    places = [unique.index(prompt) for prompt in plan.prompts for _ in range(plan.request.seeds)]
    # a network that learnt from photographs hardly tells pocket's characters apart (`python -m benchmarks.identity`);
    # the judging CLIP learnt from pocket's world and from nothing else
    eyes = "clip" if plan.ref.family == "pocket" else "features"
    return Ruler(training, tuple(places), load_judge(judge.folder).read(said), plan.request.seeds, eyes)


def _without(prompt: str, trigger: str) -> str:
    """The judge does not know the trigger word, so it is not asked about it."""
    if not trigger:
        return prompt
    return " ".join(prompt.replace(trigger, " ").split()) or prompt


def deliver(store: Store, report: SweepReport, run: Path) -> Path:
    """`sweep/grid.png` and `sweep/sweep.json` in the training's folder."""
    folder = run / "sweep"
    store.export(report.grid, folder / GRID)
    write_text(folder / REPORT, report.to_json())
    return folder
