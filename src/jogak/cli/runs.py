"""`jogak runs`: what was run, what each step cost, and what may be tidied away."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from jogak.store import Record, Run

runs_app = App(name="runs", help="List and inspect earlier runs, and remove what no run needs any more.")


@runs_app.command(name="list")
def list_runs(*, limit: int = 20, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """List the runs, the newest first.

    Parameters
    ----------
    limit
        how many at most; 0 for all
    json
        print JSON instead of a table
    """
    from jogak.store import Store

    runs = Store().runs()
    shown = runs[:limit] if limit > 0 else runs
    if json:
        _print_json([_run_facts(run) for run in shown])
        return
    if not shown:
        print("No runs yet.")
        return
    rows = [(run.id, run.journey, run.status, _clock(run), _took(run), _asked(run)) for run in shown]
    _print_table(("run", "journey", "status", "started", "took", "asked for"), rows, right=(4,))
    if len(shown) < len(runs):
        print(f"{len(runs) - len(shown)} older runs are not shown; see --limit.")


@runs_app.command
def show(run_id: str, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Show the steps of one run: made or found, how long each took, and its memory.

    Parameters
    ----------
    run_id
        the run's id, the beginning of one, or "last"
    json
        print JSON instead of a table
    """
    from jogak.store import Store

    run = Store().run_record(run_id)
    records = run.records
    if json:
        _print_json(_run_facts(run) | {"steps": [_step_facts(record) for record in records]})
        return
    print(f"{run.id}  {run.journey}  {run.status}  {_clock(run)}  {_took(run)}")
    for name, value in (("asked for", _asked(run)), ("output", run.output), ("error", run.error)):
        if value:
            print(f"{name}: {value}")
    rows = [_step_row(record) for record in records]
    _print_table(("step", "part", "version", "state", "now", "when made", "memory"), rows, right=(4, 5, 6))
    hits = sum(record.hit for record in records)
    print(f"{len(records)} steps, {hits} of them found in the store.")


@runs_app.command
def gc(
    *,
    older_than: float | None = None,
    keep: int | None = None,
    dry_run: Annotated[bool, Parameter(negative="--delete")] = True,
) -> None:
    """Remove files and records that no run needs any more; without --delete, only say how much that is.

    Parameters
    ----------
    older_than
        also remove runs that ended more than so many days ago
    keep
        also remove runs beyond the so many newest
    dry_run
        only count (the default); --delete removes
    """
    from jogak.store import Store

    store = Store()
    swept = store.gc(older_than_days=older_than, keep=keep, dry_run=dry_run)
    said = "Would remove" if dry_run else "Removed"
    print(
        f"{said} {len(swept.runs)} runs, {swept.records} records, {swept.files} files and {swept.strays} "
        f"leftovers: {swept.bytes:,} bytes ({_size(swept.bytes)}) in {store.root}."
    )
    if dry_run and swept.bytes:
        print("Nothing was removed. Add --delete to remove it.")


def _run_facts(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "journey": run.journey,
        "status": run.status,
        "started": run.started,
        "ended": run.ended,
        "output": None if run.output is None else str(run.output),
        "error": run.error,
        "spec": run.spec_data,
    }


def _step_facts(record: Record) -> dict[str, Any]:
    return {
        "key": record.key,
        "name": record.name,
        "version": record.version,
        "scope": record.scope,
        "state": record.state,
        "run_seconds": record.run_seconds,
        "seconds": record.seconds,
        "peak_bytes": record.peak_bytes,
        "parents": list(record.parents),
        "outer": record.outer,
        "inputs": list(record.inputs),
        "outputs": list(record.outputs),
        "error": record.error,
    }


def _step_row(record: Record) -> tuple[str, ...]:
    made = "" if record.state == "failed" else f"{record.seconds:.2f} s"
    memory = _size(record.peak_bytes) if record.peak_bytes else ""
    now = f"{record.run_seconds:.2f} s"
    return record.name, record.scope, record.version, record.state, now, made, memory


def _clock(run: Run) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))


def _took(run: Run) -> str:
    return f"{(time.time() if run.ended is None else run.ended) - run.started:.1f} s"


def _asked(run: Run) -> str:
    """The words of what was asked for: the first of a spec's usual fields for them."""
    fields = run.spec_data["is"] if run.spec_data else {}
    words = next((str(fields[name]) for name in ("text", "brief", "prompt", "title") if fields.get(name)), "")
    words = " ".join(words.split())
    return words if len(words) <= 60 else words[:59] + "…"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False))


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple[int, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at in right else "left", no_wrap=at == 0)
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)
