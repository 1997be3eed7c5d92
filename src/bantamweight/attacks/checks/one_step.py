"""An iterative attack does no worse than a single step (Athalye et al. 2018, section 3.1)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, failed, outdone, passed

__all__ = ["one_step"]

LEVEL = "full"


def one_step(evidence: Evidence) -> Check:
    """FGSM breaks no more images than 50 steps do, luck aside; the figure is the difference in images.

    A few images may be the other way round: where the model is straight one step is as good as any walk, and a walk
    of finite steps stops short of the corner that the step jumps to. Costs 2 forwards.
    """
    walked, stepped = evidence.white(), evidence.attack("fgsm")
    many, one = int(walked["success"].sum()), int(stepped["success"].sum())
    said = f"one step breaks {one} of {len(evidence)}, fifty break {many}"
    if outdone(walked, stepped):
        return failed("one_step", float(one - many), f"{said}: the iterative attack is led astray")
    return passed("one_step", float(one - many), said)
