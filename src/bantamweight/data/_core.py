"""What a source of data gives: splits of uint8 tensors, class names, and how files became tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from bantamweight.data._text import clean, listed
from bantamweight.errors import InputError, near
from bantamweight.types import Bool, Images, Int64, Labels

__all__ = ["Data", "Preprocessing", "Resize", "Split", "align", "evaluation_split"]

Resize = Literal["crop", "squash", "none"]
"""Shorter side resized and the centre cut out; both sides resized; or only images of exactly the right size."""

_MOST_PIXELS = 4096


@dataclass(frozen=True)
class Preprocessing:
    """What turned a file into a tensor; a model carries it, and it is part of the model's hash.

    `size` is (height, width) in pixels, `channels` 1 (grey) or 3 (RGB). Raises InputError on anything else.
    """

    size: tuple[int, int] = (32, 32)
    channels: int = 3
    resize: Resize = "crop"

    def __post_init__(self) -> None:
        fits = len(self.size) == 2 and all(isinstance(side, int) and 1 <= side <= _MOST_PIXELS for side in self.size)
        if not fits:
            raise InputError(f"expected a size of 1 to {_MOST_PIXELS} pixels a side, got {self.size!r}")
        if self.channels not in (1, 3):
            raise InputError(f"expected 1 or 3 channels, got {self.channels!r}")
        if self.resize not in ("crop", "squash", "none"):
            raise InputError(f"expected resize to be crop, squash or none, got {self.resize!r}")

    @classmethod
    def of(cls, size: int | tuple[int, int], channels: int, resize: Resize) -> Preprocessing:
        """From the settings of a source, where one number means a square."""
        return cls((size, size) if isinstance(size, int) else size, channels, resize)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "size": list(self.size)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Preprocessing:
        """From plain JSON; raises InputError when a key is unknown or a value impossible.

        >>> Preprocessing.from_dict({"size": 64}).size
        (64, 64)
        """
        known = {"size", "channels", "resize"}
        if extra := sorted(set(plain) - known):
            raise InputError(f"preprocessing has no setting {extra[0]!r}{near(extra[0], known)}")
        size = plain.get("size", (32, 32))
        if not isinstance(size, int | list | tuple):
            raise InputError(f"expected a preprocessing size in pixels, got {size!r}")
        sides = (size, size) if isinstance(size, int) else tuple(size)
        return cls(sides, plain.get("channels", 3), plain.get("resize", "crop"))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Split:
    """Some images with their labels; `names` says where each came from, `masks` where the label's object is.

    Masks are there for sources that know (planted, coco, voc, masked): to judge explanations, not to train on.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    names: tuple[str, ...]
    masks: Bool[Tensor, "n h w"] | None = None

    def __post_init__(self) -> None:
        if self.masks is not None and self.masks.shape != (len(self.images), *self.images.shape[2:]):
            raise InputError(
                f"expected one mask of the images' size each, got {tuple(self.masks.shape)} for "
                f"images {tuple(self.images.shape)}"
            )
        if not len(self.images) == len(self.labels) == len(self.names):
            raise InputError(
                f"expected one label and one name per image, got {len(self.images)} images, "
                f"{len(self.labels)} labels and {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def floats(self, index: Tensor | Sequence[int] | slice | None = None) -> Images:
        """The images, or those at `index`, as float32 in [0, 1]."""
        chosen = self.images if index is None else self.images[_rows(index)]
        return chosen.to(torch.float32).div_(255.0)

    def take(self, index: Tensor | Sequence[int] | slice) -> Split:
        """The rows at `index`, in that order."""
        rows = _rows(index)
        kept = torch.arange(len(self))[rows].tolist()
        masks = None if self.masks is None else self.masks[rows]
        return Split(self.images[rows], self.labels[rows], tuple(self.names[row] for row in kept), masks)


def _rows(index: Tensor | Sequence[int] | slice) -> Tensor | slice:
    return index if isinstance(index, Tensor | slice) else torch.as_tensor(index, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: its splits, its classes in the order of the labels, and what was left out.

    Raises InputError when there are no images, fewer than two classes, or a label without a class.
    """

    name: str
    splits: Mapping[str, Split]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    skipped: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not any(len(split) for split in self.splits.values()):
            raise InputError(f"expected images in {self.name!r}, got none; check the path")
        if len(self.classes) < 2:
            raise InputError(f"expected at least two classes in {self.name!r}, got {listed(self.classes) or 'none'}")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise InputError(f"expected class names that differ in {self.name!r}, got {twice!r} twice; rename one")
        shape = (self.preprocessing.channels, *self.preprocessing.size)
        for key, split in self.splits.items():
            _check(f"{self.name}/{key}", split, len(self.classes), shape)

    @cached_property
    def content(self) -> str:
        """Hash over pixels, labels, class names and preprocessing; not over paths or file names."""
        digest = hashlib.blake2b(digest_size=16)
        about = {"classes": self.classes, "preprocessing": self.preprocessing.to_dict()}
        digest.update(json.dumps(about, sort_keys=True).encode())
        for key in sorted(self.splits):
            split = self.splits[key]
            digest.update(f"\x1e{key}\x1f{tuple(split.images.shape)}\x1f".encode())
            digest.update(split.images.contiguous().numpy().data)
            digest.update(split.labels.numpy().astype("<i8").data)
            if split.masks is not None:
                digest.update(split.masks.contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def leaks(self) -> tuple[tuple[str, str, str, str], ...]:
        """Near-duplicates across splits: (split, name, other split, name), found on first use."""
        from bantamweight.data._leakage import leaks

        return leaks(self.splits)

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        return {key: len(split) for key, split in self.splits.items()}


def _check(where: str, split: Split, classes: int, shape: tuple[int, ...]) -> None:
    if tuple(split.images.shape[1:]) != shape:
        raise InputError(f"expected images of shape {shape} in {where!r}, got {tuple(split.images.shape[1:])}")
    wrong = ((split.labels < 0) | (split.labels >= classes)).nonzero().flatten()
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"expected labels from 0 to {classes - 1} in {where!r}, got {int(split.labels[row])} for "
            f"{split.names[row]!r}; correct the label or add the class"
        )


def evaluation_split(data: Data, split: str | None = None) -> tuple[str, Split]:
    """The split to judge on, with its name: the one asked for, else test, else val, else everything.

    Raises InputError when the split asked for does not exist or is empty.
    """
    if split is not None:
        if split == "all" and split not in data.splits:
            return "all", _everything(data)
        if split not in data.splits:
            raise InputError(f"{data.name!r} has no split {split!r}{near(split, [*data.splits, 'all'])}")
        if not len(data.splits[split]):
            raise InputError(f"split {split!r} of {data.name!r} has no images; choose another")
        return split, data.splits[split]
    for key in ("test", "val"):
        if len(data.splits.get(key, ())):
            return key, data.splits[key]
    return "all", _everything(data)


def _everything(data: Data) -> Split:
    parts = [data.splits[key] for key in sorted(data.splits)]
    masks = [part.masks for part in parts if part.masks is not None]
    return Split(
        torch.cat([part.images for part in parts]),
        torch.cat([part.labels for part in parts]),
        tuple(name for part in parts for name in part.names),
        torch.cat(masks) if len(masks) == len(parts) else None,
    )


def align(data: Data, classes: Sequence[str]) -> Data:
    """The same data with its labels in a model's order of classes, matched by name.

    For a model and a folder that order their classes differently. Classes that the model knows and the data lacks are
    kept (no image has them). Raises InputError when the data has a class that the model does not know.
    """
    wanted = tuple(clean(name) for name in classes)
    if wanted == data.classes:
        return data
    place = {name: index for index, name in enumerate(wanted)}
    if unknown := [name for name in data.classes if name not in place]:
        raise InputError(
            f"{data.name!r} has classes that the model does not know: {listed(unknown)}; "
            f"the model knows {listed(wanted, most=12)}"
        )
    order: Labels = torch.tensor([place[name] for name in data.classes])
    splits = {
        key: Split(split.images, order[split.labels], split.names, split.masks) for key, split in data.splits.items()
    }
    return Data(data.name, splits, wanted, data.preprocessing, data.skipped)
