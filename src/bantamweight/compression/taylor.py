"""Taylor: channels whose removal would change the loss least, to first order, go first.

Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance estimation for neural network pruning" (2019), equations 8 and 9
with a gate on each channel: the mean over images of (output x gradient of the loss, summed over positions)^2. The gate
stands behind the batch norms where a channel passes any, as the paper advises, and before them otherwise. The terms of
the layers of one channel are added before they are squared, since the channel goes from all of them at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight.compression._core import ChannelCriterion, Evidence
from bantamweight.compression._filters import gathered, makers, norms
from bantamweight.compression._groups import Group
from bantamweight.errors import InputError
from bantamweight.types import Float

__all__ = ["taylor"]


def taylor() -> ChannelCriterion:
    """Squared first-order changes of the loss, from the user's own images; choose it where some are at hand.

    >>> taylor().needs
    'contributions'
    """
    return ChannelCriterion("taylor", "contributions", _score, comparable=True)


def _score(module: nn.Module, evidence: Evidence, group: Group) -> Float[Tensor, " channels"]:
    parts = [part for part, _ in norms(module, group)] or [part for part, _ in makers(module, group)]
    missing = [part.layer for part in parts if part.layer not in evidence]
    if missing:
        raise InputError(f"taylor was not shown the contributions of {missing[0]!r}; gather them from this variant")
    terms = [gathered(part, evidence[part.layer].double().T).sum(dim=1) for part in parts]
    return torch.stack(terms).sum(dim=0).square().mean(dim=1)
