"""Fetch the openly licensed drawings by package name and keep the ones that the lexicon names.

python -m pocket.data.fetch build/sources            # needs npm on the PATH
python -m pocket.data.fetch build/sources --from DIR # packages already unpacked in DIR
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from jogak.models.lexicon import lexicon
from pocket.data.curate import read_icon_sets

PACKAGES = {  # npm package -> version; licences in pocket/LICENSES.md
    "@iconify-json/fluent-emoji": "1.2.7",
    "@iconify-json/fluent-emoji-flat": "1.2.6",
    "@iconify-json/twemoji": "1.2.5",
    "@iconify-json/noto": "1.2.9",
    "@iconify-json/fluent-emoji-high-contrast": "1.2.6",
}


def download(folder: Path) -> None:
    """`npm pack` each package into `folder` and unpack it beside."""
    if shutil.which("npm") is None:
        raise SystemExit(
            "npm is not on the PATH: install Node.js, or unpack the packages yourself and use --from."
        )
    for name, version in PACKAGES.items():
        subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{version}"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    for archive in folder.glob("*.tgz"):
        with tarfile.open(archive) as tar:
            tar.extractall(folder / archive.stem, filter="data")


def collect(packages: Path, out: Path) -> int:
    """Write `drawings.jsonl.gz`: one (concept, look, svg) a line. Returns how many."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    icon_sets = read_icon_sets(packages)
    with gzip.open(out / "drawings.jsonl.gz", "wt", encoding="utf-8", compresslevel=9) as file:
        for look in lexicon().looks:
            for concept in lexicon().concepts:
                name = concept.icons.get(look.icon_set)
                if name:
                    svg = icon_sets[look.icon_set].svg(name)
                    file.write(json.dumps([concept.id, look.id, svg], ensure_ascii=False) + "\n")
                    count += 1
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--from", dest="packages", type=Path)
    args = parser.parse_args()
    if args.packages:
        print(collect(args.packages, args.out), "drawings")
    else:
        with tempfile.TemporaryDirectory() as temporary:
            download(Path(temporary))
            print(collect(Path(temporary), args.out), "drawings")
