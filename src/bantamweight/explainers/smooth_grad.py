"""SmoothGrad: Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise", section 3."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._channels import Channels, channels_joined
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers._gradients import take_gradients

__all__ = ["smooth_grad"]


def smooth_grad(*, samples: int = 50, noise: float = 0.15, channels: Channels = "largest", seed: int = 0) -> Explainer:
    """Which pixels would change the class score most, on average over noisy copies of the image.

    Choose it where the plain gradient is too grainy to read. `noise` is the standard deviation as a share of the
    image's own range; it is drawn from the image and the seed, so a map does not depend on the batch. Copies may leave
    [0, 1], as in the paper. `channels` as for gradient.

    >>> smooth_grad(samples=10).name
    'smooth_grad'
    """
    if samples < 1 or noise < 0:
        raise InputError(f"expected at least 1 sample and noise of 0 or more, got {samples} and {noise}")

    def smooth_grad_explain(module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None, rows: int) -> Heat:
        spread = noise * (images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3)))
        keys = rng.image_keys(images)
        total = images.new_zeros(len(images), classes.shape[1], *images.shape[1:], dtype=torch.float32)

        def make(index: Tensor) -> Tensor:
            image, sample = index // samples, index % samples
            drawn = rng.normal(rng.fold(keys[image], sample), images.shape[1:], "smooth_grad", seed)
            return images[image] + spread[image, None, None, None] * drawn.to(images.dtype)

        def take(index: Tensor, column: int, gradients: Tensor) -> None:
            total[:, column].index_add_(0, index.to(total.device) // samples, gradients)

        take_gradients(module, len(images) * samples, make, classes.repeat_interleave(samples, dim=0), rows, take)
        return Heat(channels_joined(total / samples, channels))

    return Explainer("smooth_grad", smooth_grad_explain, many=True)
