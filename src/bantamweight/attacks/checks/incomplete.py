"""The loss had stopped moving ("incomplete optimisation", Pintor et al. 2022, indicator 4)."""

from __future__ import annotations

import torch

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["incomplete"]

LEVEL = "full"
LAST = 10
MOVING = 0.05
LIMIT = 0.25


def incomplete(evidence: Evidence) -> Check:
    """Over its last ten steps the best loss so far rose by less than 5% of its whole rise.

    Looked at on images that stand; the figure is the share of them on which it was still moving, and a quarter may be.
    Costs nothing beyond `silent_success`.
    """
    losses, ending = evidence.tape().losses, evidence.ending()
    standing = torch.from_numpy(~ending["success"])
    if not bool(standing.any()):
        return passed("incomplete", 0.0, "the attack left no image standing")
    best = losses[:, standing].cummax(dim=0).values
    whole = (best[-1] - losses[:, standing].amin(dim=0)).clamp_min(1e-30)
    late = (best[-1] - best[-min(LAST, len(best))]) / whole
    share = float((late > MOVING).float().mean())
    said = f"the loss still rose over the last {LAST} steps on {share:.0%} of the images that stand"
    return (failed if share > LIMIT else passed)("incomplete", share, said)
