"""The progress line of a whole journey: one bar, one time left, the part's name."""

from __future__ import annotations

from typing import cast

import pytest

from jogak.cli.progress import Line, clock, follow, line
from jogak.store import Progress
from jogak.studio.whole import Part, Whole


class Shown:
    """What a line was told, the last of each."""

    def __init__(self) -> None:
        self.text, self.done, self.total, self.seconds = "", 0.0, 0.0, 0.0

    def tell(self, *, text: str | None = None, done: float | None = None, total: float | None = None) -> None:
        self.text = self.text if text is None else text
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total

    def left(self, seconds: float) -> None:
        self.seconds = seconds


def test_the_line_follows_the_whole() -> None:
    shown = Shown()
    parts = (Part("one", "draw", "s1", 30), Part("two", "draw", "s2", 30))
    tell = follow(cast(Line, shown), Whole(parts, lambda: 0.0))
    assert shown.total == 1.0
    tell(Progress("draw", "s1", 1, 1, "already made"))
    assert (shown.text, shown.done, shown.seconds) == ("two", 0.5, 30)


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00:00"), (65.4, "0:01:05"), (3725, "1:02:05")])
def test_a_span_is_shown_as_a_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_a_line_counts_down_the_time_left_that_it_was_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    now = 100.0
    monkeypatch.setattr("jogak.cli.progress.monotonic", lambda: now)
    with line("planning") as shown:
        shown.tell(text="s1: drawing", done=0.25, total=1.0)
        shown.left(65)
        first = capsys.readouterr().err
        now = 120.0  # a part that says nothing for twenty seconds
    said = first + capsys.readouterr().err
    assert "s1: drawing" in said
    assert "25 %" in said
    assert "0:00:45" in said
