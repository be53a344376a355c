"""The picture journey: a request becomes pictures, and a picture becomes itself again."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from jogak.adapters.control import check_control, find_control
from jogak.adapters.ip import check_ip, find_ip
from jogak.adapters.lora import find_lora
from jogak.adapters.maps import network_digest, reader_note
from jogak.image.draw import draw_image
from jogak.image.files import import_picture, read_picture
from jogak.image.infotext import Recipe, read_recipe, versions
from jogak.image.lora_tags import lora_folders, split_loras
from jogak.image.prompt import check
from jogak.image.steer import ControlFlag, IpFlag, Steering, adapter_ref, control_map, named_pose
from jogak.models import load, resolve
from jogak.models.catalogue import Backend
from jogak.models.preflight import preflight
from jogak.spec import ControlUse, Image, ImageRequest, IpUse, LoraUse, ModelRef, SpecError
from jogak.spec.memory import Memory
from jogak.spec.preflight import Finding
from jogak.store import Files, Progress, Store, each

MAX_COUNT = 100

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Replay:
    """What came of drawing a picture again."""

    identical: bool
    """Every pixel is what it was when the picture was first drawn."""
    differing: float
    """Share of the pixels that differ from those in the file, 0 to 1."""
    reasons: tuple[str, ...]
    """What is not as it was then, each in a sentence."""


def requests_for(request: ImageRequest, count: int) -> list[ImageRequest]:
    """`count` requests that differ in their seed alone: seed, seed + 1, …"""
    if not 1 <= count <= MAX_COUNT:
        raise SpecError(f"{count} pictures were asked for; one command draws 1 to {MAX_COUNT}.")
    data = request.model_dump()
    return [ImageRequest.parse(data | {"seed": request.seed + i}) for i in range(count)]


@dataclass(frozen=True)
class Sources:
    """The files that steer a picture, as a person names them."""

    init: Path | None = None
    mask: Path | None = None
    loras: tuple[LoraUse, ...] = ()
    """beside those that the prompt names as `<lora:name:0.8>`"""
    controls: tuple[ControlFlag, ...] = ()
    ips: tuple[IpFlag, ...] = ()

    @property
    def adapt(self) -> bool:
        return bool(self.loras or self.controls or self.ips)


def draw_pictures(
    store: Store,
    request: ImageRequest,
    model: ModelRef,
    *,
    count: int = 1,
    sources: Sources = Sources(),
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> list[Image]:
    """Draw a request `count` times, seed after seed, steered by `sources`.

    LoRA tags in the prompt count as LoRAs. Adapters need torch: a model on OpenVINO is taken there.
    Raises `SpecError` for what cannot be drawn before anything is, and as the steps do.
    """
    if sources.mask and not sources.init:
        raise SpecError("a mask says what to draw anew in a picture; give the picture with --init.")
    if sources.mask and request.hires > 1:
        raise SpecError("a mask and --hires do not go together; enlarge the picture after it is mended.")
    drawing = plan_drawing(store, request, model, sources)
    with store.run("image", spec=drawing.request, on_progress=on_progress, cancel=cancel):
        drawing = drawing.with_maps(store)
        return each(
            None,
            partial(draw_image, model=drawing.model, given=drawing.given),
            requests_for(drawing.request, count),
            label=lambda one: f"seed {one.seed}",
        )


@dataclass(frozen=True)
class Drawing:
    """A request whose words were checked and whose files were found; see `plan_drawing`."""

    request: ImageRequest
    model: ModelRef
    given: Steering
    controls: tuple[ControlFlag, ...]
    """whose maps are still to be made"""

    def with_maps(self, store: Store) -> Drawing:
        """Ready for `draw_image`: the control maps, which are steps of their own, made inside the run."""
        controls = [_control(store, flag, self.request) for flag in self.controls]
        request = ImageRequest.parse(
            self.request.model_dump() | {"controls": tuple(use for use, _ in controls)}
        )
        given = self.given.model_copy(update={"maps": tuple(map_ for _, map_ in controls)})
        return Drawing(request, self.model, given, ())


def plan_drawing(store: Store, request: ImageRequest, model: ModelRef, sources: Sources) -> Drawing:
    """Everything that can be refused is looked at here, before a run begins. Raises `SpecError`."""
    request, loras = _loras(request, sources)
    if (loras or sources.adapt) and model.numeric.startswith("openvino"):
        model = model_of(request, "torch")
    files = _adapters(request.model_copy(update={"loras": loras}), sources, model)
    for prompt in (request.prompt, request.negative, *(region.prompt for region in request.regions)):
        check(load(model), prompt, request.steps)
    init = import_picture(store, sources.init) if sources.init else None
    mask = import_picture(store, sources.mask) if sources.mask else None
    references = tuple(import_picture(store, Path(flag.file)) for flag in sources.ips)
    ips = tuple(
        IpUse(image=picture.sha256, weight=flag.weight, mode=flag.mode, model=flag.model)
        for flag, picture in zip(sources.ips, references, strict=True)
    )
    request = ImageRequest.parse(
        request.model_dump()
        | {
            "init": init.sha256 if init else None,
            "mask": mask.sha256 if mask else None,
            "loras": loras,
            "ips": ips,
        }
    )
    given = files.model_copy(update={"init": init, "mask": mask, "references": references})
    return Drawing(request, model, given, sources.controls)


def model_of(request: ImageRequest, backend: Backend | None = None, *, adapters: bool = False) -> ModelRef:
    """The model that a request names, as it asks for it to be run; adapters need torch, OpenVINO's networks are
    closed to them."""
    memory = Memory.of_names(",".join(request.memory)) if request.memory else None

    def found(backend: Backend | None) -> ModelRef:
        return resolve(
            request.model, backend, vae=Path(request.vae) if request.vae else None,
            embeddings=[Path(file) for file in request.embeddings], memory=memory,
        )  # fmt: skip

    model = found(backend)
    return found("torch") if adapters and model.numeric.startswith("openvino") else model


def findings(request: ImageRequest, model: ModelRef, sources: Sources) -> list[Finding]:
    """What preflight says of a picture before a weight is read, the gravest first."""
    asked, loras = _loras(request, sources)
    found = preflight(
        asked, model, loras=[Path(use.name) for use in loras],
        controls=[find_control(flag.model, flag.shows or flag.kind, model) for flag in sources.controls],
        ips=[find_ip(flag.model, model) for flag in sources.ips],
    )  # fmt: skip
    read = {flag.kind: str(flag.file) for flag in reversed(sources.controls) if Path(flag.file).is_file()}
    notes = [reader_note(kind, file) for kind, file in read.items()]
    return [*found, *(note for note in notes if note)]


def _loras(request: ImageRequest, sources: Sources) -> tuple[ImageRequest, tuple[LoraUse, ...]]:
    """The request without the tags in its prompt, and every LoRA that is asked for, its file found."""
    prompt, tagged = split_loras(request.prompt)
    wanted = (*request.loras, *sources.loras, *tagged)
    found = tuple(
        use
        if Path(use.name).is_file()
        else use.model_copy(update={"name": str(find_lora(use.name, lora_folders()))})
        for use in wanted
    )
    if tagged:
        request = ImageRequest.parse(request.model_dump() | {"prompt": prompt})
    return request, found


def _adapters(request: ImageRequest, sources: Sources, model: ModelRef) -> Steering:
    """Every adapter's file, checked against the model before a weight is read."""
    controls = [find_control(flag.model, flag.shows or flag.kind, model) for flag in sources.controls]
    for path in controls:
        check_control(path, model)
    ips = [find_ip(flag.model, model) for flag in sources.ips]
    for path in ips:
        check_ip(path, model)
    return Steering(
        loras=tuple(adapter_ref(Path(use.name), "lora") for use in request.loras),
        controls=tuple(adapter_ref(path, "control") for path in controls),
        ips=tuple(adapter_ref(path, "ip") for path in ips),
    )


def _control(store: Store, flag: ControlFlag, request: ImageRequest) -> tuple[ControlUse, Image]:
    """A control as the picture will record it, and its map: made from a picture, ready, or a pose by its name."""
    kind, shows = flag.kind, flag.shows
    if kind == "pose" and not Path(flag.file).is_file():
        picture, kind, shows = named_pose(flag.file, request.width, request.height), "none", "pose"
    else:
        picture = import_picture(store, Path(flag.file))
    use = ControlUse(
        kind=kind, shows=shows, image=picture.sha256, weight=flag.weight, start=flag.start, end=flag.end,
        model=flag.model,
    )  # fmt: skip
    return use, picture if kind == "none" else control_map(kind, picture, network_digest(kind))


def replay_picture(
    store: Store,
    source: Path,
    target: Path,
    *,
    model: str | None = None,
    init: Path | None = None,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> Replay:
    """Draw the picture in `source` again from the recipe inside it, into `target`, and compare.

    `model` and `init` say where weights and the first picture are now, if not where they were; the other pictures
    that steered it are looked for in the store. Raises `SpecError` when there is no recipe, no such model, or no
    picture to start from.
    """
    old = read_picture(source)
    recipe, plain, ref, sources = recalled(store, source, model=model, init=init)
    # A store of its own: the picture has to be drawn anew, not remembered.
    with tempfile.TemporaryDirectory(prefix="jogak-") as folder:
        fresh = Store(Path(folder))
        drawn = draw_pictures(fresh, plain, ref, sources=sources, on_progress=on_progress, cancel=cancel)[0]
        fresh.export(drawn, target)
        now = read_recipe(drawn.path)
    new = np.asarray(read_picture(target))
    was = np.asarray(old)
    differing = float((was != new).any(axis=-1).mean()) if was.shape == new.shape else 1.0
    edited = _digest(was) != recipe.pixels
    return Replay(_digest(new) == recipe.pixels, differing, _reasons(recipe, now, ref, source, edited))


def recalled(
    store: Files, source: Path, *, model: str | None = None, init: Path | None = None
) -> tuple[Recipe, ImageRequest, ModelRef, Sources]:
    """The recipe inside a picture, and what `plan_drawing` takes to draw it again: the request without its pictures,
    the model, and the files. Arguments and errors as those of `replay_picture`."""
    recipe = read_recipe(source)
    request = recipe.request
    asked = request.model_copy(update={"model": model}) if model else request
    ref = _as_then(recipe, model_of(asked, _backend(recipe)))
    sources = Sources(
        init=_start(recipe, store, init),
        mask=_in_store(store, request.mask, "the mask") if request.mask else None,
        controls=tuple(_flag(store, use) for use in request.controls),
        ips=tuple(
            IpFlag(str(_in_store(store, use.image, "a reference")), use.weight, use.mode, use.model)
            for use in request.ips
        ),
    )
    plain = request.model_copy(update={"init": None, "mask": None, "controls": (), "ips": ()})
    return recipe, plain, ref, sources


def _flag(store: Files, use: ControlUse) -> ControlFlag:
    """A recorded control as it was asked for, its picture from the store."""
    file = _in_store(store, use.image, f"the picture of the control {use.kind}")
    return ControlFlag(use.kind, str(file), use.shows, use.weight, use.start, use.end, use.model)


def _in_store(store: Files, digest: str, what: str) -> Path:
    kept = sorted(store.path(digest).parent.glob(f"{digest}.*"))
    if not kept:
        raise SpecError(
            f"{what} that it was drawn with (sha256 {digest[:12]}…) is not in the store; draw it anew with jogak image."
        )
    return kept[0]


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _backend(recipe: Recipe) -> Backend:
    return "openvino" if recipe.numeric.startswith("openvino") else "torch"


def _as_then(recipe: Recipe, now: ModelRef) -> ModelRef:
    """The model with as many threads as the picture was drawn with: sums split otherwise round otherwise."""
    mode, _, threads = recipe.numeric.rpartition("-t")
    same = mode == now.numeric.rpartition("-t")[0] and threads.isdecimal() and 1 <= int(threads) <= 1024
    return now.model_copy(update={"numeric": recipe.numeric}) if same else now


def _start(recipe: Recipe, store: Files, given: Path | None) -> Path | None:
    """Where the picture lies that the drawing began with, if it began with one."""
    wanted = recipe.request.init
    if wanted is None:
        return None
    if given is None:
        kept = sorted(store.path(wanted).parent.glob(f"{wanted}.*"))
        if not kept:
            raise SpecError(
                f"the picture it began with (sha256 {wanted[:12]}…) is not in the store; give it with --init."
            )
        return kept[0]
    if not given.is_file():
        raise SpecError(f"{given} is not a file; give the picture that the drawing began with.")
    with given.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise SpecError(
            f"{given} is not the picture it began with (sha256 {found[:12]}…, not {wanted[:12]}…)."
        )
    return given


def _reasons(recipe: Recipe, drawn: Recipe, now: ModelRef, source: Path, edited: bool) -> tuple[str, ...]:
    reasons: list[str] = []
    if edited:
        reasons.append(f"The pixels of {source.name} were changed after it was drawn.")
    if recipe.weights != now.digest:
        reasons.append(f"The weights differ: {recipe.weights[:12]}… then, {now.digest[:12]}… now.")
    for name, digest in recipe.inputs.items():
        if (found := drawn.inputs.get(name, "")) != digest:
            reasons.append(f"The {name} differs: {digest[:12]}… then, {found[:12]}… now.")
    if recipe.numeric != now.numeric:
        reasons.append(f"The numeric mode differs: {recipe.numeric} then, {now.numeric} now.")
    for name, version in versions(now.numeric).items():
        if (then := recipe.versions.get(name, "not used")) != version:
            reasons.append(f"{name} differs: {then} then, {version} now.")
    return tuple(reasons)
