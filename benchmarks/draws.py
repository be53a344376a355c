"""What pocket draws of 24 prompts, none left out: the picture in the README.

python -m benchmarks.draws out.jpg [--model pocket] [--steps 20] [--guidance 4]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from jogak.film.cards import font_path
from jogak.models import load, resolve
from pocket.judge.bench import Drawer

PROMPTS = (
    "a fox in a meadow on a sunny day", "밤 숲속의 부엉이", "a whale in the sea at sunset", "눈 내리는 마을의 고양이",
    "a red car in the city on a rainy night", "우주의 로켓", "a rabbit on a white background, flat", "사막의 낙타, 입체 3D",
    "a sailboat at sea in the morning", "바닷속의 문어", "a robot in a room", "정원의 나비, 클로즈업",
    "a penguin in the snow", "농장의 돼지", "a castle in the mountains at night", "빨간 사과, 흰 배경",
    "two frogs by a river", "하늘을 나는 비행기", "a dinosaur in a forest", "딸기 케이크, 분홍 배경",
    "close-up of a lion in a desert", "해변의 게", "a snowman on a snowfield at night", "피자, 흰 배경",
)  # fmt: skip
SIDE, GAP, LINE, COLUMNS = 224, 8, 26, 6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    given = parser.parse_args()
    draw = Drawer(load(resolve(given.model)), given.steps, given.guidance, "dpmpp_2m")
    pictures = draw(PROMPTS, seed=0)
    rows = -(-len(PROMPTS) // COLUMNS)
    size = COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + LINE + GAP) + GAP
    page = PIL.Image.new("RGB", size, (246, 243, 236))
    pen, font = PIL.ImageDraw.Draw(page), PIL.ImageFont.truetype(font_path(), 13)
    for index, (prompt, picture) in enumerate(zip(PROMPTS, pictures, strict=True)):
        x = GAP + index % COLUMNS * (SIDE + GAP)
        y = GAP + index // COLUMNS * (SIDE + LINE + GAP)
        page.paste(PIL.Image.fromarray(picture).resize((SIDE, SIDE), PIL.Image.Resampling.LANCZOS), (x, y))
        pen.text((x + 2, y + SIDE + 5), prompt, font=font, fill=(60, 58, 54))
    page.save(given.out, quality=88)


if __name__ == "__main__":
    main()
