"""Handwritten digits that ship inside scikit-learn: real images, no network.

1,797 grey images of 8 x 8 pixels in ten classes; the test set of UCI's "Optical Recognition of Handwritten Digits"
(Alpaydin and Kaynak, 1998). Their 17 grey levels are scaled to 0-255.
"""

from __future__ import annotations

import numpy as np
import torch

from bantamweight.data._core import Data, Preprocessing, Split
from bantamweight.data._decode import fit
from bantamweight.data._gather import WHOLE, carve

__all__ = ["digits"]


def digits(
    *,
    size: int | tuple[int, int] = 8,
    channels: int = 1,
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.25,
) -> Data:
    """Ten classes of digits, for a first look and for tests that need no network.

    `size` above 8 enlarges (bilinear), `channels: 3` repeats the grey; `val` and `test` are fractions, drawn by
    `seed` class by class.

    >>> digits().classes[:3]
    ('0', '1', '2')
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    preprocessing = Preprocessing.of(size, channels, "crop")
    pixels = np.rint(raw.images * (255.0 / 16.0)).astype(np.uint8)[:, None]
    labels = torch.from_numpy(raw.target.astype(np.int64))
    names = tuple(f"digits/{row:04d}" for row in range(len(labels)))
    classes = tuple(str(name) for name in raw.target_names)
    splits = {WHOLE: Split(torch.from_numpy(np.ascontiguousarray(fit(pixels, preprocessing))), labels, names)}
    return Data("digits", carve(splits, classes, seed=seed, val=val, test=test), classes, preprocessing)
