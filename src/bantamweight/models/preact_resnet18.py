"""Pre-activation ResNets (He et al. 2016, arXiv:1603.05027, figure 1b): batch norm and ReLU before each convolution.

11,172,170 parameters for the one with 18 layers at 3x32x32 and 10 classes. The nets of 56 and 110 layers have 16, 32
and 64 channels, as on CIFAR-10 in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from bantamweight.models._forms import Form, for_imagenet, he_initialised
from bantamweight.models._normalize import Normalize, check_input
from bantamweight.types import Float, Images, Logits, Tensor

__all__ = ["Basic", "Bottleneck", "PreActResNet"]
__all__ += ["preact_resnet18", "preact_resnet34", "preact_resnet50", "preact_resnet56", "preact_resnet110"]

WIDE, NARROW = (64, 128, 256, 512), (16, 32, 64)


class Basic(nn.Module):
    """BN-ReLU-3x3 twice; `first` takes the shortcut after the first ReLU too, as for the block behind the stem."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = _projection(inputs, width, stride)
        self.after = first or len(self.shortcut) > 0

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """The block's answer, not activated."""
        active = self.relu1(self.bn1(features))
        inner = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return inner + self.shortcut(active if self.after else features)


class Bottleneck(nn.Module):
    """BN-ReLU before 1x1, 3x3 and 1x1 convolutions, the last four times as wide; `first` as in `Basic`."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu3 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.shortcut = _projection(inputs, 4 * width, stride)
        self.after = first or len(self.shortcut) > 0

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """The block's answer, not activated."""
        active = self.relu1(self.bn1(features))
        inner = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        inner = self.conv3(self.relu3(self.bn3(inner)))
        return inner + self.shortcut(active if self.after else features)


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False))


class PreActResNet(nn.Module):
    """A stem of `stem` channels, a stage per width, and the batch norm and ReLU that the last block lacks."""

    def __init__(
        self,
        block: type[Basic | Bottleneck],
        stem: int,
        widths: Sequence[int],
        counts: Sequence[int],
        channels: int,
        classes: int,
        imagenet: bool,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(channels, mean, std)
        self.stem = _imagenet_stem(channels, stem) if imagenet else nn.Conv2d(channels, stem, 3, padding=1, bias=False)
        stages, inputs = [], stem
        for number, (width, count) in enumerate(zip(widths, counts, strict=True)):
            blocks = []
            for index in range(count):
                stride = 2 if number > 0 and index == 0 else 1
                blocks.append(block(inputs, width, stride, number == index == 0))
                inputs = block.expansion * width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(inputs, classes)
        he_initialised(self)

    def forward(self, images: Images) -> Logits:
        """Logits."""
        features = self.relu(self.bn(self.stages(self.stem(self.normalize(images)))))
        return self.linear(self.pool(features).flatten(1))


def _imagenet_stem(channels: int, stem: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, stem, 7, stride=2, padding=3, bias=False), nn.MaxPool2d(3, stride=2, padding=1)
    )


def preact_resnet18(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """Basic blocks, 2 a stage; choose it to compare with robust training. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> sum(weight.numel() for weight in preact_resnet18().parameters())
    11172170
    """
    check_input(channels=channels, classes=classes, size=size)
    return PreActResNet(Basic, 64, WIDE, (2, 2, 2, 2), channels, classes, for_imagenet(form, size), mean, std)


def preact_resnet34(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """Basic blocks, 3, 4, 6 and 3 a stage; see `preact_resnet18`."""
    check_input(channels=channels, classes=classes, size=size)
    return PreActResNet(Basic, 64, WIDE, (3, 4, 6, 3), channels, classes, for_imagenet(form, size), mean, std)


def preact_resnet50(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """Bottlenecks, 3, 4, 6 and 3 a stage; see `preact_resnet18`."""
    check_input(channels=channels, classes=classes, size=size)
    return PreActResNet(Bottleneck, 64, WIDE, (3, 4, 6, 3), channels, classes, for_imagenet(form, size), mean, std)


def preact_resnet56(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """Nine narrow basic blocks a stage; choose it beside `resnet56`. `b c h w` to `b k`."""
    check_input(channels=channels, classes=classes, size=size)
    return PreActResNet(Basic, 16, NARROW, (9, 9, 9), channels, classes, False, mean, std)


def preact_resnet110(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """Eighteen narrow basic blocks a stage; choose it beside `resnet110`. `b c h w` to `b k`."""
    check_input(channels=channels, classes=classes, size=size)
    return PreActResNet(Basic, 16, NARROW, (18, 18, 18), channels, classes, False, mean, std)
