"""What steers a picture beside its words: a picture to start from, a mask, LoRAs, ControlNets, IP-Adapters."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from torch import Tensor

from jogak.adapters.control import control, load_control, range_to_sigmas
from jogak.adapters.ip import ip, load_ip
from jogak.adapters.lora import lora, read_lora
from jogak.adapters.maps import make_map
from jogak.adapters.poses import pose_map
from jogak.image.files import read_picture
from jogak.models import DiffusionModel
from jogak.models.safe import file_digest
from jogak.spec import Adapter, ControlKind, Image, ImageRequest, ModelRef, Spec, SpecError
from jogak.spec.image import IpMode
from jogak.store import current, step


class Steering(Spec):
    """The files behind a request, in its order: one map and ControlNet for each of `controls`, and so on."""

    init: Image | None = None
    mask: Image | None = None
    loras: tuple[Adapter, ...] = ()
    maps: tuple[Image, ...] = ()
    controls: tuple[Adapter, ...] = ()
    references: tuple[Image, ...] = ()
    ips: tuple[Adapter, ...] = ()

    @property
    def inputs(self) -> dict[str, str]:
        """sha256 of everything that went into the picture, by what it is."""
        found = {"init": self.init, "mask": self.mask}
        for kind, handles in (
            ("lora", self.loras), ("map", self.maps), ("control", self.controls), ("reference", self.references),
            ("ip", self.ips),
        ):  # fmt: skip
            found |= {f"{kind} {i}": handle for i, handle in enumerate(handles, 1)}
        return {name: handle.sha256 for name, handle in found.items() if handle is not None}


@dataclass(frozen=True)
class ControlFlag:
    """`--control KIND=FILE[:WEIGHT][@START-END][#MODEL]` as it was written."""

    kind: ControlKind
    file: str
    """a picture, a ready map, or for `pose` also the name of a pose"""
    shows: ControlKind | None = None
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    model: str | None = None


@dataclass(frozen=True)
class IpFlag:
    """`--ip FILE[:WEIGHT][:MODE][#MODEL]` as it was written."""

    file: str
    weight: float = 0.6
    mode: IpMode = "all"
    model: str | None = None


_CONTROL = re.compile(
    r"(?P<kind>[a-z]+)(?::(?P<shows>[a-z]+))?=(?P<file>.+?)(?::(?P<weight>\d*\.?\d+))?"
    r"(?:@(?P<start>\d*\.?\d+)-(?P<end>\d*\.?\d+))?(?:#(?P<model>.+))?"
)
_IP = re.compile(
    r"(?P<file>.+?)(?::(?P<weight>\d*\.?\d+))?(?::(?P<mode>all|style|layout))?(?:#(?P<model>.+))?"
)
_KINDS: tuple[ControlKind, ...] = ("canny", "scribble", "lineart", "hed", "depth", "pose", "none")


def parse_control(text: str) -> ControlFlag:
    """`canny=photo.png:0.8@0.0-0.7`; `none:canny=map.png` for a ready map; `pose=waving` for a named pose.

    Raises `SpecError` with the way to write it.
    """
    found = _CONTROL.fullmatch(text)
    if found is None or found["kind"] not in _KINDS or (found["shows"] or "none") not in _KINDS:
        raise SpecError(
            f'control: "{text[:80]}" is not KIND=FILE[:WEIGHT][@START-END]; KIND is one of {", ".join(_KINDS)}, for '
            "example canny=photo.png:0.8@0.0-0.7, or none:canny=map.png for a map that is ready."
        )
    start, end = float(found["start"] or 0), float(found["end"] or 1)
    return ControlFlag(
        kind=found["kind"], file=found["file"], shows=found["shows"],  # pyright: ignore[reportArgumentType]
        weight=float(found["weight"] or 1), start=start, end=end, model=found["model"],
    )  # fmt: skip


def parse_ip(text: str) -> IpFlag:
    """`ref.png:0.6`, `ref.png:0.6:style`. Raises `SpecError` with the way to write it."""
    found = _IP.fullmatch(text)
    if found is None:
        raise SpecError(f'ip: "{text[:80]}" is not FILE[:WEIGHT][:MODE]; for example ref.png:0.6:style.')
    return IpFlag(found["file"], float(found["weight"] or 0.6), found["mode"] or "all", found["model"])  # pyright: ignore[reportArgumentType]


def adapter_ref(path: Path, kind: str) -> Adapter:
    """A LoRA, ControlNet or IP-Adapter by the digest of its files; a folder's are all its weights and settings."""
    if path.is_file():
        files = [path]
    else:
        files = sorted(file for file in path.rglob("*") if file.suffix in (".safetensors", ".json"))
    if len(files) == 1:
        digest = file_digest(files[0])
    else:
        each = "".join(f"{file.name}\0{file_digest(file)}\n" for file in files)
        digest = hashlib.sha256(each.encode()).hexdigest()
    return Adapter(
        sha256=digest,
        suffix=".safetensors",
        path=path,
        name=path.stem if path.is_file() else path.name,
        kind=kind,
    )


@step(version="2")
def control_map(kind: ControlKind, picture: Image, network: str) -> Image:
    """The map that a ControlNet reads, of the picture's size, as a PNG to look at beside the result. `network` is
    the digest of what makes such maps (`network_digest`): another network makes another map."""
    pixels = make_map(kind, np.asarray(read_picture(picture.path)))
    return _kept(pixels)


@step(version="1")
def named_pose(name: str, width: int, height: int) -> Image:
    """The map of a pose by its name, Korean or English."""
    return _kept(pose_map(name, width, height))


def _kept(pixels: np.ndarray) -> Image:
    store = current().store
    with store.new_file(".png") as file:
        PIL.Image.fromarray(pixels).save(file)
        return store.put(file, Image, width=pixels.shape[1], height=pixels.shape[0])


@contextmanager
def steered(
    model: DiffusionModel, ref: ModelRef, request: ImageRequest, given: Steering, sigmas: Tensor
) -> Iterator[None]:
    """The model with everything the request names in it; afterwards as it was, bit for bit."""
    with ExitStack() as stack:
        for use, file in zip(request.loras, given.loras, strict=True):
            stack.enter_context(lora(model, read_lora(file.path), use.weight, use.text_weight, use.blocks))
        for use, file, picture in zip(request.controls, given.controls, given.maps, strict=True):
            start, end = range_to_sigmas(sigmas, use.start, use.end)
            pixels = np.asarray(read_picture(picture.path))
            net = load_control(file.path, ref)
            kind = use.shows or use.kind
            stack.enter_context(control(model, net, pixels, use.weight, start, end, kind))
        for use, file, picture in zip(request.ips, given.ips, given.references, strict=True):
            pixels = np.asarray(read_picture(picture.path))
            stack.enter_context(ip(model, load_ip(file.path, ref), pixels, use.weight, use.mode))
        yield
