"""A look before the start: does it all fit together, and into memory? Only headers and JSON are read, no weight.

    findings = preflight(request, resolve(request.model), loras=[Path("style.safetensors")])

A finding of level `stop` means that it cannot work. Every sentence comes in English and Korean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from jogak.models.catalogue import Family, ModelFacts, describe, family_of, memory_of
from jogak.models.estimate import estimate, this_machine
from jogak.models.place import Place, open_place
from jogak.models.recognise import FAMILY_OF_WIDTH, Kind, Recognised, recognise
from jogak.models.safe import Header, TensorFacts, UnsafeWeights, read_header, read_json
from jogak.spec import ImageRequest, ModelRef, SpecError
from jogak.spec.memory import Memory
from jogak.spec.preflight import Finding, Level, Machine, MemoryNeed

MAX_METADATA = 4_000_000
"""Characters of one metadata value that are read as JSON."""
_NAMES: Mapping[str, str] = {
    "pocket": "pocket", "sd15": "SD 1.5", "sd2": "SD 2", "sdxl": "SDXL", "flux": "FLUX", "zimage": "Z-Image",
}  # fmt: skip
_TOWERS: Mapping[tuple[str, int], str] = {
    ("projection", 1024): "OpenCLIP ViT-H/14", ("hidden", 1280): "OpenCLIP ViT-H/14",
    ("projection", 1280): "OpenCLIP ViT-bigG/14", ("hidden", 1664): "OpenCLIP ViT-bigG/14",
    ("projection", 768): "CLIP ViT-L/14", ("hidden", 1024): "CLIP ViT-L/14",
}  # fmt: skip
"""Vision towers by which of their outputs is read and how wide it is."""
_HANGUL = re.compile("[가-힣ㄱ-ㅎㅏ-ㅣ]")
_KINDS: Mapping[Kind, tuple[str, str, str]] = {
    "checkpoint": ("a whole checkpoint", "체크포인트 전체", "--model"),
    "unet": ("a UNet in diffusers' names", "diffusers 이름의 UNet", "--model"),
    "vae": ("an autoencoder", "VAE", "--vae"),
    "lora": ("a LoRA", "LoRA", "--lora"),
    "control": ("a ControlNet", "ControlNet", "--control"),
    "ip": ("an IP-Adapter", "IP-Adapter", "--ip"),
    "embedding": ("a textual inversion", "textual inversion", "--embedding"),
    "vision": ("an image encoder", "이미지 인코더", "image_encoder/"),
    "unknown": ("none of the layouts that Jogak reads", "조각이 읽는 형식이 아닌 파일", "nothing here"),
}


def preflight(
    request: ImageRequest,
    model: ModelRef,
    *,
    loras: Sequence[Path] = (),
    controls: Sequence[Path] = (),
    ips: Sequence[Path] = (),
    machine: Machine | None = None,
) -> list[Finding]:
    """What will go wrong, or could go better, with this request; the gravest first.

    `loras`, `controls` and `ips` are the files (ControlNets and IP-Adapters also folders) that the request's
    names stand for. `machine` is the memory that is free; None looks at this one.
    """
    place = open_place(model.folder)
    base = _Base(describe(model.folder), family_of(place), place, model)
    found = [
        *chain.from_iterable(_lora(path, base, request) for path in loras),
        *chain.from_iterable(_control(path, base) for path in controls),
        *chain.from_iterable(_ip(path, base) for path in ips),
        *_size(request, base),
        *_language(request, base),
        *_settings(request, base, loras),
        *_clashes(base, loras),
        *_memory(request, base, machine or this_machine(), bool(loras), _numbers([*controls, *ips])),
    ]
    order: tuple[Level, ...] = ("stop", "warn", "note")
    return sorted(found, key=lambda finding: order.index(finding.level))


def unreadable(path: Path, error: SpecError) -> Finding:
    """A finding for a place of weights that cannot be opened; a pickle comes with the way to convert it."""
    text = " ".join(str(error).split())
    if "convert it: " in text:
        command = text.partition("convert it: ")[2]
        return Finding(
            level="stop", code="file.pickle", about=str(path), en=text,
            ko=f"{path}은(는) 피클 파일입니다. 열기만 해도 코드가 실행될 수 있어 읽지 않습니다. "
            f"믿을 수 있는 파일이면 이렇게 바꾸세요: {command}",
        )  # fmt: skip
    return Finding(
        level="stop", code="file.unreadable", about=str(path), en=text,
        ko=f"{path}을(를) 쓸 수 없습니다. 이유(영어): {text}",
    )  # fmt: skip


class _Base:
    """The model that everything else has to fit."""

    def __init__(self, facts: ModelFacts, family: Family, place: Place, ref: ModelRef) -> None:
        self.facts, self.family, self.place, self.ref = facts, family, place, ref
        self.name = _named(facts.family, facts.text_width)


def _named(family: str | None, width: int | None) -> str:
    """The name of a base for a person."""
    known = _NAMES.get(family or "")
    return known or (f"a base {width} wide" if width else "an unknown base")


def _misfit(
    code: str, path: Path, what: tuple[str, str], found: Recognised, base: _Base
) -> Iterator[Finding]:
    """Whether what a header shows fits the base; `what` names the thing in English and Korean."""
    width, ours = found.text_width, base.facts.text_width
    theirs = _named(found.family, width)
    if width is not None and width != ours:
        yield Finding(
            level="stop", code=code, about=str(path),
            en=f"{path.name} is {what[0]} for {theirs} (it reads text {width} wide), but the model is {base.name} "
            f"({ours} wide). Take one made for {base.name}, or a model of {theirs}.",
            ko=f"{path.name}은(는) {theirs}용 {what[1]}입니다(텍스트 폭 {width}). 지금 모델은 {base.name}(폭 {ours})라서 "
            f"함께 쓸 수 없습니다. {base.name}용 파일을 쓰거나 모델을 {theirs} 계열로 바꾸세요.",
        )  # fmt: skip
    elif width is None and found.family and found.family != base.facts.family and base.facts.family in _NAMES:
        yield Finding(
            level="stop", code=code, about=str(path),
            en=f"{path.name} says that it is {what[0]} for {theirs}, but the model is {base.name}. "
            f"Take one made for {base.name}.",
            ko=f"{path.name}은(는) {theirs}용 {what[1]}이라고 적혀 있지만 지금 모델은 {base.name}입니다. "
            f"{base.name}용 파일을 쓰세요.",
        )  # fmt: skip
    elif width is None:
        yield Finding(
            level="note", code=code, about=str(path),
            en=f"{path.name} does not tell which base it was made for; if the picture is spoilt, that is why.",
            ko=f"{path.name}에는 어떤 모델용인지 적혀 있지 않습니다. 그림이 망가지면 이 파일 때문일 수 있습니다.",
        )  # fmt: skip
    channels = base.facts.latent_channels
    if found.kind == "control" and found.latent_channels not in (None, channels):
        yield Finding(
            level="stop", code=code, about=str(path),
            en=f"{path.name} takes latents of {found.latent_channels} channels, {base.name} has {channels}. "
            f"Take a ControlNet made for {base.name}.",
            ko=f"{path.name}은(는) 채널이 {found.latent_channels}개인 잠재값을 받는데 {base.name}은(는) {channels}개입니다. "
            f"{base.name}용 ControlNet을 쓰세요.",
        )  # fmt: skip


def _is_kind(path: Path, wanted: Kind, found: Recognised) -> Iterator[Finding]:
    """A finding when a file is something else than what it was given as."""
    if found.kind != wanted:
        en, ko, flag = _KINDS[found.kind]
        given = _KINDS[wanted]
        where = f"give it with {flag}" if found.kind != "unknown" else f"give {given[0]}"
        yield Finding(
            level="stop", code="file.kind", about=str(path),
            en=f"{path.name} is no {given[0].split(' ', 1)[1]} but {en}; {where}.",
            ko=f"{path.name}은(는) {given[1]}이(가) 아니라 {ko}입니다. "
            + (f"{flag}로 주세요." if found.kind != "unknown" else f"{given[1]} 파일을 주세요."),
        )  # fmt: skip


# LoRA


def _lora(path: Path, base: _Base, request: ImageRequest) -> Iterator[Finding]:
    try:
        header = read_header(_adapter_file(path))
    except SpecError as error:
        yield unreadable(path, error)
        return
    found = recognise(header)
    wrong = [*_is_kind(path, "lora", found)]
    wrong = wrong or [*_misfit("lora.base", path, ("a LoRA", "LoRA"), found, base)]
    yield from wrong
    if any(finding.level == "stop" for finding in wrong):
        return
    yield from _lora_shapes(path, header, base)
    yield from _trigger(path, header, request)


def _adapter_file(path: Path) -> Path:
    """PEFT and diffusers save a LoRA as a folder, each with a file of its own name."""
    if not path.is_dir():
        return path
    names = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
    return next((path / name for name in names if (path / name).is_file()), path / names[0])


def _lora_shapes(path: Path, header: Header, base: _Base) -> Iterator[Finding]:
    """Same width of text, yet other layers: trained on another size or version of the family."""
    if not (base.place.path / "model_index.json").is_file():
        return  # a single file has other names; its topology is its family's
    known = {
        "lora_unet_" + name.removesuffix(".weight").replace(".", "_"): facts
        for name, facts in base.place.headers(base.family.denoiser).items()
        if name.endswith(".weight")
    }
    taught = {
        name.partition(".lora_down")[0]: facts
        for name, facts in header.tensors.items()
        if name.startswith(("lora_unet_down", "lora_unet_up", "lora_unet_mid")) and ".lora_down" in name
    }
    odd = [
        name for name, facts in taught.items() if name not in known or _takes(facts) != _takes(known[name])
    ]
    if odd and len(odd) * 2 >= len(taught):
        yield Finding(
            level="stop", code="lora.shape", about=str(path),
            en=f"{path.name} was trained on another version of {base.name}: {len(odd)} of its {len(taught)} layers "
            "have no counterpart of their shape. Train it again on this model, or use the model it was trained on.",
            ko=f"{path.name}은(는) 다른 버전의 {base.name}에서 학습되었습니다. 층 {len(taught)}개 중 {len(odd)}개의 모양이 맞지 "
            "않습니다. 이 모델에서 다시 학습하거나, 학습할 때 쓴 모델을 쓰세요.",
        )  # fmt: skip
    elif odd:
        yield Finding(
            level="warn", code="lora.shape", about=str(path),
            en=f"{path.name}: {len(odd)} of its {len(taught)} layers do not fit this model and would be left out.",
            ko=f"{path.name}: 층 {len(taught)}개 중 {len(odd)}개가 이 모델과 맞지 않아 쓰이지 않습니다.",
        )  # fmt: skip


def _takes(facts: TensorFacts) -> int | None:
    return facts.shape[1] if len(facts.shape) > 1 else None


def _trigger(path: Path, header: Header, request: ImageRequest) -> Iterator[Finding]:
    words = trigger_words(header.metadata)
    said = request.prompt.casefold()
    if words and not any(word.casefold() in said for word in words):
        shown = ", ".join(words[:4])
        yield Finding(
            level="warn", code="lora.trigger", about=str(path),
            en=f'{path.name} was trained with the word "{words[0]}", which the prompt lacks. Write it into the prompt '
            f"(it knows: {shown}).",
            ko=f'{path.name}은(는) "{words[0]}"라는 낱말로 학습되었는데 프롬프트에 없습니다. 프롬프트에 넣으세요(아는 낱말: {shown}).',
        )  # fmt: skip


def trigger_words(metadata: Mapping[str, str]) -> list[str]:
    """The words that call a LoRA, from `modelspec.trigger_phrase`, else from `ss_tag_frequency` what stood
    in (nearly) as many captions as the commonest tag, the commonest first; [] when the file tells none."""
    if phrase := metadata.get("modelspec.trigger_phrase", "").strip():
        return [word.strip() for word in phrase[:500].split(",") if word.strip()]
    counts: dict[str, int] = {}
    for tags in _json(metadata.get("ss_tag_frequency", "")).values():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int) and not isinstance(count, bool):
                counts[tag.strip()] = counts.get(tag.strip(), 0) + count
    # kohya counts repeats among the pictures but not among the tags, so the commonest tag stands for all of them
    every = max(counts.values(), default=0)
    return sorted(
        (tag for tag, count in counts.items() if tag and count >= 0.9 * every), key=lambda t: -counts[t]
    )[:8]


def _json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text) if len(text) <= MAX_METADATA else {}
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


# ControlNet


def _control(path: Path, base: _Base) -> Iterator[Finding]:
    try:
        found = _control_facts(path)
    except SpecError as error:
        yield unreadable(path, error)
        return
    wrong = [*_is_kind(path, "control", found)]
    yield from wrong or _misfit("control.base", path, ("a ControlNet", "ControlNet"), found, base)


def _control_facts(path: Path) -> Recognised:
    if not path.is_dir():
        return recognise(read_header(path))
    config = read_json(path / "config.json")
    width = config.get("cross_attention_dim") if isinstance(config, dict) else None
    if not isinstance(width, int):
        raise UnsafeWeights(
            f"{path}/config.json is none of a ControlNet; give a ControlNet's folder or file."
        )
    return Recognised("control", FAMILY_OF_WIDTH.get(width), width, config.get("in_channels"))


# IP-Adapter


def _ip(path: Path, base: _Base) -> Iterator[Finding]:
    file = path
    try:
        if path.is_dir():
            inside = sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
            file = inside[0] if inside else path / "ip-adapter.safetensors"
        found = recognise(read_header(file))
    except SpecError as error:
        yield unreadable(path, error)
        return
    wrong = [*_is_kind(file, "ip", found)]
    wrong = wrong or [*_misfit("ip.base", file, ("an IP-Adapter", "IP-Adapter"), found, base)]
    yield from wrong
    if not any(finding.level == "stop" for finding in wrong):
        yield from _tower(file, found)


def _tower(file: Path, found: Recognised) -> Iterator[Finding]:
    """Whether the vision tower beside an IP-Adapter is the one it was trained with."""
    width, part = found.vision_width, found.vision_part
    if part == "face":
        yield Finding(
            level="stop", code="ip.tower", about=str(file),
            en=f"{file.name} reads the vectors of a face network (InsightFace), which Jogak does not run. "
            "Take ip-adapter-plus-face or ip-adapter-full-face.",
            ko=f"{file.name}은(는) 얼굴 인식망(InsightFace)의 벡터를 읽는데 조각은 그것을 돌리지 않습니다. "
            "ip-adapter-plus-face나 ip-adapter-full-face를 쓰세요.",
        )  # fmt: skip
        return
    if width is None or part is None:
        return
    wanted = _TOWERS.get((part, width), f"a tower {width} wide")
    places = [
        file.parent / "image_encoder",
        file.parent.parent / "models" / "image_encoder",
        file.parent.parent / "sdxl_models" / "image_encoder",
    ]
    there = [folder for folder in places if (folder / "config.json").is_file()]
    if not there:
        yield Finding(
            level="stop", code="ip.tower", about=str(file),
            en=f"{file.name} needs its vision tower, {wanted} ({width} wide), but {places[0]} is not there. Put the folder "
            "image_encoder/ (config.json, model.safetensors) beside the adapter.",
            ko=f"{file.name}에는 이미지 인코더 {wanted}(폭 {width})가 필요한데 {places[0]}가 없습니다. image_encoder/ 폴더"
            "(config.json, model.safetensors)를 어댑터 옆에 두세요.",
        )  # fmt: skip
        return
    key = "projection_dim" if part == "projection" else "hidden_size"
    widths = [_vision_width(folder, key) for folder in there]
    if width not in widths:
        other = _TOWERS.get((part, widths[0] or 0), f"a tower {widths[0]} wide")
        yield Finding(
            level="stop", code="ip.tower", about=str(file),
            en=f"{file.name} was made with the vision tower {wanted} ({width} wide), but {there[0]} is {other} "
            f"({widths[0]} wide). Put the tower of {wanted} there.",
            ko=f"{file.name}은(는) 이미지 인코더 {wanted}(폭 {width})로 만들어졌는데 {there[0]}는 {other}(폭 {widths[0]})입니다. "
            f"{wanted}의 image_encoder/를 두세요.",
        )  # fmt: skip


def _vision_width(folder: Path, key: str) -> int | None:
    try:
        config = read_json(folder / "config.json")
    except SpecError:
        return None
    return config.get(key) if isinstance(config, dict) and isinstance(config.get(key), int) else None


# the request itself

LONGEST = 2.2
"""Sides longer than this many times the other are beyond what models were trained on."""


def _size(request: ImageRequest, base: _Base) -> Iterator[Finding]:
    usual, step = base.facts.size, base.family.step
    width, height = request.width, request.height
    share = width * height / usual**2
    near = _near_size(width, height, usual)
    if width % step or height % step:
        yield Finding(
            level="stop", code="size.step", about=f"{width}x{height}",
            en=f"{width}×{height}: the sides of a picture by {base.name} are multiples of {step}; give --size {near}.",
            ko=f"{width}×{height}: {base.name} 그림의 변은 {step}의 배수여야 합니다. --size {near}로 해 보세요.",
        )  # fmt: skip
    elif share > 1.8:
        yield Finding(
            level="warn", code="size.large", about=f"{width}x{height}",
            en=f"{width}×{height} is {share:.1f} times the area that {base.name} was made for ({usual}×{usual}): expect doubled "
            f"subjects. Draw at --size {near} and enlarge with --hires.",
            ko=f"{width}×{height}는 {base.name}이(가) 배운 크기({usual}×{usual})의 {share:.1f}배 넓이입니다. 대상이 둘씩 그려지기 쉽습니다. "
            f"--size {near}로 그리고 --hires로 키우세요.",
        )  # fmt: skip
    elif share < 0.5:
        yield Finding(
            level="warn", code="size.small", about=f"{width}x{height}",
            en=f"{width}×{height} is {share:.0%} of the area that {base.name} was made for ({usual}×{usual}): expect crude or "
            f"cut pictures. Draw at --size {near}.",
            ko=f"{width}×{height}는 {base.name}이(가) 배운 크기({usual}×{usual})의 {share:.0%}밖에 안 됩니다. 그림이 거칠거나 잘립니다. "
            f"--size {near}로 그리세요.",
        )  # fmt: skip
    elif max(width, height) > LONGEST * min(width, height):
        yield Finding(
            level="warn", code="size.long", about=f"{width}x{height}",
            en=f"{width}×{height} is longer than {LONGEST:g}:1; subjects repeat along the long side. Stay below that.",
            ko=f"{width}×{height}는 {LONGEST:g}:1보다 깁니다. 긴 변을 따라 대상이 되풀이되기 쉬우니 더 짧게 하세요.",
        )  # fmt: skip


def _near_size(width: int, height: int, usual: int) -> str:
    """A size of the same shape that has the model's area, with sides of multiples of 64 (32 for small models)."""
    step = 64 if usual >= 512 else 32
    scale = usual / (width * height) ** 0.5
    sides = (max(round(side * scale / step), 1) * step for side in (width, height))
    return "x".join(map(str, sides))


def _language(request: ImageRequest, base: _Base) -> Iterator[Finding]:
    if base.facts.family in ("sd15", "sd2", "sdxl") and _HANGUL.search(request.prompt + request.negative):
        yield Finding(
            level="warn", code="prompt.language", about="prompt",
            en=f"{base.name} was trained on English: Hangul in the prompt is read as loose bytes. Write it in English "
            "(pocket reads Korean).",
            ko=f"{base.name}은(는) 영어로 학습되어 한글을 알아듣지 못합니다. 프롬프트를 영어로 쓰세요(pocket은 한국어를 읽습니다).",
        )  # fmt: skip


_QUICK = {"lcm": "lcm", "pocket-fast": "ddim", "lightning": "euler", "turbo": "euler", "hyper": "euler"}
"""Parts of the names of models and LoRAs for few steps, and the sampler of each."""


def _settings(request: ImageRequest, base: _Base, loras: Sequence[Path]) -> Iterator[Finding]:
    """Settings that contradict each other."""
    names = " ".join([base.ref.name, *(path.stem for path in loras)]).lower()
    quick = next((word for word in _QUICK if word in names), None)
    if request.guidance == 1.0 and request.negative:
        yield Finding(
            level="note", code="settings.negative", about="negative",
            en="With --guidance 1 the negative prompt has no effect; raise it, or leave the negative prompt out.",
            ko="--guidance 1에서는 네거티브 프롬프트가 아무 일도 하지 않습니다. 값을 올리거나 네거티브를 빼세요.",
        )  # fmt: skip
    if quick and (request.guidance > 2.5 or request.steps > 12):
        yield Finding(
            level="warn", code="settings.fast", about=f"{request.steps} steps, guidance {request.guidance:g}",
            en=f"A {quick} model or LoRA wants few steps and little guidance: --steps 4 to 8 --guidance 1 to 2"
            f" --sampler {_QUICK[quick]}.",
            ko=f"{quick} 계열은 적은 스텝과 낮은 가이던스를 씁니다: --steps 4~8 --guidance 1~2"
            f" --sampler {_QUICK[quick]}.",
        )  # fmt: skip
    elif request.sampler == "lcm" and not quick:
        yield Finding(
            level="warn", code="settings.lcm", about="lcm",
            en="The sampler lcm is for LCM models and LCM LoRAs; with another model pictures stay blurred. "
            "Take dpmpp_2m_karras.",
            ko="샘플러 lcm은 LCM 모델이나 LCM LoRA와 함께 써야 합니다. 다른 모델에서는 그림이 흐립니다. dpmpp_2m_karras를 쓰세요.",
        )  # fmt: skip


# memory

_WAYS: Mapping[bool, tuple[str, ...]] = {
    False: ("vae-tiles", "fp8", "fp8,vae-tiles", "fp8,text-int8,vae-tiles"),
    True: (
        "vae-tiles", "offload-model", "offload-model,vae-tiles", "offload-model,fp8,vae-tiles",
        "offload-group,vae-tiles", "offload-group,fp8,text-int8,vae-tiles",
    ),
}  # fmt: skip
"""Settings that save memory, the cheapest in time first; by whether there is a GPU."""
_NOT_WITH_LORA = ("fp8", "offload-group", "text-int8")
"""A LoRA changes weights, which these keep in eight bits or out of reach."""


def _clashes(base: _Base, loras: Sequence[Path]) -> Iterator[Finding]:
    names = [name for name in memory_of(base.ref.numeric).names() if name in _NOT_WITH_LORA]
    if loras and names:
        shown = ", ".join(names)
        yield Finding(
            level="stop", code="memory.lora", about=shown,
            en=f"A LoRA changes weights, which the memory setting {shown} keeps in eight bits or out of reach. Leave the "
            "setting out, or take offload-model and vae-tiles.",
            ko=f"LoRA는 가중치를 바꾸는데 메모리 설정 {shown}에서는 바꿀 수 없습니다. 이 설정을 빼거나 offload-model, vae-tiles를 쓰세요.",
        )  # fmt: skip


def _numbers(paths: Sequence[Path]) -> int:
    """Numbers in the weights of adapters, and of the vision tower beside an IP-Adapter."""
    files: set[Path] = set()
    for path in paths:
        files |= set(path.glob("**/*.safetensors")) if path.is_dir() else {path}
        files |= set((path.parent / "image_encoder").glob("*.safetensors"))
    total = 0
    for file in files:
        with suppress(SpecError):  # what is wrong with it is another finding
            total += read_header(file).parameters
    return total


def _memory(
    request: ImageRequest, base: _Base, machine: Machine, with_lora: bool, more: int
) -> Iterator[Finding]:
    width, height = (round(side * request.hires / 8) * 8 for side in (request.width, request.height))
    guided, numeric = request.guidance != 1.0, base.ref.numeric
    need = estimate(base.place, numeric, width, height, guided, more=more)
    cuda = numeric.startswith("torch-cuda")
    if _fits(need, machine, cuda):
        yield Finding(
            level="note", code="memory.fits", about=numeric,
            en=f"About {_gb(need.ram_mb)} of memory{f' and {_gb(need.vram_mb)} on the GPU' if cuda else ''} will be "
            f"used{_free_en(machine, cuda)}.",
            ko=f"메모리를 {_gb(need.ram_mb)}{f', GPU 메모리를 {_gb(need.vram_mb)}' if cuda else ''}쯤 씁니다{_free_ko(machine, cuda)}.",
        )  # fmt: skip
        return
    for names in _WAYS[cuda]:
        if with_lora and any(name in names.split(",") for name in _NOT_WITH_LORA):
            continue
        other = estimate(base.place, _on_torch(numeric), width, height, guided, Memory.of_names(names), more)
        if _fits(other, machine, cuda):
            yield Finding(
                level="warn", code="memory.setting", about=numeric,
                en=f"It would take about {_peak(need)}, more than is free{_free_en(machine, cuda)}. With --memory {names} "
                f"it takes {_peak(other)}.",
                ko=f"{_peak(need)}쯤 필요해서 남은 메모리에 들어가지 않습니다{_free_ko(machine, cuda)}. --memory {names}를 주면 "
                f"{_peak(other)}면 됩니다.",
            )  # fmt: skip
            return
    yield Finding(
        level="stop", code="memory.none", about=numeric,
        en=f"It takes about {_peak(need)}, more than is free{_free_en(machine, cuda)}, and no setting makes it fit. Close "
        "other programs, draw smaller, or take a smaller model.",
        ko=f"{_peak(need)}쯤 필요한데 남은 메모리보다 많고{_free_ko(machine, cuda)}, 어떤 설정으로도 들어가지 않습니다. 다른 프로그램을 "
        "닫거나, 더 작게 그리거나, 더 작은 모델을 쓰세요.",
    )  # fmt: skip


def _on_torch(numeric: str) -> str:
    """The settings are torch's: choosing one leaves OpenVINO."""
    return "torch-fp32" if numeric.startswith("openvino") else numeric


def _fits(need: MemoryNeed, machine: Machine, cuda: bool) -> bool:
    def enough(needed: int, free: int | None) -> bool:
        return free is None or needed <= free

    return enough(need.ram_mb, machine.ram_mb) and enough(need.vram_mb, machine.vram_mb if cuda else None)


def _peak(need: MemoryNeed) -> str:
    return _gb(need.vram_mb or need.ram_mb)


def _gb(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f} GB"


def _free_en(machine: Machine, cuda: bool) -> str:
    free = machine.vram_mb if cuda else machine.ram_mb
    return f" ({_gb(free)} free)" if free is not None else ""


def _free_ko(machine: Machine, cuda: bool) -> str:
    free = machine.vram_mb if cuda else machine.ram_mb
    return f"(남은 메모리 {_gb(free)})" if free is not None else ""
