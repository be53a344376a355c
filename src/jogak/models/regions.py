"""Parts of a picture with words of their own: two characters who are not mixed up, each where it is wanted.

At every step the network looks at the whole picture once for each part, with that part's words, and once with the
picture's; what it sees is weighed by soft masks (MultiDiffusion: Bar-Tal et al., arXiv:2302.08113; "latent couple"
in the field). Who stands where is settled early, so that the last steps are the whole picture's alone: parts grow
together, and it costs less. It needs no training, and any family can do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from jogak.models.captions import Lang, Scene, caption
from jogak.models.diffusion import DiffusionModel
from jogak.spec import Region
from jogak.spec.image import PLACES

WHOLE = 0.3
"""Weight of the whole picture's words beside each part's 1: enough to hold the parts together."""
SHARE = 0.6
"""Of the steps: how long parts have words of their own."""
FEATHER = 0.18
"""Share of the picture over which a part gives way to its neighbour, half of it on either side of the border."""


def regions_of(scene: Scene, lang: Lang) -> tuple[Region, ...]:
    """A part for each subject of a scene in which several stand at places of their own; else none.

    Its words are the scene's with this subject alone, position included: a sentence that the model has read.
    """
    if len(scene.subjects) < 2 or not all(subject.position for subject in scene.subjects):
        return ()
    return tuple(
        Region(prompt=caption(replace(scene, subjects=(one,)), lang), box=PLACES[one.position or "middle"])
        for one in scene.subjects
    )


def region_mask(region: Region, height: int, width: int) -> Tensor:
    """(1, 1, height, width) in 0..1: 1 well inside, 0.5 on the border; the picture's own edges are no border."""
    left, top, right, bottom = region.box
    return _ramp(left, right, width).view(1, 1, 1, -1) * _ramp(top, bottom, height).view(1, 1, -1, 1)


def _ramp(begin: float, end: float, length: int) -> Tensor:
    at = (torch.arange(length) + 0.5) / length
    rising = ((at - begin) / FEATHER + 0.5).clamp(0, 1) if begin > 0 else torch.ones(length)
    falling = ((end - at) / FEATHER + 0.5).clamp(0, 1) if end < 1 else torch.ones(length)
    return rising * falling


class RegionalModel:
    """A model that sees a picture part by part on one walk out of the noise; without regions it is the model alone.

    `sigmas` is the walk's whole schedule (steps + 1,): after `SHARE` of it the picture's own words go on alone.
    """

    def __init__(
        self, model: DiffusionModel, regions: Sequence[Region], sigmas: Tensor, guidance: float
    ) -> None:
        self._model, self._regions, self._guidance = model, regions, guidance
        self._until = float(sigmas[round(SHARE * (len(sigmas) - 1))])

    def denoise(self, x: Tensor, sigma: float, conds: Sequence[Tensor], uncond: Tensor) -> Tensor:
        """The clean latents (B, C, h, w) in `x`. `conds` are the words of the whole picture and then of each region,
        (1, N, D) each."""
        whole = self._model.denoise(x, sigma, conds[0], uncond, self._guidance)
        if not self._regions or sigma <= self._until:
            return whole
        height, width = x.shape[-2:]
        total, weight = WHOLE * whole, torch.full((1, 1, height, width), WHOLE)
        for region, cond in zip(self._regions, conds[1:], strict=True):
            mask = region_mask(region, height, width)
            total = total + mask * self._model.denoise(x, sigma, cond, uncond, self._guidance)
            weight = weight + mask
        return total / weight
