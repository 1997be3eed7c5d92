"""Schedules of compression as data: which targets are reached one after another, and how much training follows each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from bantamweight.errors import InputError

__all__ = ["Round", "Schedule", "rounds"]

Schedule = Literal["one-shot", "iterative", "gradual"]


class Round(NamedTuple):
    """One cut and the training after it; `value` is in the unit of the model as it stands before this cut."""

    value: float
    finetune: Mapping[str, Any] | None


def rounds(
    schedule: Schedule, kind: str, value: float, dense: float, finetune: Mapping[str, Any] | None, count: int = 3
) -> tuple[Round, ...]:
    """The rounds of a schedule: all at once, or `count` cuts that each leave the same share of what was there.

    `dense` is the target's value before any cut, in absolute units. Han et al. 2015, "Learning both weights and
    connections", section 3.4: several cuts with training between them lose less than one. The epochs of `finetune`
    are those of each round. Raises InputError for fewer than two rounds and for rounds without training.

    >>> [round(one.value, 3) for one in rounds("iterative", "sparsity", 0.875, 0.0, {"epochs": 1}, 3)]
    [0.5, 0.75, 0.875]
    """
    if schedule != "iterative":
        return (Round(value, finetune),)
    if finetune is None:
        raise InputError("iterative compression trains between its cuts; leave finetune in, or use one-shot")
    if not 2 <= count <= 100:
        raise InputError(f"expected 2 to 100 rounds of iterative compression, got {count}")
    if kind == "sparsity":
        return tuple(Round(1 - (1 - value) ** (number / count), finetune) for number in range(1, count + 1))
    last = value * dense if kind in ("macs", "parameters") and value <= 1 else value
    if last >= dense:
        raise InputError(f"expected a {kind} below the model's {dense:g}, got {last:g}; ask for less")
    shares = [dense * math.exp(math.log(last / dense) * number / count) for number in range(1, count + 1)]
    return tuple(Round(share, finetune) for share in [*shares[:-1], last])
