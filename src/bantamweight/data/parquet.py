"""Parquet files in the Hugging Face layout: `image: {bytes, path}`, `label`, class names in the schema's metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bantamweight.data._core import Data, Preprocessing, Resize
from bantamweight.data._gather import WHOLE, Bad, Item, OnBad, carve, complain, gather, split_name
from bantamweight.data._text import clean, listed
from bantamweight.errors import InputError, near

__all__ = ["parquet"]

_IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "png")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "target")
_ROWS = 4096


class _File(NamedTuple):
    """One file opened, with the columns to read and the class names it declares."""

    name: str
    reader: pq.ParquetFile
    image: str
    label: str
    classes: tuple[str, ...] | None


class _Row(NamedTuple):
    name: str
    image: Any
    label: Any


def parquet(
    *,
    path: str,
    size: int | tuple[int, int] = 32,
    channels: int = 3,
    resize: Resize = "crop",
    image: str | None = None,
    label: str | None = None,
    on_bad: OnBad = "error",
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.25,
    divide: bool = True,
) -> Data:
    """Images embedded in Parquet, as data sets are published on the Hugging Face hub; one file or a folder of them.

    Files are assigned to splits by name (`train-00000-of-00002.parquet`, `test.parquet`); `image` and `label` name the
    columns where that is not plain. `size` is in pixels. A val split is taken out of train by `seed` where there is
    none, unless `divide` is off. Raises InputError that names file and row: not Parquet, a missing shard, a label out
    of range, a bad image (or `on_bad: skip`).
    """
    preprocessing = Preprocessing.of(size, channels, resize)
    root = Path(path).expanduser()
    files = {key: [_open(file, root, image, label) for file in found] for key, found in _files(root).items()}
    rows = {key: [row for file in opened for row in _read(file)] for key, opened in files.items()}
    classes = _classes([file for opened in files.values() for file in opened], rows)
    if not any(rows.values()):
        raise InputError(f"expected images in {clean(root)!r}, found no rows")
    place = {value: index for index, value in enumerate(classes)}
    names = tuple(clean(str(value)) for value in classes.values())
    items, refused = _items(rows, place, names)
    splits, skipped = gather(items, preprocessing, refused, on_bad)
    skipped += _unlearnable({key: {item.label for item in found} for key, found in items.items()}, names, on_bad, root)
    name = clean(root.stem)
    if divide:
        Data(name, splits, names, preprocessing)
        splits = carve(splits, names, seed=seed, val=val, test=test)
    return Data(name, splits, names, preprocessing, skipped)


def _files(root: Path) -> dict[str, list[Path]]:
    """Files by split, in the order of their names."""
    try:
        if not root.exists():
            raise InputError(f"{clean(root)!r} does not exist; check the path")
        found = [root] if root.is_file() else sorted({*root.glob("*.parquet"), *root.glob("*/*.parquet")})
    except (OSError, ValueError) as error:
        raise InputError(f"{clean(root)!r} can't be read ({clean(str(error))}); check the path") from error
    if not found:
        raise InputError(f"expected .parquet files in {clean(root)!r}, found none")
    by_split: dict[str, list[Path]] = {}
    for file in found:
        by_split.setdefault(_split_of(file) or WHOLE, []).append(file)
    if WHOLE in by_split and len(by_split) > 1:
        raise InputError(
            f"expected every file in {clean(root)!r} to begin with train, val or test, "
            f"got {clean(by_split[WHOLE][0].name)!r} beside others; rename or remove it"
        )
    if root.is_dir():
        for files in by_split.values():
            _check_shards(files)
    return {key: by_split[key] for key in ("train", "val", "test", WHOLE) if key in by_split}


def _split_of(file: Path) -> str | None:
    return split_name(re.split(r"[-_.]", file.stem, maxsplit=1)[0]) or split_name(file.parent.name)


def _check_shards(files: Sequence[Path]) -> None:
    for file in files:
        shard = re.search(r"^(.*)-(\d{5})-of-(\d{5})$", file.stem)
        if shard:
            expected = int(shard[3])
            there = sum(
                re.fullmatch(re.escape(shard[1]) + rf"-\d{{5}}-of-{shard[3]}", each.stem) is not None for each in files
            )
            if there != expected:
                raise InputError(
                    f"expected {expected} shards like {clean(file.name)!r} in {clean(file.parent)!r}, got {there}; "
                    f"fetch the missing ones"
                )


def _open(file: Path, root: Path, image: str | None, label: str | None) -> _File:
    name = clean(file.name if file == root else file.relative_to(root).as_posix())
    try:
        reader = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{name}: expected a Parquet file, got a corrupt one or something else; fetch it again"
        ) from error
    schema = reader.schema_arrow
    features = _features(schema)
    images = [column for column, feature in features.items() if feature.get("_type") == "Image"]
    labels = [column for column, feature in features.items() if feature.get("_type") == "ClassLabel"]
    image = _column("image", name, schema, image, images, _IMAGE_NAMES)
    label = _column("label", name, schema, label, labels, _LABEL_NAMES)
    kind = schema.field(image).type
    holds_bytes = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not (holds_bytes or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise InputError(f"{name}: expected column {image!r} to hold bytes or {{bytes, path}}, got {kind}")
    return _File(name, reader, image, label, _class_names(features.get(label, {})))


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What the hub's own metadata says of each column; empty when there is none or it is not as expected."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {str(key): value for key, value in found.items() if isinstance(value, dict) and key in schema.names}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _class_names(feature: Mapping[str, Any]) -> tuple[str, ...] | None:
    given = feature.get("names")
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        return None
    return tuple(clean(name) for name in given)


def _column(
    what: str, file: str, schema: pa.Schema, asked: str | None, declared: Sequence[str], usual: Sequence[str]
) -> str:
    if asked is not None:
        if asked not in schema.names:
            raise InputError(f"{file}: there is no column {asked!r}{near(asked, schema.names)}")
        return asked
    if len(declared) == 1:
        return declared[0]
    for name in usual:
        if name in (declared or schema.names):
            return name
    raise InputError(
        f"{file}: expected a column for the {what} (such as {usual[0]!r}), got {listed(map(clean, schema.names))}; "
        f"name it with {what}: COLUMN"
    )


def _read(file: _File) -> Iterator[_Row]:
    row = 0
    try:
        for batch in file.reader.iter_batches(batch_size=_ROWS, columns=[file.image, file.label]):
            images, labels = batch.column(file.image), batch.column(file.label)
            if pa.types.is_struct(images.type):
                images = pc.struct_field(images, "bytes")
            for image, label in zip(images.to_pylist(), labels.to_pylist(), strict=True):
                yield _Row(f"{file.name} row {row}", image, label)
                row += 1
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{file.name}: expected a whole Parquet file, it breaks off after row {row}; fetch it again"
        ) from error


def _classes(files: Sequence[_File], rows: Mapping[str, Sequence[_Row]]) -> dict[Any, Any]:
    """Label value -> class name, in the order of the classes; values themselves where the files declare no names."""
    declared = {file.classes for file in files}
    if len(declared) > 1:
        first = next(file for file in files if file.classes != files[0].classes)
        raise InputError(
            f"{first.name}: expected the same class names as in {files[0].name}, got others; mend the schema"
        )
    if names := declared.pop():
        return dict(enumerate(names))
    values = {row.label for found in rows.values() for row in found if isinstance(row.label, int | str)}
    if len({type(value) for value in values}) > 1:
        raise InputError(f"{files[0].name}: expected labels that are all numbers or all text, got both")
    return {value: value for value in sorted(values) if isinstance(value, str) or value >= 0}


def _items(
    rows: Mapping[str, Sequence[_Row]], place: Mapping[Any, int], names: Sequence[str]
) -> tuple[dict[str, list[Item]], list[Bad]]:
    items: dict[str, list[Item]] = {key: [] for key in rows}
    refused = []
    for key, found in rows.items():
        for row in found:
            if not isinstance(row.label, int | str) or row.label not in place:
                said = clean(str(row.label))
                refused.append(Bad(row.name, f"expected a label from 0 to {len(names) - 1}, got {said}"))
            elif not isinstance(row.image, bytes):
                refused.append(Bad(row.name, "expected the bytes of an image, got none (only a path is not enough)"))
            else:
                items[key].append(Item(row.name, place[row.label], row.image))
    return items, refused


def _unlearnable(present: Mapping[str, set[int]], names: Sequence[str], on_bad: OnBad, root: Path) -> tuple[str, ...]:
    """Classes that are declared but have no image to learn from; a small test split may lack some."""
    source = present.get("train", present.get(WHOLE))
    if source is None:
        return ()
    where = clean(root.name)
    empty = [Bad(f"{where} class '{name}'", "expected images of it, found none") for name in names]
    return complain([bad for index, bad in enumerate(empty) if index not in source], on_bad)
