"""Whose eyes know a character again: measured on puppets, whose identity is known."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jogak.judge.clip import judge_ref, load_judge
from jogak.judge.features import BACKBONE
from jogak.judge.identity import identity
from jogak.models import resolve
from jogak.studio.sheet_judge import eyes_of
from jogak.studio.sheet_scores import own_bar, subject_box
from pocket.data.puppets.export import make_character
from pocket.data.puppets.identity import random_puppet
from tests.tiny_models import make_sd15_like


def subjects(folder: Path, seed: int, count: int) -> list[NDArray[np.uint8]]:
    """The subjects of a puppet's pictures, cut out as the sheet does."""
    rng = random.Random(seed)
    make_character(folder, random_puppet(rng, kind="human"), "sks", count, rng, None)
    found = []
    for path in sorted(folder.glob("*.png")):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        left, top, right, bottom = subject_box(pixels)
        found.append(np.ascontiguousarray(pixels[top:bottom, left:right]))
    assert len(found) == count
    return found


def test_pockets_characters_are_known_by_its_judge() -> None:
    assert eyes_of(resolve("pocket"), judge_ref()) == "pocket-judge"


def test_other_families_are_known_by_a_network_of_photographs(tmp_path: Path) -> None:
    assert eyes_of(resolve(make_sd15_like(tmp_path / "sd15"), "torch"), judge_ref()) == BACKBONE


def test_by_the_judge_a_stranger_is_far_below_the_bar(tmp_path: Path) -> None:
    """Twelve references of a puppet, six further pictures of it, and three of each of two other puppets."""
    own = subjects(tmp_path / "own", 7, 18)
    strangers = [one for seed in (8, 9) for one in subjects(tmp_path / str(seed), seed, 3)]
    judge = load_judge()
    seen, other = (np.stack([judge.see(one[None])[0] for one in rows]) for rows in (own, strangers))
    known, more = seen[:12], seen[12:]
    bar = own_bar(known)
    assert bar is not None
    assert identity(more, known).mean() > bar
    assert identity(other, known).max() < bar
