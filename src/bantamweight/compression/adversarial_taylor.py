"""Adversarial Taylor: a weight is worth what the loss under attack would change if it were zero.

The first-order expansion of Molchanov et al. 2019 (`taylor_weights`) with the gradient of the adversarial loss in place
of the natural one: what a robust net would lose, as Sehwag et al. 2020, "HYDRA", section 3, ask of a criterion.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from bantamweight.compression._core import Criterion
from bantamweight.compression.taylor_weights import taylor_weights
from bantamweight.parts import Part, Room

__all__ = ["adversarial_taylor"]


def adversarial_taylor(
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")] = "linf 8/255",
    steps: Annotated[int, Field(ge=1, le=1000)] = 10,
) -> Criterion:
    """Scores |w * dL/dw| on images that PGD (`steps` steps, random start) made of those shown; to thin a robust net.

    >>> adversarial_taylor(threat="linf 4/255").needs
    'adversarial gradients'
    """
    asks = {"threat": threat, "steps": steps}
    return Criterion("adversarial_taylor", "adversarial gradients", taylor_weights().score, asks=asks)
