"""Exponential decay: the rate shrinks by the same factor each epoch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bantamweight.training._values import Factor, Span

__all__ = ["exponential"]


def exponential(span: Span, *, decay: Annotated[float, Field(gt=0, le=1)] = 0.95) -> Factor:
    """Multiply the rate by `decay` per epoch, smoothly: at the start of an epoch it equals torch's `ExponentialLR`.

    >>> from bantamweight.training._values import Span
    >>> exponential(Span(epochs=3, per_epoch=4), decay=0.5)(8)
    0.25
    """
    return lambda now: decay ** (now / span.per_epoch)
