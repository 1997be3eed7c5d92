"""What attacks that see only labels share: is a row there, and the search for a first adversarial point.

A decision attack is a machine with one phase per row: rows of one tile may be in different phases, so every phase is a
masked update and nothing branches on data.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from bantamweight import rng
from bantamweight.attacks._core import Rows, State
from bantamweight.oracle import Answer, reached
from bantamweight.threats._core import per_row
from bantamweight.types import Bool, Float, Images, Int64, Tensor

__all__ = ["BLEND", "GIVEN", "LOST", "READY", "SEEK", "begin", "drawn", "find_start", "idle", "put", "succeeded"]

LOST, GIVEN, SEEK, BLEND, READY = range(5)
"""No start was found; look at the given start; draw noise; bisect from the noise towards the image; there is one."""

BLENDS = 10
"""Halvings between noise and image: to a thousandth of the way (Chen et al. 2020, public code)."""


def succeeded(rows: Rows, answer: Answer) -> Bool[Tensor, " b"]:
    """Which rows were answered with the target, or with any class but the label."""
    return reached(answer.label, rows.labels, rows.targets)


def idle(mask: Bool[Tensor, " b"]) -> bool:
    """Nobody is in this phase, so that a CPU may skip it; elsewhere nobody waits to hear."""
    return mask.device.type == "cpu" and not bool(mask.any())


def put(state: State, mask: Bool[Tensor, " b"], **leaves: Tensor) -> State:
    """The state with the given leaves changed in the rows of the mask."""
    wide = {key: mask.reshape(-1, *[1] * (leaf.ndim - 1)) for key, leaf in leaves.items()}
    return {**state, **{key: torch.where(wide[key], leaf, state[key]) for key, leaf in leaves.items()}}


def drawn(
    rows: Rows, mask: Bool[Tensor, " b"], draw: Callable[[Int64[Tensor, " m"]], Float[Tensor, "m ..."]]
) -> Images:
    """Numbers drawn from the keys of the rows of the mask for their next query, zeros for the others.

    Drawing costs as much as a small network; on a CPU only the rows that need it pay, which changes no number.
    """
    keys = rng.fold(rows.keys, rows.step + 1)
    if mask.device.type != "cpu":
        return draw(keys)
    index = torch.nonzero(mask)[:, 0]
    numbers = torch.zeros_like(rows.images)
    if len(index):
        numbers[index] = draw(keys[index])
    return numbers


def begin(rows: Rows) -> State:
    """The first query of each row: its given start, or else uniform noise."""
    given = (rows.starts != rows.images).flatten(1).any(dim=1)
    noise = rng.uniform(rows.keys, rows.images.shape[1:], "noise")
    points = torch.where(per_row(given), rows.starts, noise)
    zeros = torch.zeros_like(rows.eps)
    return {
        "phase": torch.where(given, GIVEN, SEEK),
        "count": torch.zeros_like(rows.step),
        "low": zeros,
        "high": torch.ones_like(zeros),
        "source": points,
        "points": points.clone(),
    }


def find_start(rows: Rows, state: State, found: Bool[Tensor, " b"], draws: int) -> State:
    """One answer of the search for a start, and the next query of the rows that go on searching.

    Uniform noise until it is adversarial, then a bisection between noise and image ("blended noise": Brendel et al.
    2018, section 2.1). A given start that is adversarial is taken as it is.
    """
    phase, points = state["phase"], state["points"]
    given, seek, blend = phase == GIVEN, phase == SEEK, phase == BLEND
    if idle(given | seek | blend):
        return state
    count = torch.where(seek | blend, state["count"] + 1, state["count"])
    middle = (state["low"] + state["high"]) / 2
    high = torch.where(blend & found, middle, state["high"])
    low = torch.where(blend & ~found, middle, state["low"])
    mixed = blend & (count >= BLENDS)
    state = put(state, given | (seek & found), source=points)
    state = put(state, mixed, source=_between(rows.images, state["source"], high))
    phase = torch.where(given, torch.where(found, READY, SEEK), phase)
    phase = torch.where(seek & found, BLEND, torch.where(seek & (count >= draws), LOST, phase))
    phase = torch.where(mixed, READY, phase)
    fresh = (seek & found) | mixed
    state |= {
        "phase": phase,
        "count": torch.where(fresh, 0, count),
        "low": torch.where(fresh, 0.0, low),
        "high": torch.where(fresh, 1.0, high),
    }
    ahead = _between(rows.images, state["source"], (state["low"] + state["high"]) / 2)
    noise = drawn(rows, phase == SEEK, lambda keys: rng.uniform(keys, points.shape[1:], "noise"))
    return put(put(state, phase == BLEND, points=ahead), phase == SEEK, points=noise)


def _between(images: Images, points: Images, share: Float[Tensor, " b"]) -> Images:
    return images + per_row(share) * (points - images)
