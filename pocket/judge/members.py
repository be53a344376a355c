"""The members of the family, and where each one's measure is found.

A member's measure is a module of this folder that is called as the member is and has `rows(bench)`: an iterator of
rows (`pocket.judge.rows`), each printed as soon as it is known. To measure one more member, write that one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pocket.judge.bench import WEIGHTS, Bench
from pocket.judge.rows import Row, Unmeasured

Measure = Callable[[Bench], Iterator[Row | Unmeasured]]


@dataclass(frozen=True)
class Member:
    name: str
    weights: Path
    """Where its weights lie once it is trained."""

    @property
    def trained(self) -> bool:
        return any(self.weights.glob("*.safetensors"))

    def measure(self) -> Measure | None:
        """`rows` of its module, where there is one."""
        module = f"{__package__}.{self.name.replace('-', '_')}"
        return getattr(import_module(module), "rows", None) if find_spec(module) else None

    def rows(self, bench: Bench) -> Iterator[Row | Unmeasured]:
        if not self.trained:
            yield Unmeasured(self.name, "not trained")
        elif measure := self.measure():
            yield from measure(bench)
        else:
            yield Unmeasured(self.name, "trained, and nothing here measures it yet")


MEMBERS = (
    Member("base", WEIGHTS / "unet"),
    Member("inpaint", WEIGHTS / "unet"),
    Member("fast", WEIGHTS.with_name("pocket-fast")),
    Member("controlnet-lines", WEIGHTS.with_name("pocket-control")),  # one network reads all three (adr 0004)
    Member("controlnet-depth", WEIGHTS.with_name("pocket-control")),
    Member("controlnet-pose", WEIGHTS.with_name("pocket-control")),
    Member("ip-adapter", WEIGHTS.with_name("pocket-ip")),
    Member("composed", WEIGHTS.with_name("pocket-ip")),  # lines, reference and LoRA at once
    Member("upscale", WEIGHTS.with_name("pocket-upscale")),
    Member("keypoints", WEIGHTS.with_name("pocket-keypoints")),
)


def scorecard(bench: Bench, members: tuple[Member, ...] = MEMBERS) -> Iterator[str | Row | Unmeasured]:
    """Every member's rows, each member's behind its name."""
    for member in members:
        yield f"[{member.name}]"
        yield from member.rows(bench)
