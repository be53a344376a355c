"""A small film of text files: every kind of step and fan-out of a journey, and the answer in plain Python."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from jogak.spec import Document, Spec
from jogak.store import Pool, current, each, step


class ToyShot(Spec):
    id: str
    prompt: str = "a fox"
    seed: int = 0


class ToyMusic(Spec):
    tempo: int = 90


class ToyPlan(Spec):
    shots: tuple[ToyShot, ...]
    music: ToyMusic = ToyMusic()
    takes: int = 2


def write_text(text: str) -> Document:
    """A handle to a file that holds the text."""
    store = current().store
    with store.new_file(".txt") as path:
        path.write_text(text, encoding="utf-8")
        return store.put(path, Document)


def hashed(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@step(version="1")
def checked_plan(plan: ToyPlan) -> ToyPlan:
    return plan


@step(version="1")
def take(shot: ToyShot, number: int) -> Document:
    return write_text(f"{shot.prompt}/{shot.seed}/{number}")


@step(version="1")
def best(takes: list[Document]) -> Document:
    return max(takes, key=lambda handle: hashed(handle.path.read_text(encoding="utf-8")))


@step(version="1")
def score(clip: Document) -> float:
    return len(clip.path.read_text(encoding="utf-8")) / 7


@step(version="1")
def music(settings: ToyMusic, shots: int) -> Document:
    return write_text(f"music {settings.tempo} x {shots}")


@step(version="1")
def film(clips: list[Document], sound: Document, scores: dict[str, float]) -> Document:
    texts = [clip.path.read_text(encoding="utf-8") for clip in [*clips, sound]]
    return write_text("\n".join([*texts, *(f"{name}={value!r}" for name, value in scores.items())]))


def drawn(shot: ToyShot, pool: Pool | None, takes: int) -> Document:
    """Best of N takes, fanned out inside a shot."""
    return best(each(pool, partial(take, shot), list(range(takes))))


def make_film(plan: ToyPlan, pool: Pool | None) -> Document:
    """The journey. Two fan-outs from one list, and one inside another."""
    plan = checked_plan(plan)
    inner = None if isinstance(pool, ProcessPoolExecutor) else pool
    clips = each(pool, partial(drawn, pool=inner, takes=plan.takes), plan.shots)
    scores = each(pool, score, clips)
    named = {shot.id: value for shot, value in zip(plan.shots, scores, strict=True)}
    return film(clips, music(plan.music, len(plan.shots)), named)


def expected_film(plan: ToyPlan) -> str:
    """What the film must read, without the engine."""
    clips = [
        max((f"{shot.prompt}/{shot.seed}/{number}" for number in range(plan.takes)), key=hashed)
        for shot in plan.shots
    ]
    scores = [f"{shot.id}={len(clip) / 7!r}" for shot, clip in zip(plan.shots, clips, strict=True)]
    return "\n".join([*clips, f"music {plan.music.tempo} x {len(plan.shots)}", *scores])


@step(version="1")
def slow(number: int, log: str) -> int:
    """Takes a while, and notes down that it ran."""
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{number} {os.getpid()}\n")
    time.sleep(0.3)
    return number * number


@step(version="1")
def deadly(shot: ToyShot, trap: str) -> str:
    """Kills its own process while the trap is set, for one shot."""
    if shot.id == "s2" and Path(trap).exists():
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return shot.prompt.upper()


@step(version="1")
def picky(shot: ToyShot) -> str:
    if shot.prompt == "bad":
        raise ValueError("no such colour")
    return shot.prompt.upper()


@step(version="1")
def counted(shot: ToyShot, pieces: int = 50) -> str:
    """Says how far it is, and lets itself be stopped."""
    for done in range(1, pieces + 1):
        current().check_cancel()
        current().progress(done, pieces, "counting")
        time.sleep(0.01)
    return shot.id


@step(version="1")
def heavy(number: int) -> tuple[Document, list[float]]:
    """A file and a record that take a while to write."""
    store = current().store
    with store.new_file(".bin") as path:
        path.write_bytes(number.to_bytes(2, "big") * 200_000)
        return store.put(path, Document), [number / 7] * 5_000


@step(version="1")
def summed(parts: list[tuple[Document, list[float]]]) -> str:
    return hashed([(handle.sha256, numbers[0]) for handle, numbers in parts])


def heavy_journey(count: int) -> str:
    return summed([heavy(number) for number in range(count)])
