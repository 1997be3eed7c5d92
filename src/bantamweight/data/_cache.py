"""Decoded pixels kept between runs, keyed by the content of the files and everything that decides how they decode.

An entry is one safetensors file, written aside and renamed, so it is whole or absent. A cache that can't be read or
written is not used; nothing depends on it but time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
import platformdirs
from PIL import features
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bantamweight.data._core import Preprocessing
from bantamweight.data._decode import VERSION, Decoded, decode_many
from bantamweight.errors import StoreError
from bantamweight.whole import whole

__all__ = ["decoded", "folder"]

_LOG = logging.getLogger(__name__)


def folder() -> Path | None:
    """Where entries are kept: `BANTAM_CACHE`, else the user's cache folder; None when BANTAM_CACHE is empty."""
    chosen = os.environ.get("BANTAM_CACHE")
    if chosen is None:
        return Path(platformdirs.user_cache_dir("bantamweight"))
    return Path(chosen).expanduser() if chosen else None


def decoded(sources: Sequence[bytes | Path], preprocessing: Preprocessing) -> Decoded:
    """Decode, or read what was decoded before from the same content. A hit equals a miss bit for bit."""
    home = folder()
    if home is None or not sources:
        return decode_many(sources, preprocessing)
    entry = home / "decoded" / f"{_key(sources, preprocessing)}.safetensors"
    known = _read(entry)
    if known is None:
        known = decode_many(sources, preprocessing)
        _write(entry, known)
    return known


def _key(sources: Sequence[bytes | Path], preprocessing: Preprocessing) -> str:
    libraries = [PIL.__version__, *(f"{name} {features.version(name)}" for name in ("jpg", "zlib", "webp", "libtiff"))]
    about = {"version": VERSION, "preprocessing": preprocessing.to_dict(), "libraries": libraries}
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=20)
    for source in sources:
        digest.update(_digest(source))
    return digest.hexdigest()


def _digest(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return hashlib.blake2b(source, digest_size=20).digest()
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).digest()
    except OSError as error:  # what can't be read is bad when decoded too, for a reason that may go away
        return f"unreadable {error.errno}".encode()


def _seal(images: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(images).data, digest_size=20).hexdigest()


def _read(entry: Path) -> Decoded | None:
    """What an entry holds; None when there is none, or when it is not what was once written."""
    try:
        with safe_open(entry, framework="numpy") as file:
            about = json.loads(file.metadata()["about"])
            images = file.get_tensor("images")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    if about.get("seal") != _seal(images):
        return None
    return Decoded(images, {int(row): reason for row, reason in about["bad"].items()})


def _write(entry: Path, result: Decoded) -> None:
    about = json.dumps({"bad": {str(row): reason for row, reason in result.bad.items()}, "seal": _seal(result.images)})
    try:
        with whole(entry) as aside:
            save_file({"images": np.ascontiguousarray(result.images)}, aside, {"about": about})
    except (StoreError, SafetensorError) as error:
        _LOG.debug("decoded images are not cached: %s", error)
