"""Encoding is exact both ways, tells unequal things apart, and refuses what is not plain data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jogak.spec import Clip, Image, ModelRef, Shot, Spec
from jogak.store.values import decode, digest, encode, file_names

SHA = "ab" * 32
IMAGE = Image(sha256=SHA, suffix=".png", path=Path("/elsewhere/x.png"), width=8, height=9)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["$", "also"])
)
specs = st.builds(
    Shot, id=st.just("s1"), prompt=st.text("가나다abc", min_size=1, max_size=5), seed=st.integers(0, 9)
)
values = st.recursive(
    scalars | specs | st.just(IMAGE),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["$", "also", "of", "is", "file"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


def place(name: str) -> Path:
    return Path("/store") / name


def same(left: Any, right: Any) -> bool:
    """Equal, of the same types and in the same order all the way down; a file's place does not count."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or repr(left) == repr(right)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, Image):
        return left.model_dump(exclude={"path"}) == right.model_dump(exclude={"path"})
    return left == right


@given(values)
def test_what_is_encoded_is_decoded_exactly(value: Any) -> None:
    assert same(decode(encode(value, "x"), place), value)


@given(values, values)
def test_only_the_same_things_have_the_same_digest(left: Any, right: Any) -> None:
    assert (digest(encode(left, "x")) == digest(encode(right, "x"))) == same(left, right)


def test_values_that_compare_equal_but_are_of_other_types_differ() -> None:
    alike = [1, 1.0, True, "1", [1], (1,), {"1": 1}, 0.0, -0.0, False, None, "", [], (), {}]
    assert len({digest(encode(value, "x")) for value in alike}) == len(alike)


def test_the_order_of_a_dict_counts() -> None:
    assert digest(encode({"a": 1, "b": 2}, "x")) != digest(encode({"b": 2, "a": 1}, "x"))


def test_a_handle_counts_by_class_content_and_facts_and_not_by_place() -> None:
    def key(value: Any) -> str:
        return digest(encode(value, "x"))

    assert key(IMAGE) == key(IMAGE.model_copy(update={"path": Path("/other")}))
    assert key(IMAGE) != key(IMAGE.model_copy(update={"width": 16}))
    assert key(IMAGE) != key(IMAGE.model_copy(update={"sha256": "cd" * 32}))
    clip = Clip(sha256=SHA, suffix=".png", path=IMAGE.path, width=8, height=9, frames=1, fps=1)
    assert key(clip) != key(IMAGE)


def test_weights_count_by_content_family_and_numeric_mode_and_keep_their_name() -> None:
    ref = ModelRef(name="pocket", family="pocket", folder=Path("/w"), digest=SHA, numeric="torch-fp32")
    other = ref.model_copy(update={"name": "/home/me/pocket", "folder": Path("/elsewhere")})
    bf16 = ref.model_copy(update={"numeric": "openvino-bf16"})
    assert digest(encode(ref, "x")) == digest(encode(other, "x"))
    assert digest(encode(ref, "x")) != digest(encode(bf16, "x"))
    assert decode(encode(other, "x"), place) == other


def test_files_inside_anything_are_found_and_placed_in_this_store() -> None:
    data = encode({"a": [(IMAGE,)], "file": "no"}, "x")
    assert file_names(data) == {SHA + ".png"}
    assert decode(data, place)["a"][0][0].path == Path("/store") / (SHA + ".png")


class Odd(Spec):
    where: Path = Path("/x")


def test_what_is_not_plain_data_is_refused_by_name() -> None:
    class Local(Spec):
        pass

    numbers = (np.zeros(2), np.float64(1.0), 1j, range(3))
    for value in (*numbers, {1, 2}, {1: 2}, b"x", Path("/x"), object(), Odd(), Local()):
        with pytest.raises(TypeError, match=r"^step: a\[0\]"):
            encode([value], "step: a")


def test_a_record_cannot_name_a_class_that_is_no_spec() -> None:
    for tag in ("subprocess:Popen", "builtins:dict", "jogak.spec.base:JogakError"):
        with pytest.raises(TypeError):
            decode({"$": tag, "is": {}}, place)
    with pytest.raises(LookupError):
        decode({"$": "antigravity:x", "is": {}}, place)
