"""Boundary attack (Brendel, Rauber and Bethge 2018, "Decision-based adversarial attacks", section 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bantamweight import rng
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._decisions import BLENDS, LOST, READY, begin, drawn, find_start, idle, put, succeeded
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Query
from bantamweight.threats import Norm, Threat
from bantamweight.threats._core import per_row
from bantamweight.types import Float, Tensor

__all__ = ["boundary"]

STEP, CHECK, DONE = READY, READY + 1, READY + 2
FACTOR = 1.5
"""By how much a step size changes (the authors' code)."""
EVERY = 10
"""Every tenth step the point on the sphere is looked at too, before the step towards the image."""
CHECKS, TRIES = 20, 30
"""How many looks a success rate is taken over: on the sphere, and towards the image."""
SPHERE, INWARD = (0.2, 0.5), (0.1, 0.25)
"""Success rates that leave the step sizes alone (the authors' code; the paper wants half of the first to succeed)."""


def boundary(
    threat: Threat,
    *,
    steps: int = 25_000,
    sphere_step: float = 0.01,
    inward_step: float = 0.01,
    converged: float = 1e-7,
    draws: int = 1000,
) -> Attack:
    """A random walk along the decision boundary towards the image, from labels alone (L2).

    Choose it as the baseline of decision attacks, or where hop_skip_jump stalls; run it with `until="converged"`. Each
    step goes `sphere_step` of the distance around the image and `inward_step` towards it, and is kept when it is
    adversarial; both sizes follow the success rates, until the second falls below `converged`. It begins at the row's
    start, which a targeted attack needs, else at one of up to `draws` noise images; a row that finds none fails.
    Defaults are the authors'. Costs 1.1 labels per step, no backwards. Raises InputError for a norm other than L2 or
    settings out of range.
    """
    if threat.norm.name != "l2":
        raise InputError(f"boundary is defined for l2, not for {threat.norm.name}; use hop_skip_jump for linf")
    if min(steps, draws) < 1 or not min(sphere_step, inward_step) > 0.0 or not 0.0 <= converged < inward_step:
        raise InputError(
            f"expected steps and draws of at least 1, step sizes above 0 and converged below inward_step, got {steps}, "
            f"{draws}, {sphere_step:g}, {inward_step:g} and {converged:g}"
        )
    walk = _Walk(threat.norm, steps, sphere_step, inward_step, converged, draws)
    return Attack(
        "boundary",
        1 + draws + BLENDS + steps + steps // EVERY,
        walk.init,
        lambda _, state: Query(state["points"], "label"),
        walk.tell,
        access="decision",
        stop=lambda _, state: (state["phase"] == DONE) | (state["phase"] == LOST),
    )


@dataclass(frozen=True)
class _Walk:
    """The phases after a start was found: STEP to a candidate, and now and then CHECK the sphere before it."""

    norm: Norm
    steps: int
    sphere: float
    inward: float
    converged: float
    draws: int

    def init(self, rows: Rows) -> State:
        zeros, none = torch.zeros_like(rows.eps), torch.zeros_like(rows.step)
        rates = {"checked": none, "held": none.clone(), "tried": none.clone(), "won": none.clone()}
        sizes = {"sphere": zeros + self.sphere, "inward": zeros + self.inward}
        return {**begin(rows), **rates, **sizes, "walked": none.clone(), "candidate": torch.zeros_like(rows.images)}

    def tell(self, rows: Rows, state: State, answer: Answer) -> State:
        found, phase = succeeded(rows, answer), state["phase"]
        state = find_start(rows, state, found, self.draws)
        check, step = phase == CHECK, phase == STEP
        began = (phase < READY) & (state["phase"] == READY)
        if idle(check | step | began):
            return state
        state = put(state, check, checked=state["checked"] + 1, held=state["held"] + found)
        state = put(state, step, tried=state["tried"] + 1, won=state["won"] + found, walked=state["walked"] + 1)
        nearer = self.norm.size(state["points"] - rows.images) < self.norm.size(state["source"] - rows.images)
        state = put(state, step & found & nearer, source=state["points"])
        state = self.adapted(state)
        over = step & ((state["walked"] >= self.steps) | (state["inward"] < self.converged))
        state = put(state, over, phase=torch.full_like(phase, DONE))
        state = put(state, check, points=state["candidate"], phase=torch.full_like(phase, STEP))
        return self.proposed(rows, state, (began | step) & ~over)

    def adapted(self, state: State) -> State:
        """Longer steps where they succeed often, shorter ones where they rarely do (section 2.3)."""
        full = state["checked"] >= CHECKS
        factor = _factor(state["held"], state["checked"], SPHERE)
        none = torch.zeros_like(state["held"])
        sizes = {"sphere": state["sphere"] * factor, "inward": state["inward"] * factor}
        state = put(state, full, checked=none, held=none, **sizes)
        full = state["tried"] >= TRIES
        factor = _factor(state["won"], state["tried"], INWARD)
        return put(state, full, tried=none, won=none, inward=state["inward"] * factor)

    def proposed(self, rows: Rows, state: State, mask: Tensor) -> State:
        """Section 2.2: a step on the sphere around the image, then one towards it; the next query is one of the two."""
        back = rows.images - state["source"]
        distance = self.norm.size(back).clamp_min(1e-30)
        noise = drawn(rows, mask, lambda keys: rng.normal(keys, back.shape[1:], "step"))
        along = (noise * back).flatten(1).sum(dim=1) / distance.square()
        noise = noise - per_row(along) * back
        noise = noise * per_row(state["sphere"] * distance / self.norm.size(noise).clamp_min(1e-30))
        # By Pythagoras the sum, shrunk, lies on the sphere again.
        shrunk = (noise - back) / per_row((state["sphere"].square() + 1.0).sqrt())
        sphere = (rows.images + shrunk).clamp(0.0, 1.0)
        back = rows.images - sphere
        now = self.norm.size(back).clamp_min(1e-30)
        # The box may have moved the point off the sphere; the step ends at the distance meant all the same.
        length = (state["inward"] * distance + now - distance).clamp_min(0.0) / now
        candidate = (sphere + per_row(length) * back).clamp(0.0, 1.0)
        look = mask & (state["walked"] % EVERY == EVERY - 1)
        phase = torch.where(look, CHECK, STEP)
        points = torch.where(per_row(look), sphere, candidate)
        return put(state, mask, candidate=candidate, points=points, phase=phase)


def _factor(wins: Tensor, tries: Tensor, good: tuple[float, float]) -> Float[Tensor, " b"]:
    rate = wins / tries.clamp_min(1)
    one = torch.ones_like(rate)
    return torch.where(rate > good[1], one * FACTOR, torch.where(rate < good[0], one / FACTOR, one))
