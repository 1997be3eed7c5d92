"""Plain nets of 20 to 110 layers: the ResNets of CIFAR-10 without their shortcuts (He et al. 2015, section 4.2).

269,722 parameters for 20 layers at 3x32x32 and 10 classes, as many as ResNet-20, whose shortcuts have none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import nn

from bantamweight.models._forms import he_initialised
from bantamweight.models._normalize import Normalize, check_input

__all__ = ["plain20", "plain32", "plain44", "plain56", "plain110"]

WIDTHS = (16, 32, 64)
Activation = Literal["relu", "sigmoid", "tanh"]
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def _plain(
    depth: int,
    activation: Activation,
    batch_norm: bool,
    channels: int,
    classes: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> nn.Module:
    def layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=not batch_norm)
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        return nn.Sequential(convolution, *norm, ACTIVATIONS[activation]())

    stages = OrderedDict()
    inputs = WIDTHS[0]
    for number, width in enumerate(WIDTHS, start=1):
        first = layer(inputs, width, stride=1 if number == 1 else 2)
        rest = (layer(width, width, stride=1) for _ in range((depth - 2) // 3 - 1))
        stages[f"stage{number}"] = nn.Sequential(first, *rest)
        inputs = width
    net = nn.Sequential(
        OrderedDict(
            normalize=Normalize(channels, mean, std),
            stem=layer(channels, WIDTHS[0], stride=1),
            **stages,
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(inputs, classes),
        )
    )
    return he_initialised(net)


def plain20(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    activation: Activation = "relu",
    batch_norm: bool = True,
) -> nn.Module:
    """ResNet-20 without shortcuts; choose it to see what they do. Images `b c h w` in [0, 1] to logits `b k`.

    `activation` and `batch_norm` are what the nets of before had otherwise. Raises InputError when a size, a number of
    channels or of classes is impossible.

    >>> sum(weight.numel() for weight in plain20().parameters())
    269722
    """
    check_input(channels=channels, classes=classes, size=size)
    return _plain(20, activation, batch_norm, channels, classes, mean, std)


def plain32(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    activation: Activation = "relu",
    batch_norm: bool = True,
) -> nn.Module:
    """Thirty-two layers without shortcuts; see `plain20`."""
    check_input(channels=channels, classes=classes, size=size)
    return _plain(32, activation, batch_norm, channels, classes, mean, std)


def plain44(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    activation: Activation = "relu",
    batch_norm: bool = True,
) -> nn.Module:
    """Forty-four layers without shortcuts; see `plain20`."""
    check_input(channels=channels, classes=classes, size=size)
    return _plain(44, activation, batch_norm, channels, classes, mean, std)


def plain56(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    activation: Activation = "relu",
    batch_norm: bool = True,
) -> nn.Module:
    """Fifty-six layers without shortcuts; see `plain20`."""
    check_input(channels=channels, classes=classes, size=size)
    return _plain(56, activation, batch_norm, channels, classes, mean, std)


def plain110(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    activation: Activation = "relu",
    batch_norm: bool = True,
) -> nn.Module:
    """A hundred and ten layers without shortcuts; see `plain20`."""
    check_input(channels=channels, classes=classes, size=size)
    return _plain(110, activation, batch_norm, channels, classes, mean, std)
