"""The `jogak` command. Each command is imported when it is called, so that `jogak --help` is quick."""

from __future__ import annotations

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
    """,
)
# each with a line of its own here, so that the help needs none of the modules
app.command("jogak.cli.image:image", name="image", help="draw a picture from words")
app.command("jogak.cli.image:replay", name="replay", help="draw a picture again from the recipe inside it")
app.command("jogak.cli.film:film", name="film", help="make a short film from a sentence")
app.command("jogak.cli.dataset:dataset_app", name="dataset", help="check and make a data set of pictures")
app.command("jogak.cli.train:train", name="train", help="train a LoRA from a data set")
app.command("jogak.cli.sweep:sweep", name="sweep", help="find a LoRA's best checkpoint and weight")
app.command("jogak.cli.lora:lora_app", name="lora", help="look into, merge, resize and convert LoRAs")
app.command(
    "jogak.cli.preflight:preflight", name="preflight", help="what will not fit, before a weight is read"
)
app.command("jogak.cli.sheet:sheet", name="sheet", help="a character in several panels, on one page")
app.command(
    "jogak.cli.explain:explain", name="explain", help="what each part of a picture's recipe did to it"
)
app.command("jogak.cli.eval:evaluate", name="eval", help="score a folder of pictures")
app.command("jogak.cli.report:report", name="report", help="a run's report as PDF or HTML")
app.command("jogak.cli.runs:runs_app", name="runs", help="what was made, and what may go")


def run(arguments: Sequence[str] | None = None) -> None:
    """Run a command line. Exit codes: 0 done, 1 replay differs, 2 asked wrongly or could not be made, 130 stopped."""
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
