"""Class-activation methods: expressions over one pair, a layer's activations A and the gradients g of class scores.

One forward and one backward per class serve every method that reads the same layer, so `cams` gives all of them for
little more than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight import parts
from bantamweight.errors import InputError
from bantamweight.explainers._core import (
    Attributions,
    Explainer,
    Heat,
    Precision,
    at_work,
    check,
    check_finite,
    explain,
    finished,
    home,
    joined,
    on_device,
    tiles,
)
from bantamweight.explainers._gradients import class_gradients
from bantamweight.explainers._layers import Undefined, find_layer
from bantamweight.types import Float, Images

__all__ = ["CAMS", "cam", "cams", "resized"]

CAMS = ("grad_cam", "grad_cam_plus_plus", "layer_cam", "hires_cam", "xgrad_cam")
"""The methods that one pair serves."""

Combine = Callable[[Tensor, Tensor], Float[Tensor, "b k u v"]]


def cam(name: str, combine: Combine, *, layer: str | None = None) -> Explainer:
    """An explainer that is one expression over the pair (A `(b, c, u, v)`, g `(b, k, c, u, v)`) at a layer.

    The layer is the output of the last convolution block unless named. Maps are resized bilinearly
    (`align_corners=False`) to the image.
    """

    def locate(module: nn.Module, images: Tensor) -> str:
        return find_layer(module, images, layer)

    def cam_explain(module: nn.Module, images: Tensor, classes: Tensor, at: str | None) -> Heat:
        return _heats(module, images, classes, at or locate(module, images), (combine,))[0]

    return Explainer(name, cam_explain, locate, combine=combine)


def resized(coarse: Float[Tensor, "b k u v"], images: Images) -> Float[Tensor, "b k h w"]:
    """Maps at the image's resolution."""
    return F.interpolate(coarse, images.shape[2:], mode="bilinear", align_corners=False)


def _heats(module: nn.Module, images: Images, classes: Tensor, layer: str, combines: Sequence[Combine]) -> list[Heat]:
    """Every expression over the pair; a class's gradients are dropped before the next class's are made."""
    _, activations, gradients = class_gradients(module, images, classes, layer)
    A = activations.float()
    columns = [[combine(A, g.float()[:, None]) for combine in combines] for g in gradients]
    coarse = [torch.cat(column, dim=1) for column in zip(*columns, strict=True)]
    return [Heat(resized(one, images), one) for one in coarse]


def cams(
    module: nn.Module,
    images: Images,
    classes: Tensor | Sequence[int] | None = None,
    *,
    use: Sequence[Explainer | str | Mapping[str, Any]] = CAMS,
    batch: int = 64,
    precision: Precision = "fp32",
    strict: bool = False,
) -> dict[str, Attributions]:
    """Maps of several methods by name; those over the same layer's pair share its forward and backwards.

    For anything else than class-activation methods it is `explain`, one after the other: its arguments and errors
    are those of `explain`. Raises InputError also where two methods have one name.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> sorted(cams(net, torch.rand(2, 3, 8, 8), [[0, 1], [2, 3]], use=["grad_cam", "layer_cam"]))
    ['grad_cam', 'layer_cam']
    """
    methods = [one if isinstance(one, Explainer) else parts.configure("explainers", one).make() for one in use]
    if len({one.name for one in methods}) < len(methods):
        raise InputError(f"expected methods that differ, got {', '.join(one.name for one in methods)}; leave one out")
    check(images, classes, batch)
    found: dict[str, Attributions] = {}
    alone = []
    for layer, group in _by_layer(methods, module, images, precision):
        shared = layer is not None and len(group) > 1
        if shared:
            try:
                found |= _shared(module, images, classes, group, str(layer), batch, precision)
                continue
            except Undefined:
                pass  # each says for itself why it has no maps
        alone += group
    for one in alone:
        found[one.name] = explain(one, module, images, classes, batch=batch, precision=precision, strict=strict)
    return {one.name: found[one.name] for one in methods}


def _by_layer(
    methods: Sequence[Explainer], module: nn.Module, images: Images, precision: Precision
) -> Iterator[tuple[str | None, list[Explainer]]]:
    """Methods that are expressions over one layer's pair together; layer None where a method stands alone."""
    groups: dict[str, list[Explainer]] = {}
    with at_work(module, images, precision, fast=False) as net:
        probe = on_device(images[:1].expand(8, -1, -1, -1), net)
        for one in methods:
            try:
                layer = None if one.combine is None else one.locate(net, probe)
            except Undefined:
                layer = None
            if layer is None:
                yield None, [one]
            else:
                groups.setdefault(layer, []).append(one)
    yield from groups.items()


def _shared(
    module: nn.Module,
    images: Images,
    classes: Tensor | Sequence[int] | None,
    group: Sequence[Explainer],
    layer: str,
    batch: int,
    precision: Precision,
) -> dict[str, Attributions]:
    """One pair per tile for all methods of a group."""
    asked = check(images, classes, batch)
    single = asked is None or asked.ndim == 1
    columns = None if asked is None else asked.reshape(len(images), -1)
    combines = [one.combine for one in group if one.combine is not None]
    heats: list[list[Heat]] = [[] for _ in group]
    chosen = []
    with at_work(module, images, precision, fast=False) as net:
        for tile, rows, wanted in tiles(net, images, columns, batch):
            for kept, heat in zip(heats, _heats(net, tile, wanted, layer, combines), strict=True):
                kept.append(heat.each(partial(home, count=rows)))
            chosen.append(wanted[:rows].cpu())
    shown, whole = torch.cat(chosen), [joined(kept) for kept in heats]
    for heat in whole:
        check_finite(heat)
    return {one.name: finished(one, heat, shown, layer, single) for one, heat in zip(group, whole, strict=True)}
