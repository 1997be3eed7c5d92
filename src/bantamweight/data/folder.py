"""A folder of images: `train/CLASS/*`, `val/CLASS/*`, `test/CLASS/*`, or one folder per class, divided by seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import torch

from bantamweight.data._core import Data, Preprocessing, Resize, Split
from bantamweight.data._gather import WHOLE, Bad, Item, OnBad, carve, complain, gather, split_name
from bantamweight.data._text import clean, listed
from bantamweight.errors import InputError

__all__ = ["folder"]

_JUNK = {"__macosx", "thumbs.db", "desktop.ini"}
_PICTURES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2", ".avif"}


class _Found(NamedTuple):
    """Files by split and class, and what can't be used."""

    files: dict[str, dict[str, list[Path]]]
    refused: list[Bad]


def folder(
    *,
    path: str,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    resize: Resize = "crop",
    on_bad: OnBad = "error",
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.25,
    divide: bool = True,
) -> Data:
    """Images sorted into folders, the folder being the class; for your own photographs.

    `size` is in pixels. Without splits of its own the data is divided by `seed` (`val` and `test` are fractions)
    unless `divide` is off; with a train split but no val split, val comes out of train. Links that leave the folder
    are not followed. `on_bad: skip` leaves out what can't be used and records its name. Raises InputError that names
    the file: corrupt, truncated, too small or too large, an empty class, classes that differ between splits.
    """
    preprocessing = Preprocessing.of(size, channels, resize)
    root = _root(path)
    found = _find(root)
    classes = sorted({name for by_class in found.files.values() for name in by_class})
    name = clean(root.name)
    if not any(files for by_class in found.files.values() for files in by_class.values()):
        complain(found.refused, "error" if on_bad == "error" else "skip")
        raise InputError(f"expected images in {clean(root)!r} as CLASS/image or train/CLASS/image, found none")
    unfit = _unfit(found, classes)
    place = {name: index for index, name in enumerate(classes)}
    items = {
        key: [
            Item(clean(file.relative_to(root).as_posix()), place[name], file)
            for name, file in _in_turn({name: by_class.get(name, []) for name in classes})
        ]
        for key, by_class in found.files.items()
    }
    splits, skipped = gather(items, preprocessing, [*found.refused, *unfit], on_bad)
    if on_bad == "skip":
        splits, classes, dropped = _without_empty(splits, classes)
        skipped += dropped
    if divide:
        Data(name, splits, tuple(classes), preprocessing)  # complain about one class before too few images of it
        splits = carve(splits, classes, seed=seed, val=val, test=test)
    return Data(name, splits, tuple(classes), preprocessing, skipped)


def _in_turn(by_class: dict[str, list[Path]]) -> Iterator[tuple[str, Path]]:
    """Files class by class in turn, so that the first n images of a split hold every class."""
    for row in zip_longest(*by_class.values()):
        yield from ((name, file) for name, file in zip(by_class, row, strict=True) if file is not None)


def _root(path: str) -> Path:
    root = Path(path).expanduser()
    try:
        if not root.exists():
            raise InputError(f"{clean(path)!r} does not exist; check the path")
        if not root.is_dir():
            raise InputError(f"expected a folder of images, got the file {clean(path)!r}")
        return root.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{clean(path)!r} can't be read ({clean(str(error))}); check the path") from error


def _find(root: Path) -> _Found:
    refused: list[Bad] = []
    try:
        folders = _subfolders(root, root, refused)
        if not folders:
            raise InputError(
                f"expected one folder per class (or train, val and test with one folder per class each) in "
                f"{clean(root)!r}, found no folder; sort the images into CLASS/image"
            )
        if not _has_splits(root, folders):
            return _Found({WHOLE: _by_class(folders, root, refused)}, refused)
        files: dict[str, dict[str, list[Path]]] = {}
        for key in ("train", "val", "test"):
            same = [each for each in folders if split_name(each.name) == key]
            if len(same) > 1:
                twice = listed(clean(each.name) for each in same)
                raise InputError(f"expected one {key} split in {clean(root)!r}, got {twice}; keep one or merge them")
            for each in same:
                refused += [
                    Bad(_shown(file, root), f"expected images inside class folders, as {clean(each.name)}/CLASS/image")
                    for file in _children(each)
                    if file.suffix.lower() in _PICTURES and not file.is_dir()
                ]
                files[key] = _by_class(_subfolders(each, root, refused), root, refused)
        return _Found(files, refused)
    except OSError as error:
        where = clean(error.filename or root)
        raise InputError(f"{where!r} can't be read ({error.strerror}); check its permissions") from error


def _has_splits(root: Path, folders: list[Path]) -> bool:
    """Whether the top folders are splits; a folder `train` that holds images may also be a class of vehicles."""
    splits = [each for each in folders if split_name(each.name)]
    others = [each for each in folders if not split_name(each.name)]
    nested = [each for each in splits if any(child.is_dir() for child in _children(each))]
    if nested and others:
        raise InputError(
            f"expected only train, val and test in {clean(root)!r}, got also "
            f"{listed(clean(each.name) for each in others)}; move it elsewhere"
        )
    if splits and not nested and not others:
        raise InputError(
            f"expected class folders inside {clean(splits[0].name)!r} of {clean(root)!r} "
            f"({clean(splits[0].name)}/CLASS/image), found none"
        )
    return bool(nested)


def _by_class(folders: list[Path], root: Path, refused: list[Bad]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for each in folders:
        name = clean(each.name)
        if name in found:
            raise InputError(f"expected class names that differ, got {name!r} twice in {clean(each.parent)!r}; rename")
        found[name] = list(_files(each, root, refused))
    return found


def _children(parent: Path) -> list[Path]:
    """What lies in a folder, sorted by name so that no result depends on the file system, without hidden files."""
    entries = (each for each in parent.iterdir() if not each.name.startswith(".") and each.name.lower() not in _JUNK)
    return sorted(entries, key=lambda each: os.fsencode(each.name))


def _subfolders(parent: Path, root: Path, refused: list[Bad]) -> list[Path]:
    kept = []
    for child in _children(parent):
        if child.is_dir():
            if _leaves(child, root):
                refused.append(Bad(_shown(child, root), "is a link that leaves the folder, which is not followed"))
            else:
                kept.append(child)
    return kept


def _files(parent: Path, root: Path, refused: list[Bad]) -> Iterator[Path]:
    """Every file below a class folder."""
    for child in _children(parent):
        if child.is_symlink():
            if _leaves(child, root):
                refused.append(Bad(_shown(child, root), "is a link that leaves the folder, which is not followed"))
                continue
            if child.is_dir():
                refused.append(Bad(_shown(child, root), "is a link to a folder, which is not followed"))
                continue
        if child.is_dir():
            yield from _files(child, root, refused)
        elif child.is_file() or child.is_symlink():
            yield child
        else:  # a pipe would wait forever, a device never end
            refused.append(Bad(_shown(child, root), "expected an image, got something that is no plain file"))


def _leaves(path: Path, root: Path) -> bool:
    try:
        return not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link that leads to itself
        return True


def _shown(path: Path, root: Path) -> str:
    return clean(path.relative_to(root).as_posix())


def _unfit(found: _Found, classes: list[str]) -> list[Bad]:
    """Classes that a split lacks or that hold no file."""
    unfit = []
    for key, by_class in found.files.items():
        within = "" if key == WHOLE else f"{key}/"
        for name in classes:
            if name not in by_class:
                where = next(other for other in found.files if name in found.files[other])
                reason = f"class '{name}' is in {where} but not in {key}, expected the same classes in every split"
                unfit.append(Bad(f"{within}{name}/", reason))
            elif not by_class[name]:
                unfit.append(Bad(f"{within}{name}/", f"expected at least one image of class '{name}', found none"))
    return unfit


def _without_empty(splits: dict[str, Split], classes: list[str]) -> tuple[dict[str, Split], list[str], tuple[str, ...]]:
    """Only the classes that there is something to learn from (in train, else anywhere), renumbered."""
    source = [splits["train"]] if "train" in splits else list(splits.values())
    present = sorted({int(label) for split in source for label in split.labels.unique()})
    if len(present) == len(classes):
        return splits, classes, ()
    place = torch.full((len(classes),), -1, dtype=torch.int64)
    place[torch.tensor(present, dtype=torch.int64)] = torch.arange(len(present))
    kept, dropped = {}, []
    for key, split in splits.items():
        known = place[split.labels] >= 0
        dropped += [split.names[row] for row in (~known).nonzero().flatten().tolist()]
        rows = split.take(known.nonzero().flatten())
        kept[key] = Split(rows.images, place[rows.labels], rows.names)
    return kept, [classes[index] for index in present], tuple(dropped)
