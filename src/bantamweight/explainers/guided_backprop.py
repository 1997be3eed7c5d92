"""Guided backpropagation: Springenberg et al. 2014, "Striving for Simplicity: The All Convolutional Net", section 3.4.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", figure 2: its maps hardly change when the parameters that were
learned are replaced by random ones, so they show the image more than the model.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bantamweight.explainers._channels import Channels, channels_joined
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers._gradients import input_gradient
from bantamweight.explainers._layers import Undefined, at_rest

__all__ = ["guided_backprop"]

CAUTION = (
    "known to fail the randomisation check (Adebayo et al. 2018): it draws edges of the image, whatever was learned"
)


def guided_backprop(*, channels: Channels = "largest") -> Explainer:
    """Which pixels excite the class score through positive paths alone.

    Choose it to see the detail that a net responds to, never as evidence of what it decided by: it is known to fail
    the sanity check of Adebayo et al. Every ReLU or ReLU6 passes on a gradient only where it is positive and the ReLU
    was active, neither at 0 nor at 6. Not defined for nets without a ReLU. `channels` as for gradient.

    >>> guided_backprop().caution[:39]
    'known to fail the randomisation check ('
    """

    def locate(module: nn.Module, images: Tensor) -> None:
        with at_rest(module), torch.no_grad(), _GuidedReLU() as guided:
            module(images.clone())
        if not guided.count:
            raise Undefined("no ReLU: there is nothing to guide")

    def guided_backprop_explain(module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        with _GuidedReLU():
            gradients = input_gradient(module, images, classes)
        return Heat(channels_joined(gradients, channels))

    return Explainer("guided_backprop", guided_backprop_explain, locate, caution=CAUTION)


class _Guided(torch.autograd.Function):
    """A ReLU that ends at `top` or nowhere, in place or not, whose backward lets no negative gradient through."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, top: float, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(values)
        rectified = values.clamp_(0.0, top) if inplace else values.clamp(0.0, top)
        ctx.save_for_backward(rectified)
        ctx.top = top
        return rectified

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (rectified,) = ctx.saved_tensors
        active = (rectified > 0) & (rectified < ctx.top)
        return torch.where(active, gradients[0].clamp_min(0.0), 0.0), None, None


_CALLS = {
    "relu": ("input", "inplace"),
    "relu6": ("input", "inplace"),
    "hardtanh": ("input", "min_val", "max_val", "inplace"),
}
"""Functions that are a ReLU, or may be, and their arguments in order; the module ReLU6 calls the last."""


class _GuidedReLU(TorchFunctionMode):
    """Puts the guided one in the place of every ReLU and ReLU6, called as a function or by a module."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").split(".")[0]
        kind = name.removesuffix("_")
        given = dict(zip(_CALLS.get(kind, ()), args, strict=False)) | kwargs
        if kind not in _CALLS or (kind == "hardtanh" and given.get("min_val") != 0):
            return func(*args, **kwargs)
        top = {"relu": math.inf, "relu6": 6.0}.get(kind, given.get("max_val", 1.0))
        self.count += 1
        return _Guided.apply(given["input"], top, name.endswith("_") or given.get("inplace", False))
