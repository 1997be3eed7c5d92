"""What a thing that was made is made of, as text: to know again whether two of them would do the same."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch

__all__ = ["fingerprint"]


def fingerprint(made: Any) -> str:
    """A hash over code, closures and settings, whatever the process: equal where two attacks would do the same.

    Functions count by their code and all that they close over or have as defaults, not by what they call by name.

    >>> def times(factor): return lambda value: value * factor
    >>> fingerprint(times(2)) == fingerprint(times(2)), fingerprint(times(2)) == fingerprint(times(3))
    (True, False)
    """
    digest = hashlib.blake2b(digest_size=16)
    for piece in _pieces(made, ()):
        digest.update(piece)
        digest.update(b"\x1f")
    return digest.hexdigest()


def _pieces(value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
    """The value in pieces; what it is part of itself (`above`) is not gone into again."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        yield repr(value).encode()
        return
    yield type(value).__qualname__.encode()
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif id(value) not in above:
        for part in _parts(value):
            yield from _pieces(part, (*above, id(value)))


def _parts(value: Any) -> Sequence[Any]:
    """What a composed value is composed of, in an order of its own."""
    if isinstance(value, types.CodeType):
        return [value.co_code, *(one for one in value.co_consts if not isinstance(one, str)), *value.co_names]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
        return [value.__qualname__, value.__code__, value.__defaults__, value.__kwdefaults__, cells]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, type | types.BuiltinFunctionType | types.ModuleType):
        return [value.__name__]
    if isinstance(value, Mapping):
        return [part for key in sorted(value, key=str) for part in (key, value[key])]
    if isinstance(value, Set):
        return sorted(value, key=str)
    if isinstance(value, Sequence):
        return value
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return [vars(value)] if hasattr(value, "__dict__") else []


def _filled(cell: types.CellType) -> bool:
    return cell != types.CellType()  # which is what a name that was never bound leaves
