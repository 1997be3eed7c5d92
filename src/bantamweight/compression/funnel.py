"""Funnel: each deeper layer is at least as sparse as the one before it.

A rule for where zeros may lie, from work on pruning robust nets: early layers hold the coarse features, late ones the
fine-grained and fragile. The shares are the global ones, projected onto that rule (`funnel_masks`).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from bantamweight.compression._allocations import funnel_masks
from bantamweight.compression._core import Criterion, prunable

__all__ = ["funnel"]


def funnel() -> Criterion:
    """Scores |w|, spread so that sparsity never falls with depth; to spare the first layers.

    >>> funnel().score(nn.Linear(3, 2), {})["weight"].shape
    torch.Size([2, 3])
    """
    return Criterion("funnel", "none", _score, allocation=funnel_masks)


def _score(module: nn.Module, _evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.abs() for name, weight in prunable(module).items()}
