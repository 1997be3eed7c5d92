"""L1 of channels: those whose filters have the smallest sum of absolute weights go first.

Li, Kadav, Durdanovic, Samet, Graf, "Pruning filters for efficient ConvNets" (2016), section 3.1. A channel that several
layers make (a residual stream) has the mean of their sums, where the paper takes that of one of them.
"""

from __future__ import annotations

from torch import Tensor, nn

from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._filters import filters
from bantamweight.compression._groups import Group
from bantamweight.types import Float

__all__ = ["l1_channels"]


def l1_channels() -> ChannelCriterion:
    """The sum of |w| of the filters that make a channel; the default where no data is at hand.

    >>> l1_channels().name
    'l1_channels'
    """
    return ChannelCriterion("l1_channels", "none", _score)


def _score(module: nn.Module, _evidence: Evidence, group: Group) -> Float[Tensor, " channels"]:
    found = [rows.abs().sum(dim=1) for rows in filters(module, group)]
    return sum(found[1:], found[0]) / len(found)
