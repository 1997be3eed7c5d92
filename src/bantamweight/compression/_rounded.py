"""Weights on a grid of 255 levels per output channel: what int8 kernels compute with, as a Variant like any other.

Symmetric, the scale being the largest absolute weight of the channel over 127. Source: Krishnamoorthi 2018
(arXiv 1806.08342), section 2.1; Jacob et al. 2018 (arXiv 1712.05877).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from bantamweight.errors import InputError, near
from bantamweight.types import Float, Tensor
from bantamweight.variants import Variant

__all__ = ["LEVELS", "gridded", "rounded"]

LEVELS = 127
"""The largest level; the smallest is its negative, so that zero is in the middle and -128 is never needed."""


def rounded(variant: Variant, *, layers: Iterable[str] | None = None, name: str | None = None) -> Variant:
    """The variant with every convolution's and linear layer's weight rounded to int8 levels, zeros kept.

    Choose it before shipping integers: its accuracy is that of int8 weights (activations stay float), and
    `save_coded` stores it in a byte per weight or less, to the bit. `layers` names weight tensors (all floating ones
    with two or more dimensions when None). Raises InputError for a name there is none of, or a weight not finite.
    """
    weights = dict(variant.weights)
    able = [key for key, tensor in weights.items() if tensor.ndim >= 2 and tensor.dtype == torch.float32]
    chosen = able if layers is None else list(layers)
    for key in chosen:
        if key not in able:
            raise InputError(f"{variant.name!r} has no weight {key!r} to round{near(key, able)}")
        if not bool(torch.isfinite(weights[key]).all()):
            raise InputError(f"{key!r} of {variant.name!r} holds NaN or infinity; it can't be rounded")
        weights[key] = _onto_grid(weights[key])
    return replace(
        variant,
        name=f"{variant.name}/int8" if name is None else name,
        weights=weights,
        edits=(*variant.edits, {"edit": "round", "levels": LEVELS, "layers": sorted(chosen)}),
        lineage=(*variant.lineage, variant.hash),
    )


def _rows(weight: Tensor) -> Float[Tensor, "o w"]:
    return weight.detach().cpu().contiguous().reshape(len(weight), -1)


def _onto_grid(weight: Tensor) -> Tensor:
    rows = _rows(weight)
    if rows.numel() == 0:
        return weight.clone()
    scale = rows.abs().amax(dim=1, keepdim=True) / LEVELS
    level = torch.where(scale > 0, rows / torch.where(scale > 0, scale, 1.0), 0.0).round()
    # Adding 0 makes -0 a 0: the sign of nothing would cost a float each in a file.
    return (level.clamp(-LEVELS, LEVELS) * scale + 0.0).reshape(weight.shape)


def gridded(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Levels (int8, the weight's shape) and scales (float32, one per channel) whose product is the weight to the bit.

    None where there are none. A channel's scale is looked for among the floats next to its largest weight over 127:
    that division need not give back the scale that made the weight.
    """
    if weight.ndim < 2 or weight.numel() == 0 or not bool(torch.isfinite(weight).all()):
        return None
    rows = _rows(weight)
    nearest = rows.abs().amax(dim=1, keepdim=True) / LEVELS
    scale, found = nearest.clone(), torch.zeros_like(nearest, dtype=torch.bool)
    levels = torch.zeros_like(rows)
    for candidate in _neighbours(nearest):
        level = torch.where(candidate > 0, rows / torch.where(candidate > 0, candidate, 1.0), 0.0).round()
        fits = ((level * candidate + 0.0).view(torch.int32) == rows.view(torch.int32)).all(dim=1, keepdim=True)
        fits &= level.abs().amax(dim=1, keepdim=True) <= LEVELS
        new = fits & ~found
        scale, levels, found = torch.where(new, candidate, scale), torch.where(new, level, levels), found | fits
        if bool(found.all()):
            return levels.to(torch.int8).reshape(weight.shape), scale[:, 0].clone()
    return None


def _neighbours(value: Tensor) -> Iterable[Tensor]:
    yield value
    up = down = value
    for _ in range(2):
        up = torch.nextafter(up, torch.full_like(up, torch.inf))
        down = torch.nextafter(down, torch.zeros_like(down))
        yield from (up, down)
