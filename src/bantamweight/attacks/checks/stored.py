"""The stored image lies in ball and box, measured on it in float32 and nowhere else."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, absent, failed, passed
from bantamweight.threats import TOLERANCE

__all__ = ["stored"]

LEVEL = "probe"


def stored(evidence: Evidence) -> Check:
    """No stored image leaves [0, 1] or its budget; the figure is the largest overshoot in pixels. Costs nothing."""
    if evidence.verdicts is None:
        return absent("stored", "there is no run whose images could be measured")
    images = evidence.verdicts.images.float()
    size = evidence.threat.norm.size(images - evidence.images).double()
    budget = evidence.threat.budgets(len(images)).double()
    over = float(((size - budget) / budget.clamp(1.0, 1e300)).max())
    outside = max(float(-images.min()), float(images.max()) - 1.0)
    worst = max(over, outside)
    if not worst <= TOLERANCE:
        return failed("stored", worst, f"a stored image lies {worst:.2g} outside {evidence.threat} or the box")
    return passed("stored", max(worst, 0.0), f"every stored image lies within {evidence.threat} and within [0, 1]")
