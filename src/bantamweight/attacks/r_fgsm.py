"""R-FGSM (Tramer et al. 2018, "Ensemble adversarial training: attacks and defenses", section 3.3)."""

from __future__ import annotations

from bantamweight import rng
from bantamweight.attacks._core import Attack, Rows
from bantamweight.attacks._objectives import cross_entropy
from bantamweight.attacks._parts import constant, steepest, walk
from bantamweight.errors import InputError
from bantamweight.threats import Threat
from bantamweight.types import Images

__all__ = ["r_fgsm"]


def r_fgsm(threat: Threat, *, share: float = 0.5, restarts: int = 1) -> Attack:
    """A random step of `share` of the budget, then one of the rest along the steepest direction.

    Choose it as the cheapest attack on models whose loss is crooked at the image itself, as single-step adversarial
    training makes it. The random step goes along the signs of noise in L-inf, as published, and in other norms where
    the norm is steepest along noise. Costs 2 forwards and 1 backward per image and restart. Raises InputError for a
    share that is not between 0 and 1.
    """
    if not 0.0 < share < 1.0:
        raise InputError(f"expected a share of the budget between 0 and 1, got {share:g}")
    norm = threat.norm

    def start(rows: Rows) -> Images:
        noise = rng.normal(rows.keys, rows.images.shape[1:], "start")
        step = norm.step(noise, rows.images, share * rows.eps)
        return norm.project(rows.images + step, rows.images, rows.eps)

    return walk(
        "r_fgsm",
        threat,
        objective=cross_entropy,
        direction=steepest,
        rate=constant(None, 1.0 - share),
        start=start,
        steps=1,
        lanes=restarts,
    )
