"""XGrad-CAM: Fu et al. 2020, "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", eq. 8."""

from __future__ import annotations

import torch
from torch import Tensor

from bantamweight.explainers._cam import cam
from bantamweight.explainers._core import Explainer
from bantamweight.types import Float

__all__ = ["xgrad_cam"]

_NOTHING = 1e-6  # of a channel's activations in magnitude; a sum below is what float32 rounding leaves of zero


def xgrad_cam(*, layer: str | None = None) -> Explainer:
    """Which regions speak for the class, channels weighted by their gradients where they are active.

    Choose it where Grad-CAM's plain mean is in doubt: the weights are those that come closest to the axioms of
    sensitivity and conservation. A channel without any activation, or whose activations cancel, has no weight. `layer`
    names another layer than the last block's output.

    >>> xgrad_cam().name
    'xgrad_cam'
    """
    return cam("xgrad_cam", _xgrad_cam, layer=layer)


def _xgrad_cam(A: Float[Tensor, "b c u v"], g: Float[Tensor, "b k c u v"]) -> Float[Tensor, "b k u v"]:
    total = A.sum(dim=(2, 3))
    nothing = total.abs() <= _NOTHING * A.abs().sum(dim=(2, 3))
    weights = torch.einsum("bkcuv,bcuv->bkc", g, A) / torch.where(nothing, torch.inf, total)[:, None]
    return torch.einsum("bkc,bcuv->bkuv", weights, A).relu()
