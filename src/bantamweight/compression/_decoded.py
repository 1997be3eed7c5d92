"""A coded file back to its Variant. What it may become is worked out from its index and bounded before it is made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bantamweight.compression._coded import DTYPES, EXPANDS, FORMAT, PLANES, ROWS, VERSION, WAYS
from bantamweight.compression._coding import decoded
from bantamweight.errors import InputError
from bantamweight.variants import Variant

__all__ = ["MOST_BYTES", "load_coded"]

MOST_BYTES = 1 << 32
"""Bytes of weights that a file may become unless the caller allows more."""

_LARGEST_INDEX = 1 << 26


@dataclass(frozen=True)
class _Entry:
    """One tensor as the index has it."""

    name: str
    dtype: str
    shape: list[int]
    way: str
    kept: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        return (self.count + 7) // 8 if self.way.startswith("sparse") else 0

    @property
    def channels(self) -> int:
        return self.shape[0] if self.way.endswith("levels") else 0


def load_coded(path: Path | str, *, most_bytes: int = MOST_BYTES) -> Variant:
    """Read a coded file back to its Variant, equal to the bit to what was saved.

    Nothing in the file is executed; weights of more than `most_bytes`, or more than 2,048 bytes per byte of file, are
    refused before they are made. Raises InputError for a file that is damaged, of another kind, or contradicts itself.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get("bantamweight", "null"))
            rows = {key: file.get_tensor(key) for key in sorted(file.keys())}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError, RuntimeError) as error:
        raise InputError(f"expected a coded file in {path}, and it can't be read: {error}") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise InputError(f"expected a coded file in {path}, got other safetensors; load it as weights")
    if said.get("version") != VERSION:
        got = said.get("version")
        raise InputError(f"expected version {VERSION} of the coded file {path}, got {got!r}; save it again")
    try:
        return _variant(rows, said, most_bytes)
    except (InputError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = error if isinstance(error, InputError) else f"its index is not as it should be ({error})"
        raise InputError(f"the coded file {path} is damaged: {why}; copy or save it again") from error


def _variant(rows: Mapping[str, Tensor], said: Mapping[str, Any], most_bytes: int) -> Variant:
    if not set(rows) <= {*ROWS, "index"} or any(row.dtype != torch.uint8 or row.dim() != 1 for row in rows.values()):
        raise InputError("it holds rows of another kind")
    codes = {name: row.numpy().tobytes() for name, row in rows.items()}
    if type(said.get("index")) is not int or not 0 < said["index"] <= _LARGEST_INDEX:
        raise InputError("it does not say how long its index is")
    index = json.loads(decoded(codes.pop("index", b""), said["index"]))
    entries = [_entry(one) for one in index["weights"]]
    if len({entry.name for entry in entries}) < len(entries):
        raise InputError("it names a tensor twice")
    dense = sum(entry.count * DTYPES[entry.dtype].itemsize for entry in entries)
    if dense > min(most_bytes, EXPANDS * sum(map(len, codes.values()))):
        raise InputError(f"it would become {dense:,} bytes of weights, more than is let pass")
    program = index["program"]
    if type(program) is not int or not 0 <= program <= EXPANDS * len(codes.get("program", b"")):
        raise InputError("it does not say how long its program is")
    content = {row: decoded(codes.get(row, b"\x00"), size) for row, size in _sizes(entries, program).items()}
    variant = Variant(
        name=str(index["name"]),
        factory=str(index["factory"]),
        arguments=dict(index["arguments"]),
        weights=_weights(entries, content),
        classes=tuple(str(name) for name in index["classes"]),
        preprocessing=dict(index["preprocessing"]),
        edits=tuple(dict(edit) for edit in index["edits"]),
        lineage=tuple(str(parent) for parent in index["lineage"]),
        program=content["program"],
    )
    if variant.hash != index["hash"]:
        raise InputError("it is not what was saved (its hash differs)")
    return variant


def _entry(told: Any) -> _Entry:
    entry = _Entry(*told)
    sides = isinstance(entry.shape, list) and all(type(side) is int and 0 <= side < 2**31 for side in entry.shape)
    if type(entry.name) is not str or entry.dtype not in DTYPES or entry.way not in WAYS or not sides:
        raise InputError("its index names a tensor, a type or a way that is none")
    whole = not entry.way.startswith("sparse")
    if type(entry.kept) is not int or not 0 <= entry.kept <= entry.count or (whole and entry.kept != entry.count):
        raise InputError(f"{str(entry.name)[:80]!r} keeps {entry.kept} of {entry.count} values")
    if entry.way != "plain" and (entry.dtype != "float32" or not entry.count):
        raise InputError(f"{entry.name[:80]!r} is not a tensor of floats")
    if entry.way.endswith("levels") and len(entry.shape) < 2:
        raise InputError(f"{entry.name[:80]!r} has levels and no channels")
    return entry


def _sizes(entries: list[_Entry], program: int) -> dict[str, int]:
    """How many bytes every row must hold."""
    floats = sum(entry.kept for entry in entries if entry.way.endswith("values"))
    scales = sum(entry.channels for entry in entries)
    planes = {row: floats if row.startswith("values") else scales for row in PLANES}
    return {
        "positions": sum(entry.bits for entry in entries),
        "levels": sum(entry.kept for entry in entries if entry.way.endswith("levels")),
        **planes,
        "plain": sum(entry.count * DTYPES[entry.dtype].itemsize for entry in entries if entry.way == "plain"),
        "program": program,
    }


def _weights(entries: list[_Entry], content: Mapping[str, bytes]) -> dict[str, Tensor]:
    positions, plain = (np.frombuffer(content[row], np.uint8) for row in ("positions", "plain"))
    levels = np.frombuffer(content["levels"], np.int8)
    floats, scales = (_joined(content, row) for row in ("values", "scales"))
    at = dict.fromkeys(("positions", "levels", "values", "scales", "plain"), 0)

    def next_of(row: str, source: np.ndarray, count: int) -> np.ndarray:
        start, at[row] = at[row], at[row] + count
        return source[start : start + count]

    found: dict[str, Tensor] = {}
    for entry in entries:
        if entry.way == "plain":
            found[entry.name] = _plain(entry, next_of("plain", plain, entry.count * DTYPES[entry.dtype].itemsize))
            continue
        alive = _alive(entry, next_of("positions", positions, entry.bits))
        # Through integers: moving floats may change the payload of a NaN.
        whole = np.zeros(entry.count, np.int32)
        if entry.way.endswith("values"):
            whole[alive] = next_of("values", floats, entry.kept)
        else:
            level = np.zeros(entry.count, np.float32)
            level[alive] = next_of("levels", levels, entry.kept)
            scale = next_of("scales", scales, entry.channels).view(np.float32)
            with np.errstate(all="ignore"):
                whole = (level.reshape(entry.channels, -1) * scale[:, None] + np.float32(0)).view(np.int32)
        found[entry.name] = torch.from_numpy(whole.reshape(-1).view(np.float32).reshape(entry.shape))
    return found


def _joined(content: Mapping[str, bytes], row: str) -> np.ndarray:
    """Floats, as integers, from their four rows of bytes."""
    planes = [np.frombuffer(content[f"{row}{byte}"], np.uint8) for byte in range(4)]
    return np.ascontiguousarray(np.stack(planes, axis=1)).reshape(-1).view("<i4")


def _alive(entry: _Entry, packed: np.ndarray) -> np.ndarray:
    if not entry.way.startswith("sparse"):
        return np.ones(entry.count, bool)
    bits = np.unpackbits(packed)
    if bits[entry.count :].any() or int(bits.sum()) != entry.kept:
        raise InputError(f"{entry.name[:80]!r} has {int(bits.sum())} bits set and {entry.kept} values")
    return bits[: entry.count].astype(bool)


def _plain(entry: _Entry, content: np.ndarray) -> Tensor:
    if entry.dtype == "bool" and content.max(initial=0) > 1:
        raise InputError(f"{entry.name[:80]!r} holds flags that are neither 0 nor 1")
    if not entry.count:
        return torch.empty(entry.shape, dtype=DTYPES[entry.dtype])
    return torch.from_numpy(content.copy()).view(DTYPES[entry.dtype]).reshape(entry.shape)
