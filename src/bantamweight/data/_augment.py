"""Augmentation of whole batches, where an image's changes depend on the seed, the epoch and its own index only.

So a training that was interrupted sees the same images when it resumes, bit for bit, whatever the batch size. Flips and
crops move whole pixels; neighbouring rotations, affine maps and resized crops are composed into one resampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from bantamweight.data._colour import recolour
from bantamweight.errors import InputError, near
from bantamweight.parts import complaint, settings
from bantamweight.rng import uniform
from bantamweight.types import Float, Images, Int64

__all__ = ["OPS", "Op", "affine", "augment", "augmentations", "crop", "flip", "jitter", "resized_crop", "rotation"]

Fill = Literal["zeros", "border", "reflection"]

_TILE = 256
"""Images worked on together, so that their temporaries (3 MB at 3 x 32 x 32) stay in the processor's cache."""


class Maps(NamedTuple):
    """Where an output pixel comes from: x' = a x + b y + c, y' = d x + e y + f, in pixels from the centre (float64)."""

    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor
    e: Tensor
    f: Tensor


@dataclass(frozen=True)
class Op:
    """One augmentation: how many random numbers it takes per image, and what it does with them.

    `warp` gives maps (composed with its neighbours'), `apply` changes pixels; exactly one of them is set.
    """

    name: str
    draws: int
    warp: Callable[[Tensor, int, int], Maps] | None = None
    apply: Callable[[Images, Tensor], Images] | None = None
    fill: Fill = "zeros"


def flip(*, p: float = 0.5) -> Op:
    """Mirror left to right with probability `p`."""
    _check("p", p, 0.0, 1.0)

    def apply(images: Images, draws: Tensor) -> Images:
        return torch.where((draws[:, 0] < p)[:, None, None, None], images.flip(3), images)

    return Op("flip", 1, apply=apply)


def crop(*, padding: int = 4, fill: Fill = "zeros") -> Op:
    """Pad by `padding` pixels on every side and cut a window of the old size, moved by whole pixels."""
    _check("padding", padding, 0, 512)

    def apply(images: Images, draws: Tensor) -> Images:
        height, width = images.shape[2:]
        sides = (padding,) * 4
        if fill == "zeros":
            padded = functional.pad(images, sides)
        else:
            padded = functional.pad(images, sides, mode="replicate" if fill == "border" else "reflect")
        moves = (draws * (2 * padding + 1)).to(torch.int64)
        rows = moves[:, :1] + torch.arange(height, device=images.device)
        columns = moves[:, 1:] + torch.arange(width, device=images.device)
        index = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
        flat = index.reshape(len(images), 1, -1).expand(-1, images.shape[1], -1)
        return padded.flatten(2).gather(2, flat).reshape(images.shape)

    return Op("crop", 2, apply=apply)


def resized_crop(
    *, scale: tuple[float, float] = (0.6, 1.0), ratio: tuple[float, float] = (0.75, 4 / 3), fill: Fill = "zeros"
) -> Op:
    """Cut a part with an area of `scale` (fractions) and an aspect of `ratio`, and enlarge it to the old size."""
    _check_range("scale", scale, 0.01, 1.0)
    _check_range("ratio", ratio, 0.1, 10.0)

    def warp(draws: Tensor, height: int, width: int) -> Maps:
        area = _between(draws[:, 0], *scale)
        aspect = _each(math.exp, _between(draws[:, 1], math.log(ratio[0]), math.log(ratio[1])))
        wide = (area * aspect).sqrt().clamp(max=1.0)
        tall = (area / aspect).sqrt().clamp(max=1.0)
        right = (draws[:, 2] - 0.5) * (1.0 - wide) * width
        down = (draws[:, 3] - 0.5) * (1.0 - tall) * height
        zeros = torch.zeros_like(wide)
        return Maps(wide, zeros, right, zeros, tall, down)

    return Op("resized_crop", 4, warp=warp, fill=fill)


def rotation(*, degrees: float = 15.0, fill: Fill = "zeros") -> Op:
    """Turn about the centre by up to `degrees` either way."""
    _check("degrees", degrees, 0.0, 180.0)

    def warp(draws: Tensor, height: int, width: int) -> Maps:  # noqa: ARG001 (every warp is told the size)
        angle = _between(draws[:, 0], -math.radians(degrees), math.radians(degrees))
        zeros = torch.zeros_like(angle)
        return _inverse(angle, zeros, torch.ones_like(angle), zeros, zeros)

    return Op("rotation", 1, warp=warp, fill=fill)


def affine(
    *,
    degrees: float = 0.0,
    translate: float = 0.1,
    scale: tuple[float, float] = (0.9, 1.1),
    shear: float = 0.0,
    fill: Fill = "zeros",
) -> Op:
    """Turn and shear by up to `degrees` and `shear` degrees, move by up to `translate` (of the side), scale."""
    _check("degrees", degrees, 0.0, 180.0)
    _check("translate", translate, 0.0, 1.0)
    _check_range("scale", scale, 0.1, 10.0)
    _check("shear", shear, 0.0, 80.0)

    def warp(draws: Tensor, height: int, width: int) -> Maps:
        angle = _between(draws[:, 0], -math.radians(degrees), math.radians(degrees))
        slant = _each(math.tan, _between(draws[:, 1], -math.radians(shear), math.radians(shear)))
        factor = _between(draws[:, 2], *scale)
        right = _between(draws[:, 3], -translate * width, translate * width)
        down = _between(draws[:, 4], -translate * height, translate * height)
        return _inverse(angle, slant, factor, right, down)

    return Op("affine", 5, warp=warp, fill=fill)


def jitter(*, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2, hue: float = 0.1) -> Op:
    """Change the colours by factors from 1 - x to 1 + x, and the hue by up to `hue` turns of the colour circle.

    In this fixed order, where torchvision shuffles it; on grey images saturation and hue do nothing.
    """
    for name, value in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
        _check(name, value, 0.0, 1.0)
    _check("hue", hue, 0.0, 0.5)
    reach = torch.tensor([brightness, contrast, saturation, hue])

    def apply(images: Images, draws: Tensor) -> Images:
        moved = (draws * 2.0 - 1.0) * reach.to(draws.device)
        return recolour(images, moved, changes=tuple(bool(value) for value in reach))

    return Op("jitter", 4, apply=apply)


OPS: dict[str, Callable[..., Op]] = {
    "affine": affine,
    "crop": crop,
    "flip": flip,
    "jitter": jitter,
    "resized_crop": resized_crop,
    "rotation": rotation,
}
"""The augmentations that a study can name."""


def augmentations(specs: Iterable[str | Mapping[str, Any] | Op]) -> tuple[Op, ...]:
    """Augmentations as a study writes them (`flip`, `{"use": "rotation", "degrees": 15}`), checked.

    Raises InputError for an unknown name or setting.

    >>> [op.name for op in augmentations(["flip", {"use": "rotation", "degrees": 15}])]
    ['flip', 'rotation']
    """
    if isinstance(specs, str | Mapping) or not isinstance(specs, Iterable):
        raise InputError(f"expected a list of augmentations, got {specs!r}; write [{{use: flip}}]")
    return tuple(spec if isinstance(spec, Op) else _op(spec) for spec in specs)


def _op(spec: str | Mapping[str, Any]) -> Op:
    given = {"use": spec} if isinstance(spec, str) else spec
    if not isinstance(given, Mapping) or not isinstance(given.get("use"), str):
        raise InputError(f"expected an augmentation as a name or as {{use: NAME, ...}}, got {spec!r}")
    name = given["use"]
    if name not in OPS:
        raise InputError(f"{name!r} is not an augmentation{near(name, OPS)}")
    model = settings(OPS[name])
    try:
        checked = model.model_validate({key: value for key, value in given.items() if key != "use"})
    except ValidationError as error:
        raise InputError(complaint(error, name, model)) from error
    return OPS[name](**{key: getattr(checked, key) for key in model.model_fields})


def augment(
    images: Images, ops: Iterable[str | Mapping[str, Any] | Op], *, seed: int, epoch: int, index: Int64[Tensor, " b"]
) -> Images:
    """The images after every op in turn; `index` is each image's place in its split. The input is left as it is.

    Row i depends on its own pixels, `seed`, `epoch` and `index[i]` only, bitwise, so batches may be cut anyhow.
    Raises InputError as `augmentations` does.
    """
    known = augmentations(ops)
    result = torch.empty_like(images)
    for start in range(0, len(images), _TILE):
        rows = slice(start, start + _TILE)
        keys = index[rows].to(images.device)
        draws = [uniform(keys, (op.draws,), "augment", seed, epoch, place, op.name) for place, op in enumerate(known)]
        result[rows] = _changed(images[rows], known, draws)
    return result


def _changed(images: Images, ops: Sequence[Op], draws: Sequence[Tensor]) -> Images:
    """Every op in turn, with maps held back while the next op is a map too."""
    pending: Maps | None = None
    fill: Fill = "zeros"
    height, width = images.shape[2:]
    for op, drawn in zip(ops, draws, strict=True):
        maps = None if op.warp is None else op.warp(drawn.to(torch.float64), height, width)
        if pending is not None and maps is not None and op.fill == fill:
            pending = _after(pending, maps)
            continue
        images = images if pending is None else _resample(images, pending, fill)
        pending, fill = maps, op.fill
        images = images if op.apply is None else op.apply(images, drawn)
    return images if pending is None else _resample(images, pending, fill)


def _after(first: Maps, then: Maps) -> Maps:
    """One map for two: an output pixel is looked up through `then`, and the place found through `first`."""
    return Maps(
        first.a * then.a + first.b * then.d,
        first.a * then.b + first.b * then.e,
        first.a * then.c + first.b * then.f + first.c,
        first.d * then.a + first.e * then.d,
        first.d * then.b + first.e * then.e,
        first.d * then.c + first.e * then.f + first.f,
    )


def _inverse(angle: Tensor, slant: Tensor, factor: Tensor, right: Tensor, down: Tensor) -> Maps:
    """Maps back from an image that was sheared, scaled, turned and moved, in this order."""
    cosine, sine = _each(math.cos, angle), _each(math.sin, angle)
    # Forward: move . turn . scale . [[1, slant], [0, 1]]; so backward: [[1, -slant], [0, 1]] . 1/scale . turn back.
    a = (cosine + slant * sine) / factor
    b = (sine - slant * cosine) / factor
    d, e = -sine / factor, cosine / factor
    return Maps(a, b, -(a * right + b * down), d, e, -(d * right + e * down))


def _resample(images: Images, maps: Maps, fill: Fill) -> Images:
    """Bilinear. The grid is made of single multiplications and additions, which round alike in any batch."""
    height, width = images.shape[2:]
    device = images.device
    x = (torch.arange(width, device=device, dtype=torch.float32) - (width - 1) / 2.0)[None, None, :]
    y = (torch.arange(height, device=device, dtype=torch.float32) - (height - 1) / 2.0)[None, :, None]
    a, b, c, d, e, f = (each.to(torch.float32)[:, None, None] for each in maps)
    across = (a * x + b * y + c) * (2.0 / width)
    down = (d * x + e * y + f) * (2.0 / height)
    grid = torch.stack([across, down], dim=3)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=fill, align_corners=False)


def _between(draws: Tensor, low: float, high: float) -> Float[Tensor, " b"]:
    return low + draws * (high - low)


def _each(function: Callable[[float], float], values: Tensor) -> Tensor:
    """One at a time: the last bit of a vectorised sine depends on where in the batch the value stands."""
    return torch.tensor([function(value) for value in values.tolist()], dtype=values.dtype, device=values.device)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InputError(f"expected {name} from {low} to {high}, got {value}")


def _check_range(name: str, value: tuple[float, float], low: float, high: float) -> None:
    if not low <= value[0] <= value[1] <= high:
        raise InputError(f"expected {name} as two numbers from {low} to {high}, the smaller first, got {list(value)}")
