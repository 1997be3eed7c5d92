"""Where a model runs when it is not being attacked: an artifact in, a callable out, and how long it takes.

Every file without an underscore is a runtime that a study can name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bantamweight.runtimes._core import Parity, Session, compare, pinned, prepare
    from bantamweight.runtimes._latency import measure
    from bantamweight.runtimes._onnx import export_onnx

_HOMES = {
    "Parity": "_core",
    "Session": "_core",
    "compare": "_core",
    "export_onnx": "_onnx",
    "measure": "_latency",
    "pinned": "_core",
    "prepare": "_core",
}

__all__ = ["Parity", "Session", "compare", "export_onnx", "measure", "pinned", "prepare"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the room does not import torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
