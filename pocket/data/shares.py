"""What share of training scenes and captions has two things, a colour, a position, a look.

    python -m pocket.data.shares build/sources [--puppets build/puppets.npz] [--config pocket/train/configs/unet.yaml]

The settings are those of `pocket.train.unet`, read from its file; without one, those that shipped (v1).
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jogak.models.captions import POSITION_WORDS, Lang, Scene, Telling
from jogak.models.lexicon import Word, lexicon
from pocket.data.scenes import SceneSampler
from pocket.data.sprites import Sprites, load_sources

V1 = {"plain": 0.4, "people": 0.15}
"""With these the shipped base was trained; all other settings were the sampler's own."""


def names_only(sources: Path, puppets: Path | None = None) -> Sprites:
    """Which drawings and puppets there are, without their pixels: enough to sample scenes."""
    index = {row[:2]: i for i, row in enumerate(load_sources(sources))}
    pixels = np.zeros((0, 4, 1, 1), np.uint8)
    if puppets is None:
        return Sprites(pixels, index)
    drawn = np.load(puppets)
    keys = [(f"puppet-{row}", look) for row, look in enumerate(drawn["look"].tolist())]
    phrases = list(zip(drawn["en"].tolist(), drawn["ko"].tolist(), strict=True))
    return Sprites(pixels, index | {key: len(index) + i for i, key in enumerate(keys)}, keys, phrases)


def sampler_of(sprites: Sprites, settings: dict[str, Any], close_ups: bool = False) -> SceneSampler:
    """The sampler that `pocket.train.unet` would make of these settings; what is not among them is as usual."""
    usual = Telling()
    telling = Telling(settings.get("look-told", usual.look), settings.get("position-told", usual.position))
    kept = {key: settings[key] for key in ("plain", "people", "pairs", "painted") if key in settings}
    return SceneSampler(sprites, close_ups=close_ups, telling=telling, **kept)


def shares(sampler: SceneSampler, count: int, seed: int = 1) -> dict[str, float]:
    """Of `count` scenes, each with one caption, half of them Korean: shares in 0..1 by what they have."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        scene = sampler.scene(rng)
        lang: Lang = "ko" if i % 2 else "en"
        rows.append(_has(scene, sampler.caption(scene, lang, rng), lang))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _has(scene: Scene, text: str, lang: Lang) -> dict[str, bool]:
    words = lexicon()
    two = len({subject.concept for subject in scene.subjects}) == 2
    colours = [words.word("colours", subject.colour) for subject in scene.subjects if subject.colour]
    look = words.word("looks", scene.look) if scene.look else None
    return {
        "two different things": two,
        "two, far away": two and scene.framing == "wide",
        "a thing's colour in the caption": any(_said(word, text, lang) for word in colours),
        "a position in the caption": any(word in text for word in POSITION_WORDS[lang]),
        "the look in the caption": look is not None and _said(look, text, lang),
    }


def _said(word: Word, text: str, lang: Lang) -> bool:
    """Whether any of a word's forms stands in a caption."""
    forms = {*word.words(lang), getattr(word, f"{lang}_adj"), getattr(word, f"{lang}_in")} - {""}
    edge = r"\b" if lang == "en" else ""
    return any(re.search(f"{edge}{re.escape(form)}{edge}", text, re.IGNORECASE) for form in forms)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path)
    parser.add_argument("--puppets", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--count", type=int, default=5000)
    args = parser.parse_args()
    settings = yaml.safe_load(args.config.read_text("utf-8")) if args.config else V1
    sprites = names_only(args.sources, args.puppets)
    for title, close_ups in (("scenes", False), ("close-ups", True)):
        print(title)
        for name, share in shares(sampler_of(sprites, settings, close_ups), args.count).items():
            print(f"  {name:<34} {share:6.1%}")


if __name__ == "__main__":
    main()
