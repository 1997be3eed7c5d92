"""What the layers of one variant still know of a few images: pictures, the error of each layer, loss curves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from bantamweight import pictures
from bantamweight.explainers import Undefined
from bantamweight.facts import Fact
from bantamweight.predict import logits_of
from bantamweight.recipes.invert import Inverted, invert_images
from bantamweight.stats import mean_interval
from bantamweight.studies._place import Place, draw, split_of
from bantamweight.variants import build

__all__ = ["inversion"]


def inversion(place: Place, *, n: int, steps: int, restarts: int, split: str, seed: int) -> list[Fact]:
    """Facts inversion_error: by layer (`item`, early to late by `step`) the mean over `n` images, 1 is a mean colour.

    A net without an early, a middle and a late layer has explainer_undefined. Writes `inversion.json` and `pictures/`.
    """
    rows = split_of(place, split).take(draw(len(split_of(place, split)), n, seed))
    variant = place.variant()
    try:
        found = invert_images(
            variant, rows.images, names=rows.names, steps=steps, restarts=restarts, seed=seed, trust=place.trust,
            heard=place.tell,
        )  # fmt: skip
    except Undefined as reason:
        return [Fact(metric="explainer_undefined", kind="flag", value=1.0, item="inversion", note=str(reason))]
    said = logits_of(build(variant, trust=place.trust), rows.images).argmax(dim=1)
    classes = place.data.classes
    labels = [(classes[int(label)], bool(label == best)) for label, best in zip(rows.labels, said, strict=True)]
    about = {
        "layers": [one.layer for one in found.found],
        "items": _items(place, found, labels),
        "losses": found.curves(),
    }
    (place.out / "inversion.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return [_fact(one.layer, at, one.image_error.numpy()) for at, one in enumerate(found.found, start=1)]


def _fact(layer: str, at: int, errors: np.ndarray) -> Fact:
    interval = mean_interval(errors)
    low, high = interval if interval else (None, None)
    return Fact(
        metric="inversion_error", kind="mean", value=float(errors.mean()), low=low, high=high, n=len(errors),
        item=layer, step=float(at),
    )  # fmt: skip


def _items(place: Place, found: Inverted, labels: list[tuple[str, bool]]) -> list[dict[str, Any]]:
    """Each image with what each layer gives back, written as pictures."""
    (place.out / "pictures").mkdir()
    items = []
    for row, (name, (label, right)) in enumerate(zip(found.names, labels, strict=True)):
        drawn = {f"pictures/{row}-image.png": pictures.picture(found.images[row].numpy())}
        for at, one in enumerate(found.found):
            drawn[f"pictures/{row}-{at}.png"] = pictures.picture(one.images[row].numpy())
        for file, picture in drawn.items():
            (place.out / file).write_bytes(pictures.png(picture))
        first, *rest = drawn
        made = [
            {"picture": file, "error": float(one.image_error[row])} for file, one in zip(rest, found.found, strict=True)
        ]
        items.append({"name": name, "label": label, "right": right, "picture": first, "made": made})
    return items
