"""Score-CAM: Wang et al. 2020, "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
algorithm 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight.explainers._blank import Baseline, blank
from bantamweight.explainers._cam import resized
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers._gradients import activations_at
from bantamweight.explainers._layers import find_layer
from bantamweight.explainers._scores import Score, scores_of

__all__ = ["score_cam"]


def score_cam(*, layer: str | None = None, baseline: Baseline = "grey", score: Score = "logit") -> Explainer:
    """Which regions speak for the class, channels weighted by what the net says of the image seen through them.

    Choose it where gradients can't be had or trusted; it costs a forward per channel of the layer. A channel's weight
    is the softmax, over channels, of how much its mask raises the class score above that of the `baseline`. `layer`
    names another layer than the last block's output.

    >>> score_cam(layer="layer3").name
    'score_cam'
    """

    def locate(module: nn.Module, images: Tensor) -> str:
        return find_layer(module, images, layer)

    def score_cam_explain(module: nn.Module, images: Tensor, classes: Tensor, at: str | None, rows: int) -> Heat:
        A = activations_at(module, images, at or locate(module, images), rows)
        hidden, count = blank(images, baseline), A.shape[1] + 1
        masks = F.pad(A, (0, 0, 0, 0, 0, 1))  # the last of each image hides everything

        def make(index: Tensor) -> Tensor:
            image, channel = index // count, index % count
            mask = masks[image, channel][:, None]
            mask = _stretched(F.interpolate(mask, images.shape[2:], mode="bilinear", align_corners=False))
            return hidden[image] + mask.to(images.dtype) * (images[image] - hidden[image])

        wanted = classes.repeat_interleave(count, dim=0)
        scores = scores_of(module, len(images) * count, make, wanted, rows, score).reshape(len(images), count, -1)
        weights = torch.softmax(scores[:, :-1] - scores[:, -1:], dim=1)
        coarse = torch.stack([torch.einsum("ck,cuv->kuv", *pair) for pair in zip(weights, A, strict=True)]).relu()
        return Heat(resized(coarse, images), coarse)

    return Explainer("score_cam", score_cam_explain, locate, many=True, black_box=True)


def _stretched(masks: Tensor) -> Tensor:
    """Each mask from 0 to 1; one without any structure hides everything."""
    low, high = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (masks - low) / (high - low).clamp_min(1e-30), 0.0)
