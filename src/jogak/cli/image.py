"""`jogak image` draws, `jogak replay` draws again. Importing this imports no torch."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from jogak.cli.progress import pieces
from jogak.spec import ImageRequest, SpecError
from jogak.spec.image import SamplerName

if TYPE_CHECKING:
    from jogak.spec import ModelRef
    from jogak.studio.picture import Sources


def _field(name: str) -> Parameter:
    """A flag that says what its field of the specification says."""
    return Parameter(name=f"--{name}", help=ImageRequest.model_fields[name].description)


_DEFAULT = ImageRequest(prompt="-")
"""Where the flags' defaults come from."""
_DEFAULT_SIZE = f"{_DEFAULT.width}x{_DEFAULT.height}"
_OUTPUT = Parameter(name=("--output", "-o"), help="the PNG to write; its folder is made when absent")


def image(
    prompt: Annotated[str, Parameter(help=ImageRequest.model_fields["prompt"].description)],
    /,
    *,
    output: Annotated[Path, _OUTPUT],
    negative: Annotated[str, _field("negative")] = _DEFAULT.negative,
    model: Annotated[str, _field("model")] = _DEFAULT.model,
    steps: Annotated[int, _field("steps")] = _DEFAULT.steps,
    guidance: Annotated[float, _field("guidance")] = _DEFAULT.guidance,
    sampler: Annotated[SamplerName, _field("sampler")] = _DEFAULT.sampler,
    seed: Annotated[int, _field("seed")] = _DEFAULT.seed,
    size: Annotated[
        str | None,
        Parameter(
            help=f"width x height in pixels, multiples of 8; default: the model's own, {_DEFAULT_SIZE} for pocket"
        ),
    ] = None,
    n: Annotated[
        int, Parameter(name=("-n", "--n"), help="how many, seed after seed: out-1.png, out-2.png, …")
    ] = 1,
    init: Annotated[
        Path | None, Parameter(help="picture to start from (img2img), cut and scaled to the size")
    ] = None,
    strength: Annotated[float, _field("strength")] = _DEFAULT.strength,
    mask: Annotated[
        Path | None, Parameter(help="white is drawn anew, black stays as it is in --init (inpainting)")
    ] = None,
    hires: Annotated[float, _field("hires")] = _DEFAULT.hires,
    lora: Annotated[
        tuple[str, ...],
        Parameter(help="NAME[:WEIGHT], may be given several times; or <lora:NAME:0.8> in the prompt"),
    ] = (),
    region: Annotated[
        tuple[str, ...],
        Parameter(
            help="PLACE=WORDS, a part of the picture with words of its own; PLACE: left, right, middle, top, bottom, or "
            "left,top,right,bottom in shares; the prompt is what all parts share"
        ),
    ] = (),
    control: Annotated[
        tuple[str, ...],
        Parameter(
            help="KIND=FILE[:WEIGHT][@START-END][#MODEL]; canny, scribble, lineart, hed, depth, pose; "
            "none:canny=MAP for a map that is ready; pose=waving for a pose by its name"
        ),
    ] = (),
    ip: Annotated[
        tuple[str, ...],
        Parameter(help="FILE[:WEIGHT][:style|layout][#MODEL]: a picture to look at (IP-Adapter)"),
    ] = (),
    vae: Annotated[Path | None, _field("vae")] = None,
    embedding: Annotated[
        tuple[Path, ...], Parameter(help=ImageRequest.model_fields["embeddings"].description)
    ] = (),
    memory: Annotated[str, Parameter(help=ImageRequest.model_fields["memory"].description)] = "",
    backend: Annotated[
        Literal["auto", "openvino", "torch"], Parameter(help="auto: CUDA where there is one, else OpenVINO")
    ] = "auto",
    grid: Annotated[
        str | None,
        Parameter(
            help='one labelled picture over up to three fields: "lora:0.5,1.0 x seed:1..4"; seed, steps, guidance, '
            "sampler, strength, hires, size, model, negative, prompt:fox,rabbit (the first is replaced), lora, control, ip"
        ),
    ] = None,
    fast: Annotated[
        bool,
        Parameter(
            negative=(),
            help="pocket in four steps: --model pocket-fast --steps 4 --guidance 1 --sampler ddim; what is given wins",
        ),
    ] = False,
    cells: Annotated[
        bool, Parameter(negative=(), help="with --grid: write each cell too, as out-x1-y1.png")
    ] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="say what would be drawn; draw nothing")] = False,
) -> None:
    """Draw a picture from words, Korean or English.

    Weights of words: (fox:1.3), [snow]; over time: [dawn:night:0.5]; BREAK begins a new chunk of 75 tokens.

    Steered: jogak image "sks_girl in a garden <lora:hana:0.8>" --control pose=waving --ip mood.png:0.5 -o out.png

    Two at once: jogak image "노을 지는 해변" --region left="여우" --region right="빨간 풍선" -o out.png

    Compared: jogak image "눈 내리는 숲의 여우" --grid "guidance:2..8..2 x seed:1..4" -o grid.png
    """
    from jogak.image.region_flags import parse_region, with_regions

    if fast:
        model, steps, guidance, sampler = _fast(model, steps, guidance, sampler)
    prompt, regions = with_regions(prompt, [parse_region(one) for one in region])
    request = ImageRequest.parse(
        {
            "prompt": prompt,
            "regions": regions,
            "negative": negative,
            "model": model,
            "steps": steps,
            "guidance": guidance,
        }
        | {"sampler": sampler, "seed": seed, "strength": strength, "hires": hires, "vae": vae and str(vae)}
        | {"embeddings": tuple(map(str, embedding)), "memory": tuple(filter(None, memory.split(",")))}
        | (dict(zip(("width", "height"), _size(size), strict=True)) if size else {})
    )
    targets = _targets(output, n)
    from jogak.image.lora_tags import split_loras
    from jogak.image.steer import parse_control, parse_ip
    from jogak.models.catalogue import describe
    from jogak.studio.picture import Sources, draw_pictures, findings, model_of

    sources = Sources(
        init=init,
        mask=mask,
        loras=tuple(use for one in lora for use in split_loras(f"<lora:{one}>")[1]),
        controls=tuple(parse_control(one) for one in control),
        ips=tuple(parse_ip(one) for one in ip),
    )
    # the environment's choice stands where the flag is left alone
    ref = model_of(
        request, None if backend == "auto" else backend, adapters=sources.adapt or "<lora:" in prompt.lower()
    )
    if size is None:
        own = describe(ref.folder).size
        request = ImageRequest.parse(request.model_dump() | {"width": own, "height": own})
    for finding in findings(request, ref, sources):
        if finding.level == "stop":
            raise SpecError(finding.en)
        print(f"{finding.level}: {finding.en}", file=sys.stderr)
    if grid is not None:
        if n != 1:
            raise SpecError(
                "--grid draws its own number of pictures; leave -n away, or take seed:1..4 as an axis."
            )
        chosen = None if backend == "auto" else backend
        adapters = ref.numeric.startswith("torch")
        _grid(
            grid,
            request,
            sources,
            lambda one: model_of(one, chosen, adapters=adapters),
            output,
            cells,
            dry_run,
        )
        return
    if dry_run:
        print(request.to_yaml(), end="")
        print(f"weights: {ref.digest[:12]} ({ref.family}), runs as {ref.numeric}")
        print("would write: " + ", ".join(str(target) for target in targets))
        return
    require_writable(targets[0].parent)
    with pieces("loading", len(targets)) as on_progress:
        from jogak.store import Store

        store = Store()
        begun = time.perf_counter()
        drawn = draw_pictures(store, request, ref, count=n, sources=sources, on_progress=on_progress)
        for handle, target in zip(drawn, targets, strict=True):
            store.export(handle, target)
    seconds = time.perf_counter() - begun
    for i, (target, handle) in enumerate(zip(targets, drawn, strict=True)):
        print(f"{target}  {handle.width}×{handle.height}, seed {seed + i}, {steps} steps")
    print(f"{len(targets)} drawn in {seconds:.1f} s with {ref.name} ({ref.numeric})")


def _fast(
    model: str, steps: int, guidance: float, sampler: SamplerName
) -> tuple[str, int, float, SamplerName]:
    """What `--fast` puts in the place of defaults. Raises `SpecError` for a model that has no fast one."""
    if model not in (_DEFAULT.model, "pocket-fast"):
        raise SpecError(
            f"--fast is pocket's; for {model} put an LCM or Lightning LoRA on with --lora, --steps 4 --guidance 1."
        )
    return (
        "pocket-fast",
        4 if steps == _DEFAULT.steps else steps,
        1.0 if guidance == _DEFAULT.guidance else guidance,
        "ddim" if sampler == _DEFAULT.sampler else sampler,
    )


def _grid(
    text: str, request: ImageRequest, sources: Sources, model_of: Callable[[ImageRequest], ModelRef], output: Path,
    cells: bool, dry_run: bool,
) -> None:  # fmt: skip
    from jogak.image.grid import parse_grid
    from jogak.studio.grid import cell_names, draw_grid, grid_requests

    grid = parse_grid(text)
    targets = cell_names(grid, output) if cells else []
    if dry_run:
        from jogak.studio.cost import drawing_seconds, said

        asked = grid_requests(grid, request)
        sizes = " × ".join(str(len(axis.values)) for axis in grid.axes)
        print(request.to_yaml(), end="")
        for axis in grid.axes:
            print(f"# {axis.name}: {', '.join(axis.values)}")
        seconds = drawing_seconds([(one, model_of(one)) for one in asked])
        print(f"# {len(asked)} pictures ({sizes}), {said(seconds)} if none of them is drawn yet")
        return
    require_writable(output.parent)
    from jogak.store import Store

    store = Store()
    begun = time.perf_counter()
    with pieces("loading", len(grid.cells) + 1) as on_progress:
        drawn = draw_grid(store, request, grid, model_of, sources=sources, on_progress=on_progress)
        store.export(drawn.picture, output)
        for handle, target in zip(drawn.cells, targets, strict=False):
            store.export(handle, target)
    seconds = time.perf_counter() - begun
    print(
        f"{output}  {drawn.picture.width}×{drawn.picture.height}, {len(drawn.cells)} pictures in {seconds:.1f} s"
    )


def replay(
    picture: Annotated[Path, Parameter(help="a PNG that Jogak drew")],
    /,
    *,
    output: Annotated[Path, _OUTPUT],
    model: Annotated[str | None, Parameter(help="where the weights are now, if elsewhere than then")] = None,
    init: Annotated[
        Path | None, Parameter(help="the picture it began with, if no longer in the store")
    ] = None,
) -> None:
    """Draw a picture again from the recipe inside it, and say whether every pixel is the same.

    Ends with code 1 when it is not, after saying what differs; the new picture is written all the same.
    """
    target = _targets(output, 1)[0]
    if not picture.is_file():
        raise SpecError(f"{picture} is not a file; give the path of a PNG that Jogak drew.")
    if target.exists() and target.samefile(picture):
        raise SpecError(f"{target} is the picture itself; choose another place with -o.")
    require_writable(target.parent)
    with pieces("loading", 1) as on_progress:
        from jogak.store import Store
        from jogak.studio.picture import replay_picture

        result = replay_picture(Store(), picture, target, model=model, init=init, on_progress=on_progress)
    for reason in result.reasons:
        print(reason)
    if result.identical:
        print(f"{target} is identical to what was drawn then, pixel for pixel.")
        return
    why = "" if result.reasons else " Weights, numeric mode and versions are alike: another machine?"
    print(f"{target} differs from {picture} in {result.differing:.1%} of the pixels.{why}")
    raise SystemExit(1)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text, re.ASCII)
    if found is None:
        raise SpecError(f'size: "{text[:40]}" is not WIDTHxHEIGHT; write for example 320x192.')
    return int(found[1]), int(found[2])


def _targets(output: Path, count: int) -> list[Path]:
    """The files to write: `out.png`, or `out-1.png`, `out-2.png`, … when there are several."""
    if output.suffix.lower() != ".png":
        raise SpecError(f"{output} does not end in .png, which keeps every pixel and the recipe; name it so.")
    if not 1 <= count <= 100:
        raise SpecError(f"n: {count} pictures were asked for; one command draws 1 to 100.")
    if count == 1:
        targets = [output]
    else:
        targets = [output.with_name(f"{output.stem}-{i}{output.suffix}") for i in range(1, count + 1)]
    for target in targets:
        if target.is_dir():
            raise SpecError(f"{target} is a folder; name a file with -o.")
    return targets


def require_writable(folder: Path) -> None:
    """Fails now rather than after the drawing. The folder itself is only made once there is something to put
    in it."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise SpecError(
            f"cannot write in {place}: {error.strerror or error}. Choose another place with -o."
        ) from None
