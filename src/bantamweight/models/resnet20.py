"""ResNet-20, 32, 44, 56 and 110 for small images (He et al. 2015, section 4.2), with shortcuts of option A.

269,722 parameters for ResNet-20 at 3x32x32 and 10 classes. Names of weights are the usual ones (conv1, bn1,
layer1.0.conv1, ..., linear), so that public weights load.
"""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from bantamweight.models._normalize import Normalize, check_input
from bantamweight.types import Float, Images, Logits, Tensor

__all__ = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]


class Shortcut(nn.Module):
    """Option A: every second pixel, and zeros for the channels that are new; no parameters."""

    def __init__(self, added: int) -> None:
        super().__init__()
        self.before = added // 2
        self.after = added - added // 2

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """The subsampled and padded features."""
        return F.pad(features[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Identity() if stride == 1 else Shortcut(outputs - inputs)

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """The block's answer."""
        inner = self.relu1(self.bn1(self.conv1(features)))
        return self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(features))


class ResNet(nn.Module):
    """A stem and three stages of `blocks` blocks with 16, 32 and 64 channels; 6 * blocks + 2 layers."""

    def __init__(
        self, blocks: int, channels: int, classes: int, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
    ) -> None:
        super().__init__()
        self.normalize = Normalize(channels, mean, std)
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, blocks)
        self.layer2 = _stage(16, 32, blocks)
        self.layer3 = _stage(32, 64, blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)

    def forward(self, images: Images) -> Logits:
        """Logits."""
        features = self.relu(self.bn1(self.conv1(self.normalize(images))))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.linear(self.pool(features).flatten(1))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride=1 if inputs == outputs else 2)
    return nn.Sequential(first, *(Block(outputs, outputs, stride=1) for _ in range(blocks - 1)))


def resnet20(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """The usual small residual net of CIFAR-10; choose it to compare with the literature. `b c h w` to `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> sum(weight.numel() for weight in resnet20().parameters())
    269722
    """
    check_input(channels=channels, classes=classes, size=size)
    return ResNet(3, channels, classes, mean, std)


def resnet32(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """ResNet-20 with five blocks a stage; see `resnet20`."""
    check_input(channels=channels, classes=classes, size=size)
    return ResNet(5, channels, classes, mean, std)


def resnet44(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """ResNet-20 with seven blocks a stage; see `resnet20`."""
    check_input(channels=channels, classes=classes, size=size)
    return ResNet(7, channels, classes, mean, std)


def resnet56(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """ResNet-20 with nine blocks a stage; see `resnet20`."""
    check_input(channels=channels, classes=classes, size=size)
    return ResNet(9, channels, classes, mean, std)


def resnet110(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """ResNet-20 with eighteen blocks a stage; see `resnet20`."""
    check_input(channels=channels, classes=classes, size=size)
    return ResNet(18, channels, classes, mean, std)
