"""Complexity: the entropy of a map's share per pixel; Bhatt, Weller, Moura 2020, "Evaluating and Aggregating
Feature-based Model Explanations", definition 4."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["complexity"]


def complexity() -> Metric:
    """The entropy, in nats, of |a| / sum |a|: 0 for a single pixel, log(pixels) where all are equal.

    Choose it to say how much there is to look at; it does not say whether it is right. A map of zeros is left out.

    >>> complexity().better
    'neither'
    """
    return Metric("complexity", _score, "neither")


def _score(seen: Scene) -> Scores:
    sizes = seen.maps.flatten(1).abs().double().numpy()
    with np.errstate(invalid="ignore"):
        shares = sizes / sizes.sum(axis=1, keepdims=True)
    return Scores(-xlogy(shares, shares).sum(axis=1), "the map is zero everywhere")
