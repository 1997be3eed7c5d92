"""What fools the proposer fools the judge ("transfer failure", Pintor et al. 2022, indicator 5)."""

from __future__ import annotations

import torch

from bantamweight.attacks.checks._core import Check, Evidence, failed, passed

__all__ = ["transfer_failure"]

LEVEL = "full"
LIMIT = 0.1


def transfer_failure(evidence: Evidence) -> Check:
    """Of the images that the attack fooled its own model with, at most a tenth stand before the judge.

    The figure is that share. A surrogate, or gradients in low precision, may be too far from what is judged. Costs
    nothing beyond `silent_success`.
    """
    tape, ending = evidence.tape(), evidence.ending()
    fooled = tape.margins < -tape.slack
    if not bool(fooled.any()):
        return passed("transfer_failure", 0.0, "the attack fooled its own model nowhere")
    share = float((fooled & ~torch.from_numpy(ending["success"])).sum() / fooled.sum())
    said = f"{share:.0%} of the images that fool the proposer do not fool the judge"
    return (failed if share > LIMIT else passed)("transfer_failure", share, said)
