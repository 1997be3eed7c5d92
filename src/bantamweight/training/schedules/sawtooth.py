"""Rising lines, one after the other, each from nothing: steps of an adversary that grow and are reset with its eps."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bantamweight.training._values import Factor, Span

__all__ = ["sawtooth"]


def sawtooth(
    span: Span,
    *,
    teeth: Annotated[int, Field(ge=1)] = 3,
    start: Annotated[float, Field(ge=0, le=1)] = 0.0,
) -> Factor:
    """Rises from `start` to 1 over each of `teeth` equal parts; beside `stepwise`, whose levels are as long.

    >>> from bantamweight.training._values import Span
    >>> [round(sawtooth(Span(epochs=1, per_epoch=6), teeth=2)(step), 2) for step in range(6)]
    [0.33, 0.67, 1.0, 0.33, 0.67, 1.0]
    """

    def factor(step: int) -> float:
        tooth = min(step * teeth // span.steps, teeth - 1)
        # Where `step * teeth // span.steps` changes, which is what `stepwise` goes by.
        first, end = (-(-span.steps * edge // teeth) for edge in (tooth, tooth + 1))
        length = end - first
        return start + (1 - start) * (step - first + 1) / max(1, length)

    return factor
