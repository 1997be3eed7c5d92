"""More budget, more success (Athalye et al. 2018, section 3.1)."""

from __future__ import annotations

from itertools import pairwise

from bantamweight.attacks.checks._core import Check, Evidence, failed, outdone, passed
from bantamweight.threats import Threat

__all__ = ["rising"]

LEVEL = "full"
TIMES = (0.5, 1.0, 2.0)


def rising(evidence: Evidence) -> Check:
    """Half, once and twice the budget break more and more images, luck aside; the figure is the worst fall, in images.

    Costs two attacks of 50 steps.
    """
    norm, eps = evidence.threat.norm, evidence.threat.eps
    widest = norm.largest(tuple(evidence.images.shape[1:]))
    found = [evidence.attack(evidence.walk, threat=Threat(norm, min(times * eps, widest))) for times in TIMES]
    counts = [int(verdicts["success"].sum()) for verdicts in found]
    fall = max(counts[0] - counts[1], counts[1] - counts[2], 0)
    said = f"half, once and twice the budget break {counts[0]}, {counts[1]} and {counts[2]} of {len(evidence)}"
    return (failed if any(outdone(more, less) for less, more in pairwise(found)) else passed)(
        "rising", float(fall), said
    )
