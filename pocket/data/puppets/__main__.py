"""Puppets on the command line.

python -m pocket.data.puppets --sheet out.jpg --seed 0
python -m pocket.data.puppets --character FOLDER --count 24 --seed 7 --trigger sks_girl --kind girl
python -m pocket.data.puppets --export-poses FOLDER
python -m pocket.data.puppets --many build/puppets.npz --count 20000
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from pocket.data.puppets.export import contact_sheet, export_poses, make_character, make_sprites, save_picture
from pocket.data.puppets.identity import Puppet, random_puppet
from pocket.data.puppets.words import ANIMALS, LOOKS, PEOPLE, Look


def a_puppet(kind: str, look: Look, rng: random.Random) -> Puppet:
    """A random puppet of a kind ("fox") or, among people, of an age and sex ("girl")."""
    if kind in ANIMALS:
        return random_puppet(rng, look, kind)
    wanted = next(key for key, words in PEOPLE.items() if words.en == kind)
    while True:
        puppet = random_puppet(rng, look, "human")
        if (puppet.age, puppet.sex) == wanted:
            return puppet


def main(arguments: list[str] | None = None) -> None:
    people = [words.en for words in PEOPLE.values()]
    parser = argparse.ArgumentParser(
        prog="python -m pocket.data.puppets", description="Draw cut-out puppets."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet of random puppets")
    what.add_argument(
        "--character", type=Path, metavar="FOLDER", help="write one character's training pictures"
    )
    what.add_argument(
        "--export-poses", type=Path, metavar="FOLDER", help="write the named poses as OpenPose maps"
    )
    what.add_argument(
        "--many", type=Path, metavar="FILE", help="write puppets as sprites, joints and captions (.npz)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=24, help="how many pictures or sprites")
    parser.add_argument("--trigger", default="sks_girl", help="the word that stands for the character")
    parser.add_argument("--kind", default="girl", choices=[*people, *ANIMALS])
    parser.add_argument("--look", default="soft_3d", choices=LOOKS)
    parser.add_argument("--lang", default="en", choices=("en", "ko"), help="of the character's captions")
    parser.add_argument("--sprites", type=Path, help="sprites.npz: paint scenes behind the character")
    parser.add_argument("--workers", type=int, default=None)
    given = parser.parse_args(arguments)
    if given.sheet:
        save_picture(contact_sheet(given.seed), given.sheet)
    elif given.export_poses:
        export_poses(given.export_poses)
    elif given.many:
        make_sprites(given.many, given.count, given.seed, given.workers)
    else:
        rng = random.Random(given.seed)
        puppet = a_puppet(given.kind, given.look, rng)
        make_character(given.character, puppet, given.trigger, given.count, rng, given.sprites, given.lang)


if __name__ == "__main__":
    main()
