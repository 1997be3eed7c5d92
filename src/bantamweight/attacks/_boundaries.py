"""The nearest decision boundary as a model's first-order picture shows it, and what minimum-norm attacks share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bantamweight.attacks._problem import Rows
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Classes
from bantamweight.threats import Norm, Threat
from bantamweight.types import Bool, Float, Images, Int64, Labels, Logits

__all__ = ["annealed", "contenders", "like", "nearest", "only"]

TINY = 1e-12
"""Below this length of a gradient a boundary counts as infinitely far; the reference divides by no less."""


def only(name: str, threat: Threat, *norms: str) -> Norm:
    """The threat's norm; raises InputError where the attack is not defined for it."""
    if threat.norm.name not in norms:
        raise InputError(f"{name} is defined for {', '.join(norms)}, got {threat.norm.name}; fmn serves every norm")
    return threat.norm


def like(mask: Bool[Tensor, " b"], leaf: Tensor) -> Bool[Tensor, "b ..."]:
    """One truth per row, to choose between leaves of a state."""
    return mask.reshape(-1, *[1] * (leaf.ndim - 1))


def annealed(first: float, last: float, step: Int64[Tensor, " b"], steps: int) -> Float[Tensor, " b"]:
    """Half a cosine from `first` at step 0 down to `last` at `steps`, each row at its own step."""
    # In float64: the last bit of a float32 cosine depends on where in a vector register it falls.
    share = (1.0 + torch.cos(step.double() * (math.pi / steps))) / 2.0
    return (last + (first - last) * share).float()


def contenders(most: int) -> Classes:
    """A row's own class (its target, else its label), then the likeliest others: `most` classes at the most."""

    def choose(logits: Logits, labels: Labels, targets: Labels) -> Int64[Tensor, "b j"]:
        own = torch.where(targets >= 0, targets, labels)[:, None]
        known = logits.nan_to_num(nan=-torch.inf, posinf=3e38, neginf=-torch.inf)
        return torch.sort(known.scatter(1, own, torch.inf), dim=1, descending=True, stable=True).indices[:, :most]

    return choose


def nearest(norm: Norm, rows: Rows, answer: Answer, choose: Classes) -> tuple[Float[Tensor, " b"], Images]:
    """The boundary to go for, as a function's value and gradient at the point: it lies where the function is zero.

    Untargeted: the nearest boundary between the label and another class. Targeted: every other class must be left
    behind, so the farthest of the boundaries not yet crossed, or else the nearest.
    """
    assert answer.logits is not None
    assert answer.jacobian is not None
    logits = answer.logits.gather(1, choose(answer.logits, rows.labels, rows.aims))
    values = logits[:, 1:] - logits[:, :1]
    normals = answer.jacobian[:, 1:] - answer.jacobian[:, :1]
    lengths = norm.dual(normals.flatten(0, 1)).reshape(values.shape)
    away = values / lengths.clamp_min(TINY)
    index = torch.where(rows.aims >= 0, away.argmax(dim=1), away.abs().argmin(dim=1))
    picked = index[:, None, None, None, None].expand(-1, 1, *normals.shape[2:])
    return values.gather(1, index[:, None])[:, 0], normals.gather(1, picked)[:, 0]
