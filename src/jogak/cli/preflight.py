"""`jogak preflight`: what will not work, said before anything is loaded. Importing this imports no torch."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from jogak.spec import ImageRequest, SpecError

if TYPE_CHECKING:
    from jogak.models.catalogue import Backend
    from jogak.spec.preflight import Finding

_DEFAULT = ImageRequest(prompt="-")


def preflight(
    prompt: Annotated[str, Parameter(help=ImageRequest.model_fields["prompt"].description)],
    /,
    *,
    model: Annotated[
        str, Parameter(help="a catalogue name, a folder, or a checkpoint file")
    ] = _DEFAULT.model,
    lora: Annotated[tuple[Path, ...], Parameter(help="LoRA file; may be given several times")] = (),
    control: Annotated[tuple[Path, ...], Parameter(help="ControlNet file or folder; several times")] = (),
    ip: Annotated[tuple[Path, ...], Parameter(help="IP-Adapter file or folder; several times")] = (),
    vae: Annotated[Path | None, Parameter(help="autoencoder in place of the model's own")] = None,
    embedding: Annotated[tuple[Path, ...], Parameter(help="textual inversion file; several times")] = (),
    size: Annotated[
        str, Parameter(help="width x height in pixels; default: what the model was made for")
    ] = "",
    steps: Annotated[int, Parameter(help=ImageRequest.model_fields["steps"].description)] = _DEFAULT.steps,
    guidance: Annotated[
        float, Parameter(help=ImageRequest.model_fields["guidance"].description)
    ] = _DEFAULT.guidance,
    sampler: Annotated[
        str, Parameter(help=ImageRequest.model_fields["sampler"].description)
    ] = _DEFAULT.sampler,
    negative: Annotated[str, Parameter(help=ImageRequest.model_fields["negative"].description)] = "",
    hires: Annotated[float, Parameter(help=ImageRequest.model_fields["hires"].description)] = _DEFAULT.hires,
    memory: Annotated[str, Parameter(help="memory settings, as in fp8,vae-tiles")] = "",
    backend: Annotated[
        Literal["auto", "openvino", "torch"], Parameter(help="auto: CUDA where there is one, else OpenVINO")
    ] = "auto",
    language: Annotated[
        Literal["auto", "en", "ko"], Parameter(name="--lang", help="auto: that of the prompt")
    ] = "auto",
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="for programs")] = False,
) -> None:
    """See whether it all fits together, before a weight is read.

    Names the LoRA, ControlNet or IP-Adapter that was made for another base, the wrong vision tower, a missing
    trigger word, an odd size, and memory that will not do with the setting that would. Exit code 2 when
    something cannot work.

    jogak preflight "sk_style fox in the snow" --model realistic.safetensors --lora sk.safetensors --size 512x512
    """
    findings = _look(
        {"prompt": prompt, "negative": negative, "model": model, "steps": steps, "guidance": guidance}
        | {"sampler": sampler, "hires": hires},
        size, "auto" if backend == "auto" else backend, memory, (vae, embedding), (lora, control, ip),
    )  # fmt: skip
    korean = language == "ko" or (language == "auto" and re.search("[가-힣]", prompt) is not None)
    if as_json:
        rows = [finding.model_dump(mode="json") for finding in findings]
        print(json.dumps({"works": _works(findings), "findings": rows}, ensure_ascii=False, indent=2))
    else:
        _print(findings, korean)
    if not _works(findings):
        sys.exit(2)


def _look(
    fields: dict[str, object],
    size: str,
    backend: Backend,
    memory: str,
    parts: tuple[Path | None, tuple[Path, ...]],
    adapters: tuple[tuple[Path, ...], ...],
) -> Sequence[Finding]:
    """All findings, those of a model that cannot be opened too."""
    from jogak.models.catalogue import describe, resolve
    from jogak.models.place import open_place
    from jogak.models.preflight import preflight as look
    from jogak.models.preflight import unreadable
    from jogak.models.textual_inversion import learnt_words
    from jogak.spec.memory import Memory

    settings = Memory.of_names(memory)
    vae, embeddings = parts
    ImageRequest.parse(fields)  # what is wrong with the request itself is said first
    try:
        ref = resolve(
            str(fields["model"]), None if backend == "auto" else backend,
            vae=vae, embeddings=embeddings, memory=settings,
        )  # fmt: skip
        learnt_words(open_place(ref.folder))
        usual = describe(ref.folder).size
    except SpecError as error:
        return [unreadable(Path(str(fields["model"])), error)]
    width, height = _sides(size) if size else (usual, usual)
    request = ImageRequest.parse(fields | {"width": width, "height": height})
    loras, controls, ips = adapters
    return look(request, ref, loras=loras, controls=controls, ips=ips)


def _sides(size: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", size.strip(), re.ASCII)
    if not found:
        raise SpecError(f'size: "{size[:40]}" is not width x height; give for example 512x512.')
    return int(found[1]), int(found[2])


def _works(findings: Sequence[Finding]) -> bool:
    return all(finding.level != "stop" for finding in findings)


def _print(findings: Sequence[Finding], korean: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    signs = {"stop": ("✗", "bold red"), "warn": ("!", "yellow"), "note": ("·", "dim")}
    console = Console(soft_wrap=True, highlight=False)
    for finding in findings:
        sign, style = signs[finding.level]
        console.print(Text(f"{sign} ", style=style) + Text(finding.text("ko" if korean else "en")))
    if _works(findings):
        console.print("이대로 그릴 수 있습니다." if korean else "It can be drawn.")
    else:
        console.print("이대로는 그릴 수 없습니다." if korean else "It cannot be drawn like this.")
