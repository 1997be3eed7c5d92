"""Levels of equal length, in the order given: how theses raise an eps or lower a rate by hand."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bantamweight.training._values import Factor, Span

__all__ = ["stepwise"]


def stepwise(
    span: Span,
    *,
    levels: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)] = (1 / 3, 2 / 3, 1.0),
) -> Factor:
    """Each of `levels` for an equal share of all steps; the default raises an eps by a third every third.

    >>> from bantamweight.training._values import Span
    >>> [stepwise(Span(epochs=1, per_epoch=6), levels=(0.5, 1))(step) for step in range(6)]
    [0.5, 0.5, 0.5, 1.0, 1.0, 1.0]
    """
    return lambda step: float(levels[min(step * len(levels) // span.steps, len(levels) - 1)])
