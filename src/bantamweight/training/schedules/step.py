"""Step decay: the rate falls by a factor every few epochs, as theses and papers before 2018 did."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bantamweight.training._values import Factor, Span

__all__ = ["step"]


def step(
    span: Span,
    *,
    every: Annotated[int, Field(ge=1)] = 10,
    decay: Annotated[float, Field(gt=0, le=1)] = 0.5,
) -> Factor:
    """Multiply the rate by `decay` after each `every` epochs; to reproduce a published recipe.

    >>> from bantamweight.training._values import Span
    >>> step(Span(epochs=30, per_epoch=4), every=10, decay=0.5)(40)
    0.5
    """
    return lambda now: decay ** (now // span.per_epoch // every)
