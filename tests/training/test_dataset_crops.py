"""Buckets as kohya makes them, and crops that keep the subject."""

from __future__ import annotations

import math

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jogak.spec import SpecError
from jogak.training.dataset_crops import buckets, crop, nearest_bucket, saliency
from tests.training.planted import figure


def kohyas(size: int, step: int) -> set[tuple[int, int]]:
    """`make_bucket_resolutions` of kohya's sd-scripts (library/model_util.py), told again, with min_size half and
    max_size twice the size."""
    low, high = size // 2, size * 2
    found = {(int(math.sqrt(size * size) // step) * step,) * 2}
    width = low
    while width <= high:
        height = min(high, int((size * size // width) // step) * step)
        if height >= low:
            found |= {(width, height), (height, width)}
        width += step
    return found


@pytest.mark.parametrize(("size", "step"), [(512, 64), (1024, 64), (768, 64), (256, 64), (256, 32), (128, 8)])
def test_buckets_are_kohyas(size: int, step: int) -> None:
    assert set(buckets(size, step)) == kohyas(size, step)


def test_pockets_own_sizes_are_buckets_at_256() -> None:
    assert {(256, 256), (320, 192), (192, 320)} <= set(buckets(256, 64))


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(64, 900), height=st.integers(64, 900), size=st.sampled_from([64, 256, 512]),
    step=st.sampled_from([8, 64]), mode=st.sampled_from(["smart", "center", "none"]),
)  # fmt: skip
def test_any_crop_lies_inside_and_has_its_buckets_shape(
    width: int, height: int, size: int, step: int, mode: str
) -> None:
    picture = np.random.default_rng(width * height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    if mode == "none" and max(width / height, height / width) > 4:
        with pytest.raises(SpecError, match="too long to be trained whole"):
            crop(picture, None, "none", size, step)
        return
    cut = crop(picture, None, mode, size, step)  # type: ignore[arg-type]
    left, top, right, bottom = cut.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == width or bottom - top == height, "nothing is cut that need not be"
    assert cut.width % 8 == 0
    assert cut.height % 8 == 0
    # one pixel of rounding in the box, where it is small, is all that may be stretched
    stretch = (cut.width / (right - left)) / (cut.height / (bottom - top))
    assert abs(math.log(stretch)) < 1.5 / min(right - left, bottom - top) + 1e-9
    if mode == "none":
        assert (right - left) * (bottom - top) > 0.8 * width * height
        assert 0.6 < cut.width * cut.height / size**2 < 1.7
    else:
        assert (cut.width, cut.height) in buckets(size, step)
        assert cut.width * cut.height <= size**2


def test_the_bucket_cuts_as_little_as_any() -> None:
    choice = buckets(512, 64)
    for width, height in ((640, 480), (480, 640), (1920, 1080), (100, 100), (3000, 500)):
        best = nearest_bucket(width, height, choice)

        def kept(bucket: tuple[int, int], ratio: float = width / height) -> float:
            return min(ratio / (bucket[0] / bucket[1]), (bucket[0] / bucket[1]) / ratio)

        assert kept(best) == pytest.approx(max(kept(bucket) for bucket in choice))


@pytest.mark.parametrize("background", ["white", "navy", None])
def test_a_smart_crop_keeps_a_subject_at_the_side(background: str | None) -> None:
    """Of 40 figures anywhere in a wide picture; the middle crop loses many of them."""
    kept = {"smart": 0, "center": 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        at = (float(rng.uniform(0.12, 0.88)), 0.5, 0.45)
        picture = np.asarray(figure(seed, (640, 300), background, at=at))
        for mode in kept:
            left, _, right, _ = crop(picture, None, mode, 256, 256).box  # type: ignore[arg-type]
            kept[mode] += left <= at[0] * 640 - 25 and at[0] * 640 + 25 <= right
    assert kept["smart"] >= (40 if background else 28)
    assert kept["center"] < 25


def test_transparency_says_what_the_subject_is() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (100, 400, 3)).astype(np.uint8)
    alpha = np.zeros((100, 400), np.uint8)
    alpha[30:70, 330:380] = 255
    left, _, right, _ = crop(picture, alpha, "smart", 128, 128).box
    assert left <= 330
    assert right >= 380


def test_of_equal_places_the_middle_of_the_subject_is_taken() -> None:
    picture = np.full((100, 400, 3), 255, np.uint8)
    picture[40:60, 190:210] = (200, 0, 0)
    left, _, right, _ = crop(picture, None, "smart", 128, 128).box
    assert abs((left + right) / 2 - 200) <= 3
    blank = crop(np.full((100, 400, 3), 255, np.uint8), None, "smart", 128, 128).box
    assert abs((blank[0] + blank[2]) / 2 - 200) <= 1, "nothing stands out: the middle"


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (20_000, 64), (64, 20_000), (3, 2)])
def test_odd_sizes_have_a_saliency(size: tuple[int, int]) -> None:
    weight = saliency(np.asarray(PIL.Image.new("RGB", size, "red")))
    assert weight.min() >= 0
    assert np.isfinite(weight).all()
