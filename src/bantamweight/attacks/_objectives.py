"""What an attack raises. Every objective serves untargeted (target -1) and targeted rows alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

from bantamweight.oracle import Objective, margin
from bantamweight.predict import pad
from bantamweight.types import Float, Int64, Labels, Logits, Tensor

__all__ = ["OBJECTIVES", "Name", "chosen", "cross_entropy", "dlr", "negative_margin", "probability_margin", "to_aim"]

Name = Literal["ce", "dlr", "margin", "probability"]
"""What an objective is called in an attack's settings."""

TINY = 1e-12
"""The least spread of logits to divide by; the reference adds as much."""


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


def dlr(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """The margin as a share of the spread of the best logits (Croce and Hein 2020, eq. 6), blind to their scale.

    A target's spread is eq. 7's. Where there are too few classes to have one (untargeted 3, targeted 4), the margin.
    """
    gap = negative_margin(logits, labels, targets)
    return torch.where(targets >= 0, gap / _spread(logits, 4), gap / _spread(logits, 3))


def to_aim(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """Targeted DLR (Croce and Hein 2020, eq. 7): the target's logit against the label's, whoever else leads.

    For attacks that go through several classes and are content with any; rows without a target get `dlr`. Below 4
    classes the difference is not divided.
    """
    lead = logits.gather(1, targets.clamp_min(0)[:, None])[:, 0] - logits.gather(1, labels[:, None])[:, 0]
    aimed = lead / _spread(logits, 4)
    if targets.device.type == "cpu" and bool((targets >= 0).all()):
        return aimed
    return torch.where(targets >= 0, aimed, dlr(logits, labels, targets))


def _spread(logits: Logits, places: Literal[3, 4]) -> Float[Tensor, " b"]:
    """How far the best logit is above the third, or above the mean of third and fourth; 1 where there are fewer."""
    if logits.shape[1] < places:
        return torch.ones_like(logits[:, 0])
    best = logits.topk(places, dim=1).values
    return (best[:, 0] - best[:, 2:].mean(dim=1)).clamp_min(TINY)


def probability_margin(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """The probability of the best other class less the label's (Xie et al. 2024, PMA), as its log-odds.

    With m that margin this is log(1 + m) - log(1 - m): it rises where m rises and its gradient points the same way,
    but m itself rounds to -1 on confident rows, and neither steps nor comparisons are left then. Targeted rows: the
    target's probability less that of the best other class.
    """
    wanted = torch.where(targets >= 0, targets, labels)[:, None]
    rival = logits.detach().scatter(1, wanted, -torch.inf).argmax(dim=1, keepdim=True)
    whole = torch.logsumexp(logits, dim=1)

    def odds(winner: Tensor, loser: Tensor) -> Tensor:
        """log(1 + p_winner - p_loser), every term in logarithms."""
        rest = torch.logsumexp(logits.scatter(1, loser, -torch.inf), dim=1)
        return torch.logaddexp(logits.gather(1, winner)[:, 0] - whole, rest - whole)

    rise = odds(rival, wanted) - odds(wanted, rival)
    return torch.where(targets >= 0, -rise, rise)


def chosen(which: Int64[Tensor, " b"], *objectives: Objective) -> Objective:
    """A different objective for each row: `which` holds their numbers."""

    def objective(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
        # The oracle fills a short tile up by repeating its first row.
        rows = which[pad(torch.arange(len(which), device=which.device), (len(logits),))]
        values = torch.stack([one(logits, labels, targets) for one in objectives], dim=1)
        return values.gather(1, rows[:, None])[:, 0]

    return objective


OBJECTIVES: dict[Name, Objective] = {
    "ce": cross_entropy,
    "dlr": dlr,
    "margin": negative_margin,
    "probability": probability_margin,
}
