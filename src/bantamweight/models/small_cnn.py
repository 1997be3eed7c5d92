"""SmallCNN: five convolutions and one linear layer.

141,610 parameters at 3x32x32 and 10 classes.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from bantamweight.models._normalize import Normalize, check_input

__all__ = ["small_cnn"]


def small_cnn(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """The smallest convolutional net here; choose it where bytes count. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> sum(weight.numel() for weight in small_cnn().parameters())
    141610
    """
    check_input(channels=channels, classes=classes, size=size)
    features = nn.Sequential(
        *_block(channels, 32),
        *_block(32, 32),
        nn.MaxPool2d(2),
        *_block(32, 64),
        *_block(64, 64),
        nn.MaxPool2d(2),
        *_block(64, 128),
        nn.AdaptiveAvgPool2d(1),
    )
    classifier = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(128), nn.Linear(128, classes))
    return nn.Sequential(
        OrderedDict(normalize=Normalize(channels, mean, std), features=features, classifier=classifier)
    )


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
