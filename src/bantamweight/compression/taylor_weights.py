"""First-order Taylor expansion: a weight is worth what the loss would change if it were zero.

Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance estimation for neural network pruning" (2019), equation 8, whose
square is left out: the order is the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from bantamweight.compression._core import Criterion, prunable
from bantamweight.errors import InputError

__all__ = ["taylor_weights"]


def taylor_weights() -> Criterion:
    """Scores |w * dL/dw|; use it where images to learn from are at hand and small weights may still matter.

    The evidence is the gradient of the mean loss over those images, one tensor per weight (`gradients`). Raises
    InputError, when it scores, for a weight without one.

    >>> from torch import ones
    >>> taylor_weights().score(nn.Linear(3, 2), {"weight": ones(2, 3)})["weight"].shape
    torch.Size([2, 3])
    """
    return Criterion("taylor_weights", "gradients", _score)


def _score(module: nn.Module, evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights = prunable(module)
    for name, weight in weights.items():
        if name not in evidence or evidence[name].shape != weight.shape:
            raise InputError(f"expected a gradient of shape {tuple(weight.shape)} for {name!r}; show it images again")
    return {name: (weight * evidence[name].to(weight)).abs() for name, weight in weights.items()}
