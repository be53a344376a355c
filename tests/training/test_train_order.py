"""Every picture comes as often as it should, in batches of one size, in an order known beforehand."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jogak.training.order import Entry, Order

SIZES = st.sampled_from([(256, 256), (320, 192), (192, 320)])


@given(
    entries=st.lists(
        st.builds(Entry, size=SIZES, repeats=st.integers(1, 4), mirrors=st.booleans()),
        min_size=1,
        max_size=12,
    ),
    batch=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_an_epoch_shows_each_picture_as_often_as_asked(entries: list[Entry], batch: int, seed: int) -> None:
    order = Order(entries, batch, seed)
    for epoch in range(3):
        numbers = [n for n in range(1000) if order.epoch_of(n) == epoch]
        shown = Counter((slot.index, slot.mirrored) for n in numbers for slot in order.batch(n))
        wanted = {
            (i, mirrored): entry.repeats
            for i, entry in enumerate(entries)
            for mirrored in ((False, True) if entry.mirrors else (False,))
        }
        assert shown == wanted
        for n in numbers:
            assert len({entries[slot.index].size for slot in order.batch(n)}) == 1
            assert 1 <= len(order.batch(n)) <= batch


def test_any_batch_can_be_asked_for_at_once() -> None:
    entries = [Entry((256, 256), 3), Entry((320, 192), 2), Entry((256, 256), prior=True, weight=0.5)]
    walked = Order(entries, 2, 7)
    in_turn = [walked.batch(n) for n in range(60)]
    assert [Order(entries, 2, 7).batch(n) for n in (59, 3, 31)] == [in_turn[59], in_turn[3], in_turn[31]]
    assert in_turn != [Order(entries, 2, 8).batch(n) for n in range(60)]
    assert in_turn[:5] != in_turn[5:10], "each epoch has its own order"


def test_the_prior_is_as_large_as_the_rest_and_all_of_it_comes() -> None:
    entries = [Entry((256, 256), 2), Entry((256, 256), 2)]
    entries += [Entry((256, 256) if i % 2 else (192, 320), weight=0.3, prior=True) for i in range(6)]
    order = Order(entries, 2, 1)
    seen: Counter[int] = Counter()
    for epoch in range(3):
        slots = [s for n in range(100) if order.epoch_of(n) == epoch for s in order.batch(n)]
        assert sum(slot.weight == 1 for slot in slots) == 4
        assert sum(slot.weight == 0.3 for slot in slots) == 4
        seen.update(slot.index for slot in slots)
    assert [seen[i] for i in range(2, 8)] == [2] * 6


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Order([Entry((64, 64), prior=True)], 1, 0)
