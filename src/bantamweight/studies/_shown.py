"""Pictures of a few images before and after an attack, with what the verdicts say of them: `shown.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bantamweight import pictures
from bantamweight.studies._place import Place, split_of
from bantamweight.types import Images, Int64

__all__ = ["show"]

NORMS = ("linf", "l2", "l1", "l0")


def show(
    place: Place,
    columns: Mapping[str, np.ndarray],
    images: Images,
    index: Int64[Tensor, " n"],
    wanted: Int64[Tensor, " k"],
    norm: str,
    split: str,
) -> None:
    """Draw the rows of `wanted` (numbers of the split, in this order) into `pictures/`.

    `columns` and `images` are the verdicts and adversarial images of the rows of `index`; `norm` is the one that
    distances are told in.
    """
    (place.out / "pictures").mkdir()
    place_of = {int(number): row for row, number in enumerate(index)}
    items = [_item(place, columns, images, place_of[int(number)], int(number), split) for number in wanted]
    about = {"norm": norm, "classes": list(place.data.classes), "items": items}
    (place.out / "shown.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _item(
    place: Place, columns: Mapping[str, np.ndarray], images: Images, row: int, number: int, split: str
) -> dict[str, Any]:
    chosen, classes = split_of(place, split), place.data.classes
    original = chosen.floats(torch.tensor([number]))[0].numpy()
    adversarial = images[row].numpy()
    changed = pictures.perturbation(adversarial - original)
    drawn = {
        "original": pictures.picture(original),
        "perturbation": changed.picture,
        "adversarial": pictures.picture(adversarial),
    }
    files = {key: f"pictures/{number}-{key}.png" for key in drawn}
    for key, one in drawn.items():
        (place.out / files[key]).write_bytes(pictures.png(one))
    return {
        "index": number,
        "name": chosen.names[number],
        "label": classes[int(columns["label"][row])],
        "clean": classes[int(columns["clean"][row])],
        "right": bool(columns["right"][row]),
        "attacked": bool(columns["attacked"][row]),
        "success": bool(columns["success"][row]),
        "adversarial": classes[int(columns["adversarial"][row])],
        "confidence": float(columns["confidence"][row]),
        "sizes": {name: float(columns[f"size_{name}"][row]) for name in NORMS},
        "gain": changed.gain,
        "pictures": files,
    }
