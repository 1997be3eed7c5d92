"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842, table 1), as in the paper, with batch norm, and for small images.

At 3x224x224 and 1,000 classes: 6,998,552 parameters as in the paper (5x5 convolutions, biases, no batch norm) and
13,378,280 with the two auxiliary heads; 6,624,904 in the widespread variant `googlenet_bn`, which has batch norm, no
biases and 3x3 convolutions where the paper has 5x5. The form for small images has 6,166,250 at 3x32x32 and 10 classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import nn

from bantamweight.models._forms import Form, for_imagenet, he_initialised
from bantamweight.models._normalize import Normalize, check_input
from bantamweight.types import Float, Images, Logits, Tensor

__all__ = ["Inception", "NaiveInception", "googlenet", "googlenet_bn"]

Convolve = Callable[[int, int, int], nn.Module]
"""Inputs, outputs and kernel to a convolution with what follows it."""


class Widths(NamedTuple):
    """A row of table 1: channels of the 1x1 branch, of the others and their reductions, of the pool's projection."""

    ones: int
    reduce3: int
    threes: int
    reduce5: int
    fives: int
    pooled: int


TABLE = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
STEM, AUXILIARY = (64, 192), 1024


class Inception(nn.Module):
    """Four branches side by side, the large kernels behind 1x1 reductions (figure 2b)."""

    def __init__(
        self, inputs: int, widths: Widths, convolve: Convolve, fives: Literal["5x5", "3x3", "3x3 twice"]
    ) -> None:
        super().__init__()
        self.outputs = widths.ones + widths.threes + widths.fives + widths.pooled
        self.ones = convolve(inputs, widths.ones, 1)
        self.threes = nn.Sequential(convolve(inputs, widths.reduce3, 1), convolve(widths.reduce3, widths.threes, 3))
        kernel = 5 if fives == "5x5" else 3
        last = [convolve(widths.fives, widths.fives, 3)] if fives == "3x3 twice" else []
        self.fives = nn.Sequential(
            convolve(inputs, widths.reduce5, 1), convolve(widths.reduce5, widths.fives, kernel), *last
        )
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolve(inputs, widths.pooled, 1))

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        """The branches' answers, channel after channel."""
        return torch.cat([self.ones(features), self.threes(features), self.fives(features), self.pooled(features)], 1)


class NaiveInception(nn.Module):
    """The same without reductions (figure 2a): the pool passes on all its inputs, so the channels can only grow."""

    def __init__(self, inputs: int, widths: Widths, convolve: Convolve) -> None:
        super().__init__()
        self.outputs = widths.ones + widths.threes + widths.fives + inputs
        self.ones = convolve(inputs, widths.ones, 1)
        self.threes = convolve(inputs, widths.threes, 3)
        self.fives = convolve(inputs, widths.fives, 5)
        self.pooled = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, features: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        """The branches' answers, channel after channel."""
        return torch.cat([self.ones(features), self.threes(features), self.fives(features), self.pooled(features)], 1)


class Auxiliary(nn.Module):
    """A head on an inner module, there to train with: 5x5 pooling, a 1x1 convolution and two linear layers."""

    def __init__(self, inputs: int, classes: int, convolve: Convolve) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = convolve(inputs, 128, 1)
        self.linear1 = nn.Linear(128 * 4 * 4, AUXILIARY)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.7)
        self.linear2 = nn.Linear(AUXILIARY, classes)

    def forward(self, features: Float[Tensor, "b i h w"]) -> Logits:
        """Logits of this head."""
        inner = self.conv(self.pool(features)).flatten(1)
        return self.linear2(self.dropout(self.relu(self.linear1(inner))))


class GoogLeNet(nn.Module):
    """A stem, nine inception modules, a linear layer; `auxiliary1` and `auxiliary2` exist where they were asked for."""

    def __init__(
        self,
        stem: nn.Module,
        module: Callable[[int, Widths], Inception | NaiveInception],
        pools: tuple[nn.Module, nn.Module],
        dropout: float,
        normalize: Normalize,
        classes: int,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.stem = stem
        inputs = STEM[1]
        stages: dict[str, list[nn.Module]] = {"3": [], "4": [], "5": []}
        for name, widths in TABLE.items():
            block = module(inputs, widths)
            stages[name[0]].append(block)
            inputs = block.outputs
        self.stage3, self.pool3 = nn.Sequential(*stages["3"]), pools[0]
        self.stage4, self.pool4 = nn.Sequential(*stages["4"]), pools[1]
        self.stage5 = nn.Sequential(*stages["5"])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(inputs, classes)
        self.auxiliary1: nn.Module | None = None
        self.auxiliary2: nn.Module | None = None

    def forward(self, images: Images) -> Logits:
        """Logits of the main head."""
        features = self.pool3(self.stage3(self.stem(self.normalize(images))))
        features = self.stage5(self.pool4(self.stage4(features)))
        return self.linear(self.dropout(self.pool(features).flatten(1)))

    def all_logits(self, images: Images) -> tuple[Logits, Logits, Logits]:
        """Logits of the main head and of the two auxiliary ones, whose losses the paper adds at weight 0.3."""
        assert self.auxiliary1 is not None
        assert self.auxiliary2 is not None
        blocks = list(self.stage4)
        first = blocks[0](self.pool3(self.stage3(self.stem(self.normalize(images)))))
        second = first
        for block in blocks[1:4]:
            second = block(second)
        features = self.stage5(self.pool4(blocks[4](second)))
        main = self.linear(self.dropout(self.pool(features).flatten(1)))
        return main, self.auxiliary1(first), self.auxiliary2(second)


def _plain(inputs: int, outputs: int, kernel: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU())


def _normed(inputs: int, outputs: int, kernel: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _unbiased(inputs: int, outputs: int, kernel: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps=0.001), nn.ReLU())


def _halve() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _response() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)


def _stem(channels: int, convolve: Convolve, response: bool) -> nn.Module:
    first = convolve(channels, STEM[0], 7)
    convolution = next(layer for layer in first.modules() if isinstance(layer, nn.Conv2d))
    convolution.stride = (2, 2)
    between = [_response()] if response else []
    return nn.Sequential(
        first, _halve(), *between, convolve(STEM[0], STEM[0], 1), convolve(STEM[0], STEM[1], 3), *between, _halve()
    )


def googlenet(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
    modules: Literal["bottleneck", "naive"] = "bottleneck",
    auxiliaries: bool = False,
) -> nn.Module:
    """Inception modules, nine of them; choose it to test what branches. Images `b c h w` in [0, 1] to logits `b k`.

    For ImageNet it is the paper's net, with `auxiliaries` as it is trained there; the form for small images has batch
    norm and two 3x3 convolutions in place of a 5x5. Raises InputError when a size, a number of channels or of classes
    is impossible.

    >>> sum(weight.numel() for weight in googlenet().parameters())
    6166250
    """
    check_input(channels=channels, classes=classes, size=size)
    imagenet = for_imagenet(form, size)
    convolve = _plain if imagenet else _normed

    def module(inputs: int, widths: Widths) -> Inception | NaiveInception:
        if modules == "naive":
            return NaiveInception(inputs, widths, convolve)
        return Inception(inputs, widths, convolve, "5x5" if imagenet else "3x3 twice")

    stem = _stem(channels, convolve, response=True) if imagenet else convolve(channels, STEM[1], 3)
    pools = (_halve(), _halve()) if imagenet else (_halve_small(), _halve_small())
    net = GoogLeNet(stem, module, pools, 0.4 if imagenet else 0.0, Normalize(channels, mean, std), classes)
    if auxiliaries:
        inner = [block.outputs for block in net.stage4 if isinstance(block, Inception | NaiveInception)]
        net.auxiliary1 = Auxiliary(inner[0], classes, convolve)
        net.auxiliary2 = Auxiliary(inner[3], classes, convolve)
    return he_initialised(net)


def _halve_small() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, padding=1)


def googlenet_bn(
    *,
    channels: int = 3,
    classes: int = 10,
    size: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    form: Form = "auto",
) -> nn.Module:
    """The variant with batch norm, and 3x3 convolutions in place of 5x5, that most libraries ship; see `googlenet`."""
    check_input(channels=channels, classes=classes, size=size)

    def module(inputs: int, widths: Widths) -> Inception | NaiveInception:
        return Inception(inputs, widths, _unbiased, "3x3")

    stem, pools = _unbiased(channels, STEM[1], 3), (_halve_small(), _halve_small())
    if for_imagenet(form, size):
        stem, pools = _stem(channels, _unbiased, response=False), (_halve(), nn.MaxPool2d(2, ceil_mode=True))
    return he_initialised(GoogLeNet(stem, module, pools, 0.2, Normalize(channels, mean, std), classes))
