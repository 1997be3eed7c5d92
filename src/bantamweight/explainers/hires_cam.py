"""HiResCAM: Draelos, Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations", section 3.3."""

from __future__ import annotations

import torch
from torch import Tensor

from bantamweight.explainers._cam import cam
from bantamweight.explainers._core import Explainer
from bantamweight.types import Float

__all__ = ["hires_cam"]


def hires_cam(*, layer: str | None = None) -> Explainer:
    """What each position adds to the class score, with its sign.

    Choose it where the map must be what the net computed: at the last layer before one linear layer it sums to the
    score less the bias, exactly, which Grad-CAM's averaged gradients do not. Nothing is cut off below zero. `layer`
    names another layer than the last block's output.

    >>> hires_cam().name
    'hires_cam'
    """
    return cam("hires_cam", _hires_cam, layer=layer)


def _hires_cam(A: Float[Tensor, "b c u v"], g: Float[Tensor, "b k c u v"]) -> Float[Tensor, "b k u v"]:
    return torch.einsum("bkcuv,bcuv->bkuv", g, A)
