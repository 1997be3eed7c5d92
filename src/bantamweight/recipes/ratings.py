"""What a rating sheet shows: images a model answered, drawn maps of several methods, and the key that stays behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bantamweight import pictures
from bantamweight.data import Split
from bantamweight.errors import InputError
from bantamweight.explainers._core import check, explain
from bantamweight.explainers._told import logits_within
from bantamweight.explainers.metrics._core import SENSITIVITIES
from bantamweight.parts import configure
from bantamweight.rng import generator
from bantamweight.variants import Variant, build

__all__ = ["Shown", "Stimuli", "stimuli"]

CELL = 224


@dataclass(frozen=True)
class Shown:
    """One image and its maps as PNG, the maps by keys that don't give the method away."""

    id: str
    said: str
    image: bytes
    maps: Mapping[str, bytes]


@dataclass(frozen=True)
class Stimuli:
    """Everything a sheet shows, and the `key` that says which map was whose; raters don't get the key."""

    sheet: str
    items: tuple[Shown, ...]
    key: Mapping[str, Any]


def stimuli(
    variant: Variant,
    split: Split,
    classes: Sequence[str],
    use: Sequence[str | Mapping[str, Any]],
    *,
    seed: int = 0,
    batch: int = 64,
    trust: bool = False,
    heard: Callable[[float, str], None] | None = None,
) -> Stimuli:
    """Maps of the predicted class, drawn over each image of `split` by every method of `use`.

    Raises InputError for fewer than two methods, or one that is not defined for the model.
    """
    made = [configure("explainers", one, trust=trust).make() for one in use]
    names = [method.name for method in made]
    if not 2 <= len(set(names)) == len(names) <= 8:
        raise InputError(f"expected 2 to 8 different methods to compare, got {', '.join(names) or 'none'}")
    module, images = build(variant, trust=trust), split.floats()
    check(images, None, batch)
    predicted = logits_within(module, images, batch).argmax(dim=1)
    order = generator(seed, "key", variant.hash).permutation(len(made))
    keys = {f"m{place}": made[int(which)] for place, which in enumerate(order)}
    drawn: dict[str, list[bytes]] = {}
    for done, (key, method) in enumerate(keys.items()):
        if heard is not None:
            heard(done / len(keys), method.name)
        found = explain(method, module, images, predicted, batch=batch, strict=True)
        maps = found.maps.abs() if method.name in SENSITIVITIES else found.maps
        drawn[key] = [
            _png(pictures.overlay(image, one, signed=False))  # one scale for all: colours must not tell methods apart
            for image, one in zip(images.numpy(), maps.numpy(), strict=True)
        ]
    items = tuple(
        Shown(
            f"i{row}",
            classes[int(predicted[row])],
            _png(pictures.picture(images[row].numpy())),
            {key: drawn[key][row] for key in keys},
        )
        for row in range(len(images))
    )
    sheet = _digest(items)
    about = [
        {"id": item.id, "name": split.names[row], "said": item.said, "label": classes[int(split.labels[row])]}
        for row, item in enumerate(items)
    ]
    methods = {name: one.name for name, one in keys.items()}
    return Stimuli(sheet, items, {"sheet": sheet, "methods": methods, "items": about})


def _png(drawn: pictures.Picture) -> bytes:
    """Pixels as squares, so that a small image is not blurred by the browser."""
    side = max(drawn.shape[:2])
    times = max(1, CELL // side)
    return pictures.png(np.ascontiguousarray(drawn.repeat(times, axis=0).repeat(times, axis=1)))


def _digest(items: Sequence[Shown]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for item in items:
        for part in (item.image, *item.maps.values()):
            digest.update(part)
    return digest.hexdigest()
