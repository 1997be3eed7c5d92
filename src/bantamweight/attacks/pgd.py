"""PGD (Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", section 2.1)."""

from __future__ import annotations

from typing import Literal

from bantamweight.attacks._core import Attack
from bantamweight.attacks._objectives import cross_entropy
from bantamweight.attacks._parts import constant, start_at, steepest, walk
from bantamweight.threats import Threat

__all__ = ["pgd"]


def pgd(
    threat: Threat,
    *,
    steps: int = 40,
    rate: float | None = None,
    start: Literal["clean", "random"] = "random",
    restarts: int = 1,
) -> Attack:
    """Projected steepest ascent on the cross-entropy from a random point of the ball.

    Choose it as the standard first-order attack with a step size you know. `rate` is the step in pixels; None means
    2.5 eps / steps, Madry's rule, so that any point of the ball can be reached. Costs steps + 1 forwards and
    steps backwards per image and restart.
    """
    return walk(
        "pgd",
        threat,
        objective=cross_entropy,
        direction=steepest,
        rate=constant(rate, 2.5 / max(steps, 1)),
        start=start_at(threat, start),
        steps=steps,
        lanes=restarts,
    )
