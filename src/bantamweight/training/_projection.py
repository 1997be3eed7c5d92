"""The nearest point of a sparsity scheme, for cuts that happen inside a training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bantamweight.compression._allocations import ALLOCATIONS, Allocation
from bantamweight.compression._allocations import allocate as spread
from bantamweight.compression._core import Criterion, Masks, allocation_of, score, select
from bantamweight.errors import InputError
from bantamweight.parts import Part, configure

__all__ = ["cut_now", "kept_at", "projection"]


def projection(
    criterion: str | dict[str, Any] | Part, sparsity: float, allocate: str | None
) -> tuple[Criterion, str | Allocation]:
    """The rule and how its cut is spread; raises InputError for one that needs evidence or can't reach the sparsity."""
    rule = configure("compression", criterion).make()
    if not isinstance(rule, Criterion) or rule.needs != "none":
        raise InputError(f"{getattr(rule, 'name', rule)} can't cut during training; use one that scores weights alone")
    return rule, allocation_of(rule, sparsity, allocate)


@torch.no_grad()
def kept_at(
    module: nn.Module, point: Mapping[str, Tensor], rule: Criterion, how: str | Allocation, sparsity: float
) -> Masks:
    """Which weights the scheme keeps were the module's weights those of `point`, by tensor name.

    For magnitudes this is the Euclidean projection of the point onto the scheme, once multiplied by the masks. No layer
    is refused for losing all its weights: on the way there, it may.
    """
    copied = copy.deepcopy(module)
    for name, tensor in point.items():
        copied.get_parameter(name).copy_(tensor)
    return (ALLOCATIONS[how] if isinstance(how, str) else how)(score(copied, rule, select(copied)), sparsity)


@torch.no_grad()
def cut_now(module: nn.Module, rule: Criterion, how: str | Allocation, sparsity: float) -> Masks:
    """The cut itself; raises InputError where it would leave nothing of a layer."""
    return spread(score(module, rule, select(module)), sparsity, how)
