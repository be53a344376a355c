"""A reference speaks: plain pictures of held-out scenes' subjects by the generator, and how far what is drawn is like
them, by the judging CLIP.

Without words the reference alone says what to draw; beside a caption that puts the same thing into a place, the words
must still be heard. The ceiling is the reference itself after pocket's autoencoder, the false alarm another's reference
or, of the subject, what is drawn at scale 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jogak.adapters.ip import IpAdapter, ip, load_ip
from jogak.judge.stats import mean_score, share_score
from jogak.spec import IpMode
from pocket.judge import base, cases
from pocket.judge.bench import WEIGHTS, Bench, Draw, Drawer, Pictures, plain_scene, prompts_of
from pocket.judge.controlled import (
    hundredths,
    likeness,
    monotone_score,
    ratio_row,
    to_captions,
    torch_drawer,
)
from pocket.judge.keypoints import decoded
from pocket.judge.rows import Row, Unmeasured

FOLDER = WEIGHTS.with_name("pocket-ip")
SCALES = (0.0, 0.3, 0.6, 0.9, 1.2)
USUAL = 0.6
SUBJECT_BAR, TEXT_BAR = 0.60, 0.85


@dataclass(frozen=True)
class ReferredDrawer:
    """Draws as a `Drawer` does, each picture with an eye on a reference of its own."""

    drawer: Drawer
    adapter: IpAdapter

    def __call__(
        self, prompts: list[str], seed: int, references: Pictures, scale: float, mode: IpMode = "all"
    ) -> Pictures:
        """N prompts, references (N, H, W, 3) → (N, 256, 256, 3); the i-th from the noise of `seed + i`. Scale 0 is no
        reference."""
        drawn = []
        for i, (prompt, reference) in enumerate(zip(prompts, references, strict=True)):
            with ip(self.drawer.model, self.adapter, reference, scale, mode):
                drawn.append(self.drawer([prompt], seed + i)[0])
        return np.stack(drawn)


def referred_drawer(draw: Draw) -> ReferredDrawer:
    drawer = torch_drawer(draw)
    return ReferredDrawer(drawer, load_ip(FOLDER, drawer.model.ref))


def rows(bench: Bench) -> Iterator[Row | Unmeasured]:
    """Likeness by scale, the subject without words, the words beside the reference, and parts of the reference."""
    asked = cases.in_places(bench.sprites, bench.count, 831)
    plain = [plain_scene(scene.subjects[0].concept, scene.look) for scene in asked]
    references = bench.paint(plain, 832)

    def alike(pictures: Pictures) -> NDArray[np.float64]:
        return likeness(bench.judge, pictures, references)

    def named(pictures: Pictures) -> NDArray[np.bool_]:
        return base.subject_named(bench, plain, pictures)

    yield Row(mean_score("false_alarm_ip_similarity", alike(np.roll(references, 1, 0)), better="lower"))
    yield Row(mean_score("ceiling_ip_similarity", alike(decoded(references))))
    yield Row(share_score("ceiling_ip_subject_top1", named(references)))
    if bench.draw is None:
        return
    draw, silent = referred_drawer(bench.draw), [""] * len(asked)
    found = {}
    for scale in SCALES:
        pictures = draw(silent, 6600, references, scale)
        found[scale] = alike(pictures)
        yield Row(mean_score(f"ip_similarity_s{hundredths(scale)}", found[scale]))
        if scale == 0:
            yield Row(share_score("false_alarm_ip_subject_top1", named(pictures), better="lower"))
        elif scale == USUAL:
            yield Row(share_score("ip_subject_top1", named(pictures)), SUBJECT_BAR)
    yield Row(monotone_score("ip_monotone", [found[scale] for scale in SCALES]), 1.0)
    told = {
        scale: to_captions(bench.judge, draw(prompts_of(asked), 6800, references, scale), asked)
        for scale in (0.0, USUAL)
    }
    yield ratio_row("ip_text_kept", told[USUAL], told[0.0], TEXT_BAR)
    modes: tuple[IpMode, ...] = ("style", "layout")
    for mode in modes:
        yield Row(mean_score(f"ip_{mode}_similarity", alike(draw(silent, 6600, references, USUAL, mode))))
