"""Nets small enough to know what a cut must do."""

from __future__ import annotations

from torch import nn

__all__ = ["chain"]


def chain() -> nn.Module:
    """Two convolutions of four 1 x 1 filters each, and a layer that adds up what is left."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 4, 1, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
