"""What crossed the boundary on the way is what was returned ("silent success", Pintor et al. 2022, indicator 3)."""

from __future__ import annotations

import torch

from bantamweight.attacks._verdicts import NEAR
from bantamweight.attacks.checks._core import Check, Evidence, failed, passed
from bantamweight.oracle import fooled

__all__ = ["silent_success"]

LEVEL = "full"


def silent_success(evidence: Evidence) -> Check:
    """No image stands of whose path the judge calls the closest point adversarial; the figure is how many do.

    Costs one attack of 50 steps to its end, and 1 forward.
    """
    tape, ending = evidence.tape(), evidence.ending()
    judged = evidence.oracle.judge(tape.closest)
    passed_by = fooled(judged, evidence.labels, torch.full_like(evidence.labels, -1), NEAR)
    silent = int(passed_by.logical_and(~torch.from_numpy(ending["success"])).sum())
    if silent:
        return failed(
            "silent_success", float(silent), f"{silent} attacks passed an adversarial point and did not return it"
        )
    return passed("silent_success", 0.0, "every adversarial point on the way was returned")
