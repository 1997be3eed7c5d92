"""Score, allocate, cut: a criterion scores weights, an allocation turns scores into masks, a cut makes a new variant.

Every file without an underscore is a criterion that a study can name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.compression._bitmap import load_bitmap, save_bitmap, sizes
    from bantamweight.compression._core import (
        Achieved,
        Criterion,
        allocate,
        compress,
        cut,
        global_masks,
        measure,
        per_layer_masks,
        prunable,
        score,
        select,
    )
    from bantamweight.compression._sensitivity import Reading, sensitivity

_HOMES = {
    "Achieved": "_core",
    "Criterion": "_core",
    "Reading": "_sensitivity",
    "allocate": "_core",
    "compress": "_core",
    "cut": "_core",
    "global_masks": "_core",
    "load_bitmap": "_bitmap",
    "measure": "_core",
    "per_layer_masks": "_core",
    "prunable": "_core",
    "save_bitmap": "_bitmap",
    "score": "_core",
    "select": "_core",
    "sensitivity": "_sensitivity",
    "sizes": "_bitmap",
}

__all__ = [
    "Achieved",
    "Criterion",
    "Reading",
    "allocate",
    "compress",
    "cut",
    "global_masks",
    "load_bitmap",
    "measure",
    "per_layer_masks",
    "prunable",
    "save_bitmap",
    "score",
    "select",
    "sensitivity",
    "sizes",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)
