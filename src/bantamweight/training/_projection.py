"""The nearest point of a sparsity scheme, for cuts that happen inside a training."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bantamweight.compression._allocations import ALLOCATIONS, Allocation, Scores
from bantamweight.compression._core import Criterion, Masks, allocation_of, score, select
from bantamweight.errors import InputError, near
from bantamweight.parts import Part, configure
from bantamweight.training._values import Factor, Span

__all__ = ["Laid", "cuttable", "kept_at", "laid", "projection", "refuse_denser", "rising", "sparsity_of", "warn"]

SPREAD = {"redundant": "per_layer"}
"""How a scheme is spread that says nothing of it, where that is not globally: filters of a narrow layer are farther
apart than those of a wide one, which would lose everything."""


class Laid(NamedTuple):
    """Which weights a scheme keeps, and the layers that it would have left nothing of."""

    masks: Masks
    spared: tuple[str, ...]


def sparsity_of(sparsity: float | None, keep: float | None) -> float:
    """The share of weights that goes, from that or from the share that stays.

    Raises InputError unless one of them is given, and where nothing would go or nothing stay.

    >>> sparsity_of(None, 0.1)
    0.9
    """
    if keep is None:
        if sparsity is None:
            raise InputError("expected a sparsity, the share of weights that goes, or keep, the share that stays")
        return sparsity
    if sparsity is not None:
        raise InputError(f"expected a sparsity or keep, got both ({sparsity:g} and {keep:g}); leave one out")
    if not 0 < keep < 1:
        raise InputError(f"expected to keep a share of the weights between 0 and 1, got {keep:g}; 0.1 keeps a tenth")
    return round(1 - keep, 12)  # without what a difference of two floats leaves behind


def rising(schedule: str | dict[str, Any] | Part | None, steps: int) -> Factor | None:
    """The share of the way to the last sparsity after so many of the steps between two cuts; None for no schedule."""
    if schedule is None:
        return None
    factor: Factor = configure("schedules", schedule).make(Span(1, max(1, steps)))
    return lambda step: min(1.0, max(0.0, factor(step)))


def projection(
    criterion: str | dict[str, Any] | Part, sparsity: float, allocate: str | None
) -> tuple[Criterion, str | Allocation]:
    """The rule and how its cut is spread; raises InputError for one that needs evidence or can't reach the sparsity."""
    rule = configure("compression", criterion).make()
    if not isinstance(rule, Criterion) or rule.needs != "none":
        raise InputError(f"{getattr(rule, 'name', rule)} can't cut during training; use one that scores weights alone")
    how = allocation_of(rule, sparsity, allocate or SPREAD.get(rule.name))
    if isinstance(how, str) and how not in ALLOCATIONS:
        raise InputError(f"{how!r} is no allocation during training{near(how, ALLOCATIONS)}")
    return rule, how


def cuttable(module: nn.Module) -> list[str]:
    """Names of the weights that a training may cut: those that it moves; raises InputError where there are none."""
    found = [name for name in select(module) if module.get_parameter(name).requires_grad]
    if not found:
        raise InputError("expected weights of convolutions or linear layers to train and cut, got frozen ones only")
    return found


@torch.no_grad()
def kept_at(
    module: nn.Module, point: Mapping[str, Tensor], rule: Criterion, how: str | Allocation, sparsity: float
) -> Laid:
    """What the scheme keeps were the module's weights those of `point`, by tensor name; none of those that are gone.

    For magnitudes this is the Euclidean projection of the point onto the scheme, once multiplied by the masks.
    """
    copied = copy.deepcopy(module)
    for name, tensor in point.items():
        copied.get_parameter(name).copy_(tensor)
    scores = score(copied, rule, cuttable(copied))
    # Whatever a scheme thinks of a weight that is zero for good: it goes first, or more would go than was asked.
    left = {name: one.masked_fill(module.get_parameter(name) == 0, -torch.inf) for name, one in scores.items()}
    return laid(left, sparsity, how)


def refuse_denser(module: nn.Module, sparsity: float) -> None:
    """Raise InputError where more is gone already than is asked to go."""
    weights = [module.get_parameter(name) for name in cuttable(module)]
    gone, count = sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)
    if gone > math.ceil(sparsity * count):
        raise InputError(
            f"expected a sparsity above what the net has been cut to already ({gone / count:.3g}), "
            f"got {sparsity:g}; ask for more, or start from a denser net"
        )


@torch.no_grad()
def laid(scores: Scores, sparsity: float, how: str | Allocation) -> Laid:
    """The scheme's masks; a layer of which they leave nothing keeps its best weight.

    Which layers those are changes while a net learns, and a training is not given up for it when most of it is done.
    """
    masks = dict((ALLOCATIONS[how] if isinstance(how, str) else how)(scores, sparsity))
    spared = tuple(name for name, mask in masks.items() if not bool(mask.any()))
    for name in spared:
        one = torch.zeros_like(masks[name]).reshape(-1)
        one[scores[name].reshape(-1).argmax()] = True
        masks[name] = one.reshape(masks[name].shape)
    return Laid(masks, spared)


def warn(spared: tuple[str, ...], sparsity: float) -> None:
    """Say which layers a cut left one weight each."""
    if spared:
        names = ", ".join(repr(name) for name in spared[:3]) + (f" and {len(spared) - 3} more" * (len(spared) > 3))
        warnings.warn(
            f"a sparsity of {sparsity:g} would have left nothing of {names}, and one weight of each stayed; such a net "
            "seldom answers well: ask for less, or for magnitude with allocate=erk, which spares small layers",
            stacklevel=2,
        )
