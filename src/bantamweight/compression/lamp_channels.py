"""LAMP for channels: a channel's squared norm as a share of what is left of its group once all smaller ones are gone.

Lee, Park, Mo, Ahn, Shin, "Layer-adaptive sparsity for the magnitude-based pruning" (2021), equation 4, with the weights
that make one channel of a coupled group in place of one weight of a layer. The last channel of each group scores 1,
so that scores of different groups are on one scale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._filters import filters
from bantamweight.compression._groups import Group
from bantamweight.types import Float

__all__ = ["lamp_channels"]


def lamp_channels() -> ChannelCriterion:
    """Squared norms over the sum of all that are no smaller; choose it to let the weights decide on widths.

    >>> lamp_channels().comparable
    True
    """
    return ChannelCriterion("lamp_channels", "none", _score, comparable=True)


def _score(module: nn.Module, _evidence: Evidence, group: Group) -> Float[Tensor, " channels"]:
    found = [rows.square().sum(dim=1) for rows in filters(module, group)]
    squares = sum(found[1:], found[0])
    ranks = torch.argsort(squares, stable=True)
    rising = squares[ranks]
    left = rising.flip(0).cumsum(0).flip(0)
    scores = torch.zeros_like(squares)
    scores[ranks] = rising / left.clamp_min(torch.finfo(torch.float64).tiny)
    return scores
