"""The pickles of the CIFAR archives, read without running anything in them.

A pickle is a program. Every function that it asks for is looked up here, in a list of five that build plain stand-ins;
anything else is refused before it is called. The stand-ins are turned into arrays afterwards, once they are checked.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bantamweight.data._text import clean
from bantamweight.errors import InputError

__all__ = ["read_pickle"]

_DTYPE = re.compile(r"[|<>=]?[ui][1248]")


class _Dtype:
    """What stands for a numpy dtype."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = _text(code)
        self.order = ""

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])

    def checked(self) -> np.dtype[Any]:
        if not _DTYPE.fullmatch(self.code):
            raise ValueError(f"an array of {self.code!r}")
        return np.dtype(self.order + self.code.lstrip("|<>=") if self.order in ("<", ">") else self.code)


class _Array:
    """What stands for a numpy array until everything has been read."""

    def __init__(self, *_: Any) -> None:
        self.shape: Any = ()
        self.dtype: Any = None
        self.data: Any = b""
        self.fortran = False

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def checked(self) -> np.ndarray:
        shape = tuple(self.shape)
        if not isinstance(self.dtype, _Dtype) or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise ValueError("an array without a proper type or shape")
        data = self.data.encode("latin1") if isinstance(self.data, str) else bytes(self.data)
        dtype = self.dtype.checked()
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError("an array whose size does not match its shape")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if self.fortran else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _encode(text: Any, codec: Any = "latin1", *_: Any) -> bytes:
    """How Python 3 writes bytes for Python 2 (`_codecs.encode`), for that one codec."""
    if codec not in ("latin1", "latin-1") or not isinstance(text, str):
        raise ValueError(f"text in {codec!r}")
    return text.encode("latin1")


class _Maker:
    """What a pickle gets instead of a function: it can be called, but not altered for those who come after."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("an attempt to alter a function")


_ALLOWED: dict[tuple[str, str], _Maker] = {
    ("numpy", "ndarray"): _Maker(_Array),
    ("numpy", "dtype"): _Maker(_Dtype),
    ("_codecs", "encode"): _Maker(_encode),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Maker(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Maker(_frombuffer) for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            asked = clean(f"{module}.{name}")
            raise InputError(f"it asks for {asked}, which a CIFAR file does not need; nothing in it was run")
        return _ALLOWED[module, name]


def read_pickle(content: bytes, *, name: str) -> dict[str, Any]:
    """A dictionary of plain values and integer arrays, keys as text.

    Raises InputError that begins with `name` when the pickle asks for anything else, is broken, or holds no dictionary.
    """
    try:
        found = _Reader(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(found, Mapping):
            raise ValueError(f"a {type(found).__name__} instead of a dictionary")
        plain = {_text(key): value.checked() if isinstance(value, _Array) else value for key, value in found.items()}
    except InputError as error:
        raise InputError(f"{name}: refused, because {error}") from error
    # A hostile or broken pickle can raise nearly anything on its way; each means that the file is not usable.
    except Exception as error:
        reason = clean(str(error)) or type(error).__name__
        raise InputError(f"{name}: expected a CIFAR batch, got a broken pickle ({reason}); fetch it again") from error
    return plain


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
