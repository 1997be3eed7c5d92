"""Files that are in their place whole, or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bantamweight.errors import StoreError

__all__ = ["put", "readable", "whole"]


@contextmanager
def whole(path: Path, hint: str = "choose another place") -> Iterator[Path]:
    """A file to write beside `path`, which takes its name when the block ends and is gone when the block fails.

    What was there before stays until then. The folder is made if need be, and the file is as readable as the umask
    says, whatever writes it (safetensors keeps its files to their owner). Raises StoreError where the place can't be
    written; `hint` is the end of its sentence.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.aside")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch(exist_ok=False)
        mode = aside.stat().st_mode
        try:
            yield aside
            aside.chmod(mode)
            aside.replace(path)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StoreError(f"{str(path)!r} can't be written ({why}); {hint}") from error


def put(path: Path, content: bytes | str, hint: str = "choose another place") -> Path:
    """The content as a file (text in UTF-8), by way of `whole`; returns the path."""
    with whole(path, hint) as aside:
        aside.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def readable(folder: Path) -> None:
    """A folder and all in it as readable as the umask says: `mkdtemp` and safetensors keep theirs to their owner."""
    probe = folder / ".readable"
    probe.touch()
    mode = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in (folder, *folder.rglob("*")):
        path.chmod(mode | (mode & 0o444) >> 2 if path.is_dir() else mode)
