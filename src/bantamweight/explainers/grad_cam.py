"""Grad-CAM: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks", equations 1 and 2."""

from __future__ import annotations

import torch
from torch import Tensor

from bantamweight.explainers._cam import cam
from bantamweight.explainers._core import Explainer
from bantamweight.types import Float

__all__ = ["grad_cam"]


def grad_cam(*, layer: str | None = None) -> Explainer:
    """Which regions of the last convolution block speak for the class.

    Choose it to see *where* a convolutional net looks; it is coarse (8x8 for a 32x32 image is typical) and not
    defined for a net without convolutions. `layer` names another layer; by default it is found and reported. A map
    that is zero everywhere (every region speaks against the class) is possible and is flagged, not stretched.

    >>> grad_cam(layer="features.10").name
    'grad_cam'
    """
    return cam("grad_cam", _grad_cam, layer=layer)


def _grad_cam(A: Float[Tensor, "b c u v"], g: Float[Tensor, "b k c u v"]) -> Float[Tensor, "b k u v"]:
    alpha = g.mean(dim=(3, 4))  # equation 1
    return torch.einsum("bkc,bcuv->bkuv", alpha, A).relu()  # equation 2
