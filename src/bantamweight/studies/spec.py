"""A study file read, checked and frozen; every complaint names the file, the line and the key.

A study is data: nothing in it runs. Parts from outside the package (`use: package.module:function`) are refused
unless the caller trusts the study.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails

from bantamweight.errors import InputError, near
from bantamweight.judging import gates
from bantamweight.parts import find, names
from bantamweight.studies import _yaml
from bantamweight.studies._blocks import RUNNING, Recipe, Study, TrainBlock, recipe_of
from bantamweight.studies._overrides import override
from bantamweight.studies._places import Places

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
    places = Places(name, marked)
    for line in overrides:
        override(marked.value, line, places.origins)
    if not isinstance(marked.value, dict):
        raise InputError(f"{name}: expected a study as keys and values, got {type(marked.value).__name__}")
    try:
        checked = Study.model_validate(marked.value, context={"trust": trust})
    except ValidationError as error:
        raise InputError(places.complaint(error)) from error
    for path, block in _recipes(checked):
        try:
            _foreign_keys(block)
            recipe = recipe_of(block, trust=trust)
        except ValidationError as error:
            raise InputError(places.complaint(error, path)) from error
        _augmented(recipe, places.where((*path, "augment")))
    _consistent(checked, places, trust)
    return checked


def _augmented(recipe: Mapping[str, Any], where: str) -> None:
    from bantamweight.data import augmentations

    try:
        augmentations(recipe["augment"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


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


def _consistent(study: Study, places: Places, trust: bool) -> None:
    """What no single block can see: every trained net has a name of its own and exactly one origin."""
    seen: dict[str, int] = {}
    for index, block in enumerate(study.train):
        where = places.where(("train", index))
        if (block.model is None) == (block.load is None):
            raise InputError(f"{where}: expected either 'model' (to train) or 'load' (a finished model)")
        if block.model is not None:
            _known(block.model, places.where(("train", index, "model")), trust)
        title = title_of(block)
        if title in seen:
            raise InputError(
                f"{where}: {title!r} is already the name of train.{seen[title]}; give one of them a 'name'"
            )
        seen[title] = index
    for index, text in enumerate(study.gates):
        try:
            gates.parse(text)
        except InputError as error:
            raise InputError(f"{places.where(('gates', index))}: {error}") from error


def _known(model: str | Mapping[str, Any], where: str, trust: bool) -> None:
    use = model if isinstance(model, str) else model.get("use")
    if not isinstance(use, str):
        raise InputError(f"{where}: expected a name or {{use: NAME, ...}}{near('', names('models'))}")
    try:
        find("models", use, trust=trust)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def title_of(block: TrainBlock) -> str:
    """What the net of a train block is called."""
    if block.name:
        return block.name
    if block.load is not None:
        return Path(block.load).stem or "model"
    use = block.model if isinstance(block.model, str) else (block.model or {}).get("use", "model")
    return str(use).rpartition(":")[2]
