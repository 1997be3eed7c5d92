"""ResNet-18, 34, 50, 101 and 152 (He et al. 2015, arXiv:1512.03385, table 1), shortcuts of option B.

ResNet-50 has 25,557,032 parameters at 3x224x224 and 1,000 classes; ResNet-18 for small images (3x3 stem, no pooling)
has 11,173,962 at 3x32x32 and 10 classes. Names of weights are the usual ones (conv1, bn1, layer1.0.conv1, ..., fc).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from bantamweight.models._forms import Form, for_imagenet, he_initialised
from bantamweight.models._normalize import Normalize, check_input
from bantamweight.types import Float, Images, Logits, Tensor

__all__ = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

WIDTHS = (64, 128, 256, 512)
Halving = Literal["3x3", "1x1"]


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Option B: a 1x1 convolution with batch norm where the shape changes; otherwise empty, which is the identity."""
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut (figure 5, left)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(inputs, width, stride)
        self.relu2 = nn.ReLU()

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """The block's answer."""
        inner = self.relu1(self.bn1(self.conv1(features)))
        return self.relu2(self.bn2(self.conv2(inner)) + self.downsample(features))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, and a shortcut (figure 5, right)."""

    def __init__(self, inputs: int, width: int, stride: int, halving: Halving) -> None:
        super().__init__()
        first, second = (1, stride) if halving == "3x3" else (stride, 1)
        self.conv1 = nn.Conv2d(inputs, width, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride=second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = projection(inputs, 4 * width, stride)
        self.relu3 = nn.ReLU()

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """The block's answer."""
        inner = self.relu1(self.bn1(self.conv1(features)))
        inner = self.relu2(self.bn2(self.conv2(inner)))
        return self.relu3(self.bn3(self.conv3(inner)) + self.downsample(features))


class ResNet(nn.Module):
    """A stem, four stages and a linear layer; `halving` makes the blocks bottlenecks and says which layer strides."""

    def __init__(
        self,
        counts: Sequence[int],
        halving: Halving | None,
        channels: int,
        classes: int,
        imagenet: bool,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(channels, mean, std)
        kernel, stride = (7, 2) if imagenet else (3, 1)
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if imagenet else nn.Identity()
        expansion = 4 if halving else 1
        inputs = (WIDTHS[0], *(expansion * width for width in WIDTHS))
        self.layer1 = _stage(inputs[0], WIDTHS[0], counts[0], 1, halving)
        self.layer2 = _stage(inputs[1], WIDTHS[1], counts[1], 2, halving)
        self.layer3 = _stage(inputs[2], WIDTHS[2], counts[2], 2, halving)
        self.layer4 = _stage(inputs[3], WIDTHS[3], counts[3], 2, halving)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs[4], classes)
        he_initialised(self)

    def forward(self, images: Images) -> Logits:
        """Logits."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(self.normalize(images)))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.fc(self.avgpool(features).flatten(1))


def _stage(inputs: int, width: int, count: int, stride: int, halving: Halving | None) -> nn.Sequential:
    if halving is None:
        return nn.Sequential(Basic(inputs, width, stride), *(Basic(width, width, 1) for _ in range(count - 1)))
    first = Bottleneck(inputs, width, stride, halving)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1, halving) for _ in range(count - 1)))


def resnet18(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """Basic blocks, 2 a stage; choose it to compare with the literature. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> sum(weight.numel() for weight in resnet18().parameters())
    11173962
    """
    check_input(channels=channels, classes=classes, size=size)
    return ResNet((2, 2, 2, 2), None, channels, classes, for_imagenet(form, size), mean, std)


def resnet34(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """Basic blocks, 3, 4, 6 and 3 a stage; see `resnet18`."""
    check_input(channels=channels, classes=classes, size=size)
    return ResNet((3, 4, 6, 3), None, channels, classes, for_imagenet(form, size), mean, std)


def resnet50(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
    halving: Halving = "3x3",
) -> nn.Module:
    """Bottlenecks, 3, 4, 6 and 3 a stage; see `resnet18`. `halving` is the layer of a block that halves the image.

    The paper's is "1x1" (3.86 G MACs at 224 pixels); public weights are mostly for "3x3" (4.09 G).
    """
    check_input(channels=channels, classes=classes, size=size)
    return ResNet((3, 4, 6, 3), halving, channels, classes, for_imagenet(form, size), mean, std)


def resnet101(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
    halving: Halving = "3x3",
) -> nn.Module:
    """Bottlenecks, 3, 4, 23 and 3 a stage; see `resnet50`."""
    check_input(channels=channels, classes=classes, size=size)
    return ResNet((3, 4, 23, 3), halving, channels, classes, for_imagenet(form, size), mean, std)


def resnet152(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
    halving: Halving = "3x3",
) -> nn.Module:
    """Bottlenecks, 3, 8, 36 and 3 a stage; see `resnet50`."""
    check_input(channels=channels, classes=classes, size=size)
    return ResNet((3, 8, 36, 3), halving, channels, classes, for_imagenet(form, size), mean, std)
