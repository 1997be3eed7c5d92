"""The same rate throughout."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bantamweight.training._values import Factor, Span

__all__ = ["constant"]


def constant(span: Span, *, warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0) -> Factor:
    """The rate as given, after a linear rise over the first `warmup` share of all steps; for short fine-tuning.

    >>> from bantamweight.training._values import Span
    >>> constant(Span(epochs=2, per_epoch=5))(7)
    1.0
    """
    rising = warmup * span.steps
    return lambda step: min(1.0, (step + 1) / rising) if rising else 1.0
