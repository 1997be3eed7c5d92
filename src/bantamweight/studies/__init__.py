"""A study (YAML) becomes jobs, jobs become facts. `run` does a whole study; the store keeps what is finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

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

__getattr__, __dir__ = lazy(__name__, _HOMES)
