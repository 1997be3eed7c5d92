"""Vanilla gradient, or saliency: Simonyan, Vedaldi, Zisserman 2014, "Deep Inside Convolutional Networks", section 3.

The map is d S_c / d x at the image, S_c the class score before softmax. The paper takes the largest |.| over the
colour channels; here the winning channel keeps its sign, so the paper's map is the absolute value of ours.
"""

from __future__ import annotations

from torch import Tensor, nn

from bantamweight.explainers._channels import Channels, channels_joined
from bantamweight.explainers._core import Explainer, Heat, input_gradient

__all__ = ["gradient"]


def gradient(*, channels: Channels = "largest") -> Explainer:
    """Which pixels would change the class score most if they changed a little.

    Choose it where no layer is privileged (it is defined for every differentiable net, an MLP too) and as the
    baseline that other methods must beat; it is noisy. `channels` joins the colour channels: `largest` takes the
    one with the largest magnitude, with its sign (Simonyan's maximum), `sum` adds them up.

    >>> gradient().name
    'gradient'
    """

    def gradient_explain(module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        return Heat(channels_joined(input_gradient(module, images, classes), channels))

    return Explainer("gradient", gradient_explain)
