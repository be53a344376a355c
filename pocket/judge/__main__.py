"""Judge pocket on what training never showed it, beside the generator's own pictures as the ceiling.

    python -m pocket.judge --sprites build/sprites.npz [--concepts 200] [--scenes 200] [--sheet build/judged.jpg]
    python -m pocket.judge --all --sprites build/sprites.npz [--count 48] [--scenes 400] [--only inpaint]

Prints every figure with its sample size and 95 % interval. Without a UNet in the folder, what needs none is judged.
`--all` prints the scorecard of the whole family: every member of `pocket.judge.members`, against the family's bars.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jogak.judge.clip import FOLDER, Judge
from jogak.models import resolve, samplers
from pocket.data.compose import Painter
from pocket.data.sprites import load as load_sprites
from pocket.judge.base import autoencoder_rows, prototype_rows, scene_rows, scene_test, word_rows
from pocket.judge.bench import FAMILY, V1, WEIGHTS, Bench, drawing_model, readable
from pocket.judge.members import MEMBERS, scorecard
from pocket.judge.rows import say


def base_alone(bench: Bench) -> None:
    """Autoencoder, words, prototypes and scenes."""
    for part in (autoencoder_rows(bench), word_rows(), prototype_rows(bench)):
        for row in part:
            say(row)
    for row in scene_rows(bench, scene_test(bench)):
        say(row)


def read_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--all", action="store_true", help="the scorecard of the whole family")
    names = [member.name for member in MEMBERS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="of --all: these members")
    parser.add_argument("--count", type=int, default=48, help="of --all: cases for each attribute")
    parser.add_argument("--concepts", type=int, default=200)
    parser.add_argument("--scenes", type=int, help="200; with --all 400")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--sampler", choices=sorted(samplers.SAMPLERS), default="dpmpp_2m")
    parser.add_argument("--sheet", type=Path)
    return parser.parse_args(words)


def main() -> None:
    args = read_arguments()
    sprites = load_sprites(args.sprites)
    draw = mend = None
    if (WEIGHTS / "unet").is_dir():
        draw, mend = drawing_model(resolve("pocket"), args.steps, args.guidance, args.sampler)
    bench = Bench(
        sprites=readable(sprites),
        every_look=sprites,
        painter=Painter(sprites.pixels),
        judge=Judge(FOLDER),
        draw=draw,
        mend=mend,
        concepts=args.concepts,
        scenes=args.scenes or (400 if args.all else 200),
        count=args.count,
        bars=FAMILY if args.all else V1,
        sheet=args.sheet,
    )
    if not args.all:
        base_alone(bench)
        return
    for row in scorecard(bench, tuple(member for member in MEMBERS if member.name in args.only)):
        say(row)


if __name__ == "__main__":
    main()
