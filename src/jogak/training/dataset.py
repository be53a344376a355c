"""The training pictures of a folder: as `dataset.json` says, or as kohya's `10_name/` or a flat folder shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from jogak.spec import SpecError
from jogak.spec.dataset import CropMode, Dataset, DatasetImage
from jogak.store import Progress
from jogak.store.pictures import Picture, read_file, read_picture
from jogak.training.dataset_captions import guess_trigger, read_caption
from jogak.training.dataset_crops import TINY, Box, Crop, crop
from jogak.training.dataset_layout import CAPTIONS, DATASET_FILE, Found, Layout, read_layout, shown
from jogak.training.dataset_words import say

MAX_DATASET_BYTES = 64_000_000
"""Of a dataset.json; 5,000 pictures with captions of the longest kind stay below it."""

OnProgress = Callable[[Progress], None]


def read_dataset(
    folder: Path,
    size: int = 512,
    step: int = 64,
    crop_mode: CropMode = "smart",
    on_progress: OnProgress | None = None,
) -> Dataset:
    """The training pictures of a folder, every file read whole and checked.

    A folder with `dataset.json` is what that file says, each picture by its digest; made at another size or
    step it is put into buckets again. Any other folder is read as it lies, nothing in it is changed, and
    `crop` says what part of each original counts. A caption file beside a picture counts before what
    `dataset.json` says; in kohya's layout the folder's name is the caption where there is none.

    Raises `SpecError` for whatever could not be trained on: no pictures, pictures that would be skipped,
    unreadable pictures and captions, links that lead out of the folder.
    """
    layout = read_layout(folder)
    refuse(folder, layout.found)
    if (folder / DATASET_FILE).is_file():
        return _made_dataset(layout, size, step, on_progress)
    images: list[DatasetImage] = []
    written: list[str] = []
    for count, source in enumerate(layout.sources, 1):
        picture = read_large_enough(source.path)
        lines = read_caption(source.caption) if source.caption else []
        written += lines[:1]
        cut = cut_of(source.file, picture, crop_mode, size, step)
        image = DatasetImage(
            file=source.file, sha256=picture.sha256, caption=lines[0] if lines else source.group,
            caption_by="file" if lines else "none", width=cut.width, height=cut.height, crop=cut.box,
            repeats=source.repeats,
        )  # fmt: skip
        images.append(image)
        _tell(on_progress, count, len(layout.sources), source.file)
    trigger = guess_trigger(written, layout.groups)
    return Dataset(trigger=trigger, class_name=class_of(layout.groups, trigger), images=tuple(images))


def read_pixels(folder: Path, image: DatasetImage) -> NDArray[np.uint8]:
    """A training picture (height, width, 3) uint8 RGB, cut and scaled.

    Raises `SpecError` when the file is not the one that `image` was made of.
    """
    picture = read_picture(folder / image.file)
    if picture.sha256 != image.sha256:
        raise SpecError(f"{folder / image.file} was changed; run jogak dataset make again.")
    return np.asarray(scaled(picture.rgb, image.crop, image.width, image.height))


def scaled(picture: PIL.Image.Image, box: Box, width: int, height: int) -> PIL.Image.Image:
    """The part `box` of a picture at width × height pixels (Lanczos)."""
    return picture.resize((width, height), PIL.Image.Resampling.LANCZOS, box=box)


def read_dataset_file(path: Path) -> Dataset:
    """A `dataset.json`. Raises `SpecError` when it cannot be read or is not one."""
    try:
        data = json.loads(read_file(path, MAX_DATASET_BYTES))
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not readable as JSON in UTF-8: {str(error)[:200]}.") from None
    return Dataset.parse(data, where=path.name)


def refuse(folder: Path, found: Iterable[Found]) -> None:
    """Raise the first error among the findings as a `SpecError`."""
    for one in found:
        if one.severity == "error":
            finding = say(one, "en")
            more = f" and {len(one.files) - 3} more" if len(one.files) > 3 else ""
            files = f" ({', '.join(one.files[:3])}{more})" if one.files else ""
            raise SpecError(f"{shown(str(folder))}: {finding.what}{files} {finding.todo}")


def class_of(groups: Sequence[str], trigger: str) -> str:
    """What kohya's folder names say after the trigger word: "sk_style puppet" is a puppet."""
    rests = {name.removeprefix(trigger).strip() for name in groups if name.startswith(trigger)}
    return rests.pop() if trigger and len(rests) == 1 else ""


def read_large_enough(path: Path) -> Picture:
    """A picture that can be trained on. Raises `SpecError` as `read_picture` does, and below 64 pixels."""
    picture = read_picture(path)
    if min(picture.rgb.size) < TINY:
        raise SpecError(
            f"{path} has {picture.rgb.width}×{picture.rgb.height} pixels; no side may be below {TINY}. Find it "
            "larger, or remove it."
        )
    return picture


def cut_of(file: str, picture: Picture, mode: CropMode, size: int, step: int) -> Crop:
    """Where a picture is cut. Raises `SpecError`, with the file's name, when it is too long to be kept whole."""
    try:
        return crop(np.asarray(picture.rgb), picture.alpha, mode, size, step)
    except SpecError as error:
        raise SpecError(f"{shown(file)}: {error}.") from None


def _made_dataset(layout: Layout, size: int, step: int, on_progress: OnProgress | None) -> Dataset:
    folder = layout.folder
    made = read_dataset_file(folder / DATASET_FILE)
    listed = {image.file for image in made.images}
    added = tuple(shown(source.file) for source in layout.sources if source.file not in listed)
    if added:
        refuse(folder, [Found("not_in_set", "error", added)])
    request = made.made_with
    mode: CropMode = "none" if request and request.crop == "none" else "center"
    fits = request is not None and (request.size, request.step) == (size, step)
    images = []
    for count, image in enumerate(made.images, 1):
        picture = _unchanged(folder, image)
        caption = _caption_beside(folder / image.file)
        changes: dict[str, Any] = {}
        if caption is not None and caption != image.caption:
            changes |= {"caption": caption, "caption_by": "file"}
        if not fits:
            cut = cut_of(image.file, picture, mode, size, step)
            changes |= {"width": cut.width, "height": cut.height, "crop": cut.box}
        images.append(image.model_copy(update=changes))
        _tell(on_progress, count, len(made.images), image.file)
    return made.model_copy(update={"images": tuple(images)})


def _unchanged(folder: Path, image: DatasetImage) -> Picture:
    path = folder / image.file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SpecError(f"{path} is a link that leads out of the folder; copy the file itself here.")
    picture = read_picture(path)
    if picture.sha256 != image.sha256:
        raise SpecError(
            f"{path} is not the picture that {DATASET_FILE} names; make the data set again with jogak dataset "
            f"make, or remove {DATASET_FILE} to take the folder as it lies."
        )
    return picture


def _caption_beside(picture: Path) -> str | None:
    """What a person may have written since; None where there is no file, or nothing in it."""
    for suffix in CAPTIONS:
        path = picture.with_suffix(suffix)
        if path.is_file():
            lines = read_caption(path)
            return lines[0] if lines else None
    return None


def _tell(on_progress: OnProgress | None, done: int, total: int, text: str) -> None:
    if on_progress:
        on_progress(Progress("dataset", "", done, total, text))
