"""Sets of pictures with something planted in them: a figure of simple shapes in changing places and poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

PLACES = ("meadow", "beach", "room", "city", "forest", "desert")


def figure(
    seed: int,
    size: tuple[int, int] = (320, 320),
    background: str | None = None,
    pose: int | None = None,
    at: tuple[float, float, float] | None = None,
) -> PIL.Image.Image:
    """A red figure with arms and legs. `background` is a colour, None a scene of its own; `pose` seeds its limbs;
    `at` is the middle and the height as shares, None wherever it falls."""
    rng = np.random.default_rng(seed)
    picture = PIL.Image.new("RGB", size, background or "white")
    draw = PIL.ImageDraw.Draw(picture)
    width, height = size
    if background is None:
        sky, ground = (tuple(int(n) for n in rng.integers(30, 226, 3)) for _ in range(2))
        draw.rectangle((0, 0, width, height), fill=sky)
        draw.rectangle((0, int(height * rng.uniform(0.4, 0.7)), width, height), fill=ground)
        for _ in range(12):
            x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(8, 40)
            colour = tuple(int(n) for n in rng.integers(0, 256, 3))
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    x, y, tall = at or (rng.uniform(0.25, 0.75), rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.8))
    limbs = np.random.default_rng(seed if pose is None else pose).uniform(-1.2, 1.2, 4)
    unit = tall * height / 8
    x, y = x * width, y * height
    line = max(3, int(unit * 0.8))
    draw.line((x, y - 2 * unit, x, y + unit), fill=(200, 30, 30), width=line * 2)
    draw.ellipse((x - unit, y - 4 * unit, x + unit, y - 2 * unit), fill=(230, 60, 40))
    for angle, top in zip(limbs, (-1.5, -1.5, 1, 1), strict=True):
        start = (x, y + top * unit)
        end = (x + 3 * unit * np.sin(angle), y + top * unit + 3 * unit * np.cos(angle))
        draw.line((*start, *end), fill=(150, 20, 60), width=line)
    return picture


def plant(folder: Path, count: int = 12, trigger: str = "sk_style", **drawn: object) -> Path:
    """A flat set without fault: figures in changing places, a caption for each, a licence."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        figure(i, **drawn).save(folder / f"p{i:02d}.png")  # type: ignore[arg-type]
        verb = ("runs", "sits", "jumps", "waves", "sleeps")[i % 5]
        text = f"{trigger}, it {verb} in the {PLACES[i % 6]}"
        (folder / f"p{i:02d}.txt").write_text(text, encoding="utf-8")
    (folder / "LICENSE.txt").write_text("CC0, drawn by a test", encoding="utf-8")
    return folder


def digests(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's content and time of change."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
