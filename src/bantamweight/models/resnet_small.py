"""ResNetSmall: three stages of two basic blocks (He et al. 2015).

2,777,674 parameters at 3x32x32 and 10 classes.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from bantamweight.models._normalize import Normalize, check_input
from bantamweight.types import Float, Tensor

__all__ = ["resnet_small"]

WIDTHS = (64, 128, 256)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut: the identity, or 1x1 + batch norm where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """The block's answer."""
        inner = self.relu1(self.bn1(self.conv1(features)))
        return self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(features))


def resnet_small(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """A wide residual net; choose it for accuracy. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> sum(weight.numel() for weight in resnet_small().parameters())
    2777674
    """
    check_input(channels=channels, classes=classes, size=size)
    stem = nn.Sequential(nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
    stages = OrderedDict()
    inputs = WIDTHS[0]
    for number, width in enumerate(WIDTHS, start=1):
        first = Block(inputs, width, stride=1 if number == 1 else 2)
        stages[f"stage{number}"] = nn.Sequential(first, Block(width, width, stride=1))
        inputs = width
    return nn.Sequential(
        OrderedDict(
            normalize=Normalize(channels, mean, std),
            stem=stem,
            **stages,
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(inputs, classes),
        )
    )
