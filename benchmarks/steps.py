"""What the graph engine costs: `python benchmarks/steps.py` prints one line for each kind of call.

Everything runs in a fresh store in the temporary folder (`--folder` for another disk). A cold step writes a
small file and its record, both flushed to the disk; a warm step finds them. The median of `--calls` calls is
printed with the 95th percentile.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from jogak.spec import Document, Line, Shot
from jogak.store import Store, current, each, step

SHOT = Shot(id="s1", prompt="a fox in a rainy forest at night", lines=(Line(text="비 오는 숲의 여우"),))


@step(version="1")
def drawn(shot: Shot, number: int) -> Document:
    """A file of 4 kB, as small as a step's file may be: what is measured is the engine."""
    store = current().store
    with store.new_file(".bin") as path:
        path.write_bytes(f"{shot.prompt} {number}".encode() * 100)
        return store.put(path, Document)


@step(version="1")
def counted(shot: Shot, number: int) -> int:
    return number


def empty_run(store: Store, number: int) -> None:
    with store.run("benchmark"):
        pass


def started_python(code: str, number: int) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def milliseconds(call: Callable[[int], object], calls: int) -> str:
    spent = []
    for number in range(calls):
        began = time.perf_counter()
        call(number)
        spent.append((time.perf_counter() - began) * 1000)
    return f"{statistics.median(spent):8.3f} ms   (95 %: {statistics.quantiles(spent, n=20)[-1]:.3f} ms)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    calls: int = options.calls
    print(f"{platform.machine()}, Python {platform.python_version()}, {calls} calls")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        store = Store(Path(name))
        with store.run("benchmark"):
            print("cold step, no file   ", milliseconds(partial(counted, SHOT), calls))
            print("cold step, one file  ", milliseconds(partial(drawn, SHOT), calls))
        with store.run("benchmark"):
            print("warm step, no file   ", milliseconds(partial(counted, SHOT), calls))
            print("warm step, one file  ", milliseconds(partial(drawn, SHOT), calls))
        fork = get_context("fork")
        with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, mp_context=fork) as processes:
            for kind, pool in (("in place", None), ("2 threads", threads), ("2 processes", processes)):
                with store.run("benchmark"):
                    began = time.perf_counter()
                    each(pool, partial(drawn, SHOT), list(range(calls)))
                    spent = (time.perf_counter() - began) / calls * 1000
                    print(f"warm `each`, {kind:12}", f"{spent:5.3f} ms an item")
        with store.run("benchmark") as run:
            each(None, partial(drawn, SHOT), list(range(calls)))
            began = time.perf_counter()
            found = len(run.records)
            print(f"reading {found} records  {(time.perf_counter() - began) * 1000:8.1f} ms")
        print("a run, begun and ended", milliseconds(partial(empty_run, store), 20))
        began = time.perf_counter()
        swept = store.gc(keep=0, dry_run=False)
        print(f"gc of {swept.files} files      {(time.perf_counter() - began) * 1000:8.1f} ms")
    for code in ("pass", "import jogak.spec", "import jogak.store", "import jogak.cli.runs"):
        print(f"{code:22}", milliseconds(partial(started_python, code), 5))


if __name__ == "__main__":
    main()
