"""Is it the same character? Feature cosine to the reference pictures, as DreamBooth measures subject fidelity.

Ruiz et al. 2022, arXiv:2208.12242, section 4.2: the mean pairwise cosine of generated and real pictures. They take
ViT features of DINO; the name here says whose features were taken. A number means something beside `identity_ceiling`:
how alike the reference pictures are to each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jogak.judge.stats import mean_score
from jogak.spec import JogakError
from jogak.spec.scores import Score

Vectors = NDArray[np.floating]


def unit(vectors: Vectors) -> NDArray[np.float64]:
    """Rows (N, D) at length 1; a row of zeros stays one."""
    rows = np.asarray(vectors, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)


def identity(pictures: Vectors, references: Vectors) -> NDArray[np.float64]:
    """For each picture the mean cosine to all references: (N, D), (M, D), N, M ≥ 1 → (N,), in −1..1."""
    if pictures.ndim != 2 or references.ndim != 2 or pictures.shape[1] != references.shape[1]:
        raise JogakError(
            f"Identity needs two sets of features (N, D), not {pictures.shape} and {references.shape}."
        )
    if not len(pictures) or not len(references):
        raise JogakError("Identity needs a picture and a reference, or more of each.")
    # the mean of cosines is the cosine with the mean of the unit vectors, so no N × M table is needed
    return unit(pictures) @ unit(references).mean(0)


def identity_score(pictures: Vectors, references: Vectors, backbone: str, *, seed: int = 0) -> Score:
    """Mean pairwise cosine, with an interval over the pictures (the references are taken as given)."""
    return mean_score(
        f"identity/{backbone}", identity(pictures, references), backbone=backbone, seed=seed
    )  # fmt: skip


def identity_ceiling(references: Vectors, backbone: str, *, seed: int = 0) -> Score:
    """How alike the references are to each other: each one's mean cosine to the others, M ≥ 2."""
    rows = unit(references)
    if len(rows) < 2:
        raise JogakError("Two reference pictures or more are needed to tell how alike they are.")
    others = (rows @ rows.sum(0) - (rows * rows).sum(1)) / (len(rows) - 1)
    return mean_score(f"identity_ceiling/{backbone}", others, backbone=backbone, seed=seed)
