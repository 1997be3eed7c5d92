"""What readers of boxes and masks share: images and masks cut and resized alike, files that stay in their folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from bantamweight.data._core import Data, Preprocessing, Split
from bantamweight.data._decode import decode, sides
from bantamweight.data._gather import WHOLE
from bantamweight.data._text import clean
from bantamweight.errors import InputError

__all__ = ["Box", "Seen", "assembled", "inside", "masked", "read_text"]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the image file, the right and lower edges outside."""

_MOST_BOXES = 10_000


class Seen(NamedTuple):
    """One image and class, with all boxes of that class in it, and the size that its annotation states."""

    file: Path
    kind: str
    boxes: tuple[Box, ...]
    stated: tuple[int, int] | None = None


def inside(root: Path, name: str) -> Path:
    """A file that an annotation names; raises InputError where that leads out of the folder, or nowhere."""
    try:
        path = (root / name).resolve()
        there = path.is_relative_to(root.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):
        there = False
    if not there:
        raise InputError(f"expected the image {clean(name)!r} in {clean(root)!r}, there is none; check the annotations")
    return path


def read_text(path: Path, most: int) -> bytes:
    """A file of at most `most` bytes."""
    try:
        if path.stat().st_size > most:
            raise InputError(f"expected {clean(path.name)!r} to have at most {most:,} bytes, it is larger")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{clean(path)!r} can't be read ({error.strerror or error}); check the path") from error


def masked(boxes: Sequence[Box], width: int, height: int) -> UInt8[np.ndarray, "h w"]:
    """255 inside any box, to the nearest whole pixel, at least one pixel each."""
    if len(boxes) > _MOST_BOXES:
        raise InputError(f"expected at most {_MOST_BOXES:,} boxes in an image, got {len(boxes):,}")
    if not np.isfinite(np.array(boxes, dtype=float)).all():
        raise InputError("expected boxes of finite numbers, got NaN or infinity; check the annotations")
    mask = np.zeros((height, width), dtype=np.uint8)
    for left, top, right, bottom in boxes:
        rows = _span(top, bottom, height)
        columns = _span(left, right, width)
        mask[rows, columns] = 255
    return mask


def _span(low: float, high: float, most: int) -> slice:
    start = min(max(round(low), 0), most - 1)
    return slice(start, min(max(round(high), start + 1), most))


def assembled(
    name: str,
    seen: Iterable[Seen | tuple[Path, str, Path]],
    preprocessing: Preprocessing,
    kinds: Sequence[str] | None = None,
) -> Data:
    """Images and their masks as data of one split; a mask is a list of boxes or the path of a picture.

    Masks take the way of their images: turned, cut and resized alike. Raises InputError for the first bad file.
    """
    rows = list(seen)
    if not rows:
        raise InputError(f"expected objects in {clean(name)!r}, found none")
    classes = tuple(kinds) if kinds is not None else tuple(sorted({row[1] for row in rows}))
    place = {kind: at for at, kind in enumerate(classes)}
    images, masks = [], []
    for row in rows:
        called = clean(row[0].name)
        images.append(decode(row[0], preprocessing, name=called))
        if isinstance(row, Seen):
            masks.append(_fitted(_of_boxes(row, called), preprocessing))
        else:
            masks.append(_of_picture(row[2], sides(row[0], name=called), preprocessing))
    split = Split(
        torch.from_numpy(np.stack(images)),
        torch.tensor([place[row[1]] for row in rows]),
        tuple(clean(f"{row[0].name}: {row[1]}") for row in rows),
        torch.from_numpy(np.stack(masks)),
    )
    return Data(clean(name), {WHOLE: split}, tuple(clean(kind) for kind in classes), preprocessing)


def _of_boxes(row: Seen, called: str) -> UInt8[np.ndarray, "h w"]:
    width, height = sides(row.file, name=called)
    if row.stated is not None and row.stated != (width, height):
        raise InputError(
            f"{called!r} has {width} x {height} pixels and its annotation says {row.stated[0]} x {row.stated[1]}; "
            "its boxes would lie elsewhere (was it resized, or turned by a camera?)"
        )
    return masked(row.boxes, width, height)


def _of_picture(path: Path, size: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    """A mask picture: everything that is not black is the object."""
    called = clean(path.name)
    if sides(path, name=called) != size:
        raise InputError(f"expected the mask {called!r} to have its image's {size[0]} x {size[1]} pixels")
    whole = Preprocessing((size[1], size[0]), 1, "none")
    return _fitted(np.where(decode(path, whole, name=called)[0] > 0, 255, 0).astype(np.uint8), preprocessing)


def _fitted(mask: UInt8[np.ndarray, "h w"], preprocessing: Preprocessing) -> np.ndarray:
    """The mask at the model's size: a pixel belongs to the object where at least half of it does."""
    from bantamweight.data._decode import window

    width, height = mask.shape[1], mask.shape[0]
    wanted = (preprocessing.size[1], preprocessing.size[0])
    if (width, height) == wanted:
        return mask > 0
    if preprocessing.resize == "none":
        raise InputError(f"expected images of {wanted[0]} x {wanted[1]} pixels, got {width} x {height}; resize: crop")
    box = window((width, height), preprocessing)
    found: np.ndarray = np.asarray(Image.fromarray(mask).resize(wanted, Image.Resampling.BILINEAR, box=box)) >= 128
    return found
