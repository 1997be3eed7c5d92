"""Occlusion: Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers._blank import Baseline, blank
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers._scores import Score, scores_of

__all__ = ["occlusion"]


def occlusion(
    *,
    window: int | None = None,
    stride: int | None = None,
    baseline: Baseline = "grey",
    score: Score = "probability",
) -> Explainer:
    """How much of the class score is lost when a square of the image is covered.

    Choose it where a plain experiment convinces more than a gradient, and for models without one; it costs a forward
    per square. A pixel's value is the mean loss over the squares that cover it, negative where covering helps. `window`
    is a square's side in pixels (default: a quarter of the image), `stride` the step between squares (default: half a
    window).

    >>> occlusion(window=4, stride=4).name
    'occlusion'
    """
    if (window is not None and window < 1) or (stride is not None and stride < 1):
        raise InputError(f"expected a window and a stride of at least 1 pixel, got {window} and {stride}")

    def occlusion_explain(module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None, rows: int) -> Heat:
        covers = _squares(images.shape[2], images.shape[3], window, stride).to(images.device)
        cover, count = blank(images, baseline), len(covers) + 1  # the first of each image covers nothing
        covers = torch.cat([torch.zeros_like(covers[:1]), covers])

        def make(index: Tensor) -> Tensor:
            image = index // count
            return torch.where(covers[index % count, None], cover[image], images[image])

        wanted = classes.repeat_interleave(count, dim=0)
        scores = scores_of(module, len(images) * count, make, wanted, rows, score).reshape(len(images), count, -1)
        lost = (scores[:, :1] - scores[:, 1:]).double()
        inside = covers[1:].flatten(1).double()
        times = inside.sum(dim=0)
        maps = [(one.T @ inside) / times.clamp_min(1.0) for one in lost]  # one by one: no sum knows the batch
        return Heat(torch.stack(maps).reshape(len(images), -1, *images.shape[2:]).float())

    return Explainer("occlusion", occlusion_explain, many=True, black_box=True)


def _squares(height: int, width: int, window: int | None, stride: int | None) -> Tensor:
    """Masks `(n, h, w)` of the squares in reading order; the last ones may stand out of the image."""
    side = min(window or max(1, min(height, width) // 4), height, width)
    step = min(stride or max(1, side // 2), side)  # a longer step would leave pixels that no square covers
    tops = [at * step for at in range(math.ceil((height - side) / step) + 1)]
    lefts = [at * step for at in range(math.ceil((width - side) / step) + 1)]
    masks = torch.zeros(len(tops) * len(lefts), height, width, dtype=torch.bool)
    for number, (top, left) in enumerate((top, left) for top in tops for left in lefts):
        masks[number, top : top + side, left : left + side] = True
    return masks
