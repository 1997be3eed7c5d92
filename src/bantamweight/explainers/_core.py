"""What every explainer shares: batching, checks, the pair (A, g) at a layer, and a module left as it was.

One forward and one backward give a layer's activations A and their gradients g; a class-activation method is one
expression over that pair, handed to `cam`. A gradient method is one over `input_gradient`. Methods that only look
at outputs (occlusion, RISE, LIME) call the module as it comes: it is already in evaluation mode and without
parameter gradients when an explainer sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight.errors import InputError
from bantamweight.explainers._layers import Kind, Undefined, at_rest, find_layer, watch
from bantamweight.predict import TILE
from bantamweight.types import Bool, Float, Images, Int, Logits

__all__ = ["Attributions", "Explainer", "Heat", "Pair", "Undefined", "cam", "explain", "input_gradient", "pair"]

Classes = Int[Tensor, "b k"]
Maps = Float[Tensor, "b k h w"]

_LEAST = 8  # the smallest tile; below it oneDNN takes other kernels for every net
_FLAT = 1e-6  # bilinear resizing of a constant map leaves ripples of 1e-7 of its value


class Heat(NamedTuple):
    """What an explainer returns for one batch: raw signed maps, and the same before resizing if it has them."""

    maps: Float[Tensor, "b k h w"]
    coarse: Float[Tensor, "b k u v"] | None = None


class Pair(NamedTuple):
    """A layer's activations and the gradients of k class scores with respect to them."""

    logits: Logits
    activations: Float[Tensor, "b c u v"]
    gradients: Float[Tensor, "b k c u v"]


def _anywhere(_module: nn.Module, _images: Tensor) -> str | None:
    return None


@dataclass(frozen=True)
class Explainer:
    """A method that says where in an image a class score comes from.

    `explain(module, images, classes, layer)` returns a `Heat` for one batch and never slices it. `locate(module,
    images)` names the layer that the method reads (None: it reads none) or raises Undefined with the reason.
    """

    name: str
    explain: Callable[[nn.Module, Tensor, Tensor, str | None], Heat]
    locate: Callable[[nn.Module, Tensor], str | None] = _anywhere

    def undefined(self, module: nn.Module, images: Images) -> str | None:
        """Why the method has no meaning for this network at this image size; None where it has one."""
        try:
            self.locate(module, images)
        except Undefined as reason:
            return str(reason)
        return None


@dataclass(frozen=True)
class Attributions:
    """Raw, signed maps at input resolution; they are normalised only when drawn.

    `maps` is `(b, h, w)` for one class per image and `(b, k, h, w)` for k; `coarse` is the same at the layer's own
    resolution; `flat` marks maps that are zero or constant, hence without information. If the method is not
    defined for the network, `undefined` says why and there are no rows.
    """

    explainer: str
    maps: Float[Tensor, "b *k h w"]
    classes: Int[Tensor, " b *k"]
    flat: Bool[Tensor, " b *k"]
    coarse: Float[Tensor, "b *k u v"] | None = None
    layer: str | None = None
    undefined: str | None = None


def explain(
    explainer: Explainer,
    module: nn.Module,
    images: Images,
    classes: Tensor | Sequence[int] | None = None,
    *,
    batch: int = 64,
    strict: bool = False,
) -> Attributions:
    """Maps of the given classes for every image; for comparing variants, or an image before and after attack.

    `classes` is `(b,)` or `(b, k)`; None explains each image's predicted class. Every forward has 64 rows, filled
    up if need be, so maps don't depend on the number or order of the images; a smaller `batch` (rounded up to a
    multiple of 8) bounds memory, and may change the last bits. With `strict` a method that is not defined for this
    network is an InputError; otherwise the result says so. The module, its mode, its parameters' `requires_grad`
    and the images are as they were on return, also on a raise. Maps are float32 on the CPU.

    Raises InputError for images outside [0, 1], a number of classes that differs from the number of images, or a
    class that is not there.

    >>> from bantamweight.explainers.gradient import gradient
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    >>> explain(gradient(), net, torch.rand(5, 3, 4, 4), [0, 1, 0, 1, 1]).maps.shape
    torch.Size([5, 4, 4])
    """
    _check_images(images)
    if batch < 1:
        raise InputError(f"expected batch >= 1, got {batch}")
    asked = None if classes is None else _check_classes(classes, len(images))
    columns = None if asked is None else asked.reshape(len(images), -1)
    single = asked is None or asked.ndim == 1
    try:
        with torch.inference_mode(False), at_rest(module):
            layer = explainer.locate(module, _on_device(_padded(images[:1], _LEAST), module))
            heat, columns = _tiles(explainer, module, images, columns, layer, batch)
        _check_finite(heat)
    except Undefined as reason:
        if strict:
            raise InputError(f"{explainer.name} is not defined for this model: {reason}") from reason
        return _nothing(explainer, images, single, columns, str(reason))
    flat = _flat(heat.maps if heat.coarse is None else heat.coarse)
    if single:
        heat = Heat(heat.maps[:, 0], None if heat.coarse is None else heat.coarse[:, 0])
        columns, flat = columns[:, 0], flat[:, 0]
    return Attributions(explainer.name, heat.maps, columns, flat, heat.coarse, layer)


def _tiles(
    explainer: Explainer, module: nn.Module, images: Tensor, classes: Tensor | None, layer: str | None, batch: int
) -> tuple[Heat, Tensor]:
    """The explainer over padded batches, joined; classes are filled in where none were given."""
    heats: list[Heat] = []
    chosen: list[Tensor] = []
    size = min(-(-batch // _LEAST) * _LEAST, TILE)
    for start in range(0, len(images), size):
        rows = min(size, len(images) - start)
        tile = _on_device(_padded(images[start : start + rows], size), module)
        if classes is None:
            with torch.no_grad():
                columns = _logits(module(tile.clone())).argmax(dim=1, keepdim=True)
        else:
            columns = _padded(classes[start : start + rows], size).to(tile.device)
        maps, coarse = explainer.explain(module, tile, columns, layer)
        heats.append(Heat(_home(maps, rows), None if coarse is None else _home(coarse, rows)))
        chosen.append(columns[:rows].cpu())
    coarses = [heat.coarse for heat in heats if heat.coarse is not None]
    joined = Heat(torch.cat([heat.maps for heat in heats]), torch.cat(coarses) if coarses else None)
    return joined, torch.cat(chosen)


def _padded(rows: Tensor, size: int) -> Tensor:
    """`size` rows: the last one repeated."""
    return torch.cat([rows, rows[-1:].expand(size - len(rows), *rows.shape[1:])])


def _home(rows: Tensor, count: int) -> Tensor:
    return rows[:count].detach().to("cpu", torch.float32)


def _on_device(images: Tensor, module: nn.Module) -> Tensor:
    """A fresh copy of the images, without history, where the module's weights are and in their precision."""
    weight = next((one for one in module.parameters() if one.is_floating_point()), images)
    return images.detach().clone().to(weight.device, weight.dtype)


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        got = f"{tuple(images.shape)} {images.dtype}" if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"expected float images (b, c, h, w) in [0, 1], got {got}")
    if not len(images):
        raise InputError("expected at least one image, got none")
    low, high = float(images.detach().min()), float(images.detach().max())
    if not (low >= 0.0 and high <= 1.0):
        raise InputError(
            f"expected images in [0, 1], got min={low:.3g} and max={high:.3g}; normalisation belongs inside the model"
        )


def _check_classes(classes: Tensor | Sequence[int], count: int) -> Tensor:
    given = torch.as_tensor(classes)
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool or given.ndim not in (1, 2):
        raise InputError(f"expected class indices (b,) or (b, k), got {tuple(given.shape)} {given.dtype}")
    if len(given) != count or given.numel() == 0:
        raise InputError(f"expected one row of classes for each of {count} images, got {len(given)}")
    return given.detach().to("cpu", torch.int64)


def _check_finite(heat: Heat) -> None:
    broken = int((~torch.isfinite(heat.maps)).flatten(2).any(dim=2).sum())
    if broken:
        total = heat.maps.shape[0] * heat.maps.shape[1]
        raise Undefined(f"{broken} of {total} maps are not finite: the model's outputs or gradients overflow")


def _flat(maps: Float[Tensor, "b k h w"]) -> Bool[Tensor, "b k"]:
    rows = maps.flatten(2)
    return rows.amax(dim=2) - rows.amin(dim=2) <= _FLAT * rows.abs().amax(dim=2)


def _nothing(explainer: Explainer, images: Tensor, single: bool, classes: Tensor | None, reason: str) -> Attributions:
    shape = (0,) if single or classes is None else (0, classes.shape[1])
    maps = torch.empty(*shape, *images.shape[2:])
    return Attributions(
        explainer.name,
        maps,
        torch.empty(shape, dtype=torch.int64),
        torch.empty(shape, dtype=torch.bool),
        undefined=reason,
    )


def _logits(output: object) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim != 2:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"expected the model to return logits (b, classes), got {got}")
    return output


def _scores(logits: Tensor, classes: Tensor) -> Tensor:
    """The chosen classes' logits; they, not probabilities, are what the papers differentiate."""
    low, high = int(classes.min()), int(classes.max())
    if low < 0 or high >= logits.shape[1]:
        raise InputError(
            f"expected classes from 0 to {logits.shape[1] - 1} (the model has {logits.shape[1]}), "
            f"got {low if low < 0 else high}"
        )
    return logits.gather(1, classes)


def _per_class(scores: Tensor, leaf: Tensor) -> Float[Tensor, "b k ..."]:
    """d score_k / d leaf for every column: k backward passes over the part of the graph behind the leaf only.

    Rows are independent in evaluation mode, so the sum over rows has each row's own gradient.
    """
    if not scores.requires_grad:
        raise Undefined("no gradient reaches the class scores (they don't depend on it, or the model detaches them)")
    last = scores.shape[1] - 1
    gradients = [
        torch.autograd.grad(scores[:, at].sum(), leaf, retain_graph=at < last, materialize_grads=True)[0]
        for at in range(last + 1)
    ]
    return torch.stack(gradients, dim=1)


def input_gradient(module: nn.Module, images: Images, classes: Classes) -> Float[Tensor, "b k c h w"]:
    """d logit_class / d image, raw: the material of the gradient family."""
    with at_rest(module), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        # The model gets a copy: a first layer that works in place must not write to a leaf.
        scores = _scores(_logits(module(leaf.clone())), classes)
        return _per_class(scores, leaf)


def pair(module: nn.Module, images: Images, classes: Classes, layer: str) -> Pair:
    """Activations at a layer and the gradients of k class scores there: the material of the CAM family.

    One forward for all classes; the graph starts at the layer, so a class costs one backward through the tail. Of
    a layer that runs several times in one forward it is the last run.
    """
    leaves: list[Tensor] = []

    def visit(name: str, _kind: Kind, output: Tensor) -> Tensor:
        if name != layer:
            return output
        leaves[:] = [output.detach().clone().requires_grad_(output.is_floating_point())]
        return leaves[0].clone()  # an in-place ReLU after the layer overwrites this copy, not the activations

    with at_rest(module), torch.enable_grad(), watch(module, visit):
        logits = _logits(module(images.detach().clone()))
    if not leaves:
        raise InputError(f"expected layer {layer!r} to run and return one tensor; it did not")
    if leaves[0].ndim != 4:
        raise InputError(
            f"expected layer {layer!r} to give (b, channels, h, w), got {tuple(leaves[0].shape)}; "
            "choose a layer before the image is flattened"
        )
    with torch.enable_grad():
        gradients = _per_class(_scores(logits, classes), leaves[0])
    return Pair(logits.detach(), leaves[0].detach(), gradients)


def cam(
    name: str, combine: Callable[[Tensor, Tensor], Float[Tensor, "b k u v"]], *, layer: str | None = None
) -> Explainer:
    """An explainer that is one expression over the pair (A `(b, c, u, v)`, g `(b, k, c, u, v)`) at a layer.

    The layer is the output of the last convolution block unless named. Maps are resized bilinearly
    (`align_corners=False`) to the image.
    """

    def locate(module: nn.Module, images: Tensor) -> str:
        return find_layer(module, images, layer)

    def cam_explain(module: nn.Module, images: Tensor, classes: Tensor, at: str | None) -> Heat:
        found = pair(module, images, classes, at or locate(module, images))
        coarse = combine(found.activations, found.gradients)
        return Heat(F.interpolate(coarse, images.shape[2:], mode="bilinear", align_corners=False), coarse)

    return Explainer(name, cam_explain, locate)
