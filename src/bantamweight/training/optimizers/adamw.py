"""AdamW: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import nn
from torch.optim import AdamW, Optimizer

__all__ = ["adamw"]

Beta = Annotated[float, Field(ge=0, lt=1)]


def adamw(
    parameters: Iterable[nn.Parameter],
    rate: float,
    weight_decay: float,
    *,
    betas: tuple[Beta, Beta] = (0.9, 0.999),
) -> Optimizer:
    """Adam with weight decay taken from the weights directly (times the rate); the default, it needs little tuning."""
    return AdamW(parameters, lr=rate, betas=betas, weight_decay=weight_decay, fused=True)
