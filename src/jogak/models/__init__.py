"""The only code that opens weights: which models there are, safe reading, diffusion models, samplers.

Importing this package does not import torch; `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jogak.models.catalogue import CATALOGUE, Entry, ModelFacts, describe, resolve

if TYPE_CHECKING:
    from jogak.models import samplers
    from jogak.models.diffusion import DiffusionModel, load

__all__ = ["CATALOGUE", "DiffusionModel", "Entry", "ModelFacts", "describe", "load", "resolve", "samplers"]


def __getattr__(name: str) -> Any:
    """`load`, `DiffusionModel` and `samplers` need torch, so they are imported when first asked for."""
    from importlib import import_module

    if name in ("DiffusionModel", "load"):
        return getattr(import_module("jogak.models.diffusion"), name)
    if name == "samplers":
        return import_module("jogak.models.samplers")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
