"""L2 of channels: those whose filters have the smallest Euclidean norm go first.

He, Kang, Dong, Fu, Yang, "Soft filter pruning for accelerating deep convolutional neural networks" (2018), equation 2
with p = 2. A channel that several layers make has the mean of their norms.
"""

from __future__ import annotations

from torch import Tensor, nn

from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._filters import filters
from bantamweight.compression._groups import Group
from bantamweight.types import Float

__all__ = ["l2_channels"]


def l2_channels() -> ChannelCriterion:
    """The Euclidean norm of the filters that make a channel; like `l1_channels`, with more weight on large entries.

    >>> l2_channels().needs
    'none'
    """
    return ChannelCriterion("l2_channels", "none", _score)


def _score(module: nn.Module, _evidence: Evidence, group: Group) -> Float[Tensor, " channels"]:
    found = [rows.norm(dim=1) for rows in filters(module, group)]
    return sum(found[1:], found[0]) / len(found)
