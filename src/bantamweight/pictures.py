"""Pictures of images, maps and perturbations, made with NumPy and Pillow only.

Maps come raw and are normalised here, when they are drawn, and nowhere else. Signed maps are drawn from blue
(against the class) over white to red (for it), one-sided maps from dark violet to yellow; both scales keep their
order for the colour-blind and the second also in a black-and-white print. A map without information is hatched,
never stretched.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num, UInt8
from PIL import Image

from bantamweight.errors import InputError

__all__ = [
    "Perturbation",
    "Picture",
    "Sheet",
    "fit",
    "flat",
    "heat",
    "legend",
    "overlay",
    "perturbation",
    "picture",
    "png",
    "sheet",
]

Picture = UInt8[np.ndarray, "h w 3"]
Map = Float[np.ndarray, "h w"]

# Viridis (Smith, van der Walt 2015, CC0) and ColorBrewer's RdBu (Brewer 2003, Apache-2.0), blue first.
_SEQUENTIAL = (
    "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b addc30 "
    "d8e219 fde725"
)
_DIVERGING = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"
_GREY = 128
_CLIP = 0.99


def _table(anchors: str) -> Float[np.ndarray, "256 3"]:
    """256 colours by linear interpolation between equally spaced anchors."""
    points = np.array([[int(one[at : at + 2], 16) for at in (0, 2, 4)] for one in anchors.split()], dtype=float)
    at = np.linspace(0, len(points) - 1, 256)
    return np.stack([np.interp(at, np.arange(len(points)), points[:, channel]) for channel in range(3)], axis=1)


_TABLES = {False: _table(_SEQUENTIAL), True: _table(_DIVERGING)}


def picture(image: Num[np.ndarray, "c h w"]) -> Picture:
    """An image as 8-bit RGB: floats `(c, h, w)` in [0, 1] or uint8 `(c, h, w)`, c = 1 or 3.

    >>> picture(np.full((1, 2, 2), 0.5, dtype=np.float32))[0, 0].tolist()
    [128, 128, 128]
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise InputError(f"expected an image (1 or 3 channels, height, width), got shape {image.shape}")
    if image.dtype != np.uint8:
        image = np.rint(np.clip(_finite(image), 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0))


def flat(map: Map) -> bool:
    """Whether a map is zero or constant up to rounding, hence says nothing."""
    return bool(np.ptp(map) <= 1e-6 * np.abs(map).max())


def heat(map: Map, *, signed: bool | None = None, scale: float | None = None) -> Picture:
    """A map in colour.

    `signed` chooses the scale that has a centre (None: when the map has negative values). `scale` is the magnitude
    that gets the end colour, for maps that must be compared; None takes the map's own 99% quantile, so that
    a few extreme pixels do not darken the rest.
    """
    _finite(map)
    if flat(map):
        return _hatched(*map.shape)
    shade, signed = _shade(map, signed, scale)
    return _colour(shade, signed)


def overlay(
    image: Num[np.ndarray, "c h w"],
    map: Map,
    *,
    signed: bool | None = None,
    scale: float | None = None,
    strength: float = 0.8,
) -> Picture:
    """A map over its image: the image in grey, coloured the more the larger the map's magnitude is there.

    A flat map leaves the grey image with hatching over it. `image` as for `picture`, the map of the same size.
    """
    below = picture(image)
    if below.shape[:2] != map.shape:
        raise InputError(f"expected a map of the image's size {below.shape[:2]}, got {map.shape}")
    grey = np.repeat((below @ np.array([0.299, 0.587, 0.114]))[:, :, None], 3, axis=2)
    if flat(_finite(map)):
        return _rounded(0.5 * grey + 0.5 * _hatched(*map.shape))
    shade, signed = _shade(map, signed, scale)
    alpha = strength * (np.abs(shade) if signed else shade)[:, :, None]
    return _rounded((1.0 - alpha) * grey + alpha * _colour(shade, signed))


class Perturbation(NamedTuple):
    """A picture of a difference and the factor by which it was enlarged, which belongs beside it."""

    picture: Picture
    gain: float


def perturbation(delta: Float[np.ndarray, "c h w"], *, gain: float | None = None) -> Perturbation:
    """A perturbation around middle grey, enlarged by `gain`.

    Without one: the largest of 1, 2, 5, 10, 20, ... that clips nothing, so that pictures are comparable by a number
    that a reader can hold in mind. No change at all is plain grey with gain 1.

    >>> perturbation(np.full((3, 2, 2), 0.03, dtype=np.float32)).gain
    10.0
    """
    size = float(np.abs(_finite(delta)).max())
    if gain is None:
        gain = _round_gain(0.5 / size) if size > 0 else 1.0
    return Perturbation(picture(np.clip(_GREY / 255.0 + gain * delta, 0.0, 1.0).astype(np.float32)), gain)


def _round_gain(most: float) -> float:
    if most < 1.0:
        return 1.0  # a difference larger than half the range clips rather than shrinks
    # Pixels are float32, so 0.1 comes as slightly more than 0.1: a part in a million is forgiven.
    power = 10.0 ** math.floor(math.log10(most) + 1e-6)
    return power * max(digit for digit in (1.0, 2.0, 5.0) if digit * power <= most * (1 + 1e-6))


def legend(*, signed: bool, width: int = 128, height: int = 12) -> Picture:
    """The colour scale from its low to its high end, to be shown beside maps."""
    ramp = np.linspace(-1.0 if signed else 0.0, 1.0, width)
    return np.repeat(_colour(ramp[None], signed), height, axis=0)


def fit(drawn: Picture, cell: tuple[int, int]) -> UInt8[np.ndarray, "p q 3"]:
    """The picture inside a cell `(height, width)`, proportions kept, grey around it.

    Small pictures grow by a whole number, pixel by pixel, so a pixel stays a pixel; large ones are resampled.
    """
    height, width = drawn.shape[:2]
    ratio = min(cell[0] / height, cell[1] / width)
    if ratio >= 1.0:
        times = math.floor(ratio)
        inner = drawn.repeat(times, axis=0).repeat(times, axis=1)
    else:
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        inner = np.asarray(Image.fromarray(drawn).resize(size, Image.Resampling.LANCZOS))
    placed = np.full((*cell, 3), _GREY, dtype=np.uint8)
    top, left = (cell[0] - inner.shape[0]) // 2, (cell[1] - inner.shape[1]) // 2
    placed[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return placed


@dataclass(frozen=True)
class Sheet:
    """Many pictures in one PNG, row by row; a page shows one of them as a sprite."""

    png: bytes
    cell: tuple[int, int]
    columns: int
    count: int

    @property
    def rows(self) -> int:
        """Number of rows, the last one perhaps not full."""
        return math.ceil(self.count / self.columns)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the PNG in pixels."""
        return self.rows * self.cell[0], self.columns * self.cell[1]

    def at(self, index: int) -> tuple[int, int]:
        """Top and left of a picture, in pixels."""
        if not 0 <= index < self.count:
            raise InputError(f"expected a picture from 0 to {self.count - 1}, got {index}")
        return index // self.columns * self.cell[0], index % self.columns * self.cell[1]


def sheet(drawn: Sequence[Picture], *, cell: tuple[int, int], columns: int = 10) -> Sheet:
    """A contact sheet: every picture fitted to `cell` (height, width), `columns` in a row."""
    if not drawn or columns < 1 or min(cell) < 1:
        raise InputError(f"expected pictures, columns >= 1 and a cell >= 1x1, got {len(drawn)}, {columns}, {cell}")
    columns = min(columns, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    whole = np.full((rows * cell[0], columns * cell[1], 3), _GREY, dtype=np.uint8)
    for index, one in enumerate(drawn):
        top, left = index // columns * cell[0], index % columns * cell[1]
        whole[top : top + cell[0], left : left + cell[1]] = fit(one, cell)
    return Sheet(png(whole), cell, columns, len(drawn))


def png(drawn: Picture) -> bytes:
    """The picture as a PNG without metadata; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


def _finite(values: np.ndarray) -> np.ndarray:
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"expected finite values to draw, got shape {values.shape} with NaN, infinity or nothing")
    return values


def _shade(map: Map, signed: bool | None, scale: float | None) -> tuple[Float[np.ndarray, "h w"], bool]:
    """The map in [-1, 1] if signed, else in [0, 1], and which of the two."""
    if signed is None:
        signed = bool(map.min() < 0)
    magnitude = np.abs(map) if signed else np.maximum(map, 0.0)
    if scale is None:
        # A map with fewer non-zero pixels than the quantile leaves out would have the scale 0.
        scale = float(np.quantile(magnitude, _CLIP)) or float(magnitude.max())
    if scale <= 0:
        return np.zeros(map.shape), signed
    return np.clip(map / scale, -1.0 if signed else 0.0, 1.0), signed


def _colour(shade: Float[np.ndarray, "h w"], signed: bool) -> Picture:
    place = (shade + 1.0) / 2.0 if signed else shade
    return _rounded(_TABLES[signed][np.rint(place * 255).astype(int)])


def _rounded(values: Float[np.ndarray, "h w 3"]) -> Picture:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _hatched(height: int, width: int) -> Picture:
    """Diagonal stripes in two greys: there is nothing to see here, and it is not an error."""
    stripes = (np.add.outer(np.arange(height), np.arange(width)) // 3) % 2
    return np.repeat(np.where(stripes, 168, 208).astype(np.uint8)[:, :, None], 3, axis=2)
