"""Pocket's own tagger: what a picture shows, in the lexicon's words, each with how sure it is.

Zero-shot naming by a CLIP (Radford et al. 2021, arXiv:2103.00020, section 3.1): the picture is compared with
sentences of the kind the CLIP was trained on. Place, hour and weather are asked one after the other, each in
the light of the answer before ("a meadow", then "a meadow at night"). A plain background is measured, not
guessed. Whatever falls below its bar in `BARS` is left out of a caption.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from jogak.models.background import plain_background
from jogak.models.captions import TIMELESS, WEATHERLESS, Lang, Scene, Subject, caption
from jogak.models.clip import ClipTowers
from jogak.models.lexicon import lexicon
from jogak.models.safe import read_json
from jogak.spec import JogakError

FOLDER = Path(__file__).parent / "weights" / "pocket-judge"
BARS = {"concept": 0.7, "place": 0.5, "time": 0.5, "weather": 0.6, "look": 0.99}
"""How sure the tagger must be to say a thing, 0..1.

On 400 held-out scenes of pocket's generator what the shipped CLIP says above these bars is right for 94.5 % of the
concepts (said of 69 % of the scenes), 95.7 % of the places (97 %), 97.2 % of the hours (98 %) and 99.1 % of the
weathers (50 %); tests/models/test_tagger.py measures it again. Looks it can hardly tell apart (42 % right), and no
bar makes it better, so `sentence` does not say them. Other pictures than pocket's own it was not tried on.
"""


@dataclass(frozen=True, slots=True)
class Tag:
    """A word of the lexicon by its id, and the share of the softmax it had, 0..1."""

    id: str
    share: float


@dataclass(frozen=True, slots=True)
class Tags:
    """What was seen in one picture. None: it was not asked for or cannot be there, as a weather before a plain
    background."""

    concept: Tag | None
    background: str | None
    """The colour's id of a plain background; it is measured, so it has no share."""
    place: Tag | None
    time: Tag | None
    weather: Tag | None
    look: Tag | None

    def sure(self, group: str) -> str | None:
        """The id of what is seen surely enough to be said."""
        tag: Tag | None = getattr(self, group)
        return tag.id if tag is not None and tag.share >= BARS[group] else None


class Tagger:
    """A CLIP that names pictures by the lexicon. Raises `JogakError` when the folder holds none.

    The folder holds a `CLIPModel` in safetensors, its `config.json` and a `CLIPTokenizer`; pixels are scaled to
    -1..1, or as its `preprocessor_config.json` says. Pictures are stretched, so that nothing at their edges goes
    unseen.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._towers = ClipTowers(folder, "tagger")
        prepared = folder / "preprocessor_config.json"
        said = read_json(prepared) if prepared.is_file() else {}
        try:
            self._mean, self._std = (
                torch.tensor(said.get(key, [0.5] * 3), dtype=torch.float32).reshape(1, 3, 1, 1)
                for key in ("image_mean", "image_std")
            )
        except (ValueError, TypeError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise JogakError(f"{folder} holds no tagger, by its {prepared.name}: {reason}") from None
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def tag(self, picture: NDArray[np.uint8], subject: bool = True) -> Tags:
        """picture (H, W, 3) uint8 RGB, any size. Without `subject` the concept is not asked for, which saves a
        second: all 717 are read the first time."""
        seen = self._see(picture)
        words = lexicon()
        concepts = [concept.id for concept in words.concepts]
        looks = [look.id for look in words.looks]
        background = plain_background(picture)
        place = time = weather = None
        if background is None:
            place = self._best(seen, [p.id for p in words.places], "place", _ground)
            if place.id not in TIMELESS:
                at = place.id
                time = self._best(seen, [t.id for t in words.times], f"time {at}", lambda id: _ground(at, id))
            if place.id not in WEATHERLESS and time is not None:
                at, hour = place.id, time.id
                weather = self._best(
                    seen, [w.id for w in words.weathers], f"weather {at} {hour}",
                    lambda id: _ground(at, hour, id),
                )  # fmt: skip
        return Tags(
            concept=self._best(seen, concepts, "concept", _thing) if subject else None,
            background=background, place=place, time=time, weather=weather,
            look=self._best(seen, looks, "look", _look),
        )  # fmt: skip

    def _best(
        self, seen: NDArray[np.float32], ids: list[str], key: str, said: Callable[[str], list[str]]
    ) -> Tag:
        if key not in self._vectors:
            sentences = [said(id) for id in ids]
            flat = self._towers.read([sentence for row in sentences for sentence in row])
            means = flat.reshape(len(ids), -1, flat.shape[-1]).mean(1)
            self._vectors[key] = means / np.linalg.norm(means, axis=1, keepdims=True)
        logits = self._towers.scale * self._vectors[key] @ seen
        shares = np.exp(logits - logits.max())
        best = int(shares.argmax())
        return Tag(ids[best], float(shares[best] / shares.sum()))

    def _see(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.tensor(picture).permute(2, 0, 1)[None].float()
        size = (self._towers.side, self._towers.side)
        pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
        return self._towers.embed((pixels / 255 - self._mean) / self._std)[0]


def sentence(tags: Tags, lang: Lang, concept: str | None = None) -> str:
    """A caption of the kind that pocket was trained on, of what is sure; empty when nothing is.

    `concept` is the id of the subject when it is known; else it is what the tagger is sure of. The look is left
    out: in a training set it is what the trigger word stands for.
    """
    concept = concept or tags.sure("concept")
    place = tags.sure("place")
    if place is None and tags.background is None:
        word = lexicon().concept(concept) if concept else None
        return "" if word is None else word.en_phrase() if lang == "en" else word.ko
    if place is None and concept is None:
        colour = lexicon().word("colours", tags.background or "white")
        return f"{colour.en} background" if lang == "en" else f"{colour.ko} 배경"
    scene = Scene(
        subjects=(Subject(concept),) if concept else (),
        place=place,
        background=tags.background or "white",
        time=tags.sure("time") if place else None,
        weather=tags.sure("weather") if place else None,
    )
    return caption(scene, lang)


@cache
def load_tagger(folder: Path = FOLDER) -> Tagger:
    """The tagger of a folder, once per process."""
    return Tagger(folder)


def _ground(place: str, time: str | None = None, weather: str | None = None) -> list[str]:
    scene = Scene((), place=place, time=time, weather=weather)
    return [caption(scene, "en"), caption(scene, "ko")]


def _thing(concept: str) -> list[str]:
    word = lexicon().concept(concept)
    return [word.en_phrase(), word.ko]


def _look(look: str) -> list[str]:
    word = lexicon().word("looks", look)
    return [f"a {word.en_adj} picture", word.en, word.ko]
