"""What a brief asks of its music."""

import pytest

from jogak.film.plan.music import read_music


@pytest.mark.parametrize(
    ("brief", "instruments"),
    [
        ("어두운 숲을 여우가 달린다. 잔잔한 피아노", ("piano",)),
        ("a fox in a forest, soft piano and violin.", ("piano", "violin")),
        ("신나는 기타와 드럼", ("guitar",)),
        ("a quiet piano stands in a room", ()),
        ("잔잔한 피아노 위의 고양이", ()),
    ],
)
def test_a_pace_and_instruments_alone_are_a_wish_for_music(brief: str, instruments: tuple[str, ...]) -> None:
    assert read_music(brief).instruments == instruments
