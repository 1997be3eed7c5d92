"""Input x gradient: Shrikumar et al. 2016, "Not Just a Black Box: Learning Important Features Through Propagating
Activation Differences", section 3 (as the method that theirs is compared with)."""

from __future__ import annotations

from torch import Tensor, nn

from bantamweight.explainers._core import Explainer, Heat, input_gradient

__all__ = ["input_x_gradient"]


def input_x_gradient(*, baseline: float = 0.0) -> Explainer:
    """What each pixel adds to the class score, if the net were linear between a plain image and this one.

    Choose it as the cheap cousin of integrated gradients; where nets are not linear it is off by as much as they are
    not. The change is counted from a plain image of brightness `baseline` (0 is black). Colour channels are added up.

    >>> input_x_gradient().name
    'input_x_gradient'
    """

    def input_x_gradient_explain(module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        gradients = input_gradient(module, images, classes)
        return Heat(((images - baseline)[:, None] * gradients).sum(dim=2))

    return Explainer("input_x_gradient", input_x_gradient_explain)
