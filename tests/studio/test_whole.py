"""How far a whole journey is: prices, what was found, what took longer than was thought."""

from __future__ import annotations

import pytest

from jogak.film.motion import Pace, shot_preview_cost
from jogak.spec import FilmPlan, Shot
from jogak.store import Progress
from jogak.studio.film import LOADING_SECONDS, TAKES, film_parts
from jogak.studio.whole import TRUST_SECONDS, Part, Where, Whole

PARTS = (
    Part("s1: drawing", "draw", "s1", 10),
    Part("s2: drawing", "draw", "s2", 30),
    Part("report", "report", "", 10),
)


class Told:
    """A whole with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.whole = Whole(PARTS, lambda: self.now)

    def hear(self, step: str, scope: str, done: int = 1, total: int = 1, text: str = "drawing") -> Where:
        return self.whole.hear(Progress(step, scope, done, total, text))


def test_at_first_the_whole_is_what_its_parts_are_priced() -> None:
    assert Told().whole.where() == Where("s1: drawing", 0.0, 50.0)


def test_the_share_is_that_of_the_whole_and_the_name_that_of_the_part() -> None:
    told = Told()
    told.now = 5
    assert told.hear("draw", "s1", 5, 10) == Where("s1: drawing", 0.1, 45.0)
    told.now = 10
    assert told.hear("draw", "s1", text="made") == Where("s2: drawing", 0.2, 40.0)


def test_what_ended_late_makes_its_likes_longer_and_nothing_else() -> None:
    told = Told()
    told.now = 40
    now = told.hear("draw", "s1", text="made")
    slower = (TRUST_SECONDS + 40) / (TRUST_SECONDS + 10)
    assert now.left == pytest.approx(30 * slower + 10)
    assert now.done == pytest.approx(0.2)


def test_the_current_part_corrects_itself_on_the_way() -> None:
    told = Told()
    told.now = 20
    now = told.hear("draw", "s1", 5, 10)
    slower = (TRUST_SECONDS + 20) / (TRUST_SECONDS + 5)
    assert now.left == pytest.approx((5 + 30) * slower + 10)


def test_what_was_found_in_the_store_is_done_and_tells_nothing_of_the_rest() -> None:
    told = Told()
    assert told.hear("draw", "s1", text="already made") == Where("s2: drawing", 0.2, 40.0)


def test_steps_that_are_no_part_change_nothing_and_the_end_is_the_end() -> None:
    told = Told()
    assert told.hear("say", "s1", text="made") == told.whole.where()
    assert told.hear("draw", "s2", 1, 2).done == 0.0, "a part that is not the current one"
    for step, scope in (("draw", "s2"), ("draw", "s1"), ("report", "")):
        now = told.hear(step, scope, text="made")
    assert now == Where("report", 1.0, 0.0)


def test_a_film_has_its_parts_in_the_plans_language_and_costs_what_they_do() -> None:
    pace = Pace(denoise=0.05, encode=0.02, decode=0.03)
    shots = (Shot(id="s1", prompt="여우", seconds=2), Shot(id="s2", prompt="토끼", seconds=4))
    plan = FilmPlan(title="여우", brief="여우와 토끼", lang="ko", shots=shots)
    parts = film_parts(plan, pace)
    assert [(part.step, part.scope) for part in parts] == [
        *[("draw_keyframe", "s1")] * TAKES, ("draw_shot", "s1"),
        *[("draw_keyframe", "s2")] * TAKES, ("draw_shot", "s2"), ("mix", ""),
        ("edit_film", ""), ("judge_shot", "s1"), ("judge_shot", "s2"), ("make_report", ""),
    ]  # fmt: skip
    drawn = sum(part.seconds for part in parts[: 2 * (TAKES + 1)])
    assert drawn == pytest.approx(
        LOADING_SECONDS + sum(shot_preview_cost(shot.seconds, pace, TAKES) for shot in shots)
    )
    assert [parts[1].name, parts[TAKES].name] == ["s1: 키프레임 2/3 그리는 중", "s1: 프레임 그리는 중"]
    english = film_parts(FilmPlan.parse(plan.model_dump() | {"lang": "en"}), pace)
    assert english[TAKES].name == "s1: drawing the frames"
    assert all(part.name.isascii() for part in english)


def test_takes_of_one_shot_are_parts_of_their_own() -> None:
    takes = tuple(Part(f"take {take}", "draw", "s1", 1.0) for take in (1, 2))
    whole = Whole((*takes, Part("cut", "cut", "", 2.0)), clock=lambda: 0.0)
    first = whole.hear(Progress("draw", "s1", 1, 1, "made"))
    assert (first.part, first.done) == ("take 2", 0.25)
    assert whole.hear(Progress("draw", "s1", 1, 2, "")).done == pytest.approx(0.375)
    assert whole.hear(Progress("draw", "s1", 1, 1, "made")).part == "cut"
