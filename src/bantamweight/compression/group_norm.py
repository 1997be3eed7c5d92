"""Group norm: channels whose weights, those that make them and those that read them, are small altogether go first.

Fang, Ma, Song, Mi, Wang, "DepGraph: towards any structural pruning" (CVPR 2023), section 3.3, without its sparse
training: squares are summed within a layer and averaged over the layers of a group.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._filters import gathered
from bantamweight.compression._groups import Group, Part
from bantamweight.types import Float

__all__ = ["group_norm"]


def group_norm() -> ChannelCriterion:
    """The squares of all weights of a channel, makers, batch norms and readers alike; to spare what others lean on.

    >>> group_norm().name
    'group_norm'
    """
    return ChannelCriterion("group_norm", "none", _score)


def _score(module: nn.Module, _evidence: Evidence, group: Group) -> Float[Tensor, " channels"]:
    found = [_squares(module.get_submodule(part.layer), part) for part in group.parts]
    return torch.stack([one for one in found if one is not None]).mean(dim=0)


def _squares(layer: nn.Module, part: Part) -> Float[Tensor, " channels"] | None:
    """What one layer has of each channel; None for one without weights of its own for it."""
    weight = layer._parameters.get("weight")
    if weight is None or not isinstance(layer, _ConvNd | nn.Linear | _BatchNorm):
        return None
    squares = weight.detach().double().square()
    if part.side == "in":
        if getattr(layer, "groups", 1) > 1:  # a weight's column is not the number of the channel it reads
            return None
        squares = squares.transpose(0, 1)
    return gathered(part, squares.flatten(1) if squares.ndim > 1 else squares[:, None]).flatten(1).sum(dim=1)
