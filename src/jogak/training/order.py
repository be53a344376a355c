"""Which pictures come when: a fixed order, known for every step beforehand, so that going on is only counting."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from jogak.training.objective import generator_for


@dataclass(frozen=True)
class Slot:
    """One picture's place in an epoch."""

    index: int
    """which picture"""
    mirrored: bool
    weight: float
    """what its loss counts; the prior's pictures have their own"""


@dataclass(frozen=True)
class Entry:
    """What the order has to know of a picture."""

    size: tuple[int, int]
    repeats: int = 1
    mirrors: bool = False
    weight: float = 1.0
    prior: bool = False


class Order:
    """Batches of pictures of one size, shuffled anew each epoch; every batch but the last of a size is full."""

    def __init__(self, entries: Sequence[Entry], batch: int, seed: int) -> None:
        if not any(not entry.prior for entry in entries):
            raise ValueError("there is nothing to train on")
        self._entries, self._batch, self._seed = entries, batch, seed
        self._ends: list[int] = []
        """How many batches there were when each epoch ended; the prior's sizes make epochs differ."""
        self._current: tuple[int, list[tuple[Slot, ...]]] = (-1, [])

    def batch(self, number: int) -> tuple[Slot, ...]:
        """Batch `number` (from 0) of the whole training."""
        epoch = self.epoch_of(number)
        if self._current[0] != epoch:
            self._current = (epoch, self._epoch(epoch))
        return self._current[1][number - (self._ends[epoch - 1] if epoch else 0)]

    def epoch_of(self, number: int) -> int:
        """The epoch (from 0) that batch `number` lies in."""
        while not self._ends or self._ends[-1] <= number:
            self._ends.append((self._ends[-1] if self._ends else 0) + len(self._epoch(len(self._ends))))
        return bisect_right(self._ends, number)

    def _epoch(self, epoch: int) -> list[tuple[Slot, ...]]:
        generator = generator_for(self._seed, "order", epoch)
        by_size: dict[tuple[int, int], list[Slot]] = {}
        for index, mirrored in self._own() + self._prior(epoch):
            entry = self._entries[index]
            by_size.setdefault(entry.size, []).append(Slot(index, mirrored, entry.weight))
        batches: list[tuple[Slot, ...]] = []
        for size in sorted(by_size):
            slots = by_size[size]
            mixed = [slots[i] for i in torch.randperm(len(slots), generator=generator).tolist()]
            batches += [
                tuple(mixed[first : first + self._batch]) for first in range(0, len(mixed), self._batch)
            ]
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _own(self) -> list[tuple[int, bool]]:
        ways: list[tuple[int, bool]] = []
        for index, entry in enumerate(self._entries):
            if not entry.prior:
                both = (False, True) if entry.mirrors else (False,)
                ways += [(index, mirrored) for mirrored in both for _ in range(entry.repeats)]
        return ways

    def _prior(self, epoch: int) -> list[tuple[int, bool]]:
        """As many pictures of the prior as there are others, going round through all of them epoch by epoch.

        When mirrored pictures or repeats make one epoch larger than the prior, its pictures come again.
        """
        prior = [index for index, entry in enumerate(self._entries) if entry.prior]
        if not prior:
            return []
        count = len(self._own())
        return [(prior[(epoch * count + i) % len(prior)], False) for i in range(count)]
