"""LAMP: magnitudes made comparable across layers.

Lee, Park, Mo, Ahn, Shin, "Layer-adaptive sparsity for the magnitude-based pruning" (2021), equation 4.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bantamweight.compression._core import Criterion, prunable

__all__ = ["lamp"]


def lamp() -> Criterion:
    """Scores w^2 over the sum of all squares in its tensor that are no smaller; global magnitude that empties no layer.

    The largest weight of a tensor scores 1, which is the most there is, so a global cut takes it last.

    >>> layer = nn.Linear(3, 1)
    >>> layer.weight.data = torch.tensor([[1.0, -2.0, 2.0]])
    >>> lamp().score(layer, {})["weight"].tolist()
    [[0.1111111111111111, 0.5, 1.0]]
    """
    return Criterion("lamp", "none", _score)


def _score(module: nn.Module, _evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _normalised(weight) for name, weight in prunable(module).items()}


def _normalised(weight: Tensor) -> Tensor:
    squares = weight.reshape(-1).double() ** 2
    order = torch.argsort(squares, stable=True)  # the paper breaks ties by position as well
    rising = squares[order]
    above = rising.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = torch.where(above > 0, rising / above, 0)
    return scores.reshape(weight.shape)
