"""CAM: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", equation 2: sum_k w_k^c f_k(x, y).

It exists where the class scores are linear in the mean of each channel. That is looked at, not read off the layers: the
gradients of the scores must be the same at every position for any activations; added up over the positions they are w.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.explainers._cam import resized
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers._gradients import class_gradients
from bantamweight.explainers._layers import Undefined, find_layer

__all__ = ["cam"]

_SAME = 1e-4  # of the largest gradient; float32 rounding is a hundredth of it


def cam(*, layer: str | None = None) -> Explainer:
    """What each region of the last block adds to the class score, with its sign.

    Choose it where it is defined, which is for nets that end in global average pooling and one linear layer: there it
    is exact, and all classes cost one product. `layer` names another layer than the last block's output.

    >>> cam().name
    'cam'
    """

    def locate(module: nn.Module, images: Tensor) -> str:
        found = find_layer(module, images, layer)
        _check_linear(module, images, found)
        return found

    def cam_explain(module: nn.Module, images: Tensor, classes: Tensor, at: str | None) -> Heat:
        distinct, place = classes.unique(return_inverse=True)
        _, activations, gradients = class_gradients(
            module, images, distinct.expand(len(images), -1), at or locate(module, images)
        )
        w = torch.stack([g[0].float().sum(dim=(1, 2)) for g in gradients])
        coarse = torch.einsum("bkc,bcuv->bkuv", w[place], activations.float())
        return Heat(resized(coarse, images), coarse)

    return Explainer("cam", cam_explain, locate)


def _check_linear(module: nn.Module, images: Tensor, layer: str) -> None:
    """Raise Undefined unless a class's gradient is the same at all positions, whatever the activations are."""
    rows = torch.arange(len(images), device=images.device)

    def anything(A: Tensor) -> Tensor:
        return (rng.normal(rows, A.shape[1:], "cam") * (1.0 + 10.0 * rows.view(-1, 1, 1, 1))).to(A.dtype)

    first = torch.zeros_like(rows)[:, None]
    _, _, gradients = class_gradients(module, images, first, layer, instead=anything)
    g = next(gradients)
    if float((g - g[:1, :, :1, :1]).abs().max()) > _SAME * float(g.abs().max()):
        raise Undefined(
            f"its class scores are not linear in the channel means of {layer} (no global average pooling and one "
            "linear layer after it); use grad_cam"
        )
