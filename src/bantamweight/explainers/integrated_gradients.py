"""Integrated gradients: Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep Networks", sections 3 and 5.

Trapezoid rule on a straight path. Doubling the steps keeps every gradient that was computed, and each image stops by
itself once its map sums to what it must.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers._blank import Baseline, blank
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers._gradients import take_gradients

__all__ = ["integrated_gradients"]


def integrated_gradients(
    *, baseline: Baseline = "black", steps: int = 64, most: int = 4096, tolerance: float = 1e-3
) -> Explainer:
    """What each pixel adds to the class score on the way from an image without content to this one.

    Choose it where a map must account for the score: its sum is f(x) - f(baseline). How much of that is missing, as a
    share of |f(x) - f(baseline)| (of one logit, if that is less), is reported as `completeness`, one number per map;
    `steps` are doubled up to `most` until it is at most `tolerance` for all classes of the image. The map depends on
    the baseline, which is a choice: black pixels get nothing from a black one. Colour channels are added up.

    >>> integrated_gradients(steps=32, most=32).name
    'integrated_gradients'
    """
    if not 1 <= steps <= most:
        raise InputError(f"expected at least 1 step and at most `most`, got steps={steps} and most={most}")

    def integrated_gradients_explain(
        module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None, rows: int
    ) -> Heat:
        start = blank(images, baseline)
        way = images - start
        maps = images.new_zeros(len(images), classes.shape[1], *images.shape[2:], dtype=torch.float32)

        def add(image: Tensor, alpha: Tensor, weight: Tensor) -> Tensor:
            """Adds weighted gradients of these points of these paths; returns their scores."""

            def make(index: Tensor) -> Tensor:
                chosen = image[index]
                return start[chosen] + alpha[index].to(way.dtype)[:, None, None, None] * way[chosen]

            def take(index: Tensor, column: int, gradients: Tensor) -> None:
                here = (gradients * way[image[index]]).sum(dim=1) * weight[index].to(gradients)[:, None, None]
                maps[:, column].index_add_(0, image[index].to(maps.device), here)

            return take_gradients(module, len(image), make, classes[image], rows, take)

        # Until it is divided by their number, a map is the sum over the steps: the ends count half.
        everyone = torch.arange(len(images))
        image, alpha, weight = _points(everyone, torch.linspace(0.0, 1.0, steps + 1))
        scores = add(image, alpha, weight).reshape(len(images), steps + 1, -1)
        due = scores[:, -1] - scores[:, 0]
        done = torch.full((len(images),), steps)
        while True:
            missing = (maps.sum(dim=(2, 3)) / done.to(maps.device)[:, None] - due).abs() / due.abs().clamp_min(1.0)
            going = everyone[((missing > tolerance).any(dim=1).cpu()) & (done * 2 <= most)]
            if not len(going):
                break
            for count in done[going].unique().tolist():
                same = going[done[going] == count]
                image, alpha, weight = _points(same, (torch.arange(count) + 0.5) / count, ends=False)
                add(image, alpha, weight)
                done[same] = 2 * count
        return Heat(maps / done.to(maps.device)[:, None, None, None], None, missing)

    return Explainer("integrated_gradients", integrated_gradients_explain, many=True)


def _points(images: Tensor, alphas: Tensor, *, ends: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Every image at every point of its path, and the points' weights: one, and a half at the ends."""
    weight = torch.ones(len(alphas))
    if ends:
        weight[0] = weight[-1] = 0.5
    return images.repeat_interleave(len(alphas)), alphas.repeat(len(images)), weight.repeat(len(images))
