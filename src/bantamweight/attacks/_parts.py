"""Parts that attacks are expressions over: direction, rate, start, and the walk that joins them.

As in optax: a direction is a pair of pure functions with a memory whose leaves have one row per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._problem import NO_LANE
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Objective, Query
from bantamweight.threats import Norm, Threat
from bantamweight.threats._core import per_row
from bantamweight.types import Bool, Float, Images, Int64, Labels, Logits, Tensor

__all__ = [
    "Direction", "Rate", "Start", "any_row", "clean", "constant", "likeliest", "momentum", "needs_budget", "random",
    "select", "start_at", "steepest", "walk",
]  # fmt: skip

Rate = Callable[[Rows], Float[Tensor, " b"]]
"""The length of each row's next step, in pixels of the threat's norm."""

Start = Callable[[Rows], Images]
"""The first point of each row."""


@dataclass(frozen=True)
class Direction:
    """`init` makes the memory, `turn` gives the gradient to climb along (not of any size) and the next memory."""

    init: Callable[[Rows], State]
    turn: Callable[[State, Images], tuple[Images, State]]


steepest = Direction(lambda _: {}, lambda memory, gradient: (gradient, memory))
"""Steepest ascent under the threat's norm: the sign for L-inf, the normalised gradient for L2."""


def momentum(decay: float) -> Direction:
    """Steepest ascent along a sum of past gradients, each of L1 size 1, the sum `decay` of itself at each step."""

    def turn(memory: State, gradient: Images) -> tuple[Images, State]:
        # By the largest entry first: a sum of gradients near 1e-38 has few bits left.
        scaled = gradient / gradient.abs().flatten(1).amax(dim=1).clamp_min(1e-37)[:, None, None, None]
        share = scaled / scaled.abs().flatten(1).sum(dim=1).clamp_min(1.0)[:, None, None, None]
        carried = decay * memory["momentum"] + share
        return carried, {"momentum": carried}

    return Direction(lambda rows: {"momentum": torch.zeros_like(rows.images)}, turn)


def any_row(mask: Bool[Tensor, " b"]) -> bool:
    """Whether it is worth computing something for the masked rows; off the CPU always, since asking would wait."""
    return mask.device.type != "cpu" or bool(mask.any())


def select(mask: Bool[Tensor, "b ..."], new: Images, old: Images) -> Images:
    """`new` where the mask says so, else `old`; both finite. The bits of `torch.where` in a quarter of its time."""
    weight = mask.to(old.dtype)
    return torch.lerp(old, new, per_row(weight) if mask.ndim == 1 else weight)


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


def likeliest(count: int) -> Callable[[Logits, Labels], Int64[Tensor, "b lanes"]]:
    """A lane for each of the `count` likeliest classes of the clean image but its own; fewer where there are fewer."""

    def aim(clean_logits: Logits, labels: Labels) -> Int64[Tensor, "b lanes"]:
        others = clean_logits.scatter(1, labels[:, None], -torch.inf)
        ranked = others.argsort(dim=1, descending=True, stable=True)[:, : min(count, clean_logits.shape[1] - 1)]
        unused = ranked.new_full((len(labels), count - ranked.shape[1]), NO_LANE)
        return torch.cat([ranked, unused], dim=1)

    return aim


def needs_budget(name: str, threat: Threat) -> None:
    """Raise InputError where the threat has no budget: only a minimum-norm attack can do without."""
    if math.isinf(threat.eps):
        raise InputError(f"{name} needs an eps; a minimum-norm attack (ddn, fmn, fab) goes without")


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
    needs_budget(name, threat)
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
        slope, memory = direction.turn(memory, answer.gradient)
        moved = norm.project(points + norm.step(slope, points, rate(rows)), rows.images, rows.eps)
        return {"points": moved, **memory}

    return Attack(name, steps + 1, init, ask, tell, lanes=lanes)
