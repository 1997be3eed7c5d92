"""A white-box attack does no worse than one that sees scores only (Athalye et al. 2018, section 3.1)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, failed, outdone, passed

__all__ = ["score_only"]

LEVEL = "full"


def score_only(evidence: Evidence) -> Check:
    """Square breaks no more images than the white-box attack, luck aside; the figure is the difference.

    Costs 1,000 forwards.
    """
    blind, seeing = evidence.square(), evidence.white()
    square, white = (int(found["success"].sum()) for found in (blind, seeing))
    said = f"scores alone break {square} of {len(evidence)}, gradients break {white}"
    if outdone(seeing, blind):
        return failed("score_only", float(square - white), f"masked gradients: {said}")
    return passed("score_only", float(square - white), said)
