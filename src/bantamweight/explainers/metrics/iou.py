"""Intersection over union of a thresholded map and the object, as in Zhou et al. 2016 (CAM), section 3.2."""

from __future__ import annotations

import numpy as np

from bantamweight.explainers.metrics._boxes import NO_OBJECT, masks
from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["THRESHOLDS", "iou"]

THRESHOLDS = tuple(round(0.1 * at, 1) for at in range(1, 10))


def iou() -> Metric:
    """How well the map's outline fits the object: mean over thresholds .1 to .9 of the min-max scaled map.

    Choose it to ask how much of the object a map covers and how little else. The curve over thresholds is kept, since
    a single threshold flatters one method and not another. A flat map scores 0; an image without the object is
    left out.

    >>> iou().better
    'higher'
    """
    return Metric("iou", _score, "higher", objects=True)


def _score(seen: Scene) -> Scores:
    objects = masks(seen, "iou")
    flat = seen.flat.tolist()
    curve = np.stack(
        [
            _curve(evidence, mask, still)
            for evidence, mask, still in zip(seen.evidence.numpy(), objects, flat, strict=True)
        ]
    )
    return Scores(curve.mean(axis=1), NO_OBJECT, THRESHOLDS, curve)


def _curve(evidence: np.ndarray, mask: np.ndarray, flat: bool) -> np.ndarray:
    if not mask.any():
        return np.full(len(THRESHOLDS), np.nan)
    if flat:
        return np.zeros(len(THRESHOLDS))
    scaled = (evidence - evidence.min()) / (evidence.max() - evidence.min())
    above = scaled[None] >= np.array(THRESHOLDS)[:, None, None]
    found: np.ndarray = (above & mask).sum(axis=(1, 2)) / (above | mask).sum(axis=(1, 2))
    return found
