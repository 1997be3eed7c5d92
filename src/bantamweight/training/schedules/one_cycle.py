"""One cycle: Smith and Topin 2018, "Super-convergence", with cosine flanks; equal to torch's `OneCycleLR`."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from bantamweight.training._values import Factor, Span

__all__ = ["one_cycle"]


def one_cycle(
    span: Span,
    *,
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    start: Annotated[float, Field(gt=0, le=1)] = 0.04,
    end: Annotated[float, Field(ge=0, le=1)] = 4e-6,
) -> Factor:
    """Up from `start` times the rate to the rate, then down to `end` times it; the fastest choice for few epochs.

    `warmup` is the share of all steps spent rising. Momentum is left alone (torch's `cycle_momentum=False`).

    >>> from bantamweight.training._values import Span
    >>> one_cycle(Span(epochs=10, per_epoch=10))(29)
    1.0
    """
    last = span.steps - 1
    top = min(max(warmup * span.steps - 1, 0.0), last)

    def factor(step: int) -> float:
        if step < top:
            return _between(start, 1.0, step / top)
        return _between(1.0, end, (step - top) / (last - top)) if last > top else 1.0

    return factor


def _between(here: float, there: float, share: float) -> float:
    return there + (here - there) / 2 * (1 + math.cos(math.pi * share))
