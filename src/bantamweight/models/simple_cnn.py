"""SimpleCNN: three convolutions and two linear layers.

620,810 parameters at 3x32x32 and 10 classes.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from bantamweight.models._normalize import Normalize, check_input

__all__ = ["simple_cnn"]


def simple_cnn(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """A small and fast convolutional net; choose it first. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> sum(weight.numel() for weight in simple_cnn().parameters())
    620810
    """
    check_input(channels=channels, classes=classes, size=size)
    features = nn.Sequential(
        *_block(channels, 32),
        nn.MaxPool2d(2),
        *_block(32, 64),
        nn.MaxPool2d(2),
        *_block(64, 128),
        nn.AdaptiveAvgPool2d(4),
    )
    classifier = nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(128 * 4 * 4, 256),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(256, classes),
    )
    return nn.Sequential(
        OrderedDict(normalize=Normalize(channels, mean, std), features=features, classifier=classifier)
    )


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
