"""More budget, more success (Athalye et al. 2018, section 3.1)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import WHITE, Check, Evidence, failed, passed

__all__ = ["rising"]

LEVEL = "full"
SPARE = 1
"""Images by which a larger budget may do worse: attacks are not exact."""


def rising(evidence: Evidence) -> Check:
    """Half, once and twice the budget break more and more images; the figure is the worst fall, in images.

    Costs two attacks of 50 steps.
    """
    widest = evidence.threat.norm.largest(tuple(evidence.images.shape[1:]))
    eps = evidence.threat.eps
    counts = [
        int(evidence.attack(WHITE, eps=None if times == 1.0 else min(times * eps, widest))["success"].sum())
        for times in (0.5, 1.0, 2.0)
    ]
    fall = max(counts[0] - counts[1], counts[1] - counts[2], 0)
    said = f"half, once and twice the budget break {counts[0]}, {counts[1]} and {counts[2]} of {len(evidence)}"
    return (failed if fall > SPARE else passed)("rising", float(fall), said)
