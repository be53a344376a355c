"""Which checkpoint, at which weight? Numbers for each, one recommendation, and the reason in a sentence.

A LoRA is worth what it brings (the character) and what it leaves alone (the prompt, the variety of pictures), and
nothing when it hands out its training pictures. For each picture the geometric mean of three shares, 0 to 1:

- likeness: feature cosine to the training pictures, 0 at the plain model's, 1 at that of the training pictures among
  themselves (subject fidelity of DreamBooth, arXiv 2208.12242; there, too, by a CLIP and by another network);
- obedience: how much nearer, for a CLIP, the picture is to its own prompt than to others (both ways centred), as a
  share of the plain model's lead;
- variety: how far it lies from its cell's other pictures, as a share of how far training pictures lie apart;

and 0 when the memorisation alarm calls it a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jogak.judge.diversity import diversity
from jogak.judge.identity import Vectors, identity, unit
from jogak.judge.memorisation import Looks, alarm
from jogak.judge.stats import bootstrap
from jogak.spec.training import CellScores, Verdict

LEAST_LEAD = 0.5
"""Clip lead (cosine × 100) of the plain model below which obedience cannot be measured."""
NOTICEABLE = 0.05
"""A difference in value that the verdict counts."""
THERE = 0.5
"""Likeness from which the character counts as learned."""
TIE = 0.01
"""Values this near count as equal."""


Eyes = Literal["clip", "features"]


@dataclass(frozen=True)
class Seen:
    """Pictures through the judges' eyes, a row each."""

    looks: Looks
    clip: Vectors
    """unit rows of the judging CLIP"""


@dataclass(frozen=True)
class Cell:
    """One checkpoint at one weight, and what it drew: for each prompt all seeds, prompt after prompt."""

    checkpoint: str
    step: int
    weight: float
    seen: Seen


@dataclass(frozen=True)
class Ruler:
    """What a cell is measured against."""

    training: Seen
    prompts: tuple[int, ...]
    """for each picture of a cell the row of `said` that is its prompt"""
    said: Vectors
    """unit rows of all prompts, those of the pictures and others to tell them from, the trigger word taken out"""
    seeds: int
    """pictures in a row that share a prompt"""
    eyes: Eyes
    """who sees likeness: the judging CLIP, or the network of `Looks.features`"""

    def subject(self, seen: Seen) -> Vectors:
        """The rows by which a character is known again."""
        return seen.clip if self.eyes == "clip" else seen.looks.features


def weigh(cells: Sequence[Cell], plain: Cell, ruler: Ruler) -> tuple[list[CellScores], CellScores]:
    """Scores of the cells and of the plain model, in order."""
    taught = ruler.subject(ruler.training)
    nothing = float(identity(ruler.subject(plain.seen), taught).mean())
    lead = float(_leads(plain.seen, ruler).mean())
    marks = _Marks(nothing, 1 - _apart(taught), lead, _apart(ruler.training.looks.features))
    return [_weighed(cell, ruler, marks) for cell in cells], _weighed(plain, ruler, marks)


@dataclass(frozen=True)
class _Marks:
    plain_identity: float
    training_identity: float
    plain_lead: float
    training_distance: float


def _apart(training: Vectors) -> float:
    """Mean distance of the training pictures among themselves; one picture is only like itself."""
    return diversity(training) if len(training) > 1 else 0.0


def _weighed(cell: Cell, ruler: Ruler, marks: _Marks) -> CellScores:
    alike = identity(ruler.subject(cell.seen), ruler.subject(ruler.training))
    likeness = _share(alike - marks.plain_identity, marks.training_identity - marks.plain_identity)
    leads = _leads(cell.seen, ruler)
    measurable = marks.plain_lead >= LEAST_LEAD
    obedience = _share(leads, marks.plain_lead) if measurable else np.ones(len(leads))
    apart = _distances(cell.seen.looks.features)
    variety = _share(apart, marks.training_distance)
    copied = _copies(cell.seen.looks, ruler.training.looks)
    values = np.cbrt(likeness * obedience * variety) * ~copied
    low, high = bootstrap(values, block=ruler.seeds) if len(values) > 1 else (None, None)
    return CellScores(
        checkpoint=cell.checkpoint,
        step=cell.step,
        weight=cell.weight,
        identity=float(alike.mean()),
        likeness=float(likeness.mean()),
        adherence=float(leads.mean()),
        obedience=float(obedience.mean()),
        diversity=float(apart.mean()),
        variety=float(variety.mean()),
        copied=float(copied.mean()),
        value=float(values.mean()),
        low=low,
        high=high,
        n=len(values),
    )


def _share(part: NDArray[np.float64], whole: float) -> NDArray[np.float64]:
    """part / whole between 0 and 1; 1 where there is no way to go."""
    return np.clip(part / whole, 0, 1) if whole > 1e-6 else np.ones(len(part))


def _leads(seen: Seen, ruler: Ruler) -> NDArray[np.float64]:
    """100 × how much nearer each picture is to its own prompt than to the others, and than the cell's pictures are on
    the average, (N,). Pictures that are all alike have a mean lead of 0, whatever prompt they suit."""
    table = 100 * unit(seen.clip) @ unit(ruler.said).T
    if table.shape[1] > 1:
        table = table - table.mean(1, keepdims=True)
    if len(set(ruler.prompts)) > 1:
        table = table - table.mean(0, keepdims=True)
    return table[np.arange(len(table)), list(ruler.prompts)]


def _distances(features: Vectors) -> NDArray[np.float64]:
    """Each picture's mean distance to the others, (N,); 1 for one alone."""
    rows = unit(features)
    if len(rows) < 2:
        return np.ones(len(rows))
    return 1 - (rows @ rows.sum(0) - 1) / (len(rows) - 1)


def _copies(looks: Looks, training: Looks) -> NDArray[np.bool_]:
    names = [str(i) for i in range(len(looks.thumbs))]
    found = alarm(looks, training, names, [str(i) for i in range(len(training.thumbs))])
    copied = {int(copy.picture) for copy in found.copies}
    return np.array([i in copied for i in range(len(names))])


# the recommendation


def choose(cells: Sequence[CellScores], plain: CellScores) -> int:
    """The best cell. Of those as good within `TIE`: the earliest checkpoint and the smallest weight once the
    character is there or the training diverged, for they change least; else the latest and greatest."""
    top = max(cell.value for cell in cells)
    good = [i for i, cell in enumerate(cells) if cell.value >= top - TIE]
    order = sorted(good, key=lambda i: (cells[i].step, cells[i].weight))
    least = cells[order[0]].likeness >= THERE or _broken(cells, plain)
    return order[0] if least else order[-1]


def verdict(cells: Sequence[CellScores], best: int, plain: CellScores) -> Verdict:
    """Of the training as a whole: `overfit` when going on beyond the best cell made pictures worse; when the character
    is not there, `diverged` if the last checkpoint lost what the plain model can, else `underfit`; else `right`."""
    winner, full = cells[best], _full(cells)
    if winner.likeness < THERE:
        return "diverged" if _broken(cells, plain) else "underfit"
    spoilt = full.value < winner.value - NOTICEABLE
    lost = (
        full.copied > winner.copied
        or full.obedience < winner.obedience - NOTICEABLE
        or full.variety < winner.variety - NOTICEABLE
    )
    return "overfit" if spoilt and lost else "right"


def _broken(cells: Sequence[CellScores], plain: CellScores) -> bool:
    """Whether the last checkpoint at its greatest weight lost what the plain model can."""
    full = _full(cells)
    return full.obedience < plain.obedience / 2 or full.variety < plain.variety / 2


def _full(cells: Sequence[CellScores]) -> CellScores:
    """The last checkpoint at its greatest weight."""
    return max(cells, key=lambda cell: (cell.step, cell.weight))


def reasons(cells: Sequence[CellScores], best: int, plain: CellScores) -> tuple[str, str]:
    """Why this cell, in English and Korean."""
    cell, full = cells[best], _full(cells)
    span_en = f", 95 % {cell.low:.2f} to {cell.high:.2f}" if cell.low is not None else ""
    span_ko = f", 95 % 구간 {cell.low:.2f}~{cell.high:.2f}" if cell.low is not None else ""
    english = (
        f"Step {cell.step} at weight {cell.weight:g}: {cell.likeness:.0%} of the way to the training pictures, "
        f"{_obeys_en(cell, plain)}, {cell.variety:.0%} of their variety, {_copies_en(cell)} "
        f"(value {cell.value:.2f}{span_en}, {cell.n} pictures)."
    )
    korean = (
        f"{cell.step}스텝, 세기 {cell.weight:g}: 학습 그림과 닮은 정도 {cell.likeness:.0%}, {_obeys_ko(cell, plain)}, "
        f"다양성 {cell.variety:.0%}, {_copies_ko(cell)} (점수 {cell.value:.2f}{span_ko}, 그림 {cell.n}장)."
    )
    match verdict(cells, best, plain):
        case "underfit" if cell.obedience < plain.obedience - 0.2:
            english += (
                " The character is not there yet and the prompt is followed less already: "
                "more and more varied pictures help, more steps do not."
            )
            korean += (
                " 캐릭터는 아직 덜 닮았는데 프롬프트 반영은 이미 떨어졌습니다. "
                "스텝보다 더 많고 다양한 그림이 필요합니다."
            )
        case "underfit":
            english += " The training is too short or too weak: go on with more --steps or a higher --lr."
            korean += " 학습이 부족합니다. --steps나 --lr을 높여 이어서 학습하세요."
        case "diverged":
            english += " The training diverged: its last pictures lack what the plain model can; lower --lr."
            korean += " 학습이 발산했습니다. 마지막 그림이 기본 모델만도 못하니 --lr을 낮추세요."
        case "overfit":
            english += (
                f" Later or stronger is overfit: step {full.step} at {full.weight:g} {_lost_en(full, cell)}."
            )
            korean += f" 더 길거나 세면 과적합입니다. {full.step}스텝, 세기 {full.weight:g}에서는 {_lost_ko(full, cell)}."
    rivals = [
        one for i, one in enumerate(cells) if i != best and cell.low is not None and one.value >= cell.low
    ]
    if rivals:
        english += (
            f" {len(rivals)} of the other {len(cells) - 1} lie within its interval; more --seeds would tell."
        )
        korean += f" 나머지 {len(cells) - 1}개 중 {len(rivals)}개가 이 구간 안에 있으니 --seeds를 늘리면 더 확실해집니다."
    return english, korean


def _obeys_en(cell: CellScores, plain: CellScores) -> str:
    if plain.adherence < LEAST_LEAD:
        return "prompts not judged (the plain model does not follow them measurably)"
    return f"follows the prompt {cell.obedience:.0%} as well as the plain model"


def _obeys_ko(cell: CellScores, plain: CellScores) -> str:
    if plain.adherence < LEAST_LEAD:
        return "프롬프트 반영은 잴 수 없음(기본 모델도 따르지 못함)"
    return f"프롬프트 반영 {cell.obedience:.0%}(기본 모델 대비)"


def _copies_en(cell: CellScores) -> str:
    return (
        f"{cell.copied:.0%} copies of training pictures" if cell.copied else "no copy of a training picture"
    )


def _copies_ko(cell: CellScores) -> str:
    return f"학습 그림을 베낀 그림 {cell.copied:.0%}" if cell.copied else "베낀 그림 없음"


def _lost_en(full: CellScores, cell: CellScores) -> str:
    if full.copied > cell.copied:
        return f"copies training pictures ({full.copied:.0%})"
    if cell.obedience - full.obedience > cell.variety - full.variety:
        return f"follows the prompt only {full.obedience:.0%}"
    return f"keeps only {full.variety:.0%} of the variety"


def _lost_ko(full: CellScores, cell: CellScores) -> str:
    if full.copied > cell.copied:
        return f"학습 그림을 베낍니다({full.copied:.0%})"
    if cell.obedience - full.obedience > cell.variety - full.variety:
        return f"프롬프트를 {full.obedience:.0%}만 따릅니다"
    return f"다양성이 {full.variety:.0%}로 줄어듭니다"
