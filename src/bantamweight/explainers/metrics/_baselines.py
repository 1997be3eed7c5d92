"""Maps that know nothing of the model: what a method has to beat before a score means anything.

Random values; a Gaussian in the middle, since objects are photographed there; and edges of the image, which look like
explanations (Adebayo et al. 2018, section 5). They are explainers, so that every metric treats them as one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight import rng
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.types import Float, Images

__all__ = ["BASELINES", "baselines"]

BASELINES = ("random_map", "centre_gaussian", "edge_map")


def baselines(seed: int = 0) -> tuple[Explainer, ...]:
    """The random map, the centre Gaussian and the edge map."""

    def random_map(images: Images) -> Float[Tensor, "b h w"]:
        return rng.uniform(rng.image_keys(images), tuple(images.shape[2:]), "random_map", seed)

    return tuple(_explainer(name, made) for name, made in zip(BASELINES, (random_map, _centre, _edges), strict=True))


def _explainer(name: str, made: Callable[[Images], Tensor]) -> Explainer:
    def baseline_explain(_module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        maps = made(images).to(images.dtype)
        return Heat(maps[:, None].expand(-1, classes.shape[1], -1, -1).clone())

    return Explainer(name, baseline_explain)


def _centre(images: Images) -> Float[Tensor, "b h w"]:
    """A Gaussian around the middle with a standard deviation of a quarter of each side."""
    h, w = images.shape[2:]
    bells = [torch.exp(-0.5 * ((torch.arange(side) - (side - 1) / 2) / (side / 4)) ** 2) for side in (h, w)]
    return (bells[0][:, None] * bells[1]).expand(len(images), h, w)


def _edges(images: Images) -> Float[Tensor, "b h w"]:
    """The length of Sobel's gradient of the brightness."""
    grey = F.pad(images.float().mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    found = F.conv2d(grey, torch.stack([across, across.T])[:, None].to(grey))
    return found.norm(dim=1)
