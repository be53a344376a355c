"""Plain data, specs and handles as tagged JSON: exact both ways, so that unequal values give unequal keys.

A JSON object is one of our dicts as it is; one with the key `$` is a tag for what JSON cannot tell apart:
`{"$": "tuple", "of": […]}`, `{"$": "dict", "of": [[key, value], …]}`, `{"$": "float", "of": "inf"}`, and
`{"$": "module:Class", "is": {…fields…}}` for a `Spec`. A handle has `"file": "<sha256><suffix>"` beside `is`,
never its path; what is no part of an identity (a weights folder's place and name) stands in `"also"`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jogak.spec import Handle, ModelRef, Spec

_ALSO: dict[type[Spec], tuple[str, ...]] = {ModelRef: ("name", "folder")}
"""The fields that say where a thing lies or what it is called, and so never count in a key."""


def encode(value: Any, where: str) -> Any:
    """`value` as tagged JSON. Raises `TypeError`, naming `where`, if it is nothing a step may take."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$": "float", "of": repr(value)}
    if kind is list:
        return [encode(part, f"{where}[{at}]") for at, part in enumerate(value)]
    if kind is tuple:
        return {"$": "tuple", "of": [encode(part, f"{where}[{at}]") for at, part in enumerate(value)]}
    if kind is dict:
        return _encode_dict(value, where)
    if isinstance(value, Spec):
        return _encode_spec(value, where)
    raise TypeError(
        f"{where} is a {kind.__module__}.{kind.__qualname__}; a step takes and returns plain data (None, "
        "bool, int, float, str, list, tuple, dict), Specs and Handles: make numbers int or float, put media "
        "in the store"
    )


def _encode_dict(value: dict[Any, Any], where: str) -> Any:
    for key in value:
        if type(key) is not str:
            raise TypeError(f"{where} has the key {key!r}; a dict that enters or leaves a step has str keys")
    pairs = {key: encode(part, f"{where}[{key!r}]") for key, part in value.items()}
    return {"$": "dict", "of": [[key, pairs[key]] for key in pairs]} if "$" in pairs else pairs


def _encode_spec(value: Spec, where: str) -> Any:
    kind = type(value)
    if "<locals>" in kind.__qualname__:
        raise TypeError(f"{where} is a {kind.__qualname__}; define the class at the top of a module")
    fields = {name: getattr(value, name) for name in kind.model_fields}
    node: dict[str, Any] = {"$": f"{_module(kind.__module__)}:{kind.__qualname__}"}
    if isinstance(value, Handle):
        node["file"] = value.sha256 + value.suffix
        for name in Handle.model_fields:
            del fields[name]
    also = next((names for base, names in _ALSO.items() if isinstance(value, base)), ())
    if also:
        node["also"] = {name: str(fields.pop(name)) for name in also}
    node["is"] = {name: encode(part, f"{where}.{name}") for name, part in fields.items()}
    return node


def _module(name: str) -> str:
    """The main script has another name inside a spawned worker; it is the same module."""
    return "__main__" if name == "__mp_main__" else name


UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ImportError, RecursionError)


def decode(data: Any, place: Callable[[str], Path]) -> Any:
    """The value that `encode` was given. `place` says where in the store a file name lies.

    Raises one of `UNREADABLE` when the data does not fit the classes of today.
    """
    if isinstance(data, list):
        return [decode(part, place) for part in data]
    if not isinstance(data, dict):
        return data
    tag = data.get("$")
    if tag is None:
        return {key: decode(part, place) for key, part in data.items()}
    if tag == "tuple":
        return tuple(decode(part, place) for part in data["of"])
    if tag == "dict":
        return {key: decode(part, place) for key, part in data["of"]}
    if tag == "float":
        return float(data["of"])
    fields = {name: decode(part, place) for name, part in data["is"].items()} | data.get("also", {})
    if file := data.get("file"):
        fields |= {"sha256": file[:64], "suffix": file[64:], "path": place(file)}
    return _spec_class(tag).model_validate(fields)


def _spec_class(tag: str) -> type[Spec]:
    """The Spec class a record names. Only our own modules are imported for it, only a Spec is accepted."""
    module_name, _, qualname = tag.partition(":")
    module = sys.modules.get(module_name)
    if module is None:
        if not module_name.startswith("jogak."):
            raise LookupError(f"{tag} is not loaded")
        module = importlib.import_module(module_name)
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, Spec)):
        raise TypeError(f"{tag} is not a Spec")
    return found


def to_bytes(data: Any) -> bytes:
    """One text for one JSON value. Keys keep their order: a dict in another order may give another result."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()


def digest(data: Any) -> str:
    """sha256 of tagged JSON without what is no part of an identity."""
    return hashlib.sha256(to_bytes(_without_also(data))).hexdigest()


def _without_also(data: Any) -> Any:
    if isinstance(data, list):
        return [_without_also(part) for part in data]
    if isinstance(data, dict):
        named = isinstance(data.get("$"), str)
        return {key: _without_also(part) for key, part in data.items() if not (named and key == "also")}
    return data


def inside(data: Any) -> list[Any]:
    """What lies directly inside tagged JSON; a tag's own bookkeeping does not count."""
    if isinstance(data, list):
        return data
    if not isinstance(data, dict):
        return []
    tag = data.get("$")
    if tag is None:
        return list(data.values())
    if tag == "tuple":
        return data["of"]
    if tag == "dict":
        return [part for _, part in data["of"]]
    return [] if tag == "float" else list(data["is"].values())


def parts(data: Any) -> Iterator[Any]:
    """Tagged JSON and everything inside it, outermost first."""
    yield data
    for part in inside(data):
        yield from parts(part)


def file_names(data: Any) -> set[str]:
    """The names (`<sha256><suffix>`) of every handle inside tagged JSON."""
    return {
        part["file"] for part in parts(data) if isinstance(part, dict) and part.get("$") and "file" in part
    }
