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

ALSO = {
    **dict.fromkeys(("resnet32", "resnet44", "resnet56", "resnet110"), "resnet20"),
    **dict.fromkeys(("resnet34", "resnet50", "resnet101", "resnet152"), "resnet18"),
    **dict.fromkeys(("preact_resnet34", "preact_resnet50", "preact_resnet56", "preact_resnet110"), "preact_resnet18"),
    **dict.fromkeys(("wrn_16_4", "wrn_28_4", "wrn_34_10", "wrn_40_2"), "wrn_28_10"),
    **dict.fromkeys(("vgg11", "vgg13", "vgg19"), "vgg16"),
    **dict.fromkeys(("plain32", "plain44", "plain56", "plain110"), "plain20"),
    "alexnet_ungrouped": "alexnet",
    "googlenet_bn": "googlenet",
}
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
