"""Logits of a size at which cross-entropy still has a gradient (Carlini and Wagner 2017 on distillation)."""

from __future__ import annotations

import torch

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed
from bantamweight.oracle import margin

__all__ = ["scale"]

LEVEL = "probe"
LIMIT = 87.0
"""exp(-88) is no longer a normal float32: from here on even a careful cross-entropy is flat."""


def scale(evidence: Evidence) -> Check:
    """The largest margin on the probe is one that float32 can still take the exponential of.

    Logits multiplied by a constant change no label and hide every gradient of a softmax. Costs nothing.
    """
    gaps = margin(evidence.clean, evidence.labels, torch.full_like(evidence.labels, -1))
    bad = int(evidence.answers.isnan().any(dim=1).sum()) + int((~torch.isfinite(gaps)).sum())
    if bad:
        said = f"NaN or infinite margins on {bad} of {len(evidence.answers)} images"
        return failed("scale", None, f"{said}, on which cross-entropy has no gradient")
    largest = float(gaps.max())
    if largest > LIMIT:
        share = float((gaps > LIMIT).float().mean())
        return failed(
            "scale",
            largest,
            f"saturated logits: margins up to {largest:.3g}, {share:.0%} of them beyond {LIMIT:g} where cross-entropy "
            "is flat; attack with an objective that is blind to scale (dlr, margin)",
        )
    return passed("scale", largest, f"margins up to {largest:.3g} leave cross-entropy its gradient")
