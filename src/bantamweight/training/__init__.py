"""One training loop on Lightning Fabric; what it minimises, with which optimizer and schedule, are parts of their own.

`train` continues a variant or a bare module, `fresh` makes an untrained variant from a seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.training._core import train
    from bantamweight.training._device import seeded
    from bantamweight.training._fresh import fresh
    from bantamweight.training._values import Loss, Objective, Row, Span, Step, Trained

_HOMES = {
    "Loss": "_values",
    "Objective": "_values",
    "Row": "_values",
    "Span": "_values",
    "Step": "_values",
    "Trained": "_values",
    "fresh": "_fresh",
    "seeded": "_device",
    "train": "_core",
}

__all__ = ["Loss", "Objective", "Row", "Span", "Step", "Trained", "fresh", "seeded", "train"]

__getattr__, __dir__ = lazy(__name__, _HOMES)
