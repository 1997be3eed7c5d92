"""The point of a path that a target asks for: the largest at or below a budget, with its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from safetensors.torch import save

from bantamweight.compression._path import Costs, Path
from bantamweight.errors import InputError
from bantamweight.variants import Variant

__all__ = ["KINDS", "Found", "pick"]

KINDS = ("ratio", "macs", "parameters", "size_bytes", "latency_ms")


@dataclass(frozen=True, eq=False)
class Found:
    """Channels left in each group, their value in the target's unit, and that of the points below and above it."""

    widths: np.ndarray
    reached: float
    below: float | None
    above: float | None


def pick(
    kind: str,
    value: float,
    along: Path,
    cost: Costs,
    made: Callable[[np.ndarray], Variant],
    latency: Callable[[Variant], float] | None,
) -> Found:
    """The point for a target; `made(widths)` gives the variant there, `latency(variant)` its milliseconds.

    MACs and parameters are known at every point. Where the last step to a budget of these is a large one, such as a
    channel of a residual stream, that channel is passed over if others come closer. Bytes and latency are measured
    where a bisection looks, on the assumption that they fall along the path. Raises InputError with the nearest
    reachable value when even the last point is above the budget.
    """
    if kind == "ratio":
        sizes = along.widths[0].sum()
        return _beside(along.point(value), along, lambda point: float(1 - along.widths[point].sum() / sizes))
    if kind in ("macs", "parameters"):
        unit = float(cost.at(kind, along.widths[:1])[0]) if value <= 1 else 1.0
        counted = cost.at(kind, along.widths) / unit
        found = _largest(kind, value, along, lambda point: float(counted[point]))
        return _closer(found, along, value, lambda widths: cost.at(kind, widths) / unit)
    if kind == "size_bytes":
        return _largest(kind, value, along, cache(lambda point: float(_size(made(along.widths[point])))))
    if latency is None:
        raise InputError("a target in milliseconds has to be measured; pass latency=, a function of a variant")
    return _largest(kind, value, along, cache(lambda point: float(latency(made(along.widths[point])))))


def _size(variant: Variant) -> int:
    """Bytes of the float32 file, whose header depends on the shapes."""
    state = {name: value.float() if value.is_floating_point() else value for name, value in variant.weights.items()}
    return len(save({name: value.contiguous() for name, value in state.items()}))


def _largest(kind: str, value: float, along: Path, measured: Callable[[int], float]) -> Found:
    """The first point at or below the budget, by bisection."""
    low, high = 0, len(along.widths) - 1  # `high` is at or below the budget
    if (least := measured(high)) > value:
        raise InputError(
            f"expected {kind} of at most {value:g}, and the smallest that a cut of channels reaches is {least:.6g}; "
            "ask for that much, skip fewer layers, or round to a smaller multiple"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if measured(middle) <= value else (middle + 1, high)
    return _beside(high, along, measured)


def _beside(point: int, along: Path, measured: Callable[[int], float]) -> Found:
    below = measured(point + 1) if point + 1 < len(along.widths) else None
    return Found(along.widths[point], measured(point), below, measured(point - 1) if point else None)


def _closer(found: Found, along: Path, value: float, counted: Callable[[np.ndarray], np.ndarray]) -> Found:
    """The same, or what passing over the last step's channel gives where that is nearer to the budget."""
    if found.above is None or found.reached == value:
        return found
    point = int(np.flatnonzero((along.widths == found.widths).all(axis=1))[0])
    around = along.around(point)
    values = counted(around)
    fitting = np.flatnonzero(values <= value)
    if not len(fitting) or values[fitting[0]] <= found.reached:
        return found
    return replace(found, widths=around[fitting[0]], reached=float(values[fitting[0]]), below=found.reached)
