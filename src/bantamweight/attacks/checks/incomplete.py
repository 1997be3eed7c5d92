"""The loss had stopped moving ("incomplete optimisation", Pintor et al. 2022, indicator 4)."""

from __future__ import annotations

import torch

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["incomplete"]

LEVEL = "full"
LAST = 0.2
"""Of the steps within the budget: ten of fifty. In L1 most of a walk is spent in larger balls."""
MOVING = 0.05
LIMIT = 0.25
SPARE = 1
"""One image is no pattern, where few stand."""


def incomplete(evidence: Evidence) -> Check:
    """Over its last steps the best loss within the budget rose by less than 5% of its rise from the image itself.

    Looked at on images that stand; the figure is the share of them on which it was still moving, or no number, and a
    quarter may be, or a single one. Costs nothing beyond `silent_success`.
    """
    losses, ending = evidence.tape().losses, evidence.ending()
    standing = torch.from_numpy(~ending["success"])
    if not bool(standing.any()):
        return passed("incomplete", 0.0, "the attack left no image standing")
    # Before a row first comes into the ball, the image itself is the best that it has seen there.
    best = torch.maximum(losses.cummax(dim=0).values, evidence.loss(evidence.clean))[:, standing]
    whole = (best[-1] - evidence.loss(evidence.clean)[standing]).clamp_min(1e-30)
    last = max(1, round(LAST * int((losses > -torch.inf).sum(dim=0).min())))
    late = (best[-1] - best[-1 - last]) / whole
    moving = ~(late <= MOVING)
    share = float(moving.float().mean())
    said = f"the loss still rose over the last {last} steps on {share:.0%} of the images that stand"
    return (failed if share > LIMIT and int(moving.sum()) > SPARE else passed)("incomplete", share, said)
