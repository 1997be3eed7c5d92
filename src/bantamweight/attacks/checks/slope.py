"""Gradients that say what the model will do: a small step changes the loss as much as they foretell."""

from __future__ import annotations

import torch

from bantamweight.attacks.checks._core import Check, Evidence, absent, failed, passed

__all__ = ["slope"]

LEVEL = "probe"
STEP, CHANGE = 0.01, 0.05
"""The longest step, as a share of the budget, and the change of the loss's logarithm that is enough: short steps, on
which an honest network is straight, and changes that float32 can show."""
BETWEEN = (0.5, 2.0)
WRONG = 0.25
"""A share of images on which a kink within the step may be to blame."""


def slope(evidence: Evidence) -> Check:
    """Along the steepest direction the loss rises between half and twice as much as the gradient foretells.

    Catches what zeros do not: a branch whose gradient is stopped, a stand-in gradient, a saturated layer whose
    slope is rounding noise. The figure is the share of images on which it is off. Costs 1 forward.
    """
    gradient = evidence.slope()
    there = (gradient.flatten(1) != 0).any(dim=1) & torch.isfinite(gradient.flatten(1)).all(dim=1)
    if not bool(there.any()):
        return absent("slope", "there is no gradient other than zero to follow")
    images, norm = evidence.images, evidence.threat.norm
    before = evidence.loss(evidence.clean).double()
    # In logarithms: far from the boundary cross-entropy is exponential in the margin, and straight nowhere.
    rise = gradient.double() / before.clamp_min(1e-300)[:, None, None, None]
    way = norm.steepest(gradient, images)
    longest = STEP * evidence.threat.budgets(len(images)).double().clamp_max(norm.largest(tuple(images.shape[1:])))
    length = (CHANGE / (rise * way).flatten(1).sum(dim=1).clamp_min(1e-300)).minimum(longest)
    moved = (images + length.float()[:, None, None, None] * way).clamp(0.0, 1.0)
    foretold = (rise * (moved.double() - images.double())).flatten(1).sum(dim=1)
    change = (evidence.loss(evidence.oracle.judge(moved)).double() / before.clamp_min(1e-300)).log()
    visible = there & (foretold > 0)
    ratio = change[visible] / foretold[visible]
    fits = (ratio >= BETWEEN[0]) & (ratio <= BETWEEN[1])  # a NaN fits nowhere
    share = float((~fits).double().mean()) if len(ratio) else 1.0
    middle = float(ratio.median()) if len(ratio) else 0.0
    if share > WRONG:
        said = f"on {share:.0%} of the probe a step along them changes the loss by less than half or more than twice"
        return failed(
            "slope",
            share,
            f"misleading gradients: {said} what they foretell (median ratio {middle:.2g}); a branch stops them, or a "
            "layer saturates",
        )
    return passed("slope", share, f"steps along the gradient change the loss as foretold (median ratio {middle:.2g})")
