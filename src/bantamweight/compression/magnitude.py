"""Magnitude: the smallest weights go first.

Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks" (2015), section 3.1,
with a share of the weights asked for in place of a multiple of each layer's standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from bantamweight.compression._core import Criterion, prunable

__all__ = ["irregular", "magnitude"]


def magnitude() -> Criterion:
    """Scores |w|; the default where no data is at hand, and the one to beat.

    >>> from torch import nn
    >>> magnitude().score(nn.Linear(3, 2), {})["weight"].shape
    torch.Size([2, 3])
    """
    return Criterion("magnitude", "none", _score)


def irregular() -> Criterion:
    """Magnitude under the name it has beside funnel and redundant: zeros wherever the smallest weights are.

    Ye et al. 2019, "Adversarial robustness vs. model compression, or both?", section 3.
    """
    return Criterion("irregular", "none", _score)


def _score(module: nn.Module, _evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.abs() for name, weight in prunable(module).items()}
