"""The sheet's `PictureScores`: what `jogak eval` measures, consistency, and every take with the reason it stayed or went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from jogak.adapters.annotators import body_points
from jogak.adapters.poses import pose_points
from jogak.judge.adherence import load_clip
from jogak.judge.control_fidelity import pck
from jogak.judge.eval import Fidelity, Seen, Words, score_set
from jogak.judge.features import BACKBONE
from jogak.judge.identity import Vectors
from jogak.judge.stats import mean_score
from jogak.spec import Adapter, Image, ImageRequest, ModelRef, Spec, SpecError
from jogak.spec.film import Lang
from jogak.spec.picture_scores import Alternative, Bar, PictureScores
from jogak.spec.scores import Score
from jogak.spec.training import Tensors
from jogak.store import step
from jogak.store.pictures import read_picture
from jogak.studio.sheet_scores import Look, Worth, fault, lead, worths
from jogak.studio.sheet_words import WORDS
from jogak.training.cache import read_tensors

PCK_BAR = 0.5
"""Share of the joints that a panel steered by pose is to keep."""


class Take(Spec):
    """One try at a panel."""

    request: ImageRequest
    picture: Image
    seen: Tensors
    copied: bool = Field(description="the memorisation alarm calls it a copy of a reference")
    seconds: float = Field(ge=0, description="what it took, when it was drawn")


class Judged(Spec):
    """All takes, and what they are judged by."""

    lang: Lang
    said: tuple[str, ...] = Field(description="each panel's words, as a judge reads them")
    takes: tuple[tuple[Take, ...], ...] = Field(description="of each panel, in the order they were drawn")
    picks: tuple[int, ...] = Field(description="which take of each panel is kept")
    references: Tensors | None
    reference_names: tuple[str, ...]
    bar: float
    judge: ModelRef
    eyes: str = Field(description="whose features consistency is of: `eyes_of`")
    joints: tuple[float | None, ...] = Field(description="each panel's PCK@0.1, where it was measured")
    reader: str = Field(default="", description="what read the joints: vitpose or pocket-keypoints")
    posed: bool = Field(description="poses were asked for")
    notes: tuple[str, ...]


@step(version="1")
def joints_kept(picture: Image, pose: str, net: Adapter) -> float:
    """PCK@0.1 of a named pose in a picture, by the network of a folder; 0 when it sees nobody."""
    pixels = np.asarray(read_picture(picture.path).rgb)
    height, width = pixels.shape[:2]
    side = min(height, width)
    shift = np.array([(width - side) / 2, (height - side) / 2])
    wanted = np.array(
        [(np.nan, np.nan) if point is None else np.array(point) * side + shift for point in pose_points(pose)]
    )
    try:
        seen = body_points(net.path, pixels)
    except SpecError as error:
        if "nobody" in str(error):
            return 0.0
        raise
    found = np.array([(np.nan, np.nan) if at is None else (at[0] * width, at[1] * height) for at in seen])
    spread = np.nanmax(wanted, 0) - np.nanmin(wanted, 0)
    return pck(found, wanted, float(spread.max()))


def eyes_of(model: ModelRef, judge: ModelRef) -> str:
    """Whose features tell whether two subjects are one character, by name. A network that learnt from photographs sees
    pocket's pictures all alike: five panels of a character and five of a stranger lay 0.54 and 0.47 from her pictures by
    EfficientNet-lite0, 0.35 and 0.03 by pocket's judging CLIP (`python -m benchmarks.identity`)."""
    return judge.name if model.family == "pocket" else BACKBONE


def subjects(seen: Mapping[str, Tensor], eyes: str) -> Vectors:
    """(N, D) of the subjects in pictures that were looked at (`looked_at`)."""
    return seen["features" if eyes == BACKBONE else "subject"].numpy()


def look_of(take: Take, read: NDArray[np.floating], said: Sequence[str], panel: int, eyes: str) -> Look:
    """A take as it is chosen by; `read` (N, D) are the panels' words through the judging CLIP."""
    rows = read_tensors(take.seen)
    clip = rows["clip"][0].numpy()
    return Look(subjects(rows, eyes)[0], lead(clip, read, said, panel), take.copied)


@step(version="3")
def judge_sheet(judged: Judged, page: Image) -> PictureScores:
    """Scores of the kept panels, and all takes as alternatives; `page` stands for the sheet that was chosen."""
    read = load_clip(judged.judge.folder).read(judged.said)
    references = known = None
    if judged.references is not None:
        rows = read_tensors(judged.references)
        features, thumbs, mirrored = (rows[name].numpy() for name in ("features", "thumbs", "mirrored"))
        references, known = (
            Seen(judged.reference_names, features, thumbs, mirrored),
            subjects(rows, judged.eyes),
        )
    looks = [
        [look_of(take, read, judged.said, panel, judged.eyes) for take in tried]
        for panel, tried in enumerate(judged.takes)
    ]
    scores = _as_eval(judged, read, references)
    values = worths(looks, judged.picks, known)
    own = [values[panel][pick].consistency for panel, pick in enumerate(judged.picks)]
    name = f"consistency/{judged.eyes}"
    whole = mean_score(name, own, backbone=judged.eyes)
    joints = [one for one in judged.joints if one is not None]
    bars = [
        Bar(name="consistency", value=min(own), at_least=judged.bar, n=len(own), part="quality"),
        *scores.bars,
    ]
    more, missing = [], list(scores.missing)
    if joints:
        more = [mean_score(f"pck/{judged.reader}", joints, backbone=judged.reader)]
        bars.append(Bar(name="pck", value=more[0].value, at_least=PCK_BAR, n=len(joints), part="control"))
        missing = [one for one in missing if not one.name.startswith("control_fidelity")]
    items = tuple(
        item.model_copy(update={"scores": (_one(name, value, judged.eyes), *item.scores)})
        for item, value in zip(scores.items, own, strict=True)
    )
    return PictureScores.model_validate(
        dict(scores)
        | {
            "lead": name,
            "whole": (whole, *scores.whole, *more),
            "items": items,
            "bars": tuple(bars),
            "missing": tuple(missing),
            "alternatives": tuple(_alternatives(judged, looks, values, known, whole, page)),
        }
    )


def _as_eval(judged: Judged, read: NDArray[np.floating], references: Seen | None) -> PictureScores:
    """What `jogak eval` would say of the kept panels; identity is that of the subjects alone."""
    kept = [judged.takes[panel][pick] for panel, pick in enumerate(judged.picks)]
    rows = [read_tensors(take.seen) for take in kept]
    features, thumbs, clips = (
        np.concatenate([row[name].numpy() for row in rows]) for name in ("features", "thumbs", "clip")
    )
    names = tuple(f"panel-{at}.png" for at in range(1, len(kept) + 1))
    measured = any(one is not None for one in judged.joints)
    return score_set(
        Seen(names, features, thumbs, digests=tuple(take.picture.sha256 for take in kept)),
        references,
        Words(judged.judge.name, tuple(range(len(kept))), judged.said, clips, read),
        # a kind that is not found again in the picture counts as missing, by its name
        [Fidelity("pose", (), ())] if judged.posed and not measured else (),
        notes=judged.notes,
    )


def _one(name: str, value: float, backbone: str) -> Score:
    return Score(name=name, value=value, n=1, backbone=backbone)


def _alternatives(
    judged: Judged,
    looks: Sequence[Sequence[Look]],
    values: Sequence[Sequence[Worth]],
    known: Vectors | None,
    whole: Score,
    page: Image,
) -> Iterator[Alternative]:
    """The sheet as it is, as it would be with every panel's first take, then the takes: those kept, then the others."""
    words = WORDS[judged.lang]
    firsts = [0] * len(looks)
    before = [row[0].consistency for row in worths(looks, firsts, known)]
    passed = sum(not fault(*_kept(judged, looks, values, panel), judged.bar) for panel in range(len(looks)))
    reason = words["won"].format(takes=sum(map(len, looks)), panels=len(looks), passed=passed, bar=judged.bar)
    if changed := any(judged.picks):
        reason += words["gained"].format(float(np.mean(before)), whole.value)
    value = whole.model_copy(update={"name": f"value/{BACKBONE}"})
    yield Alternative(name=words["sheet"], scores=(value,), picture=page.sha256, chosen=True, reason=reason)
    if changed:
        first = mean_score(value.name, before, backbone=BACKBONE)
        yield Alternative(name=words["first"], scores=(first,), reason=words["first_lost"])
    rows = [
        (number == judged.picks[panel], values[panel][number].consistency, panel, number)
        for panel, tried in enumerate(looks)
        for number in range(len(tried))
    ]
    rows.sort(key=lambda row: (not row[0], row[2] if row[0] else -row[1]))
    for _, _, panel, number in rows:
        yield _take_as_way(judged, looks, values, panel, number)


def _kept(
    judged: Judged, looks: Sequence[Sequence[Look]], values: Sequence[Sequence[Worth]], panel: int
) -> tuple[Look, Worth]:
    return looks[panel][judged.picks[panel]], values[panel][judged.picks[panel]]


def _take_as_way(
    judged: Judged,
    looks: Sequence[Sequence[Look]],
    values: Sequence[Sequence[Worth]],
    panel: int,
    number: int,
) -> Alternative:
    words, take = WORDS[judged.lang], judged.takes[panel][number]
    look, value = looks[panel][number], values[panel][number]
    settings = {words["seed"]: str(take.request.seed)}
    if take.request.loras:
        settings[words["weight"]] = ", ".join(f"{use.weight:g}" for use in take.request.loras)
    scores = [_one(f"consistency/{judged.eyes}", value.consistency, judged.eyes)]
    if value.identity is not None:
        scores.append(_one(f"identity/{judged.eyes}", value.identity, judged.eyes))
    scores.append(_one(f"clip_margin/{judged.judge.name}", look.lead, judged.judge.name))
    return Alternative(
        name=f"{words['panel'].format(panel + 1)}, {words['take'].format(number + 1)}",
        settings=settings,
        scores=tuple(scores),
        picture=take.picture.sha256,
        reason=_reason(judged, looks, values, panel, number),
    )


def _reason(
    judged: Judged,
    looks: Sequence[Sequence[Look]],
    values: Sequence[Sequence[Worth]],
    panel: int,
    number: int,
) -> str:
    words, look, value = WORDS[judged.lang], looks[panel][number], values[panel][number]
    wrong = fault(look, value, judged.bar)
    if number == judged.picks[panel]:
        if not wrong:
            return words["kept_pass"].format(value.consistency, judged.bar)
        if wrong == "below":
            return words["kept_best"].format(len(looks[panel]), value.consistency, judged.bar)
        return words["kept_fault"].format(len(looks[panel]), words[wrong])
    best, kept = _kept(judged, looks, values, panel)
    if (look.copy, look.lead <= 0) != (best.copy, best.lead <= 0):
        return words[wrong]
    return words["less"].format(value.consistency, kept.consistency)
