"""The pages of an explanation: what each part does, the way out of the noise, and each word's place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw

from jogak.image.page import (
    CLAY,
    GAP,
    INK,
    LINE,
    MARGIN,
    PAPER,
    SHADE,
    SOFT,
    Pen,
    font,
    keep,
    shortened,
    shown,
    wrapped,
)  # fmt: skip
from jogak.spec import Image, ImageRequest
from jogak.spec.explain import Contribution, Instant, Likeness, Word
from jogak.spec.film import Lang
from jogak.store import step

WIDTH = 1240
BAND = (224, 190, 160)
TILE = 216
"""Pixels of the longer side of a picture in a row."""

_SAID: Mapping[str, tuple[str, str]] = MappingProxyType({
    "parts": ("무엇이 이 그림을 만들었나", "What made this picture"),
    "process": ("노이즈에서 그림까지", "The way out of the noise"),
    "words": ("낱말이 본 곳", "Where each word looked"),
    "off": ("뺐을 때", "off"), "half": ("절반", "at half"), "where": ("달라진 곳", "where it acts"),
    "whole": ("전체", "whole"), "less said": ("무게 0.5", "at weight 0.5"),
    "nothing": ("절반은 없음", "no half"),
    "prompt": ("프롬프트", "prompt"), "negative": ("부정 프롬프트", "negative prompt"),
    "guidance": ("가이던스", "guidance"), "init": ("첫 그림", "first picture"), "hires": ("고해상도 다시 그리기", "hires pass"),
    "regions": ("부분별 프롬프트", "regions"),
    "lora": ("LoRA", "LoRA"),
    "control": ("컨트롤", "control"), "ip": ("참고 그림", "reference"),
    "clip_score": ("프롬프트 일치 (CLIP)", "prompt match (CLIP)"),
    "feature_distance": ("특징 거리", "feature distance"), "ms_ssim": ("구조 유사 (MS-SSIM)", "MS-SSIM"),
    "pixel_change": ("픽셀 변화", "pixel change"),
    "reading": (
        "같은 시드로 한 가지씩만 뺐습니다. 특징 거리는 0이면 같은 그림, MS-SSIM은 1이면 같은 구조입니다.",
        "The same seed each time, one thing taken away. Feature distance 0 and MS-SSIM 1 are the same picture.",
    ),
    "enlarged": ("없으면 그림이 작아, 키워서 견줌", "smaller without it, and compared once enlarged"),
    "summary": (
        "이 그림을 가장 크게 바꾼 것: {strong} (빼면 특징 거리 {distance}).",
        "What made it most: the {strong} (without it, a feature distance of {distance}).",
    ),
    "idle": ("거의 하는 일이 없는 것: {}.", "What did next to nothing: {}."),
    "against": ("빼면 프롬프트에 더 맞는 것: {}.", "Nearer to the prompt without: {}."),
    "noisy": ("x_t: 지금의 그림", "x_t: as it stands"), "clean": ("x_0: 모델의 짐작", "x_0: what the model guesses behind the noise"),
    "score": ("스코어의 크기 |(x_0 - x_t) / σ²|, 로그 눈금", "Norm of the score, |(x_0 - x_t) / σ²|, logarithmic"),
    "theory": ("√d / σ: 짐작이 꼭 맞을 때의 크기", "√d / σ: its norm where the guess is the truth"),
    "change": ("짐작이 앞 단계와 달라진 정도 (RMS)", "How much the guess changed since the step before (RMS)"),
    "process note": (
        "모델은 걸음마다 노이즈를 걷어 낸 그림을 짐작하고, 스코어가 가리키는 쪽(더 그럴듯한 그림)으로 x_t를 옮깁니다. "
        "σ가 클 때는 구도와 색이, 작을 때는 세부가 정해집니다.",
        "At every step the model guesses the picture behind the noise, and x_t goes where the score points: to likelier "
        "pictures. Composition and colours are settled while σ is large, details while it is small.",
    ),
    "words note": (
        "교차 어텐션을 모든 층·헤드·단계에서 평균했습니다. 밝은 곳이 낱말이 본 곳이고, 색은 낱말마다 자기 최댓값에 맞췄습니다. "
        "백분율은 낱말들이 받은 어텐션을 나눈 몫, 집중은 가장 밝은 곳이 평균의 몇 배인지입니다.",
        "Cross-attention, averaged over all layers, heads and steps. Bright is where the word was looked at, each map "
        "stretched to its own highest. The percentage is its part of the attention that the words got; focus is the "
        "brightest place against the mean.",
    ),
    "focus": ("집중", "focus"),
})  # fmt: skip


def said(key: str, lang: Lang) -> str:
    return _SAID[key][lang == "en"]


def _start(title: str, request: ImageRequest, lang: Lang, height: int) -> tuple[PIL.Image.Image, Pen]:
    page = PIL.Image.new("RGB", (WIDTH, height), PAPER)
    pen = PIL.ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN - 4), said(title, lang), font=font(27, "ExtraBold"), fill=INK)
    facts = f"{request.steps} steps · {request.sampler} · guidance {request.guidance:g} · seed {request.seed} · Jogak 조각"
    pen.text((WIDTH - MARGIN, MARGIN + 8), facts, font=font(15), fill=SOFT, anchor="ra")
    pen.line((MARGIN, MARGIN + 38, WIDTH - MARGIN, MARGIN + 38), fill=LINE, width=2)
    return page, pen


HEAD = MARGIN + 56


def _box(picture: Image, side: int = TILE) -> tuple[int, int]:
    scale = side / max(picture.width, picture.height)
    return round(picture.width * scale), round(picture.height * scale)


def _lines(
    pen: Pen,
    place: tuple[int, int],
    text: str,
    size: int,
    width: int,
    most: int,
    fill: tuple[int, int, int] = SOFT,
) -> int:
    """A paragraph; the y below it."""
    x, y = place
    for line in wrapped(text, font(size), width, most):
        pen.text((x, y), line, font=font(size), fill=fill)
        y += round(size * 1.5)
    return y


# contributions


@step(version="1")
def contribution_page(
    picture: Image,
    full: Likeness,
    parts: tuple[Contribution, ...],
    request: ImageRequest,
    judge: str,
    lang: Lang,
) -> Image:
    """Each part off and at half, where it acts, and the scores; the part that does most comes first."""
    box = _box(picture)
    row = max(box[1], 150) + 62
    head = HEAD + max(box[1], 170) + 34
    page, pen = _start("parts", request, lang, head + len(parts) * row + MARGIN)
    left = MARGIN + box[0] + 24
    page.paste(shown(picture, *box), (MARGIN, HEAD))
    width = WIDTH - MARGIN - left
    y = HEAD
    for line in wrapped(request.prompt, font(20, "Bold"), width, 3):
        pen.text((left, y), line, font=font(20, "Bold"), fill=INK)
        y += 29
    y = _lines(pen, (left, y + 6), _summary(parts, full, lang), 17, width, 3, CLAY)
    _lines(pen, (left, y + 6), said("reading", lang), 15, width, 2)
    match = f"{said('clip_score', lang)} {full.clip_score:.1f} · {judge}"
    pen.text((left, HEAD + max(box[1], 170) - 20), match, font=font(15), fill=SOFT)
    most = max([part.off.feature_distance for part in parts] + [1e-6])
    for i, part in enumerate(parts):
        _contribution(page, pen, head + i * row, part, picture, full, most, lang, box)
    return keep(page)


def _summary(parts: Sequence[Contribution], full: Likeness, lang: Lang) -> str:
    def name(part: Contribution) -> str:
        return said(part.kind, lang) + (f" {part.name}" if part.kind in ("lora", "control", "ip") else "")

    strong = parts[0]
    idle = [name(part) for part in parts[1:] if part.off.feature_distance < 0.02]
    against = [
        f"{name(part)} (+{part.off.clip_score - full.clip_score:.1f})"
        for part in parts
        if part.kind != "prompt" and part.off.clip_score > full.clip_score + 2
    ]
    values = {"strong": name(strong), "distance": f"{strong.off.feature_distance:.2f}"}
    texts = [said("summary", lang).format(**values)]
    texts += [said("idle", lang).format(", ".join(idle))] if idle else []
    texts += [said("against", lang).format(", ".join(against))] if against else []
    return " ".join(texts)


def _contribution(
    page: PIL.Image.Image, pen: Pen, top: int, part: Contribution, full: Image, whole: Likeness, most: float,
    lang: Lang, box: tuple[int, int],
) -> None:  # fmt: skip
    pen.line((MARGIN, top, WIDTH - MARGIN, top), fill=LINE, width=1)
    pen.text((MARGIN, top + 10), said(part.kind, lang), font=font(18, "Bold"), fill=INK)
    x = MARGIN + font(18, "Bold").getlength(said(part.kind, lang)) + 12
    name = f"{part.name} · {said('enlarged', lang)}" if part.kind == "hires" else part.name
    pen.text((x, top + 12), shortened(name, font(16), WIDTH - MARGIN - x - 420), font=font(16), fill=SOFT)
    bar = 280 * part.off.feature_distance / most
    right = WIDTH - MARGIN
    pen.rectangle((right - 280, top + 15, right, top + 25), fill=SHADE)
    pen.rectangle((right - 280, top + 15, right - 280 + max(bar, 1), top + 25), fill=CLAY)
    pen.text((right - 290, top + 20), said("feature_distance", lang), font=font(14), fill=SOFT, anchor="rm")
    y = top + 44
    gap = 14
    columns = (("off", part.off_picture), ("half", part.half_picture), ("where", None))
    for i, (key, picture) in enumerate(columns):
        x = MARGIN + i * (box[0] + gap)
        if key == "where":
            tile = _difference(shown(full, *box), shown(part.off_picture, *box))
        elif picture is None:
            tile = PIL.Image.new("RGB", box, SHADE)
            PIL.ImageDraw.Draw(tile).text(
                (box[0] / 2, box[1] / 2), said("nothing", lang), font=font(15), fill=SOFT, anchor="mm"
            )
        else:
            tile = shown(picture, *box)
        page.paste(tile, (x, y))
        _tag(
            pen,
            x,
            y,
            said("less said" if key == "half" and part.kind in ("prompt", "negative") else key, lang),
        )
    left = MARGIN + 3 * (box[0] + gap) + 16
    _scores(pen, left, y, part, whole, lang)


def _tag(pen: Pen, x: int, y: int, text: str) -> None:
    """A word in the corner of a picture."""
    width = font(14, "Bold").getlength(text) + 14
    pen.rounded_rectangle((x + 6, y + 6, x + 6 + width, y + 28), 5, fill=(20, 18, 15))
    pen.text((x + 13, y + 17), text, font=font(14, "Bold"), fill=(255, 255, 255), anchor="lm")


def _scores(pen: Pen, left: int, top: int, part: Contribution, whole: Likeness, lang: Lang) -> None:
    rows: tuple[tuple[str, str, float], ...] = (
        ("clip_score", "{:.1f}", whole.clip_score), ("feature_distance", "{:.2f}", 0.0), ("ms_ssim", "{:.2f}", 1.0),
        ("pixel_change", "{:.0%}", 0.0),
    )  # fmt: skip
    right = WIDTH - MARGIN
    ends = right - 150, right - 76, right
    for key, end in zip(("off", "half", "whole"), ends, strict=True):
        pen.text((end, top + 2), said(key, lang), font=font(14, "Bold"), fill=SOFT, anchor="ra")
    for i, (name, shape, without) in enumerate(rows):
        y = top + 30 + 28 * i
        label = shortened(said(name, lang), font(16), ends[0] - left - 60)
        pen.text((left, y), label, font=font(16), fill=INK)
        for end, one in zip(ends, (part.off, part.half, None), strict=True):
            value = without if one is None and end == right else (getattr(one, name) if one else None)
            text = "-" if value is None else shape.format(value).replace("-0.0", "0.0")
            weight = "Bold" if end == ends[0] else ""
            pen.text((end, y), text, font=font(16, weight), fill=SOFT if end == right else INK, anchor="ra")


def _difference(full: PIL.Image.Image, off: PIL.Image.Image) -> PIL.Image.Image:
    """The whole picture, bright where it changes without the part."""
    before, after = (np.asarray(picture, np.float32) for picture in (full, off.resize(full.size)))
    change = cv2.GaussianBlur(np.abs(before - after).mean(-1), (0, 0), 2) / 255
    return _spotlight(before, np.clip(change / 0.35, 0, 1))


def _spotlight(pixels: np.ndarray, light: np.ndarray) -> PIL.Image.Image:
    """(H, W, 3) in its own colours where the light (H, W) is 1, grey and dark where it is 0, a warm rim between."""
    light = light[..., None]
    grey = pixels.mean(-1, keepdims=True) * 0.28 + 14
    glow = np.array((255, 196, 92), np.float32) * (light * (1 - light)) * 0.55
    return PIL.Image.fromarray((grey * (1 - light) + pixels * light + glow).clip(0, 255).astype(np.uint8))


def _heated(pixels: np.ndarray, heat: np.ndarray) -> PIL.Image.Image:
    """(H, W, 3) in grey under a heat of 0 to 1: clear where it is cold, then red, orange and yellow."""
    grey = pixels.mean(-1, keepdims=True) * 0.62 + 30
    colours = np.stack([np.interp(heat, (0, 0.35, 0.7, 1), row) for row in _HEAT], -1)
    cover = np.interp(heat, (0, 0.25, 1), (0.0, 0.3, 0.8))[..., None]
    return PIL.Image.fromarray((grey * (1 - cover) + colours * cover).clip(0, 255).astype(np.uint8))


_HEAT = ((60, 190, 250, 255), (10, 40, 130, 240), (70, 45, 30, 120))
"""Red, green and blue at a heat of 0, 0.35, 0.7 and 1."""


# the way out of the noise


@step(version="1")
def process_page(instants: tuple[Instant, ...], request: ImageRequest, lang: Lang) -> Image:
    """A filmstrip of xₜ and x̂₀ at the steps that were kept, and charts over all steps."""
    strip = [one for one in instants if one.noisy and one.clean]
    space = WIDTH - 2 * MARGIN
    tile = min(TILE, (space - (len(strip) - 1) * GAP) // len(strip))
    box = _box(strip[0].noisy or strip[0].clean, tile)  # pyright: ignore[reportArgumentType]
    chart, bars = 230, 120
    height = HEAD + 62 + 2 * (box[1] + 28) + 36 + chart + 74 + bars + 74
    page, pen = _start("process", request, lang, height)
    y = _lines(pen, (MARGIN, HEAD - 6), said("process note", lang), 15, space, 2) + 10
    for key in ("noisy", "clean"):
        pen.text((MARGIN, y), said(key, lang), font=font(15, "Bold"), fill=INK)
        y += 24
        for i, one in enumerate(strip):
            x = MARGIN + i * (tile + GAP)
            picture = one.noisy if key == "noisy" else one.clean
            page.paste(shown(picture, *box), (x, y))  # pyright: ignore[reportArgumentType]
            if key == "noisy":
                _tag(pen, x, y, f"{one.step}/{len(instants)}  σ {_short(one.sigma)}")
        y += box[1] + 10
    chosen = {one.step for one in strip}
    _norms(pen, (MARGIN + 64, y + 44, WIDTH - MARGIN, y + 44 + chart), instants, chosen, lang)
    y += 44 + chart + 64
    _changes(pen, (MARGIN + 64, y + 14, WIDTH - MARGIN, y + 14 + bars), instants, lang)
    return keep(page)


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


Frame = tuple[int, int, int, int]


def _norms(pen: Pen, frame: Frame, instants: Sequence[Instant], chosen: set[int], lang: Lang) -> None:
    left, top, right, bottom = frame
    values = [v for one in instants for v in (one.score_norm, one.noise_norm) if v > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def at(index: int, value: float) -> tuple[float, float]:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return _across(left, right, index, len(instants)), bottom - share * (bottom - top)

    pen.text((left - 64, top - 34), said("score", lang), font=font(16, "Bold"), fill=INK)
    x = left - 64 + font(16, "Bold").getlength(said("score", lang)) + 28
    pen.line((x, top - 25, x + 34, top - 25), fill=BAND, width=9)
    pen.text((x + 42, top - 34), said("theory", lang), font=font(15), fill=SOFT)
    for power in range(low, high + 1):
        y = at(0, 10.0**power)[1]
        pen.line((left, y, right, y), fill=LINE, width=1)
        # the font has no raised figures
        pen.text((left - 18, y), "10", font=font(13), fill=SOFT, anchor="rm")
        pen.text((left - 17, y - 6), str(power), font=font(10), fill=SOFT, anchor="lm")
    band = [at(i, one.noise_norm) for i, one in enumerate(instants)]
    points = [at(i, one.score_norm) for i, one in enumerate(instants)]
    if len(points) > 1:
        pen.line(band, fill=BAND, width=11, joint="curve")
        pen.line(points, fill=CLAY, width=3, joint="curve")
    for one, (x, y) in zip(instants, points, strict=True):
        size = 5 if one.step in chosen else 3
        pen.ellipse((x - size, y - size, x + size, y + size), fill=CLAY, outline=PAPER)
    _steps(pen, frame, instants, chosen)


def _changes(pen: Pen, frame: Frame, instants: Sequence[Instant], lang: Lang) -> None:
    left, top, right, bottom = frame
    pen.text((left - 64, top - 30), said("change", lang), font=font(16, "Bold"), fill=INK)
    most = max([one.change for one in instants] + [1e-9])
    half = min(14.0, (right - left) / len(instants) / 3)
    pen.line((left, bottom, right, bottom), fill=LINE, width=1)
    pen.text((left - 8, top), f"{most:.2g}", font=font(13), fill=SOFT, anchor="rm")
    pen.text((left - 8, bottom), "0", font=font(13), fill=SOFT, anchor="rm")
    for i, one in enumerate(instants):
        x = _across(left, right, i, len(instants))
        pen.rectangle((x - half, bottom - (bottom - top) * one.change / most, x + half, bottom), fill=CLAY)
    _steps(pen, frame, instants, set())


def _across(left: int, right: int, index: int, count: int) -> float:
    return left + (index + 0.5) * (right - left) / count


def _steps(pen: Pen, frame: Frame, instants: Sequence[Instant], chosen: set[int]) -> None:
    left, _, right, bottom = frame
    every = max(1, math.ceil(len(instants) * 46 / (right - left)))
    for i, one in enumerate(instants):
        if i % every == 0:
            x = _across(left, right, i, len(instants))
            pen.text((x, bottom + 8), str(one.step), font=font(13, "Bold"), fill=INK, anchor="ma")
            pen.text((x, bottom + 24), f"σ {_short(one.sigma)}", font=font(12), fill=SOFT, anchor="ma")


# words


@step(version="1")
def words_page(picture: Image, words: tuple[Word, ...], request: ImageRequest, lang: Lang) -> Image:
    """The picture, and once more for each word, lit where that word was looked at."""
    columns = 5
    space = WIDTH - 2 * MARGIN
    tile = (space - (columns - 1) * 12) // columns
    box = _box(picture, tile)
    row = box[1] + 52
    rows = -(-(len(words) + 1) // columns)
    page, pen = _start("words", request, lang, HEAD + 58 + rows * row + MARGIN)
    top = _lines(pen, (MARGIN, HEAD - 6), said("words note", lang), 15, space, 2) + 10
    pixels = np.asarray(shown(picture, *box), np.float32)
    most = max([word.share for word in words] + [1e-9])
    for i in range(len(words) + 1):
        x, y = MARGIN + i % columns * (tile + 12), top + i // columns * row
        if i == 0:
            page.paste(shown(picture, *box), (x, y))
            pen.text((x, y + box[1] + 7), said("whole", lang), font=font(17, "Bold"), fill=SOFT)
            continue
        word = words[i - 1]
        page.paste(_heated(pixels, _light(word.heat, box)), (x, y))
        facts = f"{word.share:.0%} · {said('focus', lang)} {word.focus:.1f}"
        room = tile - font(14).getlength(facts) - 10
        pen.text(
            (x, y + box[1] + 6), shortened(word.text, font(18, "Bold"), room), font=font(18, "Bold"), fill=INK
        )
        pen.text((x + box[0], y + box[1] + 9), facts, font=font(14), fill=SOFT, anchor="ra")
        pen.rectangle((x, y + box[1] + 34, x + box[0], y + box[1] + 38), fill=SHADE)
        pen.rectangle((x, y + box[1] + 34, x + box[0] * word.share / most, y + box[1] + 38), fill=CLAY)
    return keep(page)


def _light(heat: Image, box: tuple[int, int]) -> np.ndarray:
    """A word's map at the picture's size, its lowest and highest fiftieth at 0 and 1."""
    with PIL.Image.open(heat.path) as file:
        large = np.asarray(file.convert("L").resize(box, PIL.Image.Resampling.BICUBIC), np.float32)
    low, high = np.percentile(large, (2, 98))
    return np.clip((large - low) / max(float(high - low), 1e-6), 0, 1)
