"""What the published families share: two forms, one for ImageNet and one for small images, and He's initialisation."""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import nn

__all__ = ["Form", "for_imagenet", "he_initialised"]

Form = Literal["auto", "small", "imagenet"]
"""`imagenet` is the net as published; `small` has the stem that is usual at 32 pixels; `auto` goes by the size."""

SMALLEST_OF_IMAGENET = 112
Net = TypeVar("Net", bound=nn.Module)


def for_imagenet(form: Form, size: int) -> bool:
    """Whether the form for ImageNet is meant; on `auto` that is from 112 pixels up.

    >>> for_imagenet("auto", 32), for_imagenet("auto", 224), for_imagenet("small", 224)
    (False, True, False)
    """
    return size >= SMALLEST_OF_IMAGENET if form == "auto" else form == "imagenet"


def he_initialised(net: Net) -> Net:
    """The same net, convolutions drawn from N(0, 2 / fan_out), biases zero (He et al. 2015, arXiv:1502.01852)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net
