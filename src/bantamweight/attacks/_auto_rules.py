"""How Auto-PGD's steps adapt in each norm.

L-inf and L2: Croce and Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", algorithm 1. L1: Croce and Hein 2021, "Mind the box: l1-APGD for sparse adversarial attacks on
image classifiers", algorithm 1 and section 3.3. Constants not in the papers are those of the authors' AutoAttack.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from bantamweight import rng
from bantamweight.attacks._auto import SHRINKING, Rule
from bantamweight.attacks._core import Rows, State
from bantamweight.attacks._parts import random
from bantamweight.errors import InputError
from bantamweight.threats import Norm
from bantamweight.threats._core import per_row
from bantamweight.types import Bool, Float, Images, Int64, Tensor

__all__ = ["halving", "rule_of", "sparse"]

CARRIED = 0.25
"""The share of the last move that momentum carries on (1 - alpha of the paper)."""
SPARSITY = 0.2
"""The share of entries that L1 steps move at first, where no sparse point says otherwise."""
SPARSER = 1.5
"""L1 steps move this many times fewer entries than the best perturbation has; a step that failed shrinks as much."""
SHRUNK = 0.95
"""A perturbation with fewer entries than this share of its former ones is getting sparser."""
SHORTEST = 0.1
"""The shortest L1 step, in budgets."""


def halving(norm: Norm, rho: float) -> Rule:
    """Steepest steps with momentum, from twice the budget; halved where fewer than `rho` of the last ones rose.

    They are halved also where neither the step nor the best value has changed since the last look.
    """

    def begin(rows: Rows, state: State, eps: Tensor) -> State:
        return {
            "rate": 2.0 * eps,
            "previous": state["points"].clone(),
            "best_then": torch.full_like(eps, -torch.inf),  # nobody asks before the first look has set it
            "halved": torch.ones_like(rows.step, dtype=torch.bool),
        }

    def check(rows: Rows, state: State, eps: Tensor, window: Tensor) -> tuple[Bool[Tensor, " b"], State]:  # noqa: ARG001
        due = window > 0
        stuck = ~state["halved"] & (state["best_then"] >= state["best_loss"])
        halved = due & ((state["rises"] <= rho * window) | stuck)
        return halved, {
            "rate": torch.where(halved, state["rate"] / 2.0, state["rate"]),
            "halved": torch.where(due, halved, state["halved"]),
            "best_then": torch.where(due, state["best_loss"], state["best_then"]),
            "rises": torch.where(due, 0, state["rises"]),
        }

    def move(rows: Rows, state: State, eps: Tensor, begins: Bool[Tensor, " b"]) -> State:
        points = state["points"]
        step = per_row(state["rate"]) * norm.steepest(state["gradient"], points)
        ahead = norm.project(step.add_(points), rows.images, eps)
        carried = per_row(torch.where(begins, 0.0, CARRIED))
        onwards = ahead.sub_(points).mul_(1.0 - carried).add_(points)
        onwards += (points - state["previous"]).mul_(carried)
        return {"points": norm.project(onwards, rows.images, eps), "previous": points}

    return Rule(begin, check, move, random(norm), _closer, shrinks=False)


def _closer(steps: int) -> list[int]:
    """Checkpoints after 22% of the steps, then 3% closer each time, 6% at least (section 3.2)."""
    length, least, less = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    found: list[int] = []
    while sum(found) + length <= steps:
        found.append(length)
        length = max(length - less, least)
    return found


def sparse(norm: Norm, shrinks: bool) -> Rule:
    """Equal steps on the steepest entries only, ever fewer of them while the best perturbation gets sparser.

    Where it does not, the step shrinks; where it does, the step is whole again and starts from the best point.
    """

    def moved(rows: Rows, points: Images) -> Int64[Tensor, " b"]:
        return (points != rows.images).flatten(1).sum(dim=1)

    def fewer(count: Tensor) -> Int64[Tensor, " b"]:
        return torch.ceil(count.double() / SPARSER).long()

    def begin(rows: Rows, state: State, eps: Tensor) -> State:
        entries, now = rows.images[0].numel(), moved(rows, state["points"])
        # A stage goes on with the sparsity of its first point; a lone one begins with the paper's.
        known = (now > 0) & shrinks
        count = torch.where(known, fewer(now), math.ceil(SPARSITY * entries))
        return {"rate": eps.clone(), "count": count, "moved": torch.where(known, now, entries)}

    def check(rows: Rows, state: State, eps: Tensor, window: Tensor) -> tuple[Bool[Tensor, " b"], State]:
        due, now = window > 0, moved(rows, state["best"])
        sparser = due & (now < SHRUNK * state["moved"])
        shorter = torch.maximum(state["rate"] / SPARSER, SHORTEST * eps)
        return sparser, {
            "rate": torch.where(sparser, eps, torch.where(due, shorter, state["rate"])),
            "count": torch.where(due, fewer(now), state["count"]),
            "moved": torch.where(due, now, state["moved"]),
        }

    def move(rows: Rows, state: State, eps: Tensor, begins: Bool[Tensor, " b"]) -> State:  # noqa: ARG001
        steepness = state["gradient"].abs().flatten(1)
        chosen = _largest(steepness, state["count"]).mul_(state["gradient"].flatten(1).sign())
        length = state["rate"] / chosen.abs().sum(dim=1).clamp_min(1.0)
        step = chosen.mul_(length[:, None]).reshape(rows.images.shape)
        return {"points": norm.project(step.add_(state["points"]), rows.images, eps)}

    def start(rows: Rows) -> Images:
        """Noise far outside the ball, whose projection is sparse; the walk projects it."""
        noise = rng.normal(rows.keys, rows.images.shape[1:], "start")
        return norm.project(rows.images + noise, rows.images, rows.eps * (SHRINKING[0] if shrinks else 1.0))

    return Rule(begin, check, move, start, _evenly, shrinks=True)


def _largest(values: Float[Tensor, "b n"], count: Int64[Tensor, " b"]) -> Float[Tensor, "b n"]:
    """1.0 for as many of each row's largest values as its count says (at least one, and all that equal the last)."""
    count = count.clamp(1, values.shape[1])
    if values.device.type == "cpu":
        # One place of one row at a time, in 0.4 of topk's time, which sorts as many as the largest count says.
        places = (values.shape[1] - count).tolist()
        found = [np.partition(row, place)[place] for row, place in zip(values.numpy(), places, strict=True)]
        least = torch.from_numpy(np.array(found, dtype=np.float32))[:, None]
    else:
        least = values.sort(dim=1, descending=True).values.gather(1, count[:, None] - 1)
    return torch.ge(values, least, out=torch.empty_like(values))


def _evenly(steps: int) -> list[int]:
    """A checkpoint every 4% of the steps."""
    length = max(int(0.04 * steps), 1)
    return [length] * (steps // length)


RULES: dict[str, Callable[[Norm, float, bool | None], Rule]] = {
    "linf": lambda norm, rho, _: halving(norm, rho),
    "l2": lambda norm, rho, _: halving(norm, rho),
    "l1": lambda norm, _, shrink: sparse(norm, shrink is not False),
}


def rule_of(norm: Norm, *, rho: float, shrink: bool | None) -> Rule:
    """The rule of a norm; raises InputError where Auto-PGD has none."""
    if not 0.0 < rho < 1.0:
        raise InputError(f"expected rho between 0 and 1, got {rho:g}")
    if norm.name not in RULES:
        raise InputError(f"Auto-PGD is defined for {', '.join(RULES)}, not for {norm.name}")
    return RULES[norm.name](norm, rho, shrink)
