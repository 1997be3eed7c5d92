"""RISE: Petsiuk, Das, Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models", section 3."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._blank import Baseline, blank
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers._scores import Score, scores_of

__all__ = ["rise"]


def rise(
    *,
    masks: int = 1000,
    cells: int = 8,
    keep: float = 0.5,
    baseline: Baseline = "grey",
    score: Score = "probability",
    seed: int = 0,
) -> Explainer:
    """The expected class score, given that a pixel is visible, over random soft masks.

    Choose it for black boxes, where occlusion's squares are too coarse; it is noisy with few `masks`. A mask has
    `cells` x `cells` cells, each visible with probability `keep`. Masks are drawn from the image and the seed. Unlike
    the paper's equation 6 the sum is divided by how often each pixel was visible, not by how often that was expected:
    an answer that never changes then has a map without any structure.

    >>> rise(masks=10).name
    'rise'
    """
    if masks < 1 or cells < 1 or not 0 < keep < 1:
        raise InputError(f"expected masks and cells of at least 1 and 0 < keep < 1, got {masks}, {cells} and {keep}")

    def rise_explain(module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None, rows: int) -> Heat:
        keys, hidden = rng.image_keys(images), blank(images, baseline)

        def drawn(index: Tensor) -> Tensor:
            return _masks(rng.fold(keys[index // masks], index % masks), images.shape[2:], cells, keep, seed)

        def make(index: Tensor) -> Tensor:
            image = index // masks
            return hidden[image] + drawn(index).to(images.dtype)[:, None] * (images[image] - hidden[image])

        wanted = classes.repeat_interleave(masks, dim=0)
        scores = scores_of(module, len(images) * masks, make, wanted, rows, score).double()
        total = torch.zeros(len(images), classes.shape[1], *images.shape[2:], dtype=torch.float64, device=images.device)
        visible = total[:, 0].clone()
        for start in range(0, len(scores), rows):
            index = torch.arange(start, min(start + rows, len(scores)), device=images.device)
            mask = drawn(index).double()
            visible.index_add_(0, index // masks, mask)
            for column in range(classes.shape[1]):
                total[:, column].index_add_(0, index // masks, scores[index, column, None, None] * mask)
        mean = scores.reshape(len(images), masks, -1).mean(dim=1)[:, :, None, None]
        seen = visible[:, None]
        return Heat(torch.where(seen > 0, total / seen.clamp_min(1e-300), mean).float())

    return Explainer("rise", rise_explain, many=True, black_box=True)


def _masks(keys: Tensor, size: torch.Size, cells: int, keep: float, seed: int) -> Tensor:
    """Soft masks `(n, h, w)`: a random grid, enlarged bilinearly, moved by a random part of a cell."""
    height, width = size
    tall, wide = math.ceil(height / cells), math.ceil(width / cells)
    grid = (rng.uniform(keys, (1, cells, cells), "rise", seed) < keep).float()
    large = F.interpolate(grid, ((cells + 1) * tall, (cells + 1) * wide), mode="bilinear", align_corners=False)
    large = large.clamp(0.0, 1.0)[:, 0]  # weights of 1/3 and 2/3 add up to a bit more than one
    moved = rng.uniform(keys, (2,), "rise shift", seed)
    rows = (moved[:, :1] * tall).long() + torch.arange(height, device=keys.device)
    columns = (moved[:, 1:] * wide).long() + torch.arange(width, device=keys.device)
    return large[torch.arange(len(keys), device=keys.device)[:, None, None], rows[:, :, None], columns[:, None]]
