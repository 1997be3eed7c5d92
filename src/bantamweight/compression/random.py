"""Random: the control that every criterion has to beat.

One number per weight, drawn once from the seed and the tensor's name. The ratio does not enter, so the weights cut
at 20% are among those cut at 50%, and a curve over ratios is one nested path.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.compression._core import Criterion, prunable

__all__ = ["random"]


def random(*, seed: int = 0) -> Criterion:
    """Uniform scores in [0, 1) that depend on the seed and the tensor's name only; use it as the control.

    >>> from torch import nn
    >>> one, two = (random(seed=3).score(nn.Linear(3, 2), {})["weight"] for _ in range(2))
    >>> bool((one == two).all())
    True
    """

    def score(module: nn.Module, _evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
        drawn = {}
        for name, weight in prunable(module).items():
            numbers = rng.generator(seed, "random pruning", name).random(tuple(weight.shape))
            drawn[name] = torch.from_numpy(numbers).to(weight.device)  # float64: ties don't happen
        return drawn

    return Criterion("random", "none", score)
