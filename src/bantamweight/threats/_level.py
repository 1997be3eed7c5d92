"""The level at which a sum of capped straight lines reaches what is asked: projections onto balls and planes in a box.

A safeguarded Newton iteration on a piecewise linear function, exact as soon as it is in the right piece (about six
steps; Cominetti, Mascarenhas and Silva 2014, "A Newton's method for the continuous quadratic knapsack problem"). A
tenth of the time of sorting the breakpoints, and each row ends where it would have ended alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bantamweight.threats._core import Budget, Flat, above, total
from bantamweight.types import Float, Int64

__all__ = ["lengths", "shrunk", "spent"]

Column = Float[Tensor, "b 1"]
Excess = Callable[[Column], tuple[Budget, Budget]]

STEPS = 64
BLIND = 24
"""Steps where looking whether all rows are done would make a device wait; images need about six."""
CAUTIOUS = 16
"""Steps of Newton alone; from then on every other one halves the interval."""
EXACT = 8.0
"""How near a level is near enough, in roundings of what is asked; what is left over is shared out afterwards."""
FIRST = 48
"""How many of most worth are tried first; up to a 64th of all, torch finds them without sorting the others."""
LEAST = 2e-7
"""The share of what is asked that float32 sums can't tell from nothing."""


def lengths(room: Flat, weights: Flat, need: Budget, pull: Flat | None = None) -> Flat:
    """min(room, level * pull) with the level that makes each row's sum, weighed, `need`; `room` if none does.

    `pull` is 1 where it is not given. In float32: from a level below the right one Newton's step only ever rises, and
    it stays where it is once it is in the right piece, so that a row that is done does not move while others are not.
    """
    slopes = weights if pull is None else weights * pull
    level = need / total(slopes)
    done = (total(weights * room) <= need) | (need <= 0)
    level = torch.where(done, torch.where(need <= 0, 0.0, torch.inf), level)
    watched = room.device.type == "cpu"
    for _ in range(STEPS if watched else BLIND):
        wanted = level[:, None] if pull is None else level[:, None] * pull
        missing = need - total(torch.minimum(room, wanted).mul_(weights))
        slope = total(above(room, wanted).mul_(slopes))
        higher = level + missing / slope
        done = done | ~(higher > level) | (missing <= LEAST * need)
        level = torch.where(done, level, higher)
        # A row that is done stays where it is, so that it does not matter how long the others take.
        if watched and bool(done.all()):
            break
    wanted = level[:, None] if pull is None else (level[:, None] * pull).nan_to_num_(0.0)  # no pull, no way to go
    return torch.minimum(room, wanted)


def shrunk(amounts: Flat, caps: Flat, most: Budget) -> Flat:
    """min(max(amounts - level, 0), caps) with the least level that makes each row's sum at most `most`.

    The level is looked for in the precision of `amounts` (float32 at least), which finds the piece it lies in; what its
    rounding leaves over is counted in float64 and shared among the entries between nothing and their cap.
    """
    amounts, caps = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (amounts, caps))
    nothing, most = amounts.new_zeros(()), most.to(amounts.dtype)

    def parts(level: Column) -> tuple[Flat, Flat]:
        """What is left, and 1.0 where it falls with the level: where neither end has cut it off."""
        over = amounts - level
        left = torch.clamp(over, nothing, caps)
        return left, torch.eq(left, over, out=over)

    def excess(level: Column) -> tuple[Budget, Budget]:
        left, sloping = parts(level)
        return most - total(left), total(sloping)

    # Not zero: an amount of nothing does not fall with the level.
    least, high = torch.finfo(amounts.dtype).tiny, amounts.amax(dim=1)
    level = _root(excess, torch.where(most > 0, least, high), high, most)
    left, sloping = parts(level[:, None])
    missing = (most - total(left.double())).to(most.dtype)
    missing = torch.where(level > least, missing, missing.clamp_max(0.0))
    share = (missing / total(sloping).clamp_min(1.0))[:, None]
    return torch.minimum(left.addcmul_(sloping, share).clamp_min_(0.0), caps)


def spent(caps: Flat, worth: Flat, need: Budget) -> Flat:
    """What each contributes, in float64, when those of most worth give all of their cap until the sum is `need`.

    Where the few of most worth suffice, only those are sorted, in a tenth of the time.
    """
    caps, need = caps.double(), need.double()
    if caps.device.type != "cpu" or caps.shape[1] <= FIRST:  # elsewhere, looking would make the device wait
        return _given(caps, worth.argsort(dim=1, descending=True, stable=True), need)
    given = _given(caps, worth.topk(FIRST, dim=1).indices, need)
    short = torch.nonzero(total(given) < need * (1.0 - 1e-12))[:, 0]
    if len(short):
        order = worth[short].argsort(dim=1, descending=True, stable=True)
        given[short] = _given(caps[short], order, need[short])
    return given


def _given(caps: Flat, order: Int64[Tensor, "b m"], need: Budget) -> Flat:
    """What those in the order give, one after another; nothing from the others."""
    in_order = caps.gather(1, order)
    before = in_order.cumsum(dim=1) - in_order
    given = torch.minimum((need[:, None] - before).clamp_min_(0.0), in_order)
    return torch.zeros_like(caps).scatter_(1, order, given)


def _root(excess: Excess, low: Budget, high: Budget, scale: Budget) -> Budget:
    """Where a non-decreasing function crosses zero between `low` and `high`; `low` if it is above zero there."""
    at, done = low, torch.zeros_like(low, dtype=torch.bool)
    least, watched = torch.finfo(at.dtype).eps, at.device.type == "cpu"
    for step in range(STEPS if watched else BLIND):
        value, slope = excess(at[:, None])
        near = torch.maximum(EXACT * scale, 2.0 * at * slope).mul_(least)
        done = done | (value.abs() <= near) | ((value >= 0) & (at <= low))
        # A row that is done stays where it is, so that it does not matter how long the others take.
        if watched and bool(done.all()):
            break
        low, high = torch.where(value <= 0, at, low), torch.where(value >= 0, at, high)
        newton = at - value / slope
        trusted = (newton > low) & (newton < high)
        if step >= CAUTIOUS and step % 2 == 0:
            trusted = torch.zeros_like(trusted)
        at = torch.where(done, at, torch.where(trusted, newton, (low + high) / 2))
    return torch.where(done, at, high)
