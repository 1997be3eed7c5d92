"""The last steps towards the smallest perturbation: from the best point there is straight to the image.

A search that walks along the boundary ends with an adversarial point that lies a little beyond it, or far beyond where
the walk has not come back to it. The straight line from that point to the image crosses the boundary, and a few
forwards find where.
"""

from __future__ import annotations

import torch

from bantamweight.attacks._parts import any_row, select
from bantamweight.attacks._problem import Rows, State
from bantamweight.threats import Norm
from bantamweight.types import Bool, Float, Tensor

__all__ = ["begun", "closed_in", "seen", "straight"]

WALK = -1.0
"""The share of a point that is not on the line."""


def begun(rows: Rows) -> State:
    """Leaves for a search that knows nothing yet: no adversarial point, no margin of the image itself."""
    none = torch.zeros_like(rows.eps)
    return {
        # The smallest adversarial point of the walk, and its size.
        "anchor": rows.images.clone(),
        "reached": none + torch.inf,
        # Shares of the line that are known not to be and to be adversarial, and the margins there.
        "low": none,
        "low_gap": none.clone(),
        "high": none + 1.0,
        "high_gap": none.clone(),
        "image_gap": none + torch.inf,
        # Where on the line the point is that was asked.
        "share": none + WALK,
    }


def straight(state: State) -> Bool[Tensor, " b"]:
    """Whether the point that is asked lies on the line."""
    return state["share"] >= 0.0


def seen(norm: Norm, rows: Rows, state: State, gap: Float[Tensor, " b"]) -> State:
    """What the margin `gap` of the points says of the line, or of a better point to draw it to."""
    size = norm.size(state["points"] - rows.images)
    on_line, broken = straight(state), gap < 0
    image_gap = torch.where(size == 0, gap, state["image_gap"])
    closer = broken & ~on_line & (size < state["reached"])
    low, high = on_line & ~broken, on_line & broken
    return {
        "anchor": select(closer, state["points"], state["anchor"]) if any_row(closer) else state["anchor"],
        "reached": torch.where(closer, size, state["reached"]),
        "low": torch.where(closer, 0.0, torch.where(low, state["share"], state["low"])),
        "low_gap": torch.where(closer, image_gap, torch.where(low, gap, state["low_gap"])),
        "high": torch.where(closer, 1.0, torch.where(high, state["share"], state["high"])),
        "high_gap": torch.where(closer | high, gap, state["high_gap"]),
        "image_gap": image_gap,
    }


def closed_in(norm: Norm, rows: Rows, state: State, late: Bool[Tensor, " b"]) -> State:
    """The next point of the `late` rows, on the line if there is one."""
    late = late & state["reached"].isfinite()
    if not any_row(late):
        return {}
    share = _crossing(state)
    size = torch.where(late, share * state["reached"], 0.0)
    points = rows.images + norm.ball(state["anchor"] - rows.images, size)
    points = select(late, points.clamp_(0.0, 1.0), state["points"])
    return {"points": points, "share": torch.where(late, share, WALK)}


def _crossing(state: State) -> Float[Tensor, " b"]:
    """Where the margin would be zero between the two ends if it were linear, and a little farther; else halfway."""
    ahead = state["low_gap"] / (state["low_gap"] - state["high_gap"])
    ahead = torch.where((ahead > 0.0) & (ahead < 1.0), ahead + 0.02 * (1.0 - ahead), 0.5)
    return state["low"] + ahead * (state["high"] - state["low"])
