"""Image files in, as the model reads its images, and files out, whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from bantamweight.data import Preprocessing
from bantamweight.data._decode import decode
from bantamweight.data._text import clean
from bantamweight.errors import InputError, StoreError
from bantamweight.variants import Variant

__all__ = ["put", "read_images"]


def read_images(variant: Variant, files: Sequence[str | Path]) -> tuple[tuple[str, ...], UInt8[Tensor, "n c h w"]]:
    """Printable names and pixels; raises InputError, in one sentence, for no file or one that is no image."""
    if not files:
        raise InputError("expected at least one image file, got none")
    preprocessing = Preprocessing.from_dict(variant.preprocessing)
    pixels = np.stack([decode(Path(file), preprocessing, name=Path(file).name) for file in files])
    return tuple(clean(Path(file).name) for file in files), torch.from_numpy(pixels)


def put(path: Path, content: bytes) -> Path:
    """The file in its place, whole; raises StoreError where it can't be written."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        os.replace(aside, path)
    except OSError as error:
        if path.parent.is_dir():
            aside.unlink(missing_ok=True)
        why = (error.strerror or str(error)).lower()
        raise StoreError(f"{str(path)!r} can't be written ({why}); choose another place with --out") from error
    return path
