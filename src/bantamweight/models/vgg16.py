"""VGG-11, 13, 16 and 19 (Simonyan & Zisserman 2014, arXiv:1409.1556, table 1, nets A, B, D and E).

VGG-16 has 138,357,544 parameters at 3x224x224 and 1,000 classes: three fully connected layers, no batch norm. The form
for small images has batch norm and one linear layer, 14,728,266 parameters at 3x32x32 and 10 classes. Names of weights
are the usual ones (features.0, ..., classifier.6).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from bantamweight.models._forms import Form, for_imagenet, he_initialised
from bantamweight.models._normalize import Normalize, check_input

__all__ = ["vgg11", "vgg13", "vgg16", "vgg19"]

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
GRID, HIDDEN = 7, 4096


def _vgg(
    depth: int,
    channels: int,
    classes: int,
    imagenet: bool,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> nn.Module:
    features: list[nn.Module] = []
    inputs = channels
    for width, count in zip(WIDTHS, DEPTHS[depth], strict=True):
        for _ in range(count):
            features.append(nn.Conv2d(inputs, width, 3, padding=1))
            features += [nn.ReLU()] if imagenet else [nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
        features.append(nn.MaxPool2d(2, ceil_mode=not imagenet))  # ceil lets images under 32 pixels through
    net = nn.Sequential(
        OrderedDict(
            normalize=Normalize(channels, mean, std),
            features=nn.Sequential(*features),
            pool=nn.AdaptiveAvgPool2d(GRID if imagenet else 1),
            flatten=nn.Flatten(),
            classifier=_three_layers(classes) if imagenet else nn.Linear(inputs, classes),
        )
    )
    return he_initialised(net)


def _three_layers(classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(WIDTHS[-1] * GRID * GRID, HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(HIDDEN, classes),
    )


def vgg16(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """A plain stack of 3x3 convolutions; choose it as the large old net. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> sum(weight.numel() for weight in vgg16().parameters())
    14728266
    """
    check_input(channels=channels, classes=classes, size=size)
    return _vgg(16, channels, classes, for_imagenet(form, size), mean, std)


def vgg11(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """VGG with eight convolutions and three linear layers, one where images are small; see `vgg16`."""
    check_input(channels=channels, classes=classes, size=size)
    return _vgg(11, channels, classes, for_imagenet(form, size), mean, std)


def vgg13(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """VGG with ten convolutions and three linear layers, one where images are small; see `vgg16`."""
    check_input(channels=channels, classes=classes, size=size)
    return _vgg(13, channels, classes, for_imagenet(form, size), mean, std)


def vgg19(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """VGG with sixteen convolutions and three linear layers, one where images are small; see `vgg16`."""
    check_input(channels=channels, classes=classes, size=size)
    return _vgg(19, channels, classes, for_imagenet(form, size), mean, std)
