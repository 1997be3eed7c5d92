"""A study (YAML) becomes jobs, jobs become facts. `run` does a whole study; the store keeps what is finished."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bantamweight.studies.execute import Progress, Run, run
    from bantamweight.studies.spec import bundled, read
    from bantamweight.studies.store import Store, clean

_HOMES = {
    "Progress": "execute",
    "Run": "execute",
    "Store": "store",
    "bundled": "spec",
    "clean": "store",
    "read": "spec",
    "run": "execute",
}

__all__ = ["Progress", "Run", "Store", "bundled", "clean", "read", "run"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the room imports nothing heavy."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
