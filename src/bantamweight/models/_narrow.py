"""Channels taken out of a module's layers: how a cut is made, and how it is replayed from an edit.

What is removed is plain data: for each layer, the numbers of the channels that go, on the side they go from (`out`,
`in`, or `pad` for the zeros that a shortcut adds). A convolution in groups loses the same channels of every group; a
depthwise one loses whole groups. The weights that stay are copied, so that replaying an edit on fresh weights and
cutting trained ones are one function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bantamweight.errors import InputError
from bantamweight.models.resnet20 import Shortcut

__all__ = ["Removed", "narrow"]

Removed = Mapping[str, Mapping[str, Sequence[int]]]
"""Layer name -> side -> channel numbers that go, in the numbering of before the cut."""

_SIDES = ("out", "in", "pad")


def narrow(module: nn.Module, removed: Removed) -> None:
    """Take the channels out, in place. Raises InputError when they can't go from that layer, before any has gone."""
    layers = dict(module.named_modules())
    work = []
    for name, sides in removed.items():
        layer = layers.get(name) if isinstance(name, str) else None
        rule = next((rule for kinds, rule in _RULES.items() if isinstance(layer, kinds)), None)
        if layer is None or rule is None or not isinstance(sides, Mapping) or not set(sides) <= set(_SIDES):
            raise _misfit(name)
        work.append((name, layer, rule, sides))
    for name, layer, rule, sides in work:
        rule(name, layer, sides)


def _misfit(name: Any) -> InputError:
    return InputError(f"an edit removes channels of {str(name)[:80]!r} that it does not have; save the variant again")


def _kept(name: str, count: int, sides: Mapping[str, Any], side: str) -> Tensor:
    """Numbers of the channels that stay; at least one does."""
    numbers = sides.get(side, ())
    if not isinstance(numbers, Sequence) or isinstance(numbers, str) or not all(type(n) is int for n in numbers):
        raise _misfit(name)
    gone = set(numbers)
    if len(gone) != len(numbers) or len(gone) >= count or (gone and not 0 <= min(gone) <= max(gone) < count):
        raise _misfit(name)
    return torch.tensor([number for number in range(count) if number not in gone], dtype=torch.long)


def _convolution(name: str, layer: Any, sides: Mapping[str, Any]) -> None:
    groups, width, outputs = layer.groups, layer.weight.shape[1], layer.out_channels
    rows = _kept(name, outputs, sides, "out")
    each = outputs // groups
    if groups == 1 or width > 1:
        columns = _kept(name, layer.in_channels, sides, "in")
        inside = [columns[columns // width == number] % width for number in range(groups)]
        shares = [rows[rows // each == number] % each for number in range(groups)]
        if not all(torch.equal(inside[0], other) for other in inside) or len({len(share) for share in shares}) > 1:
            raise _misfit(name)
        layer.in_channels, columns = len(columns), inside[0]
        if not len(columns) or not len(rows):
            raise _misfit(name)
    else:
        alive = torch.unique(rows // each)
        if sides.get("in") or len(rows) != len(alive) * each:
            raise _misfit(name)
        layer.in_channels = layer.groups = len(alive)
        columns = torch.zeros(1, dtype=torch.long)
    layer.out_channels = len(rows)
    _replace(layer, "weight", layer.weight.detach()[rows][:, columns])
    if layer.bias is not None:
        _replace(layer, "bias", layer.bias.detach()[rows])


def _linear(name: str, layer: Any, sides: Mapping[str, Any]) -> None:
    rows = _kept(name, layer.out_features, sides, "out")
    columns = _kept(name, layer.in_features, sides, "in")
    layer.out_features, layer.in_features = len(rows), len(columns)
    _replace(layer, "weight", layer.weight.detach()[rows][:, columns])
    if layer.bias is not None:
        _replace(layer, "bias", layer.bias.detach()[rows])


def _norm(name: str, layer: Any, sides: Mapping[str, Any]) -> None:
    if set(sides) - {"out"}:
        raise _misfit(name)
    rows = _kept(name, layer.num_features, sides, "out")
    layer.num_features = len(rows)
    for part in ("weight", "bias", "running_mean", "running_var"):
        if getattr(layer, part) is not None:
            _replace(layer, part, getattr(layer, part).detach()[rows])


def _shortcut(name: str, layer: Any, sides: Mapping[str, Any]) -> None:
    if set(sides) - {"pad"}:
        raise _misfit(name)
    numbers = sides.get("pad", ())
    added = layer.before + layer.after
    kept = _kept(name, added + 1, sides, "pad")  # all of the padding may go: what it pads stays
    if added in numbers:
        raise _misfit(name)
    before = int((kept < layer.before).sum())
    layer.before, layer.after = before, len(kept) - 1 - before


def _replace(layer: nn.Module, part: str, value: Tensor) -> None:
    old = getattr(layer, part)
    value = value.clone(memory_format=torch.contiguous_format)
    setattr(layer, part, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value)


_RULES = {
    (nn.Conv1d, nn.Conv2d, nn.Conv3d): _convolution,
    (nn.Linear,): _linear,
    (_BatchNorm,): _norm,
    (Shortcut,): _shortcut,
}
