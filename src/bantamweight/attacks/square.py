"""Square attack (Andriushchenko, Croce, Flammarion and Hein 2020, "Square attack: a query-efficient black-box
adversarial attack via random search", algorithm 1)."""

from __future__ import annotations

from functools import cache

import torch

from bantamweight import rng
from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.attacks._objectives import cross_entropy
from bantamweight.attacks._parts import any_row, needs_budget, select
from bantamweight.attacks._squares import squares
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Query, margin
from bantamweight.threats import Threat
from bantamweight.types import Float, Images, Int64, Logits, Tensor

__all__ = ["square"]

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The proposals after which the squares' area is halved, in a schedule of 10,000 (section 5)."""
AHEAD = 32
"""Steps for which random words are drawn at a time."""


def square(
    threat: Threat,
    *,
    queries: int = 5000,
    area: float = 0.8,
    rescale: bool = False,
    restarts: int = 1,
) -> Attack:
    """Random search over squares of the image, from scores alone.

    Choose it where there is no gradient, or to see whether gradients are hidden: what it breaks and a gradient attack
    does not is a warning. `area` is the first squares' share of the image, halved on a schedule made for 10,000
    queries; `rescale` fits that to `queries`, which AutoAttack does not. Lowers the margin of the label, or the
    cross-entropy of the target. L-inf, L2 and L1. Costs queries + 1 forwards and no backward per image and restart.
    Raises InputError for L0 and for settings out of range.
    """
    if queries < 1 or restarts < 1 or not 0.0 < area <= 1.0:
        raise InputError(
            f"expected at least 1 query and 1 start and an area in (0, 1], got {queries}, {restarts} and {area:g}"
        )
    needs_budget("square", threat)
    kind = squares(threat.norm)

    def init(rows: Rows) -> State:
        points = kind.start(rows)
        worst = torch.full_like(rows.eps, torch.inf)
        words = torch.zeros(len(points), AHEAD * kind.words(points.shape[1]), dtype=torch.int64, device=points.device)
        state = {"points": points, "best": points.clone(), "loss": worst, "gap": worst.clone()}
        return {**state, "words": words, "drawn": torch.full_like(rows.step, -1)}

    def ask(rows: Rows, state: State) -> Query:  # noqa: ARG001
        return Query(state["points"], "scores")

    def tell(rows: Rows, state: State, answer: Answer) -> State:
        if answer.logits is None:
            return state
        gap = margin(answer.logits, rows.labels, rows.aims)
        loss = _loss(answer.logits, rows, gap)
        better = (loss < state["loss"]) | ((gap <= 0) & (state["gap"] > 0))
        best = _kept(better, state["points"], state["best"])
        channels, height, width = best.shape[1:]
        shares = [area / 2**halvings for halvings in range(len(HALVED_AFTER) + 1)]
        sides = tuple(kind.side(share * height * width, min(height, width)) for share in shares)
        level = _halvings(rows.step, queries if rescale else 10_000)
        words, drawn = _ahead(rows, state)
        each = kind.words(channels)
        now = (rows.step % AHEAD)[:, None] * each + torch.arange(each, device=level.device)
        return {
            "points": kind.propose(rows, best, sides, level, words.gather(1, now)),
            "best": best,
            "loss": torch.where(better, loss, state["loss"]),
            "gap": torch.where(better, gap, state["gap"]),
            "words": words,
            "drawn": drawn,
        }

    return Attack("square", queries + 1, init, ask, tell, access="score", lanes=restarts)


def _kept(better: Tensor, points: Images, best: Images) -> Images:
    """The best points so far; late in the search few rows have a new one."""
    if better.device.type != "cpu":
        return select(better, points, best)
    rows = torch.nonzero(better)[:, 0]
    return best.index_copy(0, rows, points[rows]) if len(rows) else best


def _ahead(rows: Rows, state: State) -> tuple[Int64[Tensor, "b n"], Int64[Tensor, " b"]]:
    """Random words for some steps ahead, and for which: many at once cost little more than few."""
    words, block = state["words"], rows.step // AHEAD
    due = state["drawn"] != block
    if any_row(due):
        fresh = rng.bits(rng.fold(rows.keys, block), words.shape[1], "squares")
        words = torch.where(due[:, None], fresh, words)
    return words, block


def _loss(logits: Logits, rows: Rows, gap: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """What is to fall: the margin of the label, or the cross-entropy of the target."""
    if not any_row(rows.aims >= 0):
        return gap
    # In float64, because the last bit of a float32 exp or log depends on where in a vector register it falls.
    of_target = -cross_entropy(logits.double(), rows.labels, rows.aims).float()
    return torch.where(rows.aims >= 0, of_target, gap)


def _halvings(step: Int64[Tensor, " b"], length: int) -> Int64[Tensor, " b"]:
    """How many times the area has been halved when this many proposals have been made."""
    return (step[:, None] * 10_000 // length > _halved_after(step.device)).sum(dim=1)


@cache
def _halved_after(device: torch.device) -> Int64[Tensor, " n"]:
    """The schedule on a device; copied there once, because a copy from the host makes a device wait."""
    return torch.tensor(HALVED_AFTER, device=device)
