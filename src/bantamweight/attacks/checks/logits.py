"""Logits, not probabilities (AutoAttack's flag for softmax outputs, Croce and Hein 2020)."""

from __future__ import annotations

import torch

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["logits"]

LEVEL = "probe"
TOLERANCE = 1e-5


def logits(evidence: Evidence) -> Check:
    """Outputs are numbers, and not those of a softmax, at whatever scale: none negative, every row of the same sum.

    The gradient of a second softmax on top vanishes where the first is sure. Costs nothing.
    """
    bad = int((~torch.isfinite(evidence.answers)).any(dim=1).sum())
    if bad:
        said = f"NaN or infinite outputs on {bad} of {len(evidence.answers)} images, which no attack can raise or lower"
        return failed("logits", None, said)
    sums = evidence.clean.sum(dim=1)
    scale = float(sums.mean())
    alike = float((sums - scale).abs().max()) <= TOLERANCE * max(abs(scale), 1e-30)
    if float(evidence.clean.min()) >= 0.0 and scale > 0.0 and alike:
        times = "" if abs(scale - 1.0) <= TOLERANCE else f" times {scale:.4g}"
        return failed(
            "logits",
            scale,
            f"softmax output: each row is a probability distribution{times}; attack the logits before the softmax",
        )
    return passed("logits", float(evidence.clean.min()), "the outputs are not a probability distribution")
