"""From a folder of pictures to a LoRA file: read the set, hold some out, fill the cache, train."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from jogak.models import resolve
from jogak.models.catalogue import family_of
from jogak.models.place import open_place
from jogak.spec import Image, ModelRef, SpecError
from jogak.spec.dataset import Dataset, DatasetImage
from jogak.spec.training import TrainRecord, TrainRequest
from jogak.store import Progress, Store, current
from jogak.store.pictures import SUFFIXES
from jogak.training.cache import (
    Example,
    encode_caption,
    encode_latents,
    parts_of,
    read_tensors,
)
from jogak.training.checkpoint import STATE, read_log, write_text
from jogak.training.dataset import read_dataset
from jogak.training.loop import LOSSES, Material, Outcome, check_optimizer, explicit_precision
from jogak.training.loop import train as run_loop
from jogak.training.objective import generator_for, shortened
from jogak.training.predict import Cost, predict

RECORD = "train.json"
FEWEST_TO_HOLD_OUT = 5

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Plan:
    """A training before anything is computed: every default spelled out, every picture known."""

    request: TrainRequest
    ref: ModelRef
    folder: Path
    data: Dataset
    held_out: tuple[str, ...]
    prior: Dataset | None
    trigger: str
    notes: tuple[str, ...]
    """what a person should know before it starts, each in a sentence"""

    @property
    def seen(self) -> tuple[DatasetImage, ...]:
        return tuple(image for image in self.data.images if image.file not in self.held_out)

    @property
    def record(self) -> TrainRecord:
        return TrainRecord(
            request=self.request,
            pictures=str(self.folder.absolute()),
            trigger=self.trigger,
            family=self.ref.family,
            base_digest=self.ref.digest,
            data_digest=_data_digest(self.data),
            held_out=self.held_out,
        )


def plan(request: TrainRequest, folder: Path) -> Plan:
    """Check everything that can be checked without opening a weight.

    Raises `SpecError` for a base, optimizer or precision that cannot be used here, for a folder that cannot be
    read, and for one without pictures.
    """
    ref = resolve(request.base, backend="torch")
    family = family_of(open_place(ref.folder))
    if family.denoiser != "unet":
        raise SpecError(
            f"{request.base} is of the family {family.name}, which is drawn with but not trained here; train for pocket, "
            "SD 1.5 or SDXL."
        )
    if family.name == "sdxl" and request.text_encoder:
        raise SpecError("SDXL's two text encoders are not trained here; leave --text-encoder off.")
    full = request.for_family(ref.family)
    check_optimizer(full.optimizer)
    full = full.model_copy(update={"precision": explicit_precision(full.precision)})
    data = read_dataset(folder, full.resolution, full.bucket_step)
    trigger = full.trigger or data.trigger
    data = _captioned(data, trigger)
    prior = None
    if full.prior is not None:
        prior = _captioned(read_dataset(Path(full.prior), full.resolution, full.bucket_step), data.class_name)
    held_out = _held_out(data, full)
    full = full.model_copy(update={"trigger": trigger})
    return Plan(full, ref, folder, data, held_out, prior, trigger, _notes(data, trigger, full, ref))


def _captioned(data: Dataset, otherwise: str) -> Dataset:
    """A picture without words is called by the trigger word, or by the class."""
    words = otherwise or data.class_name
    images = tuple(
        image if image.caption.strip() else image.model_copy(update={"caption": words})
        for image in data.images
    )
    return data.model_copy(update={"images": images})


def _held_out(data: Dataset, request: TrainRequest) -> tuple[str, ...]:
    """Files that are only validated on: the same for the same set and seed, whatever the order on disk."""
    files = sorted(image.file for image in data.images)
    if not request.validation or len(files) < FEWEST_TO_HOLD_OUT:
        return ()
    count = max(1, round(len(files) * request.validation))
    order = torch.randperm(len(files), generator=generator_for(request.seed, "held out")).tolist()
    return tuple(sorted(files[i] for i in order[:count]))


def _notes(data: Dataset, trigger: str, request: TrainRequest, ref: ModelRef) -> tuple[str, ...]:
    notes: list[str] = []
    without = sum(trigger not in image.caption for image in data.images) if trigger else 0
    if not trigger:
        notes.append(
            "No trigger word is known (--trigger): what is learned will answer to the captions alone."
        )
    elif without:
        notes.append(
            f"{without} of {len(data.images)} captions lack the trigger word {trigger}: jogak dataset make puts it in."
        )
    if not any(image.caption.strip() for image in data.images):
        notes.append("No picture has a caption: the prompt will steer little.")
    if request.noise_offset and ref.family == "pocket":
        notes.append("pocket ends in pure noise (zero terminal SNR) and needs no noise offset.")
    return tuple(notes)


def estimate(plan: Plan) -> Cost:
    """What a step will cost, for the commonest size of the set."""
    (width, height), _ = next(iter(plan.data.buckets.items()))
    return predict(plan.request, plan.ref, width, height)


def train(
    store: Store,
    plan: Plan,
    output: Path,
    *,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> Outcome:
    """Train into `output`, or go on where an earlier run of the same plan was stopped.

    The folder gets the LoRA (`<name>.safetensors`), its checkpoints, `losses.jsonl`, `samples/`, `train.json` and
    the state. Raises `SpecError` when it holds another training, `Cancelled` when the person stops it.
    """
    _check_folder(plan, output)
    write_text(output / RECORD, plan.record.to_json())
    with store.run("train", spec=plan.request, output=output, on_progress=on_progress, cancel=cancel):
        material = prepare(plan)
        return run_loop(plan.request, material, plan.ref, output)


def afterwards(output: Path) -> tuple[str, ...]:
    """What the fixed-noise losses say of a finished training, each in a sentence; nothing when all is well."""
    checks = [line for line in read_log(output / LOSSES) if line.get("seen") is not None]
    if len(checks) < 2:
        return ()
    first, last = checks[0], checks[-1]
    if last["seen"] > first["seen"]:
        return (
            f"The loss on training pictures rose from {first['seen']:.4f} to {last['seen']:.4f}: the training diverged. "
            "Lower --lr.",
        )
    lowest = min(checks, key=lambda line: line["held_out"] if line["held_out"] is not None else 0.0)
    if last["held_out"] is not None and last["held_out"] > 1.02 * lowest["held_out"]:
        return (
            f"The loss on held-out pictures was lowest at step {lowest['step']} and has risen since: later checkpoints may "
            "be overfit.",
        )
    return ()


def _check_folder(plan: Plan, output: Path) -> None:
    """Say what differs, before the loop would only say that something does."""
    record = output / RECORD
    if not (output / STATE).exists() or not record.exists():
        return
    before = TrainRecord.read(record)
    if before.data_digest != plan.record.data_digest:
        raise SpecError(
            f"{output} holds a training on other pictures or captions ({before.pictures}). Choose another folder with -o."
        )
    if before.base_digest != plan.record.base_digest:
        raise SpecError(f"{output} holds a training for another base. Choose another folder with -o.")


def prepare(plan: Plan) -> Material:
    """Latents and caption states of the whole set, from the cache where they are in it. Inside a run."""
    request = plan.request
    priors = plan.prior.images if plan.prior else ()
    total = len(plan.data.images) + len(priors)
    parts = parts_of(plan.ref)

    def told(at: int, example: Example) -> Example:
        current().progress(at, total, "encoding pictures")
        current().check_cancel()
        return example

    examples = {
        image.file: told(at, _example(plan.folder, image, request, parts.vae))
        for at, image in enumerate(plan.data.images, 1)
    }
    # the class is learned whole, without masks
    whole = request.model_copy(update={"masked_loss": False, "masks": None, "flip": False})
    prior = tuple(
        told(at, _example(Path(request.prior or ""), image, whole, parts.vae))
        for at, image in enumerate(priors, len(plan.data.images) + 1)
    )
    everyone = [*examples.values(), *prior]
    said = {
        caption: shortened(caption, request.trigger or "", request.tag_dropout, request.seed)
        for caption in (examples[image.file].caption for image in plan.seen)
    }
    texts = sorted(
        {"", *(one.caption for one in everyone), *(text for short in said.values() for text in short)}
    )
    captions = {} if request.text_encoder else _captions(texts, parts.text)
    seen = plan.seen
    digest = hashlib.sha256(
        json.dumps([_data_digest(plan.data), _data_digest(plan.prior) if plan.prior else ""]).encode()
    ).hexdigest()
    return Material(
        data=plan.data.model_copy(update={"images": seen}),
        seen=tuple(examples[image.file] for image in seen),
        held_out=tuple(examples[name] for name in plan.held_out),
        prior=prior,
        repeats=tuple(image.repeats for image in seen),
        captions=captions,
        said=said,
        digest=digest,
    )


def _captions(texts: Sequence[str], part: ModelRef) -> dict[str, Tensor]:
    states: dict[str, Tensor] = {}
    for i, text in enumerate(texts):
        states[text] = read_tensors(encode_caption(text, part))["text"]
        current().progress(i + 1, len(texts), "reading captions")
        current().check_cancel()
    return states


def _example(folder: Path, image: DatasetImage, request: TrainRequest, vae: ModelRef) -> Example:
    masked = request.masked_loss or request.masks is not None
    mask = _mask(Path(request.masks), image) if request.masks is not None else None
    kept = encode_latents(
        _handle(folder / image.file, image.sha256),
        image.crop,
        image.width,
        image.height,
        request.flip,
        mask,
        masked,
        vae,
    )
    tensors = read_tensors(kept)
    return Example(
        name=image.file,
        caption=image.caption,
        latents=tensors["latents"],
        mirrored=tensors.get("mirrored"),
        mask=tensors.get("mask"),
        width=image.width,
        height=image.height,
    )


def _mask(folder: Path, image: DatasetImage) -> Image:
    stem = Path(image.file).stem
    found = [path for suffix in sorted(SUFFIXES) if (path := folder / (stem + suffix)).is_file()]
    if not found:
        raise SpecError(
            f"{folder} has no mask for {image.file}; put {stem}.png there, white where it counts."
        )
    return _handle(found[0])


def _handle(path: Path, sha256: str | None = None) -> Image:
    """A picture where it lies: training pictures are not copied into the store. The step checks the digest."""
    if sha256 is None:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Image(sha256=sha256, suffix=path.suffix.lower(), path=path, width=1, height=1)


def _data_digest(data: Dataset) -> str:
    facts = [
        [image.sha256, image.caption, image.crop, image.width, image.height, image.repeats]
        for image in sorted(data.images, key=lambda image: image.file)
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
