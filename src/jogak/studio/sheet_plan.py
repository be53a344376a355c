"""A character sheet before anything is drawn: every file found, every prompt written, and what can steer it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jogak.adapters.control import check_control, find_control
from jogak.adapters.ip import check_ip, find_ip
from jogak.adapters.lora import find_lora
from jogak.adapters.poses import pose_points
from jogak.image.lora_tags import lora_folders
from jogak.judge.clip import judge_ref
from jogak.models import resolve
from jogak.models.preflight import preflight
from jogak.report.sheet_page import Steered
from jogak.spec import (
    Image,
    ImageRequest,
    LoraUse,
    ModelRef,
    SpecError,
)
from jogak.spec.sheet import SheetRequest
from jogak.spec.training import TrainRecord
from jogak.store.pictures import open_picture
from jogak.studio.eval import Found, efficientnet_ref, find_pictures
from jogak.studio.sheet_scores import (
    WEIGHTS,
)
from jogak.studio.sheet_words import WORDS, panel_words
from jogak.studio.train import RECORD
from jogak.training.dataset_make import CONTACT_FILE

MOST_REFERENCES = 100
"""Reference pictures that panels are compared with, evenly from all."""
EYED = 2
"""References that an IP-Adapter looks at when there is no LoRA."""
MOST_REDRAWN = 500
"""Panels drawn again at most within a budget."""
NEXT_SEED = 7919
"""From one take of a panel to the next."""


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
        plain_request(prepared, 0, 0), ref, loras=[path for _, path in loras],
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


def plain_request(prepared: Prepared, panel: int, number: int) -> ImageRequest:
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
                use.model_dump() | {"name": str(path), "weight": bounded(use.weight * factor, 4)}
                for use, path in prepared.loras
            ],
        }
    )


def bounded(weight: float, most: float) -> float:
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
