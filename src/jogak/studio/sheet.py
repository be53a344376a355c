"""The character sheet, whole: a character and its panels become pictures, the worst are drawn again, one page, scores.

`sheet_plan.prepare` finds every file and says what can steer; `make_sheet` is the journey, and every line of it that draws, looks
or writes is a step that the store remembers: stopped at any time, the same command goes on from there. A budget counts
the seconds that takes cost when they were drawn, so a sheet that was stopped comes out like one that was not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import jogak
from jogak.adapters.annotators import pose_reader
from jogak.adapters.maps import missing_network, pose_folder, reader_note
from jogak.image.draw import draw_image
from jogak.image.files import import_picture
from jogak.image.steer import Steering, adapter_ref, named_pose
from jogak.judge.adherence import load_clip
from jogak.judge.features import BACKBONE, features
from jogak.judge.memorisation import Looks, alarm, thumb
from jogak.judge.stats import mean_score
from jogak.report.sheet_page import SheetFacts, ShownPanel, sheet_page, sheet_pdf
from jogak.spec import (
    Adapter,
    ControlUse,
    Handle,
    Image,
    ImageRequest,
    IpUse,
    ModelRef,
    SpecError,
)
from jogak.spec.image import IpMode
from jogak.spec.picture_scores import PictureScores
from jogak.spec.sheet import SheetRequest
from jogak.spec.training import Tensors
from jogak.store import Progress, Store, current, each, scope, step
from jogak.store.pictures import read_picture
from jogak.studio.eval import written_scores
from jogak.studio.sheet_judge import Judged, Take, eyes_of, joints_kept, judge_sheet, look_of, subjects
from jogak.studio.sheet_plan import (
    EYED,
    MOST_REDRAWN,
    Prepared,
    bounded,
    drawings,
    plain_request,
)
from jogak.studio.sheet_scores import (
    ENOUGH,
    FIXED_BAR,
    FIXED_CLIP_BAR,
    WEIGHTS,
    Look,
    choose,
    fault,
    next_panel,
    own_bar,
    subject_box,
    worths,
)
from jogak.studio.sheet_words import WORDS, panel_caption
from jogak.training.cache import read_tensors

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Sheet:
    request: SheetRequest
    panels: tuple[ShownPanel, ...]
    scores: PictureScores
    bar: float
    files: dict[str, Handle]
    """By the names that they have in the sheet's folder."""
    run_id: str


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
        self.eyes = eyes_of(prepared.ref, judges[1])
        self.known = None if references is None else subjects(read_tensors(references), self.eyes)
        self.own_bar = own_bar(self.known)
        asked = prepared.request.bar
        fixed = FIXED_BAR if self.eyes == BACKBONE else FIXED_CLIP_BAR
        self.bar = asked if asked is not None else fixed if self.own_bar is None else self.own_bar
        self._read = load_clip(judges[1].folder).read(prepared.said)

    def take(self, panel: int, number: int) -> Take:
        request, given = self.asked(panel, number)
        return draw_take(request, given, self.prepared.ref, self.references, self.judges)

    def asked(self, panel: int, number: int) -> tuple[ImageRequest, Steering]:
        """A take's request, and the files behind it in the same order."""
        request, given, who = (
            plain_request(self.prepared, panel, number),
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
                image=picture.sha256, weight=bounded(weight * (factor if at < len(given.references) else 1), 2),
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
        return look_of(take, self._read, self.prepared.said, panel, self.eyes)


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


@step(version="2")
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


@step(version="2")
def looked_at(pictures: tuple[Image, ...], references: bool, judges: tuple[ModelRef, ...]) -> Tensors:
    """What the judges see: `features` and `subject` (by the CLIP) of the subjects, `clip` and `thumbs` of the whole; of
    references also `mirrored`."""
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
        rows.setdefault("subject", []).append(clip.see(subject[None])[0])
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
    net = pose_folder()
    keypoints = None if missing_network("pose") else adapter_ref(net, "pose")
    joints = [
        None if keypoints is None or not isinstance(pose, str)
        else joints_kept(takes[at][picks[at]].picture, pose, keypoints)
        for at, pose in enumerate(prepared.poses)
    ]  # fmt: skip
    measured = any(one is not None for one in joints)
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
        eyes=bench.eyes,
        joints=tuple(joints),
        reader=pose_reader(net) if measured else "",
        posed=any(prepared.poses),
        notes=(*_notes(bench, takes), *_reader_notes(bench, measured)),
    )


def _reader_notes(bench: _Bench, measured: bool) -> tuple[str, ...]:
    note = reader_note("pose") if measured else None
    return () if note is None else (note.text(bench.prepared.request.language),)


def _notes(bench: _Bench, takes: Sequence[Sequence[Take]]) -> tuple[str, ...]:
    prepared, request = bench.prepared, bench.prepared.request
    words, count = WORDS[request.language], 0 if bench.known is None else len(bench.known)
    if request.bar is not None:
        bar = words["note_asked_bar"].format(bench.bar)
    elif bench.own_bar is None:
        bar = words["note_fixed_bar"].format(bench.bar, ENOUGH)
    else:
        bar = words["note_bar"].format(bench.bar, count)
    notes = [words["note_measure"].format(bench.eyes), bar]
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
    mean = mean_score(f"consistency/{bench.eyes}", [panel.consistency for panel in shown])
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
