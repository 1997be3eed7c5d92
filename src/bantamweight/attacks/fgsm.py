"""FGSM (Goodfellow, Shlens and Szegedy 2015, "Explaining and harnessing adversarial examples", section 4)."""

from __future__ import annotations

from typing import Literal

from bantamweight.attacks._core import Attack
from bantamweight.attacks._objectives import cross_entropy
from bantamweight.attacks._parts import constant, start_at, steepest, walk
from bantamweight.threats import Threat

__all__ = ["fgsm"]


def fgsm(threat: Threat, *, start: Literal["clean", "random"] = "clean") -> Attack:
    """One step of the whole budget along the steepest direction of the cross-entropy.

    Choose it as a cheap lower bound on an attacker, never as evidence of robustness. `start="random"` is R-FGSM
    (Tramer et al. 2018) with a full-size step. Costs 2 forwards and 1 backward per image.
    """
    return walk(
        "fgsm",
        threat,
        objective=cross_entropy,
        direction=steepest,
        rate=constant(None),
        start=start_at(threat, start),
        steps=1,
    )
