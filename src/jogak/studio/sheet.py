"""The character sheet, whole: a character and its panels become pictures, the worst are drawn again, one page, scores.

`prepare` finds every file and says what can steer; `make_sheet` is the journey, and every line of it that draws, looks
or writes is a step that the store remembers: stopped at any time, the same command goes on from there. A budget counts
the seconds that takes cost when they were drawn, so a sheet that was stopped comes out like one that was not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import jogak
from jogak.adapters.control import check_control, find_control
from jogak.adapters.ip import check_ip, find_ip
from jogak.adapters.lora import find_lora
from jogak.adapters.maps import annotators_folder
from jogak.adapters.poses import pose_points
from jogak.image.draw import draw_image
from jogak.image.files import import_picture, open_picture
from jogak.image.lora_tags import lora_folders
from jogak.image.steer import Steering, adapter_ref, named_pose
from jogak.judge.adherence import load_clip
from jogak.judge.clip import judge_ref
from jogak.judge.features import BACKBONE, features
from jogak.judge.memorisation import Looks, alarm, thumb
from jogak.judge.stats import mean_score
from jogak.models import resolve
from jogak.models.preflight import preflight
from jogak.report.sheet_page import SheetFacts, ShownPanel, Steered, sheet_page, sheet_pdf
from jogak.spec import (
    Adapter,
    ControlUse,
    Handle,
    Image,
    ImageRequest,
    IpUse,
    LoraUse,
    ModelRef,
    SpecError,
)
from jogak.spec.image import IpMode
from jogak.spec.picture_scores import PictureScores
from jogak.spec.sheet import SheetRequest
from jogak.spec.training import Tensors, TrainRecord
from jogak.store import Progress, Store, current, each, scope, step
from jogak.store.pictures import read_picture
from jogak.studio.eval import Found, efficientnet_ref, find_pictures, written_scores
from jogak.studio.sheet_judge import Judged, Take, joints_kept, judge_sheet, look_of
from jogak.studio.sheet_scores import (
    ENOUGH,
    FIXED_BAR,
    WEIGHTS,
    Look,
    choose,
    fault,
    next_panel,
    own_bar,
    subject_box,
    worths,
)
from jogak.studio.sheet_words import WORDS, panel_caption, panel_words
from jogak.studio.train import RECORD
from jogak.training.cache import read_tensors
from jogak.training.dataset_make import CONTACT_FILE

MOST_REFERENCES = 100
"""Reference pictures that panels are compared with, evenly from all."""
EYED = 2
"""References that an IP-Adapter looks at when there is no LoRA."""
MOST_REDRAWN = 500
NEXT_SEED = 7919
"""From one take of a panel to the next."""

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Prepared:
    """A sheet before anything is drawn: every file found, every prompt written."""

    request: SheetRequest
    ref: ModelRef
    loras: tuple[tuple[LoraUse, Path], ...]
    references: Found | None
    trained: bool
    """The references are the LoRA's training pictures, since none were given."""
    tone: Path | None
    poses: tuple[Path | str | None, ...]
    """For each panel the file of its map, or the name of its pose."""
    control: Path | None
    ip: Path | None
    prompts: tuple[str, ...]
    said: tuple[str, ...]
    """The prompts as a judge reads them."""
    steered: tuple[Steered, ...]
    notes: tuple[str, ...]
    """What a look before the start found."""

    @property
    def judges(self) -> tuple[ModelRef, ...]:
        return efficientnet_ref(), judge_ref()


@dataclass(frozen=True)
class Sheet:
    request: SheetRequest
    panels: tuple[ShownPanel, ...]
    scores: PictureScores
    bar: float
    files: dict[str, Handle]
    """By the names that they have in the sheet's folder."""
    run_id: str


# before anything is drawn


def prepare(request: SheetRequest, folder: Path) -> Prepared:
    """Find what the request names, relative to `folder`. Raises `SpecError` for what is not there or does not fit.

    An adapter that the model simply does not come with is no error: then words have to do, and the sheet says so.
    """
    who, lang = request.character, request.language
    request = request.model_copy(update={"lang": lang, "title": request.title or who.name})
    loras = tuple((use, _lora(use.name, folder)) for use in who.loras)
    base = resolve(who.model)
    poses = tuple(_pose(at, panel.pose, folder) for at, panel in enumerate(request.panels))
    control = (
        _adapter(who.control, folder, lambda path: find_control(path, "pose", base)) if any(poses) else None
    )
    wants_eye = who.tone is not None or not loras
    ip = _adapter(who.ip, folder, lambda path: find_ip(path, base)) if wants_eye else None
    adapted = bool(loras or control or ip)
    # OpenVINO's networks are closed to adapters, torch's are not
    ref = resolve(who.model, "torch") if adapted and base.numeric.startswith("openvino") else base
    for path, check in ((control, check_control), (ip, check_ip)):
        if path:
            check(path, ref)
    given, trained = who.references, False
    if not given and loras:
        given = tuple(_training_pictures(loras[0][1]))
        trained = bool(given)
    both = [panel_words(who, panel) for panel in request.panels]
    prepared = Prepared(
        request=request, ref=ref, loras=loras, references=_found(given, folder), trained=trained,
        tone=_file(who.tone, folder, "the tone picture") if who.tone else None,
        poses=poses, control=control, ip=ip,
        prompts=tuple(prompt for prompt, _ in both), said=tuple(said for _, said in both), steered=(), notes=(),
    )  # fmt: skip
    findings = preflight(
        _plain_request(prepared, 0, 0), ref, loras=[path for _, path in loras],
        controls=[control] if control else [], ips=[ip] if ip else [],
    )  # fmt: skip
    if findings and findings[0].level == "stop":
        raise SpecError(findings[0].text(lang))
    notes = tuple(finding.text(lang) for finding in findings if finding.level == "warn")
    return replace(prepared, notes=notes, steered=_steered(prepared))


def _lora(name: str, folder: Path) -> Path:
    for path in (folder / Path(name).expanduser(), Path(name).expanduser()):
        if path.is_file():
            return path
    return find_lora(name, (folder, *lora_folders()))


def _pose(at: int, pose: str, folder: Path) -> Path | str | None:
    if not pose:
        return None
    path = folder / Path(pose).expanduser()
    if path.is_file():
        open_picture(path)
        return path
    try:
        pose_points(pose)
    except SpecError as error:
        raise SpecError(f"panels.{at}.pose: {error}") from None
    return pose


def _adapter(named: str | None, folder: Path, find: Callable[[str | None], Path]) -> Path | None:
    """The adapter that is named, else the model's own, else None."""
    if named is not None:
        return find(str(folder / Path(named).expanduser()))
    try:
        return find(None)
    except SpecError:
        return None


def _file(name: str, folder: Path, what: str) -> Path:
    path = folder / Path(name).expanduser()
    if not path.is_file():
        raise SpecError(f"{what}, {path}, is not a file; give the path of a picture.")
    open_picture(path)
    return path


def _training_pictures(lora: Path) -> Iterator[str]:
    """The folder that a LoRA was trained on, where its training's record lies beside it and the folder is still there."""
    record = lora.parent / RECORD
    if record.is_file() and Path(pictures := TrainRecord.read(record).pictures).is_dir():
        yield pictures


def _found(places: Sequence[str], folder: Path) -> Found | None:
    """The pictures in files and folders, evenly from all."""
    names: list[str] = []
    images: list[Image] = []
    for place in places:
        path = folder / Path(place).expanduser()
        if path.is_dir():
            found = find_pictures(path, 20_000)
        else:
            found = find_pictures(_file(place, folder, "a reference").parent, 20_000)
            at = [one.path.resolve() for one in found.images].index(path.resolve())
            found = Found((found.names[at],), (found.images[at],), ())
        names += found.names
        images += found.images
    kept = [at for at, name in enumerate(names) if Path(name).name != CONTACT_FILE]
    if not kept:
        return None
    few = sorted({round(at) for at in np.linspace(0, len(kept) - 1, min(len(kept), MOST_REFERENCES))})
    return Found(tuple(names[kept[at]] for at in few), tuple(images[kept[at]] for at in few), ())


def _steered(prepared: Prepared) -> tuple[Steered, ...]:
    """What holds identity, pose and tone; in plain words also what does not."""
    who, words, model = prepared.request.character, WORDS[prepared.request.language], prepared.ref.name
    rows: list[tuple[str, bool, str]] = []
    if prepared.loras:
        named = ", ".join(f"{path.stem} × {use.weight:g}" for use, path in prepared.loras)
        rows.append(("identity", True, words["lora"].format(named)))
    elif prepared.ip:
        how = words["references"].format(_eyed(prepared.references), who.identity_weight)
        rows.append(("identity", True, how))
    else:
        rows.append(("identity", False, words["no_identity"].format(model)))
    if not any(prepared.poses):
        rows.append(("pose", False, words["not_asked"]))
    elif prepared.control:
        rows.append(("pose", True, words["control"].format(prepared.control.stem, who.pose_weight)))
    else:
        rows.append(("pose", False, words["no_control"].format(model)))
    if prepared.tone is None:
        rows.append(("tone", False, words["no_tone" if who.look else "not_asked"]))
    elif prepared.ip:
        rows.append(("tone", True, words["ip"].format(prepared.ip.stem, who.tone_weight)))
    else:
        rows.append(("tone", False, words["no_ip" if who.look else "no_ip_words"].format(model)))
    return tuple(Steered(name=words[name], on=on, how=how) for name, on, how in rows)


def _eyed(references: Found | None) -> int:
    return min(EYED, len(references.images)) if references else 0


def _plain_request(prepared: Prepared, panel: int, number: int) -> ImageRequest:
    """A take's request without its pictures; take after take another seed, and the identity a little stronger or weaker."""
    who = prepared.request.character
    seed = prepared.request.panels[panel].seed
    factor = WEIGHTS[number % len(WEIGHTS)]
    return ImageRequest.parse(
        who.model_dump(include={"negative", "model", "width", "height", "steps", "guidance", "sampler"})
        | {
            "prompt": prepared.prompts[panel],
            "seed": ((who.seed + panel if seed is None else seed) + number * NEXT_SEED) % 2**32,
            "loras": [
                use.model_dump() | {"name": str(path), "weight": _bounded(use.weight * factor, 4)}
                for use, path in prepared.loras
            ],
        }
    )


def _bounded(weight: float, most: float) -> float:
    return round(max(-most, min(most, weight)), 4)


def drawings(request: SheetRequest, seconds_each: float) -> int:
    """How many panels will be drawn at most."""
    again = request.tries
    if request.budget is not None:
        again = max(0, int(request.budget / max(seconds_each, 1e-3)) - len(request.panels))
    return len(request.panels) + min(again, MOST_REDRAWN)


def seconds_each(prepared: Prepared) -> float | None:
    """A reckoning for one panel on this machine, drawn and looked at; None for a model that has no UNet."""
    from jogak.models.catalogue import family_of
    from jogak.models.place import open_place
    from jogak.spec.training import TrainRequest
    from jogak.training.predict import predict

    if family_of(open_place(prepared.ref.folder)).denoiser != "unet":
        return None
    who = prepared.request.character
    asked = TrainRequest(base=who.model, batch=1, rank=1, precision="fp32").for_family(prepared.ref.family)
    asked = asked.model_copy(update={"batch": 1, "gradient_checkpointing": False})
    # a step with guidance is two passes forward; a training step is some three
    return who.steps * predict(asked, prepared.ref, who.width, who.height).seconds_per_step * 2 / 3 + 1


# the journey


def make_sheet(
    store: Store,
    prepared: Prepared,
    *,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> Sheet:
    """Draw every panel, draw the worst again until it passes or the budget ends, set the page, write the scores.

    Raises `StepError` naming the panel that failed; what was drawn until then stays in the store.
    """
    request, judges = prepared.request, prepared.judges
    with store.run("sheet", spec=request, on_progress=on_progress, cancel=cancel) as run:
        bench = _Bench(prepared, _given(prepared), _references(prepared, judges), judges)
        takes = _draw_all(bench)
        looks = [[bench.look(panel, take) for take in tried] for panel, tried in enumerate(takes)]
        picks = choose(looks, bench.known)
        shown = _shown(bench, takes, looks, picks)
        judged = _judged(bench, takes, picks)
        facts = _facts(bench, takes, shown, judged.notes)
        page, pdf = sheet_page(facts), sheet_pdf(facts)
        scores = judge_sheet(judged, page)
        files: dict[str, Handle] = {
            "sheet.png": page,
            "sheet.pdf": pdf,
            "scores.json": written_scores(scores),
        }
        for at, panel in enumerate(shown, 1):
            files[f"panel-{at}.png"] = panel.picture
            if panel.pose:
                files[f"poses/panel-{at}.png"] = panel.pose
        return Sheet(request, shown, scores, bench.bar, files, run.id)


def deliver(store: Store, sheet: Sheet, folder: Path) -> list[Path]:
    """Copy a sheet's files into `folder`, each written beside its place and renamed."""
    targets = []
    for name, handle in sheet.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        targets.append(store.export(handle, target))
    return targets


@dataclass(frozen=True)
class _Given:
    """The files behind the panels, in the store or known by their digests."""

    loras: tuple[Adapter, ...]
    poses: tuple[Image | None, ...]
    control: Adapter | None
    ip: Adapter | None
    references: tuple[Image, ...]
    """that an IP-Adapter looks at for identity"""
    tone: Image | None
    """whether or not an IP-Adapter looks at it"""


class _Bench:
    """What all takes of a sheet have in common."""

    def __init__(
        self, prepared: Prepared, given: _Given, references: Tensors | None, judges: tuple[ModelRef, ...]
    ) -> None:
        self.prepared, self.given, self.references, self.judges = prepared, given, references, judges
        self.known = None if references is None else read_tensors(references)["features"].numpy()
        self.own_bar = own_bar(self.known)
        asked = prepared.request.bar
        self.bar = asked if asked is not None else FIXED_BAR if self.own_bar is None else self.own_bar
        self._read = load_clip(judges[1].folder).read(prepared.said)

    def take(self, panel: int, number: int) -> Take:
        request, given = self.asked(panel, number)
        return draw_take(request, given, self.prepared.ref, self.references, self.judges)

    def asked(self, panel: int, number: int) -> tuple[ImageRequest, Steering]:
        """A take's request, and the files behind it in the same order."""
        request, given, who = (
            _plain_request(self.prepared, panel, number),
            self.given,
            self.prepared.request.character,
        )
        pose = given.poses[panel]
        controls: tuple[ControlUse, ...] = ()
        if pose and given.control:
            controls = (
                ControlUse(
                    kind="none", shows="pose", image=pose.sha256, model=_named(who.control, self.prepared.control),
                    weight=who.pose_weight, end=who.pose_end,
                ),
            )  # fmt: skip
        eyed: list[tuple[Image, float, IpMode]] = (
            [] if given.ip is None else [(one, who.identity_weight, "all") for one in given.references]
        )
        if given.ip and given.tone:
            eyed.append((given.tone, who.tone_weight, who.tone_mode))
        factor = 1.0 if self.prepared.loras else WEIGHTS[number % len(WEIGHTS)]
        ips = [
            IpUse(
                image=picture.sha256, weight=_bounded(weight * (factor if at < len(given.references) else 1), 2),
                mode=mode, model=_named(who.ip, self.prepared.ip),
            )
            for at, (picture, weight, mode) in enumerate(eyed)
        ]  # fmt: skip
        steering = Steering(
            loras=given.loras,
            maps=(pose,) if controls and pose else (),
            controls=(given.control,) if controls and given.control else (),
            references=tuple(picture for picture, *_ in eyed),
            ips=(given.ip,) * len(eyed) if given.ip else (),
        )
        full = request.model_dump() | {"controls": controls, "ips": tuple(ips)}
        return ImageRequest.parse(full), steering

    def look(self, panel: int, take: Take) -> Look:
        return look_of(take, self._read, self.prepared.said, panel)


def _named(asked: str | None, found: Path | None) -> str | None:
    return str(found) if asked is not None else None


def _given(prepared: Prepared) -> _Given:
    who, store = prepared.request.character, current().store
    poses = []
    for at, pose in enumerate(prepared.poses, 1):
        with scope(WORDS[prepared.request.language]["panel"].format(at)):
            poses.append(
                import_picture(store, pose) if isinstance(pose, Path)
                else named_pose(pose, who.width, who.height) if pose else None
            )  # fmt: skip
    found = prepared.references.images if prepared.references and prepared.ip and not prepared.loras else ()
    few = [found[round(at)] for at in np.linspace(0, len(found) - 1, min(EYED, len(found)))] if found else []
    return _Given(
        loras=tuple(adapter_ref(path, "lora") for _, path in prepared.loras),
        poses=tuple(poses),
        control=adapter_ref(prepared.control, "control") if prepared.control else None,
        ip=adapter_ref(prepared.ip, "ip") if prepared.ip else None,
        references=tuple(import_picture(store, one.path) for one in few),
        tone=import_picture(store, prepared.tone) if prepared.tone else None,
    )


def _references(prepared: Prepared, judges: tuple[ModelRef, ...]) -> Tensors | None:
    if prepared.references is None:
        return None
    return looked_at(prepared.references.images, True, judges)


def _draw_all(bench: _Bench) -> list[list[Take]]:
    """Every panel once, then the worst again: for each panel all its takes, in the order they were drawn."""
    request, words = bench.prepared.request, WORDS[bench.prepared.request.language]
    count = len(request.panels)
    done = 0

    def draw(panel: int, number: int) -> Take:
        nonlocal done
        with scope(words["take"].format(number + 1)):
            take = bench.take(panel, number)
        done += 1
        return take

    def first(panel: int) -> Take:
        _tell(done, count + request.tries, words["panel"].format(panel + 1))
        return draw(panel, 0)

    takes = [
        [take] for take in each(None, first, range(count), label=lambda at: words["panel"].format(at + 1))
    ]
    looks = [[bench.look(panel, tried[0])] for panel, tried in enumerate(takes)]
    while _may_go_on(request, takes) and (panel := next_panel(looks, bench.known, bench.bar)) is not None:
        name = words["panel"].format(panel + 1)
        expected = drawings(request, sum(_seconds(takes)) / done)
        _tell(done, max(done + 1, expected), f"{name}, {words['take'].format(len(takes[panel]) + 1)}")
        with scope(name):
            takes[panel].append(draw(panel, len(takes[panel])))
        looks[panel].append(bench.look(panel, takes[panel][-1]))
    _tell(1, 1, words["sheet"])
    return takes


def _seconds(takes: Sequence[Sequence[Take]]) -> Iterator[float]:
    return (take.seconds for tried in takes for take in tried)


def _may_go_on(request: SheetRequest, takes: Sequence[Sequence[Take]]) -> bool:
    again = sum(len(tried) - 1 for tried in takes)
    if request.budget is not None:
        return again < MOST_REDRAWN and sum(_seconds(takes)) < request.budget
    return again < request.tries


def _tell(done: int, total: int, text: str) -> None:
    current().progress(done, total, text)
    current().check_cancel()


# steps


@step(version="1")
def draw_take(
    request: ImageRequest,
    given: Steering,
    model: ModelRef,
    references: Tensors | None,
    judges: tuple[ModelRef, ...],
) -> Take:
    """A panel drawn, looked at, and held against the references for copies."""
    begun = time.perf_counter()
    picture = draw_image(request, model, given)
    seen = looked_at((picture,), False, judges)
    copied = references is not None and is_copy(seen, references)
    seconds = round(time.perf_counter() - begun, 3)
    return Take(request=request, picture=picture, seen=seen, copied=copied, seconds=seconds)


@step(version="1")
def looked_at(pictures: tuple[Image, ...], references: bool, judges: tuple[ModelRef, ...]) -> Tensors:
    """What the judges see: `features` of the subjects, `clip` and `thumbs` of the whole; of references also `mirrored`."""
    here, clip = current(), load_clip(judges[1].folder)
    rows: dict[str, list[NDArray[np.generic]]] = {}
    for at, picture in enumerate(pictures):
        here.check_cancel()
        here.progress(at, len(pictures), "looking")
        read = read_picture(picture.path)
        if read.sha256 != picture.sha256:
            raise SpecError(f"{picture.path} changed while it was looked at; run the command again.")
        pixels = np.asarray(read.rgb)
        left, top, right, bottom = subject_box(pixels)
        subject = np.ascontiguousarray(pixels[top:bottom, left:right])
        rows.setdefault("features", []).append(features(subject[None])[0])
        rows.setdefault("clip", []).append(clip.see(pixels[None])[0])
        rows.setdefault("thumbs", []).append(thumb(pixels))
        if references:
            mirrored = np.ascontiguousarray(subject[:, ::-1])
            rows.setdefault("mirrored", []).append(features(mirrored[None])[0])
    with here.store.new_file(".safetensors") as file:
        save_file({name: torch.from_numpy(np.stack(row)) for name, row in rows.items()}, file)
        return here.store.put(file, Tensors)


@step(version="1")
def is_copy(picture: Tensors, references: Tensors) -> bool:
    """Whether the memorisation alarm calls a picture a copy of one of the references."""
    ours, theirs = _looks(picture), _looks(references)
    return bool(alarm(ours, theirs, ["picture"], [str(at) for at in range(len(theirs.thumbs))]).copies)


def _looks(seen: Tensors) -> Looks:
    rows = {name: tensor.numpy() for name, tensor in read_tensors(seen).items()}
    return Looks(rows["features"], rows.get("mirrored"), rows["thumbs"])


# the page and the scores


def _shown(
    bench: _Bench, takes: Sequence[Sequence[Take]], looks: Sequence[Sequence[Look]], picks: Sequence[int]
) -> tuple[ShownPanel, ...]:
    request = bench.prepared.request
    words, values = WORDS[request.language], worths(looks, picks, bench.known)
    return tuple(
        ShownPanel(
            picture=takes[at][pick].picture,
            pose=bench.given.poses[at],
            caption=panel_caption(panel, request.language),
            consistency=values[at][pick].consistency,
            fault=words[wrong] if (wrong := fault(looks[at][pick], values[at][pick], bench.bar)) else "",
            take=pick + 1,
            takes=len(takes[at]),
        )
        for at, (panel, pick) in enumerate(zip(request.panels, picks, strict=True))
    )


def _judged(bench: _Bench, takes: Sequence[Sequence[Take]], picks: Sequence[int]) -> Judged:
    prepared = bench.prepared
    net = annotators_folder() / "pose"
    keypoints = adapter_ref(net, "pose") if (net / "config.json").is_file() else None
    joints = [
        None if keypoints is None or not isinstance(pose, str)
        else joints_kept(takes[at][picks[at]].picture, pose, keypoints)
        for at, pose in enumerate(prepared.poses)
    ]  # fmt: skip
    found = prepared.references
    return Judged(
        lang=prepared.request.language,
        said=prepared.said,
        takes=tuple(tuple(tried) for tried in takes),
        picks=tuple(picks),
        references=bench.references,
        reference_names=found.names if found else (),
        bar=bench.bar,
        judge=bench.judges[1],
        joints=tuple(joints),
        posed=any(prepared.poses),
        notes=_notes(bench, takes),
    )


def _notes(bench: _Bench, takes: Sequence[Sequence[Take]]) -> tuple[str, ...]:
    prepared, request = bench.prepared, bench.prepared.request
    words, count = WORDS[request.language], 0 if bench.known is None else len(bench.known)
    if request.bar is not None:
        bar = words["note_asked_bar"].format(bench.bar)
    elif bench.own_bar is None:
        bar = words["note_fixed_bar"].format(bench.bar, ENOUGH)
    else:
        bar = words["note_bar"].format(bench.bar, count)
    notes = [words["note_measure"], bar]
    if not count:
        notes.append(words["note_no_references"])
    elif prepared.trained:
        notes.append(words["note_training"])
    if any(prepared.poses) and prepared.control is None:
        notes.append(words["note_poses"])
    if not _may_go_on(request, takes):
        asked = request.tries if request.budget is None else f"{request.budget:g}"
        if asked:
            notes.append(words["tries" if request.budget is None else "budget"].format(asked))
    return tuple(notes)


def _facts(
    bench: _Bench, takes: Sequence[Sequence[Take]], shown: tuple[ShownPanel, ...], notes: tuple[str, ...]
) -> SheetFacts:
    request, who, prepared = bench.prepared.request, bench.prepared.request.character, bench.prepared
    mean = mean_score(f"consistency/{BACKBONE}", [panel.consistency for panel in shown])
    korean = request.language == "ko"
    drawn = sum(map(len, takes))
    settings = (
        ("모델" if korean else "model", Path(who.model).stem),
        ("크기" if korean else "size", f"{who.width} × {who.height}"),
        ("단계" if korean else "steps", f"{who.steps}, cfg {who.guidance:g}"),
        ("샘플러" if korean else "sampler", who.sampler),
        ("시드" if korean else "seeds", ", ".join(str(takes[at][one.take - 1].request.seed) for at, one in enumerate(shown))),
        ("그린 그림" if korean else "drawn", str(drawn)),
    )  # fmt: skip
    return SheetFacts(
        title=request.title,
        text=request.text,
        lang=request.language,
        panels=shown,
        references=prepared.references.images if prepared.references else (),
        tone=bench.given.tone,
        steered=prepared.steered,
        bar=bench.bar,
        mean=mean.value,
        low=mean.low,
        high=mean.high,
        settings=settings,
        notes=notes,
        version=jogak.__version__,
    )
