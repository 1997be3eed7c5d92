"""What the localisation metrics share: masks that must be there, and where a map is largest."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from bantamweight.errors import InputError
from bantamweight.explainers.metrics._core import Scene

__all__ = ["NO_OBJECT", "masks", "tops"]

NO_OBJECT = "no pixel of the object is in the image"


def masks(seen: Scene, metric: str) -> Bool[np.ndarray, "n h w"]:
    """The objects' masks; raises InputError where the data has none."""
    if seen.objects is None:
        raise InputError(f"{metric} needs to know where the object is; use data with masks or boxes, such as planted")
    return seen.objects.numpy()


def tops(evidence: Float[np.ndarray, "h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the largest value; several where they tie."""
    found = np.nonzero(evidence == evidence.max())
    return found[0], found[1]
