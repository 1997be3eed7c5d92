"""Twice the steps change nothing, or the run was too short (Carlini et al. 2019)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import STEPS, Check, Evidence, absent, failed, passed

__all__ = ["doubling"]

LEVEL = "full"
SPARE = 1
"""Images that any second try may break by luck."""


def doubling(evidence: Evidence) -> Check:
    """A hundred steps, to the run's targets where it had some, break at most one image more than the run did.

    The figure is the gain, in images. Costs 100 forwards and backwards.
    """
    if evidence.verdicts is None:
        return absent("doubling", "there is no run that could have been too short")
    gained = int((evidence.white(steps=2 * STEPS, aimed=True)["success"] & ~evidence.broken).sum())
    said = f"{2 * STEPS} steps break {gained} of {len(evidence)} images more"
    if gained > SPARE:
        return failed("doubling", float(gained), f"{said}: the run was too short or too weak")
    return passed("doubling", float(gained), said)
