"""FMN (Pintor et al. 2021, "Fast minimum-norm adversarial attacks through adaptive norm constraints", algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bantamweight.attacks._boundaries import annealed, like
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._inwards import begun, closed_in, seen, straight
from bantamweight.attacks._objectives import negative_margin
from bantamweight.attacks._parts import any_row, select
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Query, margin
from bantamweight.threats import Norm, Threat, l2
from bantamweight.threats._core import per_row
from bantamweight.types import Bool, Float, Images, Tensor

__all__ = ["fmn"]

EUCLIDEAN = l2(eps=math.inf).norm
"""Steps have unit length in L2 whatever the norm that is minimised."""

SEARCH = 10
"""Halvings between the image and an adversarial start."""

Budget = Float[Tensor, " b"]
Mask = Bool[Tensor, " b"]
Rule = Callable[[Budget, Budget, Mask, Budget], Budget]
"""The next radius, from the radius, its relative change, whether the point was adversarial, and the smallest size."""


def _continuous(radius: Budget, change: Budget, broken: Mask, best: Budget) -> Budget:
    return torch.where(broken, torch.minimum(radius * (1.0 - change), best), radius * (1.0 + change))


def _counted(radius: Budget, change: Budget, broken: Mask, best: Budget) -> Budget:
    """Whole numbers, changed by at least one (algorithm 1 for L0)."""
    fewer = torch.minimum(torch.minimum(radius - 1.0, torch.floor(radius * (1.0 - change))), best)
    more = torch.maximum(radius + 1.0, torch.floor(radius * (1.0 + change)))
    return torch.where(broken, fewer, more).clamp_min(0.0)


COUNTED: dict[str, Rule] = {"l0": _counted}


@dataclass(frozen=True)
class _Pace:
    """The settings of the descent, and what the norm makes of the radius."""

    norm: Norm
    steps: int
    alpha: float
    alpha_last: float
    gamma: float
    gamma_last: float
    walked: int

    @property
    def rule(self) -> Rule:
        return COUNTED.get(self.norm.name, _continuous)


def fmn(
    threat: Threat,
    *,
    steps: int = 100,
    alpha: float = 1.0,
    alpha_last: float | None = None,
    gamma: float = 0.05,
    gamma_last: float = 0.001,
    search: int = 3,
) -> Attack:
    """The smallest perturbation in any norm: gradient steps projected onto a ball whose radius follows the boundary.

    Choose it for distances in L0, L1 and L-inf, or from an adversarial start; run it until "converged". The step
    falls from `alpha` to `alpha_last` (a hundredth of it when None) and the radius' relative change from `gamma` to
    `gamma_last`, by half a cosine. The last `search` of the steps (none in the paper, none in L0) go from the best
    point straight towards the image: in few steps the descent may not have come back to where it was best. From a start
    that is not the image itself, ten halvings find the boundary between the two first. Costs `steps` forwards and at
    most `steps` - 1 backwards, and ten forwards more from a start. Raises InputError for settings that do not fall.
    """
    last = alpha / 100.0 if alpha_last is None else alpha_last
    if steps < 1 or not alpha >= last > 0.0 or not 1.0 > gamma >= gamma_last > 0.0 or search < 0:
        raise InputError(
            "expected steps >= 1, alpha >= alpha_last > 0, 1 > gamma >= gamma_last > 0 and search >= 0, got "
            f"steps={steps}, alpha={alpha:g}, alpha_last={last:g}, gamma={gamma:g}, gamma_last={gamma_last:g}, "
            f"search={search}"
        )
    # In L0 the radius counts pixels, and tries one less after every success.
    walked = steps - (0 if threat.norm.name in COUNTED else min(search, steps // 2))
    return _descent(_Pace(threat.norm, steps, alpha, last, gamma, gamma_last, walked))


def _descent(pace: _Pace) -> Attack:
    """The search between image and start, for the rows that have one, and then the descent."""
    norm, steps = pace.norm, pace.steps

    def init(rows: Rows) -> State:
        started = (rows.starts != rows.images).flatten(1).any(dim=1)
        # The largest perturbation of each image that the box allows.
        farthest = norm.size(torch.maximum(rows.images, 1.0 - rows.images))
        zero, one = torch.zeros_like(rows.eps), torch.ones_like(rows.eps)
        middle = _between(norm, rows, one / 2) if any_row(started) else rows.images
        return {
            "points": select(started, middle, rows.images),
            # Shares of the start: not known to be adversarial, and known to be.
            "inner": zero,
            "outer": one,
            # Steps taken; below zero while the boundary is being looked for.
            "turn": torch.where(started, -SEARCH, 0),
            "radius": one.clone() if pace.rule is _counted else one * torch.inf,
            "farthest": farthest,
            **begun(rows),
        }

    def ask(rows: Rows, state: State) -> Query:  # noqa: ARG001
        descending = (state["turn"] >= 0) & (state["turn"] < steps - 1) & ~straight(state)
        return Query(state["points"], "gradient", negative_margin, descending)

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        assert answer.logits is not None
        gap, searching = margin(answer.logits, rows.labels, rows.targets), state["turn"] < 0
        told = {**state, **seen(norm, rows, state, gap)}
        if answer.gradient is not None:
            told |= _step(pace, rows, told, answer.gradient, gap)
        if any_row(searching):
            halved = _halve(norm, rows, state, gap < 0)
            told = {
                **told,
                **{key: torch.where(like(searching, leaf), leaf, told[key]) for key, leaf in halved.items()},
            }
        told |= closed_in(norm, rows, told, state["turn"] >= pace.walked - 1)
        return {**told, "turn": state["turn"] + 1}

    def stop(rows: Rows, state: State) -> Mask:  # noqa: ARG001
        return state["turn"] >= steps

    return Attack("fmn", SEARCH + steps, init, ask, tell, stop=stop, exact=True)


def _between(norm: Norm, rows: Rows, share: Budget) -> Images:
    """The start's perturbation, cut down to a share of its size the way that suits the norm."""
    delta = rows.starts - rows.images
    return rows.images + norm.ball(delta, share * norm.size(delta))


def _halve(norm: Norm, rows: Rows, state: State, broken: Mask) -> State:
    """One halving between the image and the start; after the last, the adversarial end of what is left."""
    middle = (state["inner"] + state["outer"]) / 2
    inner, outer = torch.where(broken, state["inner"], middle), torch.where(broken, middle, state["outer"])
    points = _between(norm, rows, torch.where(state["turn"] == -1, outer, (inner + outer) / 2))
    return {"points": points, "inner": inner, "outer": outer, "radius": norm.size(points - rows.images)}


def _step(pace: _Pace, rows: Rows, state: State, gradient: Images, gap: Tensor) -> State:
    """A step along the gradient, projected onto box and ball of the next radius."""
    turn, points, broken = state["turn"].clamp_min(0), state["points"], gap < 0
    best, found = torch.minimum(state["reached"], state["farthest"]), state["reached"].isfinite()
    radius = pace.rule(state["radius"], annealed(pace.gamma, pace.gamma_last, turn, pace.steps), broken, best)
    if pace.rule is _continuous and any_row(~found):
        reach = _reach(pace, state["radius"], pace.norm.size(points - rows.images), gap, gradient)
        radius = torch.where(found, radius, reach)
    radius = torch.minimum(radius, state["farthest"])
    rate = annealed(pace.alpha, pace.alpha_last, turn, pace.steps)
    moved = torch.addcmul(points, EUCLIDEAN.steepest(gradient, points), per_row(rate))
    return {"points": pace.norm.project(moved, rows.images, radius), "radius": radius}


def _reach(pace: _Pace, radius: Budget, size: Budget, gap: Tensor, gradient: Images) -> Budget:
    """As far as the boundary is to first order, until it has been crossed once.

    From the radius, though the paper has the size, which the box may have cut down: it would be tried again and
    again. And always a little more, or a point right on the boundary would stay there.
    """
    before = torch.where(radius.isinf(), size, torch.maximum(radius, size))
    ahead = gap.abs() / pace.norm.dual(gradient).clamp_min(1e-12)
    return torch.maximum(before + ahead, before * (1.0 + pace.gamma_last))
