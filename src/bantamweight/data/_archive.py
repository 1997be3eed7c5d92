"""Files out of a .tar.gz or an extracted folder, in memory: nothing is ever unpacked to disk."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import os
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath
from typing import IO, Any

from bantamweight.data._text import clean
from bantamweight.errors import InputError
from bantamweight.whole import whole

__all__ = ["fetch", "md5", "members"]

_MOST_BYTES = 1_000_000_000
"""CIFAR unpacks to under 200 MB; an archive that claims more is not one."""


def md5(source: Path | bytes) -> str:
    """The checksum that the publishers of CIFAR give; it guards against damage, not against malice."""
    if isinstance(source, bytes):
        return hashlib.md5(source, usedforsecurity=False).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def members(path: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The wanted files (by their last name) of an archive or of a folder and its first level of folders.

    Raises InputError when the archive is broken or too large, or when a member would lead out of it.
    """
    try:
        return _from_folder(path, wanted) if path.is_dir() else _from_tar(path, wanted)
    except InputError as error:
        raise InputError(f"{clean(path)!r}: {error}") from error
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{clean(path)!r} can't be read ({error.strerror}); check the path") from error
        raise InputError(f"{clean(path)!r}: expected a .tar.gz archive, got a broken one; fetch it again") from error


def _from_folder(path: Path, wanted: Collection[str]) -> dict[str, bytes]:
    root = path.resolve()
    found: dict[str, bytes] = {}
    for folder in (root, *sorted(child for child in root.iterdir() if child.is_dir())):
        for name in sorted(wanted):
            file = folder / name
            if file.is_file() and file.resolve().is_relative_to(root) and name not in found:
                if file.stat().st_size > _MOST_BYTES:
                    raise InputError(f"expected {name} to be at most {_MOST_BYTES:,} bytes, got more")
                found[name] = file.read_bytes()
    return found


def _from_tar(path: Path, wanted: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opener: Callable[[Path], Any] = gzip.open if packed else lambda plain: plain.open("rb")
    with opener(path) as content, tarfile.open(fileobj=_Bounded(content)) as archive:
        for member in archive:
            inside = PurePosixPath(member.name)
            if inside.is_absolute() or ".." in inside.parts or "\\" in member.name:
                raise InputError(f"refused, because {clean(member.name)!r} leads out of the archive")
            if inside.name not in wanted:
                continue
            if not member.isfile():
                raise InputError(f"expected {clean(member.name)!r} to be a plain file; refused")
            opened = archive.extractfile(member)
            if opened is not None:
                found.setdefault(inside.name, opened.read())
    return found


class _Bounded(io.RawIOBase):
    """A file that refuses to be read beyond what an honest archive holds: a few kilobytes can unpack to terabytes."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._check(offset)
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        self._check(self.tell() + max(size, 0))
        return self._file.read(size if size >= 0 else _MOST_BYTES)

    @staticmethod
    def _check(position: int) -> None:
        if position > _MOST_BYTES:
            raise InputError(f"expected an archive of at most {_MOST_BYTES:,} bytes unpacked, got more")


def fetch(url: str, target: Path, checksum: str) -> Path:
    """Download to `target` unless it is there already, checked before it gets that name.

    Raises InputError when the network or the checksum fails, StoreError when there is no room for it.
    """
    if target.is_file() and md5(target) == checksum:
        return target
    with whole(target, "set BANTAM_CACHE") as aside:
        try:
            with aside.open("wb") as file, urllib.request.urlopen(url, timeout=60) as reply:
                while block := reply.read(1 << 20):
                    file.write(block)
        except (http.client.HTTPException, OSError) as error:
            raise InputError(f"{url} could not be downloaded ({error}); fetch it by hand and give its path") from error
        if (got := md5(aside)) != checksum:
            raise InputError(f"{url}: expected MD5 {checksum}, got {got}; try again")
    return target
