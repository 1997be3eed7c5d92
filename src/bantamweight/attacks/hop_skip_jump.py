"""HopSkipJump (Chen, Jordan and Wainwright 2020, "HopSkipJumpAttack: a query-efficient decision-based attack")."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from bantamweight import rng
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._decisions import LOST, READY, begin, drawn, find_start, idle, put, succeeded
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Query
from bantamweight.threats import Threat
from bantamweight.threats._core import per_row
from bantamweight.types import Float, Images, Int64, Tensor

__all__ = ["hop_skip_jump"]

SEARCH, ESTIMATE, STRIDE, DONE = READY, READY + 1, READY + 2, READY + 3
STRIDES = 25
"""Halvings after which a stride that stays on the wrong side is given up: it is then below float32's resolution."""
MOST_HALVINGS = 24
FIRST_RADIUS = 0.1


@dataclass(frozen=True)
class _Geometry:
    """What the paper has per norm: the boundary is found to within d^-power, the probes are normal or uniform."""

    power: float
    draw: Callable[..., Float[Tensor, "b ..."]]


GEOMETRY = {"l2": _Geometry(1.5, rng.normal), "linf": _Geometry(2.0, rng.uniform)}


def hop_skip_jump(
    threat: Threat,
    *,
    steps: int = 40,
    evaluations: int = 100,
    most_evaluations: int = 10_000,
    gamma: float = 1.0,
    draws: int = 1000,
) -> Attack:
    """Walk along the decision boundary towards the image, with gradients estimated from labels alone (L2, L-inf).

    Choose it where only the predicted class is shown; run it with `until="converged"`, to the smallest perturbation.
    Algorithm 2: a bisection to the boundary, `evaluations * sqrt(step)` labels around it for the direction of its
    normal, a stride along it that is halved until it is adversarial. It begins at the row's start, which a targeted
    attack needs, else at one of up to `draws` noise images; a row that finds none fails. Defaults are the published
    ones. Costs 17,145 labels for the directions of 40 steps, and 20 to 30 per step for the searches; no backwards.
    Raises InputError for another norm or settings below 1.
    """
    if threat.norm.name not in GEOMETRY:
        raise InputError(f"hop_skip_jump is defined for l2 and linf, not for {threat.norm.name}; choose one of those")
    if min(steps, evaluations, most_evaluations, draws) < 1 or not gamma > 0.0:
        raise InputError(
            f"expected steps, evaluations and draws of at least 1 and gamma above 0, got {steps}, "
            f"{min(evaluations, most_evaluations)}, {draws}, {gamma:g}"
        )
    machine = _Machine(threat, GEOMETRY[threat.norm.name], steps, evaluations, most_evaluations, gamma, draws)
    return Attack(
        "hop_skip_jump",
        machine.queries(),
        machine.init,
        lambda _, state: Query(state["points"], "label"),
        machine.tell,
        access="decision",
        stop=lambda _, state: (state["phase"] == DONE) | (state["phase"] == LOST),
    )


@dataclass(frozen=True)
class _Machine:
    """The phases after a start was found: SEARCH the boundary, ESTIMATE its normal, STRIDE along it, and again."""

    threat: Threat
    geometry: _Geometry
    steps: int
    evaluations: int
    most: int
    gamma: float
    draws: int

    def budget(self, step: int) -> int:
        """How many labels the estimate of a step (from 1) takes."""
        return min(int(self.evaluations * math.sqrt(step)), self.most)

    def halvings(self, pixels: int) -> int:
        return min(math.ceil(self.geometry.power * math.log2(pixels) - math.log2(self.gamma)), MOST_HALVINGS)

    def queries(self) -> int:
        walk = sum(self.budget(step) + STRIDES + MOST_HALVINGS for step in range(1, self.steps + 1))
        return 1 + self.draws + 10 + MOST_HALVINGS + walk

    def init(self, rows: Rows) -> State:
        zeros, images = torch.zeros_like(rows.eps), torch.zeros_like(rows.images)
        own = {name: images.clone() for name in ("edge", "way", "drift", "votes")}
        return {
            **begin(rows),
            **own,
            "round": torch.zeros_like(rows.step),
            "ballot": zeros,
            "reach": zeros.clone(),
            "radius": zeros.clone(),
            "stride": zeros.clone(),
        }

    def tell(self, rows: Rows, state: State, answer: Answer) -> State:
        found, phase = succeeded(rows, answer), state["phase"]
        state = find_start(rows, state, found, self.draws)
        state = self.measured(rows, state, (phase < READY) & (state["phase"] == READY))
        state = self.searched(rows, state, found, phase == SEARCH)
        state = self.estimated(rows, state, found, phase == ESTIMATE)
        state = self.strode(rows, state, found, phase == STRIDE)
        return self.ahead(rows, state)

    def measured(self, rows: Rows, state: State, mask: Tensor) -> State:
        """Ready to search between the image and a new adversarial source."""
        if idle(mask):
            return state
        reach = self.threat.norm.size(state["source"] - rows.images)
        zeros = torch.zeros_like(reach)
        count = torch.zeros_like(state["count"])
        phase = torch.full_like(count, SEARCH)
        return put(state, mask, phase=phase, count=count, low=zeros, high=zeros + 1.0, reach=reach)

    def between(self, rows: Rows, state: State, share: Tensor) -> Images:
        """The point at a share of the way from the image to the source, as the norm measures it."""
        return self.threat.norm.project(state["source"], rows.images, share * state["reach"])

    def searched(self, rows: Rows, state: State, found: Tensor, mask: Tensor) -> State:
        """Algorithm 1, one halving."""
        if idle(mask):
            return state
        middle = (state["low"] + state["high"]) / 2
        state = put(state, mask & found, high=middle)
        state = put(state, mask & ~found, low=middle)
        state = put(state, mask, count=state["count"] + 1)
        pixels = rows.images[0].numel()
        over = mask & (state["count"] >= self.halvings(pixels))
        whole = per_row(state["high"] == 1.0)
        edge = torch.where(whole, state["source"], self.between(rows, state, state["high"]))
        later = self.gamma * state["reach"] / pixels
        zeros = torch.zeros_like(edge)
        turn = state["round"] + 1
        return put(
            state,
            over,
            edge=edge,
            radius=torch.where(turn == 1, FIRST_RADIUS, later),
            round=turn,
            phase=torch.where(turn > self.steps, DONE, ESTIMATE),
            count=torch.zeros_like(turn),
            drift=zeros,
            votes=zeros,
            ballot=torch.zeros_like(later),
        )

    def estimated(self, rows: Rows, state: State, found: Tensor, mask: Tensor) -> State:
        """Equation 16: the mean of the probes, each weighted by its label less the mean label."""
        if idle(mask):
            return state
        probe = (state["points"] - state["edge"]) / per_row(state["radius"].clamp_min(1e-30))
        vote = 2.0 * found.float() - 1.0
        votes = state["votes"] + per_row(vote) * probe
        state = put(
            state,
            mask,
            drift=state["drift"] + probe,
            votes=votes,
            ballot=state["ballot"] + vote,
            count=state["count"] + 1,
        )
        budgets, roots = _by_round(self, votes.device)
        asked = budgets[state["round"]]
        mean = state["ballot"] / asked
        alike = per_row(mean.abs() == 1.0)
        normal = torch.where(alike, state["votes"], state["votes"] - per_row(mean) * state["drift"])
        return put(
            state,
            mask & (state["count"] >= asked),
            way=self.threat.norm.steepest(normal, state["edge"]),
            stride=self.threat.norm.size(state["edge"] - rows.images) / roots[state["round"]],
            phase=torch.full_like(asked, STRIDE),
            count=torch.zeros_like(asked),
        )

    def strode(self, rows: Rows, state: State, found: Tensor, mask: Tensor) -> State:
        """Section IV-C: halve the stride until its end is adversarial."""
        if idle(mask):
            return state
        count = state["count"] + 1
        useless = count >= STRIDES
        end = torch.where(per_row(found), state["points"], state["edge"])
        state = put(state, mask, count=count, stride=state["stride"] / 2)
        state = put(state, mask & (found | useless), source=end)
        return self.measured(rows, state, mask & (found | useless))

    def ahead(self, rows: Rows, state: State) -> State:
        """The next query of each row."""
        edge = state["edge"]
        search, estimate, stride = (state["phase"] == phase for phase in (SEARCH, ESTIMATE, STRIDE))
        if not idle(search):
            middle = self.between(rows, state, (state["low"] + state["high"]) / 2)
            state = put(state, search, points=middle)
        if not idle(estimate):
            probes = drawn(rows, estimate, lambda keys: self.probe(keys, edge.shape[1:]))
            around = edge + per_row(state["radius"]) * probes
            state = put(state, estimate, points=around.clamp(0.0, 1.0))
        if not idle(stride):
            stepped = edge + per_row(state["stride"]) * state["way"]
            state = put(state, stride, points=stepped.clamp(0.0, 1.0))
        return state

    def probe(self, keys: Tensor, shape: tuple[int, ...]) -> Images:
        """Directions of unit Euclidean length."""
        noise = self.geometry.draw(keys, shape, "probe")
        if self.geometry.draw is rng.uniform:
            noise = 2.0 * noise - 1.0
        return noise / noise.flatten(1).square().sum(dim=1).sqrt().clamp_min(1e-30)[:, None, None, None]


@cache
def _by_round(machine: _Machine, device: torch.device) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"]]:
    """The labels an estimate takes and the root of its number, by round (0: none), on a device.

    Copied there once, because a copy from the host makes a device wait.
    """
    steps = range(1, machine.steps + 2)
    budgets = torch.tensor([1, *(machine.budget(step) for step in steps)], device=device)
    return budgets, torch.tensor([1.0, *(math.sqrt(step) for step in steps)], device=device)
