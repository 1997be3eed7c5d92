"""Architectures, one family per file; how a program is read, and how any model is measured and folded.

Every net takes images in [0, 1] of `size` x `size` pixels (at least 8) with any number of channels and classes, and
normalises them itself. A name in a study or on the command line is a function of this room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.models._fold import folded
    from bantamweight.models._profile import Layer, Profile, profile
    from bantamweight.models._program import Program, read_program
    from bantamweight.models._weights import read_weights

ALSO = {"resnet32": "resnet20", "resnet44": "resnet20", "resnet56": "resnet20"}
"""Nets that share a file with another."""

_HOMES = {
    "Layer": "_profile",
    "Profile": "_profile",
    "Program": "_program",
    "folded": "_fold",
    "profile": "_profile",
    "read_program": "_program",
    "read_weights": "_weights",
}

__all__ = [
    "ALSO",
    "Layer",
    "Profile",
    "Program",
    "folded",
    "profile",
    "read_program",
    "read_weights",
]

__getattr__, __dir__ = lazy(__name__, _HOMES)
