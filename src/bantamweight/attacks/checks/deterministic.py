"""The same image, the same answer (AutoAttack's flag for randomised defences, Croce and Hein 2020)."""

from __future__ import annotations

import torch

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["deterministic"]

LEVEL = "probe"
FORWARDS = 5
ROWS = 8
TOLERANCE = 1e-4


def deterministic(evidence: Evidence) -> Check:
    """Five forwards of the same eight images: labels equal, logits of unit length within 1e-4 of each other.

    A randomised model makes every verdict a draw of luck. Costs 4 forwards of 8 images.
    """
    images = evidence.images[:ROWS]
    answers = [evidence.clean[:ROWS], *(evidence.oracle.judge(images) for _ in range(FORWARDS - 1))]
    flips = sum(int((answer.argmax(dim=1) != answers[0].argmax(dim=1)).sum()) for answer in answers)
    units = torch.stack([answer / answer.norm(dim=1, keepdim=True).clamp_min(1e-10) for answer in answers])
    if not bool(torch.isfinite(units).all()):
        return failed("deterministic", None, "NaN or infinite logits, of which none can be said to equal another")
    apart = float((units[:, None] - units[None]).norm(dim=3).max())
    if flips or not apart <= TOLERANCE:
        return failed(
            "deterministic",
            apart,
            f"randomised output: the same image gave logits {apart:.2g} of their length apart in {FORWARDS} forwards; "
            "attack the mean of many forwards (eot)",
        )
    return passed("deterministic", apart, f"{FORWARDS} forwards of the same images agree within {TOLERANCE:g}")
