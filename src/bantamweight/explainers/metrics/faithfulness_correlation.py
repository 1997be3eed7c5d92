"""Faithfulness correlation: Bhatt, Weller, Moura 2020, "Evaluating and Aggregating Feature-based Model Explanations",
definition 3."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._blank import Baseline, blank
from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["faithfulness_correlation"]


def faithfulness_correlation(*, draws: int = 100, share: float = 0.1, baseline: Baseline = "mean") -> Metric:
    """Pearson's correlation of the map's sum over random pixels with what removing them takes from the class's logit.

    Choose it for methods that claim to add up (integrated gradients, input x gradient, LIME): it asks for amounts, not
    for an order. `share` of the pixels are drawn `draws` times, and become what `baseline` says. A flat map, or a
    model that does not react, is left out.

    >>> faithfulness_correlation().better
    'higher'
    """
    if not 0 < share < 1 or draws < 3:
        raise InputError(f"expected a share in (0, 1) and at least 3 draws, got {share} and {draws}")

    def score(seen: Scene) -> Scores:
        removed = blank(seen.images, baseline)
        values = [_correlation(seen, row, removed[row], draws, share) for row in range(len(seen.images))]
        return Scores(np.array(values), "the map is flat, or removing pixels changes nothing")

    return Metric("faithfulness_correlation", score, "higher")


def _correlation(seen: Scene, row: int, removed: Tensor, draws: int, share: float) -> float:
    image, column = seen.images[row], seen.classes[row]
    h, w = image.shape[1:]
    size = max(1, round(share * h * w))
    keys = rng.image_keys(image[None])
    drawn = torch.stack(
        [rng.uniform(keys, (h * w,), "subset", seen.seed, draw)[0].argsort().argsort() < size for draw in range(draws)]
    )
    sums = drawn.double() @ seen.evidence[row].flatten().double()
    told = [_logit(seen, image[None], column)]
    for start in range(0, draws, seen.batch):
        masks = drawn[start : start + seen.batch].reshape(-1, 1, h, w)
        told.append(_logit(seen, torch.where(masks, removed, image), column))
    logits = torch.cat(told).double()
    drops = logits[0] - logits[1:]
    if seen.flat[row] or sums.std() == 0 or drops.std() == 0:
        return np.nan
    return float(np.corrcoef(sums.numpy(), drops.numpy())[0, 1])


def _logit(seen: Scene, images: Tensor, column: Tensor) -> Tensor:
    return seen.answer(images)[:, column]
