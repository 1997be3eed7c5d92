"""MI-FGSM (Dong et al. 2018, "Boosting adversarial attacks with momentum", algorithm 1)."""

from __future__ import annotations

from typing import Literal

from bantamweight.attacks._core import Attack
from bantamweight.attacks._objectives import cross_entropy
from bantamweight.attacks._parts import constant, momentum, start_at, walk
from bantamweight.errors import InputError
from bantamweight.threats import Threat

__all__ = ["mi_fgsm"]


def mi_fgsm(
    threat: Threat,
    *,
    steps: int = 10,
    rate: float | None = None,
    decay: float = 1.0,
    start: Literal["clean", "random"] = "clean",
    restarts: int = 1,
) -> Attack:
    """Steps along the steepest direction of a running sum of gradients.

    Choose it for images that are to fool another model as well: momentum follows what the gradients have in common.
    `rate` is the step in pixels; None means eps / steps. `decay` is the share of the sum that each step keeps. Costs
    steps + 1 forwards and steps backwards per image and restart. Raises InputError for settings out of range.
    """
    if decay < 0.0:
        raise InputError(f"expected a decay of at least 0, got {decay:g}")
    return walk(
        "mi_fgsm",
        threat,
        objective=cross_entropy,
        direction=momentum(decay),
        rate=constant(rate, 1.0 / max(steps, 1)),
        start=start_at(threat, start),
        steps=steps,
        lanes=restarts,
    )
