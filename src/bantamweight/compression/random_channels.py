"""Random channels: the control that every criterion of channels has to beat.

One number per channel, drawn once from the seed and the group's name. The ratio does not enter, so a curve over ratios
is one nested path.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._groups import Group
from bantamweight.types import Float

__all__ = ["random_channels"]


def random_channels(*, seed: int = 0) -> ChannelCriterion:
    """Uniform scores in [0, 1) that depend on the seed and the group's name only; use it as the control.

    >>> random_channels(seed=3).comparable
    True
    """

    def score(_module: nn.Module, _evidence: Evidence, group: Group) -> Float[Tensor, " channels"]:
        return torch.from_numpy(rng.generator(seed, "random channels", group.name).random(group.size))

    return ChannelCriterion("random_channels", "none", score, comparable=True)
