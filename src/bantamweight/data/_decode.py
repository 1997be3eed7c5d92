"""Image files of any common kind to uint8 tensors, or a sentence that says which file is bad and why.

Rotated by their EXIF orientation, palettes looked up, CMYK converted (without its colour profile), 16 bits scaled to
8, transparency laid on white. Resizing is antialiased (triangle filter over the whole footprint).
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from bantamweight.data._core import Preprocessing
from bantamweight.data._text import clean
from bantamweight.errors import InputError

__all__ = ["VERSION", "Decoded", "decode", "decode_many", "fit", "sides", "window"]

VERSION = 1
"""Raised whenever the same file would give other pixels, so that cached tensors are not reused."""

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
"""What may be opened. PIL knows 40 more, and some of them (EPS) start other programs."""

_SMALLEST = 8
_MOST_PIXELS = 89_478_485
"""PIL's own limit: a file that claims more is more likely meant to fill the memory than to be looked at."""


class Decoded(NamedTuple):
    """Pixels of the good files in order, and why the others are bad (by their position among all)."""

    images: UInt8[np.ndarray, "n c h w"]
    bad: dict[int, str]


class _BadImage(ValueError):
    """Why one image can't be used, without its name."""


def decode(source: bytes | Path, preprocessing: Preprocessing, *, name: str) -> UInt8[np.ndarray, "c h w"]:
    """One file, given by path or content, as pixels of shape (channels, height, width).

    Raises InputError that begins with `name` when it is corrupt, truncated, too small, too large or no image.
    """
    decoded = decode_many([source], preprocessing)
    if decoded.bad:
        raise InputError(f"{clean(name)}: {decoded.bad[0]}")
    return decoded.images[0]


def decode_many(sources: Sequence[bytes | Path], preprocessing: Preprocessing) -> Decoded:
    """Many files; PIL decodes without holding the interpreter's lock, so threads help."""
    height, width = preprocessing.size
    images = np.empty((len(sources), preprocessing.channels, height, width), dtype=np.uint8)

    def one(row: int) -> str | None:
        try:
            images[row] = _decode(sources[row], preprocessing)
        except _BadImage as error:
            return str(error)
        return None

    with warnings.catch_warnings():  # set once around the threads: the filters belong to the whole process
        warnings.simplefilter("ignore")  # PIL warns about odd metadata that does not touch the pixels
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            reasons = list(pool.map(one, range(len(sources))))
    bad = {row: reason for row, reason in enumerate(reasons) if reason is not None}
    if bad:
        images = np.delete(images, list(bad), axis=0)
    return Decoded(images, bad)


def sides(source: Path, *, name: str) -> tuple[int, int]:
    """Width and height of a file as it is shown (its EXIF orientation applied); raises InputError as `decode` does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(source, formats=_FORMATS) as image:
                _inspect(image)
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                width, height = image.size
                return (height, width) if turned else (width, height)
    except Exception as error:  # as in _decode: whatever comes out means that the file is not usable
        reason = str(error) if isinstance(error, _BadImage) else _reason(error)
        raise InputError(f"{clean(name)}: {reason}") from error


def fit(images: UInt8[np.ndarray, "n c h w"], preprocessing: Preprocessing) -> UInt8[np.ndarray, "n c h w"]:
    """Pixels that are already an array, at the size and with the channels wanted."""
    same = images.shape[1:] == (preprocessing.channels, *preprocessing.size)
    if same or not len(images):
        return images
    grey = images.shape[1] == 1
    pictures = (Image.fromarray(image[0] if grey else image.transpose(1, 2, 0)) for image in images)
    try:
        return np.stack([_array(_resized(picture, preprocessing), preprocessing.channels) for picture in pictures])
    except _BadImage as error:
        raise InputError(str(error)) from error


def _decode(source: bytes | Path, preprocessing: Preprocessing) -> UInt8[np.ndarray, "c h w"]:
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS) as image:
            _inspect(image)
            # JPEG can skip detail while decoding; twice the final size is kept so that the resize stays antialiased.
            side = 2 * max(preprocessing.size)
            if preprocessing.resize != "none":
                image.draft(None, (side, side))
            image.load()
            return _array(_resized(_flat(_upright(image)), preprocessing), preprocessing.channels)
    except _BadImage:
        raise
    # Anything at all may come out of a hostile or broken file: PIL raises OSError, SyntaxError, struct.error,
    # ValueError, KeyError, zlib.error, MemoryError and more, and each means that this file is not usable.
    except Exception as error:
        raise _BadImage(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"expected at most {_MOST_PIXELS:,} pixels, got far more (a decompression bomb?)"
    if isinstance(error, Image.UnidentifiedImageError):
        return "expected an image (JPEG, PNG, GIF, BMP, TIFF, WebP, PPM), got something else or a broken header"
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return f"can't be read ({error.strerror})"
    if "truncated" in str(error).lower():
        return "expected a whole image, got a truncated file"
    return f"expected an image, got a corrupt file ({clean(str(error)) or type(error).__name__})"


def _inspect(image: Image.Image) -> None:
    """Look at the header before a pixel is decoded."""
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise _BadImage(f"expected at most {_MOST_PIXELS:,} pixels, got {width} x {height} (a decompression bomb?)")
    if min(width, height) < _SMALLEST:
        raise _BadImage(f"expected at least {_SMALLEST} x {_SMALLEST} pixels, got {width} x {height}")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are whole (they were loaded before); only the metadata is broken
        return image


def _flat(image: Image.Image) -> Image.Image:
    """As 8-bit grey ("L") or "RGB", transparency on white."""
    if image.mode.startswith(("I", "F")):
        return _from_deep(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by scaling; PIL's own conversion clips everything above 255."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise _BadImage("expected 8 or 16 bits per channel, got 32; convert it to 8 bits")
    grey = np.rint(values.astype(np.float64) / 257.0).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey)


def _resized(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    height, width = preprocessing.size
    if image.size == (width, height):
        return image
    if preprocessing.resize == "none":
        raise _BadImage(f"expected {width} x {height} pixels, got {image.width} x {image.height}; choose resize: crop")
    return image.resize((width, height), Image.Resampling.BILINEAR, box=window(image.size, preprocessing))


def window(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """The part of the image that is kept: resizing the shorter side, then cutting the centre, in one step."""
    width, height = size
    if preprocessing.resize == "squash":
        return 0.0, 0.0, width, height
    tall, wide = preprocessing.size
    scale = min(width / wide, height / tall)
    left, top = (width - wide * scale) / 2, (height - tall * scale) / 2
    return max(left, 0.0), max(top, 0.0), min(left + wide * scale, width), min(top + tall * scale, height)


def _array(image: Image.Image, channels: int) -> UInt8[np.ndarray, "c h w"]:
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
