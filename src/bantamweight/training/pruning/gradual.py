"""Gradual pruning: Zhu and Gupta 2017, "To prune, or not to prune", equation 1.

The paper lets a masked weight return when others shrink below it; here a weight that has gone stays gone, so that what
is cut at a step can be read off the weights, and a training that was killed continues to the same bits.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from bantamweight.compression._allocations import allocate as spread
from bantamweight.compression._core import Criterion, allocation_of, score, select
from bantamweight.errors import InputError
from bantamweight.parts import Part, Room
from bantamweight.training._values import Pruning, Span

__all__ = ["gradual"]


def gradual(
    span: Span,
    *,
    sparsity: Annotated[float, Field(gt=0, lt=1)],
    criterion: Annotated[str | dict[str, Any] | Part, Room("compression")] = "magnitude",
    allocate: str | None = None,
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    begin: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    end: Annotated[float, Field(gt=0, le=1)] = 0.7,
    every: Annotated[int, Field(ge=1)] = 20,
) -> Pruning:
    """From the sparsity `start` to `sparsity` along a cubic, fast while there is much to lose and slow at the end.

    Weights go after every `every` steps between the shares `begin` and `end` of all steps; the rest of the training
    recovers. Raises InputError for a criterion that needs evidence, and for an end that is not after the beginning.
    """
    rule = criterion.make() if isinstance(criterion, Part) else criterion
    if not isinstance(rule, Criterion) or rule.needs != "none":
        raise InputError(f"{getattr(rule, 'name', rule)} can't cut during training; use one that scores weights alone")
    how = allocation_of(rule, sparsity, allocate)
    first, last = round(begin * span.steps), max(1, round(end * span.steps)) - 1
    if last < first or start > sparsity:
        raise InputError(
            f"expected an end after the beginning and a sparsity above the start, got {begin:g} to {end:g}"
        )

    def due(step: int) -> float | None:
        if not first <= step <= last or ((last - step) % every and step != last):
            return None
        left = 1 - (step - first) / max(1, last - first)
        return sparsity + (start - sparsity) * left**3 if step < last else sparsity

    def masks(module: nn.Module, share: float) -> dict[str, Tensor]:
        names = select(module)
        scores = score(module, rule, names)
        gone = {name: module.get_parameter(name).detach() == 0 for name in names}
        return spread({name: scores[name].masked_fill(gone[name], -torch.inf) for name in names}, share, how)

    return Pruning(due, masks, last)
