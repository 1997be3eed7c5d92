"""Image files, as the model reads its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from bantamweight.data import Preprocessing
from bantamweight.data._decode import decode
from bantamweight.data._text import clean
from bantamweight.errors import InputError
from bantamweight.variants import Variant

__all__ = ["read_images"]


def read_images(variant: Variant, files: Sequence[str | Path]) -> tuple[tuple[str, ...], UInt8[Tensor, "n c h w"]]:
    """Printable names and pixels; raises InputError, in one sentence, for no file or one that is no image."""
    if not files:
        raise InputError("expected at least one image file, got none")
    preprocessing = Preprocessing.from_dict(variant.preprocessing)
    pixels = np.stack([decode(Path(file), preprocessing, name=Path(file).name) for file in files])
    return tuple(clean(Path(file).name) for file in files), torch.from_numpy(pixels)
