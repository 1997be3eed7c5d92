"""Weights from files: safetensors, or a `.pt` whose pickle holds tensors and nothing that could run."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bantamweight.errors import InputError

__all__ = ["check_zip", "load_pickled", "read_file", "read_member", "read_weights"]

MOST_BYTES = 2 << 30
MOST_MEMBERS = 20_000


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a `.safetensors`, `.pt` or `.pth` file by name, and its metadata (safetensors only).

    Raises InputError for anything else, for a damaged file, and for a pickle that asks for more than tensors.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise InputError(f"expected weights in a .safetensors, .pt or .pth file, got {path.name!r}")
    data = read_file(path)
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"expected safetensors in {path.name!r}, and it can't be read: {error}") from error
    return _state(load_pickled(data, path.name), path.name), {}


def _state(loaded: Any, name: str) -> dict[str, Tensor]:
    """The state dict in what a `.pt` file held, without the prefix that DataParallel adds."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded:
        raise InputError(f"expected a state dict in {name!r}, got {type(loaded).__name__}; save model.state_dict()")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise InputError(f"expected only named tensors in {name!r}, got {key!r}: {type(value).__name__}")
    prefix = "module." if all(key.startswith("module.") for key in loaded) else ""
    return {key.removeprefix(prefix): value.detach().clone() for key, value in loaded.items()}


def read_file(path: Path) -> bytes:
    """A model file's bytes; InputError when there is no such file or it is too large to be a light model."""
    try:
        if not path.is_file():
            raise InputError(f"there is no file {str(path)!r}; check the path")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(f"expected a model of at most {MOST_BYTES >> 30} GiB, got {size:,} bytes in {str(path)!r}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"expected to read {str(path)!r}, got: {error.strerror}; check the path") from error


def check_zip(data: bytes, name: str) -> zipfile.ZipFile:
    """A zip whose members are few, small, plainly named and unencrypted; else InputError. Nothing is unpacked."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise InputError(f"expected {name!r} to be a zip archive as torch writes them, got: {error}") from error
    total = sum(member.file_size for member in members)
    if len(members) > MOST_MEMBERS or total > MOST_BYTES or total > 100 * len(data) + (1 << 20):
        size = f"{len(members):,} files and {total:,} bytes"
        raise InputError(f"{name!r} would unpack from {len(data):,} bytes to {size}; that is not a model")
    seen = set()
    for member in members:
        parts = member.filename.split("/")
        if member.filename in seen or ".." in parts or parts[0] == "" or re.search(r"[\\:\0]", member.filename):
            raise InputError(f"{name!r} has a member with the forged name {member.filename[:80]!r}; don't trust it")
        if member.flag_bits & 1:
            raise InputError(f"{name!r} is encrypted; save it without a password")
        seen.add(member.filename)
    return archive


def read_member(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    """One member's bytes, never more than its header says."""
    info = archive.getinfo(member)
    try:
        with archive.open(info) as file:
            data = file.read(info.file_size + 1)
    except Exception as error:  # zlib, bz2 and lzma each raise their own
        raise InputError(f"{name!r} is damaged at {member!r}: {error}; copy it again") from error
    if len(data) != info.file_size:
        raise InputError(f"{name!r} is damaged at {member!r}: its length differs; copy it again")
    return data


def load_pickled(data: bytes, name: str) -> Any:
    """What `torch.save` wrote, if it is tensors and plain containers; refused before anything in it runs otherwise."""
    check_zip(data, name)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        asked = re.search(r"(?:GLOBAL|Unsupported global:)\s+(?:GLOBAL\s+)?([\w.]+)", str(error))
        why = f"asks for {asked[1]!r}" if asked else f"can't be read as tensors ({str(error).strip()[:80]!r})"
        raise InputError(
            f"{name!r} holds a pickle that {why}, and was refused before anything in it ran; "
            "save plain tensors with safetensors.torch.save_file instead"
        ) from error
