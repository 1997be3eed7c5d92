"""The order in which channels go, and what is left at every point on the way.

A path removes one channel at a time, so a later point has lost all that an earlier one has and more: MACs, parameters
and bytes never rise along it. A ratio, a budget and a latency are all answered by picking a point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from bantamweight.compression._groups import Group, removal
from bantamweight.errors import InputError, near
from bantamweight.models._profile import profile

__all__ = ["Costs", "Path", "costs", "path"]

Allocate = Literal["global", "local", "per_mac"]


@dataclass(frozen=True, eq=False)
class Path:
    """Nested cuts of coupled groups, from nothing to all but one multiple of `round_to` in each.

    `order` has for each group its channels, the first to go first; `steps` says whose channel goes next, and `at` at
    which ratio each has gone. `widths[p]` are the channels left in each group at point `p`; every point differs from
    the one before, and `points[k]` is the point after k steps.
    """

    groups: tuple[Group, ...]
    order: tuple[tuple[int, ...], ...]
    steps: np.ndarray
    at: np.ndarray
    widths: np.ndarray
    points: np.ndarray

    def point(self, ratio: float) -> int:
        """The point of a ratio of channels to remove; past the end of the path it is the last one."""
        return int(self.points[int(np.searchsorted(self.at, ratio, side="right"))])

    def channels(self, widths: np.ndarray) -> list[list[int]]:
        """The channels of each group that are gone when these many are left."""
        return [
            sorted(order[: group.size - int(width)])
            for group, order, width in zip(self.groups, self.order, widths, strict=True)
        ]

    def removed(self, widths: np.ndarray) -> dict[str, dict[str, list[int]]]:
        """The same, layer by layer."""
        return removal(self.groups, self.channels(widths))

    def around(self, point: int) -> np.ndarray:
        """Widths on the way from the point before, had the channel that this point takes been passed over."""
        start = self.widths[point - 1]
        blocked = start != self.widths[point]
        after = self.widths[point:].copy()
        after[:, blocked] = start[blocked]
        return after


def path(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor],
    *,
    allocate: str,
    round_to: int,
    comparable: bool,
    prices: Sequence[float] | None = None,
) -> Path:
    """The order that scores (by group name) give: `global` compares all channels, `local` thins all groups alike.

    `per_mac` compares scores divided by `prices`, the MACs that one channel of each group takes, so that among channels
    of one worth the expensive go first.
    Scores that are not comparable are divided by their mean within the group first. Widths are rounded to the nearest
    multiple of `round_to` (halves up), never below one multiple, never above what there is.
    """
    if allocate not in get_args(Allocate) or (allocate == "per_mac" and prices is None):
        raise InputError(f"{allocate!r} is no allocation of channels{near(allocate, get_args(Allocate))}")
    if type(round_to) is not int or not 1 <= round_to <= 1024:
        raise InputError(f"expected channels to be rounded to a multiple of 1 to 1024, got round_to={round_to!r}")
    order, rows = [], []
    total = sum(group.size for group in groups)
    for number, group in enumerate(groups):
        values = scores[group.name].detach().double().cpu()
        mean = float(values.mean())
        values = values if comparable or mean == 0 else values / abs(mean)
        ranks = torch.argsort(values, stable=True)
        order.append(tuple(ranks.tolist()))
        if allocate == "per_mac" and prices is not None:
            values = values / max(prices[number], 1.0)
        for place in range(group.size - min(round_to, group.size)):
            key = (place + 0.5) / group.size if allocate == "local" else float(values[ranks[place]])
            rows.append((key, number, place))
    rows.sort()
    steps = np.array([number for _, number, _ in rows], dtype=np.int64)
    thresholds = [key for key, _, _ in rows] if allocate == "local" else (np.arange(len(rows)) + 0.5) / total
    sizes = np.array([group.size for group in groups], dtype=np.int64)
    gone = np.zeros((len(steps) + 1, len(groups)), dtype=np.int64)
    gone[np.arange(1, len(steps) + 1), steps] = 1
    left = sizes - np.cumsum(gone, axis=0)
    rounded = np.where(left == sizes, sizes, (2 * left + round_to) // (2 * round_to) * round_to)
    widths = np.minimum(np.maximum(rounded, round_to), sizes)
    new = np.r_[True, (np.diff(widths, axis=0) != 0).any(axis=1)]
    return Path(tuple(groups), tuple(order), steps, np.array(thresholds), widths[new], np.cumsum(new) - 1)


class _Row(NamedTuple):
    """A cost of a layer that is proportional to its channels out, and to those in when `inward`."""

    cost: int
    out: int
    inputs: int
    layer: str
    inward: bool


@dataclass(frozen=True, eq=False)
class Costs:
    """What widths of groups cost for one image, in closed form: rows that depend on them, and a rest that does not."""

    groups: tuple[Group, ...]
    rows: Mapping[str, tuple[_Row, ...]]
    rest: Mapping[str, int]

    def at(self, kind: str, widths: np.ndarray) -> np.ndarray:
        """`macs` or `parameters` for each row of widths."""
        return _total(self.rows[kind], self.groups, widths) + self.rest[kind]

    def prices(self) -> list[float]:
        """The MACs that one channel of each group takes while all others are there."""
        sizes = np.array([group.size for group in self.groups])
        whole = self.at("macs", sizes[None])[0]
        return [float(whole - less) for less in self.at("macs", sizes - np.eye(len(sizes), dtype=np.int64))]


def costs(module: nn.Module, groups: tuple[Group, ...], input_shape: tuple[int, int, int]) -> Costs:
    """MACs (of convolutions and linear layers) and parameters of a module as functions of the widths of its groups."""
    measured = profile(module, input_shape)
    layers = dict(module.named_modules())
    macs = [_row(layers[row.name], row.name, row.macs) for row in measured.layers if row.macs and row.name]
    owned = [row for name, layer in layers.items() for row in _owned(name, layer)]
    rows = {"macs": tuple(macs), "parameters": tuple(owned)}
    whole = {"macs": measured.macs, "parameters": measured.parameters}
    return Costs(groups, rows, {kind: whole[kind] - sum(row.cost for row in rows[kind]) for kind in rows})


def _row(layer: Any, name: str, count: int) -> _Row:
    outputs, inputs = _sides(layer)
    return _Row(count, outputs, inputs, name, inward=not _depthwise(layer))


def _owned(name: str, layer: Any) -> list[_Row]:
    if not isinstance(layer, (_ConvNd, nn.Linear, _BatchNorm)) or layer.weight is None:
        return []
    outputs, inputs = _sides(layer)
    inward = not isinstance(layer, _BatchNorm) and not _depthwise(layer)
    rows = [_Row(layer.weight.numel(), outputs, inputs, name, inward)]
    return rows + ([_Row(outputs, outputs, inputs, name, False)] if layer.bias is not None else [])


def _sides(layer: Any) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return (layer.out_channels, layer.in_channels) if isinstance(layer, _ConvNd) else (layer.num_features, 1)


def _depthwise(layer: Any) -> bool:
    return isinstance(layer, _ConvNd) and layer.groups > 1 and layer.groups == layer.in_channels


def _total(rows: Sequence[_Row], groups: Sequence[Group], widths: np.ndarray) -> np.ndarray:
    """The sum over rows for each row of widths; exact, in integers."""
    lost: dict[tuple[str, str], np.ndarray] = {}
    gone = np.array([group.size for group in groups]) - widths
    for number, group in enumerate(groups):
        for part in group.parts:
            each = len(part.positions[0])
            where = (part.layer, part.side)
            lost[where] = lost.get(where, 0) + gone[:, number] * each
    nothing = np.zeros(len(widths), dtype=np.int64)
    total = nothing.copy()
    for row in rows:
        outputs = row.out - lost.get((row.layer, "out"), nothing)
        inputs = row.inputs - lost.get((row.layer, "in"), nothing) if row.inward else nothing + 1
        divisor = row.out * (row.inputs if row.inward else 1)
        # Dividing first by what they share: products of large layers would overflow 64 bits otherwise.
        shared = math.gcd(row.cost, divisor)
        total += (row.cost // shared) * outputs * inputs // (divisor // shared)
    return total
