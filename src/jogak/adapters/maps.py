"""From a picture to the map that a ControlNet reads: bright on black, (H, W, 3) uint8, of the picture's own size.

    make_map("canny", photo, low=80, high=160)

Lines are found by arithmetic alone. HED, depth and the pose of a photograph need a network, whose weights are looked
for in `annotators_folder()`; how to get there, or how to do without, is in the sentence when they are absent. Poses of
puppets, and depth of pocket's pictures, are read by pocket's own nets where nothing else is there; `reader_note` says so.
Everything is deterministic: the same picture and settings give the same map on the same machine.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import platformdirs
from numpy.typing import NDArray

from jogak.adapters.poses import pose_map
from jogak.spec import ControlKind, SpecError
from jogak.spec.preflight import Finding

MAX_PIXELS = 50_000_000

Picture = NDArray[np.uint8]


def make_map(kind: ControlKind, picture: Picture, **settings: Any) -> Picture:
    """The map of a picture (H, W, 3) uint8. `map_settings` tells the settings of a kind and their defaults.

    Raises `SpecError` for a picture that is empty or above 50 megapixels, for settings that the kind does not have
    or that make no sense, and when a network that is needed is not there.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise SpecError(f"a map is made of (H, W, 3) bytes, not {picture.shape} {picture.dtype}.")
    if picture.shape[0] * picture.shape[1] > MAX_PIXELS:
        raise SpecError(f"the picture has more than {MAX_PIXELS / 1e6:.0f} megapixels; make it smaller.")
    found = _KINDS[kind](np.ascontiguousarray(picture), **map_settings(kind, **settings))
    return np.repeat(found[..., None], 3, axis=2) if found.ndim == 2 else found


def map_settings(kind: ControlKind, **settings: Any) -> dict[str, Any]:
    """All settings of a kind, those given over the defaults: what to show beside a map, and to keep with it.

    Raises `SpecError` for one that the kind does not have.
    """
    if kind not in _KINDS:
        raise SpecError(f'"{str(kind)[:40]}" is no kind of map; there are {", ".join(_KINDS)}.')
    known = {
        name: parameter.default
        for name, parameter in inspect.signature(_KINDS[kind]).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    odd = sorted(settings.keys() - known.keys())
    if odd:
        told = f"it has {', '.join(known)}" if known else "it has none"
        raise SpecError(f'the map {kind} has no setting "{odd[0][:40]}"; {told}.')
    return known | settings


def annotators_folder() -> Path:
    """Where the networks of maps lie: `$JOGAK_ANNOTATORS`, else `annotators/` in the folder of the store."""
    if given := os.environ.get("JOGAK_ANNOTATORS", "").strip():
        return Path(given).expanduser()
    home = os.environ.get("JOGAK_HOME", "").strip()
    data = Path(home).expanduser() if home else Path(platformdirs.user_data_dir("jogak", appauthor=False))
    return data / "annotators"


def _scale(picture: Picture) -> float:
    """Widths of blurs and lines are given for 512 pixels, so that a picture's size does not change its map."""
    return min(picture.shape[:2]) / 512


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise SpecError(f"{name} is {str(value)[:40]}; give a number from {low:g} to {high:g}.")
    return float(value)


def _canny(picture: Picture, *, low: float = 100, high: float = 200) -> Picture:
    """Canny's edges: white where the gradient passes `high`, and on from there as long as it passes `low`."""
    low, high = _number("low", low, 0, 1000), _number("high", high, 0, 1000)
    if low > high:
        raise SpecError(f"canny: low ({low:g}) is above high ({high:g}); give low below high.")
    return cv2.Canny(picture, low, high)  # type: ignore[return-value]


def _scribble(picture: Picture, *, threshold: float = 32, thickness: float = 3) -> Picture:
    """Thick, simple strokes: the difference of two blurs (XDoG, Winnemöller 2011, as ControlNets for scribbles take
    it), cut at `threshold`, and strokes made `thickness` pixels wide at 512."""
    threshold = _number("threshold", threshold, 1, 254)
    thickness = _number("thickness", thickness, 1, 64)
    scale, fine = _scale(picture), picture.astype(np.float32)
    near, far = _blurred(fine, 0.5 * scale), _blurred(fine, 5.0 * scale)
    strokes = (2 * -(far - near).min(axis=2) > threshold).astype(np.uint8) * 255
    width = max(1, round(thickness * scale))
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return cv2.dilate(strokes, shape)  # type: ignore[return-value]


def _lineart(picture: Picture, *, blur: float = 6, floor: float = 8) -> Picture:
    """Soft lines: what is darker than its surroundings (a blur of `blur` pixels at 512) in any colour, stretched by the
    median of all that exceeds `floor`. It needs no network, and is not what the learnt line-art networks draw: ink
    becomes a line, and so does the darker side of an edge between colours."""
    blur, floor = _number("blur", blur, 0.5, 64), _number("floor", floor, 0, 254)
    fine = picture.astype(np.float32)
    lines = (_blurred(fine, blur * _scale(picture)) - fine).max(axis=2).clip(0, 255)
    strong = lines[lines > floor]
    lines *= 127 / max(16.0, float(np.median(strong)) if strong.size else 16.0)
    return lines.clip(0, 255).astype(np.uint8)


def _blurred(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.1))  # type: ignore[return-value]


def _hed(picture: Picture, *, weights: str | Path | None = None) -> Picture:
    """Holistically-nested edges (Xie and Tu, arXiv:1504.06375): soft outlines of things."""
    from jogak.adapters.annotators import hed_edges

    return hed_edges(_weights("hed", weights), picture)


def _depth(picture: Picture, *, weights: str | Path | None = None) -> Picture:
    """Depth, near is bright, by a network (DPT, Depth Anything, else pocket's own for its pictures)."""
    from jogak.adapters.annotators import depth_map

    return depth_map(_weights("depth", weights), picture)


def _pose(picture: Picture, *, name: str | None = None, weights: str | Path | None = None) -> Picture:
    """The pose of the one figure in the picture, by a network (ViTPose, else pocket's own for puppets); with `name` a
    pose by name, of the picture's size."""
    height, width = picture.shape[:2]
    if name is not None:
        return pose_map(str(name), width, height)
    from jogak.adapters.annotators import body_points
    from jogak.adapters.poses import draw_pose

    return draw_pose(body_points(_weights("pose", weights), picture), width, height)


def _none(picture: Picture) -> Picture:
    """A map that is ready."""
    return picture


_NEEDED: Mapping[str, str] = MappingProxyType({
    "hed": "the HED network, as safetensors (ControlNetHED or hed-bsds500)",
    "depth": "a depth network: the folder of DPT or Depth Anything, with config.json and model.safetensors",
    "pose": "a pose network: the folder of ViTPose, with config.json and model.safetensors",
})  # fmt: skip
_SHORT: Mapping[str, tuple[str, str]] = MappingProxyType({
    "hed": ("ControlNetHED / hed-bsds500 (safetensors)", "hed.safetensors"),
    "depth": ("DPT / Depth Anything (config.json, model.safetensors)", "depth"),
    "pose": ("ViTPose (config.json, model.safetensors)", "pose"),
})  # fmt: skip
"""In no language's words, for a table: the network of a kind, and its place in `annotators_folder()`."""
_INSTEAD: Mapping[str, str] = MappingProxyType({
    "hed": "or take scribble or lineart, which need none",
    "depth": "or give a ready depth map with --control none=map.png",
    "pose": "or name a pose (standing, waving …), or give a ready pose map with --control none=map.png",
})  # fmt: skip


def _place(kind: str) -> Path:
    """Where the network of a kind lies, or would lie: in `annotators_folder()`, else pocket's own.

    What is put into `annotators_folder()` counts even when it is damaged: another reader must not take its place
    unsaid.
    """
    usual = annotators_folder() / _SHORT[kind][1]
    return usual if usual.exists() else _own(kind) or usual


def _own(kind: str) -> Path | None:
    """Pocket's own network of a kind, where it ships."""
    from jogak.models import depth, keypoints

    if kind == "pose" and keypoints.has_keypoints(keypoints.FOLDER):
        return keypoints.FOLDER
    return depth.FOLDER if kind == "depth" and depth.has_depth_net(depth.FOLDER) else None


def pose_folder() -> Path:
    """The folder of the network that reads poses here, for `annotators.body_points`; `missing_network` says whether
    there is one."""
    return _place("pose")


_OWN_NOTES: Mapping[str, tuple[str, str]] = MappingProxyType({
    "pose": (
        "Poses are read by pocket-keypoints, trained on cut-out puppets; not for photographs. For those, put ViTPose "
        "(config.json, model.safetensors) at $JOGAK_ANNOTATORS/pose.",
        "자세는 pocket-keypoints가 읽습니다. 오려 만든 인형 그림으로만 학습한 것이라 사진에는 맞지 않습니다. 사진에는 "
        "ViTPose(config.json, model.safetensors)를 $JOGAK_ANNOTATORS/pose에 두세요.",
    ),
    "depth": (
        "Depth is read by pocket-depth, trained on pocket's own scenes; not for photographs. For those, put DPT or Depth "
        "Anything (config.json, model.safetensors) at $JOGAK_ANNOTATORS/depth.",
        "깊이는 pocket-depth가 읽습니다. pocket의 장면으로만 학습한 것이라 사진에는 맞지 않습니다. 사진에는 DPT나 "
        "Depth Anything(config.json, model.safetensors)을 $JOGAK_ANNOTATORS/depth에 두세요.",
    ),
})  # fmt: skip
"""What to know of pocket's own networks, in English and Korean."""


def reader_note(kind: str, about: str = "control") -> Finding | None:
    """What to know of the network that reads poses or depth here; nothing for one of photographs, for a kind that needs
    none, or where there is none."""
    from jogak.models.depth import is_depth_net
    from jogak.models.keypoints import is_keypoint_net

    if kind not in _OWN_NOTES or missing_network(kind):
        return None
    if not (is_keypoint_net(_place(kind)) or is_depth_net(_place(kind))):
        return None
    en, ko = _OWN_NOTES[kind]
    return Finding(level="note", code=f"{kind}.reader", about=about, en=en, ko=ko)


def _weights(kind: str, given: str | Path | None) -> Path:
    """Where the network of a kind lies. Raises `SpecError` that says how to get it there."""
    path = Path(given).expanduser() if given else _place(kind)
    if not path.exists():
        raise SpecError(f"maps of {kind} need {_NEEDED[kind]}; put it at {path}, {_INSTEAD[kind]}.")
    return path


def missing_network(kind: str) -> str:
    """The network that maps of a kind need and that is not here, with where it goes; empty when nothing is missing."""
    if kind not in _SHORT:
        return ""
    what, usual = _SHORT[kind]
    place = _place(kind)
    here = place.is_file() if place.suffix else (place / "config.json").is_file()
    return "" if here else f"{what} → $JOGAK_ANNOTATORS/{usual}"


def network_digest(kind: str) -> str:
    """sha256 of all files that the network of a kind is read from; empty for a kind that needs none, or lacks it."""
    if kind not in _SHORT or missing_network(kind):
        return ""
    place = _place(kind)
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    found = hashlib.sha256()
    for path in files:
        if path.suffix in (".json", ".safetensors"):
            with path.open("rb") as file:
                found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


_KINDS: Mapping[str, Callable[..., Picture]] = MappingProxyType({
    "canny": _canny, "scribble": _scribble, "lineart": _lineart, "hed": _hed, "depth": _depth, "pose": _pose,
    "none": _none,
})  # fmt: skip
