"""Pixel AUC: the area under the ROC curve of the map as a score for "this pixel is the object's".

Source: Fawcett 2006, "An introduction to ROC analysis", section 7 (the rank statistic), as a localisation score in Cong
et al. 2018, "Review of visual saliency detection".
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from bantamweight.explainers.metrics._boxes import masks
from bantamweight.explainers.metrics._core import Metric, Scene, Scores

__all__ = ["pixel_auc"]


def pixel_auc() -> Metric:
    """The probability that a pixel of the object has a larger value than one outside it; ties count half.

    Choose it where no threshold is to be chosen. Of a signed map the part for the class counts. A map
    without any has 0.5, by definition; an image without the object, or that the object fills, is left out.

    >>> pixel_auc().better
    'higher'
    """
    return Metric("pixel_auc", _score, "higher", objects=True)


def _score(seen: Scene) -> Scores:
    objects = masks(seen, "pixel_auc")
    # Contributions of both signs lie on an object. Were those against the class ranked below the background, which has
    # none of either, a map that outlines the object would score no better than a random one.
    pairs = zip(seen.evidence.numpy().clip(min=0), objects, strict=True)
    values = [_auc(evidence.ravel(), mask.ravel()) for evidence, mask in pairs]
    return Scores(np.array(values), "the object is not in the image, or fills it")


def _auc(evidence: np.ndarray, mask: np.ndarray) -> float:
    inside, outside = int(mask.sum()), int((~mask).sum())
    if not inside or not outside:
        return np.nan
    above = rankdata(evidence)[mask].sum() - inside * (inside + 1) / 2
    return float(above / (inside * outside))
