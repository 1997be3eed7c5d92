"""Signature is schema, folder is registry.

`use: pgd` names the function `pgd` in the file `attacks/pgd.py`. Its positional parameters are injected by the
caller; its keyword-only ones are configured and checked through a pydantic model made from the signature.
Nothing is registered: a new part is one new file. This module imports no part until it is asked for one.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, create_model

from bantamweight.errors import InputError, near

__all__ = ["Part", "Room", "Shelf", "complaint", "configure", "find", "names", "number", "settings", "worst"]

ROOMS = {
    "attacks": "bantamweight.attacks",
    "checks": "bantamweight.attacks.checks",
    "compression": "bantamweight.compression",
    "data": "bantamweight.data",
    "explainers": "bantamweight.explainers",
    "metrics": "bantamweight.explainers.metrics",
    "models": "bantamweight.models",
    "objectives": "bantamweight.training.objectives",
    "optimizers": "bantamweight.training.optimizers",
    "panels": "bantamweight.reports.panels",
    "protocols": "bantamweight.attacks.protocols",
    "pruning": "bantamweight.training.pruning",
    "runtimes": "bantamweight.runtimes",
    "schedules": "bantamweight.training.schedules",
    "threats": "bantamweight.threats",
}


SECOND = {"threats": "eps"}
"""Rooms whose parts can be written in two words: the setting that the second is for."""


@dataclass(frozen=True)
class Room:
    """Annotation of a setting that holds another part: `Annotated[dict, Room("threats")]`."""

    name: str


@dataclass(frozen=True)
class Part:
    """A part by name with its settings checked, not yet made."""

    room: str
    name: str
    values: tuple[tuple[str, Any], ...]
    trusted: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, defaults included."""
        return dict(self.values)

    @property
    def spec(self) -> dict[str, Any]:
        """The part as a study would write it, defaults included; plain JSON, so it can be hashed."""
        plain = {key: value.spec if isinstance(value, Part) else value for key, value in self.values}
        return {"use": self.name, **plain}

    def make(self, *injected: Any) -> Any:
        """Call the part's function with what its room injects and the settings.

        Raises InputError when a function from outside the package raises anything at all.
        """
        function = find(self.room, self.name, trust=self.trusted)
        try:
            return function(*injected, **self.settings)
        except Exception as error:
            if not self.trusted or isinstance(error, InputError):
                raise
            raise InputError(f"calling {self.name!r} raised {type(error).__name__}: {error}; mend it") from error

    def __str__(self) -> str:
        """The name and the settings that differ from the defaults."""
        defaults = settings(find(self.room, self.name, trust=self.trusted)).model_fields
        changed = [(key, value) for key, value in self.values if not _untouched(value, defaults[key].default)]
        said = [f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}" for key, value in changed]
        return self.name + (f"({', '.join(said)})" if said else "")


def _untouched(value: Any, default: Any) -> bool:
    """Whether a setting is as the signature has it; a part there is written as its name."""
    return value == default or (isinstance(value, Part) and str(value) == default)


@cache
def _index(room: str) -> dict[str, str]:
    """Part name -> module that defines it."""
    if room not in ROOMS:
        raise InputError(f"{room!r} is not a room of parts{near(room, ROOMS)}")
    home = importlib.import_module(ROOMS[room])
    if not home.__spec__ or home.__spec__.submodule_search_locations is None:
        return dict.fromkeys(home.PARTS, home.__name__)
    folder = Path(next(iter(home.__spec__.submodule_search_locations)))
    index = {file.stem: f"{home.__name__}.{file.stem}" for file in folder.glob("[!_]*.py")}
    also: Mapping[str, str] = getattr(home, "ALSO", {})
    return index | {name: f"{home.__name__}.{file}" for name, file in also.items()}


def names(room: str) -> list[str]:
    """What the room offers, sorted; reads the folder, imports none of the parts.

    >>> "pgd" in names("attacks")
    True
    """
    return sorted(_index(room))


def find(room: str, name: str, *, trust: bool = False) -> Callable[..., Any]:
    """The function behind a name; `package.module:function` only when the caller trusts where the name comes from."""
    if ":" in name:
        if not trust:
            raise InputError(f"{name!r} would run code from outside the package; pass --trust if you trust its origin")
        return _foreign(name)
    index = _index(room)
    if plain(name) not in index:
        raise InputError(f"{name!r} is not in {room}{near(name, index)}")
    return getattr(importlib.import_module(index[plain(name)]), plain(name))


def plain(name: str) -> str:
    """A part's name as its file has it: dashes may stand for underscores.

    >>> plain("onnxruntime-int8"), plain("my-module:net")
    ('onnxruntime_int8', 'my-module:net')
    """
    return name if ":" in name else name.replace("-", "_")


def _foreign(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    # The working directory is looked in for this import only, as `python -m` would.
    here, before = str(Path.cwd()), sys.path.copy()
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # the user's own module can raise anything when it is imported
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"expected {name!r} to be importable as module:function, got {said}") from error
    finally:
        sys.path[:] = before
    if not callable(found):
        raise InputError(f"expected {name!r} to be a function, got {type(found).__name__}")
    return found


def number(text: Any) -> Any:
    """`8/255` as a number; everything else unchanged.

    >>> number("1/4"), number(3)
    (0.25, 3)
    """
    if isinstance(text, str) and "/" in text:
        try:
            return float(Fraction(text.replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            return text
    return text


def _accept(annotation: Any) -> Any:
    """The annotation with every float accepting fractions and every `Room` accepting a part."""
    if annotation is float:
        return Annotated[float, BeforeValidator(number)]
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        rooms = [item for item in args[1:] if isinstance(item, Room)]
        if rooms:
            return Annotated[Any, BeforeValidator(_part_of(rooms[0].name))]
        return Annotated[(_accept(args[0]), *args[1:])]  # type: ignore[return-value]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_accept(arg) for arg in args)]  # noqa: UP007 (built from a tuple)
    if origin in (list, tuple, dict):
        return origin[tuple(arg if arg is Ellipsis else _accept(arg) for arg in args)]
    return annotation


def _part_of(room: str) -> Callable[[Any, ValidationInfo], Any]:
    def check(value: Any, info: ValidationInfo) -> Any:
        return None if value is None else configure(room, value, trust=bool((info.context or {}).get("trust")))

    return check


@cache
def settings(function: Callable[..., Any]) -> type[BaseModel]:
    """The keyword-only parameters of a function as a pydantic model that forbids anything else."""
    hints = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (_accept(hints.get(name, Any)), default)
    config = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True, protected_namespaces=())
    return create_model(function.__name__, __config__=config, **fields)


def configure(room: str, spec: Any, *, trust: bool = False) -> Part:
    """Check a spec (`"pgd"`, `{"use": "pgd", "steps": 40}` or a Part) and return the part, not yet made.

    A threat may be two words: `linf 8/255` is `{"use": "linf", "eps": "8/255"}`.
    """
    if isinstance(spec, Part):
        return spec
    if isinstance(spec, str):
        first, _, second = spec.strip().partition(" ")
        short = room in SECOND and second.strip()
        spec = {"use": first, SECOND[room]: second.strip()} if short else {"use": spec}
    if not isinstance(spec, Mapping) or not isinstance(spec.get("use"), str):
        raise InputError(f"expected a part of {room} as a name or as {{use: NAME, ...}}, got {_short(spec)}")
    name = plain(spec["use"])
    model = settings(find(room, name, trust=trust))
    given = {key: value for key, value in spec.items() if key != "use"}
    try:
        checked = model.model_validate(given, context={"trust": trust})
    except ValidationError as error:
        raise InputError(complaint(error, name, model)) from error
    values = tuple((key, getattr(checked, key)) for key in model.model_fields)
    return Part(room, name, values, trust and ":" in name)


@dataclass(frozen=True)
class Shelf:
    """The parts of a room as functions of their settings: `objectives.trades(beta=6, ...)` is the part, checked.

    What the room injects (the rest of the signature) is passed by whoever uses the part.

    >>> print(Shelf("schedules").sawtooth(teeth=2))
    sawtooth(teeth=2)
    """

    room: str

    def __getattr__(self, name: str) -> Callable[..., Part]:
        try:
            function = find(self.room, name)
        except InputError as error:
            raise AttributeError(str(error)) from None

        def part(**settings: Any) -> Part:
            return configure(self.room, {"use": name, **settings})

        part.__name__, part.__doc__ = name, function.__doc__
        known = inspect.signature(function).parameters.values()
        configured = [each for each in known if each.kind is each.KEYWORD_ONLY]
        part.__signature__ = inspect.Signature(configured, return_annotation=Part)  # type: ignore[attr-defined]
        return part

    def __dir__(self) -> list[str]:
        return names(self.room)


objectives, pruning = Shelf("objectives"), Shelf("pruning")
"""`train(..., objective=objectives.trades(...), compress=pruning.admm(...))`."""


def worst(error: ValidationError) -> Mapping[str, Any]:
    """The one thing to say first: a mistyped key explains the key that is missing."""
    found = error.errors(include_url=False)
    return next((one for one in found if one["type"] == "extra_forbidden"), found[0])


def complaint(error: ValidationError, where: str, model: type[BaseModel]) -> str:
    """The first thing a pydantic error says, as one sentence with a near match for a mistyped key."""
    first = worst(error)
    path = ".".join([where, *(str(step) for step in first["loc"])])
    key = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return f"{where} has no setting {key!r}{near(key, model.model_fields)}"
    if first["type"] == "missing":
        return f"{where} needs a value for {key!r}"
    if isinstance(first.get("ctx", {}).get("error"), InputError):
        return f"{path}: {first['ctx']['error']}"
    return f"{path}: {first['msg'][0].lower()}{first['msg'][1:]}, got {_short(first['input'])}"


def _short(value: Any, most: int = 60) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= most else text[: most - 3] + "..."
