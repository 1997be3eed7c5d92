"""Tiny scenes made by hand: a linear net whose answers can be computed on paper, and maps that are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bantamweight.explainers._core import Attributions, Explainer, Heat
from bantamweight.explainers.metrics import Scene, scene

__all__ = ["given", "linear", "made"]


def linear(weights: Tensor) -> nn.Module:
    """Two classes: the weighted sum of the pixels, and nothing (logit 0)."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(weights.numel(), 2))
    with torch.no_grad():
        net[1].weight[0], net[1].weight[1] = weights.flatten(), 0.0
        net[1].bias.zero_()
    return net.eval()


def given(maps: Tensor | Callable[[Tensor], Tensor], name: str = "given") -> Explainer:
    """A method that returns these maps, or a function of the images."""

    def explain(_module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        found = maps(images) if callable(maps) else maps[:1].expand(len(images), -1, -1)
        return Heat(found[:, None].expand(-1, classes.shape[1], -1, -1).clone())

    return Explainer(name, explain)


def made(maps: Tensor, *, images: Tensor | None = None, net: nn.Module | None = None, **more: Any) -> Scene:
    """A scene with maps `(b, h, w)` as they are; grey images unless given."""
    b, h, w = maps.shape
    pixels = torch.full((b, 1, h, w), 0.5) if images is None else images
    module = linear(torch.ones(pixels[0].numel())) if net is None else net
    explainer = more.pop("explainer", None) or given(maps)
    flat = maps.flatten(1).amax(dim=1) == maps.flatten(1).amin(dim=1)
    classes = more.pop("classes", torch.zeros(b, dtype=torch.int64))
    found = Attributions(explainer.name, maps, classes, flat)
    return scene(explainer, module, pixels, classes, maps=found, **more)
