"""Where in a study something is wrong: the override, or file and line; the key; what may stand there instead."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from bantamweight.errors import InputError, near
from bantamweight.parts import worst
from bantamweight.studies._blocks import RUNNING, Recipe, Study, recipe_model
from bantamweight.studies._yaml import Marked

__all__ = ["Path", "Places", "dotted", "keys_of"]

Path = tuple[str | int, ...]


def dotted(path: Iterable[str | int]) -> str:
    """A path as `--set` takes it.

    >>> dotted(("train", 0, "epochs"))
    'train.0.epochs'
    """
    return ".".join(str(step) for step in path) or "the study"


@dataclass(frozen=True)
class Places:
    """The lines of a study file, and the overrides that set something in its place."""

    name: str
    marked: Marked
    origins: dict[Path, str] = field(default_factory=dict)

    def origin(self, path: Path) -> str:
        """The override that set what is at `path`, else file and line."""
        above = (self.origins[path[:size]] for size in range(len(path), 0, -1) if path[:size] in self.origins)
        # A block is blamed on what an override changed inside it; the setting `use: pgd` has the path `use.0` here.
        block = path[:-1] if path[-1:] == (0,) and len(path) > 2 else path
        below = (said for at, said in self.origins.items() if at[: len(block)] == block)
        said = next(above, None) or next(below, None)
        # A block that is not in a list has no index in the file.
        single = path[1:2] == (0,) and path[:2] not in self.marked.lines
        line = self.marked.line((path[0], *path[2:]) if single else path)
        return said or (f"{self.name}, line {line}" if line else self.name)

    def where(self, path: Path) -> str:
        """Origin and key."""
        return f"{self.origin(path)}: {dotted(path)}"

    def complaint(self, error: ValidationError, prefix: Path = ()) -> str:
        """The first thing that is wrong, as one sentence."""
        first = worst(error)
        path = (*prefix, *(step for step in first["loc"] if _is_step(step)))
        kind, inner, given = first["type"], first.get("ctx", {}).get("error"), first["input"]
        if kind == "extra_forbidden":
            home, key = path[:-1], str(path[-1])
            return f"{self.origin(path)}: {dotted(home)} has no setting {key!r}{near(key, keys_of(home, first))}"
        if kind == "missing":
            return f"{self.origin(path)}: {dotted(path[:-1])} needs {str(path[-1])!r}"
        if isinstance(inner, InputError):
            return f"{self.where(path)}: {inner}"
        if kind in ("union_tag_invalid", "union_tag_not_found"):
            return f"{self.where(path)}: expected 'use' to be one of {first['ctx'].get('expected_tags', MEASURES)}"
        if kind == "literal_error":
            options = [option.strip("'") for option in first["ctx"]["expected"].replace(" or ", ", ").split(", ")]
            return f"{self.where(path)}: {str(given)[:60]!r} is not known{near(str(given), options)}"
        if kind == "model_type":
            return (
                f"{self.where(path)}: expected settings as keys and values, got {json.dumps(given, default=repr)[:60]}"
            )
        message = first["msg"][0].lower() + first["msg"][1:]
        return f"{self.where(path)}: {message}, got {json.dumps(given, default=repr)[:60]}"


MEASURES = "'sizes', 'latency', 'sensitivity', 'minimum_eps', 'minimum_norm'"
_TAGS = {"sizes", "latency", "sensitivity", "minimum_eps", "minimum_norm", "str", "dict[str,any]"}


def _is_step(step: str | int) -> bool:
    """Whether a step of pydantic's path is one of the document's (not the tag of a union)."""
    return isinstance(step, int) or (step not in _TAGS and "[" not in step and "(" not in step)


def keys_of(path: Iterable[str | int], first: Any = None) -> list[str]:
    """The settings that may stand at a path of a study."""
    models: list[type[BaseModel]] = [Study]
    for step in path:
        if isinstance(step, int):
            continue
        models = [found for model in models if step in model.model_fields for found in _models(model, step)]
    if first is not None and len(models) > 1:
        tagged = [
            model for model in models if model.__name__.lower() in {str(s).replace("_", "") for s in first["loc"]}
        ]
        models = tagged or models
    known = {key for model in models for key in model.model_fields}
    if any(issubclass(model, Recipe) for model in models):
        known |= set(recipe_model().model_fields) - RUNNING
    return sorted(known)


def _models(model: type[BaseModel], step: str) -> list[type[BaseModel]]:
    """The block models inside one field's annotation."""
    waiting, found = [model.model_fields[step].annotation], []
    while waiting:
        one = waiting.pop()
        if isinstance(one, type) and issubclass(one, BaseModel):
            found.append(one)
        waiting += [arg for arg in typing.get_args(one) if arg is not Ellipsis]
    return found
