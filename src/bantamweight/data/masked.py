"""Images with mask pictures: `images/CLASS/NAME.*` and `masks/CLASS/NAME.png`, white where the object is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bantamweight.data._boxes import assembled
from bantamweight.data._core import Data, Preprocessing, Resize
from bantamweight.data._text import clean
from bantamweight.errors import InputError

__all__ = ["masked"]


def masked(
    *,
    path: str,
    size: int | tuple[int, int] = 224,
    channels: int = 3,
    resize: Resize = "crop",
) -> Data:
    """Your own images with your own masks, sorted into one folder per class, for judging maps.

    A mask has its image's name (with any ending) and size; everything in it that is not black is the object. Raises
    InputError, in one sentence, for an image without a mask, or a mask of another size.
    """
    root = Path(path).expanduser()
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        raise InputError(f"expected the folders images and masks in {clean(root)!r}; check the path")
    return assembled(root.name, _rows(root), Preprocessing.of(size, channels, resize))


def _rows(root: Path) -> Iterator[tuple[Path, str, Path]]:
    for kind in sorted(one for one in (root / "images").iterdir() if one.is_dir() and not one.name.startswith(".")):
        masks = {one.stem: one for one in (root / "masks" / kind.name).glob("*") if one.is_file()}
        for file in sorted(one for one in kind.iterdir() if one.is_file() and not one.name.startswith(".")):
            if file.stem not in masks:
                raise InputError(f"expected a mask for {clean(file.name)!r} in masks/{clean(kind.name)}, found none")
            home = root.resolve()
            if not all(one.resolve().is_relative_to(home) for one in (file, masks[file.stem])):
                raise InputError(
                    f"{clean(file.name)!r} or its mask is a link that leaves {clean(root)!r}; copy it there"
                )
            yield file, kind.name, masks[file.stem]
