"""`--region left="a fox"`: parts of a picture as a person writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jogak.image.lora_tags import split_loras
from jogak.spec import Region, SpecError
from jogak.spec.image import MAX_REGIONS, PLACES, Box

_ENGLISH = {
    "left": "on the left", "right": "on the right", "middle": "in the middle", "top": "at the top",
    "bottom": "at the bottom",
}  # fmt: skip
_KOREAN = {"left": "왼쪽", "right": "오른쪽", "middle": "가운데", "top": "위쪽", "bottom": "아래쪽"}
_NAMES = {name: name for name in PLACES} | {korean: name for name, korean in _KOREAN.items()}


@dataclass(frozen=True)
class RegionFlag:
    """`--region PLACE=WORDS` as it was written."""

    box: Box
    words: str
    """with the place's name in them, where it has one: "a fox on the left", "왼쪽에 여우" """


def parse_region(text: str) -> RegionFlag:
    """`left=a fox`, `왼쪽=여우`, `0,0,0.4,1=a fox`. Raises `SpecError` with the way to write it."""
    name, _, words = (part.strip() for part in text.partition("="))
    if not words:
        raise _wrong(text)
    if name not in _NAMES:
        return RegionFlag(_box(name, text), words)
    place = _NAMES[name]
    korean = any("가" <= sign <= "힣" for sign in words)
    said = f"{_KOREAN[place]}에 {words}" if korean else f"{words} {_ENGLISH[place]}"
    return RegionFlag(PLACES[place], said)


def _box(name: str, text: str) -> Box:
    try:
        left, top, right, bottom = (float(number) for number in name.split(","))
    except ValueError:
        raise _wrong(text) from None
    return left, top, right, bottom


def _wrong(text: str) -> SpecError:
    names = ", ".join(PLACES)
    return SpecError(
        f'region: "{text[:80]}" is not PLACE=WORDS; PLACE is one of {names}, or left,top,right,bottom in shares of the '
        'picture, for example --region left="a fox" --region 0.5,0,1,1="a balloon".'
    )


def with_regions(prompt: str, flags: Sequence[RegionFlag]) -> tuple[str, tuple[Region, ...]]:
    """The whole picture's prompt and its regions: `prompt` is what all of them share, place, light and style.

    The whole is told everything, each region its own words and what is shared. Raises `SpecError` for a box that does
    not lie in the picture, or too many.
    """
    if len(flags) > MAX_REGIONS:
        raise SpecError(f"{len(flags)} regions are asked for; at most {MAX_REGIONS} are drawn at once.")
    shared = split_loras(prompt)[0]  # a LoRA is on the whole picture
    regions = tuple(
        Region.parse({"prompt": _joined(flag.words, shared), "box": flag.box}, "region") for flag in flags
    )
    return _joined(*(flag.words for flag in flags), prompt), regions


def _joined(*said: str) -> str:
    return ", ".join(filter(None, said))
