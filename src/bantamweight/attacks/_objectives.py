"""What an attack raises. Every objective serves untargeted (target -1) and targeted rows alike."""

from __future__ import annotations

import torch
from torch.nn import functional

from bantamweight.oracle import margin
from bantamweight.types import Float, Labels, Logits, Tensor

__all__ = ["cross_entropy", "negative_margin"]


def cross_entropy(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """Cross-entropy of the label, or minus that of the target (Goodfellow et al. 2015; Kurakin et al. 2017).

    Computed as softplus(logsumexp of the others - own logit): the textbook form rounds 1 - p to zero beyond a margin
    of 17, and its gradient then points elsewhere; this one keeps its direction up to a margin of 87.
    """
    wanted = torch.where(targets >= 0, targets, labels)[:, None]
    own = logits.gather(1, wanted)[:, 0]
    others = torch.logsumexp(logits.scatter(1, wanted, -torch.inf), dim=1)
    loss = functional.softplus(others - own)
    return torch.where(targets >= 0, -loss, loss)


def negative_margin(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """Minus the logit margin (Carlini and Wagner 2017, f6): positive once the row is broken, never saturates."""
    return -margin(logits, labels, targets)
