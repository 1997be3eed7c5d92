"""Wide ResNets for small images (Zagoruyko & Komodakis 2016, arXiv:1605.07146, table 1): depth - factor.

36,479,194 parameters for WRN-28-10 at 3x32x32 and 10 classes. Without dropout.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from bantamweight.models._normalize import check_input
from bantamweight.models.preact_resnet18 import Basic, PreActResNet

__all__ = ["wrn_16_4", "wrn_28_4", "wrn_28_10", "wrn_34_10", "wrn_40_2"]


def _wide(
    depth: int, factor: int, channels: int, classes: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> nn.Module:
    widths = [factor * width for width in (16, 32, 64)]
    return PreActResNet(Basic, 16, widths, [(depth - 4) // 6] * 3, channels, classes, False, mean, std)


def wrn_28_10(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """A net widened tenfold; choose it as the large net of small images. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(weight.numel() for weight in wrn_28_10().parameters())
    36479194
    """
    check_input(channels=channels, classes=classes, size=size)
    return _wide(28, 10, channels, classes, mean, std)


def wrn_16_4(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """Two blocks a stage, four times as wide as a ResNet; see `wrn_28_10`."""
    check_input(channels=channels, classes=classes, size=size)
    return _wide(16, 4, channels, classes, mean, std)


def wrn_28_4(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """Four blocks a stage, four times as wide as a ResNet; see `wrn_28_10`."""
    check_input(channels=channels, classes=classes, size=size)
    return _wide(28, 4, channels, classes, mean, std)


def wrn_34_10(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """Five blocks a stage, ten times as wide as a ResNet; see `wrn_28_10`."""
    check_input(channels=channels, classes=classes, size=size)
    return _wide(34, 10, channels, classes, mean, std)


def wrn_40_2(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """Six blocks a stage, twice as wide as a ResNet; see `wrn_28_10`."""
    check_input(channels=channels, classes=classes, size=size)
    return _wide(40, 2, channels, classes, mean, std)
