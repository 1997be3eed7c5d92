"""Batch norm's scale: channels that their batch norm has turned down go first.

Liu, Li, Shen, Huang, Yan, Zhang, "Learning efficient convolutional networks through network slimming" (2017), section
3. The paper trains with an L1 penalty on the scales first; here they are taken as they are. A channel that several
batch norms pass (a residual stream) has the mean of its scales.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._filters import gathered, norms
from bantamweight.compression._groups import Group
from bantamweight.errors import InputError
from bantamweight.types import Float

__all__ = ["bn_scale"]


def bn_scale() -> ChannelCriterion:
    """|gamma| of the batch norms that a channel passes, compared over the whole net as they are.

    Choose it for nets trained with a penalty on these. Raises InputError for a group without a batch norm that scales.

    >>> bn_scale().comparable
    True
    """
    return ChannelCriterion("bn_scale", "none", _score, comparable=True)


def _score(module: nn.Module, _evidence: Evidence, group: Group) -> Float[Tensor, " channels"]:
    scales = [
        gathered(part, layer.weight.detach().double().abs()).mean(dim=1)
        for part, layer in norms(module, group)
        if layer.weight is not None
    ]
    if not scales:
        raise InputError(f"bn_scale needs a batch norm that scales the channels of {group.name!r}; skip that group")
    return torch.stack(scales).mean(dim=0)
