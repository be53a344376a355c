"""LoRA tags in a prompt: `<lora:name:0.8>`, as Stable Diffusion web UI reads them."""

from __future__ import annotations

import math
import re
from pathlib import Path

from jogak.models.catalogue import CATALOGUE
from jogak.spec import SpecError
from jogak.spec.image import MAX_ADAPTERS, LoraUse
from jogak.store.files import home

_TAG = re.compile(r"<lora:([^<>]*)>", re.IGNORECASE)
_OPEN = re.compile(r"<lora:[^<>]*", re.IGNORECASE)
_BLOCK = re.compile(r"(down|up)\.\d{1,2}|mid|other")


def lora_folders() -> tuple[Path, ...]:
    """Where a LoRA is looked for by name: `loras/` in the store's folder, the current directory, pocket's own."""
    return home() / "loras", Path.cwd(), CATALOGUE["pocket"].folder.with_name("pocket-fast")


def split_loras(prompt: str) -> tuple[str, tuple[LoraUse, ...]]:
    """A prompt without its LoRA tags, and what they ask for, in order.

    `<lora:name>`, `<lora:name:0.8>` (both networks), `<lora:name:0.5:0.8>` (text encoder, UNet), or by name:
    `te=`, `unet=` and a factor for a block of the UNet: `<lora:name:0.8:mid=0:up.1=0.5>`. A strength that is
    not given is 1 in the text encoder, and in the UNet the text encoder's. Raises `SpecError` for a tag that is not closed, has no name, or holds
    something that is no number.
    """
    uses = tuple(_use(found[0], found[1]) for found in _TAG.finditer(prompt))
    rest = _TAG.sub("", prompt)
    if left := _OPEN.search(rest):
        raise SpecError(f'the tag "{left[0][:60]}" is not closed; write <lora:name:0.8>.')
    if len(uses) > MAX_ADAPTERS:
        raise SpecError(f"the prompt names {len(uses)} LoRAs; at most {MAX_ADAPTERS} are put on at once.")
    # only where a tag was are spaces tidied: a prompt without tags comes back letter for letter
    return (re.sub(r"[ \t]{2,}", " ", rest).strip() if uses else prompt), uses


def _use(tag: str, content: str) -> LoraUse:
    name, *rest = (part.strip() for part in content.split(":"))
    if not name:
        raise SpecError(f'the tag "{tag[:60]}" names no LoRA; write <lora:name:0.8>.')
    named = dict(part.split("=", 1) for part in rest if "=" in part)
    numbers = [_number(tag, part) for part in rest if "=" not in part]
    if len(numbers) > 2:
        raise SpecError(
            f'the tag "{tag[:60]}" has {len(numbers)} weights; at most two fit: <lora:name:te:unet>.'
        )
    text = _number(tag, named.pop("te")) if "te" in named else (numbers or [1.0])[0]
    unet = numbers[1] if len(numbers) > 1 else text
    if "unet" in named:
        unet = _number(tag, named.pop("unet"))
    odd = [key for key in named if not _BLOCK.fullmatch(key)]
    if odd:
        raise SpecError(
            f'the tag "{tag[:60]}" has the unknown "{odd[0][:20]}="; there are te=, unet= and blocks: down.0=, mid=, up.1=.'
        )
    blocks = {key: _number(tag, value) for key, value in named.items()}
    return LoraUse.parse(
        {"name": name, "weight": unet, "text_weight": None if text == unet else text, "blocks": blocks},
        where=tag[:60],
    )


def _number(tag: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SpecError(f'the tag "{tag[:60]}": "{text[:20]}" is no number; write <lora:name:0.8>.')
    return number
