"""Stochastic gradient descent with momentum (Sutskever et al. 2013), in the form torch gives it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import nn
from torch.optim import SGD, Optimizer

from bantamweight.errors import InputError

__all__ = ["sgd"]


def sgd(
    parameters: Iterable[nn.Parameter],
    rate: float,
    weight_decay: float,
    *,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    nesterov: bool = False,
) -> Optimizer:
    """SGD; wants a rate some 50 times Adam's and repays long training of convolutional nets.

    Raises InputError when Nesterov's form is asked for without momentum.
    """
    if nesterov and not momentum:
        raise InputError("expected a momentum above 0 with nesterov, got 0; set momentum to 0.9 or leave nesterov out")
    return SGD(parameters, lr=rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True)
