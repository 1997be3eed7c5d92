"""A straight line, as adversarial training raises its eps (Gowal et al. 2018, "On the effectiveness of interval bound
propagation", section 4)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bantamweight.errors import InputError
from bantamweight.training._values import Factor, Span

__all__ = ["linear"]


def linear(
    span: Span,
    *,
    start: Annotated[float, Field(ge=0, le=1)] = 0.0,
    end: Annotated[float, Field(ge=0, le=1)] = 1.0,
    begin: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    until: Annotated[float, Field(gt=0, le=1)] = 1.0,
) -> Factor:
    """From `start` to `end` between the shares `begin` and `until` of all steps, and level on either side.

    Raises InputError for an `until` that is not after `begin`.

    >>> from bantamweight.training._values import Span
    >>> [linear(Span(epochs=1, per_epoch=8), until=0.5)(step) for step in (0, 2, 4, 7)]
    [0.0, 0.5, 1.0, 1.0]
    """
    if not begin < until:
        raise InputError(f"expected a line that ends after it begins, got begin={begin:g} and until={until:g}")

    def factor(step: int) -> float:
        share = min(1.0, max(0.0, (step / span.steps - begin) / (until - begin)))
        return start + (end - start) * share

    return factor
