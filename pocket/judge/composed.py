"""Line ControlNet, IP-Adapter and a LoRA at once: each beside what it does alone.

The LoRA is the four-step student, put on as any LoRA is. The map is canny's of a held-out scene, the reference shows
the same thing alone on white. A ratio is of the same cases and seeds; the bar leaves each 85 % of what it does alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from jogak.adapters.control import control, load_control
from jogak.adapters.ip import ip, load_ip
from jogak.adapters.lora import lora
from jogak.adapters.lora_files import read_lora
from jogak.adapters.maps import make_map
from jogak.judge.control_fidelity import edge_f1
from pocket.judge import cases, fast, ip_adapter
from pocket.judge.bench import WEIGHTS, Bench, Drawer, Pictures, plain_scene, prompts_of
from pocket.judge.controlled import FOLDER, likeness, ratio_row, to_captions, torch_drawer
from pocket.judge.rows import Row, Unmeasured

KEPT = 0.85
SEED = 7400


def rows(bench: Bench) -> Iterator[Row | Unmeasured]:
    """Edges and likeness of all three together over each alone; the words of the student with both over without."""
    if bench.draw is None:
        yield Unmeasured("composed", "no model draws")
        return
    asked = cases.in_places(bench.sprites, bench.count, 841)
    maps = np.stack([make_map("canny", one) for one in bench.paint(asked, 842)])
    references = bench.paint([plain_scene(s.subjects[0].concept, s.look) for s in asked], 843)
    prompts, drawer = prompts_of(asked), torch_drawer(bench.draw)

    def edges(pictures: Pictures) -> NDArray[np.float64]:
        found = [make_map("canny", one) for one in pictures]
        return np.array([edge_f1(one, other) for one, other in zip(found, maps, strict=True)])

    def drawn(lines: bool, look: bool, student: bool) -> Pictures:
        return draw(drawer, prompts, maps if lines else None, references if look else None, student=student)

    whole = drawn(lines=True, look=True, student=True)
    alone = drawn(lines=True, look=False, student=False)
    yield ratio_row("composed_lines_f1_of_alone", edges(whole), edges(alone), KEPT)
    alone = drawn(lines=False, look=True, student=False)
    alike = [likeness(bench.judge, pictures, references) for pictures in (whole, alone)]
    yield ratio_row("composed_ip_similarity_of_alone", *alike, KEPT)
    alone = drawn(lines=False, look=False, student=True)
    told = [to_captions(bench.judge, pictures, asked) for pictures in (whole, alone)]
    yield ratio_row("composed_lora_text_of_alone", *told, KEPT)


def draw(
    drawer: Drawer, prompts: list[str], maps: Pictures | None, references: Pictures | None, student: bool
) -> Pictures:
    """N prompts → (N, 256, 256, 3), with the adapters that are given, at the student's settings or the drawer's."""
    model = drawer.model
    if student:
        drawer = Drawer(model, fast.STEPS, fast.GUIDANCE, fast.SAMPLER)
    net, adapter = load_control(FOLDER, model.ref), load_ip(ip_adapter.FOLDER, model.ref)
    pictures = []
    with ExitStack() as whole:
        if student:
            whole.enter_context(lora(model, read_lora(WEIGHTS.with_name(fast.NAME)), 1.0))
        for i, prompt in enumerate(prompts):
            with ExitStack() as one:
                if maps is not None:
                    one.enter_context(control(model, net, maps[i], 1.0))
                if references is not None:
                    one.enter_context(ip(model, adapter, references[i], ip_adapter.USUAL))
                pictures.append(drawer([prompt], SEED + i)[0])
    return np.stack(pictures)
