"""Stored pictures as data URIs, made smaller where the page would grow too large."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

__all__ = ["Album", "Tiles", "album", "tiles"]

KINDS = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
SHEET_BYTES = 1_500_000
STEPS = ((88, 4096), (75, 160), (60, 112), (50, 80), (40, 56))
"""Quality and longest side of the compressed forms, tried in turn."""


@dataclass(frozen=True)
class Album:
    """Pictures by path, as data URIs. `note` says what was done to them for the sake of the page's size."""

    pictures: dict[Path, str]
    note: str = ""

    def get(self, path: Path) -> str:
        """The picture's data URI; nothing for a file that is absent or no picture."""
        return self.pictures.get(path, "")


@dataclass(frozen=True)
class Tiles:
    """Every image of a split in one picture: tile i is row i, `columns` in a row, `width` x `height` pixels each."""

    uri: str
    columns: int
    width: int
    height: int
    note: str = ""


def album(paths: Iterable[Path], *, most: int) -> Album:
    """The pictures as stored if they weigh at most `most` bytes in all, else as WebP."""
    read = {path: data for path in dict.fromkeys(paths) if (data := _bytes(path))}
    if sum(map(len, read.values())) <= most:
        return Album({path: _uri(data, KINDS[_magic(data)]) for path, data in read.items()})
    drawn: dict[Path, bytes] = {}
    for quality, side in STEPS:
        drawn = {path: _webp(data, quality, side) for path, data in read.items()}
        if sum(map(len, drawn.values())) <= most:
            break
    note = "Pictures are compressed (WebP) to keep this page small; the store holds them as they are."
    return Album({path: _uri(data, "webp") for path, data in drawn.items()}, note)


def tiles(path: Path, columns: int, tile: tuple[int, int], *, most: int = SHEET_BYTES) -> Tiles | None:
    """A sheet as stored if it weighs at most `most` bytes, else with smaller tiles; None where it can't be read."""
    data = _bytes(path)
    width, height = tile
    if not data or columns < 1 or min(tile) < 1:
        return None
    if len(data) <= most:
        return Tiles(_uri(data, KINDS[_magic(data)]), columns, width, height)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own file, known to be large
        whole = Image.open(io.BytesIO(data)).convert("RGB")
    side = min(64, max(width, height))
    while True:
        small = max(1, round(width * side / max(tile))), max(1, round(height * side / max(tile)))
        shrunk = whole.resize((small[0] * columns, small[1] * round(whole.height / height)), Image.Resampling.BOX)
        made = _jpeg(shrunk)
        if len(made) <= most or side <= 12:
            note = f"Images are shown at {small[0]} x {small[1]} pixels to keep this page small."
            return Tiles(_uri(made, "jpeg"), columns, *small, note)
        side = round(side * 0.75)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    return data if _magic(data) else b""


def _magic(data: bytes) -> bytes:
    return next((magic for magic in KINDS if data.startswith(magic)), b"")


def _webp(data: bytes, quality: int, side: int) -> bytes:
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.thumbnail((side, side))
    image.save(buffer, format="WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
