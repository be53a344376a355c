"""What a picture says of itself: AUTOMATIC1111's infotext, and the whole recipe as JSON to draw it again.

Both lie in the PNG's text: `parameters` for every other program, `jogak` for `jogak replay`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import PIL.Image
from PIL.PngImagePlugin import PngInfo
from pydantic import Field

import jogak
from jogak.image.steer import Steering
from jogak.spec import ImageRequest, LoraUse, ModelRef, Spec, SpecError
from jogak.spec.handles import Sha256
from jogak.store.pictures import open_picture

MAX_TEXT = 200_000
"""Characters of infotext or recipe that are read."""
_USER_COMMENT, _EXIF_IFD = 0x9286, 0x8769

SAMPLER_NAMES: Mapping[str, tuple[str, str]] = {
    "ddim": ("DDIM", "Trailing"),
    "euler": ("Euler", "Trailing"),
    "euler_a": ("Euler a", "Trailing"),
    "dpmpp_2m": ("DPM++ 2M", "Trailing"),
    "dpmpp_2m_karras": ("DPM++ 2M", "Karras"),
    "lcm": ("LCM", "LCM"),
}
"""Sampler and schedule as other programs call them."""


class Recipe(Spec):
    """All that is needed to draw a picture again, and to tell whether it is the same."""

    request: ImageRequest
    weights: Sha256 = Field(description="digest of the model's weights and configuration")
    family: str
    numeric: str = Field(description="backend, precision and threads that drew it")
    versions: dict[str, Annotated[str, Field(max_length=100)]] = Field(max_length=20)
    inputs: dict[str, Sha256] = Field(
        default={}, max_length=40, description="digests of the pictures and adapters it was drawn with"
    )
    pixels: Sha256 = Field(description="sha256 over the RGB pixels, row by row")


def versions(numeric: str) -> dict[str, str]:
    """The versions of what takes part in a drawing in this numeric mode."""
    packages = ["torch", "diffusers", "transformers", "tokenizers", "pillow"]
    if numeric.startswith("openvino"):
        packages.append("openvino")
    found = {"jogak": jogak.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def infotext(request: ImageRequest, model: ModelRef, given: Steering | None = None) -> str:
    """The request as other programs write it below a picture; LoRAs as tags, as they are asked for there."""
    sampler, schedule = SAMPLER_NAMES[request.sampler]
    facts: dict[str, object] = {
        "Steps": request.steps,
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": f"{request.guidance:g}",
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": model.digest[:10],
        "Model": Path(model.name).name,
    }
    if request.init:
        facts["Denoising strength"] = f"{request.strength:g}"
    if request.hires > 1:
        facts |= {"Hires upscale": f"{request.hires:g}", "Hires upscaler": "Lanczos"}
    if given and given.loras:
        names = (Path(file.name).stem for file in given.loras)
        hashes = (f"{name}: {file.sha256[:12]}" for name, file in zip(names, given.loras, strict=True))
        facts["Lora hashes"] = ", ".join(hashes)
    for i, use in enumerate(request.controls if given else ()):
        file = given.controls[i] if given else None
        facts[f"ControlNet {i}"] = (
            f"Module: {use.kind}, Model: {file.name if file else use.model} [{file.sha256[:8] if file else ''}], "
            f"Weight: {use.weight:g}, Resize Mode: Crop and Resize, Guidance Start: {use.start:g}, "
            f"Guidance End: {use.end:g}"
        )
    if request.regions:
        facts["Regions"] = "; ".join(
            f"{' '.join(f'{side:g}' for side in region.box)} {region.prompt}" for region in request.regions
        )
    facts["Version"] = f"jogak {jogak.__version__}"
    tags = [_tag(use) for use in request.loras]
    lines = [" ".join([request.prompt, *tags])]
    if request.negative:
        lines.append(f"Negative prompt: {request.negative}")
    lines.append(", ".join(f"{key}: {_quoted(str(value))}" for key, value in facts.items()))
    return "\n".join(lines)


def _tag(use: LoraUse) -> str:
    name = Path(use.name).stem
    if use.text_weight is None:
        return f"<lora:{name}:{use.weight:g}>"
    return f"<lora:{name}:{use.text_weight:g}:{use.weight:g}>"


def png_text(
    request: ImageRequest, model: ModelRef, recipe: Recipe, given: Steering | None = None
) -> PngInfo:
    """The text to save a PNG with."""
    text = PngInfo()
    # Other programs know only one of the two kinds of PNG text; Pillow takes the old one where the signs
    # allow it.
    text.add_text("parameters", infotext(request, model, given))
    text.add_text(
        "jogak", json.dumps(recipe.model_dump(mode="json"), ensure_ascii=True, separators=(",", ":"))
    )
    return text


def read_recipe(path: Path) -> Recipe:
    """The recipe inside a picture that Jogak drew. No pixel is decoded.

    Raises `SpecError` when the file is no picture, carries no recipe, or one that is damaged.
    """
    text = open_picture(path).info.get("jogak")
    if not isinstance(text, str):
        raise SpecError(f"{path} carries no recipe of Jogak's; only a PNG that Jogak drew can be replayed.")
    if len(text) > MAX_TEXT:
        raise SpecError(
            f"{path} carries a recipe of {len(text):,} characters; at most {MAX_TEXT:,} are read."
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise SpecError(f"{path} carries a damaged recipe; use the picture as Jogak wrote it.") from None
    return Recipe.parse(data, where=f"the recipe in {path.name}")


def read_infotext(path: Path) -> str | None:
    """The infotext of any program's picture: PNG text, or EXIF UserComment of JPEG and WebP; None without
    one."""
    picture = open_picture(path)
    text = picture.info.get("parameters")
    if text is None:
        text = _user_comment(picture)
    return text[:MAX_TEXT] if isinstance(text, str) else None


def parse_infotext(text: str) -> dict[str, str]:
    """Infotext as `{"Prompt": …, "Negative prompt": …, "Steps": …, …}`.

    The last line counts as settings only when it holds at least three `key: value`; any text is read without
    error.
    """
    lines = text[:MAX_TEXT].strip().split("\n")
    facts = _settings(lines[-1])
    if len(facts) < 3:
        facts = {}
    else:
        lines.pop()
    prompt, found, negative = "\n".join(lines).partition("Negative prompt:")
    if found and prompt and not prompt.endswith("\n"):  # the words stood inside the prompt
        prompt, negative = "\n".join(lines), ""
    return {"Prompt": prompt.strip(), "Negative prompt": negative.strip()} | facts


_SETTING = re.compile(r'\s*(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,"][^,]*|)\s*(?:,|$)')


def _settings(line: str) -> dict[str, str]:
    facts: dict[str, str] = {}
    at = 0
    while at < len(line) and (found := _SETTING.match(line, at)) is not None and found.end() > at:
        facts[found[1]] = _unquoted(found[2].strip())
        at = found.end()
    return facts


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(sign in value for sign in ',:\n"') else value


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except (ValueError, RecursionError):
            return value
    return value


def _user_comment(picture: PIL.Image.Image) -> str | None:
    try:
        raw = picture.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    except Exception:  # hostile EXIF; the decoders raise whatever they meet
        return None
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, bytes):
        return None
    code, body = raw[:8], raw[8 : 8 + 4 * MAX_TEXT]
    if code == b"UNICODE\0":
        # the standard leaves the byte order open; programs of the field write big-endian
        order = "utf-16-le" if body[1:2] == b"\0" else "utf-16-be"
        return body.decode(order, errors="replace")
    return body.decode("ascii" if code == b"ASCII\0\0\0" else "utf-8", errors="replace")
