"""Model parameter randomisation: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 3 (cascading).

The layers are re-initialised one after another from the output down; after each stop the maps are compared with those
of the trained model by Spearman's rank correlation. A map that hardly changes does not come from what was learned.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._core import explain
from bantamweight.explainers.metrics._core import Metric, Scene, Scores, correlations

__all__ = ["mprt", "parametric", "reinitialise"]


def mprt(*, most: int = 8, magnitude: bool = False) -> Metric:
    """Mean rank correlation with the trained model's maps while its layers are re-initialised from the top down.

    Choose it first: a method that fails it explains the image, not the model. Values near 0 are good, 1 means that the
    parameters do not matter. The curve has one value per stop; at most `most` stops, spread over the layers, the top
    layer and all layers among them. Maps keep their sign; with `magnitude` it is left out (the paper does both). Flat
    maps have no ranks: an image all of whose maps are flat is left out.

    >>> mprt().better
    'lower'
    """
    if most < 2:
        raise InputError(f"expected at least 2 stops, got {most}")

    def score(seen: Scene) -> Scores:
        layers = parametric(seen.module)
        if not layers:
            raise InputError("expected a model with parameters to re-initialise, got none")
        count = min(most, len(layers))
        ends = [round(1 + at * (len(layers) - 1) / max(1, count - 1)) for at in range(count)]
        net, done, curve = copy.deepcopy(seen.module), 0, []
        for end in ends:
            reinitialise(net, layers[done:end], seen.seed)
            done = end
            curve.append(_alike(seen, net, magnitude))
        whole = np.stack(curve, axis=1)
        with np.errstate(invalid="ignore"):
            seen_at_all = np.isfinite(whole).any(axis=1)
            values = np.full(len(whole), np.nan)
            values[seen_at_all] = np.nanmean(whole[seen_at_all], axis=1)
        return Scores(values, "the maps are flat", tuple(layers[end - 1] or "all" for end in ends), whole)

    return Metric("mprt", score, "lower")


def _alike(seen: Scene, net: nn.Module, magnitude: bool) -> np.ndarray:
    found = explain(seen.explainer, net, seen.images, seen.classes, batch=seen.batch)
    if found.undefined is not None:  # random weights may overflow: then there is no map to compare
        return np.full(len(seen.images), np.nan)
    before, after = (maps.abs() if magnitude else maps for maps in (seen.maps, found.maps))
    values = correlations(before, after)
    values[(seen.flat | found.flat).numpy()] = np.nan
    return values


def parametric(module: nn.Module) -> list[str]:
    """The layers that hold parameters of their own, by name, from the output down."""
    names = [name.rpartition(".")[0] for name, _ in module.named_parameters()]
    return list(dict.fromkeys(names))[::-1]


@torch.no_grad()
def reinitialise(module: nn.Module, layers: Sequence[str], seed: int) -> None:
    """New parameters for these layers, in place: uniform within 1 / sqrt(fan in), norms as they are when made.

    By the names of parameters, so that exported programs, which have no layers to ask, are treated alike.
    """
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    buffers = dict(module.named_buffers())
    for layer in layers:
        mine = {name: one for name, one in parameters.items() if name.rpartition(".")[0] == layer}
        fan = max((math.prod(one.shape[1:]) for one in mine.values() if one.ndim > 1), default=0)
        for name, one in sorted(mine.items()):
            _draw(one, fan, name, seed)
        for name, one in buffers.items():
            if name.rpartition(".")[0] == layer and name.endswith(("running_mean", "running_var")):
                one.fill_(float(name.endswith("running_var")))


def _draw(parameter: Tensor, fan: int, name: str, seed: int) -> None:
    if fan == 0:  # a norm, or a scale: what it has when it is made
        parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        return
    lots = rng.generator(seed, "reinitialise", name).uniform(-1.0, 1.0, tuple(parameter.shape)) / math.sqrt(fan)
    parameter.copy_(torch.from_numpy(lots).to(parameter.dtype))
