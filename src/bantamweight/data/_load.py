"""From a name, a path or a spec to data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bantamweight.data._core import Data, Preprocessing
from bantamweight.data._text import clean
from bantamweight.errors import InputError, near
from bantamweight.parts import Part, configure, find, names, settings

__all__ = ["load"]


def load(spec: Any, *, trust: bool = False, preprocessing: Preprocessing | None = None, whole: bool = False) -> Data:
    """Read a data set from a source name, a path, or `{"use": NAME, ...}`.

    `preprocessing` (a model's) overrides how files become tensors. `whole` leaves together what has no splits of its
    own, for commands that only evaluate. Raises InputError for an unknown name, a bad path or bad files.

    >>> load("digits").counts["train"]
    1078
    """
    spec = _resolved(spec, trust)
    if not isinstance(spec, Part):
        spec = _adapted(spec, trust, preprocessing, whole)
    data = configure("data", spec, trust=trust).make()
    if not isinstance(data, Data):
        raise InputError(f"expected {spec!r} to return Data, got {type(data).__name__}")
    if preprocessing is not None and data.preprocessing != preprocessing:
        same_pixels = data.preprocessing.size == preprocessing.size
        if not same_pixels or data.preprocessing.channels != preprocessing.channels:
            raise InputError(
                f"{data.name!r} gives {_said(data.preprocessing)}, but the model takes {_said(preprocessing)}; "
                f"change the data's size and channels"
            )
    return data


def _said(preprocessing: Preprocessing) -> str:
    height, width = preprocessing.size
    return f"{preprocessing.channels} x {height} x {width} pixels"


def _resolved(spec: Any, trust: bool) -> Any:
    """A spec in the form `{"use": NAME, ...}`: names as they are, paths by what lies there."""
    if isinstance(spec, Part):
        return spec
    if isinstance(spec, Path):
        return _source_of(spec)
    if not isinstance(spec, str):
        return spec
    if spec in names("data") or (":" in spec and trust):
        return {"use": spec}
    path = Path(spec).expanduser()
    try:
        there = path.exists()
    except (OSError, ValueError):  # a name too long for the file system, or with a NUL in it
        there = False
    if there:
        return _source_of(path)
    if ":" in spec and not set(spec) & set("/\\"):
        find("data", spec, trust=trust)
    raise InputError(f"{clean(spec)!r} is neither a path that exists nor a source of data{near(spec, names('data'))}")


def _source_of(path: Path) -> dict[str, Any]:
    """The source that reads what lies at a path."""
    if not path.exists():
        raise InputError(f"{clean(path)!r} does not exist; check the path")
    name = path.name.lower()
    if path.is_file():
        if name.endswith((".tar.gz", ".tgz", ".tar")):
            return {"use": "cifar100" if "100" in name else "cifar10", "path": str(path)}
        if name.endswith((".parquet", ".pq")):
            return {"use": "parquet", "path": str(path)}
        if name.endswith(".json"):
            return {"use": "coco", "path": str(path)}
        raise InputError(
            "expected a folder of images, a .parquet file or a CIFAR archive (.tar.gz), or COCO annotations (.json), "
            f"got the file {clean(path)!r}"
        )
    try:
        inside = {entry.name for entry in path.iterdir()}
        has_parquet = any(path.glob("*.parquet")) or any(path.glob("*/*.parquet"))
    except OSError as error:
        raise InputError(f"{clean(path)!r} can't be read ({error.strerror}); check its permissions") from error
    python_form = {"train", "test", "meta"} <= inside and (path / "meta").is_file()
    if python_form or inside & {"cifar-100-python", "cifar-100-binary", "fine_label_names.txt"}:
        return {"use": "cifar100", "path": str(path)}
    if inside & {"cifar-10-batches-py", "cifar-10-batches-bin", "data_batch_1", "data_batch_1.bin"}:
        return {"use": "cifar10", "path": str(path)}
    if {"Annotations", "JPEGImages"} <= inside:
        return {"use": "voc", "path": str(path)}
    if {"images", "masks"} <= inside:
        return {"use": "masked", "path": str(path)}
    return {"use": "parquet" if has_parquet else "folder", "path": str(path)}


def _adapted(spec: Any, trust: bool, preprocessing: Preprocessing | None, whole: bool) -> Any:
    """The spec with a model's preprocessing and the wish for one whole, where the source has such settings."""
    if not isinstance(spec, Mapping) or not isinstance(spec.get("use"), str):
        return spec
    known = settings(find("data", spec["use"], trust=trust)).model_fields
    wished: dict[str, Any] = {"divide": False} if whole else {}
    if preprocessing is not None:
        wished |= {"size": preprocessing.size, "channels": preprocessing.channels, "resize": preprocessing.resize}
    return {**{key: value for key, value in wished.items() if key in known}, **spec}
