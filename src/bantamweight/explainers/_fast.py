"""A copy of a model for methods that ask it about many changed images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.models._fold import folded
from bantamweight.models._fuse import fused
from bantamweight.types import Images

__all__ = ["Fast", "Precision", "answered", "fast"]

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Fast:
    """The forward of a fast copy: with gradients and layers to watch, or `quick`, by the fused form where there is one.

    Both are calls of the copy, so whatever is hooked to it sees them.
    """

    inner: Callable[[Tensor], Tensor]
    precision: Precision
    fused: nn.Module | None

    def __call__(self, rows: Images, *, quick: bool = False) -> Tensor:
        if quick and self.fused is not None:
            return self.fused(rows.contiguous()).float()
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            told = self.inner(rows.contiguous(memory_format=torch.channels_last))
        return told.float() if isinstance(told, Tensor) and told.dtype == torch.bfloat16 else told


def fast(module: nn.Module, images: Images, precision: Precision, *, gradients: bool) -> nn.Module:
    """A copy with batch norm folded and channels last, whose layers keep their names; bfloat16 inside if asked.

    Without `gradients` it also has a fused form for answers alone. A module that can't be copied is returned as it is.
    """
    try:
        net = folded(module, example=images)
        quick = None if gradients else fused(net, images, precision)
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    except Exception as error:  # copying or calling a stranger's module may raise anything
        if precision == "bf16":
            said = f"{type(error).__name__}: {error}"
            raise InputError(f"the model can't be copied into bfloat16 ({said}); use precision fp32") from error
        return module
    net.forward = Fast(net.forward, precision, quick)
    return net


def answered(module: nn.Module, rows: Images) -> Tensor:
    """What the model says, when nothing but that is wanted."""
    told: Tensor = module(rows, quick=True) if isinstance(module.forward, Fast) else module(rows)
    return told
