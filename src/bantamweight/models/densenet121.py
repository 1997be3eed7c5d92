"""DenseNet-121 (Huang et al. 2016, arXiv:1608.06993, table 1; growth 32, compression 0.5, bottlenecks).

7,978,856 parameters at 3x224x224 and 1,000 classes; 6,956,298 at 3x32x32 and 10 classes, where the stem is a single 3x3
convolution. Names of weights are the usual ones (features.denseblock1.denselayer1.norm1, ..., classifier).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from bantamweight.models._forms import Form, for_imagenet, he_initialised
from bantamweight.models._normalize import Normalize, check_input
from bantamweight.types import Float, Tensor

__all__ = ["densenet121"]

GROWTH, WIDER, STEM = 32, 4, 64
COUNTS = (6, 12, 24, 16)


class DenseLayer(nn.Module):
    """BN-ReLU-1x1-BN-ReLU-3x3, whose answer is appended to what came in (section 3)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, WIDER * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(WIDER * GROWTH)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(WIDER * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        """The features, and 32 more channels."""
        inner = self.conv1(self.relu1(self.norm1(features)))
        return torch.cat([features, self.conv2(self.relu2(self.norm2(inner)))], 1)


def _transition(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(),
            conv=nn.Conv2d(inputs, inputs // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


def densenet121(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """Every layer reads all before it; choose it to test what concatenates. Images `b c h w` in [0, 1] to logits `b k`.

    Raises InputError when a size, a number of channels or of classes is impossible.

    >>> sum(weight.numel() for weight in densenet121().parameters())
    6956298
    """
    check_input(channels=channels, classes=classes, size=size)
    features: OrderedDict[str, nn.Module] = OrderedDict()
    if for_imagenet(form, size):
        features["conv0"] = nn.Conv2d(channels, STEM, 7, stride=2, padding=3, bias=False)
        features["norm0"] = nn.BatchNorm2d(STEM)
        features["relu0"] = nn.ReLU()
        features["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
    else:
        features["conv0"] = nn.Conv2d(channels, STEM, 3, padding=1, bias=False)
    inputs = STEM
    for number, count in enumerate(COUNTS, start=1):
        layers = {f"denselayer{index}": DenseLayer(inputs + (index - 1) * GROWTH) for index in range(1, count + 1)}
        features[f"denseblock{number}"] = nn.Sequential(OrderedDict(layers))
        inputs += count * GROWTH
        if number < len(COUNTS):
            features[f"transition{number}"] = _transition(inputs)
            inputs //= 2
    features["norm5"], features["relu5"] = nn.BatchNorm2d(inputs), nn.ReLU()
    net = nn.Sequential(
        OrderedDict(
            normalize=Normalize(channels, mean, std),
            features=nn.Sequential(features),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(inputs, classes),
        )
    )
    return he_initialised(net)
