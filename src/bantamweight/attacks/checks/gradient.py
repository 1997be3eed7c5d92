"""Gradients that are there (Athalye et al. 2018; "unavailable gradients" of Pintor et al. 2022; AutoAttack's flag)."""

from __future__ import annotations

import torch

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["gradient"]

LEVEL = "probe"


def gradient(evidence: Evidence) -> Check:
    """No image's gradient of the cross-entropy is all zeros, NaN or infinite; the figure is the share that is.

    An interrupted graph, a rounding layer or a saturated activation gives zeros. Costs 1 forward and 1 backward.
    """
    rows = evidence.slope().flatten(1)
    zero, bad = ~rows.any(dim=1), ~torch.isfinite(rows).all(dim=1)
    share = float((zero | bad).float().mean())
    if share:
        said = f"{int(zero.sum())} all zeros, {int(bad.sum())} NaN or infinite"
        return failed(
            "gradient",
            share,
            f"unavailable gradients on {share:.0%} of the probe ({said}): something in the model stops or saturates "
            "them; replace it in the proposer (bpda) and trust attacks on scores or labels meanwhile",
        )
    return passed("gradient", 0.0, "every image has a finite gradient that is not zero")
