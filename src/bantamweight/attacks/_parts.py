"""Parts that attacks are expressions over: direction, rate, start, and the walk that joins them.

As in optax: a direction is a pair of pure functions with a memory whose leaves have one row per image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Objective, Query
from bantamweight.threats import Norm, Threat
from bantamweight.types import Float, Images, Tensor

__all__ = ["Direction", "Rate", "Start", "clean", "constant", "random", "steepest", "walk"]

Rate = Callable[[Rows], Float[Tensor, " b"]]
"""The length of each row's next step, in pixels of the threat's norm."""

Start = Callable[[Rows], Images]
"""The first point of each row."""


@dataclass(frozen=True)
class Direction:
    """`init` makes the memory, `turn` gives a direction of unit size and the next memory."""

    init: Callable[[Rows], State]
    turn: Callable[[Rows, State, Images, Images], tuple[Images, State]]


def steepest(norm: Norm) -> Direction:
    """Steepest ascent under the threat's norm: the sign for L-inf, the normalised gradient for L2."""
    return Direction(lambda _: {}, lambda _, memory, gradient, points: (norm.steepest(gradient, points), memory))


def constant(rate: float | None, share: float = 1.0) -> Rate:
    """A fixed step in pixels, or a share of each row's budget when `rate` is None."""
    if rate is not None and not rate > 0.0:
        raise InputError(f"expected a step above 0 (in pixels of [0, 1]), got {rate:g}")
    return lambda rows: rows.eps * share if rate is None else torch.full_like(rows.eps, rate)


def clean(rows: Rows) -> Images:
    """Start at the image itself."""
    return rows.images.clone()


def random(norm: Norm) -> Start:
    """Start at a random point of the ball, drawn from the row's own key."""
    return lambda rows: norm.sample(rows.images, rows.eps, rows.keys, "start")


def start_at(threat: Threat, kind: Literal["clean", "random"]) -> Start:
    """The start a setting names."""
    return clean if kind == "clean" else random(threat.norm)


def walk(
    name: str,
    threat: Threat,
    *,
    objective: Objective,
    direction: Direction,
    rate: Rate,
    start: Start,
    steps: int,
    lanes: int = 1,
) -> Attack:
    """Follow a direction for `steps` projected steps, looking at every point on the way.

    Costs steps + 1 forwards and steps backwards: the last point is looked at, not differentiated.
    """
    if steps < 1 or lanes < 1:
        raise InputError(f"expected at least 1 step and 1 start, got steps={steps}, restarts={lanes}")
    norm = threat.norm

    def init(rows: Rows) -> State:
        return {"points": start(rows), **direction.init(rows)}

    def ask(rows: Rows, state: State) -> Query:
        return Query(state["points"], "gradient", objective, rows.step < steps)

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        if answer.gradient is None:
            return state
        points = state["points"]
        memory = {key: leaf for key, leaf in state.items() if key != "points"}
        turned, memory = direction.turn(rows, memory, answer.gradient, points)
        moved = norm.project(points + rate(rows)[:, None, None, None] * turned, rows.images, rows.eps)
        return {"points": moved, **memory}

    return Attack(name, steps + 1, init, ask, tell, lanes=lanes)
