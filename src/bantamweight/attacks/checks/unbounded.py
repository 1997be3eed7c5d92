"""Without a budget every image falls (Carlini et al. 2019; "unconstrained attack failure" of Pintor et al. 2022)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed
from bantamweight.threats import linf

__all__ = ["unbounded"]

LEVEL = "full"
STEPS = 40


def unbounded(evidence: Evidence) -> Check:
    """PGD from the image itself, free to go anywhere in the box, breaks every image; the figure is its success.

    The largest ball of every norm is the whole box, so the walk is that of L-inf: it moves every pixel at every step,
    where one that counts pixels would change a few only. It starts at the image, since a random start in so large a
    ball would be noise that needs no gradient. Costs 40 forwards and backwards.
    """
    found = evidence.attack({"use": "pgd", "steps": STEPS, "start": "clean"}, threat=linf(eps=1.0))
    share = float(found["success"].mean())
    if share < 1.0:
        return failed(
            "unbounded",
            share,
            f"unconstrained failure: free to go anywhere, the attack breaks {share:.0%}; something hides gradients",
        )
    return passed("unbounded", share, "free to go anywhere, the attack breaks every image")
