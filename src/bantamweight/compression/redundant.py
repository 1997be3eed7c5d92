"""Redundant: filters that nearly repeat another go first, whatever their size.

The rule is that of every two filters kept in a layer none is within a threshold of the other. Filters are compared
with filters of their own layer, since whole layers rarely have one shape. They are ranked by farthest-point traversal
(Gonzalez 1985, "Clustering to minimize the maximum intercluster distance"): the largest comes first, then always the
one farthest from all before it, and that distance is the score. Keeping all scores above a threshold is then the rule.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bantamweight.compression._core import Criterion, prunable

__all__ = ["redundant"]


def redundant() -> Criterion:
    """Scores a weight by how far its filter is from every better-ranked one; for wide nets that repeat themselves.

    Distances are in units of the layer's mean filter norm. Within a filter the smallest weights go first.

    >>> layer = nn.Linear(2, 3)
    >>> layer.weight.data = torch.tensor([[2.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    >>> [round(float(row.mean()), 2) for row in redundant().score(layer, {})["weight"]]
    [1.34, 1.34, 0.0]
    """
    return Criterion("redundant", "none", _score)


def _score(module: nn.Module, _evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
    weights = prunable(module)
    last = next(reversed(weights), "")
    # The last layer's rows are classes, of which none may go for being like another: there inputs are compared.
    lone = len(weights) == 1
    return {
        name: _scored(weight) if name != last or lone else _scored(weight.transpose(0, 1)).transpose(0, 1)
        for name, weight in weights.items()
    }


def _scored(weight: Tensor) -> Tensor:
    rows = weight.reshape(len(weight), -1).double()
    norms = rows.norm(dim=1)
    scale = norms.sum() / max(1, int((norms > 0).sum()))
    distances = _traversal(rows) / (scale if scale > 0 else 1.0)
    # A filter's weights share its distance; this orders them among themselves and is too small to pass another filter.
    within = torch.argsort(torch.argsort(rows.abs(), dim=1, stable=True), dim=1, stable=True) / max(1, rows.shape[1])
    return (distances[:, None] * (1 + 1e-6 * within) + 1e-12 * within).reshape(weight.shape)


def _traversal(rows: Tensor) -> Tensor:
    """The distance of each row from those picked before it; the first pick's is the largest of them."""
    scores = torch.empty(len(rows), dtype=rows.dtype, device=rows.device)
    first = pick = int(rows.norm(dim=1).argmax())
    nearest = torch.full_like(scores, torch.inf)
    left = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    for _ in range(len(rows)):
        scores[pick], left[pick] = nearest[pick], False
        nearest = torch.minimum(nearest, (rows - rows[pick]).norm(dim=1))
        pick = int(torch.where(left, nearest, -1).argmax())
    others = [float(score) for row, score in enumerate(scores) if row != first]
    scores[first] = max([*others, float(rows[first].norm())])
    return scores
