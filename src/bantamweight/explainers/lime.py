"""LIME: Ribeiro, Singh, Guestrin 2016, ""Why Should I Trust You?": Explaining the Predictions of Any Classifier",
section 3, equation 1 and algorithm 1, for images.

Superpixels are SLIC's (Achanta et al. 2012) as scikit-image has it. A covered superpixel shows its mean colour.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers._scores import Score, scores_of

__all__ = ["lime", "superpixels"]

Fit = Literal["ridge", "lasso"]


def lime(
    *,
    samples: int = 1000,
    segments: int = 50,
    compactness: float = 10.0,
    width: float = 0.25,
    fit: Fit = "ridge",
    penalty: float | None = None,
    top: int | None = None,
    score: Score = "probability",
    seed: int = 0,
) -> Explainer:
    """What each superpixel adds to the class score, by a linear model fitted to samples with some of them covered.

    Choose it for people who want few, large, nameable regions, and for black boxes; another segmentation or seed gives
    another map. Samples count by an exponential kernel of `width` on the cosine distance to the whole image. `fit` is
    ridge regression (`penalty` 1 unless said) or an L1 penalty (0.001 unless said); a penalty of 0 is least squares.
    `top` keeps the superpixels with the largest coefficients, fits again on them alone, and sets the others to zero.

    >>> lime(samples=100, top=5).name
    'lime'
    """
    if samples < 2 or segments < 2 or width <= 0 or (top is not None and top < 1):
        raise InputError(
            f"expected at least 2 samples and segments, a width above 0 and a top of at least 1, "
            f"got {samples}, {segments}, {width} and {top}"
        )

    if penalty is not None and not 0 <= penalty < math.inf:
        raise InputError(f"expected a penalty of 0 or more, got {penalty}")

    def lime_explain(module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None, rows: int) -> Heat:
        labels = [superpixels(image, segments, compactness) for image in images]
        shown = [
            _drawn(image, int(label.max()) + 1, samples, seed) for image, label in zip(images, labels, strict=True)
        ]
        covered = torch.stack([_averaged(image, label) for image, label in zip(images, labels, strict=True)])

        def make(index: Tensor) -> Tensor:
            image, sample = index // samples, index % samples
            seen = torch.empty(len(index), 1, *images.shape[2:], dtype=torch.bool, device=images.device)
            for one in image.unique().tolist():  # each has superpixels of its own
                its = image == one
                seen[its, 0] = shown[one][sample[its]][:, labels[one]]
            return torch.where(seen, images[image], covered[image])

        wanted = classes.repeat_interleave(samples, dim=0)
        scores = scores_of(module, len(images) * samples, make, wanted, rows, score)
        maps = []
        for z, label, told in zip(shown, labels, scores.reshape(len(images), samples, -1), strict=True):
            change = (told - told[:1]).double()  # against the whole image, so that answers that never change are zero
            coefficients = _fitted(z.cpu().numpy(), change.cpu().numpy(), width, fit, penalty, top)
            maps.append(torch.from_numpy(coefficients)[:, label.cpu()])
        return Heat(torch.stack(maps).to(images.device, torch.float32))

    return Explainer("lime", lime_explain, many=True, black_box=True)


def superpixels(image: Tensor, segments: int, compactness: float) -> Tensor:
    """Labels `(h, w)` from 0 up, about `segments` of them, for an image `(c, h, w)`."""
    from skimage.segmentation import slic

    pixels = image.detach().cpu().double().permute(1, 2, 0).numpy()
    labels = slic(pixels, n_segments=segments, compactness=compactness, sigma=1.0, start_label=0, channel_axis=-1)
    return torch.from_numpy(np.unique(labels, return_inverse=True)[1].reshape(labels.shape)).to(image.device)


def _drawn(image: Tensor, count: int, samples: int, seed: int) -> Tensor:
    """Which superpixels each sample shows, `(samples, count)`; the first shows all."""
    shown = rng.uniform(rng.image_keys(image[None]), (samples, count), "lime", seed)[0] < 0.5
    shown[0] = True
    return shown


def _averaged(image: Tensor, labels: Tensor) -> Tensor:
    """The image with every superpixel in its mean colour."""
    flat, pixels = labels.flatten(), image.flatten(1)
    total = pixels.new_zeros(len(pixels), int(flat.max()) + 1).index_add_(1, flat, pixels)
    return (total / torch.bincount(flat).to(pixels))[:, labels]


def _fitted(
    shown: np.ndarray, scores: np.ndarray, width: float, fit: Fit, penalty: float | None, top: int | None
) -> np.ndarray:
    """Coefficients `(k, superpixels)`."""
    # The cosine between a sample and the whole image is the root of the share it shows; none shown is at distance 1.
    distance = 1.0 - np.sqrt(shown.mean(axis=1))
    weights = np.sqrt(np.exp(-(distance**2) / width**2))
    z = shown.astype(np.float64)
    found = np.atleast_2d(_model(fit, penalty).fit(z, scores, sample_weight=weights).coef_)
    if top is None or top >= z.shape[1]:
        return found
    kept = np.zeros_like(found)
    for row, one in enumerate(found):
        best = np.sort(np.argsort(-np.abs(one), kind="stable")[:top])
        model = _model(fit, penalty).fit(z[:, best], scores[:, row], sample_weight=weights)
        kept[row, best] = model.coef_
    return kept


def _model(fit: Fit, penalty: float | None) -> Any:
    from sklearn.linear_model import Lasso, LinearRegression, Ridge

    if penalty == 0:
        return LinearRegression()  # the lasso's coordinate descent may not converge without a penalty
    return Ridge(1.0 if penalty is None else penalty) if fit == "ridge" else Lasso(1e-3 if penalty is None else penalty)
