"""Grad-CAM++: Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-based Visual Explanations", section 3.2."""

from __future__ import annotations

import torch
from torch import Tensor

from bantamweight.explainers._cam import cam
from bantamweight.explainers._core import Explainer
from bantamweight.types import Float

__all__ = ["grad_cam_plus_plus"]


def grad_cam_plus_plus(*, layer: str | None = None) -> Explainer:
    """Which regions speak for the class, where several of them do.

    Choose it in place of Grad-CAM where an image holds more than one object of the class: a position's gradient is
    weighted by how much of the channel it has to itself. `layer` names another layer than the last block's output.

    >>> grad_cam_plus_plus().name
    'grad_cam_plus_plus'
    """
    return cam("grad_cam_plus_plus", _grad_cam_plus_plus, layer=layer)


def _grad_cam_plus_plus(A: Float[Tensor, "b c u v"], g: Float[Tensor, "b k c u v"]) -> Float[Tensor, "b k u v"]:
    # Equation 10 with Y = exp(S) and S locally linear: the derivatives of Y are Y g, Y g^2 and Y g^3, and Y, which is
    # one number per map, is left out. The paper's A is what a ReLU gave; negative ones, at another layer, could make
    # the denominator zero, and count as none.
    total = A.clamp_min(0.0).sum(dim=(2, 3))[:, None, :, None, None]
    positive = g.relu()
    # g^2 / (2 g^2 + g^3 total), shortened; where g <= 0 the weight below has no use for it.
    alpha = torch.where(g > 0, 1.0 / (2.0 + positive * total), 0.0)
    weights = (alpha * positive).sum(dim=(3, 4))  # equation 5
    return torch.einsum("bkc,bcuv->bkuv", weights, A).relu()
