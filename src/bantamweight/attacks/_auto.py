"""Auto-PGD's walk: it keeps the best point, looks at its progress at checkpoints, and adapts its steps there.

What adapts, and how, is the rule of the norm (`_auto_rules`); this file joins a rule and a plan into an attack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._parts import Start, any_row, clean, needs_budget, select
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Objective, Query
from bantamweight.threats import Threat
from bantamweight.types import Bool, Float, Int64, Logits, Tensor

__all__ = ["Plan", "Rule", "auto", "plan"]

SHRINKING = (3.0, 2.0, 1.0)
"""The balls that a walk with a shrinking budget goes through (Croce and Hein 2021, section 3.3)."""


@dataclass(frozen=True)
class Plan:
    """What each query is for: the ball's radius in budgets, whether it begins a stage, and, where it is time for a
    look at the progress, how many steps ago the last one was (else 0)."""

    radius: tuple[float, ...]
    begins: tuple[bool, ...]
    window: tuple[int, ...]

    def at(self, step: Int64[Tensor, " b"]) -> tuple[Float[Tensor, " b"], Bool[Tensor, " b"], Int64[Tensor, " b"]]:
        """Radius, begin and window of the rows' queries; past the end, of the last one."""
        here = step.clamp_max(len(self.radius) - 1)
        radius, begins, window = (column[here] for column in _columns(self, step.device))
        return radius, begins, window


@cache
def _columns(schedule: Plan, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A plan's columns on a device; copied there once, because a copy from the host makes a device wait."""
    radius, begins, window = (
        torch.tensor(column, device=device) for column in (schedule.radius, schedule.begins, schedule.window)
    )
    return radius, begins, window


@dataclass(frozen=True)
class Rule:
    """How one norm's steps adapt: pure functions of the rows, the walk's state and the ball's size.

    `begin` makes the memory of a stage from its first points; `check` says, from the window of `Plan`, which rows go
    back to their best point; `move` makes the next points. The last two return what they changed. `start` is where a
    random start lies, `windows` spaces the checkpoints over a number of steps, `shrinks` says whether the ball starts
    larger.
    """

    begin: Callable[[Rows, State, Tensor], State]
    check: Callable[[Rows, State, Tensor, Tensor], tuple[Bool[Tensor, " b"], State]]
    move: Callable[[Rows, State, Tensor, Bool[Tensor, " b"]], State]
    start: Start
    windows: Callable[[int], list[int]]
    shrinks: bool


def plan(steps: int, shrinks: bool, windows: Callable[[int], list[int]]) -> Plan:
    """One stage, or three of 30%, 30% and the remaining steps in ever smaller balls.

    A stage of n steps makes n + 1 queries, since it looks at its first point too.
    """
    first = math.ceil(0.3 * steps)
    stages = zip(SHRINKING, (first, first, steps - 2 * first), strict=True) if shrinks else [(1.0, steps)]
    radius: list[float] = []
    begins: list[bool] = []
    window: list[int] = []
    for size, length in stages:
        looks = windows(length)
        ends = [sum(looks[: place + 1]) for place in range(len(looks))]
        radius += [size] * (length + 1)
        begins += [True] + [False] * length
        window += [looks[ends.index(step)] if step in ends else 0 for step in range(length + 1)]
    return Plan(tuple(radius), tuple(begins), tuple(window))


def _among(mask: Bool[Tensor, " b"], new: State, old: State) -> State:
    """`old` with the leaves of `new` in the masked rows."""
    picked = {
        key: select(mask, leaf, old[key]) if leaf.ndim == 4 else torch.where(mask, leaf, old[key])
        for key, leaf in new.items()
    }
    return {**old, **picked}


def auto(
    name: str,
    threat: Threat,
    rule: Rule,
    *,
    objective: Callable[[Rows], Objective],
    steps: int,
    restarts: int,
    start: str,
    shrink: bool | None,
    lanes: int = 1,
    aim: Callable[[Logits, Tensor], Int64[Tensor, "b lanes"]] | None = None,
) -> Attack:
    """Walk by a rule. Costs a forward for each step and each stage's first point, and a backward less than that."""
    shrinks = rule.shrinks if shrink is None else shrink
    least = 4 if shrinks else 1
    if steps < least or restarts < 1:
        raise InputError(f"expected at least {least} steps and 1 start, got steps={steps}, restarts={restarts}")
    needs_budget(name, threat)
    norm, schedule = threat.norm, plan(steps, shrinks, rule.windows)
    queries = len(schedule.radius)
    first = rule.start if start == "random" else clean

    def init(rows: Rows) -> State:
        eps = rows.eps * schedule.radius[0]
        points = norm.project(first(rows), rows.images, eps)
        none = torch.full_like(rows.eps, -torch.inf)
        best = {"best": points, "best_loss": none, "best_gradient": torch.zeros_like(points)}
        state = {"points": points.clone(), "loss": none.clone(), "rises": torch.zeros_like(rows.step), **best}
        return {**state, **rule.begin(rows, state, eps)}

    def ask(rows: Rows, state: State) -> Query:
        return Query(state["points"], "gradient", objective(rows), rows.step < queries - 1)

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        if answer.gradient is None or answer.logits is None:
            return state
        radius, begins, window = schedule.at(rows.step)
        eps = radius * rows.eps
        # In float64, because the last bit of a float32 exp or log depends on where in a vector register it falls.
        loss = objective(rows)(answer.logits.double(), rows.labels, rows.aims).float()
        gradient = answer.gradient
        rises = torch.where(begins, 0, state["rises"] + (loss > state["loss"]))
        better = begins | (loss > state["best_loss"])
        seen = {"best": state["points"], "best_loss": loss, "best_gradient": gradient}
        state = _among(better, seen, {**state, "loss": loss, "rises": rises})
        state["gradient"] = gradient
        if any_row(window > 0):
            back, kept = rule.check(rows, state, eps, window)
            state = _among(back, {"points": state["best"], "gradient": state["best_gradient"]}, {**state, **kept})
        state |= rule.move(rows, state, eps, begins)
        del state["gradient"]
        radius, begins, _ = schedule.at(rows.step + 1)
        if any_row(begins):
            eps = radius * rows.eps
            again = {"points": norm.project(state["best"], rows.images, eps)}
            state = _among(begins, {**again, **rule.begin(rows, {**state, **again}, eps)}, state)
        return state

    return Attack(name, queries, init, ask, tell, lanes=lanes * restarts, starts=restarts, aim=aim)
