"""Localisation error: how far a map's peak is from the object's centre, in image diagonals.

Source: the distance form of the pointing game of Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop".
"""

from __future__ import annotations

import numpy as np

from bantamweight.explainers.metrics._boxes import NO_OBJECT, masks, tops
from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["localisation_error"]


def localisation_error() -> Metric:
    """Euclidean distance from the map's largest value to the centre of the object's box, over the image's diagonal.

    Choose it where "how far off" says more than hit or miss. Where the largest value is there several times, their
    centre counts; a flat map scores what pointing anywhere would; an image without the object is left out.

    >>> localisation_error().better
    'lower'
    """
    return Metric("localisation_error", _score, "lower", objects=True)


def _score(seen: Scene) -> Scores:
    objects = masks(seen, "localisation_error")
    values = [
        _distance(evidence, mask, flat)
        for evidence, mask, flat in zip(seen.evidence.numpy(), objects, seen.flat.tolist(), strict=True)
    ]
    return Scores(np.array(values), NO_OBJECT)


def _distance(evidence: np.ndarray, mask: np.ndarray, flat: bool) -> float:
    if not mask.any():
        return np.nan
    rows, columns = np.nonzero(mask)
    centre = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    peak = np.indices(mask.shape).reshape(2, -1) if flat else np.mean(tops(evidence), axis=1, keepdims=True)
    away = np.hypot(peak[0] - centre[0], peak[1] - centre[1]).mean()
    return float(away / np.hypot(*mask.shape))
