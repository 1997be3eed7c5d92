"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2): inverted residuals with linear bottlenecks.

3,504,872 parameters at 3x224x224 and 1,000 classes; 2,236,682 at 3x32x32 and 10 classes, where the stem and the second
stage don't stride. Names of weights are the usual ones (features.1.conv.0.0, ..., classifier.1).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from bantamweight.errors import InputError
from bantamweight.models._forms import Form, for_imagenet, he_initialised
from bantamweight.models._normalize import Normalize, check_input
from bantamweight.types import Float, Tensor

__all__ = ["mobilenet_v2"]

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion t, channels c, repeats n and stride s of table 2."""
STEM, LAST = 32, 1280


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, project back without a nonlinearity."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        layers = [] if expansion == 1 else [_unit(inputs, inner, 1)]
        self.conv = nn.Sequential(
            *layers,
            _unit(inner, inner, 3, stride=stride, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        """The block's answer."""
        return self.conv(features) + features if self.shortcut else self.conv(features)


def _unit(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


def mobilenet_v2(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
    width: float = 1.0,
) -> nn.Module:
    """Depthwise convolutions; choose it for few MACs. Images `b c h w` in [0, 1] to logits `b k`.

    `width` multiplies all channels, to the nearest multiple of 8 (section 6.1). Raises InputError when a size, a number
    of channels or of classes, or a width is impossible.

    >>> sum(weight.numel() for weight in mobilenet_v2().parameters())
    2236682
    """
    check_input(channels=channels, classes=classes, size=size)
    if not 0.1 <= width <= 4:
        raise InputError(f"expected a width of 0.1 to 4, got width={width}")
    imagenet = for_imagenet(form, size)
    inputs = _rounded(STEM * width)
    features: list[nn.Module] = [_unit(channels, inputs, 3, stride=2 if imagenet else 1)]
    for number, (expansion, wide, count, stride) in enumerate(STAGES):
        outputs = _rounded(wide * width)
        for repeat in range(count):
            strides = stride if repeat == 0 and (imagenet or number != 1) else 1
            features.append(InvertedResidual(inputs, outputs, strides, expansion))
            inputs = outputs
    last = _rounded(LAST * max(1.0, width))
    features.append(_unit(inputs, last, 1))
    net = nn.Sequential(
        OrderedDict(
            normalize=Normalize(channels, mean, std),
            features=nn.Sequential(*features),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes)),
        )
    )
    return he_initialised(net)


def _rounded(width: float) -> int:
    """The nearest multiple of 8, never more than 10% below."""
    nearest = max(8, int(width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * width else nearest
