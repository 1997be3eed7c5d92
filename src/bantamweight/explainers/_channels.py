"""How the colour channels of a gradient become one map."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from bantamweight.types import Float

__all__ = ["Channels", "channels_joined"]

Channels = Literal["largest", "sum"]
"""The channel with the largest magnitude, with its sign (Simonyan's maximum); or the sum of all."""


def channels_joined(gradients: Float[Tensor, "b k c h w"], channels: Channels) -> Float[Tensor, "b k h w"]:
    """One map per class."""
    if channels == "sum":
        return gradients.sum(dim=2)
    winner = gradients.abs().argmax(dim=2, keepdim=True)
    return gradients.gather(2, winner)[:, :, 0]
