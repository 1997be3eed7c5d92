"""Square breaks nothing that the run left standing (AutoAttack's flag: a gain of more than 0.2 points)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, absent, failed, passed

__all__ = ["square_gain"]

LEVEL = "full"
LIMIT = 0.002


def square_gain(evidence: Evidence) -> Check:
    """The share of images that Square breaks and the checked run did not is at most 0.2 points.

    Costs nothing beyond `score_only`, and 1,000 forwards where the run had targets, to which Square goes then.
    """
    if evidence.verdicts is None:
        return absent("square_gain", "there is no run that could have left an image standing")
    gained = int((evidence.square(aimed=True)["success"] & ~evidence.broken).sum())
    share = gained / len(evidence)
    if share > LIMIT:
        return failed(
            "square_gain", share, f"Square breaks {gained} of {len(evidence)} images that the run left standing"
        )
    return passed("square_gain", share, "Square breaks nothing that the run left standing")
