"""How much each layer bears: one layer thinned at a time, the rest dense, and the model judged each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from bantamweight.compression._core import (
    Criterion,
    Evidence,
    check_sparsity,
    per_layer_masks,
    score,
    select,
)

__all__ = ["Reading", "sensitivity"]

T = TypeVar("T")


class Reading(NamedTuple, Generic[T]):
    """One layer at one sparsity: the zeros that were really in it, and what the judge said."""

    layer: str
    sparsity: float
    zeros: int
    weights: int
    result: T


def sensitivity(
    module: nn.Module,
    criterion: Criterion,
    evaluate: Callable[[nn.Module], T],
    *,
    sparsities: Sequence[float] = (0.2, 0.5, 0.8),
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    evidence: Evidence | None = None,
) -> list[Reading[T]]:
    """Judge the module with each selected layer alone cut to each sparsity, rows in layer order.

    Use it to see which layers to spare. `evaluate(module)` returns whatever the caller wants a row to hold, such as
    (correct, n). A layer may be emptied here, since only the answer is wanted: 1.0 is not allowed but a share that
    rounds to all of a small layer is. Weights are as they were afterwards, bit for bit, also when `evaluate` raises.
    """
    shares = [check_sparsity(sparsity) for sparsity in sparsities]
    names = select(module, layers, skip)
    scores = score(module, criterion, names, evidence)
    rows = []
    for name in names:
        for sparsity in shares:
            mask = per_layer_masks({name: scores[name]}, sparsity)[name]
            with _thinned(module.get_parameter(name), mask) as weight:
                zeros = int((weight == 0).sum())
                rows.append(Reading(name, sparsity, zeros, weight.numel(), evaluate(module)))
    return rows


@contextmanager
def _thinned(weight: Tensor, mask: Tensor) -> Iterator[Tensor]:
    """The weight with zeros where the mask says so, until the block ends."""
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.masked_fill_(~mask, 0)
        yield weight
    finally:
        with torch.no_grad():
            weight.copy_(before)
