"""A run's settings come from one file, and a run that was killed goes on from where it was saved last."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from torch import Tensor

from pocket.train.common import Average

KEPT = (
    "which", "kind", "lite", "widths", "layers", "size", "batch", "lr", "text_lr", "hold", "average", "seed",
    "negatives",
)  # fmt: skip
"""Settings that a run may not change on its way; what a script lacks is not looked at."""


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The settings out of `--config FILE` and the command line, which wins. The file is YAML, its keys are the
    options' names; a key that is no option, or a value that does not fit, is refused as on the command line."""
    parser.add_argument(
        "--config", type=Path, help="a YAML file of these settings; what stands beside it wins"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start anew although an earlier run's state is in --out"
    )
    parser.add_argument(
        "--save-every", type=float, default=60, help="seconds of training that a kill may cost"
    )
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=Path)
    config = finder.parse_known_args()[0].config
    try:
        words = _words(yaml.safe_load(config.read_text("utf-8"))) if config else []
    except FileNotFoundError:
        parser.error(f"{config}: no such file; the recipes are in pocket/train/configs")
    except (yaml.YAMLError, ValueError) as error:
        parser.error(f"{config}: {error}")
    return parser.parse_args([*words, *sys.argv[1:]])


def _words(settings: object) -> list[str]:
    if not isinstance(settings, dict):
        raise ValueError("not a list of `option: value` lines")
    words: list[str] = []
    for name, value in settings.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return words


class Stage(NamedTuple):
    number: int
    shapes: tuple[tuple[int, int], ...]
    """(width, height) of the pictures; several take turns"""
    begin: float
    end: float
    """shares of the whole run, 0..1"""


def stages_after(text: str, done: float) -> Iterator[Stage]:
    """The stages of `WIDTHxHEIGHT[+WIDTHxHEIGHT…]:share,…` that are not over when the share `done` of a run is; the
    one that is under way begins at `done`."""
    parts = [stage.split(":") for stage in text.split(",")]
    if abs(sum(float(share) for _, share in parts) - 1) > 1e-6:
        raise SystemExit(f"--stages {text}: the shares must add up to 1")
    begin = 0.0
    for number, (names, share) in enumerate(parts):
        end = 1.0 if number == len(parts) - 1 else begin + float(share)
        if end > done + 1e-9:
            shapes = tuple((int(w), int(h)) for w, h in (name.split("x") for name in names.split("+")))
            yield Stage(number, shapes, max(begin, done), end)
        begin = end


@dataclass
class Resume:
    """What a run needs to go on, in one file: only these scripts write it, and only they read it."""

    path: Path
    recipe: dict[str, str]
    weights: Callable[[], dict[str, Tensor]]
    load: Callable[[dict[str, Tensor]], object]
    optimizer: torch.optim.Optimizer
    average: Average | None = None

    def enter(self, start: float, end: float, fresh: bool, device: torch.device) -> float:
        """Where on the schedule, 0..1, a run from `start` to `end` goes on; `start` if there is nothing to go on from.

        Ends the program, in words, if the run was finished before or the file is of another recipe.
        """
        if fresh or not self.path.exists():
            return start
        saved = torch.load(self.path, map_location=device, weights_only=True)
        at = float(saved["at"])
        for name, value in self.recipe.items():
            before = saved["recipe"].get(name, value)
            if before != value:
                raise SystemExit(
                    f"{self.path} is of another run: --{name} was {before} and is {value} now. Give the old value to "
                    "go on from it, or --fresh to start anew"
                )
        if at < start - 1e-6:
            raise SystemExit(
                f"{self.path} ends at {at:g} of the schedule and this run starts at {start:g}: train {at:g} to "
                f"{start:g} first, or give --fresh"
            )
        if at >= end - 1e-6:
            print(f"{self.path}: trained up to {at:g} already; --fresh would start anew")
            raise SystemExit(0)
        self.load(saved["weights"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.average:
            self.average.shadow, self.average.steps = saved["average"], saved["steps"]
        return at

    def save(self, at: float) -> None:
        """Atomically, so that a kill leaves the last good file."""
        kept: dict[str, object] = {
            "at": at,
            "recipe": self.recipe,
            "weights": self.weights(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.average:
            kept |= {"average": self.average.shadow, "steps": self.average.steps}
        draft = self.path.with_suffix(".tmp")
        torch.save(kept, draft)
        draft.replace(self.path)


class Clock:
    """The time of a run of one process: what was spent before a kill counts, and the state is saved on the way."""

    def __init__(self, resume: Resume, at: float, seconds: float, save_every: float) -> None:
        self._resume, self._seconds, self._every = resume, seconds, save_every
        self._began = time.perf_counter() - at * seconds

    def at(self) -> float:
        """Where on the schedule the run is: 0 at its start, 1 and more at its end."""
        return (time.perf_counter() - self._began) / self._seconds

    def rounds(self) -> Iterator[None]:
        """Until the time is over; what is done in between is not cut short."""
        saved = self.at()
        while (at := self.at()) < 1:
            if (at - saved) * self._seconds > self._every:
                saved = at
                self._resume.save(at)
            yield


def recipe_of(args: argparse.Namespace) -> dict[str, str]:
    return {name: str(getattr(args, name)) for name in KEPT if hasattr(args, name)}
