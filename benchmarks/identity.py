"""Whose eyes know a character again: a network that learnt from photographs, or pocket's judging CLIP.

    python -m benchmarks.identity REFERENCES OWN STRANGER

Three folders of PNG: pictures of a character, pictures that a LoRA drew of her, and pictures of somebody else. Printed
are, for both judges, the mean cosine of each folder's subjects (cut out as `jogak sheet` does) to the references', and
the sheet's bar: what nine in ten references reach among themselves. Good eyes have the first near the bar, the second
far below it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jogak.image.files import read_picture
from jogak.judge.clip import load_judge
from jogak.judge.features import BACKBONE, features
from jogak.judge.identity import identity
from jogak.judge.stats import mean_score
from jogak.studio.sheet_scores import own_bar, subject_box


def subjects(folder: Path) -> list[NDArray[np.uint8]]:
    found = []
    for path in sorted(folder.glob("*.png")):
        pixels = np.asarray(read_picture(path))
        left, top, right, bottom = subject_box(pixels)
        found.append(np.ascontiguousarray(pixels[top:bottom, left:right]))
    if not found:
        raise SystemExit(f"{folder} holds no PNG.")
    return found


def main() -> None:
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    references, own, stranger = (subjects(Path(folder)) for folder in sys.argv[1:])
    for name, look in ((BACKBONE, features), ("pocket-judge", load_judge().see)):
        known, *others = (
            np.stack([look(one[None])[0] for one in rows]) for rows in (references, own, stranger)
        )
        for who, rows in zip(("own", "stranger"), others, strict=True):
            score = mean_score(f"{who}/{name}", identity(rows, known), backbone=name)
            print(f"{score.name:<28} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]  n={score.n}")
        print(f"{'bar/' + name:<28} {own_bar(known)}  n={len(known)}")


if __name__ == "__main__":
    main()
