"""`jogak dataset check` and `jogak dataset make`. Importing this imports no torch."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from jogak.cli.progress import parts
from jogak.spec import SpecError
from jogak.spec.dataset import CaptionLang, CaptionMode, CropMode, DatasetReport, DatasetRequest

if TYPE_CHECKING:
    from jogak.training.dataset_make import Plan

dataset_app = App(
    name="dataset",
    help="""Training pictures: find what would spoil a training (check), cut and caption them (make).

    jogak dataset check my-pictures

    jogak dataset make my-pictures -o set --trigger sk_style --size 256
    """,
)

_SIGNS = {"error": "✗", "warning": "!", "note": "·"}
_SHOWN = 6
"""Files named with a finding."""


def _field(name: str, flag: str = "") -> Parameter:
    return Parameter(name=f"--{flag or name}", help=DatasetRequest.model_fields[name].description)


_DEFAULT = DatasetRequest(trigger="-")
_FOLDER = Parameter(help="pictures, flat or in folders like 10_name, with their captions (.txt, .caption)")


@dataset_app.command
def check(
    folder: Annotated[Path, _FOLDER],
    /,
    *,
    trigger: Annotated[
        str, Parameter(help="the word that is to be in every caption; default: found in them")
    ] = "",
    class_: Annotated[str, _field("class_name", "class")] = "",
    size: Annotated[int, _field("size")] = _DEFAULT.size,
    lang: Annotated[
        Literal["ko", "en", "auto"], Parameter(help="of what is said; auto: the terminal's, or the captions'")
    ] = "auto",
    json: Annotated[bool, Parameter(negative=(), help="print JSON for machines")] = False,
) -> None:
    """Look a folder of training pictures over: each finding says what is wrong, where, and what to do.

    Ends with code 2 when there is an error (✗), and with 0 when there are only warnings (!) and notes (·).

    jogak dataset check my-pictures --trigger sk_style --class puppet --size 256
    """
    request = DatasetRequest.parse({"trigger": "-", "class_name": class_, "size": size})
    from jogak.training.dataset_doctor import check_dataset

    with parts("looking", lambda told: "looking") as on_progress:
        report = check_dataset(
            folder, trigger=trigger, class_name=request.class_name, size=request.size, lang=lang,
            on_progress=on_progress,
        )  # fmt: skip
    if json:
        print(report.to_json())
    else:
        _print_report(report)
    if report.errors:
        raise SystemExit(2)


@dataset_app.command
def make(
    folder: Annotated[Path, _FOLDER],
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="a new folder for the data set")],
    trigger: Annotated[str, _field("trigger")],
    class_: Annotated[str, _field("class_name", "class")] = _DEFAULT.class_name,
    size: Annotated[int, _field("size")] = _DEFAULT.size,
    step: Annotated[int, _field("step")] = _DEFAULT.step,
    crop: Annotated[CropMode, _field("crop")] = _DEFAULT.crop,
    caption: Annotated[CaptionMode, _field("caption")] = _DEFAULT.caption,
    caption_model: Annotated[
        Path | None,
        Parameter(
            help="folder of BLIP (safetensors), of a WD14 tagger (model.onnx, selected_tags.csv), or of another "
            "CLIP for pocket"
        ),
    ] = None,
    lang: Annotated[CaptionLang, _field("lang")] = _DEFAULT.lang,
    repeats: Annotated[int | None, _field("repeats")] = _DEFAULT.repeats,
    licence: Annotated[str, _field("licence")] = _DEFAULT.licence,
    dry_run: Annotated[bool, Parameter(negative=(), help="say what would be made; write nothing")] = False,
) -> None:
    """Make a data set: pictures cut to aspect buckets, a caption with the trigger word beside each.

    The originals are only read. A caption that is already there is kept, with the trigger word put first. The new
    folder has kohya's layout (10_sk_style puppet/…), a contact sheet and dataset.json, and appears whole or not
    at all. pocket is trained at --size 256, SD 1.5 at 512, SDXL at 1024.

    jogak dataset make my-pictures -o set --trigger sk_style --class puppet --size 256 --licence "CC0, by me"
    """
    request = DatasetRequest.parse(
        {
            "trigger": trigger,
            "class_name": class_,
            "size": size,
            "step": step,
            "crop": crop,
            "caption": caption,
        }
        | {"lang": lang, "repeats": repeats, "licence": licence}
    )
    if caption_model is not None and caption == "none":
        raise SpecError("--caption-model has nothing to do with --caption none; leave one of them out.")
    from jogak.training.dataset_make import make_dataset, plan_dataset, require_usable

    begun = time.perf_counter()
    require_usable(output, folder)
    with parts("looking", lambda told: "looking") as on_progress:
        plan = plan_dataset(folder, request, model=caption_model, on_progress=on_progress)
    if dry_run:
        _print_plan(plan, output)
        return
    with parts("writing", lambda told: "writing") as on_progress:
        data = make_dataset(plan, output, on_progress=on_progress)
    sizes = ", ".join(f"{width}×{height}: {count}" for (width, height), count in data.buckets.items())
    print(f"{output}  {len(data.images)} pictures ({sizes}), made in {time.perf_counter() - begun:.1f} s")
    by = Counter(image.caption_by for image in data.images)
    said = {"file": "kept", "none": "of trigger word and class alone"}
    print("captions: " + ", ".join(f"{n} {said.get(name, f'by {name}')}" for name, n in by.items()))
    for note in data.notes:
        print(f"! {note}")
    print(f"look at {output / 'contact.jpg'}; captions are the .txt files, and yours to edit")
    print(f"next: jogak dataset check {output}   then: jogak train {output}")


def _print_report(report: DatasetReport) -> None:
    ko = report.lang == "ko"
    count, word = len(report.pictures), report.trigger
    if ko:
        print(f"{report.folder}: 그림 {count}장, " + (f"트리거 “{word}”" if word else "트리거 없음"))
    else:
        print(f"{report.folder}: {count} pictures, " + (f'trigger "{word}"' if word else "no trigger"))
    for finding in report.findings:
        print(_wrapped(f"{_SIGNS[finding.severity]} {finding.what}", "  "))
        if finding.files:
            left = len(finding.files) - _SHOWN
            more = "" if left <= 0 else f" (+{left})"
            print(_wrapped("  " + ", ".join(finding.files[:_SHOWN]) + more, "  "))
        print(_wrapped(f"  → {finding.todo}", "    "))
    errors = report.errors
    warnings = sum(finding.severity == "warning" for finding in report.findings)
    if ko:
        print(f"오류 {errors}개, 경고 {warnings}개." + ("" if errors else " 학습할 수 있습니다."))
    else:
        print(f"{errors} errors, {warnings} warnings." + ("" if errors else " It can be trained on."))


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, 110, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _print_plan(plan: Plan, output: Path) -> None:
    for entry in plan.entries:
        left, top, right, bottom = entry.crop.box
        size = f"{right - left}×{bottom - top}+{left}+{top} → {entry.crop.width}×{entry.crop.height}"
        print(f"{entry.source.file}  {size}  ×{entry.repeats}  {plan.caption(entry)}")
    for note in plan.notes:
        print(f"! {note}")
    print(f"would write {len(plan.entries)} pictures with captions into {output}; nothing was written")
