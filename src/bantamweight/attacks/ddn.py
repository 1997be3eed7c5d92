"""DDN (Rony et al. 2019, "Decoupling direction and norm for efficient gradient-based L2 attacks", algorithm 1)."""

from __future__ import annotations

import torch

from bantamweight.attacks._boundaries import annealed, only
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._inwards import begun, closed_in, seen, straight
from bantamweight.attacks._objectives import cross_entropy
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Query, margin
from bantamweight.threats import Threat
from bantamweight.threats._core import per_row

__all__ = ["ddn"]


def ddn(
    threat: Threat,
    *,
    steps: int = 100,
    gamma: float = 0.05,
    radius: float = 1.0,
    levels: int | None = None,
    search: int = 3,
) -> Attack:
    """The smallest L2 perturbation, by steps along the gradient whose length is decided apart from their direction.

    Choose it for L2 distances at a fixed number of queries; run it until "converged". The radius starts at `radius`
    and shrinks by `gamma` after an adversarial point, grows by as much after another; the step falls from 1 to .01 by
    half a cosine. `levels=256` rounds every point to 8-bit pixels, so that what is found survives being stored as a
    picture. The radius comes no closer to the boundary than `gamma`, so the last `search` of the steps (none in the
    paper, none with `levels`) go from the best point straight towards the image. Costs `steps` forwards and at most
    `steps` - 1 backwards. Raises InputError for other norms than L2.
    """
    norm = only("ddn", threat, "l2")
    if steps < 1 or not 0.0 < gamma < 1.0 or not radius > 0.0 or (levels is not None and levels < 2) or search < 0:
        raise InputError(
            "expected steps >= 1, gamma between 0 and 1, radius above 0, at least 2 levels and search >= 0, "
            f"got steps={steps}, gamma={gamma:g}, radius={radius:g}, levels={levels}, search={search}"
        )
    # Rounded points lie beside the straight line.
    walked = steps - (min(search, steps // 2) if levels is None else 0)

    def init(rows: Rows) -> State:
        # No perturbation that the box allows is longer than that.
        farthest = norm.size(torch.maximum(rows.images, 1.0 - rows.images))
        walk = {"points": rows.images.clone(), "radius": torch.full_like(rows.eps, radius), "farthest": farthest}
        return {**walk, **begun(rows)}

    def ask(rows: Rows, state: State) -> Query:
        descending = (rows.step < steps - 1) & ~straight(state)
        return Query(state["points"], "gradient", cross_entropy, descending)

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        assert answer.logits is not None
        gap = margin(answer.logits, rows.labels, rows.targets)
        told = {**state, **seen(norm, rows, state, gap)}
        if answer.gradient is not None:
            rate, way = annealed(1.0, 0.01, rows.step, steps), norm.steepest(answer.gradient, state["points"])
            delta = torch.addcmul(state["points"] - rows.images, way, per_row(rate))
            grown = state["radius"] * torch.where(gap < 0, 1.0 - gamma, 1.0 + gamma)
            told["radius"] = torch.minimum(grown, state["farthest"])
            # In place: memory that is fresh costs more than arithmetic.
            delta.mul_(per_row(told["radius"] / norm.size(delta).clamp_min(1e-12)))
            told["points"] = delta.add_(rows.images).clamp_(0.0, 1.0)
        told |= closed_in(norm, rows, told, rows.step >= walked - 1)
        if levels is not None:
            told["points"] = torch.round(told["points"] * (levels - 1)) / (levels - 1)
        return told

    return Attack("ddn", steps, init, ask, tell, exact=True)
