"""Content-addressed files, steps that remember what they made, and the runs that made it."""

from jogak.store.context import Cancelled, Context, Pool, StepError, current, scope
from jogak.store.fanout import each
from jogak.store.files import Files
from jogak.store.index import Run, Store, Swept
from jogak.store.records import SPEC, Record
from jogak.store.signals import Progress
from jogak.store.steps import step

__all__ = [
    "SPEC", "Cancelled", "Context", "Files", "Pool", "Progress", "Record", "Run", "StepError", "Store",
    "Swept", "current", "each", "scope", "step",
]  # fmt: skip
