"""Image data: one source per file, decoded once to uint8 tensors, with what turned a file into a tensor recorded.

`load` reads a named source or a path; every other file without an underscore is a source a study can name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.data._augment import augment, augmentations
    from bantamweight.data._core import Data, Preprocessing, Split, align, evaluation_split
    from bantamweight.data._leakage import dhash, leaks
    from bantamweight.data._load import load

ALSO = {"cifar100": "cifar10"}
"""Sources that share a file with another."""

_HOMES = {
    "Data": "_core",
    "Preprocessing": "_core",
    "Split": "_core",
    "align": "_core",
    "augment": "_augment",
    "augmentations": "_augment",
    "dhash": "_leakage",
    "evaluation_split": "_core",
    "leaks": "_leakage",
    "load": "_load",
}

__all__ = [
    "ALSO",
    "Data",
    "Preprocessing",
    "Split",
    "align",
    "augment",
    "augmentations",
    "dhash",
    "evaluation_split",
    "leaks",
    "load",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)
