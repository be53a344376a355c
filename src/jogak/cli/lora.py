"""`jogak lora`: what a LoRA file holds, and making one out of others. Importing this imports no torch."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from jogak.cli.progress import Line, line
from jogak.spec import SpecError

if TYPE_CHECKING:
    from jogak.adapters.lora import LoraInfo
    from jogak.adapters.lora_tools import Made

lora_app = App(
    name="lora",
    help="""Look into LoRA files, join, shrink and convert them, or take one out of two models.

    A LoRA is given by its file, or by its name if it lies in $JOGAK_HOME/loras or here.

    jogak lora info puppet.safetensors

    jogak lora merge puppet:0.8 ink:0.5 -o both.safetensors
    """,
)

_FILE = Parameter(help="file, file stem, or the name in the file (ss_output_name)")
_OUTPUT = Parameter(name=("--output", "-o"), help="the .safetensors file to write")
_OVERWRITE = Parameter(negative=(), help="replace the file if it exists")
_DTYPE = Parameter(help="type of the numbers; default: as in the files")
DtypeName = Literal["fp16", "bf16", "fp32"]


@lora_app.command
def info(
    file: Annotated[str, _FILE],
    /,
    *,
    json: Annotated[bool, Parameter(negative=(), help="print JSON instead")] = False,
) -> None:
    """Say what a LoRA is: kind, rank, base, trigger, tags, training, and how much it changes where.

    jogak lora info puppet.safetensors
    """
    from jogak.adapters.lora import lora_info

    told = lora_info(_find(file))
    if json:
        print(json_module.dumps(_plain_data(told), indent=2, ensure_ascii=False))
    else:
        _print_info(told)


@lora_app.command
def merge(
    loras: Annotated[list[str], Parameter(help="two or more, each with its weight: puppet:0.8 ink:0.5")],
    /,
    *,
    output: Annotated[Path, _OUTPUT],
    rank: Annotated[
        int | None, Parameter(help="cut the sum to this rank; default: exact, the ranks add up")
    ] = None,
    dtype: Annotated[DtypeName | None, _DTYPE] = None,
    overwrite: Annotated[bool, _OVERWRITE] = False,
) -> None:
    """Join several LoRAs into one that changes a model as all of them together do.

    jogak lora merge puppet:0.8 ink:0.5 -o both.safetensors --rank 32
    """
    named = [_weighted(text) for text in loras]
    _check_target(output, overwrite)
    from jogak.adapters.lora import read_lora
    from jogak.adapters.lora_tools import merge as make

    with line("merging") as shown:
        found = [(read_lora(_find(name)), weight) for name, weight in named]
        made = make(found, output, rank=rank, dtype=_torch_type(dtype), told=_counted(shown))
    _print_made(made)


@lora_app.command
def resize(
    file: Annotated[str, _FILE],
    /,
    *,
    output: Annotated[Path, _OUTPUT],
    rank: Annotated[int | None, Parameter(help="the new rank of every module")] = None,
    energy: Annotated[
        float | None, Parameter(help="or the smallest rank, module by module, that keeps this share, as 0.9")
    ] = None,
    dtype: Annotated[DtypeName | None, _DTYPE] = None,
    overwrite: Annotated[bool, _OVERWRITE] = False,
) -> None:
    """Make a LoRA smaller; a LoHa or LoKr becomes a LoRA.

    jogak lora resize puppet --rank 16 -o puppet-16.safetensors
    """
    _check_target(output, overwrite)
    from jogak.adapters.lora import read_lora
    from jogak.adapters.lora_tools import resize as make

    with line("resizing") as shown:
        weights = read_lora(_find(file))
        made = make(weights, output, rank=rank, energy=energy, dtype=_torch_type(dtype), told=_counted(shown))
    _print_made(made)


@lora_app.command
def extract(
    tuned: Annotated[str, Parameter(help="the tuned model: a folder or a checkpoint file")],
    /,
    *,
    base: Annotated[str, Parameter(help="the model it was tuned from: catalogue name, folder or file")],
    output: Annotated[Path, _OUTPUT],
    rank: Annotated[int, Parameter(help="rank of every module")] = 32,
    conv: Annotated[bool, Parameter(negative=(), help="convolutions as well (LoCon)")] = False,
    dtype: Annotated[DtypeName, _DTYPE] = "fp16",
    overwrite: Annotated[bool, _OVERWRITE] = False,
) -> None:
    """Take what a tuned model adds to its base out as a LoRA.

    jogak lora extract my-tuned-model --base sd15.safetensors --rank 32 -o tuned.safetensors
    """
    _check_target(output, overwrite)
    from jogak.adapters.lora_tools import extract as make

    with line("comparing") as shown:
        kind = _torch_type(dtype)
        assert kind is not None, "extract's type has a default"
        made = make(tuned, base, output, rank=rank, conv=conv, dtype=kind, told=_counted(shown))
    _print_made(made)


@lora_app.command
def convert(
    file: Annotated[str, _FILE],
    /,
    *,
    to: Annotated[
        Literal["kohya", "peft", "diffusers"],
        Parameter(help="kohya (web UIs), peft (a folder), or diffusers"),
    ],
    output: Annotated[
        Path, Parameter(name=("--output", "-o"), help="the file to write; for peft a new folder")
    ],
    dtype: Annotated[DtypeName | None, _DTYPE] = None,
    overwrite: Annotated[bool, _OVERWRITE] = False,
) -> None:
    """Write a LoRA in another layout, every number as it is.

    jogak lora convert pytorch_lora_weights.safetensors --to kohya -o puppet.safetensors
    """
    _check_target(output, overwrite)
    from jogak.adapters.lora import read_lora
    from jogak.adapters.lora_tools import convert as make

    made = make(read_lora(_find(file)), output, to, dtype=_torch_type(dtype))
    _print_made(made)


def _find(name: str) -> Path:
    given = Path(name).expanduser()
    if given.suffix and given.exists():
        return given  # as it is, so that what is wrong with the file is what is said
    from jogak.adapters.lora_files import find_lora
    from jogak.image.lora_tags import lora_folders

    try:
        return find_lora(name, lora_folders())
    except SpecError:
        if given.is_dir():  # a folder of PEFT's; after the names, since a folder of pictures may bear one
            return given
        raise


def _weighted(text: str) -> tuple[str, float]:
    """`puppet:0.8` -> ("puppet", 0.8); without a weight it is 1."""
    found = re.fullmatch(r"(.+):([+-]?(?:\d+\.?\d*|\.\d+))", text)
    return (found[1], float(found[2])) if found else (text, 1.0)


def _check_target(output: Path, overwrite: bool) -> None:
    if output.exists() and (not overwrite or output.is_dir()):
        more = "" if output.is_dir() else " or add --overwrite"
        raise SpecError(f"{output} exists; choose another name{more}.")


def _torch_type(name: DtypeName | None) -> Any:
    if name is None:
        return None
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[name]


def _print_made(made: Made) -> None:
    ranks = ", ".join(f"{rank} ({count})" for rank, count in sorted(made.ranks.items())[:6])
    more = " …" if len(made.ranks) > 6 else ""
    kept = "" if made.kept == 1 else f", {made.kept:.2%} of the change kept"
    print(f"{made.path}  {made.modules} modules, rank (modules) {ranks}{more}{kept}")
    for note in made.notes:
        print(note)


def _plain_data(told: LoraInfo) -> dict[str, Any]:
    return {
        "name": told.name,
        "file": str(told.path),
        "bytes": told.bytes,
        "hash": told.hash,
        "kind": told.kind,
        "base": told.base,
        "base_model": told.base_model,
        "ranks": [{"rank": rank, "modules": count} for rank, count in told.ranks.items()],
        "alphas": [{"alpha": alpha, "modules": count} for alpha, count in told.alphas.items()],
        "modules": dict(told.modules),
        "parameters": told.parameters,
        "dtypes": list(told.dtypes),
        "title": told.title,
        "trigger": told.trigger,
        "trigger_is_told": told.trigger_is_told,
        "tags": [{"tag": tag, "captions": count} for tag, count in told.tags],
        "training": dict(told.training),
        "norms": dict(told.norms),
    }


def _print_info(told: LoraInfo) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from jogak.adapters.lora_files import FAMILY_NAMES

    base = FAMILY_NAMES.get(told.base, told.base) + (f" ({told.base_model})" if told.base_model else "")
    trigger = told.trigger
    if trigger and not told.trigger_is_told:
        trigger += "  (not told; every caption had it)"
    rows = [
        ("title", told.title),
        ("kind", f"{told.kind}, rank {_counts(told.ranks)}, alpha {_counts(told.alphas)}"),
        ("base", base),
        ("trigger", trigger),
        ("tags", ", ".join(f"{tag} {count}" for tag, count in told.tags)),
        ("modules", ", ".join(f"{count} {target}" for target, count in told.modules.items())),
        ("size", f"{told.bytes:,} bytes, {told.parameters:,} numbers ({', '.join(told.dtypes)})"),
        ("hash", told.hash[:12]),
        *told.training.items(),
    ]
    # without markup: what a file says of itself must not colour or link anything
    console = Console(markup=False, highlight=False, soft_wrap=True)
    console.print(Text(str(told.path)))
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows:
        if value:
            table.add_row(Text(name), Text(value))
    console.print(table)
    strongest = max(told.norms.values(), default=0) or 1
    chart = Table("block", "change", "", box=None, pad_edge=False)
    for block, norm in told.norms.items():
        chart.add_row(Text(block), Text(f"{norm:.4g}"), Text("█" * round(24 * norm / strongest)))
    console.print(chart)


def _counts(values: Any) -> str:
    """`4`, or `4 (192 modules), 8 (72)` when modules differ."""
    if len(values) == 1:
        return f"{next(iter(values)):g}"
    shown = [f"{value:g} ({count})" for value, count in list(values.items())[:6]]
    return ", ".join(shown) + (" …" if len(values) > 6 else "")


def _counted(shown: Line) -> Callable[[int, int, str], None]:
    """Modules that are done, on the line."""
    return lambda done, total, what: shown.tell(text=what, done=done, total=total)
