"""Objects planted on backgrounds, with exact masks: where the answer is, is known.

A patterned shape decides the class; its place, size, turn and colours don't, and neither do the background and a
speckled decoy, without which a map of edges would find every object. So a model that gets the class right has looked at
the mask, and a map can be held to that. In the manner of Yang and Kim 2019, "Benchmarking Attribution Methods with
Relative Feature Importance" (BAM).
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field

from bantamweight.data._core import Data, Preprocessing, Split
from bantamweight.data._text import clean
from bantamweight.errors import InputError
from bantamweight.parts import Part, Room
from bantamweight.rng import generator

__all__ = ["planted"]

_SHAPES = ("disc", "square", "triangle", "cross", "ring")
_PATTERNS = ("striped", "checked")
_NAMES = tuple(f"{pattern} {shape}" for pattern in _PATTERNS for shape in _SHAPES)

_LEAST = 16
Plane = Float[np.ndarray, "h w"]


def planted(
    *,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    classes: int | tuple[str, ...] = len(_NAMES),
    train: Annotated[int, Field(ge=1)] = 2000,
    val: Annotated[int, Field(ge=1)] = 200,
    test: Annotated[int, Field(ge=1)] = 300,
    background: Annotated[dict[str, Any] | str | Part | None, Room("data")] = None,
    seed: int = 0,
) -> Data:
    """Striped or checked shapes on textures or on real images, with masks; for judging maps where the truth is known.

    `classes` is how many of the ten kinds there are, or what they are to be called: a model's own names let it be
    fine-tuned without a new head. Objects are 34% to 52% of the side long and lie anywhere. `background` is a source
    of data whose images take the place of textures, such as `{use: cifar10}`. Raises InputError for other counts.

    >>> data = planted(train=4, val=2, test=2)
    >>> data.splits["train"].masks.shape
    torch.Size([4, 32, 32])
    """
    names = _NAMES[:classes] if isinstance(classes, int) else tuple(clean(name) for name in classes)
    if not 2 <= len(names) <= len(_NAMES) or (isinstance(classes, int) and classes != len(names)):
        raise InputError(f"expected 2 to {len(_NAMES)} classes of planted objects, got {classes}")
    preprocessing = Preprocessing.of(size, channels, "crop")
    if min(preprocessing.size) < _LEAST:
        raise InputError(f"expected a size of at least {_LEAST} pixels to plant objects in, got {size}")
    behind = _behind(background, preprocessing)
    splits = {
        key: _split(key, count, len(names), preprocessing, behind, seed)
        for key, count in (("train", train), ("val", val), ("test", test))
    }
    return Data("planted", splits, names, preprocessing)


def _behind(background: Part | dict[str, Any] | str | None, preprocessing: Preprocessing) -> dict[str, torch.Tensor]:
    """Images to plant on, by split; a source without such a split gives what it has."""
    if background is None:
        return {}
    from bantamweight.data._load import load

    found = load(background.spec if isinstance(background, Part) else background, preprocessing=preprocessing)
    there = {key: split.images for key, split in found.splits.items() if len(split)}
    some = next(iter(there.values()))
    return {key: there.get(key, some) for key in ("train", "val", "test")}


def _split(
    key: str, count: int, classes: int, preprocessing: Preprocessing, behind: dict[str, torch.Tensor], seed: int
) -> Split:
    (h, w), channels = preprocessing.size, preprocessing.channels
    images = np.empty((count, channels, h, w), dtype=np.uint8)
    masks = np.empty((count, h, w), dtype=bool)
    labels = np.arange(count) % classes
    for row, label in enumerate(labels.tolist()):
        draw = generator(seed, "planted", key, row)
        if behind:
            below = behind[key][int(draw.integers(len(behind[key])))].numpy().astype(np.float64) / 255.0
        else:
            below = _texture(draw, h, w, channels)
        mask, shade = _object(draw, label, h, w)
        image = _filled(draw, below, *_decoy(draw, mask))
        images[row] = np.rint(255.0 * _filled(draw, image, mask, shade))
        masks[row] = mask
    names = tuple(f"planted/{key}/{row:05d}" for row in range(count))
    return Split(torch.from_numpy(images), torch.from_numpy(labels), names, torch.from_numpy(masks))


def _texture(draw: np.random.Generator, h: int, w: int, channels: int) -> Float[np.ndarray, "c h w"]:
    """Noise of three scales, smooth and rough, about a colour: it has edges of its own."""
    whole = np.zeros((channels, h, w))
    for cells, strength in ((4, 0.5), (8, 0.3), (min(h, w), 0.2)):
        coarse = draw.uniform(-1.0, 1.0, (channels, cells + 1, cells + 1))
        down, over = (np.linspace(0, cells, side, endpoint=False) for side in (h, w))
        low, part = down.astype(int), (down % 1)[:, None]
        across = coarse[:, low] * (1 - part) + coarse[:, low + 1] * part
        low, part = over.astype(int), over % 1
        whole += strength * (across[:, :, low] * (1 - part) + across[:, :, low + 1] * part)
    middle = draw.uniform(0.3, 0.7, (channels, 1, 1))
    clipped: Float[np.ndarray, "c h w"] = np.clip(middle + 0.6 * whole, 0.0, 1.0)
    return clipped


def _filled(draw: np.random.Generator, below: np.ndarray, mask: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """An object in two colours laid on an image."""
    ink, paper = _colours(draw, len(below))
    return np.where(mask, np.where(shade, ink[:, None, None], paper[:, None, None]), below)


def _colours(draw: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Two colours that can be told apart."""
    ink = draw.uniform(0.0, 0.35, channels)
    paper = draw.uniform(0.65, 1.0, channels)
    return (ink, paper) if draw.random() < 0.5 else (paper, ink)


def _object(
    draw: np.random.Generator, label: int, h: int, w: int
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The object's pixels, and which of them have the first of its two colours."""
    size = min(h, w)
    radius = draw.uniform(0.17, 0.26) * size
    y0, x0 = (draw.uniform(radius, side - 1 - radius) for side in (h, w))
    angle = draw.uniform(0.0, 2.0 * np.pi)
    y, x = np.mgrid[:h, :w].astype(np.float64)
    dy, dx = (y - y0) / radius, (x - x0) / radius
    u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    pattern, shape = divmod(label, len(_SHAPES))
    period = max(2.0, size / 12.0) / radius
    bands = np.floor(u / period) % 2 == 0
    shade = bands if pattern == 0 else bands ^ (np.floor(v / period) % 2 == 0)
    return _inside(_SHAPES[shape], u, v), shade


def _decoy(
    draw: np.random.Generator, taken: Bool[np.ndarray, "h w"]
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """A thing of no class, as bright as an object, with as many edges: contrast alone must find nothing.

    It lies beside the object wherever a few tries find room, else beneath it.
    """
    (h, w), size = taken.shape, min(taken.shape)
    y, x = np.mgrid[:h, :w].astype(np.float64)
    for _ in range(20):
        radius = draw.uniform(0.15, 0.22) * size
        y0, x0 = (draw.uniform(radius, side - 1 - radius) for side in (h, w))
        mask = ((y - y0) / radius) ** 2 + ((x - x0) / (draw.uniform(0.6, 0.9) * radius)) ** 2 <= 1.0
        if not (mask & taken).any():
            break
    side = max(2, round(size / 16))
    specks = draw.random((h // side + 1, w // side + 1)) < 0.5
    return mask, specks.repeat(side, axis=0).repeat(side, axis=1)[:h, :w]


def _inside(shape: str, u: Plane, v: Plane) -> Bool[np.ndarray, "h w"]:
    """Whether points of the plane lie in a shape that the unit disc holds."""
    far = np.hypot(u, v)
    found: dict[str, np.ndarray] = {
        "disc": far <= 0.9,
        "square": np.maximum(np.abs(u), np.abs(v)) <= 0.7,
        "triangle": (v >= -0.5) & (v + np.sqrt(3.0) * np.abs(u) <= 1.0),
        "cross": (far <= 1.0) & (np.minimum(np.abs(u), np.abs(v)) <= 0.3),
        "ring": (far <= 1.0) & (far >= 0.5),
    }
    return found[shape]
