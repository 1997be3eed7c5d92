"""A study file read, checked and frozen; every complaint names the file, the line and the key.

A study is data: nothing in it runs. Parts from outside the package (`use: package.module:function`) are refused
unless the caller trusts the study.
"""

from __future__ import annotations

import json
import os
import typing
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails

from bantamweight.errors import InputError, near
from bantamweight.studies import _yaml
from bantamweight.studies._blocks import RUNNING, Recipe, Study, TrainBlock, recipe_model, recipe_of

__all__ = ["bundled", "read", "text_of"]


def bundled() -> dict[str, Path]:
    """Ready studies that come with the package, by name."""
    folder = Path(str(resources.files("bantamweight.studies") / "bundled"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def text_of(study: str | os.PathLike[str]) -> tuple[str, str]:
    """The text of a study and what errors call it; `study` is a path or a bundled name."""
    name = os.fspath(study)
    path = Path(name)
    if name in bundled() and not path.is_file():
        path = bundled()[name]
    try:
        if path.stat().st_size > _yaml.MOST_BYTES:
            raise InputError(f"expected a study of at most {_yaml.MOST_BYTES:,} bytes, {name} has more")
        return path.read_text(encoding="utf-8"), path.name
    except FileNotFoundError:
        raise InputError(f"there is no study {name!r}, neither a file nor bundled{near(name, bundled())}") from None
    except IsADirectoryError:
        raise InputError(f"expected a study file, {name} is a folder; give the .yaml inside") from None
    except UnicodeDecodeError:
        raise InputError(f"expected a study in UTF-8 text, {name} is not") from None
    except OSError as error:
        raise InputError(f"the study {name} can't be read: {error.strerror}") from error


def read(
    study: str | os.PathLike[str] | Mapping[str, Any], *, overrides: Iterable[str] = (), trust: bool = False
) -> Study:
    """A checked study from a path, a bundled name or a mapping; `overrides` are `a.b.0.c=value` lines.

    Raises InputError with one sentence that names file, line and key.
    """
    if isinstance(study, Mapping):
        marked = _yaml.Marked(json.loads(json.dumps(study)), {})
        name = "study"
    else:
        text, name = text_of(study)
        marked = _yaml.read(text, name)
    origins: dict[tuple[str | int, ...], str] = {}
    for override in overrides:
        _override(marked.value, override, origins)
    if not isinstance(marked.value, dict):
        raise InputError(f"{name}: expected a study as keys and values, got {type(marked.value).__name__}")
    try:
        checked = Study.model_validate(marked.value, context={"trust": trust})
    except ValidationError as error:
        raise InputError(_complaint(error, name, marked, origins)) from error
    for path, block in _recipes(checked):
        try:
            _foreign_keys(block)
            recipe_of(block, trust=trust)
        except ValidationError as error:
            raise InputError(_complaint(error, name, marked, origins, path)) from error
    _consistent(checked, name, marked)
    return checked


def _recipes(study: Study) -> Iterator[tuple[tuple[str | int, ...], Recipe]]:
    """Every block that holds settings of a training, with its path."""
    for index, block in enumerate(study.train):
        if block.load is None:
            yield ("train", index), block
    for index, cut in enumerate(study.compress):
        if cut.finetune is not None:
            yield ("compress", index, "finetune"), cut.finetune


def _foreign_keys(block: Recipe) -> None:
    """Refuse settings of `training.train` that a study may not set."""
    for key in RUNNING & set(block.model_extra or {}):
        error = InitErrorDetails(type="extra_forbidden", loc=(key,), input=None)
        raise ValidationError.from_exception_data("recipe", [error])


def _override(tree: Any, override: str, origins: dict[tuple[str | int, ...], str]) -> None:
    """Apply one `a.b.0.c=value` to the plain tree."""
    dotted, equals, text = override.partition("=")
    said = f"--set {override[:80]}"
    steps = dotted.strip().split(".")
    if not equals or not all(steps):
        raise InputError(f"{said}: expected KEY=VALUE with a dotted key, for example train.0.epochs=2")
    value = _yaml.read(text, said).value if text.strip() else None
    path: list[str | int] = []
    for step in steps[:-1]:
        tree, key = _descend(tree, step, said, path)
        path.append(key)
    last: Any = _index(tree, steps[-1], said, path) if isinstance(tree, list) else steps[-1]
    if not isinstance(tree, dict | list):
        raise InputError(f"{said}: {_dotted(path)} holds a single value, not settings")
    tree[last] = value
    origins[(*path, last)] = said


def _descend(tree: Any, step: str, said: str, path: list[str | int]) -> tuple[Any, str | int]:
    if isinstance(tree, list):
        index = _index(tree, step, said, path)
        return tree[index], index
    if isinstance(tree, dict) and step not in tree:
        known = _keys_of(path)
        if step not in known:
            raise InputError(f"{said}: the study has no {_dotted([*path, step])}{near(step, [*tree, *known])}")
        tree[step] = {}
    if not isinstance(tree, dict):
        raise InputError(f"{said}: {_dotted(path)} holds a single value, not settings")
    if isinstance(tree[step], str):  # `attack: pgd` is `attack: {use: pgd}` in short
        tree[step] = {"use": tree[step]}
    return tree[step], step


def _index(tree: list[Any], step: str, said: str, path: list[str | int]) -> int:
    if not step.isdigit() or int(step) >= len(tree):
        raise InputError(f"{said}: {_dotted(path)} is a list of {len(tree)}, expected an index from 0, got {step!r}")
    return int(step)


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(str(step) for step in path) or "the study"


def _complaint(
    error: ValidationError,
    name: str,
    marked: _yaml.Marked,
    origins: Mapping[tuple[str | int, ...], str],
    prefix: tuple[str | int, ...] = (),
) -> str:
    """The first thing that is wrong, with file, line and key."""
    first = error.errors(include_url=False)[0]
    path = (*prefix, *(step for step in first["loc"] if _is_step(step)))
    key = str(path[-1]) if path else ""
    said = next((origins[path[:size]] for size in range(len(path), 0, -1) if path[:size] in origins), None)
    line = marked.line(path)
    where = said or (f"{name}, line {line}" if line else name)
    inner = first.get("ctx", {}).get("error")
    if first["type"] == "extra_forbidden":
        home = path[:-1]
        return f"{where}: {_dotted(home)} has no setting {key!r}{near(key, _keys_of(home, first))}"
    if first["type"] == "missing":
        return f"{where}: {_dotted(path[:-1])} needs {key!r}"
    if isinstance(inner, InputError):
        return f"{where}: {_dotted(path)}: {inner}"
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"{where}: {_dotted(path)}: expected use: one of {first['ctx'].get('expected_tags', 'sizes, latency')}"
    if first["type"] == "literal_error":
        options = [option.strip("'") for option in first["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return (
            f"{where}: {_dotted(path)}: {str(first['input'])[:60]!r} is not known{near(str(first['input']), options)}"
        )
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}: {_dotted(path)}: {message}, got {json.dumps(first['input'], default=repr)[:60]}"


_TAGS = {"sizes", "latency", "sensitivity", "minimum_eps", "str", "dict[str,any]"}


def _is_step(step: str | int) -> bool:
    """Whether a step of pydantic's path is one of the document's (not the tag of a union)."""
    return isinstance(step, int) or (step not in _TAGS and "[" not in step and "(" not in step)


def _keys_of(path: Iterable[str | int], first: Any = None) -> list[str]:
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


def _consistent(study: Study, name: str, marked: _yaml.Marked) -> None:
    """What no single block can see: every trained net has a name of its own and exactly one origin."""
    seen: dict[str, int] = {}
    for index, block in enumerate(study.train):
        line = marked.line(("train", index))
        where = f"{name}, line {line}: train.{index}" if line else f"{name}: train.{index}"
        if (block.model is None) == (block.load is None):
            raise InputError(f"{where}: expected either 'model' (to train) or 'load' (a finished model)")
        title = title_of(block)
        if title in seen:
            raise InputError(
                f"{where}: {title!r} is already the name of train.{seen[title]}; give one of them a 'name'"
            )
        seen[title] = index


def title_of(block: TrainBlock) -> str:
    """What the net of a train block is called."""
    if block.name:
        return block.name
    if block.load is not None:
        return Path(block.load).stem or "model"
    use = block.model if isinstance(block.model, str) else (block.model or {}).get("use", "model")
    return str(use).rpartition(":")[2]
