"""Cosine annealing: Loshchilov and Hutter 2017, "SGDR", equation 5 without restarts, per step."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from bantamweight.training._values import Factor, Span

__all__ = ["cosine"]


def cosine(
    span: Span,
    *,
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0,
) -> Factor:
    """Half a cosine from the rate down to `floor` times it; the usual choice with Adam or SGD from scratch.

    `warmup` is the share of all steps in which the rate first rises linearly.

    >>> from bantamweight.training._values import Span
    >>> cosine(Span(epochs=10, per_epoch=10))(50)
    0.5
    """
    rising = warmup * span.steps

    def factor(step: int) -> float:
        if step < rising:
            return min(1.0, (step + 1) / rising)
        turn = (step - rising) / (span.steps - rising)
        return floor + (1 - floor) * (1 + math.cos(math.pi * turn)) / 2

    return factor
