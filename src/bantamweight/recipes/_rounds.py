"""Schedules of compression as data: which targets are reached one after another, and how much training follows each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from bantamweight.errors import InputError

__all__ = ["ROUNDS", "Round", "Schedule", "rounds"]

Schedule = Literal["one-shot", "stepwise", "iterative", "gradual"]

ROUNDS = {"stepwise": 10, "iterative": 3}
"""Schedules of several cuts, and how many where nobody says. Stepwise costs no more than a scoring each."""


class Round(NamedTuple):
    """One cut and the training after it; `value` is in the unit of the model as it stands before this cut."""

    value: float
    finetune: Mapping[str, Any] | None


def rounds(
    schedule: Schedule,
    kind: str,
    value: float,
    dense: float,
    finetune: Mapping[str, Any] | None,
    count: int | None = None,
) -> tuple[Round, ...]:
    """The rounds of a schedule: all at once, or `count` cuts that each leave the same share of what was there.

    `dense` is the target's value before any cut, in absolute units. A stepwise cut is scored again before each step, on
    what the last one left, and trained at the end. An iterative one is trained after each (Han et al. 2015, "Learning
    both weights and connections", section 3.4), for the epochs of `finetune`. Raises InputError for fewer than two
    rounds and for an iterative schedule without training.

    >>> [round(one.value, 3) for one in rounds("iterative", "sparsity", 0.875, 0.0, {"epochs": 1}, 3)]
    [0.5, 0.75, 0.875]
    """
    if schedule not in ROUNDS:
        return (Round(value, finetune),)
    if schedule == "iterative" and finetune is None:
        raise InputError("iterative compression trains between its cuts; leave finetune in, or use stepwise")
    count = ROUNDS[schedule] if count is None else count
    if not 2 <= count <= 100:
        raise InputError(f"expected 2 to 100 rounds of {schedule} compression, got {count}")
    trained = [finetune if schedule == "iterative" or number == count else None for number in range(1, count + 1)]
    if kind == "sparsity":
        if value <= dense:
            raise InputError(f"expected a sparsity above the model's {dense:.3g}, got {value:g}; ask for more")
        left = 1 - dense
        shares = [1 - left * ((1 - value) / left) ** (number / count) for number in range(1, count)]
        return tuple(map(Round, [*shares, value], trained))
    last = value * dense if kind in ("macs", "parameters") and value <= 1 else value
    if last >= dense:
        raise InputError(f"expected a {kind} below the model's {dense:g}, got {last:g}; ask for less")
    shares = [dense * math.exp(math.log(last / dense) * number / count) for number in range(1, count + 1)]
    return tuple(map(Round, [*shares[:-1], last], trained))
