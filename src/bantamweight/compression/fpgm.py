"""FPGM: filters near the geometric median of their layer go first, since the others can stand in for them.

He, Liu, Wang, Hu, Yang, "Filter pruning via geometric median for deep convolutional neural networks acceleration"
(2019), equations 4 to 7: a filter's sum of Euclidean distances to all filters of its layer. A channel that several
layers make has the mean of its sums, each divided by its mean over the layer, so that wide filters don't decide alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._filters import gathered, makers
from bantamweight.compression._groups import Group
from bantamweight.types import Float

__all__ = ["fpgm"]


def fpgm() -> ChannelCriterion:
    """The sum of distances to the other filters of the layer; choose it where norms of filters hardly differ.

    >>> fpgm().name
    'fpgm'
    """
    return ChannelCriterion("fpgm", "none", _score)


def _score(module: nn.Module, _evidence: Evidence, group: Group) -> Float[Tensor, " channels"]:
    found = []
    for part, layer in makers(module, group):
        rows = layer.weight.detach().double().flatten(1)
        # Not by way of the matrix product: it gives equal filters a distance.
        away = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").sum(dim=1)
        mean = away.mean()
        found.append(gathered(part, away / mean if mean > 0 else away).sum(dim=1))
    return torch.stack(found).mean(dim=0)
