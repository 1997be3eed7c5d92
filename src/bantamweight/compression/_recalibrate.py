"""Batch norm's statistics after a cut: those of the wider net describe activations that no longer are.

Li, Wu, Su, Wang, "EagleEye: fast sub-net evaluation for efficient neural network pruning" (2020), section 4: adaptive
batch normalisation, here as the plain mean over all batches, so that no momentum has to be chosen.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bantamweight import rng, variants
from bantamweight.errors import InputError
from bantamweight.types import Images
from bantamweight.variants import Variant

__all__ = ["recalibrate"]


def recalibrate(
    variant: Variant, images: Images, *, batch: int = 64, seed: int = 0, name: str | None = None, trust: bool = False
) -> Variant:
    """A variant whose batch norm's running statistics are those of the images, in an order drawn from the seed.

    Use it after a cut, with training images (floats in [0, 1] or bytes); weights stay as they are. Batches have `batch`
    images, and what would be a rest shares theirs. A variant without batch norm comes back as it is. Raises InputError
    for fewer than two images.
    """
    module = variants.build(variant, trust=trust)
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    if not norms:
        return variant
    if len(images) < 2 or batch < 2:
        raise InputError(f"expected at least 2 images a batch to recalibrate on, got {len(images)} and batch={batch}")
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over batches
        layer.training = True
    order = torch.from_numpy(rng.generator(seed, "recalibration").permutation(len(images)))
    with torch.no_grad():
        for rows in torch.tensor_split(order, max(1, len(images) // batch)):
            part = images[rows]
            module(part.to(torch.float32) / 255.0 if part.dtype == torch.uint8 else part)
    return _refilled(variant, module, name)


def _refilled(variant: Variant, module: nn.Module, name: str | None) -> Variant:
    state = {key: value for key, value in module.state_dict().items() if key in variant.weights}
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"recalibrating gave NaN or infinity in {key!r}; the cut went too far, ask for less")
    return variants.capture(variant, module, name=name or f"{variant.name}/recalibrated")
