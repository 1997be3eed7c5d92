"""Images for a model from a user's data: those that int8 takes its ranges from, and those it is judged on."""

from __future__ import annotations

from typing import Any

import torch

from bantamweight import rng
from bantamweight.data import Preprocessing, Split, load
from bantamweight.errors import InputError
from bantamweight.recipes.evaluate import judged_images
from bantamweight.types import Images
from bantamweight.variants import Variant

__all__ = ["drawn", "for_calibration", "for_judging"]


def drawn(split: Split, n: int, purpose: str) -> Split:
    """At most `n` of a split, drawn at random but always the same: a folder is sorted by class."""
    if n < 1:
        raise InputError(f"expected n of at least 1 image, got {n}")
    order = rng.generator(0, purpose, len(split)).permutation(len(split))[:n]
    return split.take(torch.from_numpy(order).sort().values)


def for_calibration(variant: Variant, data: Any, n: int, *, trust: bool = False) -> Images:
    """`n` training images (of any split, where none is called train), decoded as the variant wants them."""
    preprocessing = Preprocessing.from_dict(variant.preprocessing) if variant.preprocessing else None
    loaded = load(data, trust=trust, preprocessing=preprocessing, whole=True)
    split = loaded.splits.get("train") or next(iter(loaded.splits.values()))
    return drawn(split, n, "calibration").floats()


def for_judging(variant: Variant, data: Any, n: int, *, without: Images | None = None, trust: bool = False) -> Split:
    """`n` labelled images of the split that is judged on, classes in the order of the variant's logits.

    Those of `without` are left out where others are there: a folder without splits is all there is, and a range is not
    judged on the images it was taken from.
    """
    _, split, _ = judged_images(variant, data, trust=trust)
    if without is not None:
        known = {image.numpy().tobytes() for image in without}
        others = [row for row in range(len(split)) if split.floats([row])[0].numpy().tobytes() not in known]
        split = split.take(others) if others else split
    return drawn(split, n, "judging")
