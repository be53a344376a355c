"""The progress line of every command: what is being done, how far it is, the time left. On the error stream.

`rich` is imported when a line is shown, so that `--help` does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import Task, TaskID

    from jogak.store import Progress
    from jogak.studio.whole import Whole

OnProgress = Callable[["Progress"], None]


class Line:
    """A line that is shown now."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def tell(self, *, text: str | None = None, done: float | None = None, total: float | None = None) -> None:
        """Change what is given, leave the rest."""
        self._bar.update(self._task, description=text, completed=done, total=total)

    def left(self, seconds: float) -> None:
        """Say how long it still takes, in place of what the line reckons from its own speed; it is counted down
        until the next word, for some parts of the work are silent."""
        self._bar.update(self._task, ends=monotonic() + seconds)

    def restart(self, text: str) -> None:
        """Another thing begins, of unknown length; its time left is reckoned anew."""
        self._bar.reset(self._task, description=text, total=None)


@contextmanager
def line(text: str, total: float | None = None) -> Iterator[Line]:
    """A line for the length of a `with` block."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Left(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            ends = task.fields.get("ends")
            if ends is None:
                return super().render(task)
            return Text(clock(max(0.0, ends - monotonic())), style="progress.remaining")

    words, percent = (
        TextColumn("{task.description}", markup=False),
        TextColumn("{task.percentage:>3.0f} %"),
    )
    columns = (TimeElapsedColumn(), words, BarColumn(), percent, Left())
    console = Console(stderr=True)
    # where nobody watches, a line that goes away would leave an empty one before the next sentence
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Line(bar, bar.add_task(text, total=total))


def clock(seconds: float) -> str:
    """A span as the line shows it: 0:01:05."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def follow(shown: Line, whole: Whole) -> OnProgress:
    """Show on a line where the whole of a journey is, whichever of its parts speaks."""
    shown.tell(total=1.0)

    def on_progress(told: Progress) -> None:
        now = whole.hear(told)
        shown.tell(text=now.part, done=now.done)
        shown.left(now.left)

    return on_progress


@contextmanager
def pieces(text: str, total: int, step: str | None = None) -> Iterator[OnProgress]:
    """One line for `total` step calls, each a piece of it; with `step`, only calls of that step count."""
    with line(text, total) as shown:
        done = 0

        def on_progress(told: Progress) -> None:
            nonlocal done
            if step is not None and told.step != step:
                return
            part = told.done / max(told.total, 1)
            if told.text in ("made", "already made"):
                done, part = done + 1, 0.0
            shown.tell(text=told.text, done=min(done + part, total))

        yield on_progress


@contextmanager
def parts(text: str, name: Callable[[Progress], str]) -> Iterator[OnProgress]:
    """A line that begins anew with each part of the work; `name` says which part a message belongs to."""
    with line(text) as shown:
        last = ""

        def on_progress(told: Progress) -> None:
            nonlocal last
            part = name(told)
            if part != last:
                last = part
                shown.restart(part)
            shown.tell(text=told.text if told.text.startswith(part) else f"{part}: {told.text}".rstrip(": "),
                       done=told.done, total=told.total or None)  # fmt: skip

        yield on_progress
