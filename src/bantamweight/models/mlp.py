"""MLP: three hidden layers.

1,723,466 parameters at 3x32x32 and 10 classes.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from bantamweight.errors import InputError
from bantamweight.models._normalize import Normalize, check_input

__all__ = ["mlp"]

WIDTHS = (512, 256, 64)
MOST_INPUTS = 1 << 20


def mlp(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """A net without convolutions; choose it as the contrast. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible, or there are over 2^20 inputs.

    >>> sum(weight.numel() for weight in mlp().parameters())
    1723466
    """
    check_input(channels=channels, classes=classes, size=size)
    inputs = channels * size * size
    if inputs > MOST_INPUTS:
        raise InputError(f"expected at most {MOST_INPUTS:,} numbers per image for an mlp, got {inputs:,}; use a CNN")
    layers: list[nn.Module] = [nn.Flatten()]
    for width in WIDTHS:
        layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
        inputs = width
    layers.append(nn.Linear(inputs, classes))
    return nn.Sequential(OrderedDict(normalize=Normalize(channels, mean, std), layers=nn.Sequential(*layers)))
