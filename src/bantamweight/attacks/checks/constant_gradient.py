"""Gradients that depend on the image (a gradient of integers, or the same for all, is made up)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, absent, failed, passed

__all__ = ["constant_gradient"]

LEVEL = "probe"
FEW = 16
"""From so many pixels on, two different sizes of entries are too few."""


def constant_gradient(evidence: Evidence) -> Check:
    """Gradients with more than two sizes of entries, not all integers, not bit for bit the same for every image.

    A hand-written backward pass that returns ones or signs looks like this. Costs nothing beyond `gradient`.
    """
    rows = evidence.slope().flatten(1)
    rows = rows[rows.any(dim=1)]
    if not len(rows):
        return absent("constant_gradient", "there is no gradient other than zero to look at")
    integers = sum(bool((row == row.round()).all()) for row in rows)
    few = sum(len(row.abs()[row != 0].unique()) <= 2 for row in rows) if rows.shape[1] >= FEW else 0
    same = len(rows) > 1 and bool((rows == rows[:1]).all())
    share = (len(rows) if same else max(integers, few)) / len(rows)
    if share:
        said = "the same for every image" if same else "integers" if integers >= few else "of one or two sizes only"
        return failed(
            "constant_gradient",
            share,
            f"constant gradient: on {share:.0%} of the probe it is {said}; a backward pass is made up somewhere",
        )
    return passed("constant_gradient", 0.0, "gradients differ between pixels and between images")
