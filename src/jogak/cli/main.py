"""The `jogak` command. Each command is imported when it is called, so that `jogak --help` is quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import jogak
from jogak.spec import JogakError

app = App(
    name="jogak",
    version=jogak.__version__,
    help="""Jogak (조각): sculpt pictures and short films out of noise, on your own machine.

    jogak image "노을 지는 초원의 여우" -o fox.png

    jogak film "비 오는 밤, 로봇이 바다로 떠난다. 피아노 음악" -o out/robot

    Pictures: image draws, replay draws again, explain shows what each part of a recipe did, preflight what will not fit.

    Your character: dataset checks and makes a data set, train learns a LoRA from it, sweep finds its best weight, lora
    looks into and converts files, sheet puts a character on a page.

    Films: film. Afterwards: eval scores pictures, report writes a run's PDF or HTML, runs lists what was made.
    """,
)
app.command("jogak.cli.image:image", name="image")
app.command("jogak.cli.image:replay", name="replay")
app.command("jogak.cli.film:film", name="film")
app.command("jogak.cli.dataset:dataset_app", name="dataset")
app.command("jogak.cli.train:train", name="train")
app.command("jogak.cli.sweep:sweep", name="sweep")
app.command("jogak.cli.lora:lora_app", name="lora")
app.command("jogak.cli.preflight:preflight", name="preflight")
app.command("jogak.cli.sheet:sheet", name="sheet")
app.command("jogak.cli.explain:explain", name="explain")
app.command("jogak.cli.eval:evaluate", name="eval")
app.command("jogak.cli.report:report", name="report")
app.command("jogak.cli.runs:runs_app", name="runs")


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command line. Exit codes: 0 done, 1 replay differs, 2 asked wrongly or could not be made, 130 stopped."""
    # Threads that wait for each other sleep instead of spin; torch reads this when it is imported. On two cores that
    # other work shares, a step of pocket's training took 6.7 s with spinning threads and 1.0 s with sleeping ones.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _say(str(error) + "  (jogak --help shows what there is)")
        sys.exit(2)
    except JogakError as error:
        _say(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from here.")
        sys.exit(130)


def _say(text: str) -> None:
    print("jogak: " + " ".join(text.split()), file=sys.stderr)
