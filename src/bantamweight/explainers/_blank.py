"""What stands where a part of an image is taken away, or at the start of a path to the image."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from bantamweight.types import Images

__all__ = ["Baseline", "blank"]

Baseline = Literal["black", "grey", "white", "mean", "blurred"]
"""A plain colour, each image's own mean colour, or the image blurred over a quarter of its side."""

_PLAIN = {"black": 0.0, "grey": 0.5, "white": 1.0}


def blank(images: Images, baseline: Baseline) -> Images:
    """Images of the same shape that hold nothing to see.

    >>> blank(torch.rand(1, 3, 2, 2), "grey").unique()
    tensor([0.5000])
    """
    if baseline in _PLAIN:
        return torch.full_like(images, _PLAIN[baseline])
    if baseline == "mean":
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    side = max(1, min(images.shape[2:]) // 8)
    padded = F.pad(images, (side,) * 4, mode="replicate")
    return F.avg_pool2d(padded, 2 * side + 1, stride=1)
