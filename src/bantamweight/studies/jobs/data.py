"""What the data are: counts, what was left out, leaks between splits, and one sheet of every image judged on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from bantamweight.facts import Fact
from bantamweight.studies._place import Place, split_of

__all__ = ["data"]

SMALL_PIXELS = 250_000
"""Up to here a sheet is stored losslessly; above, as JPEG, so that a report stays small."""


def data(place: Place, *, split: str) -> list[Fact]:
    """Facts data_images (per split), data_skipped, data_leaks; `sheet.png|jpg` and `sheet.json` of one split."""
    found = place.data
    _sheet(place.out, split_of(place, split).images.numpy(), split, place)
    facts = [
        Fact(metric="data_images", kind="count", value=count, n=count, split=name)
        for name, count in found.counts.items()
        if count
    ]
    leaks = found.leaks
    (place.out / "leaks.json").write_text(json.dumps(leaks, indent=1), encoding="utf-8")
    pairs = sorted({(one, other) for one, _, other, _ in leaks})
    between = [
        Fact(
            metric="data_leaks",
            kind="count",
            value=sum((leak[0], leak[2]) == pair for leak in leaks),
            split=pair[0],
            against=pair[1],
            note="near-duplicates by perceptual hash",
        )
        for pair in pairs
    ]
    none = [Fact(metric="data_leaks", kind="count", value=0, note="near-duplicates by perceptual hash")]
    skipped = Fact(metric="data_skipped", kind="count", value=len(found.skipped), note="; ".join(found.skipped[:5]))
    return [*facts, skipped, *(between or none)]


def _sheet(out: Path, images: np.ndarray, split: str, place: Place) -> None:
    """Every image of the split in one picture, tile i being row i of the split."""
    count, _, height, width = images.shape
    columns = min(count, max(1, round((count * height / width) ** 0.5)))
    rows = -(-count // columns)
    whole = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        top, left = row // columns * height, row % columns * width
        whole[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    picture = Image.fromarray(whole)
    if whole.shape[0] * whole.shape[1] <= SMALL_PIXELS:
        picture.convert("L" if images.shape[1] == 1 else "RGB").save(out / "sheet.png", optimize=True)
    else:
        picture.save(out / "sheet.jpg", quality=88, optimize=True)
    shown = split_of(place, split)
    about = {
        "split": split,
        "n": count,
        "columns": columns,
        "rows": rows,
        "tile": [width, height],
        "labels": shown.labels.tolist(),
        "names": list(shown.names),
        "classes": list(place.data.classes),
    }
    (out / "sheet.json").write_text(json.dumps(about), encoding="utf-8")
