"""LayerCAM: Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", eq. 5-7."""

from __future__ import annotations

import torch
from torch import Tensor

from bantamweight.explainers._cam import cam
from bantamweight.explainers._core import Explainer
from bantamweight.types import Float

__all__ = ["layer_cam"]


def layer_cam(*, layer: str | None = None) -> Explainer:
    """Which positions speak for the class, each by its own gradient.

    Choose it at an early `layer`, where maps are fine: a weight per position does not blur there as a weight per
    channel does. Only positive gradients count.

    >>> layer_cam(layer="stage1").name
    'layer_cam'
    """
    return cam("layer_cam", _layer_cam, layer=layer)


def _layer_cam(A: Float[Tensor, "b c u v"], g: Float[Tensor, "b k c u v"]) -> Float[Tensor, "b k u v"]:
    return torch.einsum("bkcuv,bcuv->bkuv", g.relu(), A).relu()
