"""Normalisation as the first layer of every net, so that an epsilon means pixels everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.types import Images

__all__ = ["Normalize", "check_input"]

SMALLEST, LARGEST = 8, 1024
FLOAT = torch.finfo(torch.float32)


class Normalize(nn.Module):
    """(images - mean) / std per channel; both are buffers, so no optimizer, cut or count of parameters sees them.

    Without values it passes images in [0, 1] on as they are. Raises InputError when a value can't be a mean or a
    standard deviation of pixels, or their number is not the number of channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", _per_channel("mean", mean or [0.0] * channels, channels))
        self.register_buffer("std", _per_channel("std", std or [1.0] * channels, channels))
        # Numbers are looked at before they are tensors: a net may be built on the meta device, to be counted only.
        if not all(value >= FLOAT.tiny for value in std or ()):
            raise InputError(f"expected a positive std for every channel, got {std}; leave it out for none")

    def forward(self, images: Images) -> Images:
        """The images, normalised."""
        return (images - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)


def _per_channel(name: str, values: Sequence[float], channels: int) -> Tensor:
    numbers = [float(value) for value in values]
    if len(numbers) != channels or not all(abs(value) <= FLOAT.max for value in numbers):
        raise InputError(f"expected one finite {name} per channel ({channels}), got {list(values)}")
    return torch.tensor(numbers, dtype=torch.float32)


def check_input(*, channels: int, classes: int, size: int) -> None:
    """Refuse inputs that no net of this room can take, before anything is allocated."""
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"expected images of {SMALLEST} to {LARGEST} pixels a side, got size={size}")
    if not 1 <= channels <= 64:
        raise InputError(f"expected 1 to 64 channels, got channels={channels}")
    if not 2 <= classes <= 100_000:
        raise InputError(f"expected 2 to 100,000 classes, got classes={classes}")
