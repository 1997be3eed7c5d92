"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) from the published archives, in their python or binary form.

60,000 colour photographs of 32 x 32 pixels, 50,000 to train and 10,000 to test on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bantamweight.data._archive import fetch, md5, members
from bantamweight.data._cache import folder as cache_folder
from bantamweight.data._core import Data, Preprocessing, Resize, Split
from bantamweight.data._decode import fit
from bantamweight.data._gather import carve
from bantamweight.data._pickles import read_pickle
from bantamweight.data._text import clean, listed
from bantamweight.errors import InputError

__all__ = ["cifar10", "cifar100"]

_HOME = "https://www.cs.toronto.edu/~kriz/"
_PIXELS = 3 * 32 * 32


class _Form(NamedTuple):
    """One of the forms in which a data set was published. A file's checksum is empty where none is known."""

    archive: str
    checksum: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    meta: Mapping[str, str]
    binary: bool


class _Kind(NamedTuple):
    title: str
    classes: int
    labels: str
    names: str
    label_bytes: int
    forms: tuple[_Form, _Form]


_CIFAR10 = _Kind(
    "CIFAR-10",
    10,
    "labels",
    "label_names",
    1,
    (
        _Form(
            "cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
            {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            {"test_batch": "40351d587109b95175f43aff81a1287e"},
            {"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
            binary=False,
        ),
        _Form(
            "cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            {f"data_batch_{number}.bin": "" for number in range(1, 6)},
            {"test_batch.bin": ""},
            {"batches.meta.txt": ""},
            binary=True,
        ),
    ),
)
_CIFAR100 = _Kind(
    "CIFAR-100",
    100,
    "fine_labels",
    "fine_label_names",
    2,
    (
        _Form(
            "cifar-100-python.tar.gz",
            "eb9058c3a382ffc7106e4002c42a8d85",
            {"train": "16019d7e3df5f24257cddd939b257f8d"},
            {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
            {"meta": "7973b15100ade9c7d40fb424638fde48"},
            binary=False,
        ),
        _Form(
            "cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            {"train.bin": ""},
            {"test.bin": ""},
            {"fine_label_names.txt": ""},
            binary=True,
        ),
    ),
)


def cifar10(
    *,
    path: str | None = None,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    resize: Resize = "crop",
    seed: int = 0,
    val: float = 0.1,
    verify: bool = True,
    download: bool = False,
    divide: bool = True,
) -> Data:
    """CIFAR-10 from a local archive or the folder it was unpacked to; the usual small benchmark.

    `verify` compares with the published checksums (turn it off for an archive of your own making); `download: true`
    fetches the archive when no path is given, which never happens unasked. `val` is the fraction of train kept for
    validation, drawn by `seed`. Pickles are read without running anything in them. Raises InputError when the archive
    is missing, damaged, hostile, or not CIFAR.
    """
    data = _load(_CIFAR10, path, verify, download, Preprocessing.of(size, channels, resize))
    return _divided(data, seed, val, divide)


def cifar100(
    *,
    path: str | None = None,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    resize: Resize = "crop",
    seed: int = 0,
    val: float = 0.1,
    verify: bool = True,
    download: bool = False,
    divide: bool = True,
) -> Data:
    """CIFAR-100 with its 100 fine classes; settings and errors as for `cifar10`."""
    data = _load(_CIFAR100, path, verify, download, Preprocessing.of(size, channels, resize))
    return _divided(data, seed, val, divide)


def _divided(data: Data, seed: int, val: float, divide: bool) -> Data:
    splits = carve(data.splits, data.classes, seed=seed, val=val, test=0.0) if divide else data.splits
    return Data(data.name, splits, data.classes, data.preprocessing)


def _load(kind: _Kind, path: str | None, verify: bool, download: bool, preprocessing: Preprocessing) -> Data:
    place = _archive(kind, path, download)
    wanted = {name for form in kind.forms for files in (form.train, form.test, form.meta) for name in files}
    if verify and place.is_file():
        _verify(kind, place)
    found = members(place, wanted)
    form = next((form for form in kind.forms if set(form.train) | set(form.test) <= set(found)), None)
    if form is None:
        usual = listed([*kind.forms[0].train, *kind.forms[0].test], most=9)
        got = listed(sorted(found)) or "none of them"
        raise InputError(f"expected the files of {kind.title} ({usual}) in {clean(place)!r}, got {got}; check the path")
    if verify and place.is_dir():
        _verify_files(form, found)
    classes = _class_names(kind, form, found)
    splits = {
        key: _split(kind, form, {name: found[name] for name in files}, preprocessing)
        for key, files in (("train", form.train), ("test", form.test))
    }
    return Data(kind.title, splits, classes, preprocessing)


def _archive(kind: _Kind, path: str | None, download: bool) -> Path:
    if path is not None:
        place = Path(path).expanduser()
        if not place.exists():
            raise InputError(f"{clean(path)!r} does not exist; check the path")
        return place
    form = kind.forms[0]
    if not download:
        raise InputError(f"{kind.title} needs the path of {form.archive} (or of its folder), or download: true")
    home = cache_folder()
    if home is None:
        raise InputError(f"downloading {form.archive} needs a place to keep it; set BANTAM_CACHE to a folder")
    return fetch(_HOME + form.archive, home / "downloads" / form.archive, form.checksum)


def _verify(kind: _Kind, place: Path) -> None:
    known = {form.checksum: form.archive for form in kind.forms}
    if (got := md5(place)) not in known:
        raise InputError(
            f"{clean(place)!r}: expected the MD5 of an official {kind.title} archive, got {got}; "
            f"fetch it again, or choose verify: false if you made it yourself"
        )


def _verify_files(form: _Form, found: Mapping[str, bytes]) -> None:
    for name, checksum in {**form.train, **form.test, **form.meta}.items():
        if checksum and name in found and (got := md5(found[name])) != checksum:
            raise InputError(
                f"{name}: expected MD5 {checksum}, got {got}; fetch it again, or choose verify: false if you made it "
                f"yourself"
            )


def _class_names(kind: _Kind, form: _Form, found: Mapping[str, bytes]) -> tuple[str, ...]:
    (name,) = form.meta
    if name not in found:
        raise InputError(f"expected {name!r} with the class names of {kind.title}, found none; fetch the archive again")
    if form.binary:
        names: Any = [line.strip() for line in found[name].decode("utf-8", "replace").splitlines() if line.strip()]
    else:
        names = read_pickle(found[name], name=name).get(kind.names)
    if not isinstance(names, list) or len(names) != kind.classes:
        got = len(names) if isinstance(names, list) else "none"
        raise InputError(f"{name}: expected {kind.classes} class names, got {got}; fetch it again")
    return tuple(clean(each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each)) for each in names)


def _split(kind: _Kind, form: _Form, files: Mapping[str, bytes], preprocessing: Preprocessing) -> Split:
    pixels, labels, names = [], [], []
    for name, content in files.items():
        rows, values = _binary(kind, content, name) if form.binary else _python(kind, content, name)
        wrong = np.flatnonzero((values < 0) | (values >= kind.classes))
        if len(wrong):
            row = int(wrong[0])
            raise InputError(f"{name} row {row}: expected a label from 0 to {kind.classes - 1}, got {values[row]}")
        pixels.append(fit(rows.reshape(-1, 3, 32, 32), preprocessing))
        labels.append(values)
        names += [f"{name} row {row}" for row in range(len(values))]
    return Split(torch.from_numpy(np.concatenate(pixels)), torch.from_numpy(np.concatenate(labels)), tuple(names))


def _python(kind: _Kind, content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    batch = read_pickle(content, name=name)
    rows, given = batch.get("data"), batch.get(kind.labels)
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != _PIXELS:
        raise InputError(f"{name}: expected 'data' as bytes of shape (n, {_PIXELS}), got something else; fetch it anew")
    if not isinstance(given, list | np.ndarray) or len(given) != len(rows):
        raise InputError(f"{name}: expected {len(rows)} {kind.labels!r}, got something else; fetch it again")
    if not all(isinstance(value, int | np.integer) for value in given):
        raise InputError(f"{name}: expected {kind.labels!r} to be whole numbers, got something else; fetch it again")
    try:
        return rows, np.array([int(value) for value in given], dtype=np.int64)
    except OverflowError as error:
        raise InputError(f"{name}: expected labels from 0 to {kind.classes - 1}, got a huge one") from error


def _binary(kind: _Kind, content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    width = kind.label_bytes + _PIXELS
    if not content or len(content) % width:
        raise InputError(f"{name}: expected records of {width:,} bytes, got {len(content):,} bytes; fetch it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, width)
    # CIFAR-100 has the coarse label first, the fine one second.
    return np.ascontiguousarray(records[:, kind.label_bytes :]), records[:, kind.label_bytes - 1].astype(np.int64)
