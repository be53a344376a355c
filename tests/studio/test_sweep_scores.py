"""The recommendation on planted trainings. The pictures are not a model's: they are painted to be what an underfit, a
right and an overfit checkpoint draw, and the real judges look at them."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from numpy.typing import NDArray

from jogak.judge.clip import load_judge
from jogak.judge.features import features
from jogak.judge.memorisation import Looks, thumb
from jogak.spec.training import CellScores
from jogak.studio.sweep_scores import Cell, Eyes, Ruler, Seen, choose, reasons, verdict, weigh
from pocket.data.compose import PLACES, TIMES, Painter, empty_layout

SEEDS = 2
ASKED = (("beach", "sunset"), ("snowfield", "night"), ("city", "day"), ("forest", "morning"))
OTHERS = (("desert", "day"), ("room", "day"), ("garden", "morning"), ("river", "sunset"))
PROMPTS = tuple(f"a toy in a {place} at {time}" for place, time in (*ASKED, *OTHERS))


def character() -> NDArray[np.uint8]:
    """(1, 4, 192, 192) premultiplied: a striped figure with a hat that no base knows."""
    picture = PIL.Image.new("RGBA", (192, 192))
    pen = PIL.ImageDraw.Draw(picture)
    pen.ellipse((40, 60, 152, 190), fill=(230, 40, 140, 255))
    for top in range(80, 190, 24):
        pen.rectangle((48, top, 144, top + 9), fill=(250, 230, 40, 255))
    pen.polygon(((60, 66), (132, 66), (96, 2)), fill=(30, 60, 200, 255))
    for left in (70, 104):
        pen.ellipse((left, 74, left + 20, 96), fill=(255, 255, 255, 255))
        pen.ellipse((left + 6, 80, left + 14, 92), fill=(0, 0, 0, 255))
    rgba = np.asarray(picture, np.float32)
    rgba = np.concatenate([rgba[..., :3] * rgba[..., 3:] / 255, rgba[..., 3:]], -1)
    return rgba.astype(np.uint8).transpose(2, 0, 1)[None]


def through_jpeg(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    data = io.BytesIO()
    PIL.Image.fromarray(pixels).save(data, "JPEG", quality=70)
    return np.asarray(PIL.Image.open(data))


@dataclass
class Studio:
    """Paints scenes with or without the character, and looks at pictures."""

    def __post_init__(self) -> None:
        self.painter = Painter(character())

    def paint(self, scenes: list[tuple[str, str]], seed: int, there: bool) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        layout = empty_layout(len(scenes))
        layout.place[:] = [PLACES.index(place) for place, _ in scenes]
        layout.time[:] = [TIMES.index(time) for _, time in scenes]
        layout.numbers[:] = rng.random(layout.numbers.shape)
        if there:
            layout.sprite[:, 0] = 0
            for row in range(len(scenes)):
                layout.box[row, 0] = (
                    rng.uniform(0.3, 0.7),
                    rng.uniform(0.85, 0.98),
                    rng.uniform(0.4, 0.7),
                    1,
                    0,
                )
        pixels = self.painter.draw(layout, 128, 128)
        return (pixels * 255).round().byte().permute(0, 2, 3, 1).numpy()

    def seen(self, pictures: NDArray[np.uint8], mirrored: bool = False) -> Seen:
        other = features(np.ascontiguousarray(pictures[:, :, ::-1])) if mirrored else None
        looks = Looks(features(pictures), other, np.stack([thumb(one) for one in pictures]))
        return Seen(looks, load_judge().see(pictures))


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio()


@pytest.fixture(scope="module")
def taught(studio: Studio) -> NDArray[np.uint8]:
    """The training pictures: the character in other scenes and in some of those asked for."""
    return studio.paint([*OTHERS, *ASKED] * 3, 5, there=True)


@pytest.fixture(scope="module")
def drawn(studio: Studio, taught: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """What checkpoints of each kind draw: eight pictures, two of each prompt."""
    scenes = [scene for scene in ASKED for _ in range(SEEDS)]
    plain = studio.paint(scenes, 1, there=False)
    right = studio.paint(scenes, 2, there=True)
    ghost = (0.9 * plain + 0.1 * studio.paint(scenes, 1, there=True)).astype(np.uint8)
    # training pictures as JPEG keeps them, whatever was asked
    copied = np.stack([through_jpeg(taught[i]) for i in (0, 1, 2, 3, 0, 1, 2, 3)])
    mixed = np.where((np.arange(8) % 2 == 0)[:, None, None, None], right, copied)
    # one new picture of the character, again and again
    stuck = np.repeat(studio.paint([OTHERS[0]], 9, there=True), 8, axis=0)
    noise = np.random.default_rng(3).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    return {
        "noise": noise,
        "plain": plain,
        "ghost": ghost,
        "right": right,
        "copied": copied,
        "mixed": mixed,
        "stuck": stuck,
    }


def swept(
    studio: Studio,
    taught: NDArray[np.uint8],
    drawn: dict[str, NDArray[np.uint8]],
    *kinds: str,
    eyes: Eyes = "clip",
):
    """The scores of a training whose checkpoints, 100 steps apart, draw pictures of these kinds."""
    ruler = Ruler(
        studio.seen(taught, mirrored=True),
        tuple(i for i in range(len(ASKED)) for _ in range(SEEDS)),
        load_judge().read(PROMPTS),
        SEEDS,
        eyes,
    )
    cells = [Cell(kind, 100 * (i + 1), 1.0, studio.seen(drawn[kind])) for i, kind in enumerate(kinds)]
    return weigh(cells, Cell("", 0, 0.0, studio.seen(drawn["plain"])), ruler)


@pytest.mark.parametrize("eyes", ["clip", "features"])
@pytest.mark.parametrize(
    ("kinds", "best", "word"),
    [
        (("plain", "ghost", "ghost"), "ghost", "underfit"),
        (("ghost", "right", "right"), "right", "right"),
        (("right", "mixed", "copied"), "right", "overfit"),
        (("ghost", "right", "copied"), "right", "overfit"),
        (("ghost", "right", "stuck"), "right", "overfit"),
        (("noise", "noise", "noise"), "noise", "diverged"),
    ],
)
def test_the_planted_trainings_are_told_apart(studio, taught, drawn, kinds, best, word, eyes) -> None:
    scores, plain = swept(studio, taught, drawn, *kinds, eyes=eyes)
    chosen = choose(scores, plain)
    assert scores[chosen].checkpoint == best, [(one.checkpoint, one.value) for one in scores]
    assert verdict(scores, chosen, plain) == word
    english, korean = reasons(scores, chosen, plain)
    assert f"Step {scores[chosen].step} at weight 1" in english
    assert f"{scores[chosen].step}스텝" in korean


def test_numbers_say_what_was_planted(studio, taught, drawn) -> None:
    scores, plain = swept(studio, taught, drawn, "plain", "right", "copied", "stuck")
    same, right, copied, stuck = scores
    assert plain.value == same.value
    assert plain.obedience > 0.7, "shares above 1 are cut, so the mean of the plain model's lies below"
    assert right.likeness > 0.6 > same.likeness
    assert right.obedience > copied.obedience + 0.3
    assert right.copied == 0
    assert copied.copied == 1
    assert copied.value == 0
    assert stuck.variety < 0.1
    for one in scores:
        assert one.low is not None
        assert one.high is not None
        assert one.low - 1e-9 <= one.value <= one.high + 1e-9


def cell(step: int, weight: float, value: float, likeness: float = 0.8, **more: float) -> CellScores:
    facts = {"identity": 0.5, "adherence": 2, "obedience": 0.9, "diversity": 0.5, "variety": 0.9, "copied": 0}
    return CellScores(
        checkpoint=str(step), step=step, weight=weight, value=value, likeness=likeness, n=8, **(facts | more)
    )


def test_of_equals_the_earliest_and_smallest_wins_once_the_character_is_there() -> None:
    cells = [cell(200, 1.0, 0.8), cell(100, 1.0, 0.795), cell(100, 0.5, 0.796), cell(50, 1.0, 0.7)]
    plain = cell(0, 0.0, 0.2, 0.0)
    assert choose(cells, plain) == 2
    weak = [cell(100, 0.5, 0.3, 0.1), cell(100, 1.0, 0.3, 0.1), cell(200, 1.0, 0.3, 0.1)]
    assert choose(weak, plain) == 2
    broken = [cell(100, 0.5, 0.0, 0.0), cell(200, 1.0, 0.0, 0.0, variety=0.1)]
    assert choose(broken, plain) == 0
    assert verdict(broken, 0, plain) == "diverged"


def test_what_the_plain_model_cannot_do_is_not_asked_of_the_lora(studio, taught, drawn) -> None:
    """A base that ignores its prompts leaves nothing to measure obedience by."""
    scores, plain = swept(studio, taught, drawn | {"plain": drawn["noise"]}, "right")
    assert scores[0].obedience == 1
    assert "not judged" in reasons(scores, 0, plain)[0]
    assert "잴 수 없음" in reasons(scores, 0, plain)[1]


def test_advice_fits_what_is_lacking() -> None:
    plain = cell(0, 0.0, 0.2, 0.0)
    weak = [cell(100, 1.0, 0.4, 0.2)]
    assert "more --steps" in reasons(weak, 0, plain)[0]
    torn = [cell(100, 1.0, 0.4, 0.4, obedience=0.5)]
    assert "varied pictures" in reasons(torn, 0, plain)[0]
    assert "다양한 그림" in reasons(torn, 0, plain)[1]
    broken = [cell(100, 1.0, 0.0, 0.0, obedience=0.1)]
    assert "lower --lr" in reasons(broken, 0, plain)[0]
