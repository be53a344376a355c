"""The base of every specification: frozen, validated, strict about its keys, and kind when it refuses."""

from __future__ import annotations

import difflib
import json
import reprlib
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

MAX_SPEC_BYTES = 1_000_000
"""A specification file larger than this is refused before it is parsed."""


class JogakError(Exception):
    """A failure with a sentence for a person: what, where, and what to do next. The CLI prints it as one line."""


class SpecError(JogakError):
    """What was asked for is not valid. Exit code 2."""


class Spec(BaseModel):
    """A frozen, validated piece of what a person asks for or what comes back."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, data: Any, where: str = "") -> Self:
        """Validate plain data. Raises `SpecError` with the field's place and, for an unknown key, the nearest name."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SpecError(_plain_words(cls, error, where)) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read `.yaml`, `.yml` or `.json`. Raises `SpecError` when absent, too large, unparsable or invalid."""
        try:
            size = path.stat().st_size
            if size > MAX_SPEC_BYTES:
                raise SpecError(
                    f"{path.name} is {size:,} bytes; a specification has at most {MAX_SPEC_BYTES:,}."
                )
            text = path.read_text(encoding="utf-8")
            data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SpecError(f"{path.name} is not readable as YAML or JSON in UTF-8: {reason}") from None
        except OSError as error:
            raise SpecError(f"{path}: {error.strerror or error}. Give the path of a readable file.") from None
        return cls.parse(data, where=path.name)

    def to_json(self) -> str:
        return self.model_dump_json(indent=2)

    def to_yaml(self) -> str:
        data = self.model_dump(mode="json")
        return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=100)


def _plain_words(cls: type[Spec], error: ValidationError, where: str) -> str:
    """The first problem of a validation error, in one line."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"]) or "the whole"
    prefix = f"{where}: " if where else ""
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])
        near = difflib.get_close_matches(name, _field_names(cls), n=1, cutoff=0.5)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        return f'{prefix}"{place}" is not a known field.{hint}{more}'
    message = problem["msg"].removeprefix("Value error, ")
    # Not repr(): a few lines of YAML whose aliases nest nine lists nine deep would fill the memory.
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother = 2, 60, 60
    given = short.repr(problem["input"])
    given = given if len(given) <= 60 else given[:57] + "..."
    return f"{prefix}{place}: {message} (got {given}).{more}"


def _field_names(cls: type[BaseModel]) -> list[str]:
    """The names of this model's fields and of the models inside it."""
    names: list[str] = []
    todo: list[type[BaseModel]] = [cls]
    seen: set[type[BaseModel]] = set()
    while todo:
        model = todo.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            names.append(name)
            for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    todo.append(part)
    return names
