"""Sprites: every concept in every look, drawn once from its SVG into one array.

python -m pocket.data.sprites build/sources build/sprites.npz
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pocket.data.workers import in_parallel

SIZE = 192


@dataclass(frozen=True)
class Sprites:
    """`pixels` (N, 4, SIZE, SIZE) uint8, premultiplied RGBA; `index[(concept, look)]` is a row of it.

    Puppets stand behind the drawings: `puppets` are their keys in `index`, with what each is called in English and
    Korean. `joints` (N, 18, 3): x and y in shares of the side, and whether it is there; all 0 for drawings.
    """

    pixels: np.ndarray
    index: dict[tuple[str, str], int]
    puppets: list[tuple[str, str]] = field(default_factory=list)
    phrases: list[tuple[str, str]] = field(default_factory=list)
    joints: np.ndarray | None = None


def draw(svg: str, side: int = SIZE) -> np.ndarray:
    """One SVG as (4, side, side) uint8 premultiplied RGBA, cropped to what is drawn and fitted, bottom-aligned."""
    import resvg_py

    whole = side * 4 // 3
    big = Image.open(io.BytesIO(resvg_py.svg_to_bytes(svg_string=svg, width=whole, height=whole)))
    big = big.convert("RGBA")
    box = big.getchannel("A").point(lambda a: 255 if a > 8 else 0).getbbox()
    if box is None:
        raise ValueError("an empty drawing")
    part = big.crop(box)
    scale = (side - 2) / max(part.size)
    part = part.resize(
        (max(1, round(part.width * scale)), max(1, round(part.height * scale))), Image.Resampling.LANCZOS
    )
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(part, ((side - part.width) // 2, side - 1 - part.height))
    rgba = np.asarray(canvas, dtype=np.float32)
    rgba = np.concatenate([rgba[..., :3] * (rgba[..., 3:] / 255), rgba[..., 3:]], axis=-1)
    return (rgba + 0.5).astype(np.uint8).transpose(2, 0, 1)


def load_sources(path: Path) -> list[tuple[str, str, str]]:
    """(concept, look, svg) rows of `drawings.jsonl.gz` as written by `fetch.py`."""
    with gzip.open(path / "drawings.jsonl.gz", "rt", encoding="utf-8") as file:
        return [tuple(json.loads(line)) for line in file]  # type: ignore[misc]


def make_sprites(sources: Path, workers: int | None = None) -> Sprites:
    rows = load_sources(sources)
    pixels = np.stack(in_parallel(draw, [row[2] for row in rows], workers, chunksize=16))
    return Sprites(pixels, {(concept, look): i for i, (concept, look, _) in enumerate(rows)})


def save(sprites: Sprites, path: Path) -> None:
    keys = np.array([f"{concept}\t{look}" for concept, look in sprites.index])
    np.savez(path, pixels=sprites.pixels, keys=keys)


def load(path: Path, puppets: Path | None = None) -> Sprites:
    """The drawings, and the puppets that `python -m pocket.data.puppets --many` wrote."""
    data = np.load(path)
    index = {tuple(key.split("\t")): i for i, key in enumerate(data["keys"].tolist())}
    if puppets is None:
        return Sprites(data["pixels"], index)  # type: ignore[arg-type]
    drawn = np.load(puppets)
    keys = [(f"puppet-{row}", look) for row, look in enumerate(drawn["look"].tolist())]
    joints = np.zeros((len(index), 18, 3), np.float16)
    return Sprites(
        np.concatenate([data["pixels"], drawn["pixels"]]),
        index | {key: len(index) + row for row, key in enumerate(keys)},  # type: ignore[arg-type]
        keys,
        list(zip(drawn["en"].tolist(), drawn["ko"].tolist(), strict=True)),
        np.concatenate([joints, drawn["joints"]]),
    )


if __name__ == "__main__":
    save(make_sprites(Path(sys.argv[1])), Path(sys.argv[2]))
