"""What a model says of the images that it is asked to explain, in no larger tiles than they are explained in."""

from __future__ import annotations

import torch
from torch import nn

from bantamweight.explainers._core import on_device, tile_rows
from bantamweight.explainers._layers import at_rest
from bantamweight.predict import logits_of
from bantamweight.types import Images, Logits

__all__ = ["logits_within"]


def logits_within(module: nn.Module, images: Images, batch: int) -> Logits:
    """Float32 logits on the CPU, of a module on any device and in any precision; its mode is as it was on return.

    `batch` bounds the rows of a forward as it does in `explain`.
    """
    size = tile_rows(batch)
    with at_rest(module):
        told = [logits_of(module, on_device(part, module), sizes=(size,)) for part in images.split(size)]
    return torch.cat(told).cpu()
