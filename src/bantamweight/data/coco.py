"""COCO: an annotation file in JSON with boxes, and the folder of its images (Lin et al. 2014, "Microsoft COCO")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bantamweight.data._boxes import Box, Seen, assembled, inside, read_text
from bantamweight.data._core import Data, Preprocessing, Resize
from bantamweight.data._text import clean
from bantamweight.errors import InputError

__all__ = ["coco"]

_MOST_BYTES = 1_000_000_000


def coco(
    *,
    path: str,
    images: str | None = None,
    size: int | tuple[int, int] = 224,
    channels: int = 3,
    resize: Resize = "crop",
    most: int | None = None,
) -> Data:
    """Images with boxes from a COCO file, one row per image and class, for judging maps; crowds are left out.

    `path` is the JSON file, `images` the folder of its images (beside it unless said), `most` how many rows are read.
    The object is the union of a class's boxes. Raises InputError, in one sentence, for a file that is not so, an image
    that is not in the folder or that has not the size its annotation states.
    """
    file = Path(path).expanduser()
    try:
        told = json.loads(read_text(file, _MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected COCO annotations as JSON in {clean(file.name)!r}, got something else") from error
    root = Path(images).expanduser() if images is not None else file.parent
    try:
        kinds = _by_id(told, "categories")
        rows = list(_rows(told, kinds, root, most))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"expected COCO's images, annotations and categories in {clean(file.name)!r}, something in it is not so: "
            f"{clean(str(error))}"
        ) from error
    return assembled(file.stem, rows, Preprocessing.of(size, channels, resize))


def _by_id(told: Mapping[str, Any], what: str) -> dict[int, Mapping[str, Any]]:
    return {int(one["id"]): one for one in told[what]}


def _rows(told: Mapping[str, Any], kinds: Mapping[int, Any], root: Path, most: int | None) -> Iterator[Seen]:
    """One row per image and class, in the order of the images."""
    boxes: dict[tuple[int, int], list[Box]] = {}
    for one in told["annotations"]:
        if one.get("iscrowd"):
            continue
        if not isinstance(one["bbox"], list):
            raise TypeError(f"a bbox is {type(one['bbox']).__name__}")
        left, top, width, height = (float(number) for number in one["bbox"])
        if width > 0 and height > 0:
            boxes.setdefault((int(one["image_id"]), int(one["category_id"])), []).append(
                (left, top, left + width, top + height)
            )
    pictures = _by_id(told, "images")
    order = {number: place for place, number in enumerate(pictures)}
    wanted = sorted(boxes, key=lambda pair: (order[pair[0]], pair[1]))
    for number, kind in wanted[:most]:
        about = pictures[number]
        stated = (int(about["width"]), int(about["height"]))
        file = inside(root, str(about["file_name"]))
        yield Seen(file, str(kinds[kind]["name"]), tuple(boxes[number, kind]), stated)
