"""ROAD: Rong et al. 2022, "A Consistent and Efficient Evaluation Strategy for Attribution Methods" (Remove And Debias).

Removed pixels are imputed from their neighbours, so that the shape of the hole tells the model less. Per image and not
per data set: the probability of the class without the least important pixels minus that without the most important.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers.metrics._core import Metric, Scene, Scores, importance, probabilities
from bantamweight.explainers.metrics._impute import imputed

__all__ = ["road"]


def road(*, shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9), noise: float = 0.01) -> Metric:
    """What removing the least important pixels leaves of the class's probability, less what removing the most does.

    Choose it over deletion where a fall may come from strange images; 0 is what a random order scores. Exactly each of
    the `shares` of the pixels is removed, also from a map of mostly zeros (ties are drawn), never a whole image.
    `noise` is the standard deviation of what is added to imputed pixels.

    >>> road().better
    'higher'
    """
    if not shares or not all(0 < share < 1 for share in shares):
        raise InputError(f"expected shares of pixels to remove between 0 and 1, got {list(shares)}")

    def score(seen: Scene) -> Scores:
        places = importance(seen.evidence, seen.images, seen.seed)
        last = places.shape[1] - 1
        curve = [_left(seen, last - places, share, noise) - _left(seen, places, share, noise) for share in shares]
        whole = np.stack(curve, axis=1)
        return Scores(whole.mean(axis=1), stops=tuple(shares), curve=whole)

    return Metric("road", score, "higher")


def _left(seen: Scene, places: Tensor, share: float, noise: float) -> np.ndarray:
    """The class's probability with a share of the pixels, the first in `places`, imputed."""
    c, h, w = seen.images.shape[1:]
    count = min(h * w - 1, max(1, round(share * h * w)))
    removed = (places < count).reshape(-1, h, w).numpy()
    filled = np.stack([imputed(image, hole) for image, hole in zip(seen.images.numpy(), removed, strict=True)])
    lots = rng.normal(rng.image_keys(seen.images), (c, h, w), "road", seen.seed)
    noisy = torch.from_numpy(filled).float() + noise * lots * torch.from_numpy(removed)[:, None]
    return probabilities(seen, noisy.clamp(0.0, 1.0), seen.classes).double().numpy()
