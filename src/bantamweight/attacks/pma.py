"""Probability margin attack (Xie et al. 2024, "Towards million-scale adversarial robustness evaluation with stronger
individual attacks", arXiv 2411.15210), in the two stages of Jiang et al. 2023, "Imbalanced gradients", that it uses."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._objectives import chosen, cross_entropy, probability_margin
from bantamweight.attacks._parts import random, steepest, walk
from bantamweight.errors import InputError
from bantamweight.oracle import Query
from bantamweight.threats import Threat
from bantamweight.types import Float, Labels, Logits, Tensor

__all__ = ["pma"]


def pma(threat: Threat, *, steps: int = 100, restarts: int = 1) -> Attack:
    """Two walks on the probability margin, each of which climbs one of the margin's two terms alone for half its steps.

    Choose it as the strongest single attack for its price: alone it comes close to AutoAttack. Steps fall from twice
    the budget to nothing along a cosine, once in each half. The first walk begins by lowering the label's
    probability, the second by raising the best other one's; both start at random. Costs steps + 1 forwards and steps
    backwards per image, walk and restart. Raises InputError for less than 2 steps.
    """
    if steps < 2:
        raise InputError(f"expected at least 2 steps, one for each half, got {steps}")
    half = steps // 2

    def rate(rows: Rows) -> Float[Tensor, " b"]:
        late = rows.step >= half
        done = torch.where(late, (rows.step - half).double() / (steps - half), rows.step.double() / half)
        return (rows.eps * (1.0 + torch.cos(math.pi * done))).float()

    def ask(rows: Rows, state: State) -> Query:
        stage = torch.where(rows.step >= half, 2, rows.lane % 2)
        objective = chosen(stage, cross_entropy, _rival, probability_margin)
        return Query(state["points"], "gradient", objective, rows.step < steps)

    whole = walk(
        "pma",
        threat,
        objective=probability_margin,
        direction=steepest,
        rate=rate,
        start=random(threat.norm),
        steps=steps,
        lanes=2 * restarts,
    )
    return replace(whole, ask=ask)


def _rival(logits: Logits, labels: Labels, targets: Labels) -> Float[Tensor, " b"]:
    """The logarithm of the best other class's probability; minus that where there is a target for it to make room for.

    `cross_entropy` is minus the logarithm of the label's own: a probability itself rounds to 0 or 1.
    """
    wanted = torch.where(targets >= 0, targets, labels)[:, None]
    rival = logits.detach().scatter(1, wanted, -torch.inf).argmax(dim=1)
    loss = cross_entropy(logits, rival, torch.full_like(targets, -1))
    return torch.where(targets >= 0, loss, -loss)
