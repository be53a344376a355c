"""`jogak train`: a folder of pictures in, a LoRA out. Importing this imports no torch."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from jogak.cli.image import require_writable
from jogak.cli.progress import parts
from jogak.spec import SpecError
from jogak.spec.training import TrainRequest

if TYPE_CHECKING:
    from jogak.studio.train import Plan


def train(
    folder: Annotated[
        Path, Parameter(help="the pictures, flat or in 10_name/ folders, captions beside them")
    ],
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="the folder to train in")],
    dry_run: Annotated[
        bool, Parameter(negative=(), help="print every setting and what it will cost; train nothing")
    ] = False,
    request: Annotated[TrainRequest | None, Parameter(name="*")] = None,
) -> None:
    """Train a LoRA from pictures of a character or a style.

    jogak train out/dataset --trigger sk_style --name fox -o out/fox

    The folder gets the LoRA (fox.safetensors, kohya's format), checkpoints on the way, previews (samples/), losses
    (losses.jsonl) and the state: stop it at any time, and the same command goes on exactly from there. Several GPUs:
    accelerate launch -m jogak.cli.main train … Then: jogak sweep out/fox
    """
    asked = request or TrainRequest()
    if output.exists() and not output.is_dir():
        raise SpecError(f"{output} is a file; name a folder with -o.")
    from jogak.studio.train import estimate, plan

    planned = plan(asked, folder)
    if dry_run:
        _show(planned, estimate(planned))
        return
    require_writable(output)
    from jogak.store import Store
    from jogak.studio.train import afterwards
    from jogak.studio.train import train as run

    first = int(os.environ.get("RANK", "0")) == 0
    for note in planned.notes if first else ():
        print(f"note: {note}")
    begun = time.perf_counter()
    with parts("loading", lambda told: told.text.split(" ")[0]) if first else nullcontext() as on_progress:
        done = run(Store(), planned, output, on_progress=on_progress)
    if not first:
        return
    if done.now == 0:
        print(f"{done.checkpoints[-1]}  already trained, {done.done} steps; ask for more with --steps")
        return
    spent = time.perf_counter() - begun
    print(
        f"{done.checkpoints[-1]}  {done.done} steps, {done.now / done.seconds:.2f} a second, loss {done.last_loss:.4f}, "
        f"{spent:.0f} s in all"
    )
    for note in afterwards(output):
        print(f"note: {note}")
    print(f"previews: {output / 'samples'}   which checkpoint and weight: jogak sweep {output}")


def _show(planned: Plan, cost: Any) -> None:
    """Every setting with its value, the pictures, and the price."""
    request = planned.request
    print(request.to_yaml(), end="")
    data = planned.data
    buckets = ", ".join(f"{w}×{h}: {n}" for (w, h), n in data.buckets.items())
    print(f"# {len(data.images)} pictures ({buckets}), {len(planned.held_out)} of them held out")
    if planned.prior is not None:
        print(f"# {len(planned.prior.images)} pictures of the class")
    seen = sum(image.repeats for image in planned.seen) * (2 if request.flip else 1)
    epochs = request.steps * request.batch * request.accumulate / seen
    print(f"# {seen} in an epoch, repeats included: {epochs:.1f} epochs")
    print(f"# base: {planned.ref.digest[:12]} ({planned.ref.family}), {cost.parameters:,} numbers learn")
    for note in planned.notes:
        print(f"# note: {note}")
    minutes = cost.seconds_per_step * request.steps / 60
    print(
        f"# about {minutes:.1f} minutes ({cost.seconds_per_step:.2f} s a step, if nothing else runs) "
        f"and {cost.gigabytes:.1f} GB of memory on this machine"
    )
