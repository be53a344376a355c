"""Everything that can be said of a set of pictures, in one go: which scores, in which order, and which are missing.

Arrays in, `PictureScores` out; nothing is read or written here. What could not be measured is named with its reason,
never left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from jogak.judge.adherence import adherence_scores
from jogak.judge.control_fidelity import FIDELITY, LOWER_IS_BETTER
from jogak.judge.distance import frechet_distance, frechet_score, kid_score
from jogak.judge.diversity import diversity, diversity_score
from jogak.judge.features import BACKBONE
from jogak.judge.identity import Vectors, identity, identity_ceiling, identity_score
from jogak.judge.memorisation import SIDE, Looks, alarm, memorisation_score
from jogak.judge.stats import mean_score
from jogak.spec.picture_scores import Alarm, Bar, ItemScores, Missing, PictureScores, Why
from jogak.spec.scores import Score

ENOUGH_FOR_FID = 10_000
"""Pictures in each set from which a Fréchet distance may lead; below, KID does."""
FEWEST = 10
"""Pictures in each set for any distance between sets."""
KID_AT_MOST = 3000
"""Pictures of each set, drawn by the seed, that KID is computed on; it is unbiased at any number."""
SPLITS = 8
ITEMS = 400
"""Pictures whose own numbers are kept."""

FD_OVER_HALVES = 2.0
"""Distance to the references over the distance between two halves of them, at equal numbers."""
IDENTITY_SHARE = 0.9
DIVERSITY_SHARE = 0.5
CONTROL_BARS: Mapping[str, tuple[float | None, float | None]] = MappingProxyType(
    {"edge_f1": (0.75, None), "depth_rmse": (None, 0.08)}
)
"""At least, at most: those that pocket's own ControlNets are held to."""


@dataclass(frozen=True)
class Seen:
    """A set of pictures through the judges' eyes; each array has a row for each name."""

    names: tuple[str, ...]
    features: Vectors
    """(N, 1280) by EfficientNet-lite0."""
    thumbs: NDArray[np.uint8]
    """(N, SIDE, SIDE) uint8, see `memorisation.thumb`."""
    mirrored: Vectors | None = None
    """As `features`, of the mirror images; needed of references only."""
    inception: Vectors | None = None
    """(N, 2048), when a file of FID's network was given."""
    digests: tuple[str, ...] = ()

    @property
    def looks(self) -> Looks:
        return Looks(self.features, self.mirrored, self.thumbs)


@dataclass(frozen=True)
class Words:
    """The prompts of some of the pictures, and both as a CLIP sees them (unit rows)."""

    backbone: str
    rows: tuple[int, ...]
    """Which pictures have a prompt; the arrays below have a row for each."""
    prompts: tuple[str, ...]
    seen: NDArray[np.floating]
    read: NDArray[np.floating]


@dataclass(frozen=True)
class Fidelity:
    """How well some of the pictures kept one kind of map."""

    kind: str
    rows: tuple[int, ...]
    values: tuple[float, ...]
    """None where it could not be measured; then `why` and `detail` say what was lacking."""
    measure: str = ""
    """Default: the one of the kind."""
    why: Why = "no_detector"
    detail: str = ""
    backbone: str = ""
    """The network that took the maps from the pictures again, where its name matters."""


@dataclass
class _Findings:
    whole: list[Score] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    items: dict[int, list[Score]] = field(default_factory=dict)
    alarm: Alarm | None = None
    lead: str = ""

    def miss(self, name: str, why: Why, detail: str = "") -> None:
        self.missing.append(Missing(name=name, why=why, detail=detail))

    def each(self, rows: Sequence[int], values: Sequence[float], like: Score) -> None:
        """Every picture's own value of a score."""
        for row, value in zip(rows, values, strict=True):
            own = like.model_copy(
                update={"value": float(value), "low": None, "high": None, "n": 1, "seed": None}
            )
            self.items.setdefault(row, []).append(own)


def score_set(
    pictures: Seen,
    references: Seen | None = None,
    words: Words | None = None,
    fidelity: Sequence[Fidelity] = (),
    *,
    inception: str = "",
    seed: int = 0,
    notes: Sequence[str] = (),
) -> PictureScores:
    """Score a set of N ≥ 1 pictures. `inception` names FID's network when its features are there."""
    found = _Findings()
    _distances(found, pictures, references, inception, seed)
    _adherence(found, words, len(pictures.names), seed)
    _identity(found, pictures, references, seed)
    _diversity(found, pictures, references, seed)
    _memorisation(found, pictures, references)
    _fidelity(found, fidelity, seed)
    prompts = dict(zip(words.rows, words.prompts, strict=True)) if words else {}
    items = tuple(
        ItemScores(
            picture=name,
            sha256=pictures.digests[row] if pictures.digests else None,
            prompt=prompts.get(row, ""),
            scores=tuple(found.items.get(row, ())),
        )
        for row, name in enumerate(pictures.names[:ITEMS])
    )
    more = len(pictures.names) - len(items)
    return PictureScores(
        pictures=len(pictures.names),
        references=len(references.names) if references else 0,
        lead=found.lead,
        whole=tuple(sorted(found.whole, key=lambda score: score.name != found.lead)),
        items=items,
        bars=tuple(found.bars),
        alarm=found.alarm,
        missing=tuple(found.missing),
        notes=(
            *notes,
            *([f"Only the first {ITEMS} pictures are listed one by one, not {more} more."] if more else []),
        ),
    )


def _distances(found: _Findings, pictures: Seen, references: Seen | None, inception: str, seed: int) -> None:
    names = [f"kid/{BACKBONE}", f"fd/{BACKBONE}"]
    if references is None:
        for name in (*names, "fid"):
            found.miss(name, "no_reference")
        return
    fewest = min(len(pictures.names), len(references.names))
    if fewest < FEWEST:
        for name in names:
            found.miss(name, "few_pictures", f"{fewest} < {FEWEST}")
        return
    eyes = [("fd", BACKBONE, pictures.features, references.features)]
    if pictures.inception is not None and references.inception is not None:
        eyes.append(("fid", inception, pictures.inception, references.inception))
    else:
        found.miss("fid", "no_weights", "--inception")
    for kind, backbone, a, b in eyes:
        # at large numbers each resample costs seconds and the interval is narrow anyway
        frechet = frechet_score(a, b, seed=seed, resamples=100 if fewest <= 1000 else 40)
        some = (_some(part, seed) for part in (a, b))
        measured = (frechet, f"{kind}/{backbone}"), (kid_score(*some, seed=seed), f"kid/{backbone}")
        found.whole += [
            score.model_copy(update={"name": name, "backbone": backbone}) for score, name in measured
        ]
        found.lead = f"{kind if fewest >= ENOUGH_FOR_FID else 'kid'}/{backbone}"
    if len(references.names) >= 2 * FEWEST:
        ratio = halves_ratio(pictures.features, references.features, seed=seed)
        found.bars.append(
            Bar(name="fd_over_halves", value=ratio, at_most=FD_OVER_HALVES, n=fewest, part="quality")
        )


def _some(rows: Vectors, seed: int) -> Vectors:
    if len(rows) <= KID_AT_MOST:
        return rows
    return rows[np.random.default_rng(seed).choice(len(rows), KID_AT_MOST, replace=False)]


def halves_ratio(pictures: Vectors, references: Vectors, *, seed: int = 0) -> float:
    """Fréchet distance of pictures and half of the references, over that of the references' two halves.

    Both at the same numbers, so that the bias of small sets is the same; the mean over `SPLITS` random splits. 1: the
    pictures lie among the references like references do.
    """
    size = min(len(pictures), len(references) // 2, 1000)
    rng = np.random.default_rng(seed)
    near, far = 0.0, 0.0
    for _ in range(SPLITS):
        order = rng.permutation(len(references))
        left, right = references[order[:size]], references[order[size : 2 * size]]
        ours = pictures[rng.permutation(len(pictures))[:size]]
        far += frechet_distance(ours, left)
        near += frechet_distance(right, left)
    return far / max(near, 1e-9)


def _adherence(found: _Findings, words: Words | None, pictures: int, seed: int) -> None:
    if words is None or not words.rows:
        found.miss("clip_score", "no_prompts")
        return
    if len(words.rows) < pictures:
        found.miss("clip_score", "no_prompts", f"{pictures - len(words.rows)} / {pictures}")
    scores = adherence_scores(words.seen, words.read, words.prompts, words.backbone, seed=seed)
    found.whole += scores
    found.each(words.rows, list(100 * (words.seen * words.read).sum(1)), scores[0])
    if len(scores) == 1:
        found.miss("clip_margin", "same_prompts")
    elif (low := scores[1].low) is not None:
        found.bars.append(Bar(name="text_margin_low", value=low, at_least=0, n=scores[1].n, part="quality"))


def _identity(found: _Findings, pictures: Seen, references: Seen | None, seed: int) -> None:
    if references is None:
        found.miss(f"identity/{BACKBONE}", "no_reference")
        return
    score = identity_score(pictures.features, references.features, BACKBONE, seed=seed)
    found.whole.append(score)
    found.each(range(len(pictures.names)), list(identity(pictures.features, references.features)), score)
    if len(references.names) > 1:
        ceiling = identity_ceiling(references.features, BACKBONE, seed=seed)
        found.whole.append(ceiling)
        share = score.value / max(ceiling.value, 1e-9)
        found.bars.append(
            Bar(name="identity_share", value=share, at_least=IDENTITY_SHARE, n=score.n, part="quality")
        )


def _diversity(found: _Findings, pictures: Seen, references: Seen | None, seed: int) -> None:
    # said by name, because it is what the field means by diversity
    found.miss("lpips", "no_weights")
    if len(pictures.names) < 2:
        found.miss(f"diversity/{BACKBONE}", "few_pictures", "1 < 2")
        return
    score = diversity_score(pictures.features, BACKBONE, seed=seed)
    found.whole.append(score)
    if references and len(references.names) > 1:
        share = score.value / max(diversity(references.features), 1e-9)
        found.bars.append(
            Bar(name="diversity_share", value=share, at_least=DIVERSITY_SHARE, n=score.n, part="quality")
        )


def _memorisation(found: _Findings, pictures: Seen, references: Seen | None) -> None:
    if references is None:
        found.miss("memorised", "no_reference")
        return
    found.alarm = alarm(pictures.looks, references.looks, pictures.names, references.names)
    score = memorisation_score(found.alarm, len(pictures.names))
    found.whole.append(score)
    found.bars.append(Bar(name="copies", value=len(found.alarm.copies), at_most=0, n=score.n, part="quality"))


def _fidelity(found: _Findings, fidelity: Sequence[Fidelity], seed: int) -> None:
    if not fidelity:
        found.miss("control_fidelity", "no_maps")
    for part in fidelity:
        if not part.values:
            found.miss(f"control_fidelity/{part.kind}", part.why, part.detail)
            continue
        name = part.measure or FIDELITY[part.kind][0]
        better = "lower" if name in LOWER_IS_BETTER else "higher"
        score = mean_score(
            f"{name}/{part.kind}", part.values, backbone=part.backbone or part.kind, better=better, seed=seed
        )
        found.whole.append(score)
        found.each(part.rows, part.values, score)
        at_least, at_most = CONTROL_BARS.get(name, (None, None))
        if (at_least, at_most) != (None, None):
            found.bars.append(
                Bar(
                    name=name,
                    value=score.value,
                    at_least=at_least,
                    at_most=at_most,
                    n=score.n,
                    part="control",
                )
            )


__all__ = ["SIDE", "Fidelity", "Seen", "Words", "halves_ratio", "score_set"]
