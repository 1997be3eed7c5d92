"""Predictions that noise does not move ("unstable predictions", Pintor et al. 2022, indicator 2)."""

from __future__ import annotations

import torch

from bantamweight import rng
from bantamweight.attacks.checks._core import Check, Evidence, failed, passed
from bantamweight.oracle import margin

__all__ = ["unstable"]

LEVEL = "full"
DRAWS = 20
SHARE = 0.05
"""How far towards a random point of the ball: near enough that an honest network is straight, whatever the budget."""
LIMIT = 0.5


def unstable(evidence: Evidence) -> Check:
    """Noise of a twentieth of the budget moves the margin by a small share of itself, in the median image.

    A loss that jumps about has gradients that lead nowhere. In L0 as many pixels as the budget allows move, each a
    twentieth of its way. The figure is that share (at most 1). Costs 20 forwards.
    """
    images = evidence.images
    free = torch.full_like(evidence.labels, -1)
    before = margin(evidence.clean, evidence.labels, free)
    keys, eps = rng.image_keys(images), evidence.threat.budgets(len(images))
    moves = []
    for draw in range(DRAWS):
        drawn = evidence.threat.norm.sample(images, eps, keys, "unstable", evidence.seed, draw)
        points = torch.lerp(images, drawn, SHARE)
        after = margin(evidence.oracle.judge(points), evidence.labels, free)
        moves.append((after - before).abs() / before.abs().clamp_min(1e-12))
    figure = float(torch.stack(moves).mean(dim=0).clamp_max(1.0).median())
    said = f"noise of a twentieth of the budget moves the median margin by {figure:.1%} of itself"
    return (passed if figure <= LIMIT else failed)("unstable", figure, said)
