"""Feature inversion: Mahendran, Vedaldi 2015, "Understanding Deep Image Representations by Inverting Them"."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._core import check, on_device
from bantamweight.explainers._layers import Kind, Undefined, at_rest, find_layer, watch
from bantamweight.explainers.pictures._search import Prior, Progress, search
from bantamweight.types import Float, Images

__all__ = ["Inversion", "depths", "invert"]


@dataclass(frozen=True)
class Inversion:
    """Images made from a layer's features alone; one per image, the best of its restarts.

    `feature_error` is ||Phi(x) - Phi(x0)|| / ||Phi(x0)||; `image_error` is ||x - x0|| over the distance of x0 from its
    own mean colour, so 1 is what knowing nothing but that colour would give. `losses` has every term at every step of
    every restart, `(b, restarts, steps)`.
    """

    images: Images
    layer: str
    feature_error: Float[Tensor, " b"]
    image_error: Float[Tensor, " b"]
    losses: dict[str, Float[Tensor, "b r s"]]


def invert(
    module: nn.Module,
    images: Images,
    *,
    layer: str | None = None,
    prior: Prior = Prior(tv=1.0, norm=0.1),
    steps: int = 300,
    scales: Sequence[float] = (0.25, 0.5, 1.0),
    rate: float = 0.05,
    restarts: int = 1,
    seed: int = 0,
    batch: int = 64,
    progress: Progress | None = None,
) -> Inversion:
    """Images whose features at a layer are those of the images given: what the layer still knows of them.

    Minimises ||Phi(x) - Phi(x0)||^2 / ||Phi(x0)||^2 plus the prior (equation 1). `layer` is the last convolution
    block's output unless named. `progress` hears the steps done and to do. The module, which may be on any device and
    in any precision, is as it was on return; what is returned is float32 on the CPU.

    Raises InputError for images outside [0, 1], a layer that is not there, or settings that can't be meant; Undefined
    for a network without convolutions, or a layer that is silent.
    """
    check(images, None, batch)
    if restarts < 1:
        raise InputError(f"expected at least 1 restart, got {restarts}")
    with torch.inference_mode(False), at_rest(module):
        given = on_device(images, module)
        at = find_layer(module, given[:1].expand(8, -1, -1, -1), layer)
        runs = _runs(module, given[:1], at)
        wanted = torch.cat([_features(module, part, at, runs).detach() for part in given.split(batch)])
        size = wanted.flatten(1).square().sum(dim=1)
        if not bool((size > 0).all()):
            raise Undefined(f"expected layer {at!r} to say something of every image, but its features are all zero")

        def loss(shown: Images, rows: Tensor) -> Tensor:
            image = rows // restarts
            missed = (_features(module, shown.to(given.dtype), at, runs) - wanted[image]).flatten(1).square().sum(dim=1)
            return missed / size[image]

        places = torch.arange(restarts, device=images.device).repeat(len(images))
        keys = rng.fold(rng.image_keys(images).repeat_interleave(restarts), places + restarts * seed).to(given.device)
        found = search(
            loss, keys, (images.shape[1], images.shape[2], images.shape[3]), name="inversion", prior=prior, steps=steps,
            scales=scales, rate=rate, rows=batch, progress=progress,
        )  # fmt: skip
        made, missed = _best(found.images, loss, restarts, batch)
    images, made = images.float().cpu(), made.float().cpu()
    away = (images - images.mean(dim=(2, 3), keepdim=True)).flatten(1).norm(dim=1).clamp_min(1e-12)
    curves = {name: values.reshape(len(images), restarts, -1).cpu() for name, values in found.losses.items()}
    return Inversion(made, at, missed.cpu(), (made - images).flatten(1).norm(dim=1) / away, curves)


def _best(made: Images, loss: object, restarts: int, batch: int) -> tuple[Images, Tensor]:
    """Of each image's restarts the one whose features fit best, and how well."""
    with torch.no_grad():
        rows = torch.arange(len(made), device=made.device).split(batch)
        missed = torch.cat([loss(made[part], part) for part in rows])  # type: ignore[operator]
    least, place = missed.reshape(-1, restarts).min(dim=1)
    chosen = torch.arange(len(place), device=made.device) * restarts + place
    return made[chosen], least.sqrt()


class _Enough(Exception):
    """Raised in a forward pass whose rest nobody needs."""


@torch.no_grad()
def _runs(module: nn.Module, image: Images, layer: str) -> int:
    """How often the layer runs in one forward pass."""
    runs = 0

    def visit(name: str, _kind: Kind, output: Tensor) -> Tensor:
        nonlocal runs
        runs += name == layer
        return output

    with watch(module, visit):
        module(image.clone())
    if not runs:
        raise InputError(f"expected layer {layer!r} to run and return one tensor; it did not")
    return runs


def _features(module: nn.Module, images: Images, layer: str, runs: int) -> Tensor:
    """A layer's output at the last of its runs, with its history; what comes after it is not computed."""
    seen: list[Tensor] = []

    def visit(name: str, _kind: Kind, output: Tensor) -> Tensor:
        if name == layer:
            seen.append(output)
            if len(seen) == runs:
                raise _Enough
        return output.clone() if name == layer else output  # what comes after may work in place

    with watch(module, visit), suppress(_Enough):
        module(images.clone())
    if len(seen) < runs:
        raise InputError(f"expected layer {layer!r} to run as often on every image; it did not")
    return seen[-1].float()


@torch.no_grad()
def depths(module: nn.Module, images: Images) -> tuple[str, str, str]:
    """An early, a middle and a late layer: the first convolution, the one in the middle, the last block's output.

    Raises Undefined for a network with fewer than three convolutions.
    """
    names: list[str] = []

    def visit(name: str, kind: Kind, output: Tensor) -> Tensor:
        if kind == "convolution" and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            names.append(name)
        return output

    probe = on_device(images[:1], module).expand(8, -1, -1, -1)
    with at_rest(module), watch(module, visit):
        module(probe.clone())
    # A convolution is seen twice, as a module and as the function inside it; the module's name is kept.
    modules = [name for name in names if "#" not in name] or names
    if len(modules) < 3:
        raise Undefined(f"{len(modules)} convolutions: there is no early, middle and late")
    return modules[0], modules[len(modules) // 2], find_layer(module, probe)
