"""What every explainer shares: batching, checks, and a module left as it was.

A class-activation method is one expression over a layer's activations and gradients (`_cam.py`). A gradient method is
one over `input_gradient`. Methods that look at many changed copies of an image (occlusion, RISE, LIME, integrated
gradients) say so with `many` and fill their own tiles. A module is in evaluation mode and without parameter gradients
when an explainer sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bantamweight import parts
from bantamweight.errors import InputError
from bantamweight.explainers._fast import Precision
from bantamweight.explainers._fast import fast as copied
from bantamweight.explainers._gradients import Pair, input_gradient, logits_in, pair
from bantamweight.explainers._layers import Undefined, at_rest
from bantamweight.predict import TILE
from bantamweight.types import Bool, Float, Images, Int

__all__ = ["Attributions", "Explainer", "Heat", "Pair", "Precision", "Undefined", "explain", "input_gradient", "pair"]

Classes = Int[Tensor, "b k"]
Maps = Float[Tensor, "b k h w"]

_LEAST = 8  # the smallest tile; below it oneDNN takes other kernels for every net
_FLAT = 1e-6  # bilinear resizing of a constant map leaves ripples of 1e-7 of its value


class Heat(NamedTuple):
    """What an explainer returns for one batch: raw signed maps, the same before resizing if it has them, and how far
    each map's sum is from the change of score that it should be, if the method promises that."""

    maps: Float[Tensor, "b k h w"]
    coarse: Float[Tensor, "b k u v"] | None = None
    completeness: Float[Tensor, "b k"] | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Heat:
        """The same change made to every part that is there."""
        rest = (None if part is None else change(part) for part in self[1:])
        return Heat(change(self.maps), *rest)


def _anywhere(_module: nn.Module, _images: Tensor) -> str | None:
    return None


@dataclass(frozen=True)
class Explainer:
    """A method that says where in an image a class score comes from.

    `explain(module, images, classes, layer)` returns a `Heat` for one batch and never slices it. `locate(module,
    images)` names the layer that the method reads (None: it reads none) or raises Undefined with the reason.

    With `many` the method makes many changed copies of each image: it gets the images without padding, a copy of the
    module that is fast, and as a fifth argument how many rows a forward has; with `black_box` too it asks for answers
    and no gradients, which is faster still. `caution` is what is known against the method; it goes wherever its maps
    go. `combine` is set where a map is one expression over a layer's activations and gradients, so that several such
    methods can share them.
    """

    name: str
    explain: Callable[..., Heat]
    locate: Callable[[nn.Module, Tensor], str | None] = _anywhere
    many: bool = False
    black_box: bool = False
    caution: str = ""
    combine: Callable[[Tensor, Tensor], Tensor] | None = None

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
    resolution; `flat` marks maps that are zero or constant, hence without information. `completeness` is, for methods
    whose maps must sum to the change of the score, what is missing of it (see integrated_gradients). If the method is
    not defined for the network, `undefined` says why and there are no rows.
    """

    explainer: str
    maps: Float[Tensor, "b *k h w"]
    classes: Int[Tensor, " b *k"]
    flat: Bool[Tensor, " b *k"]
    coarse: Float[Tensor, "b *k u v"] | None = None
    layer: str | None = None
    undefined: str | None = None
    completeness: Float[Tensor, " b *k"] | None = None
    caution: str = ""


def explain(
    explainer: Explainer | str | Mapping[str, Any],
    module: nn.Module,
    images: Images,
    classes: Tensor | Sequence[int] | None = None,
    *,
    batch: int = 64,
    precision: Precision = "fp32",
    strict: bool = False,
) -> Attributions:
    """Maps of the given classes for every image; for comparing variants, or an image before and after attack.

    `explainer` may be its name or `{"use": name, setting: value}`. `classes` is `(b,)` or `(b, k)`; None explains each
    image's predicted class. Every forward has 64 rows, filled up if need be, so maps don't depend on the number or
    order of the images; a smaller `batch` (rounded up to a multiple of 8) bounds memory, and may change the last bits.
    `precision="bf16"` computes the network's part in bfloat16, for speed. With `strict` a method that is not defined
    for this network is an InputError; otherwise the result says so. The module, its mode, its parameters'
    `requires_grad` and the images are as they were on return, also on a raise. Maps are float32 on the CPU.

    Raises InputError for images outside [0, 1], a number of classes that differs from the number of images, or a
    class that is not there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    >>> explain("gradient", net, torch.rand(5, 3, 4, 4), [0, 1, 0, 1, 1]).maps.shape
    torch.Size([5, 4, 4])
    """
    method = explainer if isinstance(explainer, Explainer) else parts.configure("explainers", explainer).make()
    asked = check(images, classes, batch)
    single = asked is None or asked.ndim == 1
    columns = None if asked is None else asked.reshape(len(images), -1)
    try:
        with at_work(module, images, precision, fast=method.many, answers=method.black_box) as net:
            layer = method.locate(net, on_device(_padded(images[:1], _LEAST), net))
            heat, columns = _tiles(method, net, images, columns, layer, batch)
        check_finite(heat)
    except Undefined as reason:
        if strict:
            raise InputError(f"{method.name} is not defined for this model: {reason}") from reason
        return _nothing(method, images, single, columns, str(reason))
    return finished(method, heat, columns, layer, single)


def check(images: Tensor, classes: Tensor | Sequence[int] | None, batch: int) -> Tensor | None:
    """The classes as a tensor; raises InputError for images, classes or a batch that can't be meant."""
    _check_images(images)
    if batch < 1:
        raise InputError(f"expected batch >= 1, got {batch}")
    return None if classes is None else _check_classes(classes, len(images))


@contextmanager
def at_work(
    module: nn.Module, images: Tensor, precision: Precision, *, fast: bool, answers: bool = False
) -> Iterator[nn.Module]:
    """The module, or a fast copy of it, in evaluation mode and without parameter gradients.

    With `answers` the copy is also prepared for answers without gradients.
    """
    if precision not in ("fp32", "bf16"):
        raise InputError(f"expected precision fp32 or bf16, got {precision!r}")
    with torch.inference_mode(False), at_rest(module):
        if not fast and precision == "fp32":
            yield module
            return
        net = copied(module, on_device(_padded(images[:1], _LEAST), module), precision, gradients=not answers)
        with at_rest(net):
            yield net


def _tiles(
    explainer: Explainer, module: nn.Module, images: Tensor, classes: Tensor | None, layer: str | None, batch: int
) -> tuple[Heat, Tensor]:
    """The explainer over padded batches, joined; classes are filled in where none were given."""
    heats: list[Heat] = []
    chosen: list[Tensor] = []
    for tile, rows, columns in tiles(module, images, classes, batch):
        if explainer.many:
            heat = explainer.explain(module, tile[:rows], columns[:rows], layer, len(tile))
        else:
            heat = explainer.explain(module, tile, columns, layer)
        heats.append(heat.each(partial(home, count=rows)))
        chosen.append(columns[:rows].cpu())
    return joined(heats), torch.cat(chosen)


def tile_rows(batch: int) -> int:
    """Rows of a forward when at most `batch` images are wanted in memory."""
    return min(-(-batch // _LEAST) * _LEAST, TILE)


def tiles(
    module: nn.Module, images: Tensor, classes: Tensor | None, batch: int
) -> Iterator[tuple[Tensor, int, Tensor]]:
    """Full tiles of images with their number of real rows and their classes: the predicted one where none is given."""
    size = tile_rows(batch)
    for start in range(0, len(images), size):
        rows = min(size, len(images) - start)
        tile = on_device(_padded(images[start : start + rows], size), module)
        if classes is None:
            with torch.no_grad():
                columns = logits_in(module(tile.clone())).argmax(dim=1, keepdim=True)
        else:
            columns = _padded(classes[start : start + rows], size).to(tile.device)
        yield tile, rows, columns


def joined(heats: Sequence[Heat]) -> Heat:
    """The maps of several tiles as those of one."""
    maps, *rest = zip(*heats, strict=True)
    return Heat(torch.cat(maps), *(None if part[0] is None else torch.cat(part) for part in rest))


def finished(explainer: Explainer, heat: Heat, classes: Tensor, layer: str | None, single: bool) -> Attributions:
    """What was found, in the shape that was asked for, with flat maps marked."""
    flat = _flat(heat.maps if heat.coarse is None else heat.coarse)
    if single:
        heat = heat.each(lambda part: part[:, 0])
        classes, flat = classes[:, 0], flat[:, 0]
    return Attributions(
        explainer.name,
        heat.maps,
        classes,
        flat,
        heat.coarse,
        layer,
        completeness=heat.completeness,
        caution=explainer.caution,
    )


def _padded(rows: Tensor, size: int) -> Tensor:
    """`size` rows: the last one repeated."""
    return torch.cat([rows, rows[-1:].expand(size - len(rows), *rows.shape[1:])])


def home(rows: Tensor, count: int) -> Tensor:
    """The first rows as float32 on the CPU."""
    return rows[:count].detach().to("cpu", torch.float32)


def on_device(images: Tensor, module: nn.Module) -> Tensor:
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


def check_finite(heat: Heat) -> None:
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
