"""An iterative attack does no worse than a single step (Athalye et al. 2018, section 3.1)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["one_step"]

LEVEL = "full"


def one_step(evidence: Evidence) -> Check:
    """FGSM breaks no more images than 50 steps do; the figure is the difference in images. Costs 2 forwards."""
    many, one = int(evidence.white()["success"].sum()), int(evidence.attack("fgsm")["success"].sum())
    said = f"one step breaks {one} of {len(evidence)}, fifty break {many}"
    if one > many:
        return failed("one_step", float(one - many), f"{said}: the iterative attack is led astray")
    return passed("one_step", float(one - many), said)
