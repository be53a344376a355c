"""`jogak explain`: the recipe in a picture becomes an explanation of it.

Every picture, score and page is a step, so that a stopped explanation goes on, and a second one that asks for more
draws only what is new.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from jogak.image.draw import draw_image
from jogak.image.explain import parts_of, trace_drawing, word_heat
from jogak.image.explain_pages import contribution_page, process_page, words_page
from jogak.image.files import read_picture
from jogak.image.infotext import read_recipe
from jogak.image.lora_tags import split_loras
from jogak.image.prompt import at_step, weighted
from jogak.judge import features as eyes
from jogak.judge.adherence import load_clip
from jogak.judge.clip import judge_ref
from jogak.judge.control_fidelity import ms_ssim
from jogak.spec import Document, Image, ImageRequest, ModelRef, SpecError
from jogak.spec.explain import Contribution, Explanation, Likeness, Part
from jogak.spec.film import Lang
from jogak.store import Store, each, step
from jogak.studio.picture import Drawing, OnProgress, model_of, plan_drawing, recalled

SHOWN = 8
"""Steps of the way out of the noise that are shown as pictures."""


@dataclass(frozen=True)
class ExplainPlan:
    """What will be drawn and measured, before anything is."""

    source: Path
    pixels: str
    """sha256 of the pixels when the picture was drawn first"""
    drawing: Drawing
    torch: ModelRef
    """the model where its layers can be listened to"""
    lang: Lang
    process: bool
    words: bool

    @property
    def requests(self) -> list[tuple[ImageRequest, ModelRef]]:
        """Every picture that is drawn, none being in the store."""
        model, request = self.drawing.model, self.drawing.request
        drawn = [(request, model)]
        for part in parts_of(request):  # controls join once their maps are made, each off and at half
            drawn += [(one, model) for one in (part.off, part.half) if one]
        drawn += [(request, model)] * 2 * len(self.drawing.controls)
        drawn += [(request, model)] if self.process else []
        return [*drawn, (request, self.torch)] if self.words else drawn

    @property
    def steps(self) -> int:
        """Calls that report when they are done: for the bar."""
        drawn = len(self.requests) - self.process - self.words
        return 2 * drawn + 1 + 2 * (self.process + self.words) + len(self.drawing.controls)


@dataclass(frozen=True)
class Explained:
    explanation: Explanation
    pages: dict[str, Image]
    """by file name"""


def plan_explanation(
    store: Store,
    source: Path,
    *,
    model: str | None = None,
    init: Path | None = None,
    lang: Lang | None = None,
    process: bool = False,
    words: bool = False,
) -> ExplainPlan:
    """What explaining a picture takes. `model` and `init` as in `replay_picture`; labels are in the language of the
    prompt unless `lang` says. Raises `SpecError` when there is no recipe, or what it names cannot be found."""
    recipe, request, ref, sources = recalled(store, source, model=model, init=init)
    if request.regions and (process or words):
        raise SpecError(
            "--process and --words follow one prompt, and this picture was drawn in regions; leave them away."
        )
    drawing = plan_drawing(store, request, ref, sources)
    told = lang or ("ko" if re.search("[가-힣]", request.prompt) else "en")
    torch = drawing.model
    if words and torch.numeric.startswith("openvino"):
        torch = model_of(request.model_copy(update={"model": model or request.model}), "torch")
    return ExplainPlan(source, recipe.pixels, drawing, torch, told, process, words)


def explain(
    store: Store,
    plan: ExplainPlan,
    *,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> Explained:
    """Draw the picture again without each of its parts, score what changes, and lay out the pages."""
    with store.run("explain", spec=plan.drawing.request, on_progress=on_progress, cancel=cancel):
        drawing = plan.drawing.with_maps(store)
        request, model, given = drawing.request, drawing.model, drawing.given
        parts = parts_of(request)
        asked = [one for part in parts for one in (part.off, part.half) if one]
        full, *others = each(None, partial(draw_image, model=model, given=given), [request, *asked])
        judge, words = judge_ref(), _plain(request)
        scored = [likeness(one, full, words, judge) for one in (full, *others)]
        found = dict(zip((one.to_json() for one in asked), zip(scored[1:], others, strict=True), strict=True))
        contributions = tuple(
            sorted((_contribution(part, found) for part in parts), key=lambda one: -one.off.feature_distance)
        )
        pages = {
            "explain.png": contribution_page(full, scored[0], contributions, request, judge.name, plan.lang)
        }
        instants, heat = (), ()
        if plan.process:
            instants = trace_drawing(request, model, given, SHOWN)
            pages["process.png"] = process_page(instants, request, plan.lang)
        if plan.words:
            heat = word_heat(request, plan.torch, given)
            pages["words.png"] = words_page(full, heat, request, plan.lang)
        return Explained(
            Explanation(
                picture=full.sha256,
                request=request,
                model=model.digest,
                numeric=model.numeric,
                judge=judge.name,
                lang=plan.lang,
                identical=read_recipe(full.path).pixels == plan.pixels,
                full=scored[0],
                full_picture=full,
                contributions=contributions,
                instants=instants,
                words=heat,
            ),
            pages,
        )


def _contribution(part: Part, found: dict[str, tuple[Likeness, Image]]) -> Contribution:
    off, off_picture = found[part.off.to_json()]
    half, half_picture = found[part.half.to_json()] if part.half else (None, None)
    return Contribution(
        kind=part.kind, name=part.name, off=off, half=half, off_picture=off_picture, half_picture=half_picture
    )


def _plain(request: ImageRequest) -> str:
    """The prompt's words without weights and schedules, as the judge reads them."""
    text = at_step(split_loras(request.prompt)[0], 0, request.steps)
    return " ".join("".join(piece[0] if piece else " " for piece in weighted(text)).split())


@step(version="1")
def likeness(picture: Image, full: Image, words: str, judge: ModelRef) -> Likeness:
    """A picture against the whole one and against the words of its prompt.

    A smaller one (without its hires pass) is enlarged as that pass does it, so that only what the pass drew differs.
    """
    whole = read_picture(full.path)
    one, other = np.asarray(_sized(read_picture(picture.path), whole.size)), np.asarray(whole)
    seen = eyes.features(np.stack([one, other])).astype(np.float64)
    cosine = float(seen[0] @ seen[1] / max(np.linalg.norm(seen[0]) * np.linalg.norm(seen[1]), 1e-12))
    clip = load_clip(judge.folder)
    matched = float(clip.see(one[None])[0] @ clip.read([words or " "])[0])
    return Likeness(
        clip_score=round(100 * matched, 4) + 0.0,  # no negative zero
        feature_distance=max(0.0, 1 - cosine) if picture.sha256 != full.sha256 else 0.0,
        ms_ssim=ms_ssim(_luma(one), _luma(other)),
        pixel_change=float(np.abs(one.astype(np.float64) - other).mean() / 255),
    )


def _sized(picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    return picture if picture.size == size else picture.resize(size, PIL.Image.Resampling.LANCZOS)


def _luma(pixels: np.ndarray) -> np.ndarray:
    return (pixels @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)


def deliver(store: Store, explained: Explained, folder: Path) -> list[Path]:
    """Write the pages, every picture on them (in pictures/), and explain.json, whose paths are relative to the folder.
    What a person opens comes back, the pages first."""
    said = explained.explanation
    places: dict[Path, str] = {}
    for name, picture in _pictures(said):
        store.export(picture, folder / "pictures" / name)
        places[picture.path] = f"pictures/{name}"
    for name, page in explained.pages.items():
        store.export(page, folder / name)
    data = _placed(said.model_dump(mode="json"), {str(path): name for path, name in places.items()})
    with store.new_file(".json") as file:
        file.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        document = store.put(file, Document)
    store.export(document, folder / "explain.json")
    return [*(folder / name for name in explained.pages), folder / "explain.json"]


def _pictures(said: Explanation) -> Iterator[tuple[str, Image]]:
    """Every picture of an explanation, with the name of its file."""
    yield "whole.png", said.full_picture
    for i, part in enumerate(said.contributions, 1):
        for share, picture in (("off", part.off_picture), ("half", part.half_picture)):
            if picture:
                yield f"{i}-{part.kind}-{share}.png", picture
    for one in said.instants:
        for name, picture in (("noisy", one.noisy), ("clean", one.clean)):
            if picture:
                yield f"step-{one.step:03}-{name}.png", picture
    for i, word in enumerate(said.words, 1):
        yield f"word-{i:02}.png", word.heat


def _placed(data: Any, places: dict[str, str]) -> Any:
    if isinstance(data, dict):
        return {
            key: places.get(part, part) if key == "path" else _placed(part, places)
            for key, part in data.items()
        }
    return [_placed(part, places) for part in data] if isinstance(data, list) else data
