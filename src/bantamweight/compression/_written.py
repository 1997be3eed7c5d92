"""A file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from bantamweight.errors import StoreError

__all__ = ["written"]


def written(data: bytes, path: Path) -> None:
    """Write aside and rename. Raises StoreError when the place can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise
    except OSError as error:
        raise StoreError(f"expected to be able to write {path}, got: {error.strerror}; choose another place") from error
